//! Describes who works on the queue and what holds it back. Owns agents, holders, whom an agent
//! serves, controls and hosted types. Face: `Agent`, `Holder::is_lost`, `Tenants`, `QueueControl`,
//! `HostedType`. Never decides that a worker is dead by its silence alone while its lease lasts.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Definition, RunType};
use crate::base::ids::{HostId, TenantId, WorkspaceId};
use crate::base::keyed::UnknownKey;
use crate::base::{Name, Timestamp};

/// An agent that works on this store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Names this process among all that ever wrote to the store.
    pub instance: String,
    /// Its host.
    pub host_id: HostId,
    /// The boot of that host that it runs in.
    pub boot_id: String,
    /// The host's name, for people.
    pub hostname: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its last sign of life.
    pub heartbeat_at: Timestamp,
}

/// Who executes an attempt of a run or a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process: an agent's instance, or what a hosted worker calls itself.
    pub instance: String,
    /// The host it runs on; none for attempts older than host ids.
    pub host_id: Option<HostId>,
    /// The boot of that host.
    pub boot_id: Option<String>,
    /// Whether it is a program of a user rather than the agent.
    pub is_hosted: bool,
}

impl Holder {
    /// The agent itself.
    pub fn agent(agent: &Agent) -> Self {
        Self {
            instance: agent.instance.clone(),
            host_id: Some(agent.host_id),
            boot_id: Some(agent.boot_id.clone()),
            is_hosted: false,
        }
    }

    /// A program on the agent's host.
    pub fn hosted(agent: &Agent, worker: impl Into<String>) -> Self {
        Self { instance: worker.into(), is_hosted: true, ..Self::agent(agent) }
    }

    /// Whether this holder cannot be at work any more, as far as `agent` can tell. An older process
    /// of the agent is dead at once, because one agent runs per host; a hosted worker outlives an
    /// agent's restart, but not its host's.
    pub fn is_lost(&self, agent: &Agent, lease_until: Timestamp, at: Timestamp) -> bool {
        let is_here = self.host_id.is_none_or(|host_id| host_id == agent.host_id);
        let known_dead = match self.is_hosted {
            true => self.boot_id.as_ref() != Some(&agent.boot_id),
            false => self.instance != agent.instance,
        };
        (is_here && known_dead) || (lease_until <= at && self.needs_lease(agent))
    }

    /// Whether it is at work only as long as its lease lasts: `agent` cannot see it otherwise.
    pub fn needs_lease(&self, agent: &Agent) -> bool {
        !self.is_process(agent)
    }

    /// Whether it is this very process of the agent.
    pub fn is_process(&self, agent: &Agent) -> bool {
        let is_here = self.host_id.is_none_or(|host_id| host_id == agent.host_id);
        is_here && !self.is_hosted && self.instance == agent.instance
    }
}

/// Whose runs an agent executes or hands out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tenants {
    /// Everybody's.
    #[default]
    All,
    /// Those of these tenants, and those of none.
    Only(Arc<BTreeSet<TenantId>>),
}

impl Tenants {
    /// Whether work for this tenant may be taken. What is bound to a host is for that host alone to
    /// execute: nobody else would.
    pub fn serve(&self, tenant: Option<TenantId>, bound_to: Option<HostId>) -> bool {
        match (self, tenant) {
            (Self::All, _) | (Self::Only(_), None) => true,
            (Self::Only(tenants), Some(tenant)) => bound_to.is_some() || tenants.contains(&tenant),
        }
    }

    /// The tenants, by their ids; none for everybody.
    pub fn ids(&self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Only(tenants) => Some(tenants.iter().map(ToString::to_string).collect()),
        }
    }
}

/// What a control of the queue is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueScope {
    /// All runs of the workspace.
    Workspace,
    /// Those of one tenant.
    Tenant(TenantId),
    /// Those of one type.
    Type(RunType),
}

impl fmt::Display for QueueScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace => f.write_str("workspace"),
            Self::Tenant(id) => write!(f, "tenant:{id}"),
            Self::Type(run_type) => write!(f, "type:{run_type}"),
        }
    }
}

