-- The queries of the PostgreSQL dialect, name for name. SQLite has no data-modifying CTEs: a query is several
-- statements of one transaction, guards first. One that names a column of the step's rows runs once a row; the
-- answer is that of the last statement that runs once. One writer at a time makes every lock clause superfluous.
-- :now is the host's clock, the only one there is.

-- name: enqueue
INSERT INTO message (tenant_pk, account_pk, client_id, priority, batch_code, header_id, status, error, created_at, updated_at, done_at)
VALUES (:tenant, :account_pk, :client_id, :priority, :batch_code, :header_id, CASE WHEN :error IS NULL THEN 0 ELSE 2 END, :error, :now, :now,
        CASE WHEN :error IS NOT NULL THEN :now END)
ON CONFLICT (tenant_pk, client_id) DO NOTHING;
INSERT INTO body (message_id, payload)
SELECT id, :payload FROM message WHERE tenant_pk = :tenant AND client_id = :client_id AND id > :former;
INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, batch_code, priority, held)
SELECT id, :tenant, :account_pk, coalesce(:due_at, :now),
       coalesce(:expires_at, max(:now, coalesce(:due_at, :now)) + :max_age), :batch_code, :priority,
       :batch_code IS NOT NULL AND EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_pk = :tenant AND s.batch_code = :batch_code)
FROM message WHERE tenant_pk = :tenant AND client_id = :client_id AND id > :former AND status = 0;
INSERT INTO event (tenant_pk, message_id, kind, detail, at)
SELECT :tenant, id, 'error', json_object('error', error), :now FROM message
WHERE tenant_pk = :tenant AND id > :former AND status = 2;
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT id, :tenant, message_id FROM event
WHERE message_id > :former AND (:fallback OR EXISTS (SELECT 1 FROM tenant t WHERE t.pk = :tenant AND t.client_base_url IS NOT NULL));
SELECT id, client_id FROM message WHERE tenant_pk = :tenant AND id > :former;

-- name: enqueue_existing_rows
SELECT q.id, q.phase FROM json_each(:client_ids) c JOIN message m ON m.tenant_pk = :tenant AND m.client_id = c.value
JOIN q ON q.id = m.id;

-- name: enqueue_existing
SELECT m.id, m.client_id, m.status, q.phase FROM json_each(:client_ids) c
JOIN message m ON m.tenant_pk = :tenant AND m.client_id = c.value LEFT JOIN q ON q.id = m.id ORDER BY m.id;

-- name: enqueue_replace
UPDATE message SET account_pk = :account_pk, priority = :priority, batch_code = :batch_code, header_id = :header_id, status = 0, error = NULL,
       done_at = NULL, reported_at = NULL, attempts = 0, revision = revision + 1, updated_at = :now
WHERE id = :id;
INSERT INTO body (message_id, payload) VALUES (:id, :payload) ON CONFLICT (message_id) DO UPDATE SET payload = excluded.payload,
    fetched = NULL, logins = NULL;
DELETE FROM recipient_state WHERE message_id = :id;
INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, batch_code, revision, priority, held)
SELECT id, :tenant, :account_pk, coalesce(:due_at, :now),
       coalesce(:expires_at, max(:now, coalesce(:due_at, :now)) + :max_age), :batch_code, revision, :priority,
       :batch_code IS NOT NULL AND EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_pk = :tenant AND s.batch_code = :batch_code)
FROM message WHERE id = :id
ON CONFLICT (id) DO UPDATE SET account_pk = excluded.account_pk, due_at = excluded.due_at,
    expires_at = excluded.expires_at, batch_code = excluded.batch_code, revision = excluded.revision,
    priority = excluded.priority, held = excluded.held, attempts = 0, crashes = 0, suspect = 0;

-- name: enqueue_suppressed
INSERT INTO recipient_state (message_id, rcpt, accepted, permanent, address, code, enhanced, reply)
VALUES (:message_id, :rcpt, :accepted, :permanent, :address, :code, :enhanced, :reply);

