//! Decides whether somebody may do something: the order of authorization, in this one place. Owns
//! the order. Face: `decide`. Never tells a stranger that something exists: what is out of reach
//! is not found.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::Digest;
use crate::base::ids::{TenantId, TokenId, UserId, WorkspaceId};

use super::{BuiltInRole, Capability, CapabilitySet};

/// Which tenants of a workspace are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// All, those of tomorrow too, and what belongs to no tenant.
    All,
    /// These. What belongs to no tenant may speak of any of them, so it is out of reach.
    Some(BTreeSet<TenantId>),
}

impl Reach {
    /// Whether a record of this tenant, or of none, is reached.
    pub fn covers(&self, tenant: Option<TenantId>) -> bool {
        match self {
            Self::All => true,
            Self::Some(tenants) => tenant.is_some_and(|tenant| tenants.contains(&tenant)),
        }
    }

    /// What both reach.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, reach) | (reach, Self::All) => reach.clone(),
            (Self::Some(one), Self::Some(other)) => {
                Self::Some(one.intersection(other).copied().collect())
            }
        }
    }
}

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The kernel says which user of this host it is.
    PeerCredentials {
        /// The user's number.
        uid: u32,
    },
    /// A token.
    Token(TokenId),
    /// A client certificate with this fingerprint.
    Certificate(Digest),
}

/// A platform user who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformIdentity {
    /// Who.
    pub user_id: UserId,
    /// Holds nothing unless elevated.
    pub is_break_glass: bool,
    /// The glass is broken, and its time is not over.
    pub is_elevated: bool,
}

/// The most that a token allows, whoever's it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The workspace that it is good for; none for a platform user's.
    pub workspace_id: Option<WorkspaceId>,
    /// The most it allows.
    pub capabilities: CapabilitySet,
    /// The most it reaches.
    pub reach: Reach,
}

/// Somebody who has proved who they are. A user of the host may be a member and a platform user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: Option<String>,
    /// Who they are in workspaces.
    pub member: Option<UserId>,
    /// Who they are above workspaces.
    pub platform: Option<PlatformIdentity>,
    /// How they proved it.
    pub via: Via,
    /// What bounds them besides their roles.
    pub ceiling: Option<Ceiling>,
}

impl Principal {
    /// Whether they are a platform user now: one for emergencies only while the glass is broken.
    pub fn is_above(&self) -> bool {
        self.platform.is_some_and(|it| !it.is_break_glass || it.is_elevated)
    }
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it tells nobody anything.
    Open,
    /// Somebody who has proved who they are: it tells them of themselves.
    Known,
    /// A member who holds this, in the workspace that is asked for.
    Member(Capability),
    /// The same for what concerns every tenant: a member who reaches all of them.
    Whole(Capability),
    /// A platform user who holds this.
    Platform(Capability),
}

/// Where something is asked for. What does not exist is as absent as what nobody may know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The tenant, when one is named; it belongs to the workspace.
    pub tenant_id: Option<TenantId>,
}

/// What the records say of a member in the workspace that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What their role allows.
    pub capabilities: CapabilitySet,
    /// Which tenants they reach.
    pub reach: Reach,
}

/// What is granted: every record that a request touches lies within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The tenants.
    pub reach: Reach,
    /// Everything that is allowed there, so that an answer can leave out what is not.
    pub capabilities: CapabilitySet,
    /// Who it is granted to, in this workspace or above it.
    pub user_id: UserId,
    /// It is granted to a platform user.
    pub is_platform: bool,
}

impl Grant {
    /// Whether a record lies within it.
    pub fn sees(&self, workspace: WorkspaceId, tenant: Option<TenantId>) -> bool {
        self.workspace_id == workspace && self.reach.covers(tenant)
    }
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// They are no member, or do not reach the tenant: for them it is not there.
    #[error("not found")]
    NotFound,
    /// They may know of it, but not do this.
    #[error("{0} is not among what is allowed")]
    Forbidden(Capability),
}

/// Decides: (1) membership, else not found; (2) entitlement to the tenant, else not found; (3) the
/// capability, else forbidden. Platform users skip the first two on platform routes only; an
/// elevated one is the owner of every workspace until the time is over. `platform` is the workspace
/// that records what lies above workspaces.
///
/// # Errors
/// `Denied` says how much the refusal may tell.
pub fn decide(
    principal: &Principal,
    need: Need,
    asked: Asked,
    standing: Option<&Standing>,
    platform: WorkspaceId,
) -> Result<Option<Grant>, Denied> {
    match need {
        Need::Open | Need::Known => Ok(None),
        Need::Member(capability) => {
            member(principal, (capability, false), asked, standing, platform).map(Some)
        }
        Need::Whole(capability) => {
            member(principal, (capability, true), asked, standing, platform).map(Some)
        }
        Need::Platform(capability) => above(principal, capability, platform).map(Some),
    }
}

