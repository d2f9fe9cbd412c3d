//! Lists what can be allowed, and the roles that allow it. Owns both registries. Face:
//! `Capability`, `CapabilitySet`, `BuiltInRole`. Never grants anything: `decide` does.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::keyed::keyed;

keyed! {
    /// What is allowed to a role. The registry is fixed; roles are sets of its members. Those of the
    /// platform are held by platform users alone, and by no role.
    pub enum Capability: "capability" {
        /// See runs, their steps and jobs.
        RunsView = "runs.view",
        /// Cancel a run, answer its question, deal with a dead letter.
        RunsControl = "runs.control",
        /// Ask for hosted runs.
        RunsEnqueue = "runs.enqueue",
        /// Register hosted types, and claim and execute hosted runs.
        RunsHost = "runs.host",
        /// Pause, resume and limit parts of the queue.
        QueueControl = "queue.control",
        /// See the projects and their containers.
        ProjectsView = "projects.view",
        /// Read what containers log.
        ProjectsLogs = "projects.logs",
        /// Deploy, pause and resume a project.
        ProjectsDeploy = "projects.deploy",
        /// Remove a project.
        ProjectsRemove = "projects.remove",
        /// Restart a project's containers.
        ProjectsRestart = "projects.restart",
        /// Execute commands in a project's containers: whoever may, reads what they hold.
        ProjectsExec = "projects.exec",
        /// See schedules and their firings.
        SchedulesView = "schedules.view",
        /// Make, change, pause and fire schedules.
        SchedulesManage = "schedules.manage",
        /// See alert rules, receivers and deliveries.
        AlertsView = "alerts.view",
        /// Make and change alert rules and receivers, and deliver again.
        AlertsManage = "alerts.manage",
        /// See which registries the agent logs in to, and as whom.
        RegistriesView = "registries.view",
        /// Log the agent in to registries and out again.
        RegistriesManage = "registries.manage",
        /// See findings.
        FindingsView = "findings.view",
        /// Triage, assign, resolve and close findings, and ask for a risk to be accepted.
        FindingsManage = "findings.manage",
        /// Accept the risk of a finding that somebody else asked about.
        FindingsAccept = "findings.accept",
        /// See the catalog of runbooks, and what one would do.
        RunbooksView = "runbooks.view",
        /// Start a runbook.
        RunbooksRun = "runbooks.run",
        /// Approve a step of a runbook that somebody else started.
        RunbooksApprove = "runbooks.approve",
        /// Read the audit log.
        AuditView = "audit.view",
        /// Take a verifiable copy of the audit log.
        AuditExport = "audit.export",
        /// See the state of the agent, its metrics and its description.
        AgentView = "agent.view",
        /// See members, roles and tokens.
        AccessView = "access.view",
        /// Change members, roles, entitlements and tokens of others.
        AccessManage = "access.manage",

        /// Make and rename workspaces.
        PlatformWorkspaces = "platform.workspaces",
        /// Make, change and erase users, and platform users.
        PlatformUsers = "platform.users",
        /// Read what happened above workspaces, and purge and erase in the audit log of the host.
        PlatformAudit = "platform.audit",
        /// Start a runbook in a workspace, without being its member.
        PlatformRunbooks = "platform.runbooks",
        /// Take a copy of the whole store.
        PlatformStore = "platform.store",
        /// Give somebody more than their role allows, for a time.
        PlatformBreakGlass = "platform.break_glass",
    }
}

impl Capability {
    /// Whether it is about what lies above workspaces.
    pub fn is_platform(self) -> bool {
        self.key().starts_with("platform.")
    }

    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// Some capabilities. On the wire a list of keys, in the order of the registry.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const NONE: Self = Self(0);

    /// These.
    pub const fn of(members: &[Capability]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < members.len() {
            bits |= members[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// Whether it holds this one.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// What both hold.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either holds.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the other holds everything of this one.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Its members, in the order of the registry.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| self.has(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(members: I) -> Self {
        Self(members.into_iter().fold(0, |bits, capability| bits | capability.bit()))
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Capability::key)).finish()
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<Capability>::deserialize(from)?.into_iter().collect())
    }
}

