-- name: register
INSERT INTO process (owner, node, role, started_at, seen_at) VALUES (:owner, :node, :role, :now, :now) RETURNING epoch;

-- name: beat
UPDATE process SET seen_at = :now WHERE epoch = :epoch AND left_at IS NULL RETURNING epoch;

-- name: leave
UPDATE process SET left_at = :now WHERE epoch = :epoch;

-- name: schema_versions
SELECT version FROM schema_migration;

-- name: processes
SELECT epoch, owner, node, role, started_at, seen_at
FROM process WHERE left_at IS NULL ORDER BY epoch;

-- name: forget_dead
-- A row stays while something is left of its process: a lease, or a queue row to settle.
DELETE FROM process AS p WHERE coalesce(p.left_at, p.seen_at) < :now - :silent
  AND NOT EXISTS (SELECT 1 FROM account_lease l WHERE l.epoch = p.epoch)
  AND NOT EXISTS (SELECT 1 FROM q WHERE q.epoch = p.epoch)
RETURNING epoch;

-- name: check_write
UPDATE instance SET created_at = created_at WHERE one = 1 RETURNING 1;

-- name: instance_bits
SELECT bits FROM instance;

-- name: canary
SELECT canary FROM instance;

-- name: put_canary
UPDATE instance SET canary = :sealed WHERE canary IS NULL RETURNING 1;

-- name: overview_counts
SELECT NOT EXISTS (SELECT 1 FROM suspension WHERE tenant_pk = 0 AND batch_code = ''),
       (SELECT count(*) FROM tenant), (SELECT count(*) FROM account);

-- name: totals
SELECT count(*), count(*) FILTER (WHERE status = 1), count(*) FILTER (WHERE status = 2), count(*) FILTER (WHERE status = 3)
FROM message;

-- name: overview_queue
SELECT count(*), :now - min(due_at) FILTER (WHERE due_at <= :now AND NOT held) FROM q;

-- name: tenant_queue
SELECT count(*), :now - min(due_at) FILTER (WHERE due_at <= :now AND NOT held) FROM q
WHERE account_pk IN (SELECT pk FROM account WHERE tenant_pk = :tenant);

-- name: overview_reports
WITH w AS (
    SELECT event_id FROM outbox WHERE (:tenant IS NULL OR tenant_pk = :tenant)
    UNION ALL
    SELECT event_id FROM undelivered WHERE next_try_at IS NOT NULL AND (:tenant IS NULL OR tenant_pk = :tenant))
SELECT count(*), :now - (SELECT at FROM event WHERE id = (SELECT min(event_id) FROM w)),
       (SELECT count(*) FROM undelivered WHERE next_try_at IS NULL AND (:tenant IS NULL OR tenant_pk = :tenant)),
       (SELECT count(*) FROM tenant_sync WHERE switched_off IS NOT NULL) FROM w;

-- name: depths
SELECT t.id, a.id, d.priority, d.depth, max(d.age, 0)
FROM (SELECT account_pk, priority, count(*) AS depth, :now - min(due_at) AS age
      FROM q GROUP BY account_pk, priority) d
JOIN account a ON a.pk = d.account_pk JOIN tenant t ON t.pk = a.tenant_pk
ORDER BY t.id, a.id, d.priority;

-- name: account_conditions
SELECT a.pk, t.id, a.id, coalesce(st.condition, 'ok')
FROM account a JOIN tenant t ON t.pk = a.tenant_pk LEFT JOIN account_state st ON st.account_pk = a.pk
ORDER BY t.id, a.id;

-- name: limit_windows
SELECT r.scope, r.win, r.lim, r.slot_s, r.slots, coalesce(s.slot, 0), coalesce(s.n, 0), :now
FROM rate_limit r LEFT JOIN rate_slot s USING (kind, scope, win) WHERE r.kind = 1 ORDER BY r.scope, r.lim, r.win;