fn member(
    principal: &Principal,
    (capability, is_whole): (Capability, bool),
    asked: Asked,
    standing: Option<&Standing>,
    platform: WorkspaceId,
) -> Result<Grant, Denied> {
    let elevated = principal.platform.filter(|it| it.is_elevated);
    let (user_id, standing, is_platform) = match (principal.member, standing, elevated) {
        (Some(user_id), Some(standing), _) => (user_id, standing.clone(), false),
        // What happens above workspaces is seen by its own routes.
        (.., Some(it)) if asked.workspace_id != platform => (it.user_id, owner(), true),
        _ => return Err(Denied::NotFound),
    };
    let ceiling = principal.ceiling.as_ref();
    if ceiling.is_some_and(|it| it.workspace_id.is_some_and(|id| id != asked.workspace_id)) {
        return Err(Denied::NotFound);
    }
    let reach = ceiling.map_or(standing.reach.clone(), |it| it.reach.and(&standing.reach));
    if asked.tenant_id.is_some_and(|tenant| !reach.covers(Some(tenant))) {
        return Err(Denied::NotFound);
    }
    // Whoever reaches no tenant at all finds nothing.
    if (is_whole && reach != Reach::All) || reach == Reach::Some(BTreeSet::new()) {
        return Err(Denied::NotFound);
    }
    let capabilities = bounded(standing.capabilities, ceiling);
    if !capabilities.has(capability) {
        return Err(Denied::Forbidden(capability));
    }
    let workspace_id = asked.workspace_id;
    Ok(Grant { workspace_id, reach, capabilities, user_id, is_platform })
}

fn above(
    principal: &Principal,
    capability: Capability,
    platform: WorkspaceId,
) -> Result<Grant, Denied> {
    // A member is not told which routes there are above.
    let identity = principal.platform.ok_or(Denied::NotFound)?;
    let held: CapabilitySet = match identity.is_break_glass && !identity.is_elevated {
        // They may break the glass, and nothing else.
        true => CapabilitySet::of(&[Capability::PlatformBreakGlass]),
        false => Capability::ALL.iter().copied().filter(|it| it.is_platform()).collect(),
    };
    let capabilities = bounded(held, principal.ceiling.as_ref());
    if !capabilities.has(capability) {
        return Err(Denied::Forbidden(capability));
    }
    let user_id = identity.user_id;
    let reach = Reach::All;
    Ok(Grant { workspace_id: platform, reach, capabilities, user_id, is_platform: true })
}

fn owner() -> Standing {
    Standing { capabilities: BuiltInRole::Owner.capabilities(), reach: Reach::All }
}

