CREATE TABLE schema_migration (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at text NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT schema_migration_pkey PRIMARY KEY (version)
);

CREATE TABLE instance (
    one boolean NOT NULL DEFAULT true,
    bits bigint NOT NULL,
    canary bytea,
    settings jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    bounce_secret bytea,
    updated_at timestamp with time zone,
    proof_secret bytea,
    link_key bytea,
    CONSTRAINT instance_pkey PRIMARY KEY (one),
    CONSTRAINT instance_one_check CHECK (one)
);

CREATE TABLE tenant (
    pk bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    id text NOT NULL,
    name text,
    client_auth bytea,
    client_base_url text,
    client_sync_path text,
    client_attachment_path text,
    rate_limits text,
    large_file_config text,
    report_strict boolean NOT NULL DEFAULT false,
    report_format text NOT NULL DEFAULT 'item'::text,
    active boolean NOT NULL DEFAULT true,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    webhook_secrets bytea,
    url_set_by_tenant boolean NOT NULL DEFAULT false,
    suppress_bounces boolean NOT NULL DEFAULT false,
    large_file_secrets bytea,
    CONSTRAINT tenant_pkey PRIMARY KEY (pk),
    CONSTRAINT tenant_id_key UNIQUE (id)
);

CREATE TABLE tenant_key (
    hash bytea NOT NULL,
    key_id text NOT NULL,
    tenant_pk bigint NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    expires_at timestamp with time zone,
    CONSTRAINT tenant_key_pkey PRIMARY KEY (hash),
    CONSTRAINT tenant_key_tenant_pk_fkey FOREIGN KEY (tenant_pk) REFERENCES tenant(pk) ON DELETE CASCADE
);
CREATE INDEX tenant_key_tenant ON public.tenant_key USING btree (tenant_pk);

CREATE TABLE account (
    pk bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_pk bigint NOT NULL,
    id text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    host text NOT NULL,
    port integer NOT NULL,
    username text,
    secret bytea,
    use_tls boolean,
    tls_verify boolean NOT NULL DEFAULT true,
    tls_ca text,
    ttl integer NOT NULL DEFAULT 300,
    batch_size integer,
    max_retries integer,
    retry_delays text,
    on_unknown_outcome text NOT NULL DEFAULT 'retry'::text,
    limit_behavior text NOT NULL DEFAULT 'defer'::text,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    host_set_by_tenant boolean NOT NULL DEFAULT false,
    is_pec_account boolean NOT NULL DEFAULT false,
    pec_address text,
    imap_host text,
    imap_port integer NOT NULL DEFAULT 993,
    imap_user text,
    imap_secret bytea,
    imap_folder text NOT NULL DEFAULT 'INBOX'::text,
    imap_ssl boolean,
    imap_host_set_by_tenant boolean NOT NULL DEFAULT false,
    CONSTRAINT account_pkey PRIMARY KEY (pk),
    CONSTRAINT account_imap_port_check CHECK (((imap_port >= 1) AND (imap_port <= 65535))),
    CONSTRAINT account_limit_behavior_check CHECK ((limit_behavior = ANY (ARRAY['defer'::text, 'reject'::text]))),
    CONSTRAINT account_on_unknown_outcome_check CHECK ((on_unknown_outcome = ANY (ARRAY['retry'::text, 'hold'::text]))),
    CONSTRAINT account_port_check CHECK (((port >= 1) AND (port <= 65535))),
    CONSTRAINT account_tenant_pk_fkey FOREIGN KEY (tenant_pk) REFERENCES tenant(pk) ON DELETE CASCADE,
    CONSTRAINT account_tenant_pk_id_key UNIQUE (tenant_pk, id)
);
CREATE INDEX account_mailbox ON public.account USING btree (pk) WHERE (imap_host IS NOT NULL);

