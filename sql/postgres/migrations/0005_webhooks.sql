-- Secrets that sign a tenant's callbacks, and which targets a tenant chose itself: those are guarded.

ALTER TABLE tenant ADD COLUMN webhook_secrets bytea;  -- sealed JSON, bound to tenant|<id>|webhook_secrets
ALTER TABLE tenant ADD COLUMN url_set_by_tenant boolean NOT NULL DEFAULT false;
ALTER TABLE account ADD COLUMN host_set_by_tenant boolean NOT NULL DEFAULT false;
