-- Tokens of a device, or with an empty device_id of all of a user's, that were issued up to not_before_s are dead.
CREATE TABLE revocation (
    tenant_id    text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    not_before_s bigint NOT NULL,
    PRIMARY KEY (tenant_id, user_id, device_id)
);

-- Revocations go, the oldest first, when no token that they ended can still be good.
CREATE INDEX revocation_by_time ON revocation (not_before_s);

-- The newest token of a device that came before our clock had reached its time of issue. A row is of no use once the clock has.
CREATE TABLE issued_ahead (
    tenant_id text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    issued_s  bigint NOT NULL,
    PRIMARY KEY (tenant_id, user_id, device_id)
);

CREATE INDEX issued_ahead_by_time ON issued_ahead (issued_s);
