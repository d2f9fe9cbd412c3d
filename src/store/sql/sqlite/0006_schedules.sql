-- A firing and the run that it asks for are one transaction: `done_until` moves with the insertion.
CREATE TABLE schedules (
    id             TEXT PRIMARY KEY,
    workspace_id   TEXT NOT NULL REFERENCES workspaces (id),
    tenant_id      TEXT,
    name           TEXT NOT NULL,
    expression     TEXT NOT NULL,
    time_zone      TEXT NOT NULL,
    task           TEXT NOT NULL,
    jitter_max     INTEGER NOT NULL CHECK (jitter_max >= 0),
    missed         TEXT NOT NULL CHECK (missed IN ('skip', 'run_once')),
    missed_age_max INTEGER NOT NULL CHECK (missed_age_max >= 0),
    overlap        TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel_running')),
    is_paused      INTEGER NOT NULL CHECK (is_paused IN (0, 1)),
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    done_until     INTEGER NOT NULL,
    held           INTEGER,
    fired_at       INTEGER,
    run_id         TEXT,
    UNIQUE (workspace_id, name),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
) STRICT;
