-- The queries of the PostgreSQL dialect, name for name.

-- name: genro_tables
SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('tenants', 'accounts', 'messages');

-- name: genro_tenants
SELECT * FROM tenants ORDER BY id;

-- name: genro_accounts
SELECT * FROM accounts ORDER BY id;

-- name: genro_messages
SELECT * FROM messages ORDER BY priority, created_at, id;
