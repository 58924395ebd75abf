-- The life of a queue row. Lock order everywhere: gates, lease, account_state, rate_limit, q, message, rate_slot.

-- name: enqueue
-- Numbered in the call's order, inserted in that of the ids, so that equal calls at once never lock each other out.
-- What an account that is gone was to send is left out: the gate, asked before, knows which are there.
WITH r AS MATERIALIZED (
    SELECT nextval('message_id_seq') AS id, r.*
    FROM json_to_recordset(%(rows)s::json) AS r(client_id text, account_pk bigint, priority smallint,
        batch_code text, due_at float8, expires_at float8, max_age float8, error text, payload text, header_id text)
    WHERE account_pk IS NULL OR account_pk IN (SELECT pk FROM account WHERE pk = ANY(%(accounts)s::bigint[]))),
m AS (
    INSERT INTO message (id, tenant_pk, account_pk, client_id, priority, batch_code, header_id, status, error, done_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, %(tenant)s, account_pk, client_id, priority, batch_code, header_id,
           CASE WHEN error IS NULL THEN 0 ELSE 2 END, error, CASE WHEN error IS NOT NULL THEN now() END
    FROM r ORDER BY client_id
    ON CONFLICT (tenant_pk, client_id) DO NOTHING
    RETURNING id, client_id),
b AS (
    INSERT INTO body (message_id, payload) SELECT m.id, r.payload FROM m JOIN r USING (id)),
k AS (
    INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, batch_code, priority, held)
    SELECT m.id, %(tenant)s, r.account_pk, coalesce(to_timestamp(r.due_at), now()),
           coalesce(to_timestamp(r.expires_at), greatest(now(), coalesce(to_timestamp(r.due_at), now()))
                                                + make_interval(secs => r.max_age)),
           r.batch_code, r.priority,
           r.batch_code IS NOT NULL AND EXISTS (SELECT FROM suspension s
               WHERE s.tenant_pk = %(tenant)s AND s.batch_code = r.batch_code)
    FROM m JOIN r USING (id) WHERE r.error IS NULL),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail)
    SELECT %(tenant)s, m.id, 'error', json_build_object('error', r.error)::text
    FROM m JOIN r USING (id) WHERE r.error IS NOT NULL
    RETURNING id, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, %(tenant)s, e.message_id FROM e
    WHERE %(fallback)s OR EXISTS (SELECT FROM tenant t WHERE t.pk = %(tenant)s AND t.client_base_url IS NOT NULL))
SELECT id, client_id FROM m;

-- name: enqueue_existing_rows
SELECT id, phase FROM q
WHERE id = ANY(ARRAY(SELECT m.id FROM message m WHERE m.tenant_pk = %(tenant)s AND m.client_id = ANY(%(client_ids)s)))
ORDER BY id FOR UPDATE;

-- name: enqueue_existing
SELECT m.id, m.client_id, m.status, (SELECT q.phase FROM q WHERE q.id = m.id) FROM message m
WHERE m.tenant_pk = %(tenant)s AND m.client_id = ANY(%(client_ids)s)
ORDER BY m.id FOR UPDATE OF m;

-- name: enqueue_replace
WITH r AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(id bigint, account_pk bigint, priority smallint,
        batch_code text, due_at float8, expires_at float8, max_age float8, payload text, header_id text)),
m AS (
    UPDATE message SET account_pk = r.account_pk, priority = r.priority, batch_code = r.batch_code, header_id = r.header_id, status = 0,
           error = NULL, done_at = NULL, reported_at = NULL, attempts = 0, revision = revision + 1, updated_at = now()
    FROM r WHERE message.id = r.id AND message.id = ANY(%(ids)s) RETURNING message.id, message.revision),
b AS (
    INSERT INTO body (message_id, payload) SELECT id, payload FROM r
    ON CONFLICT (message_id) DO UPDATE SET payload = excluded.payload, fetched = NULL, logins = NULL),
x AS (
    DELETE FROM recipient_state WHERE message_id = ANY(%(ids)s)),
