-- The queries of the PostgreSQL dialect, name for name.

-- name: principal
SELECT t.pk, t.id, k.key_id FROM tenant_key k JOIN tenant t ON t.pk = k.tenant_pk
WHERE k.hash = :hash AND t.active AND (k.expires_at IS NULL OR k.expires_at > :now);

-- name: put_tenant
INSERT INTO tenant (id, name, client_auth, client_base_url, client_sync_path, client_attachment_path, rate_limits,
    large_file_config, report_strict, report_format, active, webhook_secrets, url_set_by_tenant, suppress_bounces,
    large_file_secrets, created_at, updated_at)
VALUES (:id, :name, :client_auth, :client_base_url, :client_sync_path, :client_attachment_path,
    :rate_limits, :large_file_config, :report_strict, :report_format, :active, :webhook_secrets,
    :url_set_by_tenant, :suppress_bounces, :large_file_secrets, :now, :now)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, client_auth = coalesce(excluded.client_auth, tenant.client_auth),
    client_base_url = excluded.client_base_url, client_sync_path = excluded.client_sync_path,
    client_attachment_path = excluded.client_attachment_path, rate_limits = excluded.rate_limits,
    large_file_config = excluded.large_file_config, report_strict = excluded.report_strict,
    report_format = excluded.report_format, active = excluded.active,
    webhook_secrets = coalesce(excluded.webhook_secrets, tenant.webhook_secrets),
    large_file_secrets = coalesce(excluded.large_file_secrets, tenant.large_file_secrets),
    url_set_by_tenant = excluded.url_set_by_tenant, suppress_bounces = excluded.suppress_bounces, updated_at = :now
RETURNING pk;

-- name: tenant_sync_ready
INSERT INTO tenant_sync (tenant_pk) VALUES (:tenant) ON CONFLICT (tenant_pk) DO UPDATE
SET switched_off = NULL, switched_off_at = NULL, gone = 0, fails = 0, failure = NULL, failing_since = NULL, next_try_at = NULL
WHERE :switch_on;

-- name: drop_limits
DELETE FROM rate_limit WHERE kind = :kind AND scope = :scope AND win NOT IN (SELECT value FROM json_each(:kept));

-- name: lift_rests
UPDATE account_state SET not_before = NULL, reason = NULL
WHERE reason = 'rate_limit' AND account_pk IN (SELECT pk FROM account WHERE tenant_pk = :tenant);

-- name: put_limits
INSERT INTO rate_limit (kind, scope, win, slot_s, slots, lim) VALUES (:kind, :scope, :win, :slot_s, :slots, :lim)
ON CONFLICT (kind, scope, win) DO UPDATE SET slot_s = excluded.slot_s, slots = excluded.slots, lim = excluded.lim;

-- name: tenant
SELECT pk, id, name, client_auth, client_base_url, client_sync_path, client_attachment_path, rate_limits,
       large_file_config, report_strict, report_format, active, webhook_secrets, url_set_by_tenant, suppress_bounces, large_file_secrets,
       created_at, updated_at, s.switched_off, s.switched_off_at
FROM tenant LEFT JOIN tenant_sync s ON s.tenant_pk = pk WHERE id = :id;

-- name: tenants
SELECT pk, id, name, client_auth, client_base_url, client_sync_path, client_attachment_path, rate_limits,
       large_file_config, report_strict, report_format, active, webhook_secrets, url_set_by_tenant, suppress_bounces, large_file_secrets,
       created_at, updated_at, s.switched_off, s.switched_off_at
FROM tenant LEFT JOIN tenant_sync s ON s.tenant_pk = pk WHERE id > coalesce(:after, '') AND (active OR NOT :active_only) ORDER BY id LIMIT :limit;

