-- Files that stand behind links in sent mail, the key that signs our links, and tenants' own storage credentials.

CREATE TABLE large_file (
    object        TEXT PRIMARY KEY,                     -- its random name in the storage
    tenant_pk     INTEGER NOT NULL,
    tenant_id     TEXT NOT NULL,
    message_id    INTEGER NOT NULL,
    revision      INTEGER NOT NULL,
    part          INTEGER NOT NULL,                     -- which attachment of the message, from 0
    filename      TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    size          INTEGER NOT NULL,
    sha256        BLOB NOT NULL,
    place         TEXT NOT NULL,                        -- JSON: where it lies, without secrets
    url           TEXT,                                 -- what the mail says; null until it is stored whole
    lifespan      REAL,                                 -- seconds it stays once it was downloaded
    created_at    REAL NOT NULL,
    uploaded_at   REAL,
    downloaded_at REAL,
    expires_at    REAL NOT NULL,
    next_try_at   REAL,                                 -- when its removal, which failed, is tried again
    tries         INTEGER NOT NULL DEFAULT 0,
    CHECK ((url IS NULL) = (uploaded_at IS NULL))
) STRICT;
CREATE INDEX large_file_message ON large_file (message_id, revision, part);
CREATE INDEX large_file_expiry ON large_file (expires_at);
CREATE INDEX large_file_tenant ON large_file (tenant_pk);

ALTER TABLE instance ADD COLUMN link_key BLOB;         -- sealed, bound to instance|link_key
ALTER TABLE tenant ADD COLUMN large_file_secrets BLOB; -- sealed JSON, bound to tenant|<id>|large_file_secrets
