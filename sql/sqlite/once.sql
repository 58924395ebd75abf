-- The queries of the PostgreSQL dialect, name for name.

-- name: once_gate
-- The one writer at a time is the gate.
SELECT 1;

-- name: kept_answer
SELECT fingerprint, status, answer FROM kept_answer WHERE scope = :scope AND key = :key AND created_at > :now - :kept_for;

-- name: keep_answer
INSERT INTO kept_answer (scope, key, fingerprint, status, answer, created_at)
VALUES (:scope, :key, :fingerprint, :status, :answer, :now)
ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
    answer = excluded.answer, created_at = excluded.created_at;

-- name: forget_answers
DELETE FROM kept_answer WHERE (scope, key) IN (
    SELECT scope, key FROM kept_answer WHERE created_at <= :now - :kept_for ORDER BY created_at LIMIT :limit)
RETURNING key;
