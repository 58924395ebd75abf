-- What proves that whoever reports on a message has seen it.

ALTER TABLE instance ADD COLUMN proof_secret BLOB;         -- sealed, bound to instance|proof|key
