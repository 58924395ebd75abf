-- The mailbox in which answers to an account's mail arrive, and whether it is one of certified mail (PEC).

ALTER TABLE account ADD COLUMN is_pec_account INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN pec_address TEXT;
ALTER TABLE account ADD COLUMN imap_host TEXT;
ALTER TABLE account ADD COLUMN imap_port INTEGER NOT NULL DEFAULT 993 CHECK (imap_port BETWEEN 1 AND 65535);
ALTER TABLE account ADD COLUMN imap_user TEXT;
ALTER TABLE account ADD COLUMN imap_secret BLOB;  -- sealed, bound to account|<tenant>/<id>|imap_password
ALTER TABLE account ADD COLUMN imap_folder TEXT NOT NULL DEFAULT 'INBOX';
ALTER TABLE account ADD COLUMN imap_ssl INTEGER;
ALTER TABLE account ADD COLUMN imap_host_set_by_tenant INTEGER NOT NULL DEFAULT 0;