-- name: enqueue_gate
SELECT pk FROM account WHERE pk IN (SELECT value FROM json_each(:accounts));

-- name: enqueue_former
SELECT coalesce(max(id), 0) FROM message;

-- name: queued
SELECT count(*) FROM (
    SELECT 1 FROM account a JOIN q ON q.account_pk = a.pk WHERE a.tenant_pk = :tenant LIMIT :at_most);

-- name: due_accounts
WITH RECURSIVE seen (account_pk) AS (
    SELECT * FROM (SELECT account_pk FROM q WHERE :newer_than = 9e999 ORDER BY account_pk LIMIT 1)
    UNION ALL
    SELECT (SELECT q.account_pk FROM q WHERE q.account_pk > seen.account_pk ORDER BY q.account_pk LIMIT 1)
    FROM seen WHERE seen.account_pk IS NOT NULL),
slots (slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM slots WHERE slot + 1 < :slots),
asked AS (
    SELECT account_pk FROM seen WHERE account_pk IS NOT NULL UNION ALL SELECT pk FROM account WHERE :newer_than < 9e999),
head AS (
    SELECT asked.account_pk, min(
        coalesce((SELECT q.due_at FROM q WHERE q.account_pk = asked.account_pk AND q.held = 0 AND q.priority = 0
            AND q.due_at >= :now - :newer_than ORDER BY q.due_at LIMIT 1), 9e18),
        coalesce((SELECT q.due_at FROM q WHERE q.account_pk = asked.account_pk AND q.held = 0 AND q.priority = 1
            AND q.due_at >= :now - :newer_than ORDER BY q.due_at LIMIT 1), 9e18),
        coalesce((SELECT q.due_at FROM q WHERE q.account_pk = asked.account_pk AND q.held = 0 AND q.priority = 2
            AND q.due_at >= :now - :newer_than ORDER BY q.due_at LIMIT 1), 9e18),
        coalesce((SELECT q.due_at FROM q WHERE q.account_pk = asked.account_pk AND q.held = 0 AND q.priority = 3
            AND q.due_at >= :now - :newer_than ORDER BY q.due_at LIMIT 1), 9e18)
    ) AS due_at FROM asked),
due AS (
    SELECT head.account_pk, max(head.due_at, coalesce(st.not_before, 0)) AS at
    FROM head JOIN account a ON a.pk = head.account_pk LEFT JOIN account_state st ON st.account_pk = a.pk
    WHERE head.due_at < 9e18 AND coalesce(st.condition, 'ok') <> 'breaker_open'
      AND NOT EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_pk IN (0, a.tenant_pk) AND s.batch_code = '')
    UNION ALL
    SELECT l.account_pk, :now FROM account_lease l JOIN account a ON a.pk = l.account_pk WHERE l.expires_at < :now)
SELECT due.account_pk, slots.slot, min(due.at) - :now
FROM due CROSS JOIN slots
LEFT JOIN account_lease l ON l.account_pk = due.account_pk AND l.slot = slots.slot AND l.expires_at > :now
LEFT JOIN process p ON p.epoch = l.epoch
WHERE l.epoch IS NULL OR p.node = :node
GROUP BY due.account_pk, slots.slot
ORDER BY due.account_pk, slots.slot;

-- name: lease_former
SELECT epoch FROM account_lease WHERE account_pk = :account AND slot = :slot;

-- name: take_lease
INSERT INTO account_lease (account_pk, slot, epoch, expires_at)
SELECT pk, :slot, :epoch, :now + :ttl FROM account WHERE pk = :account
ON CONFLICT (account_pk, slot) DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at
WHERE account_lease.expires_at < :now OR account_lease.epoch = excluded.epoch
   OR account_lease.expires_at > :now + 2 * :ttl -- the clock was set back
   OR account_lease.epoch IN (SELECT epoch FROM process WHERE owner IN (SELECT value FROM json_each(:succeeds)))
RETURNING epoch;

