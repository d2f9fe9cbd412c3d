-- What stands of enforcement: containers that were dealt with and what undoes it, the switch, what is
-- being worked on. Few rows, each a record of its own as JSON.
CREATE TABLE enforcement (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    kind         TEXT NOT NULL CHECK (kind IN ('treated', 'switch', 'maintenance')),
    -- The container's id, or the place.
    key          TEXT NOT NULL CHECK (key <> ''),
    body         TEXT NOT NULL,
    PRIMARY KEY (workspace_id, kind, key)
) STRICT;
