-- The SHA-256 of each attachment at its first fetch, by its place: every attempt sends the same octets.

ALTER TABLE body ADD COLUMN fetched text;
