-- The tables of genro-mail-proxy 0.5 and 0.6 as they are: which columns there are depends on the release.

-- name: genro_tables
SELECT name FROM unnest(ARRAY['tenants', 'accounts', 'messages']) AS name WHERE to_regclass(name) IS NOT NULL;

-- name: genro_tenants
SELECT * FROM tenants ORDER BY id;

-- name: genro_accounts
SELECT * FROM accounts ORDER BY id;

-- name: genro_messages
SELECT * FROM messages ORDER BY priority, created_at, id;
