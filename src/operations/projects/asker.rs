//! Says who asks. Owns what of them the records keep. Face: `Asker`. Never decides whether they may.

use std::net::IpAddr;

use super::super::Request;
use crate::base::ids::UserId;
use crate::domain::access::PlatformIdentity;
use crate::domain::audit::{Actor, ActorType, EventContext};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{Inputs, Source};
use crate::store::Scope;

/// Who asks, and through which door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The operating system's number of the user.
    pub uid: u32,
    /// The user's name.
    pub name: String,
    /// Their address.
    pub email: Option<String>,
    /// Who they are in the records; none for a user of the machine who has none.
    pub user_id: Option<UserId>,
    /// Who they are above workspaces.
    pub platform: Option<PlatformIdentity>,
    /// They act as a platform user, not as a member.
    pub is_above: bool,
    /// Through which door.
    pub source: Source,
    /// Where they connect from; none for this host.
    pub ip: Option<IpAddr>,
    /// With which program.
    pub user_agent: Option<SafeText>,
}

impl Asker {
    /// A user of the host, of whom nothing else is known.
    pub fn local(uid: u32, name: impl Into<String>, source: Source) -> Self {
        Self {
            uid,
            name: name.into(),
            email: None,
            user_id: None,
            platform: None,
            is_above: false,
            source,
            ip: None,
            user_agent: None,
        }
    }

    /// Who they act as above workspaces; none for who acts as a member.
    pub fn above(&self) -> Option<PlatformIdentity> {
        self.platform.filter(|_| self.is_above)
    }

    /// What an event tells of how they asked.
    pub fn context(&self) -> EventContext {
        EventContext {
            source: Some(self.source),
            ip: self.ip.map(|ip| ip.to_string()),
            user_agent: self.user_agent.clone(),
            ..EventContext::default()
        }
    }

    /// The asker as the audit log keeps them: by their id; a user of the machine without a record, by
    /// number.
    pub fn actor(&self, scope: &Scope) -> Actor {
        if let Some(user_id) = self.user_id {
            let actor_type = if self.is_above { ActorType::Platform } else { ActorType::Human };
            let actor_email = self.email.clone();
            return Actor { actor_type, actor_email, ..Actor::human(user_id, &self.name) };
        }
        if self.name == scope.owner_name {
            return Actor::human(scope.owner_id, &scope.owner_name);
        }
        Actor {
            actor_id: Some(format!("uid:{}", self.uid)),
            actor_label: self.name.clone(),
            ..Actor::human(scope.owner_id, &self.name)
        }
    }

    pub(in crate::operations) fn request(&self, scope: &Scope, inputs: Inputs) -> Request {
        let is_owner = self.name == scope.owner_name && !self.is_above;
        // Runs name members alone.
        let member = self.user_id.filter(|_| !self.is_above);
        Request {
            user_id: member.or_else(|| is_owner.then_some(scope.owner_id)),
            initiator_name: self.name.clone(),
            actor: self.actor(scope),
            ..Request::by_owner(scope, self.source, inputs)
        }
    }
}
