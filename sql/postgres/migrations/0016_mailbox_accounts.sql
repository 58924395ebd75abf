-- The few accounts with a mailbox are looked for every few seconds, by each node.

CREATE INDEX account_mailbox ON account (pk) WHERE imap_host IS NOT NULL;
