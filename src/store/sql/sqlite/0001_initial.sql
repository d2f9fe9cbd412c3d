-- Times are nanoseconds since 1970-01-01 UTC. Ids are UUIDs as text. JSON is canonical text.

CREATE TABLE workspaces (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    -- The one that records what is above workspaces.
    is_platform INTEGER NOT NULL CHECK (is_platform IN (0, 1)),
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE tenants (
    id           TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    external_id  TEXT,
    name         TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('active', 'archived')),
    stage        TEXT NOT NULL CHECK (stage IN ('development', 'staging', 'production')),
    created_at   INTEGER NOT NULL,
    -- Lets other tables prove that their tenant belongs to their workspace.
    UNIQUE (id, workspace_id)
) STRICT;

CREATE TABLE users (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    email          TEXT,
    kind           TEXT NOT NULL CHECK (kind IN ('member', 'platform')),
    is_break_glass INTEGER NOT NULL CHECK (is_break_glass IN (0, 1)),
    created_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE memberships (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    user_id      TEXT NOT NULL REFERENCES users (id),
    role         TEXT NOT NULL CHECK (role IN ('owner')),
    PRIMARY KEY (workspace_id, user_id)
) STRICT, WITHOUT ROWID;

-- What a single host uses without being asked, and which key the database is sealed with.
CREATE TABLE host (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id       TEXT NOT NULL REFERENCES tenants (id),
    owner_id        TEXT NOT NULL REFERENCES users (id),
    key_fingerprint TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    id                  TEXT PRIMARY KEY,
    workspace_id        TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id           TEXT,
    user_id             TEXT REFERENCES users (id),
    initiator_name      TEXT NOT NULL,
    source              TEXT NOT NULL,
    type                TEXT NOT NULL,
    subject             TEXT NOT NULL,
    status              TEXT NOT NULL CHECK (status IN ('queued', 'running', 'completed')),
    outcome             TEXT NOT NULL CHECK (outcome IN ('pending', 'succeeded',
                            'partially_succeeded', 'failed', 'blocked', 'cancelled')),
    -- It wants a worker.
    ready               INTEGER NOT NULL CHECK (ready IN (0, 1)),
    waits_for           TEXT CHECK (waits_for IN ('approval', 'answer', 'back_off', 'bake_time')),
    wait_until          INTEGER,
    -- The latest attempt's number: the fencing token.
    attempt             INTEGER NOT NULL CHECK (attempt >= 0),
    run_identity_hash   TEXT NOT NULL,
    summary_counts      TEXT NOT NULL,
    failure_summary     TEXT NOT NULL,
    context             TEXT NOT NULL,
    cancel_requested_at INTEGER,
    created_at          INTEGER NOT NULL,
    started_at          INTEGER,
    completed_at        INTEGER,
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id),
    CHECK ((status = 'completed') = (outcome <> 'pending')),
    CHECK ((status = 'completed') = (completed_at IS NOT NULL)),
    CHECK (status <> 'queued' OR (ready = 1 AND attempt = 0)),
    CHECK (status <> 'completed' OR ready = 0),
    CHECK (waits_for IS NULL OR (status = 'running' AND ready = 0)),
    CHECK (wait_until IS NULL OR waits_for IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX runs_active_identity ON runs (workspace_id, run_identity_hash)
    WHERE status <> 'completed';
CREATE INDEX runs_newest ON runs (workspace_id, created_at DESC, id DESC);
CREATE INDEX runs_by_tenant ON runs (workspace_id, tenant_id, created_at DESC, id DESC);
CREATE INDEX runs_by_subject ON runs (workspace_id, subject, created_at DESC, id DESC);
CREATE INDEX runs_ready ON runs (created_at, id) WHERE ready = 1;
CREATE INDEX runs_ready_subject ON runs (subject, created_at, id) WHERE ready = 1;
CREATE INDEX runs_waiting ON runs (wait_until) WHERE wait_until IS NOT NULL;

CREATE TABLE run_attempts (
    run_id       TEXT NOT NULL REFERENCES runs (id),
    number       INTEGER NOT NULL CHECK (number >= 1),
    instance     TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    ended_at     INTEGER,
    end          TEXT CHECK (end IN ('completed', 'interrupted', 'released', 'suspended')),
    PRIMARY KEY (run_id, number),
    CHECK ((ended_at IS NULL) = (end IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX run_attempts_open ON run_attempts (run_id) WHERE ended_at IS NULL;

CREATE TABLE run_steps (
    run_id      TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    step_index  INTEGER NOT NULL,
    key         TEXT NOT NULL,
    description TEXT NOT NULL,
    cause       TEXT NOT NULL,
    undo        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('started', 'succeeded', 'failed', 'unknown')),
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    detail      TEXT,
    PRIMARY KEY (run_id, attempt, step_index),
    FOREIGN KEY (run_id, attempt) REFERENCES run_attempts (run_id, number)
) STRICT, WITHOUT ROWID;

-- One lock per subject, whatever the workspace: subjects are things of this host.
CREATE TABLE locks (
    subject     TEXT PRIMARY KEY,
    run_id      TEXT NOT NULL UNIQUE REFERENCES runs (id),
    acquired_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The columns serve the filters; what is hashed and shown is the body.
CREATE TABLE audit_events (
    seq              INTEGER PRIMARY KEY,
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
    occurred_at      INTEGER NOT NULL,
    body             TEXT NOT NULL,
    hash             TEXT NOT NULL,
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
) STRICT;

CREATE INDEX audit_newest ON audit_events (workspace_id, seq DESC);
CREATE INDEX audit_by_tenant ON audit_events (workspace_id, tenant_id, seq DESC);
CREATE INDEX audit_by_type ON audit_events (workspace_id, event_type, seq DESC);
CREATE INDEX audit_by_outcome ON audit_events (workspace_id, outcome, seq DESC);
CREATE INDEX audit_by_actor ON audit_events (workspace_id, actor_label, seq DESC);
CREATE INDEX audit_by_target ON audit_events (workspace_id, target_type, target_id, seq DESC);
CREATE INDEX audit_by_run ON audit_events (workspace_id, operation_run_id, seq DESC);

CREATE TRIGGER audit_is_gapless BEFORE INSERT ON audit_events
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_events)
BEGIN
    SELECT raise(ABORT, 'the audit log has no gaps');
END;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit_events
BEGIN
    SELECT raise(ABORT, 'the audit log is never changed');
END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit_events
BEGIN
    SELECT raise(ABORT, 'the audit log is never deleted');
END;

CREATE TABLE revisions (
    id           TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    digest       TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL CHECK (size_bytes >= 0),
    chunks       INTEGER NOT NULL CHECK (chunks >= 1),
    created_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX revisions_by_digest ON revisions (workspace_id, project, digest, created_at DESC);

CREATE TABLE revision_chunks (
    revision_id TEXT NOT NULL REFERENCES revisions (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number >= 0),
    sealed      BLOB NOT NULL,
    PRIMARY KEY (revision_id, number)
) STRICT;

CREATE TABLE projects (
    workspace_id         TEXT NOT NULL REFERENCES workspaces (id),
    name                 TEXT NOT NULL,
    tenant_id            TEXT,
    desired              TEXT NOT NULL CHECK (desired IN ('running', 'paused', 'removed')),
    revision_id          TEXT REFERENCES revisions (id),
    deployed_revision_id TEXT REFERENCES revisions (id),
    spec_digest          TEXT,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, name),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE adoptions (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    service      TEXT NOT NULL,
    number       INTEGER NOT NULL CHECK (number >= 1),
    container_id TEXT NOT NULL,
    spec_hash    TEXT NOT NULL,
    adopted_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, project, service, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE container_exits (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    service      TEXT NOT NULL,
    number       INTEGER NOT NULL CHECK (number >= 1),
    container_id TEXT NOT NULL,
    exit_code    INTEGER NOT NULL,
    count        INTEGER NOT NULL CHECK (count >= 1),
    seen_at      INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, project, service, number)
) STRICT, WITHOUT ROWID;
