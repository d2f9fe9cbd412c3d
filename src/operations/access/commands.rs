//! Changes who may do what. Owns the rules of giving: nobody gives more than they hold. Face: the
//! commands of `Access`, `AccessError`. Never changes a record without an event.

use super::Access;
use crate::base::ids::{EventId, TenantId, UserId, WorkspaceId};
use crate::base::{Name, NotAName};
use crate::domain::access::{
    BuiltInRole, Capability, CapabilitySet, Directory, Grant, Membership, OsUser, Reach, Role,
    Stage, Tenant, TenantStatus, User, UserKind,
};
use crate::domain::audit::{AuditEvent, AuditEvents, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::operations::projects::Asker;
use crate::store::{AccessWrite, StoreError, Write};

/// Longest name of a user or a tenant, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Why something asked about access was not done. Nothing is recorded then.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no such thing here.
    #[error("there is no {noun} {name}")]
    Unknown {
        /// The kind of thing.
        noun: &'static str,
        /// Its name or id.
        name: String,
    },
    /// Several users have the name.
    #[error("several users are called {0}")]
    Ambiguous(String),
    /// Whoever asks does not hold it, and cannot give it.
    #[error("you do not hold {0} yourself, and cannot give it")]
    Beyond(Capability),
    /// Whoever asks does not reach it, and cannot give it.
    #[error("you do not reach all of these tenants yourself, and cannot give them")]
    BeyondReach,
    /// Built-in roles stay as they are.
    #[error("{0} is a built-in role")]
    BuiltIn(Name),
    /// A name that cannot be one.
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters")]
    Name,
    /// The workspace of the platform stays as it is.
    #[error("the workspace {0} records what lies above workspaces, and stays as it is")]
    PlatformWorkspace(String),
    /// A workspace that would be taken for another one.
    #[error("a workspace is not called by an id: it could be taken for another one")]
    IdAsName,
    /// Whoever owns a workspace says who else does.
    #[error("the workspace {0} has an owner, who lets others in")]
    Owned(String),
    /// No key of a role.
    #[error(transparent)]
    Role(NotAName),
    /// A token lives too long, or not at all.
    #[error("a token lives for 1 minute to 1 year")]
    Life,
    /// Broken glass lasts too long, or not at all.
    #[error("the glass stays broken for 1 minute to 8 hours")]
    GlassLife,
    /// The glass is broken without a word.
    #[error("a reason is needed: a code (DATA_REPAIR, INCIDENT, SUPPORT, SECURITY) and a text")]
    NoReason,
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// What a member is to be; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberSpec {
    /// The role; a new member needs one.
    pub role: Option<Name>,
    /// The tenants they reach, by name or id: `Some(None)` for all. A new member reaches none.
    pub tenants: Option<Option<Vec<String>>>,
}

/// What a user is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// Below or above workspaces.
    pub kind: UserKind,
    /// Their address.
    pub email: Option<String>,
    /// Their number on this host, when they have one.
    pub os_uid: Option<u32>,
    /// They may not come in.
    pub is_disabled: bool,
    /// A platform user who holds nothing until the glass is broken. Stays as it is when none is said.
    pub is_break_glass: Option<bool>,
}

impl Access {
    /// What the records say now.
    pub(super) async fn known(&self) -> Result<std::sync::Arc<Directory>, AccessError> {
        // A decision about a change is not made by an old picture.
        self.forget();
        self.directory().await.map_err(AccessError::Store)
    }

    /// Makes a user, or changes one.
    ///
    /// # Errors
    /// When the name is none or belongs to several, or the store does not take it.
    pub async fn put_user(
        &self,
        name: &str,
        spec: UserSpec,
        asker: &Asker,
    ) -> Result<User, AccessError> {
        let name = checked(name)?;
        let known = self.known().await?;
        let mut same = known.users.iter().filter(|it| it.kind == spec.kind && it.name == name);
        let (old, other) = (same.next(), same.next());
        if other.is_some() {
            return Err(AccessError::Ambiguous(name.to_owned()));
        }
        let host_id = self.within.scope.host_id;
        let now = self.ambient.now();
        let user = User {
            id: match old {
                Some(old) => old.id,
                None => UserId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            },
            name: name.to_owned(),
            email: spec.email,
            kind: spec.kind,
            is_break_glass: spec.kind == UserKind::Platform
                && spec.is_break_glass.unwrap_or(old.is_some_and(|old| old.is_break_glass)),
            os_user: spec.os_uid.map(|uid| OsUser { host_id, uid }),
            disabled_at: match (spec.is_disabled, old.and_then(|old| old.disabled_at)) {
                (true, since) => Some(since.unwrap_or(now)),
                (false, _) => None,
            },
            created_at: old.map_or(now, |old| old.created_at),
        };
        let verb = match (old, spec.is_disabled) {
            (_, true) => "shut out",
            (None, _) => "made",
            (Some(_), _) => "changed",
        };
        let summary = format!("{} {verb} user {name}", asker.name);
        let target = ("user", user.id.to_string(), name.to_owned());
        let write = AccessWrite::PutUser(Box::new(user.clone()));
        self.record(write, EventType::UserPut, target, asker, summary).await?;
        Ok(user)
    }

