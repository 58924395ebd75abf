-- The queries of the PostgreSQL dialect, name for name.

-- name: failing_tenants
SELECT t.pk, t.id FROM tenant_sync s JOIN tenant t ON t.pk = s.tenant_pk
WHERE s.failing_since < :now - :dead_after AND s.switched_off IS NULL ORDER BY t.pk;

-- name: set_aside_unheard
INSERT INTO undelivered (event_id, tenant_pk, message_id, cause, since, dead_at)
SELECT o.event_id, :tenant, o.message_id, coalesce(s.failure, ''), max(e.at, s.failing_since), :now
FROM (SELECT event_id, message_id FROM outbox WHERE tenant_pk = :tenant ORDER BY event_id LIMIT :limit) o
JOIN event e ON e.id = o.event_id JOIN tenant_sync s ON s.tenant_pk = :tenant
WHERE s.failing_since < :now - :dead_after AND s.switched_off IS NULL AND coalesce(s.lease_until, 0) < :now
  AND e.at < :now - :dead_after;
DELETE FROM outbox WHERE event_id IN (SELECT event_id FROM outbox WHERE tenant_pk = :tenant ORDER BY event_id LIMIT :limit)
  AND EXISTS (SELECT 1 FROM undelivered u WHERE u.event_id = outbox.event_id)
RETURNING event_id;

-- name: set_aside_refused
CREATE TEMP TABLE IF NOT EXISTS late (event_id INTEGER PRIMARY KEY);
DELETE FROM late;
INSERT INTO late
SELECT u.event_id FROM undelivered u JOIN tenant_sync s ON s.tenant_pk = u.tenant_pk
WHERE u.next_try_at IS NOT NULL AND u.since < :now - :dead_after AND s.switched_off IS NULL
  AND (u.tries > 0 OR s.failing_since < :now - :dead_after)
LIMIT :limit;
UPDATE undelivered SET next_try_at = NULL, dead_at = :now,
       cause = coalesce((SELECT s.failure FROM tenant_sync s WHERE s.tenant_pk = undelivered.tenant_pk), cause)
WHERE event_id IN (SELECT event_id FROM late);
SELECT t.id FROM late JOIN undelivered u ON u.event_id = late.event_id JOIN tenant t ON t.pk = u.tenant_pk;

-- name: dead_letters
SELECT e.id, e.kind, e.at, e.detail, t.id, m.client_id, a.id, u.cause, u.tries, u.since, u.dead_at
FROM undelivered u JOIN event e ON e.id = u.event_id JOIN message m ON m.id = u.message_id JOIN tenant t ON t.pk = u.tenant_pk
LEFT JOIN account a ON a.pk = m.account_pk
WHERE u.next_try_at IS NULL AND u.event_id > :after AND (:tenant IS NULL OR u.tenant_pk = :tenant)
  AND (:events IS NULL OR u.event_id IN (SELECT value FROM json_each(:events)))
  AND (:happened_from IS NULL OR e.at >= :happened_from)
  AND (:happened_before IS NULL OR e.at < :happened_before)
ORDER BY u.event_id LIMIT :limit;

-- name: replay
UPDATE tenant_sync SET next_try_at = NULL WHERE tenant_pk IN (
    SELECT tenant_pk FROM undelivered WHERE event_id IN (SELECT value FROM json_each(:events)) AND next_try_at IS NULL);
UPDATE undelivered SET next_try_at = :now, since = :now, tries = 0, dead_at = NULL
WHERE event_id IN (SELECT value FROM json_each(:events)) AND next_try_at IS NULL RETURNING event_id;

-- name: discard
DELETE FROM undelivered WHERE event_id IN (SELECT value FROM json_each(:events)) AND next_try_at IS NULL RETURNING event_id;
