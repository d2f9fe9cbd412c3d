-- A bulk run holds a lock for each job that locks something, beside its own.
CREATE TABLE new_locks (
    scope       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    run_id      TEXT NOT NULL REFERENCES runs (id),
    acquired_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;

INSERT INTO new_locks SELECT scope, subject, run_id, acquired_at, expires_at FROM locks;
DROP TABLE locks;
ALTER TABLE new_locks RENAME TO locks;
CREATE INDEX locks_by_run ON locks (run_id);

-- What a job locks beside its run, and how far it has come: its next attempt goes on from there.
ALTER TABLE run_jobs ADD COLUMN subject TEXT;
ALTER TABLE run_jobs ADD COLUMN reached TEXT;

CREATE TABLE findings (
    id                        TEXT PRIMARY KEY,
    workspace_id              TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id                 TEXT NOT NULL,
    type                      TEXT NOT NULL CHECK (type IN ('drift', 'policy_violation')),
    severity                  TEXT NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high',
                                  'critical')),
    status                    TEXT NOT NULL CHECK (status IN ('new', 'triaged', 'in_progress',
                                  'resolved', 'closed', 'reopened', 'risk_accepted')),
    fingerprint               TEXT NOT NULL,
    -- Rows of the form before lifecycles lack these until they are backfilled: the recurrence key,
    -- when it was seen, how often, and when it is due.
    recurrence_key            TEXT,
    lineage_key               TEXT,
    scope_key                 TEXT NOT NULL,
    first_seen_at             INTEGER,
    last_seen_at              INTEGER,
    times_seen                INTEGER CHECK (times_seen > 0),
    reopen_count              INTEGER NOT NULL CHECK (reopen_count >= 0),
    due_at                    INTEGER,
    owner                     TEXT,
    assignee                  TEXT,
    evidence                  TEXT NOT NULL,
    baseline_operation_run_id TEXT,
    current_operation_run_id  TEXT,
    resolved_at               INTEGER,
    closed_at                 INTEGER,
    close_reason              TEXT,
    merged_into               TEXT,
    created_at                INTEGER NOT NULL,
    updated_at                INTEGER NOT NULL,
    -- Counts its changes: who writes it says which one he read.
    version                   INTEGER NOT NULL CHECK (version > 0),
    UNIQUE (tenant_id, fingerprint),
    CHECK (first_seen_at <= last_seen_at),
    CHECK ((close_reason = 'consolidated') = (merged_into IS NOT NULL)),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
) STRICT;

CREATE INDEX findings_by_scope ON findings (tenant_id, scope_key);
CREATE INDEX findings_by_tenant ON findings (workspace_id, tenant_id, id);

CREATE TABLE finding_exceptions (
    id            TEXT PRIMARY KEY,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id     TEXT NOT NULL,
    finding_id    TEXT NOT NULL REFERENCES findings (id),
    scope_key     TEXT NOT NULL,
    owner         TEXT NOT NULL,
    -- Another person than who asked.
    approver      TEXT CHECK (approver <> owner),
    reason        TEXT NOT NULL,
    expires_at    INTEGER NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('requested', 'approved', 'rejected', 'expired',
                      'revoked')),
    evidence_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
) STRICT;

CREATE INDEX finding_exceptions_by_finding ON finding_exceptions (finding_id);
CREATE INDEX finding_exceptions_by_scope ON finding_exceptions (tenant_id, scope_key);