CREATE TABLE account_state (
    account_pk bigint NOT NULL,
    condition text NOT NULL DEFAULT 'ok'::text,
    reason text,
    cause text,
    since timestamp with time zone,
    not_before timestamp with time zone,
    fails integer NOT NULL DEFAULT 0,
    CONSTRAINT account_state_pkey PRIMARY KEY (account_pk),
    CONSTRAINT account_state_account_pk_fkey FOREIGN KEY (account_pk) REFERENCES account(pk) ON DELETE CASCADE,
    CONSTRAINT account_state_condition_check CHECK ((condition = ANY (ARRAY['ok'::text, 'backing_off'::text, 'breaker_open'::text])))
) WITH (fillfactor=50);

CREATE TABLE account_lease (
    account_pk bigint NOT NULL,
    slot smallint NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT account_lease_pkey PRIMARY KEY (account_pk, slot)
) WITH (fillfactor=50);

CREATE TABLE process (
    epoch bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    owner text NOT NULL,
    node text NOT NULL,
    role text NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    seen_at timestamp with time zone NOT NULL DEFAULT now(),
    left_at timestamp with time zone,
    CONSTRAINT process_pkey PRIMARY KEY (epoch),
    CONSTRAINT process_owner_key UNIQUE (owner)
) WITH (fillfactor=50);

CREATE TABLE message (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_pk bigint NOT NULL,
    account_pk bigint,
    client_id text NOT NULL,
    revision smallint NOT NULL DEFAULT 0,
    priority smallint NOT NULL,
    status smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    batch_code text,
    error text,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    done_at timestamp with time zone,
    reported_at timestamp with time zone,
    header_id text,
    CONSTRAINT message_pkey PRIMARY KEY (id),
    CONSTRAINT message_check CHECK (((done_at IS NULL) = (status = 0))),
    CONSTRAINT message_priority_check CHECK (((priority >= 0) AND (priority <= 3))),
    CONSTRAINT message_status_check CHECK (((status >= 0) AND (status <= 5))),
    CONSTRAINT message_tenant_pk_client_id_key UNIQUE (tenant_pk, client_id)
) WITH (fillfactor=85);
CREATE INDEX message_page ON public.message USING btree (tenant_pk, id);
CREATE INDEX message_header_id ON public.message USING btree (header_id) WHERE (header_id IS NOT NULL);

CREATE TABLE body (
    message_id bigint NOT NULL,
    payload text NOT NULL,
    fetched text,
    logins bytea,
    CONSTRAINT body_pkey PRIMARY KEY (message_id)
);
CREATE INDEX body_logins ON public.body USING btree (message_id) WHERE (logins IS NOT NULL);

CREATE TABLE q (
    id bigint NOT NULL,
    tenant_pk bigint NOT NULL,
    account_pk bigint NOT NULL,
    epoch bigint,
    due_at timestamp with time zone NOT NULL,
    charged_at timestamp with time zone,
    expires_at timestamp with time zone NOT NULL,
    batch_code text,
    revision smallint NOT NULL DEFAULT 0,
    priority smallint NOT NULL,
    phase smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    claim integer NOT NULL DEFAULT 0,
    crashes smallint NOT NULL DEFAULT 0,
    suspect smallint NOT NULL DEFAULT 0,
    held boolean NOT NULL DEFAULT false,
    CONSTRAINT q_pkey PRIMARY KEY (id),
    CONSTRAINT q_check CHECK (((epoch IS NULL) = (phase = 0))),
    CONSTRAINT q_phase_check CHECK (((phase >= 0) AND (phase <= 2)))
) WITH (fillfactor=60, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000, autovacuum_vacuum_cost_delay=0, autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=50000);
CREATE INDEX q_ready ON public.q USING btree (account_pk, held, priority, due_at, id);

CREATE TABLE suspension (
    tenant_pk bigint NOT NULL DEFAULT 0,
    batch_code text NOT NULL DEFAULT ''::text,
    since timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT suspension_pkey PRIMARY KEY (tenant_pk, batch_code)
);

