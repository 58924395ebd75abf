-- Secrets that sign a tenant's callbacks, and which targets a tenant chose itself: those are guarded.

ALTER TABLE tenant ADD COLUMN webhook_secrets BLOB;
ALTER TABLE tenant ADD COLUMN url_set_by_tenant INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN host_set_by_tenant INTEGER NOT NULL DEFAULT 0;
