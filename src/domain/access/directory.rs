//! Looks up what the records say of somebody. Owns the records of access as one picture. Face:
//! `Directory`. Never decides: `decide` does, with what is found here.

use crate::base::Timestamp;
use crate::base::ids::{TenantId, TokenId, UserId, WorkspaceId};

use super::{
    BuiltInRole, Certificate, Elevation, Entitlement, Membership, OsUser, PlatformIdentity, Reach,
    Role, Standing, Tenant, Token, User, UserKind, Workspace,
};

/// Everything that decides who may do what, as it was at one moment. Bounded by
/// `ACCESS_RECORDS_MAX` of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// The workspaces, oldest first.
    pub workspaces: Vec<Workspace>,
    /// The tenants of all workspaces, oldest first.
    pub tenants: Vec<Tenant>,
    /// The users, oldest first.
    pub users: Vec<User>,
    /// Who is a member of what.
    pub memberships: Vec<Membership>,
    /// Which tenants members reach; one for each membership.
    pub entitlements: Vec<Entitlement>,
    /// The workspaces' own roles.
    pub roles: Vec<Role>,
    /// The tokens, oldest first.
    pub tokens: Vec<Token>,
    /// The client certificates, oldest first.
    pub certificates: Vec<Certificate>,
    /// The times that the glass was broken, oldest first.
    pub elevations: Vec<Elevation>,
}

impl Directory {
    /// The workspace with this name or id.
    pub fn workspace(&self, text: &str) -> Option<&Workspace> {
        let id = text.parse::<WorkspaceId>().ok();
        self.workspaces.iter().find(|it| it.name == text || Some(it.id) == id)
    }

    /// The workspace that records what lies above workspaces.
    pub fn platform(&self) -> Option<WorkspaceId> {
        self.workspaces.iter().find(|it| it.is_platform).map(|it| it.id)
    }

    /// The tenant of a workspace with this name or id. A name that several bear is nobody's.
    pub fn tenant(&self, workspace: WorkspaceId, text: &str) -> Option<&Tenant> {
        let id = text.parse::<TenantId>().ok();
        let mut own = self.tenants.iter().filter(|it| it.workspace_id == workspace);
        if id.is_some() {
            return own.find(|it| Some(it.id) == id);
        }
        let mut named = own.filter(|it| it.name == text);
        let found = named.next();
        found.filter(|_| named.next().is_none())
    }

