-- The queries of the PostgreSQL dialect, name for name.

-- name: account_mailboxes
SELECT a.pk, a.tenant_pk, t.id, a.id, a.version, a.host, a.port, a.username, a.secret, a.use_tls, a.tls_verify, a.tls_ca, a.ttl,
       a.batch_size, a.max_retries, a.retry_delays, a.on_unknown_outcome, a.limit_behavior, a.host_set_by_tenant,
       a.is_pec_account, a.pec_address, a.imap_host, a.imap_port, a.imap_user, a.imap_secret, a.imap_folder, a.imap_ssl,
       a.imap_host_set_by_tenant
FROM account a JOIN tenant t ON t.pk = a.tenant_pk LEFT JOIN mailbox b ON coalesce(b.account_pk, 0) = +a.pk
WHERE a.imap_host IS NOT NULL AND t.active AND a.pk NOT IN (SELECT value FROM json_each(:held))
  AND (coalesce(b.lease_until, :now) <= :now OR b.epoch IN (
      SELECT epoch FROM process WHERE owner IN (SELECT value FROM json_each(:succeeds))))
  AND (:asked OR coalesce(b.next_try_at, :now) <= :now)
ORDER BY b.checked_at NULLS FIRST, a.pk LIMIT :limit;

-- name: lease_mailbox
INSERT INTO mailbox AS b (account_pk, place, epoch, lease_until) VALUES (:account, :place, :epoch, :now + :ttl)
ON CONFLICT (coalesce(account_pk, 0)) DO UPDATE SET
    epoch = excluded.epoch, lease_until = excluded.lease_until, place = excluded.place,
    uidvalidity = CASE WHEN b.place = excluded.place THEN b.uidvalidity END,
    last_uid = CASE WHEN b.place = excluded.place THEN b.last_uid ELSE 0 END,
    fails = CASE WHEN b.place = excluded.place THEN b.fails ELSE 0 END
WHERE (coalesce(b.lease_until, :now) <= :now OR b.epoch = excluded.epoch OR b.epoch IN (
       SELECT epoch FROM process WHERE owner IN (SELECT value FROM json_each(:succeeds))))
  AND (:asked OR coalesce(b.next_try_at, :now) <= :now OR b.place <> excluded.place)
RETURNING pk, fails;

-- name: renew_mailboxes
UPDATE mailbox SET lease_until = :now + :ttl
WHERE pk IN (SELECT value FROM json_each(:mailboxes)) AND epoch = :epoch AND lease_until > :now RETURNING pk;

-- name: mailbox_settled
UPDATE mailbox SET lease_until = NULL, epoch = NULL, checked_at = :now, failure = :failure,
       fails = CASE WHEN :failure IS NULL THEN 0 ELSE fails + 1 END,
       failing_since = CASE WHEN :failure IS NOT NULL THEN coalesce(failing_since, :now) END,
       next_try_at = :now + :wait
WHERE pk = :mailbox AND epoch = :epoch;

-- name: mailbox_left
UPDATE mailbox SET lease_until = NULL, epoch = NULL, next_try_at = :now WHERE pk = :mailbox AND epoch = :epoch;

-- name: mailbox_checked
UPDATE mailbox SET checked_at = :now, fails = 0, failure = NULL, failing_since = NULL
WHERE pk = :mailbox AND epoch = :epoch AND lease_until > :now RETURNING pk;

-- name: open_folder
UPDATE mailbox SET last_uid = CASE WHEN uidvalidity = :uidvalidity THEN last_uid ELSE 0 END,
       stuck_uid = CASE WHEN uidvalidity = :uidvalidity THEN stuck_uid END, uidvalidity = :uidvalidity
WHERE pk = :mailbox AND epoch = :epoch AND lease_until > :now RETURNING last_uid;

-- name: undisposed
SELECT s.uid FROM inbound_seen s JOIN mailbox b ON b.pk = s.mailbox_pk AND b.uidvalidity = s.uidvalidity
WHERE s.mailbox_pk = :mailbox AND NOT s.disposed ORDER BY s.uid LIMIT :limit;

