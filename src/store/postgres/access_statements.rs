//! Lists the statements about who may do what. Owns their SQL in this dialect. Face:
//! `access_statements!`, which puts them before the others. Never holds a value: values are bound.

/// Declares the statements about access, and those that are given.
macro_rules! access_statements {
    ($($others:tt)+) => {
        audit_statements! {
            /// Whether another login of a host is to the registry.
            LoginTaken = "SELECT 1 FROM registry_logins
                WHERE host_id = $1 AND workspace_id = $2 AND registry = $3 AND id <> $4";
            /// Inserts or replaces a login, which this host alone can open.
            PutLogin = "INSERT INTO registry_logins (id, host_id, workspace_id, registry, username,
                    sealed, created_at, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (id) DO UPDATE SET username = excluded.username,
                    sealed = excluded.sealed, updated_at = excluded.updated_at";
            /// Forgets a login.
            DropLogin = "DELETE FROM registry_logins
                WHERE host_id = $1 AND workspace_id = $2 AND id = $3 RETURNING id";
            /// The logins of a host in a workspace.
            Logins = "SELECT id, workspace_id, registry, username, created_at, updated_at
                FROM registry_logins WHERE host_id = $1 AND workspace_id = $2 ORDER BY registry";
            /// One login of a host.
            LoginById = "SELECT id, workspace_id, registry, username, created_at, updated_at, sealed
                FROM registry_logins WHERE host_id = $1 AND id = $2";
            /// Inserts or replaces a record of enforcement.
            PutEnforcement = "INSERT INTO enforcement (host_id, workspace_id, kind, key, body)
                VALUES ($1, $2, $3, $4, $5) ON CONFLICT (host_id, workspace_id, kind, key)
                DO UPDATE SET body = excluded.body";
            /// Forgets a record of enforcement.
            DropEnforcement = "DELETE FROM enforcement
                WHERE host_id = $1 AND workspace_id = $2 AND kind = $3 AND key = $4";
            /// What stands of enforcement on a host.
            Enforcement = "SELECT kind, body FROM enforcement
                WHERE host_id = $1 AND workspace_id = $2 ORDER BY kind COLLATE \"C\", key";
            /// Inserts or replaces the scan of an image.
            PutScan = "INSERT INTO image_scans (host_id, workspace_id, image_id, scanned_at,
                    matched_at, summary, inventory, vulnerabilities)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (host_id, workspace_id, image_id) DO UPDATE SET
                    scanned_at = excluded.scanned_at, matched_at = excluded.matched_at,
                    summary = excluded.summary, inventory = excluded.inventory,
                    vulnerabilities = excluded.vulnerabilities";
            /// Forgets the scan of an image.
            DropScan = "DELETE FROM image_scans
                WHERE host_id = $1 AND workspace_id = $2 AND image_id = $3";
            /// The scans of a host in a workspace, in short.
            Scans = "SELECT workspace_id, image_id, scanned_at, matched_at, summary
                FROM image_scans WHERE host_id = $1 AND workspace_id = $2
                ORDER BY image_id LIMIT 2000";
            /// The scan of one image of a host.
            ScanOfImage = "SELECT workspace_id, image_id, scanned_at, matched_at, summary, inventory,
                    vulnerabilities
                FROM image_scans WHERE host_id = $1 AND workspace_id = $2 AND image_id = $3";
            /// Everything that decides who may do what, each record as its kind and a list of columns.
            Access = access!();
            /// How many records of each kind there are.
            CountAccess = access_counts!();
            /// Whether another workspace has the name.
            WorkspaceTaken = "SELECT 1 FROM workspaces WHERE name = $1 AND id <> $2";
            /// Inserts or renames a workspace.
            PutWorkspace = "INSERT INTO workspaces (id, name, is_platform, created_at)
                VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET name = excluded.name";
            /// Holds back others that look whether a workspace keeps an owner.
            LockWorkspace = "SELECT id FROM workspaces WHERE id = $1 FOR NO KEY UPDATE";
            /// Whether another tenant of the workspace has the name.
            TenantTaken = "SELECT 1 FROM tenants WHERE workspace_id = $1 AND name = $2 AND id <> $3";
            /// Inserts or replaces a tenant, which stays in its workspace.
            PutTenant = put_tenant!();
            /// Whether another user of the kind has the name.
            UserTaken = "SELECT 1 FROM users WHERE kind = $1 AND name = $2 AND id <> $3";
            /// Whether another user of the kind is that user of a host.
            OsUserTaken = "SELECT 1 FROM users WHERE kind = $1 AND os_host_id = $2 AND os_uid = $3
                AND id <> $4";
            /// Inserts or replaces a user.
            PutUser = put_user!();
            /// The workspaces that a user owns.
            OwnedBy = "SELECT workspace_id FROM memberships WHERE user_id = $1 AND role = 'owner'";
            /// Owners of a workspace who reach everything and may come in.
            Owners = "SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
                WHERE m.workspace_id = $1 AND m.role = 'owner' AND m.reaches_all = 1
                    AND u.disabled_at IS NULL LIMIT 1";
            /// Makes a user a member, or changes what they are.
            PutMember = "INSERT INTO memberships (workspace_id, user_id, role, reaches_all)
                VALUES ($1, $2, $3, $4) ON CONFLICT (workspace_id, user_id) DO UPDATE SET
                    role = excluded.role, reaches_all = excluded.reaches_all";
            /// They are none any more.
            DropMember = "DELETE FROM memberships WHERE workspace_id = $1 AND user_id = $2
                RETURNING user_id";
            /// Forgets which tenants a member reaches.
            DropEntitlements = "DELETE FROM entitlements WHERE workspace_id = $1 AND user_id = $2";
            /// A member reaches a tenant.
            InsertEntitlement = "INSERT INTO entitlements (workspace_id, user_id, tenant_id)
                VALUES ($1, $2, $3)";
            /// Whether a workspace has a role of its own. It stays until the transaction ends.
            RoleIn = "SELECT name FROM roles WHERE workspace_id = $1 AND name = $2 FOR KEY SHARE";
            /// Whether a member has a role.
            RoleUsed = "SELECT 1 FROM memberships WHERE workspace_id = $1 AND role = $2 LIMIT 1";
            /// Inserts or replaces a role.
            PutRole = "INSERT INTO roles (workspace_id, name, capabilities) VALUES ($1, $2, $3)
                ON CONFLICT (workspace_id, name) DO UPDATE SET capabilities = excluded.capabilities";
            /// Forgets one.
            DropRole = "DELETE FROM roles WHERE workspace_id = $1 AND name = $2 RETURNING name";
            /// Forgets tokens that were worth nothing long ago.
            ForgetTokens = "DELETE FROM access_tokens WHERE expires_at < $1 OR revoked_at < $1";
            /// Inserts a token.
            InsertToken = insert_token!();
            /// A token is worth nothing from then on.
            RevokeToken = "UPDATE access_tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
                RETURNING id";
            /// Whether a certificate is known.
            CertificateTaken = "SELECT 1 FROM access_certificates WHERE fingerprint = $1";
            /// Inserts a certificate.
            InsertCertificate = "INSERT INTO access_certificates (id, fingerprint, user_id, created_at)
                VALUES ($1, $2, $3, $4)";
            /// Forgets one.
            DropCertificate = "DELETE FROM access_certificates WHERE id = $1 RETURNING id";
            /// The glass is broken.
            InsertElevation = "INSERT INTO elevations (id, user_id, reason_code, reason_text, started_at,
                    expires_at, ended_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7)";
            /// Its time was over. Of several who look at once, one finds it.
            EndElapsed = "UPDATE elevations SET ended_at = expires_at WHERE id = $1
                AND ended_at IS NULL AND expires_at <= $2 RETURNING id";
            /// It is whole again.
            EndElevations = "UPDATE elevations SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL
                AND expires_at > $2 RETURNING id";

            $($others)+
        }
    };
}

pub(super) use access_statements;