    /// A user who may come in.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.iter().find(|it| it.id == id && it.disabled_at.is_none())
    }

    /// Who connects as this user of a host, below or above workspaces.
    pub fn user_of_host(&self, kind: UserKind, os_user: OsUser) -> Option<&User> {
        self.users.iter().find(|it| it.kind == kind && it.os_user == Some(os_user))
    }

    /// A token, whatever became of it.
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.tokens.iter().find(|it| it.id == id)
    }

    /// What a user is in a workspace; none when they are no member.
    pub fn standing(&self, user: UserId, workspace: WorkspaceId) -> Option<Standing> {
        let is_theirs = |it: &&Membership| (it.user_id, it.workspace_id) == (user, workspace);
        let membership = self.memberships.iter().find(is_theirs)?;
        let capabilities = self.role(workspace, membership)?;
        let is_theirs = |it: &&Entitlement| (it.user_id, it.workspace_id) == (user, workspace);
        let entitled = self.entitlements.iter().find(is_theirs).map(|it| it.reach.clone());
        // A member without a word about tenants reaches none.
        Some(Standing { capabilities, reach: entitled.unwrap_or(Reach::Some([].into())) })
    }

    fn role(&self, workspace: WorkspaceId, of: &Membership) -> Option<super::CapabilitySet> {
        let own: Vec<Role> =
            self.roles.iter().filter(|it| it.workspace_id == workspace).cloned().collect();
        Role::capabilities_of(of.role, &own)
    }

    /// The owners of a workspace who reach everything and may come in: they let others in.
    pub fn owners(&self, workspace: WorkspaceId) -> impl Iterator<Item = &User> {
        let is_owner = move |user: &&User| {
            let owns = |it: &Membership| {
                (it.user_id, it.workspace_id) == (user.id, workspace)
                    && it.role.as_str() == BuiltInRole::Owner.key()
            };
            user.disabled_at.is_none()
                && self.memberships.iter().any(owns)
                && self.standing(user.id, workspace).is_some_and(|it| it.reach == Reach::All)
        };
        self.users.iter().filter(is_owner)
    }

    /// The workspaces that a user is a member of, oldest first.
    pub fn workspaces_of(&self, user: UserId) -> impl Iterator<Item = &Workspace> {
        let is_member = move |workspace: &&Workspace| {
            let joined = |it: &Membership| (it.user_id, it.workspace_id) == (user, workspace.id);
            self.memberships.iter().any(joined)
        };
        self.workspaces.iter().filter(is_member)
    }

    /// Who a platform user is now.
    pub fn platform_identity(&self, user: &User, now: Timestamp) -> PlatformIdentity {
        let holds = |it: &Elevation| it.user_id == user.id && it.holds(now);
        PlatformIdentity {
            user_id: user.id,
            is_break_glass: user.is_break_glass,
            is_elevated: self.elevations.iter().any(holds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{BuiltInRole, Capability, CapabilitySet, Stage, TenantStatus};

    const HOME: WorkspaceId = WorkspaceId::from_u128(1);
    const SAM: UserId = UserId::from_u128(2);

    fn directory(role: &str, reach: Option<Reach>) -> Directory {
        let role = role.parse().unwrap();
        Directory {
            memberships: vec![Membership { workspace_id: HOME, user_id: SAM, role }],
            entitlements: reach
                .map(|reach| Entitlement { workspace_id: HOME, user_id: SAM, reach })
                .into_iter()
                .collect(),
            roles: vec![Role {
                workspace_id: HOME,
                name: "reader".parse().unwrap(),
                capabilities: CapabilitySet::of(&[Capability::RunsView]),
            }],
            ..Directory::default()
        }
    }

    #[test]
    fn a_standing_is_the_role_and_the_tenants() {
        let found = directory("operator", Some(Reach::All)).standing(SAM, HOME).unwrap();
        assert_eq!(found.capabilities, BuiltInRole::Operator.capabilities());
        assert_eq!(found.reach, Reach::All);
        let found = directory("reader", None).standing(SAM, HOME).unwrap();
        assert_eq!(found.capabilities, CapabilitySet::of(&[Capability::RunsView]));
        assert_eq!(found.reach, Reach::Some([].into()), "no word about tenants reaches none");
        assert_eq!(directory("dancer", None).standing(SAM, HOME), None, "no such role");
        assert_eq!(directory("owner", None).standing(SAM, WorkspaceId::from_u128(9)), None);
    }

    #[test]
    fn a_tenant_is_found_in_its_workspace_only_and_by_a_name_of_its_own() {
        let tenant = |id, workspace_id, name: &str| Tenant {
            id: TenantId::from_u128(id),
            workspace_id,
            external_id: None,
            name: name.to_owned(),
            status: TenantStatus::Active,
            stage: Stage::Production,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let abroad = WorkspaceId::from_u128(9);
        let tenants = vec![
            tenant(1, HOME, "acme"),
            tenant(2, abroad, "globex"),
            tenant(3, HOME, "twin"),
            tenant(4, HOME, "twin"),
        ];
        let directory = Directory { tenants, ..Directory::default() };
        let find = |workspace, text: &str| directory.tenant(workspace, text).map(|it| it.id);
        assert_eq!(find(HOME, "acme"), Some(TenantId::from_u128(1)));
        assert_eq!(find(HOME, "globex"), None);
        assert_eq!(find(HOME, &TenantId::from_u128(2).to_string()), None);
        assert_eq!(find(HOME, "twin"), None);
        let fourth = TenantId::from_u128(4);
        assert_eq!(find(HOME, &fourth.to_string()), Some(fourth));
    }
}