CREATE TABLE rate_limit (
    kind smallint NOT NULL,
    scope bigint NOT NULL,
    win text NOT NULL,
    slot_s double precision NOT NULL,
    slots integer NOT NULL,
    lim integer NOT NULL,
    CONSTRAINT rate_limit_pkey PRIMARY KEY (kind, scope, win),
    CONSTRAINT rate_limit_lim_check CHECK ((lim > 0)),
    CONSTRAINT rate_limit_slot_s_check CHECK ((slot_s > (0)::double precision)),
    CONSTRAINT rate_limit_slots_check CHECK ((slots > 0))
);

CREATE TABLE rate_slot (
    kind smallint NOT NULL,
    scope bigint NOT NULL,
    win text NOT NULL,
    slot bigint NOT NULL,
    n integer NOT NULL,
    CONSTRAINT rate_slot_pkey PRIMARY KEY (kind, scope, win, slot)
) WITH (fillfactor=50);

CREATE TABLE recipient_state (
    message_id bigint NOT NULL,
    rcpt smallint NOT NULL,
    accepted boolean NOT NULL,
    permanent boolean NOT NULL DEFAULT false,
    address text NOT NULL,
    code smallint,
    enhanced text,
    reply text,
    bounce_type text,
    bounce_code text,
    bounce_status text,
    bounce_reason text,
    bounced_at timestamp with time zone,
    bounce_verified boolean NOT NULL DEFAULT false,
    CONSTRAINT recipient_state_pkey PRIMARY KEY (message_id, rcpt)
);

CREATE TABLE event (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_pk bigint NOT NULL,
    message_id bigint NOT NULL,
    kind text NOT NULL,
    detail text NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT event_pkey PRIMARY KEY (id)
);
CREATE INDEX event_message ON public.event USING btree (message_id, id);

CREATE TABLE outbox (
    event_id bigint NOT NULL,
    tenant_pk bigint NOT NULL,
    message_id bigint NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (event_id)
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_cost_delay=0);
CREATE INDEX outbox_tenant ON public.outbox USING btree (tenant_pk, event_id);
CREATE INDEX outbox_message ON public.outbox USING btree (message_id);

CREATE TABLE tenant_sync (
    tenant_pk bigint NOT NULL,
    epoch bigint,
    lease_until timestamp with time zone,
    fails integer NOT NULL DEFAULT 0,
    next_try_at timestamp with time zone,
    last_call_at timestamp with time zone,
    muted_until timestamp with time zone,
    poked_at timestamp with time zone,
    switched_off text,
    failing_since timestamp with time zone,
    failure text,
    gone integer NOT NULL DEFAULT 0,
    switched_off_at timestamp with time zone,
    CONSTRAINT tenant_sync_pkey PRIMARY KEY (tenant_pk),
    CONSTRAINT tenant_sync_tenant_pk_fkey FOREIGN KEY (tenant_pk) REFERENCES tenant(pk) ON DELETE CASCADE
) WITH (fillfactor=50);

CREATE TABLE undelivered (
    event_id bigint NOT NULL,
    tenant_pk bigint NOT NULL,
    message_id bigint NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    cause text NOT NULL,
    since timestamp with time zone NOT NULL,
    next_try_at timestamp with time zone,
    dead_at timestamp with time zone,
    CONSTRAINT undelivered_pkey PRIMARY KEY (event_id),
    CONSTRAINT undelivered_check CHECK (((next_try_at IS NULL) = (dead_at IS NOT NULL)))
);
CREATE INDEX undelivered_due ON public.undelivered USING btree (tenant_pk, next_try_at, event_id) WHERE (next_try_at IS NOT NULL);
CREATE INDEX undelivered_dead ON public.undelivered USING btree (tenant_pk, event_id) WHERE (next_try_at IS NULL);
CREATE INDEX undelivered_message ON public.undelivered USING btree (message_id);

CREATE TABLE command_log (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    endpoint text NOT NULL,
    tenant_id text,
    actor text NOT NULL,
    request_id text NOT NULL,
    object text,
    payload text NOT NULL,
    status smallint NOT NULL,
    CONSTRAINT command_log_pkey PRIMARY KEY (id)
);
CREATE INDEX command_log_at ON public.command_log USING btree (at);
CREATE INDEX command_log_tenant ON public.command_log USING btree (tenant_id, id);

