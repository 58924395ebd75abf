-- Addresses that a tenant's mail is not sent to. An entry whose time has passed counts as none.

-- name: suppressions
SELECT address, reason, extract(epoch FROM created_at)::float8, event_id, extract(epoch FROM expires_at)::float8
FROM suppression
WHERE tenant_pk = %(tenant)s AND address > %(after)s AND (expires_at IS NULL OR expires_at > now())
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(text)s::text IS NULL OR address LIKE %(text)s)
ORDER BY address LIMIT %(limit)s;

-- name: any_suppressed
-- By the least address: EXISTS would read the table while it thinks that most entries are this tenant's.
SELECT (SELECT min(address) FROM suppression WHERE tenant_pk = %(tenant)s) IS NOT NULL;

-- name: suppressed_among
SELECT address, reason FROM suppression
WHERE tenant_pk = %(tenant)s AND address = ANY(%(addresses)s::text[]) AND (expires_at IS NULL OR expires_at > now());

-- name: suppress
-- What is said last counts; in the order of addresses, so that equal calls at once never lock each other out.
INSERT INTO suppression (tenant_pk, address, reason, expires_at)
SELECT %(tenant)s, r.address, r.reason, to_timestamp(r.expires_at)
FROM json_to_recordset(%(rows)s::json) AS r(address text, reason text, expires_at float8) ORDER BY r.address
ON CONFLICT (tenant_pk, address) DO UPDATE SET reason = excluded.reason, expires_at = excluded.expires_at, event_id = NULL,
    created_at = CASE WHEN suppression.expires_at <= now() THEN now() ELSE suppression.created_at END;

-- name: suppress_bounced
-- Only for a tenant that asked for it, and never over an entry in force.
INSERT INTO suppression (tenant_pk, address, reason, event_id)
SELECT t.pk, r.address, r.reason, (
    SELECT max(e.id) FROM event e WHERE e.message_id = %(message)s AND e.kind = r.kind
       AND coalesce(e.detail::json->>'recipient', r.recipient) = r.recipient)
FROM tenant t CROSS JOIN json_to_recordset(%(rows)s::json) AS r(address text, reason text, kind text, recipient text)
WHERE t.pk = %(tenant)s AND t.suppress_bounces ORDER BY r.address
ON CONFLICT (tenant_pk, address) DO UPDATE SET reason = excluded.reason, event_id = excluded.event_id,
    created_at = now(), expires_at = NULL
WHERE suppression.expires_at <= now();

-- name: unsuppress
DELETE FROM suppression WHERE tenant_pk = %(tenant)s AND address = %(address)s;

-- name: forget_suppressions
DELETE FROM suppression WHERE (tenant_pk, address) IN (
    SELECT tenant_pk, address FROM suppression WHERE expires_at <= now() LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING tenant_pk;
