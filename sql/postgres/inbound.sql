-- Mailboxes, who reads them, and what their mail did to messages.

-- name: account_mailboxes
-- Those that nobody reads now, and whose time has come.
SELECT a.pk, a.tenant_pk, t.id, a.id, a.version, a.host, a.port, a.username, a.secret, a.use_tls, a.tls_verify, a.tls_ca, a.ttl,
       a.batch_size, a.max_retries, a.retry_delays, a.on_unknown_outcome, a.limit_behavior, a.host_set_by_tenant,
       a.is_pec_account, a.pec_address, a.imap_host, a.imap_port, a.imap_user, a.imap_secret, a.imap_folder, a.imap_ssl,
       a.imap_host_set_by_tenant
FROM account a JOIN tenant t ON t.pk = a.tenant_pk LEFT JOIN mailbox b ON coalesce(b.account_pk, 0) = a.pk
WHERE a.imap_host IS NOT NULL AND t.active AND a.pk <> ALL(%(held)s::bigint[])
  AND (coalesce(b.lease_until, now()) <= now() OR b.epoch IN (SELECT epoch FROM process WHERE owner = ANY(%(succeeds)s)))
  AND (%(asked)s OR coalesce(b.next_try_at, now()) <= now())
ORDER BY b.checked_at NULLS FIRST, a.pk LIMIT %(limit)s;

-- name: lease_mailbox
-- Elsewhere UIDs begin anew; what was seen stays known by its fingerprint.
INSERT INTO mailbox AS b (account_pk, place, epoch, lease_until)
SELECT %(account)s::bigint, %(place)s, %(epoch)s, clock_timestamp() + make_interval(secs => %(ttl)s)
ON CONFLICT ((coalesce(account_pk, 0))) DO UPDATE SET
    epoch = excluded.epoch, lease_until = excluded.lease_until, place = excluded.place,
    uidvalidity = CASE WHEN b.place = excluded.place THEN b.uidvalidity END,
    last_uid = CASE WHEN b.place = excluded.place THEN b.last_uid ELSE 0 END,
    fails = CASE WHEN b.place = excluded.place THEN b.fails ELSE 0 END
WHERE (coalesce(b.lease_until, now()) <= clock_timestamp() OR b.epoch = excluded.epoch
       OR b.epoch IN (SELECT epoch FROM process WHERE owner = ANY(%(succeeds)s)))
  AND (%(asked)s OR coalesce(b.next_try_at, now()) <= now() OR b.place <> excluded.place)
RETURNING b.pk, b.fails;

-- name: renew_mailboxes
UPDATE mailbox SET lease_until = clock_timestamp() + make_interval(secs => %(ttl)s)
WHERE pk = ANY(%(mailboxes)s) AND epoch = %(epoch)s AND lease_until > clock_timestamp() RETURNING pk;

-- name: mailbox_settled
-- A visit has ended: with its failure, or without one.
UPDATE mailbox SET lease_until = NULL, epoch = NULL, checked_at = now(), failure = %(failure)s,
       fails = CASE WHEN %(failure)s::text IS NULL THEN 0 ELSE fails + 1 END,
       failing_since = CASE WHEN %(failure)s::text IS NOT NULL THEN coalesce(failing_since, now()) END,
       next_try_at = now() + make_interval(secs => %(wait)s)
WHERE pk = %(mailbox)s AND epoch = %(epoch)s;

-- name: mailbox_left
-- A visit was interrupted: how the mailbox stands is not known any better.
UPDATE mailbox SET lease_until = NULL, epoch = NULL, next_try_at = now() WHERE pk = %(mailbox)s AND epoch = %(epoch)s;

-- name: mailbox_checked
UPDATE mailbox SET checked_at = now(), fails = 0, failure = NULL, failing_since = NULL
WHERE pk = %(mailbox)s AND epoch = %(epoch)s AND lease_until > clock_timestamp() RETURNING pk;

-- name: open_folder
UPDATE mailbox SET last_uid = CASE WHEN uidvalidity = %(uidvalidity)s THEN last_uid ELSE 0 END,
       stuck_uid = CASE WHEN uidvalidity = %(uidvalidity)s THEN stuck_uid END, uidvalidity = %(uidvalidity)s
WHERE pk = %(mailbox)s AND epoch = %(epoch)s AND lease_until > clock_timestamp() RETURNING last_uid;

-- name: undisposed
SELECT s.uid FROM inbound_seen s JOIN mailbox b ON b.pk = s.mailbox_pk AND b.uidvalidity = s.uidvalidity
WHERE s.mailbox_pk = %(mailbox)s AND NOT s.disposed ORDER BY s.uid LIMIT %(limit)s;