fn bounded(held: CapabilitySet, ceiling: Option<&Ceiling>) -> CapabilitySet {
    ceiling.map_or(held, |it| held.and(it.capabilities))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: WorkspaceId = WorkspaceId::from_u128(1);
    const ABROAD: WorkspaceId = WorkspaceId::from_u128(2);
    const PLATFORM: WorkspaceId = WorkspaceId::from_u128(3);
    const OWN: TenantId = TenantId::from_u128(4);
    const FOREIGN: TenantId = TenantId::from_u128(5);

    fn principal() -> Principal {
        Principal {
            name: "sam".to_owned(),
            email: None,
            member: Some(UserId::from_u128(6)),
            platform: None,
            via: Via::PeerCredentials { uid: 1000 },
            ceiling: None,
        }
    }

    fn standing(role: BuiltInRole) -> Standing {
        let reach = Reach::Some([OWN].into());
        Standing { capabilities: role.capabilities(), reach }
    }

    fn ask(workspace_id: WorkspaceId, tenant_id: impl Into<Option<TenantId>>) -> Asked {
        Asked { workspace_id, tenant_id: tenant_id.into() }
    }

    fn check(
        principal: &Principal,
        need: Need,
        asked: Asked,
        standing: Option<&Standing>,
        expect: Result<(), Denied>,
    ) {
        let decided = decide(principal, need, asked, standing, PLATFORM).map(|_| ());
        assert_eq!(decided, expect, "{need:?} {asked:?} {standing:?}");
    }

    #[test]
    fn membership_comes_before_entitlement_and_that_before_the_capability() {
        let viewer = standing(BuiltInRole::Viewer);
        let (look, act) =
            (Need::Member(Capability::RunsView), Need::Member(Capability::RunsControl));
        let forbidden = Err(Denied::Forbidden(Capability::RunsControl));
        let check = |need, asked, standing, expect| {
            check(&principal(), need, asked, standing, expect);
        };
        check(look, ask(HOME, OWN), Some(&viewer), Ok(()));
        check(look, ask(HOME, None), Some(&viewer), Ok(()));
        check(look, ask(HOME, FOREIGN), Some(&viewer), Err(Denied::NotFound));
        check(look, ask(ABROAD, OWN), None, Err(Denied::NotFound));
        check(act, ask(HOME, OWN), Some(&viewer), forbidden);
        // Whoever does not reach the tenant does not hear what they would not be allowed there.
        check(act, ask(HOME, FOREIGN), Some(&viewer), Err(Denied::NotFound));
        check(act, ask(ABROAD, FOREIGN), None, Err(Denied::NotFound));
        let above = Need::Platform(Capability::PlatformUsers);
        let owner = standing(BuiltInRole::Owner);
        check(above, ask(HOME, OWN), Some(&owner), Err(Denied::NotFound));
        check(Need::Open, ask(ABROAD, FOREIGN), None, Ok(()));
        // What concerns every tenant is there for those who reach every tenant.
        let whole = Need::Whole(Capability::RunsView);
        check(whole, ask(HOME, OWN), Some(&owner), Err(Denied::NotFound));
        let wide = Standing { reach: Reach::All, ..standing(BuiltInRole::Viewer) };
        check(whole, ask(HOME, OWN), Some(&wide), Ok(()));
        let nowhere = Standing { reach: Reach::Some([].into()), ..standing(BuiltInRole::Owner) };
        check(look, ask(HOME, None), Some(&nowhere), Err(Denied::NotFound));
        let whole = Need::Whole(Capability::AccessManage);
        let forbidden = Err(Denied::Forbidden(Capability::AccessManage));
        check(whole, ask(HOME, None), Some(&wide), forbidden);
    }

    #[test]
    fn a_token_is_a_ceiling_over_the_roles_of_its_user() {
        let operator = standing(BuiltInRole::Operator);
        let mut bounded = principal();
        let mut with = |workspace_id, capability, reach: Reach| {
            let capabilities = CapabilitySet::of(&[capability]);
            bounded.ceiling = Some(Ceiling { workspace_id, capabilities, reach });
            bounded.clone()
        };
        let look = Need::Member(Capability::RunsView);
        let forbidden = Err(Denied::Forbidden(Capability::RunsView));
        let home = ask(HOME, OWN);
        let token = with(Some(HOME), Capability::RunsView, Reach::All);
        check(&token, look, home, Some(&operator), Ok(()));
        check(&token, look, ask(HOME, FOREIGN), Some(&operator), Err(Denied::NotFound));
        let token = with(Some(HOME), Capability::AuditView, Reach::All);
        check(&token, look, home, Some(&operator), forbidden);
        // More than its user holds is worth nothing.
        let token = with(Some(HOME), Capability::AccessManage, Reach::All);
        let manage = Need::Member(Capability::AccessManage);
        let expect = Err(Denied::Forbidden(Capability::AccessManage));
        check(&token, manage, home, Some(&operator), expect);
        let token = with(Some(ABROAD), Capability::RunsView, Reach::All);
        check(&token, look, home, Some(&operator), Err(Denied::NotFound));
        let token = with(Some(HOME), Capability::RunsView, Reach::Some([FOREIGN].into()));
        check(&token, look, home, Some(&operator), Err(Denied::NotFound));
    }

    #[test]
    fn platform_users_are_nobody_in_workspaces_until_the_glass_is_broken() {
        let with = |is_break_glass, is_elevated| {
            let user_id = UserId::from_u128(7);
            let platform = Some(PlatformIdentity { user_id, is_break_glass, is_elevated });
            Principal { member: None, platform, ..principal() }
        };
        let look = Need::Member(Capability::RunsView);
        let users = Need::Platform(Capability::PlatformUsers);
        let break_glass = Need::Platform(Capability::PlatformBreakGlass);
        let home = ask(HOME, OWN);
        check(&with(false, false), look, home, None, Err(Denied::NotFound));
        check(&with(false, false), users, home, None, Ok(()));
        check(&with(false, true), look, home, None, Ok(()));
        check(&with(false, true), look, ask(PLATFORM, None), None, Err(Denied::NotFound));
        let forbidden = Err(Denied::Forbidden(Capability::PlatformUsers));
        check(&with(true, false), users, home, None, forbidden);
        check(&with(true, false), break_glass, home, None, Ok(()));
        check(&with(true, true), users, home, None, Ok(()));
    }

    #[test]
    fn what_belongs_to_no_tenant_is_for_those_who_reach_all() {
        let grant = |reach| Grant {
            workspace_id: HOME,
            reach,
            capabilities: CapabilitySet::NONE,
            user_id: UserId::from_u128(6),
            is_platform: false,
        };
        assert!(grant(Reach::All).sees(HOME, None));
        assert!(!grant(Reach::All).sees(ABROAD, None));
        let some = grant(Reach::Some([OWN].into()));
        assert!(some.sees(HOME, Some(OWN)));
        assert!(!some.sees(HOME, Some(FOREIGN)) && !some.sees(HOME, None));
    }
}
