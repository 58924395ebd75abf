-- The queries of the PostgreSQL dialect, name for name.

-- name: claim_tenants
UPDATE tenant_sync SET epoch = :epoch, lease_until = :now + :ttl, poked_at = NULL
WHERE tenant_pk IN (
    SELECT t.pk FROM tenant t JOIN tenant_sync s ON s.tenant_pk = t.pk
    WHERE (t.client_base_url IS NOT NULL OR :fallback) AND s.switched_off IS NULL
      AND (s.lease_until IS NULL OR s.lease_until < :now)
      AND (s.poked_at IS NOT NULL
           OR (coalesce(s.next_try_at, :now) <= :now AND EXISTS (SELECT 1 FROM outbox o WHERE o.tenant_pk = t.pk))
           OR (coalesce(s.next_try_at, :now) <= :now
               AND EXISTS (SELECT 1 FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at <= :now))
           OR (coalesce(s.next_try_at, :now) <= :now AND t.active AND coalesce(s.last_call_at, 0) <= :now - :interval
               AND coalesce(s.muted_until, :now) <= :now))
    ORDER BY s.poked_at IS NULL, s.poked_at, s.last_call_at LIMIT :limit);
SELECT t.pk, t.id, t.client_base_url, t.client_sync_path, t.client_auth, s.fails, s.gone, t.report_strict, t.report_format,
    t.webhook_secrets, t.url_set_by_tenant
FROM tenant_sync s JOIN tenant t ON t.pk = s.tenant_pk WHERE s.epoch = :epoch AND s.lease_until = :now + :ttl;

-- name: renew_calls
UPDATE tenant_sync SET lease_until = :now + :ttl
WHERE tenant_pk IN (SELECT value FROM json_each(:tenants)) AND epoch = :epoch;

-- name: free_calls
UPDATE tenant_sync SET epoch = NULL, lease_until = NULL
WHERE epoch IN (SELECT epoch FROM process WHERE owner IN (SELECT value FROM json_each(:owners)));

-- name: next_call_in
-- 0 when somebody is due now; leases in force count as due when they end.
SELECT min(max(coalesce(s.lease_until, :now), CASE
        WHEN s.poked_at IS NOT NULL THEN :now
        WHEN EXISTS (SELECT 1 FROM outbox o WHERE o.tenant_pk = t.pk) THEN coalesce(s.next_try_at, :now)
        ELSE min(coalesce((SELECT max(u.next_try_at, coalesce(s.next_try_at, 0)) FROM undelivered u
                           WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL ORDER BY u.next_try_at LIMIT 1), 9e18),
                 CASE WHEN t.active THEN max(coalesce(s.last_call_at, 0) + :interval, coalesce(s.muted_until, 0),
                                             coalesce(s.next_try_at, 0)) ELSE 9e18 END) END)) - :now
FROM tenant t JOIN tenant_sync s ON s.tenant_pk = t.pk
WHERE (t.client_base_url IS NOT NULL OR :fallback) AND s.switched_off IS NULL
  AND (t.active OR s.poked_at IS NOT NULL OR EXISTS (SELECT 1 FROM outbox o WHERE o.tenant_pk = t.pk)
       OR EXISTS (SELECT 1 FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL));

-- name: sync_standings
SELECT t.id, t.name, t.active, t.client_base_url, :now, s.last_call_at,
       s.muted_until, s.next_try_at, coalesce(s.fails, 0), s.failure,
       s.switched_off, s.poked_at IS NOT NULL,
       (SELECT count(*) FROM outbox o WHERE o.tenant_pk = t.pk)
       + (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL),
       (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NULL)
FROM tenant t LEFT JOIN tenant_sync s ON s.tenant_pk = t.pk
WHERE t.id > coalesce(:after, '') ORDER BY t.id LIMIT :limit;

-- name: pending_reports
WITH w AS (
    SELECT * FROM (SELECT event_id, message_id, 0 AS tries FROM outbox WHERE tenant_pk = :tenant ORDER BY event_id LIMIT :limit)
    UNION ALL
    SELECT * FROM (SELECT event_id, message_id, tries FROM undelivered WHERE tenant_pk = :tenant AND next_try_at <= :now
                   ORDER BY next_try_at, event_id LIMIT :limit))