CREATE TABLE kept_answer (
    scope bigint NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    answer text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT kept_answer_pkey PRIMARY KEY (scope, key)
);
CREATE INDEX kept_answer_created ON public.kept_answer USING btree (created_at);

CREATE TABLE suppression (
    tenant_pk bigint NOT NULL,
    address text NOT NULL,
    reason text NOT NULL,
    event_id bigint,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    expires_at timestamp with time zone,
    CONSTRAINT suppression_pkey PRIMARY KEY (tenant_pk, address),
    CONSTRAINT suppression_reason_check CHECK ((reason = ANY (ARRAY['hard_bounce'::text, 'complaint'::text, 'manual'::text, 'import'::text]))),
    CONSTRAINT suppression_tenant_pk_fkey FOREIGN KEY (tenant_pk) REFERENCES tenant(pk) ON DELETE CASCADE
);
CREATE INDEX suppression_expiry ON public.suppression USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE TABLE mailbox (
    pk bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    account_pk bigint,
    place text NOT NULL,
    uidvalidity bigint,
    last_uid bigint NOT NULL DEFAULT 0,
    stuck_uid bigint,
    stuck_tries integer NOT NULL DEFAULT 0,
    epoch bigint,
    lease_until timestamp with time zone,
    checked_at timestamp with time zone,
    fails integer NOT NULL DEFAULT 0,
    failure text,
    failing_since timestamp with time zone,
    next_try_at timestamp with time zone,
    CONSTRAINT mailbox_pkey PRIMARY KEY (pk),
    CONSTRAINT mailbox_account_pk_fkey FOREIGN KEY (account_pk) REFERENCES account(pk) ON DELETE CASCADE
) WITH (fillfactor=50);
CREATE UNIQUE INDEX mailbox_of ON public.mailbox USING btree (COALESCE(account_pk, (0)::bigint));

CREATE TABLE inbound_seen (
    mailbox_pk bigint NOT NULL,
    fingerprint bytea NOT NULL,
    uidvalidity bigint NOT NULL,
    uid bigint NOT NULL,
    verdict text NOT NULL,
    message_id bigint,
    disposable boolean NOT NULL DEFAULT false,
    disposed boolean NOT NULL DEFAULT true,
    at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT inbound_seen_pkey PRIMARY KEY (mailbox_pk, fingerprint),
    CONSTRAINT inbound_seen_mailbox_pk_fkey FOREIGN KEY (mailbox_pk) REFERENCES mailbox(pk) ON DELETE CASCADE
);
CREATE INDEX inbound_seen_at ON public.inbound_seen USING btree (at);
CREATE INDEX inbound_seen_disposal ON public.inbound_seen USING btree (mailbox_pk, uid) WHERE (NOT disposed);

CREATE TABLE quarantine (
    pk bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    mailbox_pk bigint NOT NULL,
    uidvalidity bigint NOT NULL,
    uid bigint NOT NULL,
    reason text NOT NULL,
    octets bytea NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT quarantine_pkey PRIMARY KEY (pk),
    CONSTRAINT quarantine_mailbox_pk_fkey FOREIGN KEY (mailbox_pk) REFERENCES mailbox(pk) ON DELETE CASCADE
);
CREATE INDEX quarantine_mailbox ON public.quarantine USING btree (mailbox_pk, at);
CREATE INDEX quarantine_at ON public.quarantine USING btree (at);

CREATE TABLE parked (
    pk bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    mailbox_pk bigint NOT NULL,
    fingerprint bytea NOT NULL,
    octets bytea NOT NULL,
    next_try_at timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    CONSTRAINT parked_pkey PRIMARY KEY (pk),
    CONSTRAINT parked_mailbox_pk_fkey FOREIGN KEY (mailbox_pk) REFERENCES mailbox(pk) ON DELETE CASCADE
);
CREATE INDEX parked_due ON public.parked USING btree (mailbox_pk, next_try_at);

