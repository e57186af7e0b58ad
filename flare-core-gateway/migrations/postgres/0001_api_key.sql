-- API keys. The secret itself is nowhere: only its SHA-256.
CREATE TABLE api_key (
    key_id        text COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id     text COLLATE "C" NOT NULL,
    name          text NOT NULL,
    -- Names, one space between them.
    scopes        text NOT NULL,
    secret_sha256 bytea NOT NULL UNIQUE,
    created_ms    bigint NOT NULL,
    -- 0: it is good.
    revoked_ms    bigint NOT NULL DEFAULT 0
);

CREATE INDEX api_key_by_tenant ON api_key (tenant_id, key_id);
