-- What tenants are told, and when.

-- name: claim_tenants
-- The oldest of a tenant's outbox is asked for: EXISTS may be planned as a scan, which a tenant without reports ends last.
WITH due AS (
    SELECT t.pk FROM tenant t JOIN tenant_sync s ON s.tenant_pk = t.pk
    WHERE (t.client_base_url IS NOT NULL OR %(fallback)s) AND s.switched_off IS NULL
      AND (s.lease_until IS NULL OR s.lease_until < now())
      AND (s.poked_at IS NOT NULL
           OR (coalesce(s.next_try_at, now()) <= now() AND (SELECT min(o.event_id) FROM outbox o WHERE o.tenant_pk = t.pk) IS NOT NULL)
           OR (coalesce(s.next_try_at, now()) <= now()
               AND EXISTS (SELECT FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at <= now()))
           OR (coalesce(s.next_try_at, now()) <= now() AND t.active
               AND coalesce(s.last_call_at, 'epoch') <= now() - make_interval(secs => %(interval)s)
               AND coalesce(s.muted_until, now()) <= now()))
    ORDER BY s.poked_at NULLS LAST, s.last_call_at NULLS FIRST LIMIT %(limit)s FOR UPDATE OF s SKIP LOCKED)
UPDATE tenant_sync s SET epoch = %(epoch)s, lease_until = now() + make_interval(secs => %(ttl)s), poked_at = NULL
FROM due JOIN tenant t ON t.pk = due.pk WHERE s.tenant_pk = due.pk
RETURNING t.pk, t.id, t.client_base_url, t.client_sync_path, t.client_auth, s.fails, s.gone, t.report_strict, t.report_format,
    t.webhook_secrets, t.url_set_by_tenant;

-- name: renew_calls
UPDATE tenant_sync SET lease_until = now() + make_interval(secs => %(ttl)s)
WHERE tenant_pk = ANY(%(tenants)s) AND epoch = %(epoch)s;

-- name: free_calls
UPDATE tenant_sync SET epoch = NULL, lease_until = NULL
WHERE epoch IN (SELECT epoch FROM process WHERE owner = ANY(%(owners)s));

-- name: next_call_in
-- 0 when somebody is due now; leases in force count as due when they end.
SELECT extract(epoch FROM min(greatest(coalesce(s.lease_until, now()), CASE
        WHEN s.poked_at IS NOT NULL THEN now()
        WHEN (SELECT min(o.event_id) FROM outbox o WHERE o.tenant_pk = t.pk) IS NOT NULL THEN coalesce(s.next_try_at, now())
        ELSE least((SELECT greatest(u.next_try_at, s.next_try_at) FROM undelivered u
                    WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL ORDER BY u.next_try_at LIMIT 1),
                   CASE WHEN t.active THEN greatest(coalesce(s.last_call_at, 'epoch') + make_interval(secs => %(interval)s),
                                                    s.muted_until, s.next_try_at) END)
    END)) - now())::float8
FROM tenant t JOIN tenant_sync s ON s.tenant_pk = t.pk
WHERE (t.client_base_url IS NOT NULL OR %(fallback)s) AND s.switched_off IS NULL
  AND (t.active OR s.poked_at IS NOT NULL OR (SELECT min(o.event_id) FROM outbox o WHERE o.tenant_pk = t.pk) IS NOT NULL
       OR EXISTS (SELECT FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL));

-- name: sync_standings
SELECT t.id, t.name, t.active, t.client_base_url, extract(epoch FROM now())::float8, extract(epoch FROM s.last_call_at)::float8,
       extract(epoch FROM s.muted_until)::float8, extract(epoch FROM s.next_try_at)::float8, coalesce(s.fails, 0), s.failure,
       s.switched_off, s.poked_at IS NOT NULL,
       (SELECT count(*) FROM outbox o WHERE o.tenant_pk = t.pk)
       + (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL),
       (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NULL)
FROM tenant t LEFT JOIN tenant_sync s ON s.tenant_pk = t.pk
WHERE t.id > coalesce(%(after)s::text, '') ORDER BY t.id LIMIT %(limit)s;

-- name: pending_reports
WITH w AS (
    (SELECT event_id, message_id, 0 AS tries FROM outbox WHERE tenant_pk = %(tenant)s ORDER BY event_id LIMIT %(limit)s)
    UNION ALL
    (SELECT event_id, message_id, tries FROM undelivered WHERE tenant_pk = %(tenant)s AND next_try_at <= now()
     ORDER BY next_try_at, event_id LIMIT %(limit)s))