    /// Makes a user a member, or changes their role and reach.
    ///
    /// # Errors
    /// When it names what does not exist or what the asker does not hold, or the store does not
    /// take it.
    pub async fn put_member(
        &self,
        user: &str,
        spec: MemberSpec,
        (asker, grant): (&Asker, &Grant),
    ) -> Result<Membership, AccessError> {
        let known = self.known().await?;
        let user = self.user(&known, user)?;
        let workspace_id = self.within.workspace();
        let is_theirs = |id: UserId, workspace| (id, workspace) == (user.id, workspace_id);
        let old = known.memberships.iter().find(|it| is_theirs(it.user_id, it.workspace_id));
        let role = spec.role.or(old.map(|old| old.role));
        let role = role.ok_or_else(|| unknown("member", &user.name))?;
        self.check_given(&known, role, grant)?;
        let reach = match spec.tenants {
            Some(None) => Reach::All,
            Some(Some(names)) => Reach::Some(self.tenants(&known, &names)?.collect()),
            None => {
                known.standing(user.id, workspace_id).map_or(Reach::Some([].into()), |it| it.reach)
            }
        };
        if reach.and(&grant.reach) != reach {
            return Err(AccessError::BeyondReach);
        }
        let of = match &reach {
            Reach::All => "all tenants".to_owned(),
            Reach::Some(tenants) => format!("{} tenants", tenants.len()),
        };
        let summary = format!("{} made {} {role} of {of}", asker.name, user.name);
        let target = ("user", user.id.to_string(), user.name.clone());
        let membership = Membership { workspace_id, user_id: user.id, role };
        let write = AccessWrite::PutMember { membership: membership.clone(), reach };
        self.record(write, EventType::MemberPut, target, asker, summary).await?;
        Ok(membership)
    }

    /// A user is no member any more.
    ///
    /// # Errors
    /// When they are none, hold more than the asker, or are the last owner, or the store does not
    /// take it.
    pub async fn drop_member(
        &self,
        user: &str,
        (asker, grant): (&Asker, &Grant),
    ) -> Result<(), AccessError> {
        let known = self.known().await?;
        let user = self.user(&known, user)?;
        let workspace_id = self.within.workspace();
        let standing = known.standing(user.id, workspace_id);
        let standing = standing.ok_or_else(|| unknown("member", &user.name))?;
        check_held(standing.capabilities, grant)?;
        let summary = format!("{} took {}'s membership", asker.name, user.name);
        let target = ("user", user.id.to_string(), user.name.clone());
        let write = AccessWrite::DropMember { workspace_id, user_id: user.id };
        self.record(write, EventType::MemberRemoved, target, asker, summary).await
    }

    /// Makes a role of the workspace's own, or changes it.
    ///
    /// # Errors
    /// When it is a built-in one, or holds what the asker does not hold, or the store does not take
    /// it.
    pub async fn put_role(
        &self,
        name: &str,
        capabilities: CapabilitySet,
        (asker, grant): (&Asker, &Grant),
    ) -> Result<Role, AccessError> {
        let name: Name = name.parse().map_err(AccessError::Role)?;
        if name.as_str().parse::<BuiltInRole>().is_ok() {
            return Err(AccessError::BuiltIn(name));
        }
        check_held(capabilities, grant)?;
        let role = Role { workspace_id: self.within.workspace(), name, capabilities };
        let summary = format!(
            "{} let role {name} hold {} capabilities",
            asker.name,
            capabilities.iter().count()
        );
        let target = ("role", name.to_string(), name.to_string());
        let write = AccessWrite::PutRole(role.clone());
        self.record(write, EventType::RolePut, target, asker, summary).await?;
        Ok(role)
    }

    /// Removes a role of the workspace's own.
    ///
    /// # Errors
    /// When there is none, a member has it, or the store does not take it.
    pub async fn drop_role(&self, name: &str, asker: &Asker) -> Result<(), AccessError> {
        let name: Name = name.parse().map_err(AccessError::Role)?;
        let summary = format!("{} removed role {name}", asker.name);
        let target = ("role", name.to_string(), name.to_string());
        let write = AccessWrite::DropRole { workspace_id: self.within.workspace(), name };
        self.record(write, EventType::RoleRemoved, target, asker, summary).await
    }

