-- What lies in the images of each host: their packages and what is wrong with them, as the last scan found it.
CREATE TABLE image_scans (
    host_id         TEXT NOT NULL REFERENCES hosts (id),
    workspace_id    TEXT NOT NULL REFERENCES workspaces (id),
    -- The engine's id of the image.
    image_id        TEXT COLLATE "C" NOT NULL CHECK (image_id <> ''),
    scanned_at      BIGINT NOT NULL,
    matched_at      BIGINT NOT NULL,
    -- In short, as JSON.
    summary         TEXT NOT NULL,
    -- Compressed JSON.
    inventory       BYTEA NOT NULL,
    vulnerabilities BYTEA NOT NULL,
    PRIMARY KEY (host_id, workspace_id, image_id)
);
