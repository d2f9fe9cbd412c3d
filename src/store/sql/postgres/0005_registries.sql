-- What each agent logs in to registries of images with: only the host that sealed a password opens it.
CREATE TABLE registry_logins (
    id           TEXT NOT NULL UNIQUE,
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    registry     TEXT COLLATE "C" NOT NULL,
    username     TEXT NOT NULL CHECK (username <> ''),
    -- The password.
    sealed       BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (host_id, workspace_id, registry)
);