CREATE TABLE large_file (
    object text NOT NULL,
    tenant_pk bigint NOT NULL,
    tenant_id text NOT NULL,
    message_id bigint NOT NULL,
    revision integer NOT NULL,
    part integer NOT NULL,
    filename text NOT NULL,
    media_type text NOT NULL,
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    place text NOT NULL,
    url text,
    lifespan double precision,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    uploaded_at timestamp with time zone,
    downloaded_at timestamp with time zone,
    expires_at timestamp with time zone NOT NULL,
    next_try_at timestamp with time zone,
    tries integer NOT NULL DEFAULT 0,
    CONSTRAINT large_file_pkey PRIMARY KEY (object),
    CONSTRAINT large_file_check CHECK (((url IS NULL) = (uploaded_at IS NULL)))
);
CREATE INDEX large_file_message ON public.large_file USING btree (message_id, revision, part);
CREATE INDEX large_file_expiry ON public.large_file USING btree (expires_at);
CREATE INDEX large_file_tenant ON public.large_file USING btree (tenant_pk);

CREATE TABLE pec_message (
    message_id bigint NOT NULL,
    tenant_pk bigint NOT NULL,
    look_at timestamp with time zone,
    CONSTRAINT pec_message_pkey PRIMARY KEY (message_id)
);
CREATE INDEX pec_message_look ON public.pec_message USING btree (look_at) WHERE (look_at IS NOT NULL);

CREATE TABLE pec_recipient (
    message_id bigint NOT NULL,
    rcpt smallint NOT NULL,
    address text NOT NULL,
    state text NOT NULL DEFAULT 'waiting'::text,
    at timestamp with time zone,
    CONSTRAINT pec_recipient_pkey PRIMARY KEY (message_id, rcpt),
    CONSTRAINT pec_recipient_message_id_fkey FOREIGN KEY (message_id) REFERENCES pec_message(message_id) ON DELETE CASCADE
);

CREATE TABLE pec_receipt (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_pk bigint NOT NULL,
    message_id bigint NOT NULL,
    client_id text NOT NULL,
    n integer NOT NULL,
    said text NOT NULL,
    outcome text NOT NULL,
    received_at timestamp with time zone NOT NULL DEFAULT now(),
    raw bytea NOT NULL,
    CONSTRAINT pec_receipt_pkey PRIMARY KEY (id),
    CONSTRAINT pec_receipt_tenant_pk_client_id_n_key UNIQUE (tenant_pk, client_id, n)
);
CREATE INDEX pec_receipt_received ON public.pec_receipt USING btree (received_at);

CREATE TABLE content (
    pk bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_pk bigint NOT NULL,
    sha256 text NOT NULL,
    is_whole boolean NOT NULL DEFAULT false,
    look_at timestamp with time zone NOT NULL,
    CONSTRAINT content_pkey PRIMARY KEY (pk),
    CONSTRAINT content_tenant_pk_fkey FOREIGN KEY (tenant_pk) REFERENCES tenant(pk) ON DELETE CASCADE,
    CONSTRAINT content_tenant_pk_sha256_key UNIQUE (tenant_pk, sha256)
);
CREATE INDEX content_look ON public.content USING btree (look_at);

CREATE TABLE content_piece (
    content_pk bigint NOT NULL,
    n integer NOT NULL,
    octets bytea NOT NULL,
    CONSTRAINT content_piece_pkey PRIMARY KEY (content_pk, n),
    CONSTRAINT content_piece_content_pk_fkey FOREIGN KEY (content_pk) REFERENCES content(pk) ON DELETE CASCADE
);

CREATE TABLE message_content (
    message_id bigint NOT NULL,
    content_pk bigint NOT NULL,
    CONSTRAINT message_content_pkey PRIMARY KEY (message_id, content_pk),
    CONSTRAINT message_content_content_pk_fkey FOREIGN KEY (content_pk) REFERENCES content(pk),
    CONSTRAINT message_content_message_id_fkey FOREIGN KEY (message_id) REFERENCES message(id) ON DELETE CASCADE
);
CREATE INDEX message_content_content ON public.message_content USING btree (content_pk);
