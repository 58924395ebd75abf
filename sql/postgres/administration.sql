-- The instance's own settings, and the log of commands.

-- name: instance_settings
SELECT settings::text, bounce_secret, extract(epoch FROM created_at)::float8,
       extract(epoch FROM coalesce(updated_at, created_at))::float8
FROM instance;

-- name: change_instance
UPDATE instance SET settings = settings || %(changes)s::jsonb, bounce_secret = coalesce(%(secret)s::bytea, bounce_secret),
       updated_at = now()
RETURNING one;
