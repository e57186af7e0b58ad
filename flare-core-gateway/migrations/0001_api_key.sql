-- API keys. The secret itself is nowhere: only its SHA-256.
CREATE TABLE api_key (
    key_id        TEXT    NOT NULL PRIMARY KEY,
    tenant_id     TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    -- Names, one space between them.
    scopes        TEXT    NOT NULL,
    secret_sha256 BLOB    NOT NULL UNIQUE,
    created_ms    INTEGER NOT NULL,
    -- 0: it is good.
    revoked_ms    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

CREATE INDEX api_key_by_tenant ON api_key (tenant_id, key_id);
