-- The queries of the PostgreSQL dialect, name for name.

-- name: link_key
SELECT link_key FROM instance;

-- name: put_link_key
UPDATE instance SET link_key = :sealed WHERE link_key IS NULL RETURNING one;

-- name: large_files_of
SELECT object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
       url, lifespan, expires_at, downloaded_at, tries
FROM (SELECT *, row_number() OVER (PARTITION BY part ORDER BY created_at DESC, object) AS place_in_row FROM large_file
      WHERE message_id = :message AND revision = :revision AND expires_at > :now)
WHERE place_in_row = 1 ORDER BY part;

-- name: begin_large_file
INSERT INTO large_file (object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
    lifespan, created_at, expires_at)
VALUES (:object, :tenant_pk, :tenant_id, :message_id, :revision, :part, :filename, :media_type, :size,
    :sha256, :place, :lifespan, :now, :expires_at)
RETURNING object;

-- name: finish_large_file
UPDATE large_file SET url = :url, expires_at = :expires_at, uploaded_at = :now
WHERE object = :object AND url IS NULL AND expires_at > :now RETURNING object;

-- name: large_file
SELECT object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
       url, lifespan, expires_at, downloaded_at, tries
FROM large_file WHERE object = :object AND tenant_pk = :tenant AND url IS NOT NULL AND expires_at > :now;

-- name: large_file_downloaded
UPDATE large_file SET downloaded_at = :now,
       expires_at = min(expires_at, coalesce(:now + lifespan, expires_at))
WHERE object = :object AND downloaded_at IS NULL RETURNING object;

-- name: expired_large_files
SELECT object, tenant_pk, tenant_id, message_id, revision, part, filename, media_type, size, sha256, place,
       url, lifespan, expires_at, downloaded_at, tries
FROM large_file WHERE expires_at <= :now AND (next_try_at IS NULL OR next_try_at <= :now)
ORDER BY expires_at LIMIT :limit;

-- name: forget_large_files
DELETE FROM large_file WHERE object IN (SELECT value FROM json_each(:objects)) RETURNING object;

-- name: put_off_removal
UPDATE large_file SET tries = tries + :tried, next_try_at = :now + :delay
WHERE object = :object RETURNING object;
