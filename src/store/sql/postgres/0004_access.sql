-- Who may do what: members with roles and the tenants they reach, tokens, certificates, broken glass.
-- A user's number counts on one host only.
ALTER TABLE users ADD COLUMN os_host_id TEXT;
ALTER TABLE users ADD COLUMN os_uid BIGINT CHECK (os_uid >= 0)
    CHECK ((os_uid IS NULL) = (os_host_id IS NULL));
ALTER TABLE users ADD COLUMN disabled_at BIGINT;
CREATE UNIQUE INDEX users_by_os_user ON users (kind, os_host_id, os_uid);

-- A built-in role's key, or the name of one of the workspace's own.
ALTER TABLE memberships DROP CONSTRAINT memberships_role_check;
-- All tenants, those of tomorrow too; else those of `entitlements`.
ALTER TABLE memberships ADD COLUMN reaches_all BIGINT NOT NULL DEFAULT 1
    CHECK (reaches_all IN (0, 1));

CREATE TABLE entitlements (
    workspace_id TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    tenant_id    TEXT NOT NULL,
    PRIMARY KEY (workspace_id, user_id, tenant_id),
    FOREIGN KEY (workspace_id, user_id) REFERENCES memberships (workspace_id, user_id)
        ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES tenants (id, workspace_id)
);

CREATE TABLE roles (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    PRIMARY KEY (workspace_id, name)
);

CREATE TABLE access_tokens (
    id           TEXT PRIMARY KEY,
    label        TEXT NOT NULL,
    user_id      TEXT NOT NULL REFERENCES users (id),
    workspace_id TEXT REFERENCES workspaces (id),
    capabilities TEXT NOT NULL,
    reach        TEXT NOT NULL,
    -- Argon2id of the secret part; the token itself is not kept.
    hash         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    revoked_at   BIGINT
);

CREATE TABLE access_certificates (
    id          TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    user_id     TEXT NOT NULL REFERENCES users (id),
    created_at  BIGINT NOT NULL
);

CREATE TABLE elevations (
    id          TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users (id),
    reason_code TEXT NOT NULL,
    reason_text TEXT NOT NULL CHECK (reason_text <> ''),
    started_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    ended_at    BIGINT
);
