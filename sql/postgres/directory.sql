-- Tenants, keys, accounts, suspensions, and messages as they are shown.

-- name: principal
SELECT t.pk, t.id, k.key_id FROM tenant_key k JOIN tenant t ON t.pk = k.tenant_pk
WHERE k.hash = %(hash)s AND t.active AND (k.expires_at IS NULL OR k.expires_at > now());

-- name: put_tenant
INSERT INTO tenant (id, name, client_auth, client_base_url, client_sync_path, client_attachment_path, rate_limits,
    large_file_config, report_strict, report_format, active, webhook_secrets, url_set_by_tenant, suppress_bounces,
    large_file_secrets)
VALUES (%(id)s, %(name)s, %(client_auth)s, %(client_base_url)s, %(client_sync_path)s, %(client_attachment_path)s,
    %(rate_limits)s, %(large_file_config)s, %(report_strict)s, %(report_format)s, %(active)s, %(webhook_secrets)s,
    %(url_set_by_tenant)s, %(suppress_bounces)s, %(large_file_secrets)s)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, client_auth = coalesce(excluded.client_auth, tenant.client_auth),
    client_base_url = excluded.client_base_url, client_sync_path = excluded.client_sync_path,
    client_attachment_path = excluded.client_attachment_path, rate_limits = excluded.rate_limits,
    large_file_config = excluded.large_file_config, report_strict = excluded.report_strict,
    report_format = excluded.report_format, active = excluded.active,
    webhook_secrets = coalesce(excluded.webhook_secrets, tenant.webhook_secrets),
    large_file_secrets = coalesce(excluded.large_file_secrets, tenant.large_file_secrets),
    url_set_by_tenant = excluded.url_set_by_tenant, suppress_bounces = excluded.suppress_bounces, updated_at = now()
RETURNING pk;

-- name: tenant_sync_ready
INSERT INTO tenant_sync (tenant_pk) VALUES (%(tenant)s) ON CONFLICT (tenant_pk) DO UPDATE
SET switched_off = NULL, switched_off_at = NULL, gone = 0, fails = 0, failure = NULL, failing_since = NULL, next_try_at = NULL
WHERE %(switch_on)s;

-- name: drop_limits
DELETE FROM rate_limit WHERE kind = %(kind)s AND scope = %(scope)s AND win <> ALL(%(kept)s::text[]);

-- name: lift_rests
UPDATE account_state SET not_before = NULL, reason = NULL
WHERE reason = 'rate_limit' AND account_pk IN (SELECT pk FROM account WHERE tenant_pk = %(tenant)s);

-- name: put_limits
INSERT INTO rate_limit (kind, scope, win, slot_s, slots, lim)
SELECT %(kind)s, %(scope)s, r.win, r.slot_s, r.slots, r.lim
FROM json_to_recordset(%(rows)s::json) AS r(win text, slot_s float8, slots int, lim int)
ON CONFLICT (kind, scope, win) DO UPDATE SET slot_s = excluded.slot_s, slots = excluded.slots, lim = excluded.lim;

-- name: tenant
SELECT pk, id, name, client_auth, client_base_url, client_sync_path, client_attachment_path, rate_limits,
       large_file_config, report_strict, report_format, active, webhook_secrets, url_set_by_tenant, suppress_bounces, large_file_secrets,
       extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8,
       s.switched_off, extract(epoch FROM s.switched_off_at)::float8
FROM tenant LEFT JOIN tenant_sync s ON s.tenant_pk = pk WHERE id = %(id)s;

-- name: tenants
SELECT pk, id, name, client_auth, client_base_url, client_sync_path, client_attachment_path, rate_limits,
       large_file_config, report_strict, report_format, active, webhook_secrets, url_set_by_tenant, suppress_bounces, large_file_secrets,
       extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8,
       s.switched_off, extract(epoch FROM s.switched_off_at)::float8
FROM tenant LEFT JOIN tenant_sync s ON s.tenant_pk = pk WHERE id > coalesce(%(after)s::text, '') AND (active OR NOT %(active_only)s) ORDER BY id LIMIT %(limit)s;