SELECT e.id, e.kind, e.at, m.id, m.client_id, a.id, m.priority, m.batch_code, e.detail, w.tries
FROM w JOIN event e ON e.id = w.event_id JOIN message m ON m.id = w.message_id LEFT JOIN account a ON a.pk = m.account_pk
ORDER BY w.event_id LIMIT :limit;

-- name: latest_event
SELECT coalesce(max(id), 0) FROM event;

-- name: events_after
SELECT t.id, e.id, e.kind, e.at, m.id, m.client_id, a.id, m.priority, m.batch_code, e.detail, 0
FROM event e JOIN message m ON m.id = e.message_id JOIN tenant t ON t.pk = e.tenant_pk LEFT JOIN account a ON a.pk = m.account_pk
WHERE e.id IN (SELECT id FROM (SELECT id FROM event WHERE id > :after ORDER BY id LIMIT :limit) UNION ALL SELECT id FROM event WHERE id IN (SELECT value FROM json_each(:missed)))
ORDER BY e.id;

-- name: acknowledge
CREATE TEMP TABLE IF NOT EXISTS told (event_id INTEGER PRIMARY KEY, message_id INTEGER);
DELETE FROM told;
INSERT INTO told
SELECT event_id, message_id FROM outbox WHERE tenant_pk = :tenant AND event_id IN (SELECT value FROM json_each(:events))
UNION ALL
SELECT event_id, message_id FROM undelivered WHERE tenant_pk = :tenant AND event_id IN (SELECT value FROM json_each(:events));
DELETE FROM told WHERE NOT EXISTS (SELECT 1 FROM tenant_sync s WHERE s.tenant_pk = :tenant AND s.epoch = :epoch);
UPDATE message SET reported_at = :now WHERE id IN (SELECT message_id FROM told);
DELETE FROM outbox WHERE event_id IN (SELECT event_id FROM told);
DELETE FROM undelivered WHERE event_id IN (SELECT event_id FROM told);
SELECT event_id FROM told;

-- name: hold_reports
UPDATE undelivered SET tries = tries + 1, cause = :cause, next_try_at = :now + :wait
WHERE event_id = :event_id AND tenant_pk = :tenant AND next_try_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM tenant_sync s WHERE s.tenant_pk = :tenant AND s.epoch = :epoch);
INSERT INTO undelivered (event_id, tenant_pk, message_id, tries, cause, since, next_try_at)
SELECT o.event_id, o.tenant_pk, o.message_id, 1, :cause, :now, :now + :wait FROM outbox o
WHERE o.event_id = :event_id AND o.tenant_pk = :tenant
  AND EXISTS (SELECT 1 FROM tenant_sync s WHERE s.tenant_pk = :tenant AND s.epoch = :epoch);
DELETE FROM outbox WHERE event_id = :event_id AND tenant_pk = :tenant
  AND EXISTS (SELECT 1 FROM undelivered u WHERE u.event_id = :event_id);

-- name: settle_call
UPDATE tenant_sync SET epoch = NULL, lease_until = NULL, fails = :fails, gone = :gone, failure = :failure,
       failing_since = CASE WHEN :failure IS NOT NULL THEN coalesce(failing_since, :now) END,
       next_try_at = :now + :next_in,
       last_call_at = CASE WHEN :called THEN :now ELSE last_call_at END,
       muted_until = CASE WHEN :called THEN coalesce(:muted_until, muted_until) ELSE muted_until END,
       switched_off = :switch_off, switched_off_at = CASE WHEN :switch_off IS NOT NULL THEN :now END
WHERE tenant_pk = :tenant AND epoch = :epoch;

-- name: retry_held_reports
UPDATE undelivered SET next_try_at = :now WHERE next_try_at > :now AND (:tenant IS NULL OR tenant_pk = :tenant);

-- name: poke
UPDATE tenant_sync SET poked_at = :now, muted_until = NULL, next_try_at = NULL
WHERE :tenant IS NULL OR tenant_pk = :tenant;
