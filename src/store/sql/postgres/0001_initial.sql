-- Times are nanoseconds since 1970-01-01 UTC. Ids are UUIDs as text. JSON is canonical text. The
-- columns are those of SQLite; what is a thing of one host says which. Where an order matters, it
-- is that of the bytes, as in SQLite.

CREATE TABLE workspaces (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    -- The one that records what is above workspaces.
    is_platform BIGINT NOT NULL CHECK (is_platform IN (0, 1)),
    created_at  BIGINT NOT NULL
);

CREATE TABLE tenants (
    id           TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    external_id  TEXT,
    name         TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('active', 'archived')),
    stage        TEXT NOT NULL CHECK (stage IN ('development', 'staging', 'production')),
    created_at   BIGINT NOT NULL,
    -- Lets other tables prove that their tenant belongs to their workspace.
    UNIQUE (id, workspace_id)
);

CREATE TABLE users (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    email          TEXT,
    kind           TEXT NOT NULL CHECK (kind IN ('member', 'platform')),
    is_break_glass BIGINT NOT NULL CHECK (is_break_glass IN (0, 1)),
    created_at     BIGINT NOT NULL
);

CREATE TABLE memberships (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    user_id      TEXT NOT NULL REFERENCES users (id),
    role         TEXT NOT NULL CHECK (role IN ('owner')),
    PRIMARY KEY (workspace_id, user_id)
);

-- The hosts whose agents use this database: what each uses without being asked, and which key its
-- content is sealed with.
CREATE TABLE hosts (
    id              TEXT COLLATE "C" PRIMARY KEY,
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id       TEXT NOT NULL REFERENCES tenants (id),
    owner_id        TEXT NOT NULL REFERENCES users (id),
    key_fingerprint TEXT NOT NULL,
    -- The number of the last transaction of its agent's writer: tells after a lost connection
    -- whether the one under way was made.
    batch           BIGINT NOT NULL CHECK (batch >= 0)
) WITH (fillfactor = 50);

CREATE TABLE runs (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    workspace_id        TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id           TEXT,
    user_id             TEXT REFERENCES users (id),
    initiator_name      TEXT NOT NULL,
    source              TEXT NOT NULL,
    type                TEXT NOT NULL,
    subject             TEXT,
    -- The host or the workspace within which the subject is one thing.
    lock_scope          TEXT,
    priority            BIGINT NOT NULL CHECK (priority BETWEEN -128 AND 127),
    run_at              BIGINT,
    host_id             TEXT,
    retried_from        TEXT REFERENCES runs (id) DEFERRABLE,
    status              TEXT NOT NULL CHECK (status IN ('queued', 'running', 'completed')),
    outcome             TEXT NOT NULL CHECK (outcome IN ('pending', 'succeeded',
                            'partially_succeeded', 'failed', 'blocked', 'cancelled')),
    -- It wants a worker now.
    ready               BIGINT NOT NULL CHECK (ready IN (0, 1)),
    waits_for           TEXT CHECK (waits_for IN ('approval', 'answer', 'back_off', 'bake_time',
                            'jobs')),
    -- When something happens by itself: a queued run may begin, a waiting one goes on.
    wait_until          BIGINT,
    -- The latest attempt's number: the fencing token.
    attempt             BIGINT NOT NULL CHECK (attempt >= 0),
    failures            BIGINT NOT NULL CHECK (failures >= 0),
    is_dead_letter      BIGINT NOT NULL CHECK (is_dead_letter IN (0, 1)),
    run_identity_hash   TEXT NOT NULL,
    summary_counts      TEXT NOT NULL,
    failure_summary     TEXT NOT NULL,
    jobs                TEXT,
    context             TEXT NOT NULL,
    cancel_requested_at BIGINT,
    created_at          BIGINT NOT NULL,
    started_at          BIGINT,
    completed_at        BIGINT,
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id),
    CHECK ((subject IS NULL) = (lock_scope IS NULL)),
    CHECK ((status = 'completed') = (outcome <> 'pending')),
    CHECK ((status = 'completed') = (completed_at IS NOT NULL)),
    CHECK (status <> 'queued' OR (attempt = 0 AND (ready = 1) = (wait_until IS NULL))),
    CHECK (status <> 'completed' OR ready = 0),
    CHECK (waits_for IS NULL OR (status = 'running' AND ready = 0)),
    CHECK (wait_until IS NULL OR waits_for IS NOT NULL OR status = 'queued'),
    CHECK (is_dead_letter = 0 OR outcome IN ('failed', 'partially_succeeded'))
);

CREATE UNIQUE INDEX runs_active_identity ON runs (workspace_id, run_identity_hash)
    WHERE status <> 'completed';
