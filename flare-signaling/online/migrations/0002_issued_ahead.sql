-- The newest token of a device that came before our clock had reached its time of issue. A row is of no use once the clock has.
CREATE TABLE issued_ahead (
    tenant_id TEXT    NOT NULL,
    user_id   TEXT    NOT NULL,
    device_id TEXT    NOT NULL,
    issued_s  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id, device_id)
) WITHOUT ROWID, STRICT;

CREATE INDEX issued_ahead_by_time ON issued_ahead (issued_s);