k AS (
    INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, batch_code, revision, priority, held)
    SELECT r.id, %(tenant)s, r.account_pk, coalesce(to_timestamp(r.due_at), now()),
           coalesce(to_timestamp(r.expires_at), greatest(now(), coalesce(to_timestamp(r.due_at), now()))
                                                + make_interval(secs => r.max_age)),
           r.batch_code, m.revision, r.priority,
           r.batch_code IS NOT NULL AND EXISTS (SELECT FROM suspension s
               WHERE s.tenant_pk = %(tenant)s AND s.batch_code = r.batch_code)
    FROM r JOIN m USING (id)
    ON CONFLICT (id) DO UPDATE SET account_pk = excluded.account_pk, due_at = excluded.due_at,
        expires_at = excluded.expires_at, batch_code = excluded.batch_code, revision = excluded.revision,
        priority = excluded.priority, held = excluded.held, attempts = 0, crashes = 0, suspect = 0)
SELECT id FROM m;

-- name: enqueue_suppressed
INSERT INTO recipient_state (message_id, rcpt, accepted, permanent, address, code, enhanced, reply)
SELECT r.message_id, r.rcpt, r.accepted, r.permanent, r.address, r.code, r.enhanced, r.reply
FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, rcpt smallint, accepted boolean, permanent boolean,
    address text, code smallint, enhanced text, reply text);

-- name: enqueue_gate
-- Suspensions cannot change, nor these accounts be deleted, until this transaction ends.
SELECT pg_advisory_xact_lock_shared(7236833);
SELECT pg_advisory_xact_lock_shared(7236835, (pk %% 2147483647)::int) FROM unnest(%(accounts)s::bigint[]) a(pk);
SELECT pk FROM account WHERE pk = ANY(%(accounts)s::bigint[]);

-- name: enqueue_former
SELECT 0;

-- name: queued
SELECT count(*) FROM (
    SELECT 1 FROM account a CROSS JOIN LATERAL (
        SELECT 1 FROM q WHERE q.account_pk = a.pk ORDER BY q.held, q.priority, q.due_at LIMIT %(at_most)s) one
    WHERE a.tenant_pk = %(tenant)s LIMIT %(at_most)s) found;

-- name: due_accounts
-- A skip scan: one index probe an account with rows, and one a priority. Accounts whose lease expired come
-- whatever their condition, since somebody has to settle what its holder left behind. Where only newer rows count,
-- all accounts are probed: the skip scan would step over what an old snapshot keeps.
WITH RECURSIVE seen AS (
    (SELECT account_pk FROM q WHERE %(newer_than)s::float8 = 'infinity' ORDER BY account_pk LIMIT 1)
    UNION ALL
    SELECT n.account_pk FROM seen CROSS JOIN LATERAL (
        SELECT q.account_pk FROM q WHERE q.account_pk > seen.account_pk ORDER BY q.account_pk LIMIT 1) n),
asked AS (
    SELECT account_pk FROM seen UNION ALL SELECT pk FROM account WHERE %(newer_than)s::float8 < 'infinity'),
head AS (
    SELECT asked.account_pk, min(h.due_at) AS due_at
    FROM asked CROSS JOIN (VALUES (0), (1), (2), (3)) p(priority) CROSS JOIN LATERAL (
        SELECT q.due_at FROM q WHERE q.account_pk = asked.account_pk AND NOT q.held AND q.priority = p.priority
          AND (q.due_at, q.id) >= (to_timestamp(extract(epoch FROM now())::float8 - %(newer_than)s::float8), 0)
        ORDER BY q.due_at, q.id LIMIT 1) h
    GROUP BY asked.account_pk),
due AS (
    SELECT head.account_pk, greatest(head.due_at, coalesce(st.not_before, head.due_at)) AS at
    FROM head JOIN account a ON a.pk = head.account_pk LEFT JOIN account_state st ON st.account_pk = a.pk
    WHERE coalesce(st.condition, 'ok') <> 'breaker_open'
      AND NOT EXISTS (SELECT FROM suspension s WHERE s.tenant_pk IN (0, a.tenant_pk) AND s.batch_code = '')
    UNION ALL
    SELECT l.account_pk, now() FROM account_lease l JOIN account a ON a.pk = l.account_pk WHERE l.expires_at < now())