keyed! {
    /// Roles that every workspace has. A workspace may add roles of its own, under other names.
    pub enum BuiltInRole: "role" {
        /// Everything in the workspace.
        Owner = "owner",
        /// The same: whoever runs the workspace for its owner.
        Administrator = "administrator",
        /// Keeps projects and runs going; changes nobody's access.
        Operator = "operator",
        /// A program that asks for hosted runs and executes them.
        Worker = "worker",
        /// Sees everything but the audit log.
        Viewer = "viewer",
        /// Sees everything, the audit log too, and takes copies of it.
        Auditor = "auditor",
    }
}

impl BuiltInRole {
    /// What it allows.
    pub const fn capabilities(self) -> CapabilitySet {
        use Capability::{
            AccessManage, AccessView, AgentView, AlertsManage, AlertsView, AuditExport, AuditView,
            FindingsAccept, FindingsManage, FindingsView, ProjectsDeploy, ProjectsExec,
            ProjectsLogs, ProjectsRemove, ProjectsRestart, ProjectsView, QueueControl,
            RegistriesManage, RegistriesView, RunbooksApprove, RunbooksRun, RunbooksView,
            RunsControl, RunsEnqueue, RunsHost, RunsView, SchedulesManage, SchedulesView,
        };
        const VIEWER: CapabilitySet = CapabilitySet::of(&[
            RunsView,
            ProjectsView,
            ProjectsLogs,
            SchedulesView,
            AlertsView,
            RegistriesView,
            FindingsView,
            RunbooksView,
            AgentView,
        ]);
        const AUDITOR: CapabilitySet =
            VIEWER.or(CapabilitySet::of(&[AuditView, AuditExport, AccessView]));
        const WORKER: CapabilitySet = CapabilitySet::of(&[RunsView, RunsEnqueue, RunsHost]);
        const OPERATOR: CapabilitySet = VIEWER.or(WORKER).or(CapabilitySet::of(&[
            RunsControl,
            QueueControl,
            ProjectsDeploy,
            ProjectsRemove,
            ProjectsRestart,
            ProjectsExec,
            SchedulesManage,
            AlertsManage,
            RegistriesManage,
            FindingsManage,
            RunbooksRun,
            AuditView,
        ]));
        match self {
            Self::Owner | Self::Administrator => OPERATOR.or(AUDITOR).or(CapabilitySet::of(&[
                FindingsAccept,
                RunbooksApprove,
                AccessManage,
            ])),
            Self::Operator => OPERATOR,
            Self::Worker => WORKER,
            Self::Viewer => VIEWER,
            Self::Auditor => AUDITOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_a_bit_of_its_own_and_somebody_who_holds_it() {
        assert!(Capability::ALL.len() <= 64, "the set is 64 bits wide");
        let all: CapabilitySet = Capability::ALL.iter().copied().collect();
        assert_eq!(all.iter().count(), Capability::ALL.len());
        for capability in Capability::ALL {
            let owned = BuiltInRole::Owner.capabilities().has(*capability);
            assert_ne!(
                owned,
                capability.is_platform(),
                "{capability}: the owner's or the platform's"
            );
        }
    }

    #[test]
    fn no_role_holds_more_than_the_owner() {
        for role in BuiltInRole::ALL {
            let owner = BuiltInRole::Owner.capabilities();
            assert!(role.capabilities().is_within(owner), "{role}");
        }
        let viewer = BuiltInRole::Viewer.capabilities();
        assert!(!BuiltInRole::Operator.capabilities().is_within(viewer));
        assert!(!BuiltInRole::Operator.capabilities().has(Capability::AccessManage));
    }

    #[test]
    fn a_set_is_a_list_of_keys_outside() {
        let set = CapabilitySet::of(&[Capability::AuditView, Capability::RunsView]);
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(text, r#"["runs.view","audit.view"]"#);
        assert_eq!(serde_json::from_str::<CapabilitySet>(&text).unwrap(), set);
        assert!(serde_json::from_str::<CapabilitySet>(r#"["runs.dance"]"#).is_err());
    }
}
