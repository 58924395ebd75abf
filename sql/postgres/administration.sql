-- The instance's own settings, and the log of commands.

-- name: instance_settings
SELECT settings::text, bounce_secret, extract(epoch FROM created_at)::float8,
       extract(epoch FROM coalesce(updated_at, created_at))::float8
FROM instance;

-- name: proof_key
SELECT proof_secret FROM instance;

-- name: put_proof_key
-- Whoever comes first makes it; the others get the same.
UPDATE instance SET proof_secret = coalesce(proof_secret, %(sealed)s::bytea) RETURNING proof_secret;

-- name: change_instance
UPDATE instance SET settings = settings || %(changes)s::jsonb, bounce_secret = coalesce(%(secret)s::bytea, bounce_secret),
       updated_at = now()
RETURNING one;

-- name: note_commands
-- Numbered in the order in which they are given.
WITH r AS MATERIALIZED (
    SELECT nextval('command_log_id_seq') AS id, r.*
    FROM json_to_recordset(%(rows)s::json) AS r(number int, endpoint text, tenant_id text, actor text, request_id text,
        object text, payload text, status smallint)),
i AS (
    INSERT INTO command_log (id, endpoint, tenant_id, actor, request_id, object, payload, status) OVERRIDING SYSTEM VALUE
    SELECT id, endpoint, tenant_id, actor, request_id, object, payload, status FROM r)
SELECT id FROM r ORDER BY number;

-- name: correct_command
UPDATE command_log SET status = %(status)s WHERE id = %(id)s;

-- name: newest_commands
SELECT id, extract(epoch FROM at)::float8, endpoint, actor, request_id, tenant_id, object, payload, status FROM command_log
WHERE id < coalesce(%(bound)s::bigint, 9223372036854775807) AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(since)s::float8 IS NULL OR at >= to_timestamp(%(since)s)) AND (%(until)s::float8 IS NULL OR at < to_timestamp(%(until)s))
  AND (%(endpoint)s::text IS NULL OR endpoint ILIKE %(endpoint)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: oldest_commands
SELECT id, extract(epoch FROM at)::float8, endpoint, actor, request_id, tenant_id, object, payload, status FROM command_log
WHERE id > coalesce(%(bound)s::bigint, 0) AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
  AND (%(since)s::float8 IS NULL OR at >= to_timestamp(%(since)s)) AND (%(until)s::float8 IS NULL OR at < to_timestamp(%(until)s))
  AND (%(endpoint)s::text IS NULL OR endpoint ILIKE %(endpoint)s)
ORDER BY id LIMIT %(limit)s;

-- name: forget_commands
DELETE FROM command_log WHERE id IN (
    SELECT id FROM command_log WHERE at < now() - make_interval(secs => %(older_than)s) ORDER BY at LIMIT %(limit)s)
RETURNING id;