SELECT due.account_pk, n.slot, extract(epoch FROM min(due.at) - now())::float8
FROM due CROSS JOIN generate_series(0, %(slots)s - 1) n(slot)
LEFT JOIN account_lease l ON l.account_pk = due.account_pk AND l.slot = n.slot AND l.expires_at > now()
LEFT JOIN process p ON p.epoch = l.epoch
WHERE l.epoch IS NULL OR p.node = %(node)s
GROUP BY due.account_pk, n.slot
ORDER BY due.account_pk, n.slot;

-- name: lease_former
SELECT epoch FROM account_lease WHERE account_pk = %(account)s AND slot = %(slot)s;

-- name: take_lease
INSERT INTO account_lease (account_pk, slot, epoch, expires_at)
SELECT pk, %(slot)s, %(epoch)s, clock_timestamp() + make_interval(secs => %(ttl)s) FROM account WHERE pk = %(account)s
ON CONFLICT (account_pk, slot) DO UPDATE SET epoch = excluded.epoch, expires_at = excluded.expires_at
WHERE account_lease.expires_at < clock_timestamp() OR account_lease.epoch = excluded.epoch
   OR account_lease.epoch IN (SELECT epoch FROM process WHERE owner = ANY(%(succeeds)s))
RETURNING epoch;

-- name: renew_leases
UPDATE account_lease SET expires_at = clock_timestamp() + make_interval(secs => %(ttl)s)
WHERE epoch = %(epoch)s AND account_pk = ANY(%(accounts)s) AND expires_at > clock_timestamp()
RETURNING account_pk, slot;

-- name: release_leases
-- Where something claimed is left the lease only ends: the scout then has somebody look, whatever the account's state.
-- Counted, because EXISTS is planned as if the first row of the table would do.
WITH mine AS MATERIALIZED (
    SELECT l.account_pk, l.slot, (SELECT count(*) FROM q WHERE q.account_pk = l.account_pk AND q.phase > 0) > 0 AS left_over
    FROM account_lease l
    WHERE l.epoch = %(epoch)s AND (%(account)s::bigint IS NULL OR (l.account_pk, l.slot) = (%(account)s, %(slot)s))),
ended AS (
    UPDATE account_lease l SET expires_at = clock_timestamp() - interval '1 ms' FROM mine
    WHERE (l.account_pk, l.slot) = (mine.account_pk, mine.slot) AND l.epoch = %(epoch)s AND mine.left_over)
DELETE FROM account_lease l USING mine
WHERE (l.account_pk, l.slot) = (mine.account_pk, mine.slot) AND l.epoch = %(epoch)s AND NOT mine.left_over;

-- name: unclaim
-- What a claim took whose answer never came: this process does not know of it, so it gives it back.
UPDATE q SET epoch = NULL, phase = 0, charged_at = NULL, attempts = greatest(attempts - 1, 0)
WHERE account_pk = %(account)s AND epoch = %(epoch)s AND phase = 1 AND id <> ALL(%(known)s) RETURNING id;

-- name: recover_claimed
-- Rows whose holder no longer has the account's lease. A death while a suspect was prepared alone counts.
WITH dead AS (
    SELECT q.id FROM q
    WHERE q.account_pk = %(account)s AND q.epoch <> %(epoch)s AND q.phase = 1
      AND NOT EXISTS (SELECT FROM account_lease l
          WHERE l.account_pk = q.account_pk AND l.epoch = q.epoch AND l.expires_at > now())
    ORDER BY q.id FOR UPDATE)
UPDATE q SET crashes = crashes + (suspect = 2)::int, suspect = 1, attempts = greatest(attempts - 1, 0), charged_at = NULL,
       epoch = CASE WHEN crashes + (suspect = 2)::int >= %(poison_after)s THEN %(epoch)s::bigint END,
       phase = CASE WHEN crashes + (suspect = 2)::int >= %(poison_after)s THEN 1 ELSE 0 END
WHERE id = ANY(ARRAY(SELECT id FROM dead)) AND phase = 1 AND epoch <> %(epoch)s
RETURNING id, revision, attempts, claim, crashes;