-- name: delete_tenant
DELETE FROM body WHERE message_id IN (SELECT id FROM message WHERE tenant_pk = :tenant);
DELETE FROM q WHERE id IN (SELECT id FROM message WHERE tenant_pk = :tenant);
DELETE FROM recipient_state WHERE message_id IN (SELECT id FROM message WHERE tenant_pk = :tenant);
DELETE FROM pec_message WHERE message_id IN (SELECT id FROM message WHERE tenant_pk = :tenant);
DELETE FROM event WHERE message_id IN (SELECT id FROM message WHERE tenant_pk = :tenant);
DELETE FROM outbox WHERE tenant_pk = :tenant;
DELETE FROM undelivered WHERE tenant_pk = :tenant;
DELETE FROM message WHERE tenant_pk = :tenant;
DELETE FROM suspension WHERE tenant_pk = :tenant;
DELETE FROM kept_answer WHERE scope = :tenant;
UPDATE large_file SET expires_at = min(expires_at, :now) WHERE tenant_pk = :tenant;
DELETE FROM pec_receipt WHERE tenant_pk = :tenant;
DELETE FROM account_lease WHERE account_pk IN (SELECT pk FROM account WHERE tenant_pk = :tenant);
DELETE FROM rate_limit WHERE (kind = 0 AND scope = :tenant) OR (kind = 1 AND scope IN (SELECT pk FROM account WHERE tenant_pk = :tenant));
DELETE FROM rate_slot WHERE (kind = 0 AND scope = :tenant) OR (kind = 1 AND scope IN (SELECT pk FROM account WHERE tenant_pk = :tenant));
DELETE FROM tenant WHERE pk = :tenant RETURNING pk;

-- name: end_keys
-- The newest key lives :keep seconds on; older ones end now.
UPDATE tenant_key SET expires_at = min(coalesce(expires_at, 9e18), CASE
    WHEN created_at = (SELECT max(created_at) FROM tenant_key WHERE tenant_pk = :tenant) THEN :now + :keep ELSE :now END)
WHERE tenant_pk = :tenant AND (expires_at IS NULL OR expires_at > :now);

-- name: put_key
INSERT INTO tenant_key (hash, key_id, tenant_pk, expires_at, created_at) VALUES (:hash, :key_id, :tenant, :expires_at, :now);

-- name: revoke_keys
DELETE FROM tenant_key WHERE tenant_pk = :tenant;

-- name: put_account
INSERT INTO account (tenant_pk, id, host, port, username, secret, use_tls, tls_verify, tls_ca, ttl, batch_size, max_retries,
    retry_delays, on_unknown_outcome, limit_behavior, host_set_by_tenant, is_pec_account, pec_address, imap_host,
    imap_port, imap_user, imap_secret, imap_folder, imap_ssl, imap_host_set_by_tenant, created_at, updated_at)
VALUES (:tenant, :id, :host, :port, :user, :secret, :use_tls, :tls_verify, :tls_ca, :ttl,
    :batch_size, :max_retries, :retry_delays, :on_unknown_outcome, :limit_behavior, :host_set_by_tenant,
    :is_pec_account, :pec_address, :imap_host, :imap_port, :imap_user, :imap_secret, :imap_folder, :imap_ssl, :imap_host_set_by_tenant, :now, :now)
ON CONFLICT (tenant_pk, id) DO UPDATE SET version = account.version + 1, host = excluded.host, port = excluded.port,
    username = excluded.username, secret = coalesce(excluded.secret, account.secret), use_tls = excluded.use_tls,
    tls_verify = excluded.tls_verify, tls_ca = excluded.tls_ca, ttl = excluded.ttl, batch_size = excluded.batch_size,
    max_retries = excluded.max_retries, retry_delays = excluded.retry_delays,
    on_unknown_outcome = excluded.on_unknown_outcome, limit_behavior = excluded.limit_behavior,
    host_set_by_tenant = excluded.host_set_by_tenant, is_pec_account = excluded.is_pec_account,
    pec_address = excluded.pec_address, imap_host = excluded.imap_host, imap_port = excluded.imap_port,
    imap_user = excluded.imap_user, imap_secret = coalesce(excluded.imap_secret, account.imap_secret),
    imap_folder = excluded.imap_folder, imap_ssl = excluded.imap_ssl,
    imap_host_set_by_tenant = excluded.imap_host_set_by_tenant, updated_at = :now
RETURNING pk;

-- name: account_state_fresh
INSERT INTO account_state (account_pk) VALUES (:account)
ON CONFLICT (account_pk) DO UPDATE SET condition = 'ok', reason = NULL, cause = NULL, since = NULL, not_before = NULL, fails = 0;

