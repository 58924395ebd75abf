-- Files that stand behind links in sent mail, the key that signs our links, and tenants' own storage credentials.

CREATE TABLE large_file (
    object        text PRIMARY KEY,                     -- its random name in the storage
    tenant_pk     bigint NOT NULL,
    tenant_id     text NOT NULL,
    message_id    bigint NOT NULL,
    revision      integer NOT NULL,
    part          integer NOT NULL,                     -- which attachment of the message, from 0
    filename      text NOT NULL,
    media_type    text NOT NULL,
    size          bigint NOT NULL,
    sha256        bytea NOT NULL,
    place         text NOT NULL,                        -- JSON: where it lies, without secrets
    url           text,                                 -- what the mail says; null until it is stored whole
    lifespan      double precision,                     -- seconds it stays once it was downloaded
    created_at    timestamptz NOT NULL DEFAULT now(),
    uploaded_at   timestamptz,
    downloaded_at timestamptz,
    expires_at    timestamptz NOT NULL,
    next_try_at   timestamptz,                          -- when its removal, which failed, is tried again
    tries         integer NOT NULL DEFAULT 0,
    CHECK ((url IS NULL) = (uploaded_at IS NULL))
);
CREATE INDEX large_file_message ON large_file (message_id, revision, part);
CREATE INDEX large_file_expiry ON large_file (expires_at);
CREATE INDEX large_file_tenant ON large_file (tenant_pk);

ALTER TABLE instance ADD COLUMN link_key bytea;         -- sealed, bound to instance|link_key
ALTER TABLE tenant ADD COLUMN large_file_secrets bytea; -- sealed JSON, bound to tenant|<id>|large_file_secrets
