-- Reports that were refused by name wait here for their own next try; without one they are dead letters.

CREATE TABLE undelivered (
    event_id    bigint PRIMARY KEY,
    tenant_pk   bigint NOT NULL,
    message_id  bigint NOT NULL,
    tries       integer NOT NULL DEFAULT 0,           -- how often this event was refused
    cause       text NOT NULL,
    since       timestamptz NOT NULL,                 -- when it first failed, or was replayed
    next_try_at timestamptz,
    dead_at     timestamptz,
    CHECK ((next_try_at IS NULL) = (dead_at IS NOT NULL))
);
CREATE INDEX undelivered_due ON undelivered (tenant_pk, next_try_at, event_id) WHERE next_try_at IS NOT NULL;
CREATE INDEX undelivered_dead ON undelivered (tenant_pk, event_id) WHERE next_try_at IS NULL;
CREATE INDEX undelivered_message ON undelivered (message_id);

ALTER TABLE tenant_sync ADD COLUMN failing_since timestamptz;
ALTER TABLE tenant_sync ADD COLUMN failure text;
ALTER TABLE tenant_sync ADD COLUMN gone integer NOT NULL DEFAULT 0;
ALTER TABLE tenant_sync ADD COLUMN switched_off_at timestamptz;
