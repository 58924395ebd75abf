CREATE TABLE schema_migration (
    version integer PRIMARY KEY, name text NOT NULL, applied_at text NOT NULL DEFAULT CURRENT_TIMESTAMP);

CREATE TABLE instance (
    one        INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    bits       INTEGER NOT NULL,                       -- 60 random bits: the instance's half of every public pk
    canary     BLOB,                                 -- sealed with the active key: a wrong key is found at start
    settings   TEXT NOT NULL DEFAULT '{}',
    created_at REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0)
, bounce_secret BLOB, updated_at REAL, proof_secret BLOB, link_key BLOB) STRICT;

CREATE TABLE tenant (
    pk                     INTEGER PRIMARY KEY AUTOINCREMENT,
    id                     TEXT NOT NULL UNIQUE,
    name                   TEXT,
    client_auth            BLOB,                     -- sealed JSON, bound to tenant|<id>|client_auth
    client_base_url        TEXT,
    client_sync_path       TEXT,
    client_attachment_path TEXT,
    rate_limits            TEXT,
    large_file_config      TEXT,
    report_strict          INTEGER NOT NULL DEFAULT 0,
    report_format          TEXT NOT NULL DEFAULT 'item',
    active                 INTEGER NOT NULL DEFAULT 1,
    created_at             REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    updated_at             REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0)
, webhook_secrets BLOB, url_set_by_tenant INTEGER NOT NULL DEFAULT 0, suppress_bounces INTEGER NOT NULL DEFAULT 0, large_file_secrets BLOB) STRICT;

CREATE TABLE tenant_key (
    hash       BLOB PRIMARY KEY,                     -- SHA-256 of the token
    key_id     TEXT NOT NULL,
    tenant_pk  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    created_at REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    expires_at REAL
) STRICT;

CREATE INDEX tenant_key_tenant ON tenant_key (tenant_pk);

CREATE TABLE account (
    pk                 INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_pk          INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    id                 TEXT NOT NULL,
    version            INTEGER NOT NULL DEFAULT 1,
    host               TEXT NOT NULL,
    port               INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    username           TEXT,
    secret             BLOB,                         -- sealed, bound to account|<tenant>/<id>|password
    use_tls            INTEGER,
    tls_verify         INTEGER NOT NULL DEFAULT 1,
    tls_ca             TEXT,
    ttl                INTEGER NOT NULL DEFAULT 300,
    batch_size         INTEGER,
    max_retries        INTEGER,
    retry_delays       TEXT,
    on_unknown_outcome TEXT NOT NULL DEFAULT 'retry' CHECK (on_unknown_outcome IN ('retry', 'hold')),
    limit_behavior     TEXT NOT NULL DEFAULT 'defer' CHECK (limit_behavior IN ('defer', 'reject')),
    created_at         REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    updated_at         REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0), host_set_by_tenant INTEGER NOT NULL DEFAULT 0, is_pec_account INTEGER NOT NULL DEFAULT 0, pec_address TEXT, imap_host TEXT, imap_port INTEGER NOT NULL DEFAULT 993 CHECK (imap_port BETWEEN 1 AND 65535), imap_user TEXT, imap_secret BLOB, imap_folder TEXT NOT NULL DEFAULT 'INBOX', imap_ssl INTEGER, imap_host_set_by_tenant INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant_pk, id)
) STRICT;

CREATE TABLE account_state (
    account_pk INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    condition  TEXT NOT NULL DEFAULT 'ok' CHECK (condition IN ('ok', 'backing_off', 'breaker_open')),
    reason     TEXT,
    cause      TEXT,
    since      REAL,
    not_before REAL,
    fails      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE account_lease (
    account_pk INTEGER NOT NULL,
    slot       INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (account_pk, slot)
) STRICT;

CREATE TABLE process (
    epoch      INTEGER PRIMARY KEY AUTOINCREMENT,
    owner      TEXT NOT NULL UNIQUE,
    node       TEXT NOT NULL,
    role       TEXT NOT NULL,
    started_at REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    seen_at    REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    left_at    REAL
) STRICT;

CREATE TABLE message (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_pk   INTEGER NOT NULL,
    account_pk  INTEGER,
    client_id   TEXT NOT NULL,
    revision    INTEGER NOT NULL DEFAULT 0,
    priority    INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    status      INTEGER NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 5),
    attempts    INTEGER NOT NULL DEFAULT 0,
    batch_code  TEXT,
    error       TEXT,
    created_at  REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    updated_at  REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    done_at     REAL,
    reported_at REAL, header_id TEXT,
    UNIQUE (tenant_pk, client_id),
    CHECK ((done_at IS NULL) = (status = 0))
) STRICT;