-- name: accounts
SELECT a.pk, a.tenant_pk, t.id, a.id, a.version, a.host, a.port, a.username, a.secret, a.use_tls, a.tls_verify, a.tls_ca, a.ttl,
       a.batch_size, a.max_retries, a.retry_delays, a.on_unknown_outcome, a.limit_behavior, a.host_set_by_tenant,
       a.is_pec_account, a.pec_address, a.imap_host, a.imap_port, a.imap_user, a.imap_secret, a.imap_folder, a.imap_ssl,
       a.imap_host_set_by_tenant,
       coalesce(st.condition, 'ok'), st.reason, st.cause, st.since,
       st.not_before,
       a.created_at, a.updated_at
FROM account a JOIN tenant t ON t.pk = a.tenant_pk LEFT JOIN account_state st ON st.account_pk = a.pk
WHERE a.tenant_pk = :tenant AND a.id > coalesce(:after, '') AND (:id IS NULL OR a.id = :id)
ORDER BY a.id LIMIT :limit;

-- name: sending_account
SELECT a.pk, a.tenant_pk, t.id, a.id, a.version, a.host, a.port, a.username, a.secret, a.use_tls, a.tls_verify, a.tls_ca, a.ttl,
       a.batch_size, a.max_retries, a.retry_delays, a.on_unknown_outcome, a.limit_behavior, a.host_set_by_tenant,
       a.is_pec_account, a.pec_address, a.imap_host, a.imap_port, a.imap_user, a.imap_secret, a.imap_folder, a.imap_ssl,
       a.imap_host_set_by_tenant
FROM account a JOIN tenant t ON t.pk = a.tenant_pk WHERE a.pk = :account;

-- name: account_windows
SELECT r.scope, r.win, r.lim, r.slot_s, r.slots, coalesce(s.slot, 0), coalesce(s.n, 0), :now
FROM rate_limit r LEFT JOIN rate_slot s USING (kind, scope, win)
WHERE r.kind = 1 AND r.scope IN (SELECT value FROM json_each(:accounts)) ORDER BY r.scope, r.slot_s, r.win;

-- name: account_ids
SELECT id, pk, is_pec_account, pec_address, imap_user, username FROM account WHERE tenant_pk = :tenant;

-- name: tenants_of_account
SELECT t.id FROM account a JOIN tenant t ON t.pk = a.tenant_pk WHERE a.id = :id ORDER BY t.id LIMIT 2;

-- name: account_alone
SELECT count(*) FROM q JOIN account a ON a.pk = q.account_pk WHERE a.tenant_pk = :tenant AND a.id = :id AND q.phase = 2;

-- name: close_account
UPDATE account_state SET condition = 'breaker_open', reason = 'being_deleted', cause = NULL, since = :now, not_before = NULL
WHERE account_pk = :account;
UPDATE q SET epoch = NULL, phase = 0, charged_at = NULL, attempts = max(attempts - 1, 0) WHERE account_pk = :account AND phase = 1;
SELECT count(*) FROM q WHERE account_pk = :account AND phase = 2;

-- name: delete_account
CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY, client_id TEXT, removed INTEGER);
DELETE FROM gone;
INSERT INTO gone SELECT id, client_id, 1 FROM message WHERE tenant_pk = :tenant AND account_pk = (SELECT pk FROM account WHERE tenant_pk = :tenant AND id = :id);
DELETE FROM q WHERE account_pk = (SELECT pk FROM account WHERE tenant_pk = :tenant AND id = :id);
DELETE FROM body WHERE message_id IN (SELECT id FROM gone);
DELETE FROM recipient_state WHERE message_id IN (SELECT id FROM gone);
DELETE FROM pec_message WHERE message_id IN (SELECT id FROM gone);
DELETE FROM event WHERE message_id IN (SELECT id FROM gone);
DELETE FROM outbox WHERE message_id IN (SELECT id FROM gone);
DELETE FROM undelivered WHERE message_id IN (SELECT id FROM gone);
DELETE FROM message WHERE id IN (SELECT id FROM gone);
DELETE FROM account_lease WHERE account_pk = (SELECT pk FROM account WHERE tenant_pk = :tenant AND id = :id);
DELETE FROM rate_limit WHERE kind = 1 AND scope = (SELECT pk FROM account WHERE tenant_pk = :tenant AND id = :id);
DELETE FROM rate_slot WHERE kind = 1 AND scope = (SELECT pk FROM account WHERE tenant_pk = :tenant AND id = :id);
DELETE FROM account WHERE tenant_pk = :tenant AND id = :id RETURNING pk;

