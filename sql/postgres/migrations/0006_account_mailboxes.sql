-- The mailbox in which answers to an account's mail arrive, and whether it is one of certified mail (PEC).

ALTER TABLE account ADD COLUMN is_pec_account boolean NOT NULL DEFAULT false;
ALTER TABLE account ADD COLUMN pec_address text;
ALTER TABLE account ADD COLUMN imap_host text;
ALTER TABLE account ADD COLUMN imap_port integer NOT NULL DEFAULT 993 CHECK (imap_port BETWEEN 1 AND 65535);
ALTER TABLE account ADD COLUMN imap_user text;
ALTER TABLE account ADD COLUMN imap_secret bytea;  -- sealed, bound to account|<tenant>/<id>|imap_password
ALTER TABLE account ADD COLUMN imap_folder text NOT NULL DEFAULT 'INBOX';
ALTER TABLE account ADD COLUMN imap_ssl boolean;
ALTER TABLE account ADD COLUMN imap_host_set_by_tenant boolean NOT NULL DEFAULT false;
