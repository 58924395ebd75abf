-- The queries of the PostgreSQL dialect, name for name.

-- name: instance_settings
SELECT settings, bounce_secret, created_at, coalesce(updated_at, created_at) FROM instance;

-- name: proof_key
SELECT proof_secret FROM instance;

-- name: put_proof_key
-- Whoever comes first makes it; the others get the same.
UPDATE instance SET proof_secret = coalesce(proof_secret, :sealed) RETURNING proof_secret;

-- name: change_instance
UPDATE instance SET settings = json_patch(settings, :changes), bounce_secret = coalesce(:secret, bounce_secret),
       updated_at = :now
RETURNING one;

-- name: note_commands
INSERT INTO command_log (at, endpoint, tenant_id, actor, request_id, object, payload, status)
VALUES (:now, :endpoint, :tenant_id, :actor, :request_id, :object, :payload, :status)
RETURNING id;

-- name: correct_command
UPDATE command_log SET status = :status WHERE id = :id;

-- name: newest_commands
SELECT id, at, endpoint, actor, request_id, tenant_id, object, payload, status FROM command_log
WHERE id < coalesce(:bound, 9223372036854775807) AND (:tenant_id IS NULL OR tenant_id = :tenant_id)
  AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)
  AND (:endpoint IS NULL OR endpoint LIKE :endpoint ESCAPE '\')
ORDER BY id DESC LIMIT :limit;

-- name: oldest_commands
SELECT id, at, endpoint, actor, request_id, tenant_id, object, payload, status FROM command_log
WHERE id > coalesce(:bound, 0) AND (:tenant_id IS NULL OR tenant_id = :tenant_id)
  AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)
  AND (:endpoint IS NULL OR endpoint LIKE :endpoint ESCAPE '\')
ORDER BY id LIMIT :limit;

-- name: forget_commands
DELETE FROM command_log WHERE id IN (
    SELECT id FROM command_log WHERE at < :now - :older_than ORDER BY at LIMIT :limit)
RETURNING id;
