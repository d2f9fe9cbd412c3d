-- Anonymous volumes that a removal is about to remove, or was: once their container is gone, nothing
-- on the engine tells whose they were.
CREATE TABLE doomed_volumes (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    project      TEXT NOT NULL,
    name         TEXT NOT NULL,
    PRIMARY KEY (workspace_id, project, name)
) STRICT, WITHOUT ROWID;