-- name: delete_tenant
SELECT pg_advisory_xact_lock(7236835, (pk %% 2147483647)::int) FROM account WHERE tenant_pk = %(tenant)s ORDER BY pk;
SELECT id FROM q WHERE account_pk = ANY(ARRAY(SELECT pk FROM account WHERE tenant_pk = %(tenant)s))
ORDER BY id FOR UPDATE;
SELECT pk FROM tenant WHERE pk = %(tenant)s FOR UPDATE;
WITH m AS (DELETE FROM message WHERE tenant_pk = %(tenant)s RETURNING id),
b AS (DELETE FROM body WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
k AS (DELETE FROM q WHERE id = ANY(ARRAY(SELECT id FROM m))),
r AS (DELETE FROM recipient_state WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
e AS (DELETE FROM event WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
o AS (DELETE FROM outbox WHERE tenant_pk = %(tenant)s),
v AS (DELETE FROM undelivered WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
p AS (DELETE FROM pec_message WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
s AS (DELETE FROM suspension WHERE tenant_pk = %(tenant)s),
y AS (DELETE FROM kept_answer WHERE scope = %(tenant)s),
x AS (UPDATE large_file SET expires_at = least(expires_at, now()) WHERE tenant_pk = %(tenant)s),
z AS (DELETE FROM pec_receipt WHERE tenant_pk = %(tenant)s),
l AS (DELETE FROM account_lease WHERE account_pk IN (SELECT pk FROM account WHERE tenant_pk = %(tenant)s)),
w AS (DELETE FROM rate_limit WHERE (kind = 0 AND scope = %(tenant)s)
      OR (kind = 1 AND scope IN (SELECT pk FROM account WHERE tenant_pk = %(tenant)s))),
u AS (DELETE FROM rate_slot WHERE (kind = 0 AND scope = %(tenant)s)
      OR (kind = 1 AND scope IN (SELECT pk FROM account WHERE tenant_pk = %(tenant)s)))
DELETE FROM tenant WHERE pk = %(tenant)s RETURNING pk;

-- name: end_keys
-- The newest key lives `keep` seconds on; older ones end now.
UPDATE tenant_key SET expires_at = least(expires_at, CASE
    WHEN created_at = (SELECT max(created_at) FROM tenant_key WHERE tenant_pk = %(tenant)s)
    THEN now() + make_interval(secs => %(keep)s) ELSE now() END)
WHERE tenant_pk = %(tenant)s AND (expires_at IS NULL OR expires_at > now());

-- name: put_key
INSERT INTO tenant_key (hash, key_id, tenant_pk, expires_at, created_at)
VALUES (%(hash)s, %(key_id)s, %(tenant)s, to_timestamp(%(expires_at)s::float8), clock_timestamp());

-- name: revoke_keys
DELETE FROM tenant_key WHERE tenant_pk = %(tenant)s;

-- name: put_account
INSERT INTO account (tenant_pk, id, host, port, username, secret, use_tls, tls_verify, tls_ca, ttl, batch_size, max_retries,
    retry_delays, on_unknown_outcome, limit_behavior, host_set_by_tenant, is_pec_account, pec_address, imap_host,
    imap_port, imap_user, imap_secret, imap_folder, imap_ssl, imap_host_set_by_tenant)
VALUES (%(tenant)s, %(id)s, %(host)s, %(port)s, %(user)s, %(secret)s, %(use_tls)s, %(tls_verify)s, %(tls_ca)s, %(ttl)s,
    %(batch_size)s, %(max_retries)s, %(retry_delays)s, %(on_unknown_outcome)s, %(limit_behavior)s, %(host_set_by_tenant)s,
    %(is_pec_account)s, %(pec_address)s, %(imap_host)s, %(imap_port)s, %(imap_user)s,
    %(imap_secret)s, %(imap_folder)s, %(imap_ssl)s, %(imap_host_set_by_tenant)s)
ON CONFLICT (tenant_pk, id) DO UPDATE SET version = account.version + 1, host = excluded.host, port = excluded.port,
    username = excluded.username, secret = coalesce(excluded.secret, account.secret), use_tls = excluded.use_tls,
    tls_verify = excluded.tls_verify, tls_ca = excluded.tls_ca, ttl = excluded.ttl, batch_size = excluded.batch_size,
    max_retries = excluded.max_retries, retry_delays = excluded.retry_delays,
    on_unknown_outcome = excluded.on_unknown_outcome, limit_behavior = excluded.limit_behavior,
    host_set_by_tenant = excluded.host_set_by_tenant, is_pec_account = excluded.is_pec_account,
    pec_address = excluded.pec_address, imap_host = excluded.imap_host, imap_port = excluded.imap_port,
    imap_user = excluded.imap_user, imap_secret = coalesce(excluded.imap_secret, account.imap_secret),
    imap_folder = excluded.imap_folder, imap_ssl = excluded.imap_ssl,
    imap_host_set_by_tenant = excluded.imap_host_set_by_tenant, updated_at = now()
RETURNING pk;

-- name: account_state_fresh
INSERT INTO account_state (account_pk) VALUES (%(account)s)
ON CONFLICT (account_pk) DO UPDATE SET condition = 'ok', reason = NULL, cause = NULL, since = NULL, not_before = NULL, fails = 0;

-- name: accounts
SELECT a.pk, a.tenant_pk, t.id, a.id, a.version, a.host, a.port, a.username, a.secret, a.use_tls, a.tls_verify, a.tls_ca, a.ttl,
       a.batch_size, a.max_retries, a.retry_delays, a.on_unknown_outcome, a.limit_behavior, a.host_set_by_tenant,
       a.is_pec_account, a.pec_address, a.imap_host, a.imap_port, a.imap_user, a.imap_secret, a.imap_folder, a.imap_ssl,
       a.imap_host_set_by_tenant,
       coalesce(st.condition, 'ok'), st.reason, st.cause, extract(epoch FROM st.since)::float8,
       extract(epoch FROM st.not_before)::float8,
       extract(epoch FROM a.created_at)::float8, extract(epoch FROM a.updated_at)::float8
FROM account a JOIN tenant t ON t.pk = a.tenant_pk LEFT JOIN account_state st ON st.account_pk = a.pk
WHERE a.tenant_pk = %(tenant)s AND a.id > coalesce(%(after)s::text, '') AND (%(id)s::text IS NULL OR a.id = %(id)s)
ORDER BY a.id LIMIT %(limit)s;

-- name: sending_account
SELECT a.pk, a.tenant_pk, t.id, a.id, a.version, a.host, a.port, a.username, a.secret, a.use_tls, a.tls_verify, a.tls_ca, a.ttl,
       a.batch_size, a.max_retries, a.retry_delays, a.on_unknown_outcome, a.limit_behavior, a.host_set_by_tenant,
       a.is_pec_account, a.pec_address, a.imap_host, a.imap_port, a.imap_user, a.imap_secret, a.imap_folder, a.imap_ssl,
       a.imap_host_set_by_tenant
FROM account a JOIN tenant t ON t.pk = a.tenant_pk WHERE a.pk = %(account)s;

-- name: account_windows
SELECT r.scope, r.win, r.lim, r.slot_s, r.slots, coalesce(s.slot, 0), coalesce(s.n, 0), extract(epoch FROM now())::float8
FROM rate_limit r LEFT JOIN rate_slot s USING (kind, scope, win)
WHERE r.kind = 1 AND r.scope = ANY(%(accounts)s) ORDER BY r.scope, r.slot_s, r.win;

-- name: account_ids
SELECT id, pk, is_pec_account, pec_address, imap_user, username FROM account WHERE tenant_pk = %(tenant)s;

-- name: tenants_of_account
SELECT t.id FROM account a JOIN tenant t ON t.pk = a.tenant_pk WHERE a.id = %(id)s ORDER BY t.id LIMIT 2;

-- name: account_alone
-- Alone with the account: no enqueue that saw it is still open, no sender settles while its rows go.
SELECT pg_advisory_xact_lock(7236835, (pk %% 2147483647)::int) FROM account WHERE tenant_pk = %(tenant)s AND id = %(id)s;
SELECT id FROM q WHERE account_pk = (SELECT pk FROM account WHERE tenant_pk = %(tenant)s AND id = %(id)s) ORDER BY id FOR UPDATE;
SELECT count(*) FROM q JOIN account a ON a.pk = q.account_pk WHERE a.tenant_pk = %(tenant)s AND a.id = %(id)s AND q.phase = 2;

-- name: close_account
-- Nothing of it is claimed any more, and what was claimed is nobody's: an intent under way is waited for and counted, a
-- later one finds nothing.
UPDATE account_state SET condition = 'breaker_open', reason = 'being_deleted', cause = NULL, since = now(), not_before = NULL
WHERE account_pk = %(account)s;
WITH claimed AS (SELECT id FROM q WHERE account_pk = %(account)s AND phase = 1 ORDER BY id FOR UPDATE)
UPDATE q SET epoch = NULL, phase = 0, charged_at = NULL, attempts = greatest(attempts - 1, 0)
WHERE id = ANY(ARRAY(SELECT id FROM claimed)) AND phase = 1;
SELECT count(*) FROM q WHERE account_pk = %(account)s AND phase = 2;

-- name: delete_account
WITH a AS (SELECT pk FROM account WHERE tenant_pk = %(tenant)s AND id = %(id)s FOR UPDATE),
k AS (DELETE FROM q WHERE account_pk IN (SELECT pk FROM a)),
m AS (DELETE FROM message WHERE tenant_pk = %(tenant)s AND account_pk IN (SELECT pk FROM a) RETURNING id),
b AS (DELETE FROM body WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
r AS (DELETE FROM recipient_state WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
e AS (DELETE FROM event WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
o AS (DELETE FROM outbox WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
v AS (DELETE FROM undelivered WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
p AS (DELETE FROM pec_message WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
l AS (DELETE FROM account_lease WHERE account_pk IN (SELECT pk FROM a)),
w AS (DELETE FROM rate_limit WHERE kind = 1 AND scope IN (SELECT pk FROM a)),
u AS (DELETE FROM rate_slot WHERE kind = 1 AND scope IN (SELECT pk FROM a))
DELETE FROM account WHERE pk IN (SELECT pk FROM a) RETURNING pk;

-- name: suspend
INSERT INTO suspension (tenant_pk, batch_code) VALUES (%(tenant)s, %(batch_code)s) ON CONFLICT DO NOTHING;

-- name: suspension_alone
-- Waits for whoever goes by suspensions; all that come after this transaction see the change.
SELECT pg_advisory_xact_lock(7236833);

-- name: hold_batch
WITH part AS (
    SELECT id FROM q WHERE id > %(after)s AND tenant_pk = %(tenant)s AND batch_code = %(batch_code)s AND phase = 0 AND NOT held
    ORDER BY id LIMIT %(limit)s FOR UPDATE)
UPDATE q SET held = true WHERE id = ANY(ARRAY(SELECT id FROM part)) RETURNING id;

-- name: release_held
-- Those of one batch, or all of the tenant's; the suspension itself goes last.
WITH part AS (
    SELECT id FROM q WHERE id > %(after)s AND tenant_pk = %(tenant)s AND held
      AND (%(batch_code)s::text IS NULL OR batch_code = %(batch_code)s)
    ORDER BY id LIMIT %(limit)s FOR UPDATE)
UPDATE q SET held = false WHERE id = ANY(ARRAY(SELECT id FROM part)) RETURNING id;

-- name: activate
DELETE FROM suspension WHERE tenant_pk = %(tenant)s AND (%(batch_code)s::text IS NULL OR batch_code = %(batch_code)s);

-- name: suspended_batches
SELECT batch_code FROM suspension WHERE tenant_pk = %(tenant)s ORDER BY batch_code;

-- name: suspended_pending
SELECT count(*) FROM q WHERE (%(tenant)s = 0 OR tenant_pk = %(tenant)s) AND (%(batch_code)s::text IS NULL OR batch_code = %(batch_code)s);

-- name: messages
SELECT m.id, m.client_id, t.id, t.name, a.id, m.status, m.priority, m.batch_code, m.error, m.attempts,
       extract(epoch FROM m.done_at)::float8, extract(epoch FROM m.reported_at)::float8,
       extract(epoch FROM m.created_at)::float8, extract(epoch FROM m.updated_at)::float8,
       q.phase, q.attempts,
       extract(epoch FROM CASE WHEN q.phase = 0 THEN greatest(q.due_at, st.not_before) END)::float8,
       q.held OR EXISTS (SELECT FROM suspension s WHERE s.tenant_pk IN (0, m.tenant_pk) AND s.batch_code IN ('', coalesce(m.batch_code, ''))),
       CASE WHEN %(payload)s THEN (SELECT payload FROM body WHERE message_id = m.id) END,
       (SELECT json_agg(json_build_array(r.rcpt, r.accepted, r.address, r.code, r.enhanced, r.reply, r.permanent))::text
        FROM recipient_state r WHERE r.message_id = m.id), extract(epoch FROM now())::float8,
       (SELECT json_agg(json_build_array(r.address, r.bounce_type, r.bounce_code, r.bounce_status, r.bounce_reason,
                                         extract(epoch FROM r.bounced_at)::float8, r.bounce_verified) ORDER BY r.rcpt)::text
        FROM recipient_state r WHERE r.message_id = m.id AND r.bounce_type IS NOT NULL),
       (SELECT json_agg(json_build_array(p.address, p.state, extract(epoch FROM p.at)::float8) ORDER BY p.rcpt)::text
        FROM pec_recipient p WHERE p.message_id = m.id)
FROM message m JOIN tenant t ON t.pk = m.tenant_pk
LEFT JOIN account a ON a.pk = m.account_pk LEFT JOIN q ON q.id = m.id LEFT JOIN account_state st ON st.account_pk = q.account_pk
WHERE (%(tenant)s::bigint IS NULL OR m.tenant_pk = %(tenant)s) AND m.id > %(after)s AND m.id < %(before)s
  AND (NOT %(active_only)s OR m.status = 0)
  AND (%(status)s::int IS NULL OR m.status = %(status)s)
  AND (%(account_id)s::text IS NULL OR a.id = %(account_id)s)
  AND (%(batch_code)s::text IS NULL OR m.batch_code = %(batch_code)s)
  AND (%(since)s::float8 IS NULL OR m.created_at >= to_timestamp(%(since)s))
  AND (%(until)s::float8 IS NULL OR m.created_at < to_timestamp(%(until)s))
  AND (%(text)s::text IS NULL OR m.client_id ILIKE %(text)s OR m.error ILIKE %(text)s
       OR EXISTS (SELECT FROM body WHERE message_id = m.id AND payload ILIKE %(text)s))
  AND (%(queue_state)s::text IS NULL OR %(queue_state)s = CASE
      WHEN q.phase > 0 THEN 'sending'
      WHEN q.held OR EXISTS (SELECT FROM suspension s
          WHERE s.tenant_pk IN (0, m.tenant_pk) AND s.batch_code IN ('', coalesce(m.batch_code, ''))) THEN 'suspended'
      WHEN greatest(q.due_at, st.not_before) > now() THEN 'deferred'
      ELSE 'pending' END)
ORDER BY m.id LIMIT %(limit)s;

-- name: message_window
-- Where the `size` youngest messages before one of them begin.
SELECT min(id), count(*) FROM (
    SELECT m.id FROM message m WHERE (%(tenant)s::bigint IS NULL OR m.tenant_pk = %(tenant)s) AND m.id < %(before)s
    ORDER BY m.id DESC LIMIT %(size)s) w;

-- name: events
SELECT e.id, e.kind, extract(epoch FROM e.at)::float8, e.detail, (SELECT o.event_id FROM outbox o WHERE o.event_id = e.id) IS NULL
       AND (SELECT u.event_id FROM undelivered u WHERE u.event_id = e.id) IS NULL
FROM message m JOIN event e ON e.message_id = m.id
WHERE m.tenant_pk = %(tenant)s AND m.client_id = %(client_id)s ORDER BY e.id;

-- name: history
SELECT e.message_id, e.id, e.kind, extract(epoch FROM e.at)::float8, e.detail, (SELECT o.event_id FROM outbox o WHERE o.event_id = e.id) IS NULL
       AND (SELECT u.event_id FROM undelivered u WHERE u.event_id = e.id) IS NULL
FROM event e WHERE e.message_id = ANY(%(ids)s) ORDER BY e.id;

-- name: message_known
SELECT m.id, m.status, q.phase, m.account_pk FROM message m LEFT JOIN q ON q.id = m.id
WHERE m.tenant_pk = %(tenant)s AND m.client_id = %(client_id)s;

-- name: delete_messages
-- What has an intent is left alone until its outcome is known. Locked first, so that the events of a finish under
-- way are seen and go too.
SELECT id FROM q WHERE id = ANY(ARRAY(
    SELECT m.id FROM message m WHERE m.tenant_pk = %(tenant)s AND m.client_id = ANY(%(client_ids)s)
      AND (%(account)s::bigint IS NULL OR m.account_pk = %(account)s))) ORDER BY id FOR UPDATE;
SELECT m.id FROM message m WHERE m.tenant_pk = %(tenant)s AND m.client_id = ANY(%(client_ids)s)
  AND (%(account)s::bigint IS NULL OR m.account_pk = %(account)s) ORDER BY m.id FOR UPDATE;
WITH gone AS (
    SELECT m.id, m.client_id FROM message m
    WHERE m.tenant_pk = %(tenant)s AND m.client_id = ANY(%(client_ids)s)
  AND (%(account)s::bigint IS NULL OR m.account_pk = %(account)s)),
k AS (DELETE FROM q WHERE id = ANY(ARRAY(SELECT id FROM gone)) AND phase < 2 RETURNING id),
m AS (
    DELETE FROM message WHERE id = ANY(ARRAY(SELECT id FROM gone))
      AND (status <> 0 OR id IN (SELECT id FROM k)) RETURNING id, client_id),
b AS (DELETE FROM body WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
r AS (DELETE FROM recipient_state WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
e AS (DELETE FROM event WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
o AS (DELETE FROM outbox WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
v AS (DELETE FROM undelivered WHERE message_id = ANY(ARRAY(SELECT id FROM m))),
p AS (DELETE FROM pec_message WHERE message_id = ANY(ARRAY(SELECT id FROM m)))
SELECT gone.client_id, m.id IS NOT NULL FROM gone LEFT JOIN m USING (id);

-- name: messages_of
-- The ids of a stretch of the tenant's messages (or, among them, the account's), along the index, and where it ends.
SELECT count(*), max(id), json_agg(client_id ORDER BY id) FILTER (WHERE %(account)s::bigint IS NULL OR account_pk = %(account)s)::text
FROM (SELECT id, client_id, account_pk FROM message WHERE tenant_pk = %(tenant)s AND id > %(after)s ORDER BY id LIMIT %(limit)s) m;

-- name: cancel
WITH k AS (
    DELETE FROM q USING message m WHERE m.tenant_pk = %(tenant)s AND m.client_id = %(client_id)s AND q.id = m.id AND q.phase < 2
    RETURNING q.id, q.tenant_pk, q.attempts),
m AS (
    UPDATE message SET status = 4, attempts = k.attempts, done_at = now(), updated_at = now() FROM k WHERE message.id = k.id),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail) SELECT tenant_pk, id, 'cancelled', '{}' FROM k
    RETURNING id, tenant_pk, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
    WHERE %(fallback)s OR t.client_base_url IS NOT NULL)
SELECT id FROM k;

-- name: resolve
-- Only what is in doubt: whatever else holds on to the message stays in its right.
WITH m AS (
    UPDATE message SET status = %(status)s, error = %(error)s, updated_at = now(),
           done_at = CASE WHEN %(status)s <> 0 THEN now() END,
           revision = CASE WHEN %(status)s = 0 THEN revision + 1 ELSE revision END
    WHERE tenant_pk = %(tenant)s AND client_id = %(client_id)s AND status = 3
    RETURNING id, tenant_pk, account_pk, priority, batch_code, revision),
k AS (
    INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, batch_code, revision, priority, held)
    SELECT m.id, m.tenant_pk, m.account_pk, now(), now() + make_interval(secs => %(max_age)s), m.batch_code, m.revision, m.priority,
           m.batch_code IS NOT NULL AND EXISTS (SELECT FROM suspension s
               WHERE s.tenant_pk = m.tenant_pk AND s.batch_code = m.batch_code)
    FROM m WHERE %(status)s = 0),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail) SELECT tenant_pk, id, %(kind)s, %(detail)s FROM m
    RETURNING id, tenant_pk, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
    WHERE %(fallback)s OR t.client_base_url IS NOT NULL)
SELECT id FROM m;

-- name: past_their_age
-- All that waits is looked through; whoever writes does not wait for that.
SELECT id FROM q WHERE phase = 0 AND expires_at <= now() LIMIT %(limit)s;

-- name: expire
WITH dead AS (
    SELECT id FROM q WHERE id = ANY(%(ids)s::bigint[]) AND phase = 0 AND expires_at <= now()
    ORDER BY id FOR UPDATE SKIP LOCKED),
k AS (
    DELETE FROM q WHERE id = ANY(ARRAY(SELECT id FROM dead)) RETURNING id, tenant_pk, attempts),
m AS (
    UPDATE message SET status = 5, error = 'Expired before it could be sent', attempts = k.attempts, done_at = now(),
           updated_at = now() FROM k WHERE message.id = k.id),
e AS (
    INSERT INTO event (tenant_pk, message_id, kind, detail)
    SELECT tenant_pk, id, 'expired', '{"error": "Expired before it could be sent"}' FROM k RETURNING id, tenant_pk, message_id),
o AS (
    INSERT INTO outbox (event_id, tenant_pk, message_id)
    SELECT e.id, e.tenant_pk, e.message_id FROM e JOIN tenant t ON t.pk = e.tenant_pk
    WHERE %(fallback)s OR t.client_base_url IS NOT NULL)
SELECT id FROM k;

-- name: cleanup
-- Finished, and reported (if anybody is told) long enough ago. The walk by primary key ends with the first page of which
-- nothing is older than the cut: ids grow as time does. A receipt finds its message until all of its recipients are settled.
WITH page AS MATERIALIZED (
    SELECT m.id, m.created_at FROM message m
    WHERE m.id > %(after)s AND (%(tenant)s::bigint IS NULL OR m.tenant_pk = %(tenant)s)
    ORDER BY m.id LIMIT %(limit)s),
old AS (SELECT id FROM page WHERE created_at < now() - make_interval(secs => %(older_than)s)),
gone AS (
    SELECT m.id FROM message m JOIN old USING (id)
    WHERE m.status NOT IN (0, 3) AND greatest(m.done_at, m.reported_at) < now() - make_interval(secs => %(older_than)s)
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.message_id = m.id)
      AND NOT EXISTS (SELECT FROM undelivered u WHERE u.message_id = m.id)
      AND (m.status <> 1 OR (SELECT p.look_at FROM pec_message p WHERE p.message_id = m.id) IS NULL)
      AND (m.status <> 1 OR m.done_at < now() - make_interval(secs => %(told_within)s) OR (SELECT count(*) FROM pec_recipient p
          WHERE p.message_id = m.id AND p.state NOT IN ('refused', 'failed', 'virus', 'delivered')) = 0)
    FOR UPDATE OF m SKIP LOCKED),
b AS (DELETE FROM body WHERE message_id = ANY(ARRAY(SELECT id FROM gone))),
r AS (DELETE FROM recipient_state WHERE message_id = ANY(ARRAY(SELECT id FROM gone))),
p AS (DELETE FROM pec_message WHERE message_id = ANY(ARRAY(SELECT id FROM gone))),
e AS (DELETE FROM event WHERE message_id = ANY(ARRAY(SELECT id FROM gone))),
m AS (DELETE FROM message WHERE id = ANY(ARRAY(SELECT id FROM gone)) RETURNING id)
SELECT (SELECT max(id) FROM old), (SELECT count(*) FROM m);