CREATE INDEX message_page ON message (tenant_pk, id);

CREATE TABLE body (
    message_id INTEGER PRIMARY KEY,
    payload    TEXT NOT NULL
, fetched TEXT, logins BLOB) STRICT;

CREATE TABLE q (
    id         INTEGER PRIMARY KEY,                    -- the message's
    tenant_pk  INTEGER NOT NULL,
    account_pk INTEGER NOT NULL,
    epoch      INTEGER,
    due_at     REAL NOT NULL,
    charged_at REAL,                                 -- when its rate-limit tokens were taken
    expires_at REAL NOT NULL,
    batch_code TEXT,
    revision   INTEGER NOT NULL DEFAULT 0,
    priority   INTEGER NOT NULL,
    phase      INTEGER NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 2),
    attempts   INTEGER NOT NULL DEFAULT 0,
    claim      INTEGER NOT NULL DEFAULT 0,           -- grows with every claim, never given back
    crashes    INTEGER NOT NULL DEFAULT 0,
    suspect    INTEGER NOT NULL DEFAULT 0,           -- 1: its preparer died; 2: being prepared alone
    held       INTEGER NOT NULL DEFAULT 0,
    CHECK ((epoch IS NULL) = (phase = 0))
) STRICT;

CREATE INDEX q_ready ON q (account_pk, held, priority, due_at, id);

CREATE TABLE suspension (
    tenant_pk  INTEGER NOT NULL DEFAULT 0,
    batch_code TEXT NOT NULL DEFAULT '',
    since      REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    PRIMARY KEY (tenant_pk, batch_code)
) STRICT;

CREATE TABLE rate_limit (
    kind   INTEGER NOT NULL,
    scope  INTEGER NOT NULL,
    win    TEXT NOT NULL,
    slot_s REAL NOT NULL CHECK (slot_s > 0),
    slots  INTEGER NOT NULL CHECK (slots > 0),
    lim    INTEGER NOT NULL CHECK (lim > 0),
    PRIMARY KEY (kind, scope, win)
) STRICT;

CREATE TABLE rate_slot (
    kind  INTEGER NOT NULL,
    scope INTEGER NOT NULL,
    win   TEXT NOT NULL,
    slot  INTEGER NOT NULL,
    n     INTEGER NOT NULL,
    PRIMARY KEY (kind, scope, win, slot)
) STRICT;

CREATE TABLE recipient_state (
    message_id INTEGER NOT NULL,
    rcpt       INTEGER NOT NULL,
    accepted   INTEGER NOT NULL,
    permanent  INTEGER NOT NULL DEFAULT 0,
    address    TEXT NOT NULL,
    code       INTEGER,
    enhanced   TEXT,
    reply      TEXT, bounce_type TEXT, bounce_code TEXT, bounce_status TEXT, bounce_reason TEXT, bounced_at REAL, bounce_verified INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (message_id, rcpt)
) STRICT;

CREATE TABLE event (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_pk  INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    detail     TEXT NOT NULL,
    at         REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0)
) STRICT;

CREATE INDEX event_message ON event (message_id, id);

