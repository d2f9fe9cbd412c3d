-- What the agent logs in to registries of images with.
CREATE TABLE registry_logins (
    id           TEXT NOT NULL UNIQUE,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    registry     TEXT NOT NULL,
    username     TEXT NOT NULL CHECK (username <> ''),
    -- The password.
    sealed       BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, registry)
) STRICT;
