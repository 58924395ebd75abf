-- Mailboxes that are read, what was read from them, and what it told of messages.

-- UIDs count within `place` and `uidvalidity`; a mail up to `last_uid` was stored or set aside.
CREATE TABLE mailbox (
    pk            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_pk    bigint REFERENCES account (pk) ON DELETE CASCADE,      -- null: the instance's
    place         text NOT NULL,                                        -- which folder of whom at which server
    uidvalidity   bigint,
    last_uid      bigint NOT NULL DEFAULT 0,
    stuck_uid     bigint,                                               -- could not be fetched `stuck_tries` times
    stuck_tries   integer NOT NULL DEFAULT 0,
    epoch         bigint,                                               -- of its only reader until lease_until
    lease_until   timestamptz,
    checked_at    timestamptz,
    fails         integer NOT NULL DEFAULT 0,
    failure       text,
    failing_since timestamptz,
    next_try_at   timestamptz
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX mailbox_of ON mailbox ((coalesce(account_pk, 0)));

-- Each mail has its effect once: the SHA-256 of its octets is entered with it.
CREATE TABLE inbound_seen (
    mailbox_pk  bigint NOT NULL REFERENCES mailbox (pk) ON DELETE CASCADE,
    fingerprint bytea NOT NULL,
    uidvalidity bigint NOT NULL,
    uid         bigint NOT NULL,
    verdict     text NOT NULL,
    message_id  bigint,
    disposable  boolean NOT NULL DEFAULT false,                         -- may leave the mailbox
    disposed    boolean NOT NULL DEFAULT true,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (mailbox_pk, fingerprint)
);
CREATE INDEX inbound_seen_at ON inbound_seen (at);
CREATE INDEX inbound_seen_disposal ON inbound_seen (mailbox_pk, uid) WHERE NOT disposed;

-- What could not be read, and stays in its mailbox; `octets` are at most the mail's header.
CREATE TABLE quarantine (
    pk          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mailbox_pk  bigint NOT NULL REFERENCES mailbox (pk) ON DELETE CASCADE,
    uidvalidity bigint NOT NULL,
    uid         bigint NOT NULL,
    reason      text NOT NULL,
    octets      bytea NOT NULL,
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX quarantine_mailbox ON quarantine (mailbox_pk, at);

-- Came before the message it is about was settled: tried again until `until`.
CREATE TABLE parked (
    pk          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mailbox_pk  bigint NOT NULL REFERENCES mailbox (pk) ON DELETE CASCADE,
    fingerprint bytea NOT NULL,
    octets      bytea NOT NULL,
    next_try_at timestamptz NOT NULL,
    until       timestamptz NOT NULL
);
CREATE INDEX parked_due ON parked (mailbox_pk, next_try_at);

ALTER TABLE recipient_state ADD COLUMN bounce_type text;
ALTER TABLE recipient_state ADD COLUMN bounce_code text;
ALTER TABLE recipient_state ADD COLUMN bounce_status text;
ALTER TABLE recipient_state ADD COLUMN bounce_reason text;
ALTER TABLE recipient_state ADD COLUMN bounced_at timestamptz;
ALTER TABLE recipient_state ADD COLUMN bounce_verified boolean NOT NULL DEFAULT false;

-- The Message-ID a client gave; without one it is made of the message's own id.
ALTER TABLE message ADD COLUMN header_id text;
CREATE INDEX message_header_id ON message (header_id) WHERE header_id IS NOT NULL;
