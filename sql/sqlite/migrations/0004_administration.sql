-- The instance's own secret, who commanded what, and what calls under an Idempotency-Key were answered.

ALTER TABLE instance ADD COLUMN bounce_secret BLOB;          -- sealed, bound to instance|bounce|password
ALTER TABLE instance ADD COLUMN updated_at REAL;

-- tenant_id is text, so that what was done to a tenant is told after its end, too.
CREATE TABLE command_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         REAL NOT NULL,
    endpoint   TEXT NOT NULL,
    tenant_id  TEXT,
    actor      TEXT NOT NULL,                                -- admin, anonymous, or a key's id; never a token
    request_id TEXT NOT NULL,
    object     TEXT,
    payload    TEXT NOT NULL,                                -- JSON, without secrets and message content
    status     INTEGER NOT NULL
) STRICT;
CREATE INDEX command_log_at ON command_log (at);
CREATE INDEX command_log_tenant ON command_log (tenant_id, id);

-- scope is the tenant of the key that called, 0 the admin.
CREATE TABLE kept_answer (
    scope       INTEGER NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,                               -- SHA-256 of the body
    status      INTEGER NOT NULL,
    answer      TEXT NOT NULL,
    created_at  REAL NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX kept_answer_created ON kept_answer (created_at);
