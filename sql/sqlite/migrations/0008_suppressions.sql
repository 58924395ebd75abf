-- Addresses that a tenant's mail is not sent to.

CREATE TABLE suppression (
    tenant_pk  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    address    TEXT NOT NULL,
    reason     TEXT NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'manual', 'import')),
    event_id   INTEGER,
    created_at REAL NOT NULL,
    expires_at REAL,
    PRIMARY KEY (tenant_pk, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX suppression_expiry ON suppression (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE tenant ADD COLUMN suppress_bounces INTEGER NOT NULL DEFAULT 0;
