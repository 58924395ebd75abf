-- Files behind links: begun, stored whole, downloaded, removed.

-- name: link_key
SELECT link_key FROM instance;

-- name: put_link_key
UPDATE instance SET link_key = %(sealed)s WHERE link_key IS NULL RETURNING one;

-- name: large_files_of
-- The newest of each attachment; what has ended is no longer there for anybody.
SELECT DISTINCT ON (part) object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
       url, lifespan, extract(epoch FROM expires_at)::float8, extract(epoch FROM downloaded_at)::float8, tries
FROM large_file WHERE message_id = %(message)s AND revision = %(revision)s AND expires_at > now()
ORDER BY part, created_at DESC, object;

-- name: begin_large_file
INSERT INTO large_file (object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
    lifespan, expires_at)
VALUES (%(object)s, %(tenant_pk)s, %(tenant_id)s, %(message_id)s, %(revision)s, %(part)s, %(filename)s, %(media_type)s, %(size)s,
    %(sha256)s, %(place)s, %(lifespan)s, to_timestamp(%(expires_at)s::float8))
RETURNING object;

-- name: finish_large_file
UPDATE large_file SET url = %(url)s, expires_at = to_timestamp(%(expires_at)s::float8), uploaded_at = now()
WHERE object = %(object)s AND url IS NULL AND expires_at > now() RETURNING object;

-- name: large_file
SELECT object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
       url, lifespan, extract(epoch FROM expires_at)::float8, extract(epoch FROM downloaded_at)::float8, tries
FROM large_file WHERE object = %(object)s AND tenant_pk = %(tenant)s AND url IS NOT NULL AND expires_at > now();

-- name: large_file_downloaded
UPDATE large_file SET downloaded_at = now(),
       expires_at = least(expires_at, now() + make_interval(secs => lifespan))
WHERE object = %(object)s AND downloaded_at IS NULL RETURNING object;

-- name: expired_large_files
SELECT object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
       url, lifespan, extract(epoch FROM expires_at)::float8, extract(epoch FROM downloaded_at)::float8, tries
FROM large_file WHERE expires_at <= now() AND (next_try_at IS NULL OR next_try_at <= now())
ORDER BY expires_at LIMIT %(limit)s;

-- name: forget_large_files
DELETE FROM large_file WHERE object = ANY(%(objects)s) RETURNING object;

-- name: put_off_removal
UPDATE large_file SET tries = tries + %(tried)s, next_try_at = now() + make_interval(secs => %(delay)s::float8)
WHERE object = %(object)s RETURNING object;