CREATE INDEX runs_newest ON runs (workspace_id, created_at DESC, id DESC);
CREATE INDEX runs_by_tenant ON runs (workspace_id, tenant_id, created_at DESC, id DESC);
CREATE INDEX runs_by_subject ON runs (workspace_id, subject, created_at DESC, id DESC)
    WHERE subject IS NOT NULL;
CREATE INDEX runs_ready ON runs (type, priority DESC, created_at, id) WHERE ready = 1;
CREATE INDEX runs_active_subject ON runs (lock_scope, subject)
    WHERE status <> 'completed' AND subject IS NOT NULL;
CREATE INDEX runs_waiting ON runs (wait_until) WHERE wait_until IS NOT NULL;
CREATE INDEX runs_dead_letters ON runs (workspace_id, created_at DESC, id DESC)
    WHERE is_dead_letter = 1;

CREATE TABLE run_attempts (
    run_id       TEXT COLLATE "C" NOT NULL REFERENCES runs (id),
    number       BIGINT NOT NULL CHECK (number >= 1),
    instance     TEXT NOT NULL,
    host_id      TEXT,
    boot_id      TEXT,
    is_hosted    BIGINT NOT NULL CHECK (is_hosted IN (0, 1)),
    started_at   BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    ended_at     BIGINT,
    "end"        TEXT CHECK ("end" IN ('completed', 'interrupted', 'released', 'suspended',
                     'failed')),
    PRIMARY KEY (run_id, number),
    CHECK ((ended_at IS NULL) = ("end" IS NULL))
);

CREATE UNIQUE INDEX run_attempts_open ON run_attempts (run_id) WHERE ended_at IS NULL;

CREATE TABLE run_steps (
    run_id      TEXT COLLATE "C" NOT NULL,
    attempt     BIGINT NOT NULL,
    step_index  BIGINT NOT NULL,
    key         TEXT NOT NULL,
    description TEXT NOT NULL,
    cause       TEXT NOT NULL,
    undo        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('started', 'succeeded', 'failed', 'unknown')),
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    detail      TEXT,
    PRIMARY KEY (run_id, attempt, step_index),
    FOREIGN KEY (run_id, attempt) REFERENCES run_attempts (run_id, number)
);

-- One lock per subject and scope: our own subjects are things of a host, others of a workspace.
CREATE TABLE locks (
    scope       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    run_id      TEXT NOT NULL UNIQUE REFERENCES runs (id),
    acquired_at BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (scope, subject)
);

-- The columns serve the filters; what is hashed and shown is the body.
CREATE TABLE audit_events (
    host_id          TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    -- From 1, without a gap, for each host.
    seq              BIGINT NOT NULL,
    id               TEXT NOT NULL UNIQUE,
    workspace_id     TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id        TEXT,
    event_type       TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    actor_type       TEXT NOT NULL,
    actor_label      TEXT NOT NULL,
    target_type      TEXT,
    target_id        TEXT,
    operation_run_id TEXT,
    summary          TEXT NOT NULL CHECK (summary <> ''),
    occurred_at      BIGINT NOT NULL,
    body             TEXT NOT NULL,
    hash             TEXT NOT NULL,
    PRIMARY KEY (host_id, seq),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
);

CREATE INDEX audit_newest ON audit_events (workspace_id, occurred_at DESC,
    host_id DESC, seq DESC);
CREATE INDEX audit_by_tenant ON audit_events (workspace_id, tenant_id, occurred_at DESC,
    host_id DESC, seq DESC);
CREATE INDEX audit_by_type ON audit_events (workspace_id, event_type, occurred_at DESC,
    host_id DESC, seq DESC);
CREATE INDEX audit_by_outcome ON audit_events (workspace_id, outcome, occurred_at DESC,
    host_id DESC, seq DESC);
CREATE INDEX audit_by_actor ON audit_events (workspace_id, actor_label, occurred_at DESC,
    host_id DESC, seq DESC);
CREATE INDEX audit_by_target ON audit_events (workspace_id, target_type, target_id, occurred_at DESC,
    host_id DESC, seq DESC);
CREATE INDEX audit_by_run ON audit_events (workspace_id, operation_run_id, occurred_at DESC,
    host_id DESC, seq DESC);

CREATE FUNCTION audit_stays_whole() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'the audit log is never changed';
    END IF;
    RAISE EXCEPTION 'the audit log is never deleted';
END $$;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stays_whole();
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stays_whole();

-- Once for each statement: what it added follows the last record, and itself.
CREATE FUNCTION audit_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM (SELECT host_id, min(seq) AS first, max(seq) AS last, count(*) AS records
                    FROM added GROUP BY host_id) AS part
    WHERE part.last - part.first + 1 <> part.records
       OR part.first <> 1 + coalesce((SELECT max(before.seq) FROM audit_events AS before
              WHERE before.host_id = part.host_id AND before.seq < part.first), 0);
    IF FOUND THEN
        RAISE EXCEPTION 'the audit log has no gaps';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER audit_is_gapless AFTER INSERT ON audit_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION audit_goes_on();