CREATE TABLE outbox (
    event_id   INTEGER PRIMARY KEY,
    tenant_pk  INTEGER NOT NULL,
    message_id INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_tenant ON outbox (tenant_pk, event_id);

CREATE INDEX outbox_message ON outbox (message_id);

CREATE TABLE tenant_sync (
    tenant_pk   INTEGER PRIMARY KEY REFERENCES tenant ON DELETE CASCADE,
    epoch       INTEGER,
    lease_until REAL,
    fails       INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL,
    last_call_at REAL,
    muted_until REAL,
    poked_at    REAL,
    switched_off TEXT
, failing_since REAL, failure TEXT, gone INTEGER NOT NULL DEFAULT 0, switched_off_at REAL) STRICT;

CREATE TABLE undelivered (
    event_id    INTEGER PRIMARY KEY,
    tenant_pk   INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    tries       INTEGER NOT NULL DEFAULT 0,           -- how often this event was refused
    cause       TEXT NOT NULL,
    since       REAL NOT NULL,                        -- when it first failed, or was replayed
    next_try_at REAL,
    dead_at     REAL,
    CHECK ((next_try_at IS NULL) = (dead_at IS NOT NULL))
) STRICT;

CREATE INDEX undelivered_due ON undelivered (tenant_pk, next_try_at, event_id) WHERE next_try_at IS NOT NULL;

CREATE INDEX undelivered_dead ON undelivered (tenant_pk, event_id) WHERE next_try_at IS NULL;

CREATE INDEX undelivered_message ON undelivered (message_id);

CREATE TABLE command_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         REAL NOT NULL,
    endpoint   TEXT NOT NULL,
    tenant_id  TEXT,
    actor      TEXT NOT NULL,                                -- admin, anonymous, or a key's id; never a token
    request_id TEXT NOT NULL,
    object     TEXT,
    payload    TEXT NOT NULL,                                -- JSON, without secrets and message content
    status     INTEGER NOT NULL
) STRICT;

CREATE INDEX command_log_at ON command_log (at);

CREATE INDEX command_log_tenant ON command_log (tenant_id, id);

CREATE TABLE kept_answer (
    scope       INTEGER NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,                               -- SHA-256 of the body
    status      INTEGER NOT NULL,
    answer      TEXT NOT NULL,
    created_at  REAL NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;

CREATE INDEX kept_answer_created ON kept_answer (created_at);

CREATE TABLE suppression (
    tenant_pk  INTEGER NOT NULL REFERENCES tenant ON DELETE CASCADE,
    address    TEXT NOT NULL,
    reason     TEXT NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'manual', 'import')),
    event_id   INTEGER,
    created_at REAL NOT NULL,
    expires_at REAL,
    PRIMARY KEY (tenant_pk, address)
) STRICT, WITHOUT ROWID;

CREATE INDEX suppression_expiry ON suppression (expires_at) WHERE expires_at IS NOT NULL;

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

CREATE TABLE parked (
    pk          INTEGER PRIMARY KEY,
    mailbox_pk  INTEGER NOT NULL REFERENCES mailbox (pk) ON DELETE CASCADE,
    fingerprint BLOB NOT NULL,
    octets      BLOB NOT NULL,
    next_try_at REAL NOT NULL,
    until       REAL NOT NULL
) STRICT;

CREATE INDEX parked_due ON parked (mailbox_pk, next_try_at);

CREATE INDEX message_header_id ON message (header_id) WHERE header_id IS NOT NULL;

CREATE TABLE large_file (
    object        TEXT PRIMARY KEY,                     -- its random name in the storage
    tenant_pk     INTEGER NOT NULL,
    tenant_id     TEXT NOT NULL,
    message_id    INTEGER NOT NULL,
    revision      INTEGER NOT NULL,
    part          INTEGER NOT NULL,                     -- which attachment of the message, from 0
    filename      TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    size          INTEGER NOT NULL,
    sha256        BLOB NOT NULL,
    place         TEXT NOT NULL,                        -- JSON: where it lies, without secrets
    url           TEXT,                                 -- what the mail says; null until it is stored whole
    lifespan      REAL,                                 -- seconds it stays once it was downloaded
    created_at    REAL NOT NULL,
    uploaded_at   REAL,
    downloaded_at REAL,
    expires_at    REAL NOT NULL,
    next_try_at   REAL,                                 -- when its removal, which failed, is tried again
    tries         INTEGER NOT NULL DEFAULT 0,
    CHECK ((url IS NULL) = (uploaded_at IS NULL))
) STRICT;

CREATE INDEX large_file_message ON large_file (message_id, revision, part);

CREATE INDEX large_file_expiry ON large_file (expires_at);

CREATE INDEX large_file_tenant ON large_file (tenant_pk);

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

CREATE INDEX quarantine_at ON quarantine (at);

CREATE INDEX account_mailbox ON account (pk) WHERE imap_host IS NOT NULL;

CREATE INDEX body_logins ON body (message_id) WHERE logins IS NOT NULL;
