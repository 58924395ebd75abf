-- The queries of the PostgreSQL dialect, name for name.

-- name: content_known
SELECT is_whole, look_at < :now + :sure FROM content WHERE tenant_pk = :tenant AND sha256 = :sha256;

-- name: content_begin
INSERT INTO content (tenant_pk, sha256, look_at) VALUES (:tenant, :sha256, :now + :kept)
ON CONFLICT (tenant_pk, sha256) DO UPDATE SET look_at = max(content.look_at, excluded.look_at)
RETURNING pk;

-- name: content_put
INSERT INTO content_piece (content_pk, n, octets) VALUES (:content, :n, :octets) ON CONFLICT (content_pk, n) DO NOTHING;

-- name: content_whole
UPDATE content SET is_whole = 1 WHERE pk = :content;

-- name: content_link
INSERT INTO message_content (message_id, content_pk)
SELECT :message_id, c.pk FROM content c WHERE c.tenant_pk = :tenant AND c.sha256 = :sha256 AND c.is_whole
RETURNING message_id;

-- name: content_unlink
DELETE FROM message_content WHERE message_id IN (SELECT value FROM json_each(:ids));

-- name: content_piece
SELECT p.octets FROM content c JOIN content_piece p ON p.content_pk = c.pk
WHERE c.tenant_pk = :tenant AND c.sha256 = :sha256 AND c.is_whole AND p.n = :n;

-- name: forget_contents
UPDATE content SET look_at = :now + :again WHERE pk IN (
    SELECT c.pk FROM content c WHERE c.look_at <= :now
    AND EXISTS (SELECT 1 FROM message_content m WHERE m.content_pk = c.pk) ORDER BY c.look_at LIMIT :limit);
DELETE FROM content WHERE pk IN (
    SELECT c.pk FROM content c WHERE c.look_at <= :now
    AND NOT EXISTS (SELECT 1 FROM message_content m WHERE m.content_pk = c.pk) ORDER BY c.look_at LIMIT :limit)
RETURNING pk;

-- name: forget_contents_of
DELETE FROM content WHERE pk IN (
    SELECT pk FROM content c WHERE c.tenant_pk = :tenant
    AND NOT EXISTS (SELECT 1 FROM message_content m WHERE m.content_pk = c.pk) LIMIT :limit)
RETURNING pk;
