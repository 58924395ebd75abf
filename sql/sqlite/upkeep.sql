-- The queries of the PostgreSQL dialect, name for name.

-- name: queue_is_untidy
SELECT :dead < 0;

-- name: clock
SELECT :now;

-- name: queue_row
SELECT q.due_at, q.expires_at, q.phase, q.attempts, q.crashes, q.suspect,
       (SELECT count(*) FROM (
           SELECT 1 FROM q o WHERE o.account_pk = q.account_pk AND NOT o.held AND o.phase = 0 AND o.due_at <= :now
             AND (o.priority, o.due_at, o.id) < (q.priority, q.due_at, q.id) LIMIT :most)),
       q.epoch IS NOT NULL, p.owner, p.node, p.seen_at, p.left_at
FROM q LEFT JOIN process p ON p.epoch = q.epoch WHERE q.id = :message;

-- name: account_leases
SELECT p.owner, p.node, p.seen_at, p.left_at, l.expires_at
FROM account_lease l LEFT JOIN process p ON p.epoch = l.epoch WHERE l.account_pk = :account ORDER BY l.slot;

-- name: tenant_windows
SELECT r.scope, r.win, r.lim, r.slot_s, r.slots, coalesce(s.slot, 0), coalesce(s.n, 0), :now
FROM rate_limit r LEFT JOIN rate_slot s USING (kind, scope, win)
WHERE r.kind = 0 AND r.scope = :tenant ORDER BY r.slot_s, r.win;

-- name: suspensions_over
SELECT tenant_pk, batch_code, since FROM suspension
WHERE tenant_pk IN (0, :tenant) AND batch_code IN ('', :batch_code) ORDER BY tenant_pk, batch_code;

-- name: sync_standing
SELECT t.id, t.name, t.active, t.client_base_url, :now, s.last_call_at, s.muted_until, s.next_try_at,
       coalesce(s.fails, 0), s.failure, s.switched_off, s.poked_at IS NOT NULL,
       (SELECT count(*) FROM outbox o WHERE o.tenant_pk = t.pk)
       + (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL),
       (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NULL)
FROM tenant t LEFT JOIN tenant_sync s ON s.tenant_pk = t.pk WHERE t.pk = :tenant;

-- name: sealed_values
-- Each with what it is bound to, as rows.py writes it.
SELECT 'canary' AS place, 1 AS pk, 'canary', canary FROM instance WHERE canary IS NOT NULL
UNION ALL SELECT 'bounce_secret', 1, 'instance|bounce|password', bounce_secret FROM instance WHERE bounce_secret IS NOT NULL
UNION ALL SELECT 'proof_secret', 1, 'instance|proof|key', proof_secret FROM instance WHERE proof_secret IS NOT NULL
UNION ALL SELECT 'webhook_secrets', pk, 'tenant|' || id || '|webhook_secrets', webhook_secrets FROM tenant
    WHERE webhook_secrets IS NOT NULL
UNION ALL SELECT 'large_file_secrets', pk, 'tenant|' || id || '|large_file_secrets', large_file_secrets FROM tenant
    WHERE large_file_secrets IS NOT NULL
UNION ALL SELECT 'link_key', 1, 'instance|link_key', link_key FROM instance WHERE link_key IS NOT NULL
UNION ALL SELECT 'client_auth', pk, 'tenant|' || id || '|client_auth', client_auth FROM tenant WHERE client_auth IS NOT NULL
UNION ALL SELECT 'password', pk, 'account|' || tenant_pk || '/' || id || '|password', secret FROM account WHERE secret IS NOT NULL
UNION ALL SELECT 'imap_password', pk, 'account|' || tenant_pk || '/' || id || '|imap_password', imap_secret FROM account WHERE imap_secret IS NOT NULL
UNION ALL SELECT 'logins', message_id, 'message|' || message_id || '|logins', logins FROM body WHERE logins IS NOT NULL
ORDER BY place, pk;

-- name: reseal_canary
UPDATE instance SET canary = :fresh WHERE one = :pk AND canary = :sealed RETURNING 1;

-- name: reseal_client_auth
UPDATE tenant SET client_auth = :fresh WHERE pk = :pk AND client_auth = :sealed RETURNING 1;

-- name: reseal_password
UPDATE account SET secret = :fresh WHERE pk = :pk AND secret = :sealed RETURNING 1;

-- name: reseal_imap_password
UPDATE account SET imap_secret = :fresh WHERE pk = :pk AND imap_secret = :sealed RETURNING 1;

-- name: reseal_bounce_secret
UPDATE instance SET bounce_secret = :fresh WHERE one = :pk AND bounce_secret = :sealed RETURNING 1;

-- name: reseal_proof_secret
UPDATE instance SET proof_secret = :fresh WHERE one = :pk AND proof_secret = :sealed RETURNING 1;

-- name: reseal_webhook_secrets
UPDATE tenant SET webhook_secrets = :fresh WHERE pk = :pk AND webhook_secrets = :sealed RETURNING 1;

-- name: reseal_large_file_secrets
UPDATE tenant SET large_file_secrets = :fresh WHERE pk = :pk AND large_file_secrets = :sealed RETURNING 1;

-- name: reseal_logins
UPDATE body SET logins = :fresh WHERE message_id = :pk AND logins = :sealed RETURNING 1;

-- name: reseal_link_key
UPDATE instance SET link_key = :fresh WHERE one = :pk AND link_key = :sealed RETURNING 1;

-- name: known_messages
SELECT client_id FROM message WHERE tenant_pk = :tenant AND client_id IN (SELECT value FROM json_each(:client_ids));

-- name: undelivered_of
SELECT event_id, cause, tries, next_try_at, dead_at FROM undelivered WHERE message_id = :message ORDER BY event_id;
