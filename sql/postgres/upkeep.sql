-- What operators ask: why a message has not gone, what time it is.

-- name: queue_is_untidy
SELECT coalesce(pg_stat_get_dead_tuples('q'::regclass), 0) > %(dead)s;

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8;

-- name: queue_row
SELECT extract(epoch FROM q.due_at)::float8, extract(epoch FROM q.expires_at)::float8, q.phase, q.attempts, q.crashes, q.suspect,
       (SELECT count(*) FROM (
           SELECT FROM q o WHERE o.account_pk = q.account_pk AND NOT o.held AND o.phase = 0 AND o.due_at <= now()
             AND (o.priority, o.due_at, o.id) < (q.priority, q.due_at, q.id)
           ORDER BY o.priority, o.due_at, o.id LIMIT %(most)s) a),
       q.epoch IS NOT NULL, p.owner, p.node, extract(epoch FROM p.seen_at)::float8, extract(epoch FROM p.left_at)::float8
FROM q LEFT JOIN process p ON p.epoch = q.epoch WHERE q.id = %(message)s;

-- name: account_leases
SELECT p.owner, p.node, extract(epoch FROM p.seen_at)::float8, extract(epoch FROM p.left_at)::float8,
       extract(epoch FROM l.expires_at)::float8
FROM account_lease l LEFT JOIN process p ON p.epoch = l.epoch WHERE l.account_pk = %(account)s ORDER BY l.slot;

-- name: tenant_windows
SELECT r.scope, r.win, r.lim, r.slot_s, r.slots, coalesce(s.slot, 0), coalesce(s.n, 0), extract(epoch FROM now())::float8
FROM rate_limit r LEFT JOIN rate_slot s USING (kind, scope, win)
WHERE r.kind = 0 AND r.scope = %(tenant)s ORDER BY r.slot_s, r.win;

-- name: suspensions_over
SELECT tenant_pk, batch_code, extract(epoch FROM since)::float8 FROM suspension
WHERE tenant_pk IN (0, %(tenant)s) AND batch_code IN ('', %(batch_code)s) ORDER BY tenant_pk, batch_code;

-- name: sync_standing
SELECT t.id, t.name, t.active, t.client_base_url, extract(epoch FROM now())::float8, extract(epoch FROM s.last_call_at)::float8,
       extract(epoch FROM s.muted_until)::float8, extract(epoch FROM s.next_try_at)::float8, coalesce(s.fails, 0), s.failure,
       s.switched_off, s.poked_at IS NOT NULL,
       (SELECT count(*) FROM outbox o WHERE o.tenant_pk = t.pk)
       + (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NOT NULL),
       (SELECT count(*) FROM undelivered u WHERE u.tenant_pk = t.pk AND u.next_try_at IS NULL)
FROM tenant t LEFT JOIN tenant_sync s ON s.tenant_pk = t.pk WHERE t.pk = %(tenant)s;

-- name: sealed_values
-- Each with what it is bound to, as rows.py writes it.
SELECT 'canary' AS place, 1::bigint AS pk, 'canary', canary FROM instance WHERE canary IS NOT NULL
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
UPDATE instance SET canary = %(fresh)s WHERE one = (%(pk)s = 1) AND canary = %(sealed)s RETURNING 1;

-- name: reseal_client_auth
UPDATE tenant SET client_auth = %(fresh)s WHERE pk = %(pk)s AND client_auth = %(sealed)s RETURNING 1;

-- name: reseal_password
UPDATE account SET secret = %(fresh)s WHERE pk = %(pk)s AND secret = %(sealed)s RETURNING 1;

-- name: reseal_imap_password
UPDATE account SET imap_secret = %(fresh)s WHERE pk = %(pk)s AND imap_secret = %(sealed)s RETURNING 1;

-- name: reseal_bounce_secret
UPDATE instance SET bounce_secret = %(fresh)s WHERE one = (%(pk)s = 1) AND bounce_secret = %(sealed)s RETURNING 1;

-- name: reseal_proof_secret
UPDATE instance SET proof_secret = %(fresh)s WHERE one = (%(pk)s = 1) AND proof_secret = %(sealed)s RETURNING 1;

-- name: reseal_webhook_secrets
UPDATE tenant SET webhook_secrets = %(fresh)s WHERE pk = %(pk)s AND webhook_secrets = %(sealed)s RETURNING 1;

-- name: reseal_large_file_secrets
UPDATE tenant SET large_file_secrets = %(fresh)s WHERE pk = %(pk)s AND large_file_secrets = %(sealed)s RETURNING 1;

-- name: reseal_logins
UPDATE body SET logins = %(fresh)s WHERE message_id = %(pk)s AND logins = %(sealed)s RETURNING 1;

-- name: reseal_link_key
UPDATE instance SET link_key = %(fresh)s WHERE one = (%(pk)s = 1) AND link_key = %(sealed)s RETURNING 1;

-- name: known_messages
SELECT client_id FROM message WHERE tenant_pk = %(tenant)s AND client_id = ANY(%(client_ids)s);

-- name: undelivered_of
SELECT event_id, cause, tries, extract(epoch FROM next_try_at)::float8, extract(epoch FROM dead_at)::float8
FROM undelivered WHERE message_id = %(message)s ORDER BY event_id;