CREATE TABLE revisions (
    id           TEXT COLLATE "C" PRIMARY KEY,
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    digest       TEXT NOT NULL,
    size_bytes   BIGINT NOT NULL CHECK (size_bytes >= 0),
    chunks       BIGINT NOT NULL CHECK (chunks >= 1),
    created_at   BIGINT NOT NULL
);

CREATE INDEX revisions_by_digest ON revisions (host_id, workspace_id, project, digest,
    created_at DESC);

CREATE TABLE revision_chunks (
    revision_id TEXT NOT NULL REFERENCES revisions (id) ON DELETE CASCADE,
    number      BIGINT NOT NULL CHECK (number >= 0),
    sealed      BYTEA NOT NULL,
    PRIMARY KEY (revision_id, number)
);

CREATE TABLE projects (
    host_id              TEXT NOT NULL REFERENCES hosts (id),
    workspace_id         TEXT NOT NULL REFERENCES workspaces (id),
    name                 TEXT COLLATE "C" NOT NULL,
    tenant_id            TEXT,
    desired              TEXT NOT NULL CHECK (desired IN ('running', 'paused', 'removed')),
    revision_id          TEXT REFERENCES revisions (id),
    deployed_revision_id TEXT REFERENCES revisions (id),
    spec_digest          TEXT,
    created_at           BIGINT NOT NULL,
    updated_at           BIGINT NOT NULL,
    -- Which services are kept, and as which revision declares them: JSON, `{}` for all of the
    -- newest revision.
    wanted               TEXT NOT NULL,
    PRIMARY KEY (host_id, workspace_id, name),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
);

CREATE TABLE adoptions (
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    service      TEXT COLLATE "C" NOT NULL,
    number       BIGINT NOT NULL CHECK (number >= 1),
    container_id TEXT NOT NULL,
    spec_hash    TEXT NOT NULL,
    adopted_at   BIGINT NOT NULL,
    PRIMARY KEY (host_id, workspace_id, project, service, number)
);

CREATE TABLE container_exits (
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    service      TEXT COLLATE "C" NOT NULL,
    number       BIGINT NOT NULL CHECK (number >= 1),
    container_id TEXT NOT NULL,
    exit_code    BIGINT NOT NULL,
    count        BIGINT NOT NULL CHECK (count >= 1),
    seen_at      BIGINT NOT NULL,
    -- By itself, by somebody's hand, or with its engine.
    ended        TEXT NOT NULL CHECK (ended IN ('on_its_own', 'by_hand', 'with_the_engine')),
    PRIMARY KEY (host_id, workspace_id, project, service, number)
);

-- Anonymous volumes that a removal is about to remove, or was: once their container is gone, nothing
-- on the engine tells whose they were.
CREATE TABLE doomed_volumes (
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (host_id, workspace_id, project, name)
);

CREATE TABLE run_jobs (
    run_id        TEXT COLLATE "C" NOT NULL REFERENCES runs (id),
    key           TEXT COLLATE "C" NOT NULL,
    -- Its place among the jobs of the run.
    number        BIGINT NOT NULL CHECK (number >= 0),
    tenant_id     TEXT,
    payload       TEXT NOT NULL,
    -- A copy of the run's, for the index.
    type          TEXT NOT NULL,
    priority      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('queued', 'running', 'waiting', 'succeeded',
                      'failed', 'skipped', 'cancelled')),
    -- It wants a worker now: its run waits for its jobs, and its own time has come.
    ready         BIGINT NOT NULL CHECK (ready IN (0, 1)),
    wait_until    BIGINT,
    attempt       BIGINT NOT NULL CHECK (attempt >= 0),
    failures      BIGINT NOT NULL CHECK (failures >= 0),
    interruptions BIGINT NOT NULL CHECK (interruptions >= 0),
    instance      TEXT,
    host_id       TEXT,
    boot_id       TEXT,
    is_hosted     BIGINT CHECK (is_hosted IN (0, 1)),
    lease_until   BIGINT,
    PRIMARY KEY (run_id, key),
    CHECK (ready = 0 OR status IN ('queued', 'waiting')),
    CHECK ((status = 'waiting') = (wait_until IS NOT NULL)),
    CHECK ((status = 'running') = (instance IS NOT NULL)),
    CHECK ((instance IS NULL) = (lease_until IS NULL) AND (instance IS NULL) = (is_hosted IS NULL))
);

