-- Before large_file_config was checked, anybody could write into it that the admin had set its storage. Whatever passed
-- the check was stored together with its secrets, be they none; of the rest it is not known who set it. The texts were
-- written by one serialiser, and the last of two equal names counts.
UPDATE tenant SET large_file_config = left(large_file_config, -1) || ', "set_by_tenant": null}'
WHERE large_file_secrets IS NULL AND strpos(large_file_config, '"set_by_tenant"') > 0;
