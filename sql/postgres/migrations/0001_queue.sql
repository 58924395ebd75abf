-- Messages are written once and updated once; bodies never; the queue row is the only thing that moves.
-- sql/README.md has the state table. Widths and leases are data, clocks are the database's.

CREATE TABLE instance (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    bits       bigint NOT NULL,                       -- 60 random bits: the instance's half of every public pk
    canary     bytea,                                 -- sealed with the active key: a wrong key is found at start
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO instance (bits)
SELECT ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 7) || substr(replace(gen_random_uuid()::text, '-', ''), 1, 8))::bit(60)::bigint;

CREATE TABLE tenant (
    pk                     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                     text NOT NULL UNIQUE,
    name                   text,
    client_auth            bytea,                     -- sealed JSON, bound to tenant|<id>|client_auth
    client_base_url        text,
    client_sync_path       text,
    client_attachment_path text,
    rate_limits            text,
    large_file_config      text,
    report_strict          boolean NOT NULL DEFAULT false,
    report_format          text NOT NULL DEFAULT 'item',
    active                 boolean NOT NULL DEFAULT true,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenant_key (
    hash       bytea PRIMARY KEY,                     -- SHA-256 of the token
    key_id     text NOT NULL,
    tenant_pk  bigint NOT NULL REFERENCES tenant ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX tenant_key_tenant ON tenant_key (tenant_pk);

CREATE TABLE account (
    pk                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_pk          bigint NOT NULL REFERENCES tenant ON DELETE CASCADE,
    id                 text NOT NULL,
    version            integer NOT NULL DEFAULT 1,
    host               text NOT NULL,
    port               integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    username           text,
    secret             bytea,                         -- sealed, bound to account|<tenant>/<id>|password
    use_tls            boolean,
    tls_verify         boolean NOT NULL DEFAULT true,
    tls_ca             text,
    ttl                integer NOT NULL DEFAULT 300,
    batch_size         integer,
    max_retries        integer,
    retry_delays       text,
    on_unknown_outcome text NOT NULL DEFAULT 'retry' CHECK (on_unknown_outcome IN ('retry', 'hold')),
    limit_behavior     text NOT NULL DEFAULT 'defer' CHECK (limit_behavior IN ('defer', 'reject')),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_pk, id)
);

-- One row an account, locked first by every claim: it serialises claimers and carries the account's rest.
CREATE TABLE account_state (
    account_pk bigint PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    condition  text NOT NULL DEFAULT 'ok' CHECK (condition IN ('ok', 'backing_off', 'breaker_open')),
    reason     text,
    cause      text,
    since      timestamptz,
    not_before timestamptz,
    fails      integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE account_lease (
    account_pk bigint NOT NULL,
    slot       smallint NOT NULL,
    epoch      bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_pk, slot)
) WITH (fillfactor = 50);

-- A process of ours. Epochs grow for ever; a dead one's row stays until nothing of it is left.
CREATE TABLE process (
    epoch      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner      text NOT NULL UNIQUE,
    node       text NOT NULL,
    role       text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    left_at    timestamptz
) WITH (fillfactor = 50);

CREATE TABLE message (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_pk   bigint NOT NULL,
    account_pk  bigint,
    client_id   text NOT NULL,
    revision    smallint NOT NULL DEFAULT 0,
    priority    smallint NOT NULL CHECK (priority BETWEEN 0 AND 3),
    status      smallint NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 5),
    attempts    smallint NOT NULL DEFAULT 0,
    batch_code  text,
    error       text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    done_at     timestamptz,
    reported_at timestamptz,
    UNIQUE (tenant_pk, client_id),
    CHECK ((done_at IS NULL) = (status = 0))
) WITH (fillfactor = 85);
CREATE INDEX message_page ON message (tenant_pk, id);

CREATE TABLE body (
    message_id bigint PRIMARY KEY,
    payload    text NOT NULL
);

-- No index names epoch, phase or attempts: claim, intent and finish stay HOT.
CREATE TABLE q (
    id         bigint PRIMARY KEY,                    -- the message's
    tenant_pk  bigint NOT NULL,
    account_pk bigint NOT NULL,
    epoch      bigint,
    due_at     timestamptz NOT NULL,
    charged_at timestamptz,                           -- when its rate-limit tokens were taken
    expires_at timestamptz NOT NULL,
    batch_code text,
    revision   smallint NOT NULL DEFAULT 0,
    priority   smallint NOT NULL,
    phase      smallint NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 2),
    attempts   smallint NOT NULL DEFAULT 0,
    claim      integer NOT NULL DEFAULT 0,           -- grows with every claim, never given back
    crashes    smallint NOT NULL DEFAULT 0,
    suspect    smallint NOT NULL DEFAULT 0,           -- 1: its preparer died; 2: being prepared alone
    held       boolean NOT NULL DEFAULT false,
    CHECK ((epoch IS NULL) = (phase = 0))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
CREATE INDEX q_ready ON q (account_pk, held, priority, due_at, id);

-- 0 stands for all tenants, '' for all batches.
CREATE TABLE suspension (
    tenant_pk  bigint NOT NULL DEFAULT 0,
    batch_code text NOT NULL DEFAULT '',
    since      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_pk, batch_code)
);

-- kind 0 limits a tenant, 1 an account. A window of `slots` slots of `slot_s` seconds is counted with its oldest,
-- partial slot whole and one second more, so never above the limit.
CREATE TABLE rate_limit (
    kind   smallint NOT NULL,
    scope  bigint NOT NULL,
    win    text NOT NULL,
    slot_s double precision NOT NULL CHECK (slot_s > 0),
    slots  integer NOT NULL CHECK (slots > 0),
    lim    integer NOT NULL CHECK (lim > 0),
    PRIMARY KEY (kind, scope, win)
);
CREATE TABLE rate_slot (
    kind  smallint NOT NULL,
    scope bigint NOT NULL,
    win   text NOT NULL,
    slot  bigint NOT NULL,
    n     integer NOT NULL,
    PRIMARY KEY (kind, scope, win, slot)
) WITH (fillfactor = 50);

-- Exception rows only: a recipient whose fate differs from its message's.
CREATE TABLE recipient_state (
    message_id bigint NOT NULL,
    rcpt       smallint NOT NULL,
    accepted   boolean NOT NULL,
    permanent  boolean NOT NULL DEFAULT false,
    address    text NOT NULL,
    code       smallint,
    enhanced   text,
    reply      text,
    PRIMARY KEY (message_id, rcpt)
);

CREATE TABLE event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_pk  bigint NOT NULL,
    message_id bigint NOT NULL,
    kind       text NOT NULL,
    detail     text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_message ON event (message_id, id);

-- What still has to be reported; deleted on acknowledgement.
CREATE TABLE outbox (
    event_id   bigint PRIMARY KEY,
    tenant_pk  bigint NOT NULL,
    message_id bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_tenant ON outbox (tenant_pk, event_id);
CREATE INDEX outbox_message ON outbox (message_id);

CREATE TABLE tenant_sync (
    tenant_pk   bigint PRIMARY KEY REFERENCES tenant ON DELETE CASCADE,
    epoch       bigint,
    lease_until timestamptz,
    fails       integer NOT NULL DEFAULT 0,
    next_try_at timestamptz,
    last_call_at timestamptz,
    muted_until timestamptz,
    poked_at    timestamptz,
    switched_off text
) WITH (fillfactor = 50);