-- name: recover_authorised
WITH dead AS (
    SELECT q.id FROM q LEFT JOIN process p ON p.epoch = q.epoch
    WHERE q.account_pk = %(account)s AND q.epoch <> %(epoch)s AND q.phase = 2
      AND NOT EXISTS (SELECT FROM account_lease l
          WHERE l.account_pk = q.account_pk AND l.epoch = q.epoch AND l.expires_at > now())
      AND (p.epoch IS NULL OR p.node = %(node)s OR p.seen_at < now() - make_interval(secs => %(grace)s))
    ORDER BY q.id FOR UPDATE OF q)
UPDATE q SET epoch = %(epoch)s FROM message m
WHERE q.id = ANY(ARRAY(SELECT id FROM dead)) AND q.phase = 2 AND q.epoch <> %(epoch)s AND m.id = q.id
RETURNING q.id, q.revision, m.client_id, q.attempts, q.claim, extract(epoch FROM m.created_at)::float8;

-- name: recover_left
SELECT count(*) FROM q WHERE account_pk = %(account)s AND epoch <> %(epoch)s AND phase = 2
  AND NOT EXISTS (SELECT FROM account_lease l
      WHERE l.account_pk = q.account_pk AND l.epoch = q.epoch AND l.expires_at > now());

-- name: ended_leases
-- Locked apart, so that the next statement sees what a claim of theirs that was under way has taken.
SELECT slot FROM account_lease WHERE account_pk = %(account)s AND expires_at < now() ORDER BY slot FOR UPDATE;

-- name: forget_leases
-- Nothing of theirs is left to settle; otherwise the scout would have somebody look for ever at a slot nobody takes.
DELETE FROM account_lease l WHERE l.account_pk = %(account)s AND l.expires_at < now()
  AND ((SELECT count(*) FROM q WHERE q.account_pk = l.account_pk AND q.epoch = l.epoch) = 0
       OR EXISTS (SELECT FROM account_lease f WHERE f.account_pk = l.account_pk AND f.epoch = l.epoch AND f.expires_at > now()));

-- name: suspect_alone
UPDATE q SET suspect = %(suspect)s WHERE id = %(id)s AND epoch = %(epoch)s AND phase = 1 RETURNING id;

-- name: claim_lock
-- The lease fences, the state row serialises; what follows in the transaction sees a snapshot taken after both.
SELECT a.version, a.limit_behavior, st.condition, extract(epoch FROM st.not_before - now())::float8, st.fails,
       EXISTS (SELECT FROM suspension s WHERE s.tenant_pk IN (0, a.tenant_pk) AND s.batch_code = ''),
       EXISTS (SELECT FROM account_lease e WHERE e.account_pk = a.pk AND e.expires_at < now()
               AND NOT EXISTS (SELECT FROM account_lease f WHERE f.account_pk = a.pk AND f.epoch = e.epoch AND f.expires_at > now()))
FROM account_lease l JOIN account a ON a.pk = l.account_pk JOIN account_state st ON st.account_pk = a.pk
WHERE l.account_pk = %(account)s AND l.slot = %(slot)s AND l.epoch = %(epoch)s AND l.expires_at > clock_timestamp()
FOR UPDATE OF l, st;

-- name: limits_lock
SELECT r.kind, r.scope, r.win, r.slot_s, r.slots, r.lim FROM rate_limit r
WHERE (r.kind = 1 AND r.scope = ANY(%(accounts)s))
   OR (r.kind = 0 AND r.scope IN (SELECT tenant_pk FROM account WHERE pk = ANY(%(accounts)s)))
ORDER BY r.kind, r.scope, r.win FOR UPDATE;

-- name: limits_used
SELECT s.kind, s.scope, s.win, s.slot, s.n, extract(epoch FROM clock_timestamp())::float8 FROM rate_slot s
WHERE (s.kind = 1 AND s.scope = ANY(%(accounts)s))
   OR (s.kind = 0 AND s.scope IN (SELECT tenant_pk FROM account WHERE pk = ANY(%(accounts)s)))
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, extract(epoch FROM clock_timestamp())::float8;