    /// Makes a tenant, or changes its stage.
    ///
    /// # Errors
    /// When the name is none, or the store does not take it.
    pub async fn put_tenant(
        &self,
        name: &str,
        (stage, external_id): (Stage, Option<String>),
        asker: &Asker,
    ) -> Result<Tenant, AccessError> {
        let name = checked(name)?;
        let known = self.known().await?;
        let old = known.tenant(self.within.workspace(), name);
        let tenant = Tenant {
            id: match old {
                Some(old) => old.id,
                None => TenantId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            },
            workspace_id: self.within.workspace(),
            external_id,
            name: old.map_or(name, |old| &old.name).to_owned(),
            status: TenantStatus::Active,
            stage,
            created_at: old.map_or_else(|| self.ambient.now(), |old| old.created_at),
        };
        let verb = if old.is_some() { "changed" } else { "made" };
        let summary = format!("{} {verb} tenant {} ({stage})", asker.name, tenant.name);
        let target = ("tenant", tenant.id.to_string(), tenant.name.clone());
        let write = AccessWrite::PutTenant(tenant.clone());
        self.record(write, EventType::TenantPut, target, asker, summary).await?;
        Ok(tenant)
    }

    /// The user below workspaces with this name or id.
    pub(super) fn user<'a>(
        &self,
        known: &'a Directory,
        text: &str,
    ) -> Result<&'a User, AccessError> {
        self.user_of(known, text, &[UserKind::Member])
    }

    /// The user of one of these kinds with this name or id.
    pub(super) fn user_of<'a>(
        &self,
        known: &'a Directory,
        text: &str,
        kinds: &[UserKind],
    ) -> Result<&'a User, AccessError> {
        let id = text.parse::<UserId>().ok();
        let users = known.users.iter().filter(|it| kinds.contains(&it.kind));
        let mut found = users.filter(|it| Some(it.id) == id || (id.is_none() && it.name == text));
        match (found.next(), found.next()) {
            (Some(user), None) => Ok(user),
            (Some(_), Some(_)) => Err(AccessError::Ambiguous(text.to_owned())),
            (None, _) => Err(unknown("user", text)),
        }
    }

    /// The tenants of the workspace with these names or ids.
    pub(super) fn tenants(
        &self,
        known: &Directory,
        names: &[String],
    ) -> Result<impl Iterator<Item = TenantId>, AccessError> {
        let find = |name: &String| {
            let found = known.tenant(self.within.workspace(), name);
            found.map(|it| it.id).ok_or_else(|| unknown("tenant", name))
        };
        Ok(names.iter().map(find).collect::<Result<Vec<_>, _>>()?.into_iter())
    }

    /// Whether a role is within what the asker holds.
    fn check_given(&self, known: &Directory, role: Name, grant: &Grant) -> Result<(), AccessError> {
        let own = known.roles.iter().filter(|it| it.workspace_id == self.within.workspace());
        let own: Vec<Role> = own.cloned().collect();
        let capabilities = Role::capabilities_of(role, &own);
        check_held(capabilities.ok_or_else(|| unknown("role", role.as_str()))?, grant)
    }

    pub(super) async fn record(
        &self,
        write: AccessWrite,
        event_type: EventType,
        target: (&str, String, String),
        asker: &Asker,
        summary: String,
    ) -> Result<(), AccessError> {
        let writes = vec![Write::Access(write)];
        let context = asker.context();
        self.record_with((writes, context), event_type, target, asker, summary).await
    }

    /// Records changes and the event that tells of them, with a context of its own.
    pub(super) async fn record_with(
        &self,
        (writes, context): (Vec<Write>, EventContext),
        event_type: EventType,
        target: (&str, String, String),
        asker: &Asker,
        summary: String,
    ) -> Result<(), AccessError> {
        let workspace_id = self.within.workspace();
        let event = self.event(event_type, (workspace_id, target), asker, (summary, context));
        self.commit(writes, event.into()).await
    }

    /// Records changes and the events that tell of them.
    pub(super) async fn commit(
        &self,
        writes: Vec<Write>,
        events: AuditEvents,
    ) -> Result<(), AccessError> {
        let committed = self.store.commit(writes, events).await;
        // Also after a failure, of which it is not known whether it was one.
        self.forget();
        committed.map_err(AccessError::Store)
    }

    /// What the log of a workspace says of a change.
    pub(super) fn event(
        &self,
        event_type: EventType,
        (workspace_id, (target_type, target_id, target_label)): (
            WorkspaceId,
            (&str, String, String),
        ),
        asker: &Asker,
        (summary, context): (String, EventContext),
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id,
            tenant_id: None,
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Success,
            actor: asker.actor(&self.within.scope),
            target: Some(Target {
                target_type: target_type.to_owned(),
                target_id,
                target_label,
                workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context,
            occurred_at: self.ambient.now(),
        }
    }
}

pub(super) fn unknown(noun: &'static str, name: &str) -> AccessError {
    AccessError::Unknown { noun, name: name.to_owned() }
}

/// Whether the asker holds all that is given or taken.
pub(super) fn check_held(capabilities: CapabilitySet, grant: &Grant) -> Result<(), AccessError> {
    match capabilities.iter().find(|it| !grant.capabilities.has(*it)) {
        Some(beyond) => Err(AccessError::Beyond(beyond)),
        None => Ok(()),
    }
}

pub(super) fn checked(name: &str) -> Result<&str, AccessError> {
    let is_name = !name.trim().is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.chars().any(char::is_control);
    is_name.then_some(name).ok_or(AccessError::Name)
}
