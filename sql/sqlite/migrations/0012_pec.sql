-- Certified mail: how far it has come for each recipient, and the receipts, which are the legal proof of it.

CREATE TABLE pec_message (
    message_id INTEGER PRIMARY KEY,
    tenant_pk  INTEGER NOT NULL,
    look_at    REAL
) STRICT;

CREATE INDEX pec_message_look ON pec_message (look_at) WHERE look_at IS NOT NULL;

CREATE TABLE pec_recipient (
    message_id INTEGER NOT NULL REFERENCES pec_message ON DELETE CASCADE,
    rcpt       INTEGER NOT NULL,
    address    TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'waiting',
    at         REAL,
    PRIMARY KEY (message_id, rcpt)
) STRICT;

CREATE TABLE pec_receipt (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_pk   INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    client_id   TEXT NOT NULL,
    n           INTEGER NOT NULL,
    said        TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    received_at REAL NOT NULL,
    raw         BLOB NOT NULL,
    UNIQUE (tenant_pk, client_id, n)
) STRICT;

CREATE INDEX pec_receipt_received ON pec_receipt (received_at);