-- name: disposed
UPDATE inbound_seen SET disposed = 1
WHERE mailbox_pk = :mailbox AND uidvalidity = :uidvalidity AND uid IN (SELECT value FROM json_each(:uids)) AND NOT disposed;

-- name: mailbox_held
SELECT pk FROM mailbox WHERE pk = :mailbox AND epoch = :epoch AND uidvalidity = :uidvalidity AND lease_until > :now;

-- name: see
INSERT INTO inbound_seen (mailbox_pk, fingerprint, uidvalidity, uid, verdict, at)
VALUES (:mailbox, :fingerprint, :uidvalidity, :uid, 'new', :now)
ON CONFLICT (mailbox_pk, fingerprint) DO NOTHING RETURNING 1;

-- name: see_again
UPDATE inbound_seen SET uidvalidity = :uidvalidity, uid = :uid, disposed = NOT disposable
WHERE mailbox_pk = :mailbox AND fingerprint = :fingerprint;

-- name: seen_as
UPDATE inbound_seen SET verdict = :verdict, message_id = :message, disposable = :disposable, disposed = disposed AND NOT :disposable
WHERE mailbox_pk = :mailbox AND fingerprint = :fingerprint;

-- name: advance
UPDATE mailbox SET last_uid = max(last_uid, :uid), stuck_uid = NULL, stuck_tries = 0 WHERE pk = :mailbox;

-- name: stuck
UPDATE mailbox SET stuck_tries = CASE WHEN stuck_uid = :uid THEN stuck_tries + 1 ELSE 1 END, stuck_uid = :uid
WHERE pk = :mailbox AND epoch = :epoch AND lease_until > :now RETURNING stuck_tries;

-- name: quarantine
INSERT INTO quarantine (mailbox_pk, uidvalidity, uid, reason, octets, at)
VALUES (:mailbox, :uidvalidity, :uid, :reason, :octets, :now);

-- name: park
INSERT INTO parked (mailbox_pk, fingerprint, octets, next_try_at, until)
VALUES (:mailbox, :fingerprint, :octets, :now + :wait, :now + :most);

-- name: next_parked
SELECT pk, CASE WHEN next_try_at <= :now THEN octets END FROM parked WHERE mailbox_pk = :mailbox ORDER BY next_try_at, pk LIMIT 1;

-- name: parked_held
SELECT p.fingerprint, s.uidvalidity, s.uid, p.until - :now
FROM parked p JOIN mailbox b ON b.pk = p.mailbox_pk
JOIN inbound_seen s ON s.mailbox_pk = p.mailbox_pk AND s.fingerprint = p.fingerprint
WHERE p.pk = :parked AND b.epoch = :epoch AND b.lease_until > :now;

-- name: park_again
UPDATE parked SET next_try_at = :now + :wait WHERE pk = :parked;

-- name: unpark
DELETE FROM parked WHERE pk = :parked;

-- name: correlate
WITH named AS (
    SELECT value AS id FROM json_each(:ids)
    UNION
    SELECT id FROM message WHERE header_id = :header_id AND header_id IS NOT NULL
    UNION
    SELECT m.id FROM tenant t CROSS JOIN message m ON m.tenant_pk = t.pk AND m.client_id = :client_id
    WHERE (:tenant IS NULL OR t.pk = :tenant))
SELECT m.id, m.tenant_pk, m.status, q.phase, m.revision,
       json_extract(b.payload, '$.to'), json_extract(b.payload, '$.cc'), json_extract(b.payload, '$.bcc'),
       (SELECT json_group_array(json_array(r.rcpt, r.accepted, r.bounce_type, r.bounce_code)) FROM recipient_state r
        WHERE r.message_id = m.id HAVING count(*) > 0)
