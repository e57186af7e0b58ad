-- Tokens of a device, or with an empty device_id of all of a user's, that were issued up to not_before_s are dead.
CREATE TABLE revocation (
    tenant_id    TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    device_id    TEXT    NOT NULL,
    not_before_s INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id, device_id)
) WITHOUT ROWID, STRICT;
