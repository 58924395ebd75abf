-- Reports set aside because their tenant did not take them: seen, replayed, discarded.

-- name: failing_tenants
SELECT t.pk, t.id FROM tenant_sync s JOIN tenant t ON t.pk = s.tenant_pk
WHERE s.failing_since < now() - make_interval(secs => %(dead_after)s) AND s.switched_off IS NULL ORDER BY t.pk;

-- name: set_aside_unheard
-- Looks at the oldest only, as events come in their order. A tenant that is being called right now is left alone.
WITH s AS (
    SELECT failing_since, failure FROM tenant_sync
    WHERE tenant_pk = %(tenant)s AND failing_since < now() - make_interval(secs => %(dead_after)s)
      AND switched_off IS NULL AND (lease_until IS NULL OR lease_until < now())
    FOR UPDATE SKIP LOCKED),
late AS (
    SELECT e.id, greatest(e.at, s.failing_since) AS since, s.failure
    FROM s CROSS JOIN (SELECT event_id FROM outbox WHERE tenant_pk = %(tenant)s ORDER BY event_id LIMIT %(limit)s) o
    JOIN event e ON e.id = o.event_id
    WHERE e.at < now() - make_interval(secs => %(dead_after)s)),
d AS (DELETE FROM outbox USING late WHERE outbox.event_id = late.id
      RETURNING outbox.event_id, outbox.message_id, late.since, late.failure)
INSERT INTO undelivered (event_id, tenant_pk, message_id, cause, since, dead_at)
SELECT event_id, %(tenant)s, message_id, coalesce(failure, ''), since, now() FROM d RETURNING event_id;

-- name: set_aside_refused
WITH late AS (
    SELECT u.event_id FROM undelivered u JOIN tenant_sync s ON s.tenant_pk = u.tenant_pk
    WHERE u.next_try_at IS NOT NULL AND u.since < now() - make_interval(secs => %(dead_after)s) AND s.switched_off IS NULL
      AND (u.tries > 0 OR s.failing_since < now() - make_interval(secs => %(dead_after)s))
    LIMIT %(limit)s FOR UPDATE OF u SKIP LOCKED)
UPDATE undelivered u SET next_try_at = NULL, dead_at = now(), cause = coalesce(s.failure, u.cause)
FROM late, tenant_sync s, tenant t WHERE u.event_id = late.event_id AND s.tenant_pk = u.tenant_pk AND t.pk = u.tenant_pk
RETURNING t.id;

-- name: dead_letters
SELECT e.id, e.kind, extract(epoch FROM e.at)::float8, e.detail, t.id, m.client_id, a.id, u.cause, u.tries,
       extract(epoch FROM u.since)::float8, extract(epoch FROM u.dead_at)::float8
FROM undelivered u JOIN event e ON e.id = u.event_id JOIN message m ON m.id = u.message_id JOIN tenant t ON t.pk = u.tenant_pk
LEFT JOIN account a ON a.pk = m.account_pk
WHERE u.next_try_at IS NULL AND u.event_id > %(after)s AND (%(tenant)s::bigint IS NULL OR u.tenant_pk = %(tenant)s)
  AND (%(events)s::bigint[] IS NULL OR u.event_id = ANY(%(events)s))
  AND (%(happened_from)s::float8 IS NULL OR e.at >= to_timestamp(%(happened_from)s))
  AND (%(happened_before)s::float8 IS NULL OR e.at < to_timestamp(%(happened_before)s))
ORDER BY u.event_id LIMIT %(limit)s;

-- name: replay
-- Due again at once, with a whole new time to be delivered in.
WITH x AS (
    UPDATE undelivered SET next_try_at = now(), since = now(), tries = 0, dead_at = NULL
    WHERE event_id = ANY(%(events)s) AND next_try_at IS NULL RETURNING event_id, tenant_pk),
s AS (UPDATE tenant_sync SET next_try_at = NULL WHERE tenant_pk IN (SELECT tenant_pk FROM x))
SELECT event_id FROM x;

-- name: discard
DELETE FROM undelivered WHERE event_id = ANY(%(events)s) AND next_try_at IS NULL RETURNING event_id;