FROM named JOIN message m USING (id) LEFT JOIN q ON q.id = m.id LEFT JOIN body b ON b.message_id = m.id
WHERE (:tenant IS NULL OR m.tenant_pk = :tenant)
ORDER BY m.id IN (SELECT value FROM json_each(:ids)) DESC, m.id DESC LIMIT :limit;

-- name: proven_sent
INSERT INTO event (tenant_pk, message_id, kind, detail, at)
SELECT m.tenant_pk, m.id, 'sent', :detail, :now FROM message m LEFT JOIN q ON q.id = m.id
WHERE m.id = :id AND m.revision = :revision AND (m.status = 3 OR q.phase = 0);
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = :id), m.tenant_pk, m.id
FROM message m JOIN tenant t ON t.pk = m.tenant_pk LEFT JOIN q ON q.id = m.id
WHERE m.id = :id AND m.revision = :revision AND (m.status = 3 OR q.phase = 0) AND (:fallback OR t.client_base_url IS NOT NULL);
UPDATE message SET status = 1, error = NULL, done_at = :now, updated_at = :now
WHERE id = :id AND revision = :revision
  AND (status = 3 OR EXISTS (SELECT 1 FROM q WHERE q.id = message.id AND q.phase = 0))
RETURNING id;
DELETE FROM q WHERE id = :id AND phase = 0 AND EXISTS (
    SELECT 1 FROM message m WHERE m.id = :id AND m.revision = :revision AND m.status = 1);

-- name: bounced
INSERT INTO recipient_state (message_id, rcpt, accepted, address, bounce_type, bounce_code, bounce_status, bounce_reason,
    bounced_at, bounce_verified)
SELECT :message_id, :rcpt, 1, :address, :type, :code, :status, :reason, :now, :verified FROM message m WHERE m.id = :message_id
ON CONFLICT (message_id, rcpt) DO UPDATE SET bounce_type = excluded.bounce_type, bounce_code = excluded.bounce_code,
    bounce_status = excluded.bounce_status, bounce_reason = excluded.bounce_reason, bounced_at = excluded.bounced_at,
    bounce_verified = excluded.bounce_verified;

-- name: inbound_events
INSERT INTO event (tenant_pk, message_id, kind, detail, at) SELECT tenant_pk, id, :kind, :detail, :now FROM message WHERE id = :message_id;
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = :message_id), m.tenant_pk, m.id
FROM message m JOIN tenant t ON t.pk = m.tenant_pk
WHERE m.id = :message_id AND (:fallback OR t.client_base_url IS NOT NULL);
UPDATE message SET updated_at = :now WHERE id = :message_id;

-- name: mailbox_health
SELECT b.account_pk, b.checked_at, b.fails, b.failure, b.failing_since, b.next_try_at,
       (SELECT count(*) FROM quarantine z WHERE z.mailbox_pk = b.pk), b.last_uid
FROM mailbox b WHERE coalesce(b.account_pk, 0) = :account;

-- name: failing_mailboxes
SELECT count(*) FROM mailbox WHERE failing_since IS NOT NULL AND next_try_at > :now - 3600;

-- name: forget_seen
DELETE FROM inbound_seen WHERE (mailbox_pk, fingerprint) IN (
    SELECT mailbox_pk, fingerprint FROM inbound_seen WHERE at < :now - :older_than
    ORDER BY at LIMIT :limit) RETURNING 1;

-- name: quarantined
SELECT z.pk, t.id, a.id, z.uidvalidity, z.uid, z.reason, z.at, z.octets
FROM quarantine z JOIN mailbox b ON b.pk = z.mailbox_pk LEFT JOIN account a ON a.pk = b.account_pk LEFT JOIN tenant t ON t.pk = a.tenant_pk
WHERE (:before IS NULL OR z.pk < :before) AND (:tenant_id IS NULL OR t.id = :tenant_id)
ORDER BY z.pk DESC LIMIT :limit;

-- name: forget_quarantined
DELETE FROM quarantine WHERE pk IN (
    SELECT pk FROM quarantine WHERE at < :now - :older_than ORDER BY at LIMIT :limit) RETURNING 1;
