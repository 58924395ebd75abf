-- Addresses that a tenant's mail is not sent to.

CREATE TABLE suppression (
    tenant_pk  bigint NOT NULL REFERENCES tenant ON DELETE CASCADE,
    address    text COLLATE "C" NOT NULL,            -- normalised: A-labels, lower case
    reason     text NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'manual', 'import')),
    event_id   bigint,                               -- of the bounce or complaint; may be cleaned up before the entry
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    PRIMARY KEY (tenant_pk, address)
);
CREATE INDEX suppression_expiry ON suppression (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE tenant ADD COLUMN suppress_bounces boolean NOT NULL DEFAULT false;