-- name: renew_leases
UPDATE account_lease SET expires_at = :now + :ttl WHERE epoch = :epoch
  AND account_pk IN (SELECT value FROM json_each(:accounts)) AND expires_at > :now RETURNING account_pk, slot;

-- name: release_leases
-- Where something claimed is left the lease only ends: the scout then has somebody look, whatever the account's state.
UPDATE account_lease SET expires_at = :now - 0.001
WHERE epoch = :epoch AND (:account IS NULL OR (account_pk = :account AND slot = :slot))
  AND EXISTS (SELECT 1 FROM q WHERE q.account_pk = account_lease.account_pk AND q.phase > 0);
DELETE FROM account_lease WHERE epoch = :epoch AND (:account IS NULL OR (account_pk = :account AND slot = :slot))
  AND NOT EXISTS (SELECT 1 FROM q WHERE q.account_pk = account_lease.account_pk AND q.phase > 0);

-- name: unclaim
UPDATE q SET epoch = NULL, phase = 0, charged_at = NULL, attempts = max(attempts - 1, 0)
WHERE account_pk = :account AND epoch = :epoch AND phase = 1 AND id NOT IN (SELECT value FROM json_each(:known))
RETURNING id;

-- name: recover_claimed
UPDATE q SET crashes = crashes + (suspect = 2), suspect = 1, attempts = max(attempts - 1, 0), charged_at = NULL,
       epoch = CASE WHEN crashes + (suspect = 2) >= :poison_after THEN :epoch END,
       phase = CASE WHEN crashes + (suspect = 2) >= :poison_after THEN 1 ELSE 0 END
WHERE account_pk = :account AND epoch <> :epoch AND phase = 1
  AND NOT EXISTS (SELECT 1 FROM account_lease l
      WHERE l.account_pk = q.account_pk AND l.epoch = q.epoch AND l.expires_at > :now)
RETURNING id, revision, attempts, claim, crashes;

-- name: recover_authorised
UPDATE q SET epoch = :epoch
WHERE q.id IN (
    SELECT d.id FROM q d LEFT JOIN process p ON p.epoch = d.epoch
    WHERE d.account_pk = :account AND d.epoch <> :epoch AND d.phase = 2
      AND NOT EXISTS (SELECT 1 FROM account_lease l
          WHERE l.account_pk = d.account_pk AND l.epoch = d.epoch AND l.expires_at > :now)
      AND (p.epoch IS NULL OR p.node = :node OR p.seen_at < :now - :grace))
RETURNING q.id, q.revision, (SELECT client_id FROM message WHERE message.id = q.id), q.attempts, q.claim,
          (SELECT created_at FROM message WHERE message.id = q.id);

-- name: recover_left
SELECT count(*) FROM q WHERE account_pk = :account AND epoch <> :epoch AND phase = 2
  AND NOT EXISTS (SELECT 1 FROM account_lease l
      WHERE l.account_pk = q.account_pk AND l.epoch = q.epoch AND l.expires_at > :now);

-- name: ended_leases
SELECT slot FROM account_lease WHERE account_pk = :account AND expires_at < :now ORDER BY slot;

-- name: forget_leases
DELETE FROM account_lease WHERE account_pk = :account AND expires_at < :now
  AND (NOT EXISTS (SELECT 1 FROM q WHERE q.account_pk = account_lease.account_pk AND q.epoch = account_lease.epoch)
       OR EXISTS (SELECT 1 FROM account_lease f WHERE f.account_pk = account_lease.account_pk AND f.epoch = account_lease.epoch
                  AND f.expires_at > :now));

-- name: suspect_alone
UPDATE q SET suspect = :suspect WHERE id = :id AND epoch = :epoch AND phase = 1 RETURNING id;