-- name: limits_charge
WITH c AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS c(kind smallint, scope bigint, win text, slot bigint, n int)
    ORDER BY kind, scope, win, slot),
old AS (
    DELETE FROM rate_slot s USING c JOIN rate_limit l USING (kind, scope, win)
    WHERE s.kind = c.kind AND s.scope = c.scope AND s.win = c.win AND s.slot < c.slot - l.slots - 2 - ceil(1 / l.slot_s))
INSERT INTO rate_slot (kind, scope, win, slot, n) SELECT kind, scope, win, slot, n FROM c
ON CONFLICT (kind, scope, win, slot) DO UPDATE SET n = rate_slot.n + excluded.n;

-- name: limits_refund
-- What is certain not to have been handed over gives its tokens back to the slots they came from.
WITH r AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(id bigint, revision smallint, claim int)),
back AS MATERIALIZED (
    SELECT q.account_pk, q.tenant_pk, extract(epoch FROM q.charged_at)::float8 AS at FROM q JOIN r USING (id)
    WHERE q.id = ANY(%(ids)s) AND q.epoch = %(epoch)s AND q.claim = r.claim AND q.revision = r.revision
      AND q.charged_at IS NOT NULL FOR UPDATE OF q),
c AS (
    SELECT l.kind, l.scope, l.win, floor(back.at / l.slot_s)::bigint AS slot, count(*) AS n
    FROM back JOIN rate_limit l ON (l.kind = 1 AND l.scope = back.account_pk) OR (l.kind = 0 AND l.scope = back.tenant_pk)
    GROUP BY 1, 2, 3, 4)
UPDATE rate_slot s SET n = greatest(s.n - c.n, 0) FROM c
WHERE s.kind = c.kind AND s.scope = c.scope AND s.win = c.win AND s.slot = c.slot;

-- name: claim
-- One branch a priority keeps each an index range; ids are picked first and joined by array, or q is hashed.
-- `since` is compared as a row: of a range of due_at whose ends are unknown so few rows are expected that they are sorted.
WITH pick AS MATERIALIZED (
    SELECT x.id
    FROM (VALUES (0, %(since_immediate)s::float8), (1, %(since_high)s), (2, %(since_medium)s), (3, %(since_low)s)) p(priority, since)
    CROSS JOIN LATERAL (
        SELECT q.id, q.due_at FROM q
        WHERE q.account_pk = %(account)s AND NOT q.held AND q.priority = p.priority AND q.due_at <= now()
          AND (q.due_at, q.id) >= (to_timestamp(p.since), 0) AND q.epoch IS NULL
        ORDER BY q.due_at, q.id LIMIT %(limit)s) x
    ORDER BY p.priority, x.due_at, x.id LIMIT %(limit)s),
lock AS MATERIALIZED (
    SELECT id FROM q WHERE id = ANY(ARRAY(SELECT id FROM pick)) AND epoch IS NULL AND NOT held FOR UPDATE SKIP LOCKED),
u AS (
    UPDATE q SET epoch = %(epoch)s, phase = 1, attempts = attempts + 1, claim = claim + 1, charged_at = to_timestamp(%(at)s::float8)
    WHERE id = ANY(ARRAY(SELECT id FROM lock))
      AND EXISTS (SELECT FROM account_lease l WHERE l.account_pk = %(account)s AND l.slot = %(slot)s
                  AND l.epoch = %(epoch)s AND l.expires_at > now())
    RETURNING id, revision, attempts, claim, crashes, suspect, priority, due_at, expires_at, batch_code)
SELECT u.id, u.revision, m.client_id, u.attempts, u.claim, u.crashes, u.suspect > 0, u.priority,
       extract(epoch FROM m.created_at)::float8, extract(epoch FROM now() - u.due_at)::float8,
       u.expires_at <= now(), u.batch_code, m.payload, m.settled, m.octets, m.fetched