SELECT e.id, e.kind, extract(epoch FROM e.at)::float8, m.id, m.client_id, a.id, m.priority, m.batch_code, e.detail, w.tries
FROM w JOIN event e ON e.id = w.event_id JOIN message m ON m.id = w.message_id LEFT JOIN account a ON a.pk = m.account_pk
ORDER BY w.event_id LIMIT %(limit)s;

-- name: latest_event
SELECT coalesce(max(id), 0) FROM event;

-- name: events_after
SELECT t.id, e.id, e.kind, extract(epoch FROM e.at)::float8, m.id, m.client_id, a.id, m.priority, m.batch_code, e.detail, 0
FROM event e JOIN message m ON m.id = e.message_id JOIN tenant t ON t.pk = e.tenant_pk LEFT JOIN account a ON a.pk = m.account_pk
WHERE e.id = ANY(ARRAY(SELECT id FROM event WHERE id > %(after)s ORDER BY id LIMIT %(limit)s)) OR e.id = ANY(%(missed)s)
ORDER BY e.id;

-- name: acknowledge
WITH d AS (
    DELETE FROM outbox WHERE tenant_pk = %(tenant)s AND event_id = ANY(%(events)s)
      AND EXISTS (SELECT FROM tenant_sync s WHERE s.tenant_pk = %(tenant)s AND s.epoch = %(epoch)s)
    RETURNING event_id, message_id),
u AS (
    DELETE FROM undelivered WHERE tenant_pk = %(tenant)s AND event_id = ANY(%(events)s)
      AND EXISTS (SELECT FROM tenant_sync s WHERE s.tenant_pk = %(tenant)s AND s.epoch = %(epoch)s)
    RETURNING event_id, message_id),
m AS (UPDATE message SET reported_at = now() WHERE id = ANY(ARRAY(SELECT message_id FROM d UNION ALL SELECT message_id FROM u)))
SELECT event_id FROM d UNION ALL SELECT event_id FROM u;

-- name: hold_reports
WITH r AS (SELECT * FROM json_to_recordset(%(rows)s::json) AS r(event_id bigint, wait float8, cause text)),
d AS (
    DELETE FROM outbox o USING r
    WHERE o.tenant_pk = %(tenant)s AND o.event_id = ANY(ARRAY(SELECT event_id FROM r)) AND o.event_id = r.event_id
      AND EXISTS (SELECT FROM tenant_sync s WHERE s.tenant_pk = %(tenant)s AND s.epoch = %(epoch)s)
    RETURNING o.event_id, o.message_id, r.wait, r.cause),
i AS (
    INSERT INTO undelivered (event_id, tenant_pk, message_id, tries, cause, since, next_try_at)
    SELECT event_id, %(tenant)s, message_id, 1, cause, now(), now() + make_interval(secs => wait) FROM d)
UPDATE undelivered u SET tries = u.tries + 1, cause = r.cause, next_try_at = now() + make_interval(secs => r.wait)
FROM r WHERE u.event_id = r.event_id AND u.tenant_pk = %(tenant)s AND u.next_try_at IS NOT NULL
  AND EXISTS (SELECT FROM tenant_sync s WHERE s.tenant_pk = %(tenant)s AND s.epoch = %(epoch)s);

-- name: settle_call
UPDATE tenant_sync SET epoch = NULL, lease_until = NULL, fails = %(fails)s, gone = %(gone)s, failure = %(failure)s,
       failing_since = CASE WHEN %(failure)s::text IS NOT NULL THEN coalesce(failing_since, now()) END,
       next_try_at = now() + make_interval(secs => %(next_in)s::float8),
       last_call_at = CASE WHEN %(called)s THEN now() ELSE last_call_at END,
       muted_until = CASE WHEN %(called)s THEN coalesce(to_timestamp(%(muted_until)s::float8), muted_until) ELSE muted_until END,
       switched_off = %(switch_off)s, switched_off_at = CASE WHEN %(switch_off)s::text IS NOT NULL THEN now() END
WHERE tenant_pk = %(tenant)s AND epoch = %(epoch)s;

-- name: retry_held_reports
UPDATE undelivered SET next_try_at = now()
WHERE next_try_at > now() AND (%(tenant)s::bigint IS NULL OR tenant_pk = %(tenant)s);

-- name: poke
UPDATE tenant_sync SET poked_at = now(), muted_until = NULL, next_try_at = NULL
WHERE %(tenant)s::bigint IS NULL OR tenant_pk = %(tenant)s;
