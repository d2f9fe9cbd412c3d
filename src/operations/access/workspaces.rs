//! Makes workspaces, renames them and gives them a first owner. Owns what a new one begins with. Face: the
//! command of `Access`. Never makes an owner beside those whom a workspace has.

use super::Access;
use super::commands::{AccessError, checked, unknown};
use crate::base::ids::{TenantId, WorkspaceId};
use crate::domain::access::{
    BuiltInRole, Membership, Reach, Stage, Tenant, TenantStatus, Workspace,
};
use crate::domain::audit::{AuditEvents, EventType};
use crate::operations::projects::Asker;
use crate::store::{AccessWrite, Write};

/// The tenant that a new workspace begins with.
const FIRST_TENANT: &str = "default";

/// What a workspace is to be; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceSpec {
    /// What it is called from now on.
    pub name: Option<String>,
    /// The member who owns it, by name or id, as long as nobody does.
    pub owner: Option<String>,
}

impl Access {
    /// Makes a workspace with a tenant, renames one, or gives one its first owner.
    ///
    /// # Errors
    /// When it is the platform's, the name is none, the user does not exist or somebody else owns it
    /// already, or the store does not take it.
    pub async fn put_workspace(
        &self,
        name: &str,
        spec: WorkspaceSpec,
        asker: &Asker,
    ) -> Result<Workspace, AccessError> {
        let known = self.known().await?;
        let old = known.workspace(name);
        if let Some(old) = old.filter(|it| it.is_platform) {
            return Err(AccessError::PlatformWorkspace(old.name.clone()));
        }
        let is_id = |text: &str| text.parse::<WorkspaceId>().is_ok();
        if old.is_none() && is_id(name) {
            return Err(unknown("workspace", name));
        }
        let called = match (&spec.name, old) {
            (Some(new), _) if is_id(new) => return Err(AccessError::IdAsName),
            (Some(new), _) => checked(new)?,
            (None, Some(old)) => &old.name,
            (None, None) => checked(name)?,
        };
        let now = self.ambient.now();
        let (clock, entropy) = (&*self.ambient.clock, &*self.ambient.entropy);
        let workspace = Workspace {
            id: old.map_or_else(|| WorkspaceId::generate(clock, entropy), |old| old.id),
            name: called.to_owned(),
            is_platform: false,
            created_at: old.map_or(now, |old| old.created_at),
        };
        let owner = spec.owner.map(|text| self.user(&known, &text)).transpose()?;
        let mut owners = known.owners(workspace.id).peekable();
        let is_owned = owners.peek().is_some();
        // Asked again, it is so already.
        let owner = owner.filter(|owner| !owners.any(|it| it.id == owner.id));
        if owner.is_some() && is_owned {
            return Err(AccessError::Owned(workspace.name));
        }
        let mut writes = vec![Write::Access(AccessWrite::PutWorkspace(workspace.clone()))];
        if old.is_none() {
            let tenant = Tenant {
                id: TenantId::generate(clock, entropy),
                workspace_id: workspace.id,
                external_id: None,
                name: FIRST_TENANT.to_owned(),
                status: TenantStatus::Active,
                stage: Stage::Production,
                created_at: now,
            };
            writes.push(Write::Access(AccessWrite::PutTenant(tenant)));
        }
        let summary = match old {
            None => format!("{} made workspace {called}", asker.name),
            Some(old) if old.name != called => {
                format!("{} renamed workspace {} to {called}", asker.name, old.name)
            }
            Some(_) => format!("{} changed workspace {called}", asker.name),
        };
        let target = ("workspace", workspace.id.to_string(), called.to_owned());
        let above = (self.within.workspace(), target);
        let event = self.event(EventType::WorkspacePut, above, asker, (summary, asker.context()));
        let mut events = AuditEvents::from(event);
        if let Some(owner) = owner {
            let role = BuiltInRole::Owner.key().parse().map_err(AccessError::Role)?;
            let membership = Membership { workspace_id: workspace.id, user_id: owner.id, role };
            let write = AccessWrite::PutMember { membership, reach: Reach::All };
            writes.push(Write::Access(write));
            // Those who are in the workspace see who let its owner in.
            let summary = format!("{} made {} {role} of all tenants", asker.name, owner.name);
            let target = ("user", owner.id.to_string(), owner.name.clone());
            let told = (summary, asker.context());
            let inside = (workspace.id, target);
            events = events.and(self.event(EventType::MemberPut, inside, asker, told));
        }
        self.commit(writes, events).await?;
        Ok(workspace)
    }
}