-- name: suspend
INSERT INTO suspension (tenant_pk, batch_code, since) VALUES (:tenant, :batch_code, :now) ON CONFLICT DO NOTHING;

-- name: suspension_alone
SELECT 1;

-- name: hold_batch
UPDATE q SET held = 1 WHERE id IN (
    SELECT id FROM q WHERE id > :after AND tenant_pk = :tenant AND batch_code = :batch_code AND phase = 0 AND NOT held
    ORDER BY id LIMIT :limit) RETURNING id;

-- name: release_held
UPDATE q SET held = 0 WHERE id IN (
    SELECT id FROM q WHERE id > :after AND tenant_pk = :tenant AND held AND (:batch_code IS NULL OR batch_code = :batch_code)
    ORDER BY id LIMIT :limit) RETURNING id;

-- name: activate
DELETE FROM suspension WHERE tenant_pk = :tenant AND (:batch_code IS NULL OR batch_code = :batch_code);

-- name: suspended_batches
SELECT batch_code FROM suspension WHERE tenant_pk = :tenant ORDER BY batch_code;

-- name: suspended_pending
SELECT count(*) FROM q WHERE (:tenant = 0 OR tenant_pk = :tenant) AND (:batch_code IS NULL OR batch_code = :batch_code);

-- name: messages
SELECT m.id, m.client_id, t.id, t.name, a.id, m.status, m.priority, m.batch_code, m.error, m.attempts,
       m.done_at, m.reported_at,
       m.created_at, m.updated_at,
       q.phase, q.attempts,
       CASE WHEN q.phase = 0 THEN max(q.due_at, coalesce(st.not_before, 0)) END,
       q.held OR EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_pk IN (0, m.tenant_pk) AND s.batch_code IN ('', coalesce(m.batch_code, ''))),
       CASE WHEN :payload THEN (SELECT payload FROM body WHERE message_id = m.id) END,
       (SELECT json_group_array(json_array(r.rcpt, r.accepted, r.address, r.code, r.enhanced, r.reply, r.permanent))
        FROM recipient_state r WHERE r.message_id = m.id HAVING count(*) > 0), :now,
       (SELECT json_group_array(json_array(w.address, w.bounce_type, w.bounce_code, w.bounce_status, w.bounce_reason,
                                           w.bounced_at, w.bounce_verified))
        FROM (SELECT * FROM recipient_state WHERE message_id = m.id AND bounce_type IS NOT NULL ORDER BY rcpt) w HAVING count(*) > 0),
       (SELECT json_group_array(json_array(p.address, p.state, p.at))
        FROM (SELECT * FROM pec_recipient WHERE message_id = m.id ORDER BY rcpt) p HAVING count(*) > 0)
FROM message m JOIN tenant t ON t.pk = m.tenant_pk
LEFT JOIN account a ON a.pk = m.account_pk LEFT JOIN q ON q.id = m.id LEFT JOIN account_state st ON st.account_pk = q.account_pk
WHERE (:tenant IS NULL OR m.tenant_pk = :tenant) AND m.id > :after AND m.id < :before
  AND (NOT :active_only OR m.status = 0)
  AND (:status IS NULL OR m.status = :status)
  AND (:account_id IS NULL OR a.id = :account_id)
  AND (:batch_code IS NULL OR m.batch_code = :batch_code)
  AND (:since IS NULL OR m.created_at >= :since)
  AND (:until IS NULL OR m.created_at < :until)
  AND (:text IS NULL OR m.client_id LIKE :text ESCAPE '\' OR m.error LIKE :text ESCAPE '\'
       OR EXISTS (SELECT 1 FROM body WHERE message_id = m.id AND payload LIKE :text ESCAPE '\'))
  AND (:queue_state IS NULL OR :queue_state = CASE
      WHEN q.phase > 0 THEN 'sending'
      WHEN q.held OR EXISTS (SELECT 1 FROM suspension s
          WHERE s.tenant_pk IN (0, m.tenant_pk) AND s.batch_code IN ('', coalesce(m.batch_code, ''))) THEN 'suspended'
      WHEN max(q.due_at, coalesce(st.not_before, 0)) > :now THEN 'deferred'
      ELSE 'pending' END)
ORDER BY m.id LIMIT :limit;

-- name: message_window
-- Where the `size` youngest messages before one of them begin.
SELECT min(id), count(*) FROM (
    SELECT m.id FROM message m WHERE (:tenant IS NULL OR m.tenant_pk = :tenant) AND m.id < :before
    ORDER BY m.id DESC LIMIT :size) w;

-- name: events
SELECT e.id, e.kind, e.at, e.detail, NOT EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = e.id)
       AND NOT EXISTS (SELECT 1 FROM undelivered u WHERE u.event_id = e.id)
FROM message m JOIN event e ON e.message_id = m.id
WHERE m.tenant_pk = :tenant AND m.client_id = :client_id ORDER BY e.id;

-- name: history
SELECT e.message_id, e.id, e.kind, e.at, e.detail, NOT EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = e.id)
       AND NOT EXISTS (SELECT 1 FROM undelivered u WHERE u.event_id = e.id)
