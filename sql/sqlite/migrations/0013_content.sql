-- What came with messages and is long: once for each tenant and content, in pieces, outside the rows that are claimed.

CREATE TABLE content (
    pk        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_pk INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    sha256    TEXT NOT NULL,                                -- hexadecimal
    is_whole  INTEGER NOT NULL DEFAULT 0,                   -- all of its pieces are there
    look_at   REAL NOT NULL,                                -- when somebody looks whether a message still has it
    UNIQUE (tenant_pk, sha256)
) STRICT;

CREATE INDEX content_look ON content (look_at);

CREATE TABLE content_piece (
    content_pk INTEGER NOT NULL REFERENCES content ON DELETE CASCADE,
    n          INTEGER NOT NULL,
    octets     BLOB NOT NULL,
    PRIMARY KEY (content_pk, n)
) STRICT;

CREATE TABLE message_content (
    message_id INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    content_pk INTEGER NOT NULL REFERENCES content,
    PRIMARY KEY (message_id, content_pk)
) STRICT, WITHOUT ROWID;

CREATE INDEX message_content_content ON message_content (content_pk);
