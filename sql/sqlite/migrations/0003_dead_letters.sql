-- Reports that were refused by name wait here for their own next try; without one they are dead letters.

CREATE TABLE undelivered (
    event_id    INTEGER PRIMARY KEY,
    tenant_pk   INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    tries       INTEGER NOT NULL DEFAULT 0,           -- how often this event was refused
    cause       TEXT NOT NULL,
    since       REAL NOT NULL,                        -- when it first failed, or was replayed
    next_try_at REAL,
    dead_at     REAL,
    CHECK ((next_try_at IS NULL) = (dead_at IS NOT NULL))
) STRICT;
CREATE INDEX undelivered_due ON undelivered (tenant_pk, next_try_at, event_id) WHERE next_try_at IS NOT NULL;
CREATE INDEX undelivered_dead ON undelivered (tenant_pk, event_id) WHERE next_try_at IS NULL;
CREATE INDEX undelivered_message ON undelivered (message_id);

ALTER TABLE tenant_sync ADD COLUMN failing_since REAL;
ALTER TABLE tenant_sync ADD COLUMN failure TEXT;
ALTER TABLE tenant_sync ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenant_sync ADD COLUMN switched_off_at REAL;