FROM event e WHERE e.message_id IN (SELECT value FROM json_each(:ids)) ORDER BY e.id;

-- name: message_known
SELECT m.id, m.status, q.phase, m.account_pk FROM message m LEFT JOIN q ON q.id = m.id
WHERE m.tenant_pk = :tenant AND m.client_id = :client_id;

-- name: delete_messages
-- What has an intent is left alone until its outcome is known.
CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY, client_id TEXT, removed INTEGER);
DELETE FROM gone;
INSERT INTO gone SELECT m.id, m.client_id, NOT EXISTS (SELECT 1 FROM q WHERE q.id = m.id AND q.phase = 2)
FROM message m WHERE m.tenant_pk = :tenant AND m.client_id IN (SELECT value FROM json_each(:client_ids))
  AND (:account IS NULL OR m.account_pk = :account);
DELETE FROM q WHERE id IN (SELECT id FROM gone WHERE removed);
DELETE FROM body WHERE message_id IN (SELECT id FROM gone WHERE removed);
DELETE FROM recipient_state WHERE message_id IN (SELECT id FROM gone WHERE removed);
DELETE FROM pec_message WHERE message_id IN (SELECT id FROM gone WHERE removed);
DELETE FROM event WHERE message_id IN (SELECT id FROM gone WHERE removed);
DELETE FROM outbox WHERE message_id IN (SELECT id FROM gone WHERE removed);
DELETE FROM undelivered WHERE message_id IN (SELECT id FROM gone WHERE removed);
DELETE FROM message WHERE id IN (SELECT id FROM gone WHERE removed);
SELECT client_id, removed FROM gone;

-- name: messages_of
SELECT count(*), max(id), json_group_array(client_id) FILTER (WHERE :account IS NULL OR account_pk = :account)
FROM (SELECT id, client_id, account_pk FROM message WHERE tenant_pk = :tenant AND id > :after ORDER BY id LIMIT :limit) m;

-- name: cancel
INSERT INTO event (tenant_pk, message_id, kind, detail, at) SELECT q.tenant_pk, q.id, 'cancelled', '{}', :now FROM q WHERE q.id IN (SELECT q.id FROM q JOIN message m ON m.id = q.id WHERE m.tenant_pk = :tenant AND m.client_id = :client_id AND q.phase < 2);
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = q.id), q.tenant_pk, q.id FROM q JOIN tenant t ON t.pk = q.tenant_pk
WHERE q.id IN (SELECT q.id FROM q JOIN message m ON m.id = q.id WHERE m.tenant_pk = :tenant AND m.client_id = :client_id AND q.phase < 2) AND (:fallback OR t.client_base_url IS NOT NULL);
UPDATE message SET status = 4, error = error, attempts = (SELECT attempts FROM q WHERE q.id = message.id), done_at = :now,
       updated_at = :now WHERE id IN (SELECT q.id FROM q JOIN message m ON m.id = q.id WHERE m.tenant_pk = :tenant AND m.client_id = :client_id AND q.phase < 2);
DELETE FROM q WHERE id IN (SELECT q.id FROM q JOIN message m ON m.id = q.id WHERE m.tenant_pk = :tenant AND m.client_id = :client_id AND q.phase < 2) RETURNING id;