-- name: claim_lock
SELECT a.version, a.limit_behavior, st.condition, st.not_before - :now, st.fails,
       EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_pk IN (0, a.tenant_pk) AND s.batch_code = ''),
       EXISTS (SELECT 1 FROM account_lease e WHERE e.account_pk = a.pk AND e.expires_at < :now
               AND NOT EXISTS (SELECT 1 FROM account_lease f WHERE f.account_pk = a.pk AND f.epoch = e.epoch AND f.expires_at > :now))
FROM account_lease l JOIN account a ON a.pk = l.account_pk JOIN account_state st ON st.account_pk = a.pk
WHERE l.account_pk = :account AND l.slot = :slot AND l.epoch = :epoch AND l.expires_at > :now;

-- name: limits_lock
SELECT r.kind, r.scope, r.win, r.slot_s, r.slots, r.lim FROM rate_limit r
WHERE (r.kind = 1 AND r.scope IN (SELECT value FROM json_each(:accounts)))
   OR (r.kind = 0 AND r.scope IN (SELECT tenant_pk FROM account WHERE pk IN (SELECT value FROM json_each(:accounts))))
ORDER BY r.kind, r.scope, r.win;

-- name: limits_used
SELECT s.kind, s.scope, s.win, s.slot, s.n, :now FROM rate_slot s
WHERE (s.kind = 1 AND s.scope IN (SELECT value FROM json_each(:accounts)))
   OR (s.kind = 0 AND s.scope IN (SELECT tenant_pk FROM account WHERE pk IN (SELECT value FROM json_each(:accounts))))
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, :now;

-- name: limits_charge
DELETE FROM rate_slot WHERE kind = :kind AND scope = :scope AND win = :win AND slot < (
    SELECT :slot - l.slots - 3 - 1 / l.slot_s FROM rate_limit l WHERE l.kind = :kind AND l.scope = :scope AND l.win = :win);
INSERT INTO rate_slot (kind, scope, win, slot, n) VALUES (:kind, :scope, :win, :slot, :n)
ON CONFLICT (kind, scope, win, slot) DO UPDATE SET n = n + excluded.n;

-- name: limits_refund
UPDATE rate_slot SET n = max(rate_slot.n - 1, 0)
FROM (SELECT l.kind, l.scope, l.win, CAST(q.charged_at / l.slot_s AS INTEGER) AS slot
      FROM q JOIN rate_limit l ON (l.kind = 1 AND l.scope = q.account_pk) OR (l.kind = 0 AND l.scope = q.tenant_pk)
      WHERE q.id = :id AND q.epoch = :epoch AND q.claim = :claim AND q.revision = :revision AND q.charged_at IS NOT NULL) c
WHERE rate_slot.kind = c.kind AND rate_slot.scope = c.scope AND rate_slot.win = c.win AND rate_slot.slot = c.slot;

-- name: claim
UPDATE q SET epoch = :epoch, phase = 1, attempts = attempts + 1, claim = claim + 1, charged_at = :at
WHERE id IN (
    SELECT id FROM (
        SELECT * FROM (SELECT id, priority, due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 0
                       AND due_at BETWEEN :since_immediate AND :now AND epoch IS NULL ORDER BY due_at, id LIMIT :limit)
        UNION ALL
        SELECT * FROM (SELECT id, priority, due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 1
                       AND due_at BETWEEN :since_high AND :now AND epoch IS NULL ORDER BY due_at, id LIMIT :limit)
        UNION ALL
        SELECT * FROM (SELECT id, priority, due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 2
                       AND due_at BETWEEN :since_medium AND :now AND epoch IS NULL ORDER BY due_at, id LIMIT :limit)
        UNION ALL
        SELECT * FROM (SELECT id, priority, due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 3
                       AND due_at BETWEEN :since_low AND :now AND epoch IS NULL ORDER BY due_at, id LIMIT :limit)
    ) ORDER BY priority, due_at, id LIMIT :limit)