FROM u CROSS JOIN LATERAL (
    SELECT message.client_id, message.created_at, octet_length(body.payload) AS octets, body.fetched,
           CASE WHEN octet_length(body.payload) <= %(longest)s THEN body.payload END AS payload,
           (SELECT json_agg(json_build_array(s.rcpt, s.accepted, s.address, s.code, s.enhanced, s.reply, s.permanent))::text
            FROM recipient_state s WHERE s.message_id = message.id) AS settled
    FROM message JOIN body ON body.message_id = message.id WHERE message.id = u.id) m
ORDER BY u.priority, u.due_at, u.id;

-- name: payload
SELECT payload, logins FROM body WHERE message_id = %(id)s;

-- name: keep_logins
UPDATE body SET logins = %(logins)s WHERE message_id = %(id)s RETURNING message_id;

-- name: remember_fetched
-- The first who knew it is believed; nobody who has lost the message writes.
UPDATE body SET fetched = coalesce(fetched, %(fetched)s)
WHERE message_id = %(id)s AND EXISTS (SELECT FROM q WHERE q.id = %(id)s AND q.epoch = %(epoch)s AND q.claim = %(claim)s)
RETURNING fetched;

-- name: next_due
SELECT p.priority, extract(epoch FROM h.due_at)::float8, extract(epoch FROM now())::float8,
       extract(epoch FROM clock_timestamp() - statement_timestamp())::float8
FROM (VALUES (0, %(since_immediate)s::float8), (1, %(since_high)s), (2, %(since_medium)s), (3, %(since_low)s)) p(priority, since)
LEFT JOIN LATERAL (
    SELECT q.due_at FROM q
    WHERE q.account_pk = %(account)s AND NOT q.held AND q.priority = p.priority
      AND (q.due_at, q.id) >= (to_timestamp(p.since), 0) AND q.epoch IS NULL
    ORDER BY q.due_at, q.id LIMIT 1) h ON true;

-- name: rest_until_token
UPDATE account_state SET not_before = now() + make_interval(secs => %(wait)s), reason = 'rate_limit'
WHERE account_pk = %(account)s;

-- name: suspension_shared
-- Shared by whoever goes by suspensions, taken alone by suspend and activate: once they had it, all see the change.
SELECT pg_advisory_xact_lock_shared(7236833);

-- name: intend_candidates
SELECT q.id, q.account_pk, q.tenant_pk, extract(epoch FROM q.charged_at)::float8 FROM q
WHERE q.id = ANY(%(ids)s) AND q.epoch = %(epoch)s AND q.phase = 1;

-- name: intend
-- Without the clock of a charge only what was charged at its claim, or has no limit: one may be new.
UPDATE q SET phase = 2, charged_at = coalesce(to_timestamp(%(at)s::float8), charged_at)
WHERE q.id = ANY(%(ids)s) AND q.epoch = %(epoch)s AND q.phase = 1 AND NOT q.held
  AND NOT EXISTS (SELECT FROM suspension s
      WHERE s.tenant_pk IN (0, q.tenant_pk) AND s.batch_code IN ('', coalesce(q.batch_code, '')))
  AND EXISTS (SELECT FROM account_lease l
      WHERE l.account_pk = q.account_pk AND l.epoch = q.epoch AND l.expires_at > clock_timestamp())
  AND (%(at)s::float8 IS NOT NULL OR q.charged_at IS NOT NULL OR NOT EXISTS (SELECT FROM rate_limit r
      WHERE (r.kind = 1 AND r.scope = q.account_pk) OR (r.kind = 0 AND r.scope = q.tenant_pk)))
RETURNING q.id;

-- name: finish
WITH r AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(id bigint, revision smallint, claim int, status smallint,
        refund int, kind text, error text, detail text)),
d AS (
    DELETE FROM q USING r
    WHERE q.id = ANY(%(ids)s) AND q.epoch = %(epoch)s AND r.id = q.id AND r.claim = q.claim AND r.revision = q.revision
    RETURNING q.id, q.tenant_pk, q.attempts),
m AS (
    UPDATE message SET status = r.status, error = r.error, attempts = greatest(d.attempts - r.refund, 0), done_at = clock_timestamp(),
           updated_at = clock_timestamp()
    FROM d JOIN r USING (id) WHERE message.id = d.id AND message.id = ANY(%(ids)s)),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail, at)
    SELECT d.tenant_pk, d.id, r.kind, r.detail, clock_timestamp() FROM d JOIN r USING (id)
    RETURNING id, tenant_pk, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
    WHERE %(fallback)s OR t.client_base_url IS NOT NULL)
