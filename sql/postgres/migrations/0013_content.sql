-- What came with messages and is long: once for each tenant and content, in pieces, outside the rows that are claimed.

CREATE TABLE content (
    pk        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_pk bigint NOT NULL REFERENCES tenant ON DELETE CASCADE,
    sha256    text NOT NULL,                                -- hexadecimal
    is_whole  boolean NOT NULL DEFAULT false,               -- all of its pieces are there
    look_at   timestamptz NOT NULL,                         -- when somebody looks whether a message still has it
    UNIQUE (tenant_pk, sha256)
);

CREATE INDEX content_look ON content (look_at);

CREATE TABLE content_piece (
    content_pk bigint NOT NULL REFERENCES content ON DELETE CASCADE,
    n          integer NOT NULL,
    octets     bytea NOT NULL,
    PRIMARY KEY (content_pk, n)
);

ALTER TABLE content_piece ALTER COLUMN octets SET STORAGE EXTERNAL;

CREATE TABLE message_content (
    message_id bigint NOT NULL REFERENCES message ON DELETE CASCADE,
    content_pk bigint NOT NULL REFERENCES content,
    PRIMARY KEY (message_id, content_pk)
);

CREATE INDEX message_content_content ON message_content (content_pk);
