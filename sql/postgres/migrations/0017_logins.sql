-- The secrets of logins that a message gives for its attachments; its payload holds them hidden.

ALTER TABLE body ADD COLUMN logins bytea;  -- sealed JSON, bound to message|<id>|logins
CREATE INDEX body_logins ON body (message_id) WHERE logins IS NOT NULL;