-- name: disposed
UPDATE inbound_seen SET disposed = true
WHERE mailbox_pk = %(mailbox)s AND uidvalidity = %(uidvalidity)s AND uid = ANY(%(uids)s) AND NOT disposed;

-- name: mailbox_held
-- The lease fences: whoever reads the mailbox now changes this row, too.
SELECT pk FROM mailbox
WHERE pk = %(mailbox)s AND epoch = %(epoch)s AND uidvalidity = %(uidvalidity)s AND lease_until > clock_timestamp() FOR UPDATE;

-- name: see
INSERT INTO inbound_seen (mailbox_pk, fingerprint, uidvalidity, uid, verdict)
VALUES (%(mailbox)s, %(fingerprint)s, %(uidvalidity)s, %(uid)s, 'new')
ON CONFLICT (mailbox_pk, fingerprint) DO NOTHING RETURNING 1;

-- name: see_again
UPDATE inbound_seen SET uidvalidity = %(uidvalidity)s, uid = %(uid)s, disposed = NOT disposable
WHERE mailbox_pk = %(mailbox)s AND fingerprint = %(fingerprint)s;

-- name: seen_as
UPDATE inbound_seen SET verdict = %(verdict)s, message_id = %(message)s, disposable = %(disposable)s,
       disposed = disposed AND NOT %(disposable)s
WHERE mailbox_pk = %(mailbox)s AND fingerprint = %(fingerprint)s;

-- name: advance
UPDATE mailbox SET last_uid = greatest(last_uid, %(uid)s), stuck_uid = NULL, stuck_tries = 0 WHERE pk = %(mailbox)s;

-- name: stuck
UPDATE mailbox SET stuck_tries = CASE WHEN stuck_uid = %(uid)s THEN stuck_tries + 1 ELSE 1 END, stuck_uid = %(uid)s
WHERE pk = %(mailbox)s AND epoch = %(epoch)s AND lease_until > clock_timestamp() RETURNING stuck_tries;

-- name: quarantine
INSERT INTO quarantine (mailbox_pk, uidvalidity, uid, reason, octets)
VALUES (%(mailbox)s, %(uidvalidity)s, %(uid)s, %(reason)s, %(octets)s);

-- name: park
INSERT INTO parked (mailbox_pk, fingerprint, octets, next_try_at, until)
VALUES (%(mailbox)s, %(fingerprint)s, %(octets)s, now() + make_interval(secs => %(wait)s), now() + make_interval(secs => %(most)s));

-- name: next_parked
-- The first to be tried again; one that is not due yet stays where it is.
SELECT pk, CASE WHEN next_try_at <= now() THEN octets END FROM parked WHERE mailbox_pk = %(mailbox)s ORDER BY next_try_at, pk LIMIT 1;

-- name: parked_held
SELECT p.fingerprint, s.uidvalidity, s.uid, extract(epoch FROM p.until - now())::float8
FROM parked p JOIN mailbox b ON b.pk = p.mailbox_pk
JOIN inbound_seen s ON s.mailbox_pk = p.mailbox_pk AND s.fingerprint = p.fingerprint
WHERE p.pk = %(parked)s AND b.epoch = %(epoch)s AND b.lease_until > clock_timestamp() FOR UPDATE OF p, b;

-- name: park_again
UPDATE parked SET next_try_at = now() + make_interval(secs => %(wait)s) WHERE pk = %(parked)s;

-- name: unpark
DELETE FROM parked WHERE pk = %(parked)s;

-- name: correlate
-- By number, by the Message-ID a client gave, and by client id: one index probe a tenant. Those by number, which alone
-- can be proven, are never cut off.
WITH named AS (
    SELECT id FROM message WHERE id = ANY(%(ids)s)
    UNION
    SELECT id FROM message WHERE header_id = %(header_id)s::text
    UNION
    SELECT x.id FROM tenant t CROSS JOIN LATERAL (
        SELECT m.id FROM message m WHERE m.tenant_pk = t.pk AND m.client_id = %(client_id)s::text OFFSET 0) x
    WHERE %(tenant)s::bigint IS NULL OR t.pk = %(tenant)s)
SELECT m.id, m.tenant_pk, m.status, q.phase, m.revision,
       (b.payload::json->'to')::text, (b.payload::json->'cc')::text, (b.payload::json->'bcc')::text,
       (SELECT json_agg(json_build_array(r.rcpt, r.accepted, r.bounce_type, r.bounce_code))::text
        FROM recipient_state r WHERE r.message_id = m.id)
