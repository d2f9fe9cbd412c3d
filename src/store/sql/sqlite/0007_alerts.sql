CREATE TABLE alert_receivers (
    id           TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    -- Scheme and host: what everybody may know of the address.
    target       TEXT NOT NULL,
    header_names TEXT NOT NULL,
    is_signed    INTEGER NOT NULL CHECK (is_signed IN (0, 1)),
    timeout      INTEGER NOT NULL CHECK (timeout > 0),
    -- Address, headers and signing key.
    sealed       BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (workspace_id, name)
) STRICT;

CREATE TABLE alert_rules (
    id           TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    event        TEXT NOT NULL,
    run_type     TEXT NOT NULL,
    tenant_id    TEXT,
    severity_min TEXT NOT NULL,
    is_enabled   INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (workspace_id, name),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
) STRICT;

CREATE TABLE alert_rule_receivers (
    rule_id     TEXT NOT NULL REFERENCES alert_rules (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL CHECK (position >= 0),
    receiver_id TEXT NOT NULL REFERENCES alert_receivers (id),
    PRIMARY KEY (rule_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_rule_receivers_by_receiver ON alert_rule_receivers (receiver_id);

-- The outbox: written with what caused it, sent afterwards.
CREATE TABLE alert_deliveries (
    id           TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    receiver_id  TEXT NOT NULL REFERENCES alert_receivers (id) ON DELETE CASCADE,
    event_key    TEXT NOT NULL,
    event        TEXT NOT NULL,
    run_id       TEXT,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'given_up')),
    due_at       INTEGER,
    ended_at     INTEGER,
    attempts     INTEGER NOT NULL CHECK (attempts >= 0),
    last         TEXT,
    created_at   INTEGER NOT NULL,
    CHECK ((status = 'pending') = (due_at IS NOT NULL)),
    CHECK ((status = 'pending') = (ended_at IS NULL))
) STRICT;

CREATE INDEX alert_deliveries_newest ON alert_deliveries (workspace_id, created_at DESC, id DESC);
CREATE INDEX alert_deliveries_due ON alert_deliveries (due_at, id) WHERE status = 'pending';
CREATE INDEX alert_deliveries_ended ON alert_deliveries (ended_at) WHERE status <> 'pending';
CREATE INDEX alert_deliveries_by_receiver ON alert_deliveries (receiver_id);
