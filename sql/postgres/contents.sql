-- Long content that came with messages.

-- name: content_known
SELECT is_whole, look_at < now() + make_interval(secs => %(sure)s) FROM content
WHERE tenant_pk = %(tenant)s AND sha256 = %(sha256)s;

-- name: content_begin
INSERT INTO content (tenant_pk, sha256, look_at)
VALUES (%(tenant)s, %(sha256)s, now() + make_interval(secs => %(kept)s))
ON CONFLICT (tenant_pk, sha256) DO UPDATE SET look_at = greatest(content.look_at, excluded.look_at)
RETURNING pk;

-- name: content_put
INSERT INTO content_piece (content_pk, n, octets) VALUES (%(content)s, %(n)s, %(octets)s)
ON CONFLICT (content_pk, n) DO NOTHING;

-- name: content_whole
UPDATE content SET is_whole = true WHERE pk = %(content)s;

-- name: content_link
INSERT INTO message_content (message_id, content_pk)
SELECT r.message_id, c.pk FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, sha256 text)
JOIN content c ON c.tenant_pk = %(tenant)s AND c.sha256 = r.sha256 AND c.is_whole
RETURNING message_id;

-- name: content_unlink
DELETE FROM message_content WHERE message_id = ANY(%(ids)s);

-- name: content_piece
SELECT p.octets FROM content c JOIN content_piece p ON p.content_pk = c.pk
WHERE c.tenant_pk = %(tenant)s AND c.sha256 = %(sha256)s AND c.is_whole AND p.n = %(n)s;

-- name: forget_contents
-- Whoever links one has made sure of it before, so that nobody looks at it meanwhile.
WITH due AS MATERIALIZED (
    SELECT pk FROM content WHERE look_at <= now() ORDER BY look_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
judged AS MATERIALIZED (
    SELECT pk, EXISTS (SELECT FROM message_content m WHERE m.content_pk = due.pk) AS is_needed FROM due),
gone AS (
    DELETE FROM content USING judged WHERE NOT judged.is_needed AND content.pk = judged.pk),
later AS (
    UPDATE content SET look_at = now() + make_interval(secs => %(again)s)
    FROM judged WHERE judged.is_needed AND content.pk = judged.pk)
SELECT pk FROM judged WHERE NOT is_needed;

-- name: forget_contents_of
DELETE FROM content WHERE pk IN (
    SELECT pk FROM content c WHERE c.tenant_pk = %(tenant)s
    AND NOT EXISTS (SELECT FROM message_content m WHERE m.content_pk = c.pk) LIMIT %(limit)s)
RETURNING pk;
