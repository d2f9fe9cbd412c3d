-- The queue: priorities, times, hosts, retries, jobs, controls, hosted types, agents. Tables whose
-- checks change are made anew; foreign keys are checked when all is done.

CREATE TABLE new_runs (
    id                  TEXT PRIMARY KEY,
    workspace_id        TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id           TEXT,
    user_id             TEXT REFERENCES users (id),
    initiator_name      TEXT NOT NULL,
    source              TEXT NOT NULL,
    type                TEXT NOT NULL,
    subject             TEXT,
    -- The host or the workspace within which the subject is one thing.
    lock_scope          TEXT,
    priority            INTEGER NOT NULL CHECK (priority BETWEEN -128 AND 127),
    run_at              INTEGER,
    host_id             TEXT,
    retried_from        TEXT REFERENCES runs (id),
    status              TEXT NOT NULL CHECK (status IN ('queued', 'running', 'completed')),
    outcome             TEXT NOT NULL CHECK (outcome IN ('pending', 'succeeded',
                            'partially_succeeded', 'failed', 'blocked', 'cancelled')),
    -- It wants a worker now.
    ready               INTEGER NOT NULL CHECK (ready IN (0, 1)),
    waits_for           TEXT CHECK (waits_for IN ('approval', 'answer', 'back_off', 'bake_time',
                            'jobs')),
    -- When something happens by itself: a queued run may begin, a waiting one goes on.
    wait_until          INTEGER,
    -- The latest attempt's number: the fencing token.
    attempt             INTEGER NOT NULL CHECK (attempt >= 0),
    failures            INTEGER NOT NULL CHECK (failures >= 0),
    is_dead_letter      INTEGER NOT NULL CHECK (is_dead_letter IN (0, 1)),
    run_identity_hash   TEXT NOT NULL,
    summary_counts      TEXT NOT NULL,
    failure_summary     TEXT NOT NULL,
    jobs                TEXT,
    context             TEXT NOT NULL,
    cancel_requested_at INTEGER,
    created_at          INTEGER NOT NULL,
    started_at          INTEGER,
    completed_at        INTEGER,
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id),
    CHECK ((subject IS NULL) = (lock_scope IS NULL)),
    CHECK ((status = 'completed') = (outcome <> 'pending')),
    CHECK ((status = 'completed') = (completed_at IS NOT NULL)),
    CHECK (status <> 'queued' OR (attempt = 0 AND ready = (wait_until IS NULL))),
    CHECK (status <> 'completed' OR ready = 0),
    CHECK (waits_for IS NULL OR (status = 'running' AND ready = 0)),
    CHECK (wait_until IS NULL OR waits_for IS NOT NULL OR status = 'queued'),
    CHECK (is_dead_letter = 0 OR outcome IN ('failed', 'partially_succeeded'))
) STRICT;

-- The host is filled in by the program, which knows it.
INSERT INTO new_runs
SELECT id, workspace_id, tenant_id, user_id, initiator_name, source, type, subject, '', 0, NULL,
    NULL, NULL, status, outcome, ready, waits_for, wait_until, attempt, 0, 0, run_identity_hash,
    summary_counts, failure_summary, NULL, context, cancel_requested_at, created_at, started_at,
    completed_at
FROM runs;

DROP TABLE runs;
ALTER TABLE new_runs RENAME TO runs;

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

CREATE TABLE new_run_attempts (
    run_id       TEXT NOT NULL REFERENCES runs (id),
    number       INTEGER NOT NULL CHECK (number >= 1),
    instance     TEXT NOT NULL,
    host_id      TEXT,
    boot_id      TEXT,
    is_hosted    INTEGER NOT NULL CHECK (is_hosted IN (0, 1)),
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    lease_until  INTEGER NOT NULL,
    ended_at     INTEGER,
    end          TEXT CHECK (end IN ('completed', 'interrupted', 'released', 'suspended',
                     'failed')),
    PRIMARY KEY (run_id, number),
    CHECK ((ended_at IS NULL) = (end IS NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO new_run_attempts
SELECT run_id, number, instance, NULL, NULL, 0, started_at, heartbeat_at, heartbeat_at, ended_at,
    end
FROM run_attempts;

DROP TABLE run_attempts;
ALTER TABLE new_run_attempts RENAME TO run_attempts;

CREATE UNIQUE INDEX run_attempts_open ON run_attempts (run_id) WHERE ended_at IS NULL;

-- One lock per subject and scope: our own subjects are things of a host, others of a workspace.
CREATE TABLE new_locks (
    scope       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    run_id      TEXT NOT NULL UNIQUE REFERENCES runs (id),
    acquired_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;

INSERT INTO new_locks SELECT '', subject, run_id, acquired_at, expires_at FROM locks;
DROP TABLE locks;
ALTER TABLE new_locks RENAME TO locks;

CREATE TABLE run_jobs (
    run_id        TEXT NOT NULL REFERENCES runs (id),
    key           TEXT NOT NULL,
    -- Its place among the jobs of the run.
    number        INTEGER NOT NULL CHECK (number >= 0),
    tenant_id     TEXT,
    payload       TEXT NOT NULL,
    -- A copy of the run's, for the index.
    type          TEXT NOT NULL,
    priority      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('queued', 'running', 'waiting', 'succeeded',
                      'failed', 'skipped', 'cancelled')),
    -- It wants a worker now: its run waits for its jobs, and its own time has come.
    ready         INTEGER NOT NULL CHECK (ready IN (0, 1)),
    wait_until    INTEGER,
    attempt       INTEGER NOT NULL CHECK (attempt >= 0),
    failures      INTEGER NOT NULL CHECK (failures >= 0),
    interruptions INTEGER NOT NULL CHECK (interruptions >= 0),
    instance      TEXT,
    host_id       TEXT,
    boot_id       TEXT,
    is_hosted     INTEGER CHECK (is_hosted IN (0, 1)),
    lease_until   INTEGER,
    PRIMARY KEY (run_id, key),
    CHECK (ready = 0 OR status IN ('queued', 'waiting')),
    CHECK ((status = 'waiting') = (wait_until IS NOT NULL)),
    CHECK ((status = 'running') = (instance IS NOT NULL)),
    CHECK ((instance IS NULL) = (lease_until IS NULL) AND (instance IS NULL) = (is_hosted IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX run_jobs_by_number ON run_jobs (run_id, number);
CREATE INDEX run_jobs_ready ON run_jobs (type, priority DESC, created_at, run_id, number)
    WHERE ready = 1;
CREATE INDEX run_jobs_running ON run_jobs (run_id, key) WHERE status = 'running';
CREATE INDEX run_jobs_waiting ON run_jobs (wait_until)
    WHERE wait_until IS NOT NULL AND ready = 0;

CREATE TABLE queue_controls (
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    scope           TEXT NOT NULL,
    is_paused       INTEGER NOT NULL CHECK (is_paused IN (0, 1)),
    concurrency_max INTEGER CHECK (concurrency_max >= 0),
    PRIMARY KEY (workspace_id, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE hosted_types (
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id),
    name          TEXT NOT NULL,
    definition    TEXT NOT NULL,
    registered_at INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
    instance     TEXT PRIMARY KEY,
    host_id      TEXT NOT NULL,
    boot_id      TEXT NOT NULL,
    hostname     TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