RETURNING id, revision, (SELECT client_id FROM message WHERE message.id = q.id), attempts, claim, crashes, suspect > 0, priority,
    (SELECT created_at FROM message WHERE message.id = q.id), :now - due_at, expires_at <= :now, batch_code,
    (SELECT CASE WHEN length(CAST(payload AS BLOB)) <= :longest THEN payload END FROM body WHERE message_id = q.id),
    (SELECT json_group_array(json_array(s.rcpt, s.accepted, s.address, s.code, s.enhanced, s.reply, s.permanent))
     FROM recipient_state s WHERE s.message_id = q.id HAVING count(*) > 0),
    (SELECT length(CAST(payload AS BLOB)) FROM body WHERE message_id = q.id), (SELECT fetched FROM body WHERE message_id = q.id);

-- name: payload
SELECT payload, logins FROM body WHERE message_id = :id;

-- name: keep_logins
UPDATE body SET logins = :logins WHERE message_id = :id RETURNING message_id;

-- name: remember_fetched
UPDATE body SET fetched = coalesce(fetched, :fetched)
WHERE message_id = :id AND EXISTS (SELECT 1 FROM q WHERE q.id = :id AND q.epoch = :epoch AND q.claim = :claim)
RETURNING fetched;

-- name: next_due
-- Nothing keeps finished rows in an index here, so looking never takes long.
SELECT 0, (SELECT due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 0 AND due_at >= :since_immediate
           AND epoch IS NULL ORDER BY due_at LIMIT 1), :now, 0.0
UNION ALL
SELECT 1, (SELECT due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 1 AND due_at >= :since_high
           AND epoch IS NULL ORDER BY due_at LIMIT 1), :now, 0.0
UNION ALL
SELECT 2, (SELECT due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 2 AND due_at >= :since_medium
           AND epoch IS NULL ORDER BY due_at LIMIT 1), :now, 0.0
UNION ALL
SELECT 3, (SELECT due_at FROM q WHERE account_pk = :account AND held = 0 AND priority = 3 AND due_at >= :since_low
           AND epoch IS NULL ORDER BY due_at LIMIT 1), :now, 0.0;

-- name: rest_until_token
UPDATE account_state SET not_before = :now + :wait, reason = 'rate_limit' WHERE account_pk = :account;

-- name: suspension_shared
SELECT 1;

-- name: intend_candidates
SELECT q.id, q.account_pk, q.tenant_pk, q.charged_at FROM json_each(:ids) r JOIN q ON q.id = r.value
WHERE q.epoch = :epoch AND q.phase = 1;

-- name: intend
-- Without the clock of a charge only what was charged at its claim, or has no limit: one may be new.
UPDATE q SET phase = 2, charged_at = coalesce(:at, charged_at)
WHERE q.id IN (SELECT value FROM json_each(:ids)) AND q.epoch = :epoch AND q.phase = 1 AND NOT q.held
  AND NOT EXISTS (SELECT 1 FROM suspension s
      WHERE s.tenant_pk IN (0, q.tenant_pk) AND s.batch_code IN ('', coalesce(q.batch_code, '')))
  AND EXISTS (SELECT 1 FROM account_lease l
      WHERE l.account_pk = q.account_pk AND l.epoch = q.epoch AND l.expires_at > :now)
  AND (:at IS NOT NULL OR q.charged_at IS NOT NULL OR NOT EXISTS (SELECT 1 FROM rate_limit r
      WHERE (r.kind = 1 AND r.scope = q.account_pk) OR (r.kind = 0 AND r.scope = q.tenant_pk)))
RETURNING q.id;

-- name: finish
UPDATE message SET status = :status, error = :error, attempts = (SELECT max(attempts - :refund, 0) FROM q WHERE q.id = :id),
       done_at = :now, updated_at = :now
WHERE id = :id AND EXISTS (SELECT 1 FROM q WHERE q.id = :id AND q.epoch = :epoch AND q.claim = :claim AND q.revision = :revision);
INSERT INTO event (tenant_pk, message_id, kind, detail, at)
SELECT tenant_pk, id, :kind, :detail, :now FROM q WHERE id = :id AND epoch = :epoch AND claim = :claim AND revision = :revision;
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = :id), q.tenant_pk, q.id FROM q JOIN tenant t ON t.pk = q.tenant_pk
WHERE q.id = :id AND q.epoch = :epoch AND q.claim = :claim AND q.revision = :revision
  AND (:fallback OR t.client_base_url IS NOT NULL);