FROM message m LEFT JOIN q ON q.id = m.id LEFT JOIN body b ON b.message_id = m.id
WHERE m.id = ANY(ARRAY(SELECT id FROM named)) AND (%(tenant)s::bigint IS NULL OR m.tenant_pk = %(tenant)s)
ORDER BY m.id = ANY(%(ids)s) DESC, m.id DESC LIMIT %(limit)s;

-- name: proven_sent
-- A server that reports on a message has accepted it: what was in doubt, or waits to be sent again, was sent.
WITH d AS (
    DELETE FROM q WHERE id = %(id)s AND phase = 0 AND revision = %(revision)s RETURNING id),
m AS (
    UPDATE message SET status = 1, error = NULL, done_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE id = %(id)s AND revision = %(revision)s AND (status = 3 OR id IN (SELECT id FROM d))
    RETURNING id, tenant_pk),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail, at)
    SELECT tenant_pk, id, 'sent', %(detail)s, clock_timestamp() FROM m RETURNING id, tenant_pk, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
    WHERE %(fallback)s OR t.client_base_url IS NOT NULL)
SELECT id FROM m;

-- name: bounced
INSERT INTO recipient_state (message_id, rcpt, accepted, address, bounce_type, bounce_code, bounce_status, bounce_reason,
    bounced_at, bounce_verified)
SELECT m.id, r.rcpt, true, r.address, r.type, r.code, r.status, r.reason, now(), r.verified
FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, rcpt smallint, address text, type text, code text, status text,
    reason text, verified boolean) JOIN message m ON m.id = r.message_id
ON CONFLICT (message_id, rcpt) DO UPDATE SET bounce_type = excluded.bounce_type, bounce_code = excluded.bounce_code,
    bounce_status = excluded.bounce_status, bounce_reason = excluded.bounce_reason, bounced_at = excluded.bounced_at,
    bounce_verified = excluded.bounce_verified;

-- name: inbound_events
WITH r AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('event', 'id')) AS id, r.*
    FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, kind text, detail text)),
u AS (
    UPDATE message SET updated_at = now() WHERE id IN (SELECT message_id FROM r) RETURNING id, tenant_pk),
e AS (
    INSERT INTO event (id, tenant_pk, message_id, kind, detail) OVERRIDING SYSTEM VALUE
    SELECT r.id, u.tenant_pk, u.id, r.kind, r.detail FROM r JOIN u ON u.id = r.message_id ORDER BY r.id
    RETURNING id, tenant_pk, message_id)
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
WHERE %(fallback)s OR t.client_base_url IS NOT NULL;

-- name: mailbox_health
SELECT b.account_pk, extract(epoch FROM b.checked_at)::float8, b.fails, b.failure, extract(epoch FROM b.failing_since)::float8,
       extract(epoch FROM b.next_try_at)::float8, (SELECT count(*) FROM quarantine z WHERE z.mailbox_pk = b.pk), b.last_uid
FROM mailbox b WHERE coalesce(b.account_pk, 0) = %(account)s;

-- name: failing_mailboxes
-- Those that are tried: one that was switched off while it failed is not any more.
SELECT count(*) FROM mailbox WHERE failing_since IS NOT NULL AND next_try_at > now() - interval '1 hour';

-- name: forget_seen
-- A mail that lies in its mailbox for longer finds no message any more. By place, as a key of two columns may be looked up
-- by reading the whole table.
DELETE FROM inbound_seen WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM inbound_seen WHERE at < now() - make_interval(secs => %(older_than)s)
    ORDER BY at LIMIT %(limit)s)) RETURNING 1;

-- name: quarantined
SELECT z.pk, t.id, a.id, z.uidvalidity, z.uid, z.reason, extract(epoch FROM z.at)::float8, z.octets
FROM quarantine z JOIN mailbox b ON b.pk = z.mailbox_pk LEFT JOIN account a ON a.pk = b.account_pk LEFT JOIN tenant t ON t.pk = a.tenant_pk
WHERE (%(before)s::bigint IS NULL OR z.pk < %(before)s) AND (%(tenant_id)s::text IS NULL OR t.id = %(tenant_id)s)
ORDER BY z.pk DESC LIMIT %(limit)s;

-- name: forget_quarantined
DELETE FROM quarantine WHERE pk IN (
    SELECT pk FROM quarantine WHERE at < now() - make_interval(secs => %(older_than)s) ORDER BY at LIMIT %(limit)s) RETURNING 1;
