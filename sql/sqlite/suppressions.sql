-- The queries of the PostgreSQL dialect, name for name.

-- name: suppressions
SELECT address, reason, created_at, event_id, expires_at FROM suppression
WHERE tenant_pk = :tenant AND address > :after AND (expires_at IS NULL OR expires_at > :now)
  AND (:reason IS NULL OR reason = :reason)
  AND (:text IS NULL OR address LIKE :text ESCAPE '\')
ORDER BY address LIMIT :limit;

-- name: any_suppressed
SELECT EXISTS (SELECT 1 FROM suppression WHERE tenant_pk = :tenant);

-- name: suppressed_among
SELECT s.address, s.reason FROM json_each(:addresses) a
JOIN suppression s ON s.tenant_pk = :tenant AND s.address = a.value
WHERE s.expires_at IS NULL OR s.expires_at > :now;

-- name: suppress
INSERT INTO suppression (tenant_pk, address, reason, created_at, expires_at)
VALUES (:tenant, :address, :reason, :now, :expires_at)
ON CONFLICT (tenant_pk, address) DO UPDATE SET reason = excluded.reason, expires_at = excluded.expires_at, event_id = NULL,
    created_at = CASE WHEN suppression.expires_at <= :now THEN :now ELSE suppression.created_at END;

-- name: suppress_bounced
INSERT INTO suppression (tenant_pk, address, reason, event_id, created_at)
SELECT pk, :address, :reason, (
    SELECT max(e.id) FROM event e WHERE e.message_id = :message AND e.kind = :kind
       AND coalesce(e.detail ->> 'recipient', :recipient) = :recipient), :now
FROM tenant WHERE pk = :tenant AND suppress_bounces
ON CONFLICT (tenant_pk, address) DO UPDATE SET reason = excluded.reason, event_id = excluded.event_id,
    created_at = :now, expires_at = NULL
WHERE suppression.expires_at <= :now;

-- name: unsuppress
DELETE FROM suppression WHERE tenant_pk = :tenant AND address = :address;

-- name: forget_suppressions
DELETE FROM suppression WHERE (tenant_pk, address) IN (
    SELECT tenant_pk, address FROM suppression WHERE expires_at <= :now LIMIT :limit)
RETURNING tenant_pk;
