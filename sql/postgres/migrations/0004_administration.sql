-- The instance's own secret, who commanded what, and what calls under an Idempotency-Key were answered.

ALTER TABLE instance ADD COLUMN bounce_secret bytea;         -- sealed, bound to instance|bounce|password
ALTER TABLE instance ADD COLUMN updated_at timestamptz;

-- tenant_id is text, so that what was done to a tenant is told after its end, too.
CREATE TABLE command_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    endpoint   text NOT NULL,
    tenant_id  text,
    actor      text NOT NULL,                                -- admin, anonymous, or a key's id; never a token
    request_id text NOT NULL,
    object     text,
    payload    text NOT NULL,                                -- JSON, without secrets and message content
    status     smallint NOT NULL
);
CREATE INDEX command_log_at ON command_log (at);
CREATE INDEX command_log_tenant ON command_log (tenant_id, id);

-- scope is the tenant of the key that called, 0 the admin.
CREATE TABLE kept_answer (
    scope       bigint NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,                              -- SHA-256 of the body
    status      smallint NOT NULL,
    answer      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX kept_answer_created ON kept_answer (created_at);