impl FromStr for QueueScope {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let parsed = match text.split_once(':') {
            None if text == "workspace" => Some(Self::Workspace),
            Some(("tenant", id)) => id.parse().ok().map(Self::Tenant),
            Some(("type", key)) => key.parse().ok().map(Self::Type),
            _ => None,
        };
        parsed.ok_or_else(|| UnknownKey {
            noun: "scope of the queue",
            key: text.to_owned(),
            known: "workspace, tenant:<id>, type:<run type>".to_owned(),
        })
    }
}

/// Holds a part of the queue back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueControl {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Which part of its queue.
    pub scope: QueueScope,
    /// Nothing begins while it is.
    pub is_paused: bool,
    /// Most runs that execute at once; none for no limit.
    pub concurrency_max: Option<u32>,
}

impl QueueControl {
    /// Whether a run is in the control's scope.
    pub fn covers(
        &self,
        workspace: WorkspaceId,
        tenant: Option<TenantId>,
        run_type: RunType,
    ) -> bool {
        self.workspace_id == workspace
            && match self.scope {
                QueueScope::Workspace => true,
                QueueScope::Tenant(id) => tenant == Some(id),
                QueueScope::Type(of) => of == run_type,
            }
    }
}

/// A type of run that a user's programs execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedType {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its name, which has a dot.
    pub name: Name,
    /// What is fixed about its runs.
    pub definition: Definition,
    /// When it was first registered.
    pub registered_at: Timestamp,
    /// When its definition changed last.
    pub updated_at: Timestamp,
}

impl HostedType {
    /// The type of its runs.
    pub const fn run_type(&self) -> RunType {
        RunType::Hosted(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Agent {
        Agent {
            instance: "boot-2/b".to_owned(),
            host_id: HostId::from_u128(1),
            boot_id: "boot-2".to_owned(),
            hostname: "host-1".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            heartbeat_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn who_is_lost_follows_from_host_boot_and_lease() {
        let (live, over) = (Timestamp::MAX, Timestamp::UNIX_EPOCH);
        let check = |host: u128, boot: &str, instance: &str, is_hosted, lease, lost: bool| {
            let holder = Holder {
                instance: instance.to_owned(),
                host_id: Some(HostId::from_u128(host)),
                boot_id: Some(boot.to_owned()),
                is_hosted,
            };
            let found = holder.is_lost(&agent(), lease, Timestamp::UNIX_EPOCH);
            assert_eq!(found, lost, "{holder:?}");
        };
        // An agent's own attempts.
        check(1, "boot-2", "boot-2/b", false, live, false);
        check(1, "boot-2", "boot-2/b", false, over, false);
        check(1, "boot-2", "boot-2/a", false, live, true);
        check(1, "boot-1", "boot-1/a", false, live, true);
        check(2, "boot-9", "boot-9/a", false, live, false);
        check(2, "boot-9", "boot-9/a", false, over, true);
        // A hosted worker's.
        check(1, "boot-2", "mailer", true, live, false);
        check(1, "boot-2", "mailer", true, over, true);
        check(1, "boot-1", "mailer", true, live, true);
        check(2, "boot-1", "mailer", true, live, false);
        check(2, "boot-1", "mailer", true, over, true);
    }

    #[test]
    fn an_agent_serves_the_tenants_it_names_and_what_is_bound_to_its_host() {
        let (ours, other) = (TenantId::from_u128(1), TenantId::from_u128(2));
        let only = Tenants::Only(Arc::new(BTreeSet::from([ours])));
        let host = Some(HostId::from_u128(1));
        let check = |tenants: &Tenants, tenant, bound_to, served| {
            assert_eq!(tenants.serve(tenant, bound_to), served, "{tenants:?} {tenant:?}");
        };
        check(&Tenants::All, Some(other), None, true);
        check(&only, Some(ours), None, true);
        check(&only, Some(other), None, false);
        check(&only, Some(other), host, true);
        check(&only, None, None, true);
    }

    #[test]
    fn scopes_read_back() {
        let hosted = RunType::Hosted("shop.mail".parse().unwrap());
        for scope in [
            QueueScope::Workspace,
            QueueScope::Tenant(TenantId::from_u128(7)),
            QueueScope::Type(RunType::DeployProject),
            QueueScope::Type(hosted),
        ] {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("type:nothing".parse::<QueueScope>().is_err());
    }
}