-- name: resolve
INSERT INTO event (tenant_pk, message_id, kind, detail, at)
SELECT tenant_pk, id, :kind, :detail, :now FROM message WHERE tenant_pk = :tenant AND client_id = :client_id AND status = 3;
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = m.id), m.tenant_pk, m.id FROM message m JOIN tenant t ON t.pk = m.tenant_pk
WHERE m.tenant_pk = :tenant AND m.client_id = :client_id AND m.status = 3 AND (:fallback OR t.client_base_url IS NOT NULL);
INSERT INTO q (id, tenant_pk, account_pk, due_at, expires_at, batch_code, revision, priority, held)
SELECT m.id, m.tenant_pk, m.account_pk, :now, :now + :max_age, m.batch_code, m.revision + 1, m.priority,
       m.batch_code IS NOT NULL AND EXISTS (SELECT 1 FROM suspension s
           WHERE s.tenant_pk = m.tenant_pk AND s.batch_code = m.batch_code)
FROM message m WHERE m.tenant_pk = :tenant AND m.client_id = :client_id AND m.status = 3 AND :status = 0;
UPDATE message SET status = :status, error = :error, updated_at = :now, done_at = CASE WHEN :status <> 0 THEN :now END,
       revision = CASE WHEN :status = 0 THEN revision + 1 ELSE revision END
WHERE tenant_pk = :tenant AND client_id = :client_id AND status = 3 RETURNING id;

-- name: past_their_age
SELECT id FROM q WHERE phase = 0 AND expires_at <= :now LIMIT :limit;

-- name: expire
INSERT INTO event (tenant_pk, message_id, kind, detail, at) SELECT q.tenant_pk, q.id, 'expired', '{"error": "Expired before it could be sent"}', :now FROM q WHERE q.id IN (SELECT value FROM json_each(:ids)) AND q.phase = 0 AND q.expires_at <= :now;
INSERT INTO outbox (event_id, tenant_pk, message_id)
SELECT (SELECT max(e.id) FROM event e WHERE e.message_id = q.id), q.tenant_pk, q.id FROM q JOIN tenant t ON t.pk = q.tenant_pk
WHERE q.id IN (SELECT value FROM json_each(:ids)) AND q.phase = 0 AND q.expires_at <= :now AND (:fallback OR t.client_base_url IS NOT NULL);
UPDATE message SET status = 5, error = 'Expired before it could be sent', attempts = (SELECT attempts FROM q WHERE q.id = message.id), done_at = :now,
       updated_at = :now WHERE id IN (
    SELECT q.id FROM q WHERE q.id IN (SELECT value FROM json_each(:ids)) AND q.phase = 0 AND q.expires_at <= :now);
DELETE FROM q WHERE id IN (SELECT value FROM json_each(:ids)) AND phase = 0 AND expires_at <= :now RETURNING id;

-- name: cleanup
-- Finished, and reported (if anybody is told) long enough ago. The walk by primary key ends with the first page of which
-- nothing is older than the cut: ids grow as time does. A receipt finds its message until all of its recipients are settled.
CREATE TEMP TABLE IF NOT EXISTS old (id INTEGER PRIMARY KEY, gone INTEGER);
DELETE FROM old;
INSERT INTO old SELECT m.id, m.status NOT IN (0, 3) AND max(m.done_at, coalesce(m.reported_at, 0)) < :now - :older_than
    AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = m.id)
    AND NOT EXISTS (SELECT 1 FROM undelivered u WHERE u.message_id = m.id)
    AND (m.status <> 1 OR NOT EXISTS (SELECT 1 FROM pec_message p WHERE p.message_id = m.id AND p.look_at IS NOT NULL))
    AND (m.status <> 1 OR m.done_at < :now - :told_within OR NOT EXISTS (SELECT 1 FROM pec_recipient p
        WHERE p.message_id = m.id AND p.state NOT IN ('refused', 'failed', 'virus', 'delivered')))
FROM (SELECT * FROM message WHERE id > :after AND (:tenant IS NULL OR tenant_pk = :tenant) ORDER BY id LIMIT :limit) m
WHERE m.created_at < :now - :older_than;
DELETE FROM body WHERE message_id IN (SELECT id FROM old WHERE gone);
DELETE FROM recipient_state WHERE message_id IN (SELECT id FROM old WHERE gone);
DELETE FROM pec_message WHERE message_id IN (SELECT id FROM old WHERE gone);
DELETE FROM event WHERE message_id IN (SELECT id FROM old WHERE gone);
DELETE FROM message WHERE id IN (SELECT id FROM old WHERE gone);
SELECT max(id), count(*) FILTER (WHERE gone) FROM old;