CREATE UNIQUE INDEX run_jobs_by_number ON run_jobs (run_id, number);
CREATE INDEX run_jobs_ready ON run_jobs (type, priority DESC, created_at, run_id, number)
    WHERE ready = 1;
CREATE INDEX run_jobs_running ON run_jobs (run_id, key) WHERE status = 'running';
CREATE INDEX run_jobs_waiting ON run_jobs (wait_until)
    WHERE wait_until IS NOT NULL AND ready = 0;

CREATE TABLE queue_controls (
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    scope           TEXT COLLATE "C" NOT NULL,
    is_paused       BIGINT NOT NULL CHECK (is_paused IN (0, 1)),
    concurrency_max BIGINT CHECK (concurrency_max >= 0),
    PRIMARY KEY (workspace_id, scope)
);

CREATE TABLE hosted_types (
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id),
    name          TEXT COLLATE "C" NOT NULL,
    definition    TEXT NOT NULL,
    registered_at BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, name)
);

CREATE TABLE agents (
    instance     TEXT PRIMARY KEY,
    host_id      TEXT NOT NULL,
    boot_id      TEXT NOT NULL,
    hostname     TEXT NOT NULL,
    started_at   BIGINT NOT NULL,
    heartbeat_at BIGINT NOT NULL
);

-- A firing and the run that it asks for are one transaction: `done_until` moves with the insertion.
CREATE TABLE schedules (
    id             TEXT PRIMARY KEY,
    workspace_id   TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id      TEXT,
    name           TEXT COLLATE "C" NOT NULL,
    expression     TEXT NOT NULL,
    time_zone      TEXT NOT NULL,
    task           TEXT NOT NULL,
    jitter_max     BIGINT NOT NULL CHECK (jitter_max >= 0),
    missed         TEXT NOT NULL CHECK (missed IN ('skip', 'run_once')),
    missed_age_max BIGINT NOT NULL CHECK (missed_age_max >= 0),
    overlap        TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel_running')),
    is_paused      BIGINT NOT NULL CHECK (is_paused IN (0, 1)),
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    done_until     BIGINT NOT NULL,
    held           BIGINT,
    fired_at       BIGINT,
    run_id         TEXT,
    UNIQUE (workspace_id, name),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
);

CREATE TABLE alert_receivers (
    id           TEXT PRIMARY KEY,
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    name         TEXT COLLATE "C" NOT NULL,
    -- Scheme and host: what everybody may know of the address.
    target       TEXT NOT NULL,
    header_names TEXT NOT NULL,
    is_signed    BIGINT NOT NULL CHECK (is_signed IN (0, 1)),
    timeout      BIGINT NOT NULL CHECK (timeout > 0),
    -- Address, headers and signing key.
    sealed       BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    UNIQUE (workspace_id, name)
);

CREATE TABLE alert_rules (
    id           TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    name         TEXT COLLATE "C" NOT NULL,
    event        TEXT NOT NULL,
    run_type     TEXT NOT NULL,
    tenant_id    TEXT,
    severity_min TEXT NOT NULL,
    is_enabled   BIGINT NOT NULL CHECK (is_enabled IN (0, 1)),
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    UNIQUE (workspace_id, name),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
);

CREATE TABLE alert_rule_receivers (
    rule_id     TEXT NOT NULL REFERENCES alert_rules (id) ON DELETE CASCADE,
    position    BIGINT NOT NULL CHECK (position >= 0),
    receiver_id TEXT NOT NULL REFERENCES alert_receivers (id),
    PRIMARY KEY (rule_id, position)
);

CREATE INDEX alert_rule_receivers_by_receiver ON alert_rule_receivers (receiver_id);

-- The outbox: written with what caused it, sent afterwards.
CREATE TABLE alert_deliveries (
    id           TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    receiver_id  TEXT NOT NULL REFERENCES alert_receivers (id) ON DELETE CASCADE,
    event_key    TEXT NOT NULL,
    event        TEXT NOT NULL,
    run_id       TEXT,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'given_up')),
    due_at       BIGINT,
    ended_at     BIGINT,
    attempts     BIGINT NOT NULL CHECK (attempts >= 0),
    last         TEXT,
    created_at   BIGINT NOT NULL,
    CHECK ((status = 'pending') = (due_at IS NOT NULL)),
    CHECK ((status = 'pending') = (ended_at IS NULL))
);

CREATE INDEX alert_deliveries_newest ON alert_deliveries (workspace_id, created_at DESC, id DESC);
CREATE INDEX alert_deliveries_due ON alert_deliveries (due_at, id) WHERE status = 'pending';
CREATE INDEX alert_deliveries_ended ON alert_deliveries (ended_at) WHERE status <> 'pending';
CREATE INDEX alert_deliveries_by_receiver ON alert_deliveries (receiver_id);
