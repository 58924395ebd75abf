-- Mailboxes that are read, what was read from them, and what it told of messages.

-- UIDs count within `place` and `uidvalidity`; a mail up to `last_uid` was stored or set aside.
CREATE TABLE mailbox (
    pk            INTEGER PRIMARY KEY,
    account_pk    INTEGER REFERENCES account (pk) ON DELETE CASCADE,      -- null: the instance's
    place         TEXT NOT NULL,                                        -- which folder of whom at which server
    uidvalidity   INTEGER,
    last_uid      INTEGER NOT NULL DEFAULT 0,
    stuck_uid     INTEGER,                                               -- could not be fetched `stuck_tries` times
    stuck_tries   INTEGER NOT NULL DEFAULT 0,
    epoch         INTEGER,                                               -- of its only reader until lease_until
    lease_until   REAL,
    checked_at    REAL,
    fails         INTEGER NOT NULL DEFAULT 0,
    failure       TEXT,
    failing_since REAL,
    next_try_at   REAL
) STRICT;
CREATE UNIQUE INDEX mailbox_of ON mailbox ((coalesce(account_pk, 0)));

-- Each mail has its effect once: the SHA-256 of its octets is entered with it.
CREATE TABLE inbound_seen (
    mailbox_pk  INTEGER NOT NULL REFERENCES mailbox (pk) ON DELETE CASCADE,
    fingerprint BLOB NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    verdict     TEXT NOT NULL,
    message_id  INTEGER,
    disposable  INTEGER NOT NULL DEFAULT 0,                         -- may leave the mailbox
    disposed    INTEGER NOT NULL DEFAULT 1,
    at          REAL NOT NULL,
    PRIMARY KEY (mailbox_pk, fingerprint)
) STRICT;
CREATE INDEX inbound_seen_at ON inbound_seen (at);
CREATE INDEX inbound_seen_disposal ON inbound_seen (mailbox_pk, uid) WHERE NOT disposed;

-- What could not be read, and stays in its mailbox; `octets` are at most the mail's header.
CREATE TABLE quarantine (
    pk          INTEGER PRIMARY KEY,
    mailbox_pk  INTEGER NOT NULL REFERENCES mailbox (pk) ON DELETE CASCADE,
    uidvalidity INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    octets      BLOB NOT NULL,
    at          REAL NOT NULL
) STRICT;
CREATE INDEX quarantine_mailbox ON quarantine (mailbox_pk, at);

-- Came before the message it is about was settled: tried again until `until`.
CREATE TABLE parked (
    pk          INTEGER PRIMARY KEY,
    mailbox_pk  INTEGER NOT NULL REFERENCES mailbox (pk) ON DELETE CASCADE,
    fingerprint BLOB NOT NULL,
    octets      BLOB NOT NULL,
    next_try_at REAL NOT NULL,
    until       REAL NOT NULL
) STRICT;
CREATE INDEX parked_due ON parked (mailbox_pk, next_try_at);

ALTER TABLE recipient_state ADD COLUMN bounce_type TEXT;
ALTER TABLE recipient_state ADD COLUMN bounce_code TEXT;
ALTER TABLE recipient_state ADD COLUMN bounce_status TEXT;
ALTER TABLE recipient_state ADD COLUMN bounce_reason TEXT;
ALTER TABLE recipient_state ADD COLUMN bounced_at REAL;
ALTER TABLE recipient_state ADD COLUMN bounce_verified INTEGER NOT NULL DEFAULT 0;

-- The Message-ID a client gave; without one it is made of the message's own id.
ALTER TABLE message ADD COLUMN header_id TEXT;
CREATE INDEX message_header_id ON message (header_id) WHERE header_id IS NOT NULL;
