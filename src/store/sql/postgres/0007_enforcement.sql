-- What stands of enforcement on each host: containers that were dealt with and what undoes it, the
-- switch, what is being worked on. Few rows, each a record of its own as JSON.
CREATE TABLE enforcement (
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    kind         TEXT NOT NULL CHECK (kind IN ('treated', 'switch', 'maintenance')),
    -- The container's id, or the place.
    key          TEXT COLLATE "C" NOT NULL CHECK (key <> ''),
    body         TEXT NOT NULL,
    PRIMARY KEY (host_id, workspace_id, kind, key)
);
