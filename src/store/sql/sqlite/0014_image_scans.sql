-- What lies in images: their packages and what is wrong with them, as the last scan found it.
CREATE TABLE image_scans (
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    -- The engine's id of the image.
    image_id        TEXT NOT NULL CHECK (image_id <> ''),
    scanned_at      INTEGER NOT NULL,
    matched_at      INTEGER NOT NULL,
    -- In short, as JSON.
    summary         TEXT NOT NULL,
    -- Compressed JSON.
    inventory       BLOB NOT NULL,
    vulnerabilities BLOB NOT NULL,
    PRIMARY KEY (workspace_id, image_id)
) STRICT;
