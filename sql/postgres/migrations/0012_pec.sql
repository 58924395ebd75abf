-- Certified mail: how far it has come for each recipient, and the receipts, which are the legal proof of it.

CREATE TABLE pec_message (
    message_id bigint PRIMARY KEY,
    tenant_pk  bigint NOT NULL,
    look_at    timestamptz        -- when to look whether an acceptance is missing; null: none is missed any more
);
CREATE INDEX pec_message_look ON pec_message (look_at) WHERE look_at IS NOT NULL;

CREATE TABLE pec_recipient (
    message_id bigint NOT NULL REFERENCES pec_message ON DELETE CASCADE,
    rcpt       smallint NOT NULL,
    address    text NOT NULL,     -- folded
    state      text NOT NULL DEFAULT 'waiting',
    at         timestamptz,
    PRIMARY KEY (message_id, rcpt)
);

CREATE TABLE pec_receipt (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_pk   bigint NOT NULL,
    message_id  bigint NOT NULL, -- the receipt outlives it, so no reference
    client_id   text NOT NULL,
    n           integer NOT NULL,
    said        text NOT NULL,   -- JSON: what it says and how it was verified
    outcome     text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    raw         bytea NOT NULL,
    UNIQUE (tenant_pk, client_id, n)
);
CREATE INDEX pec_receipt_received ON pec_receipt (received_at);