SELECT id FROM d;

-- name: release
WITH r AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(id bigint, revision smallint, claim int, delay float8, refund int,
        kind text, detail text)),
u AS (
    UPDATE q SET epoch = NULL, phase = 0, charged_at = NULL,
           due_at = coalesce(now() + make_interval(secs => r.delay), q.due_at),
           attempts = greatest(q.attempts - r.refund, 0),
           suspect = CASE WHEN phase = 2 THEN 0 ELSE least(suspect, 1) END,
           held = batch_code IS NOT NULL AND EXISTS (SELECT FROM suspension s
               WHERE s.tenant_pk = q.tenant_pk AND s.batch_code = q.batch_code)
    FROM r WHERE q.id = ANY(%(ids)s) AND q.epoch = %(epoch)s AND r.id = q.id AND r.claim = q.claim AND r.revision = q.revision
    RETURNING q.id, q.tenant_pk),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail, at)
    SELECT u.tenant_pk, u.id, r.kind, r.detail, clock_timestamp() FROM u JOIN r USING (id) WHERE r.kind IS NOT NULL
    RETURNING id, tenant_pk, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
    WHERE %(fallback)s OR t.client_base_url IS NOT NULL)
SELECT id FROM u;

-- name: recipients_settled
-- Written in the transaction of the finish or release it belongs to, and only for rows still ours.
INSERT INTO recipient_state (message_id, rcpt, accepted, permanent, address, code, enhanced, reply)
SELECT r.message_id, r.rcpt, r.accepted, r.permanent, r.address, r.code, r.enhanced, r.reply
FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, revision smallint, claim int, rcpt smallint, accepted boolean,
    permanent boolean, address text, code smallint, enhanced text, reply text)
WHERE (SELECT q.epoch FROM q WHERE q.id = r.message_id AND q.claim = r.claim AND q.revision = r.revision) = %(epoch)s
ON CONFLICT (message_id, rcpt) DO UPDATE SET accepted = excluded.accepted, permanent = excluded.permanent,
    code = excluded.code, enhanced = excluded.enhanced, reply = excluded.reply;

-- name: late_evidence
-- A 2xx that arrives after the row was taken over: what was in doubt, or waits to be sent again, was sent.
WITH r AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(id bigint, revision smallint, detail text)),
d AS (
    DELETE FROM q WHERE id = ANY(%(ids)s) AND phase < 2 AND revision = (SELECT r.revision FROM r WHERE r.id = q.id)
    RETURNING id),
m AS (
    UPDATE message SET status = 1, error = NULL, done_at = clock_timestamp(), updated_at = clock_timestamp()
    FROM r WHERE message.id = r.id AND message.id = ANY(%(ids)s) AND message.revision = r.revision
      AND (message.status = 3 OR message.id IN (SELECT id FROM d))
    RETURNING message.id, message.tenant_pk),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail, at)
    SELECT m.tenant_pk, m.id, 'sent', r.detail, clock_timestamp() FROM m JOIN r USING (id)
    RETURNING id, tenant_pk, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
    WHERE %(fallback)s OR t.client_base_url IS NOT NULL)
SELECT id FROM m;

-- name: account_condition
SELECT condition, reason FROM account_state WHERE account_pk = %(account)s FOR UPDATE;

-- name: back_off
UPDATE account_state SET condition = %(condition)s, reason = %(reason)s, cause = %(cause)s, fails = fails + 1,
       since = CASE WHEN condition = 'ok' OR since IS NULL THEN now() ELSE since END,
       not_before = now() + make_interval(secs => %(delay)s)
WHERE account_pk = %(account)s RETURNING fails;

-- name: account_works
UPDATE account_state SET condition = 'ok', reason = NULL, cause = NULL, since = NULL, fails = 0, not_before = NULL
WHERE account_pk = %(account)s AND condition <> 'ok' RETURNING account_pk;
