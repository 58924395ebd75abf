-- The queries of the PostgreSQL dialect, name for name.

-- name: instance_settings
SELECT settings, bounce_secret, created_at, coalesce(updated_at, created_at) FROM instance;

-- name: change_instance
UPDATE instance SET settings = json_patch(settings, :changes), bounce_secret = coalesce(:secret, bounce_secret),
       updated_at = :now
RETURNING one;