DELETE FROM q WHERE id = :id AND epoch = :epoch AND claim = :claim AND revision = :revision RETURNING id;

-- name: release
INSERT INTO event (tenant_pk, message_id, kind, detail, at)
SELECT tenant_pk, id, :kind, :detail, :now FROM q
WHERE id = :id AND epoch = :epoch AND claim = :claim AND revision = :revision AND :kind IS NOT NULL;
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = :id), q.tenant_pk, q.id FROM q JOIN tenant t ON t.pk = q.tenant_pk
WHERE q.id = :id AND q.epoch = :epoch AND q.claim = :claim AND q.revision = :revision AND :kind IS NOT NULL
  AND (:fallback OR t.client_base_url IS NOT NULL);
UPDATE q SET epoch = NULL, phase = 0, charged_at = NULL, due_at = coalesce(:now + :delay, due_at),
       attempts = max(attempts - :refund, 0), suspect = CASE WHEN phase = 2 THEN 0 ELSE min(suspect, 1) END,
       held = batch_code IS NOT NULL AND EXISTS (SELECT 1 FROM suspension s
           WHERE s.tenant_pk = q.tenant_pk AND s.batch_code = q.batch_code)
WHERE id = :id AND epoch = :epoch AND claim = :claim AND revision = :revision RETURNING id;

-- name: recipients_settled
INSERT INTO recipient_state (message_id, rcpt, accepted, permanent, address, code, enhanced, reply)
SELECT :message_id, :rcpt, :accepted, :permanent, :address, :code, :enhanced, :reply
FROM q WHERE q.id = :message_id AND q.epoch = :epoch AND q.claim = :claim AND q.revision = :revision
ON CONFLICT (message_id, rcpt) DO UPDATE SET accepted = excluded.accepted, permanent = excluded.permanent,
    code = excluded.code, enhanced = excluded.enhanced, reply = excluded.reply;

-- name: late_evidence
INSERT INTO event (tenant_pk, message_id, kind, detail, at)
SELECT m.tenant_pk, m.id, 'sent', :detail, :now FROM message m LEFT JOIN q ON q.id = m.id
WHERE m.id = :id AND m.revision = :revision AND (m.status = 3 OR q.phase < 2);
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = :id), m.tenant_pk, m.id
FROM message m JOIN tenant t ON t.pk = m.tenant_pk LEFT JOIN q ON q.id = m.id
WHERE m.id = :id AND m.revision = :revision AND (m.status = 3 OR q.phase < 2) AND (:fallback OR t.client_base_url IS NOT NULL);
UPDATE message SET status = 1, error = NULL, done_at = :now, updated_at = :now
WHERE id = :id AND revision = :revision
  AND (status = 3 OR EXISTS (SELECT 1 FROM q WHERE q.id = message.id AND q.phase < 2));
DELETE FROM q WHERE id = :id AND phase < 2 AND EXISTS (
    SELECT 1 FROM message m WHERE m.id = :id AND m.revision = :revision AND m.status = 1);
SELECT id FROM message WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 1 AND done_at = :now;

-- name: account_condition
SELECT condition, reason FROM account_state WHERE account_pk = :account;

-- name: back_off
UPDATE account_state SET since = CASE WHEN condition = 'ok' OR since IS NULL THEN :now ELSE since END,
       condition = :condition, reason = :reason, cause = :cause, fails = fails + 1, not_before = :now + :delay
WHERE account_pk = :account RETURNING fails;

-- name: account_works
UPDATE account_state SET condition = 'ok', reason = NULL, cause = NULL, since = NULL, fails = 0, not_before = NULL
WHERE account_pk = :account AND condition <> 'ok' RETURNING account_pk;
