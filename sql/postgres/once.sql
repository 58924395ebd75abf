-- Answers that are kept for calls under an Idempotency-Key.

-- name: once_gate
-- Nobody waits for a call under way: what cannot be had at once is refused.
SELECT pg_try_advisory_xact_lock(hashtextextended(%(key)s, %(scope)s::bigint));

-- name: kept_answer
SELECT fingerprint, status, answer FROM kept_answer
WHERE scope = %(scope)s AND key = %(key)s AND created_at > now() - make_interval(secs => %(kept_for)s);

-- name: keep_answer
-- What is there already was kept long enough.
INSERT INTO kept_answer (scope, key, fingerprint, status, answer)
VALUES (%(scope)s, %(key)s, %(fingerprint)s, %(status)s, %(answer)s)
ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
    answer = excluded.answer, created_at = now();

-- name: forget_answers
DELETE FROM kept_answer WHERE (scope, key) IN (
    SELECT scope, key FROM kept_answer WHERE created_at <= now() - make_interval(secs => %(kept_for)s)
    ORDER BY created_at LIMIT %(limit)s)
RETURNING key;
