//! Lists every type of audit event. Owns the one registry. Face: `EventType`. Never loses a key:
//! what old records carry stays readable.

use crate::base::keyed::keyed;

keyed! {
    /// What can be recorded: `family.verb`.
    pub enum EventType: "audit event type" {
        /// A run was accepted.
        RunQueued = "operation_run.queued",
        /// What a run is doing was asked for once more.
        RunAskedAgain = "operation_run.asked_again",
        /// The first attempt of a run began.
        RunStarted = "operation_run.started",
        /// A run was done, wholly or in part.
        RunCompleted = "operation_run.completed",
        /// A run could not be done.
        RunFailed = "operation_run.failed",
        /// An attempt failed; another follows.
        RunAttemptFailed = "operation_run.attempt_failed",
        /// Somebody dealt with a dead letter otherwise than by trying it again.
        RunDismissed = "operation_run.dismissed",
        /// A run lost its worker.
        RunInterrupted = "operation_run.interrupted",
        /// A new attempt of a run began.
        RunRetried = "operation_run.retried",
        /// A run was put aside, to wait.
        RunWaiting = "operation_run.waiting",
        /// What a run waited for has come: its time, or an approval.
        RunWoken = "operation_run.woken",
        /// An operator answered a waiting run.
        RunAnswered = "operation_run.answered",
        /// Somebody approved what a run waited for.
        RunApproved = "operation_run.approved",
        /// Somebody refused it.
        RunRefused = "operation_run.refused",
        /// Somebody asked for a run to be cancelled.
        RunCancelRequested = "operation_run.cancel_requested",
        /// A run ended as cancelled.
        RunCancelled = "operation_run.cancelled",
        /// A run was refused.
        RunBlocked = "operation_run.blocked",

        /// Other policies are in force.
        PolicyChanged = "policy.changed",
        /// Policies could not be put in force; the ones before stay.
        PolicyRefused = "policy.refused",

        /// A deployment is about to act.
        DeploymentStarted = "deployment.started",
        /// A deployment was done, wholly or in part.
        DeploymentCompleted = "deployment.completed",
        /// A deployment could not be done.
        DeploymentFailed = "deployment.failed",

        /// Files were applied: they are now what the agent keeps.
        ProjectApplied = "project.applied",
        /// The agent stopped keeping a project.
        ProjectPaused = "project.paused",
        /// The agent keeps a project again.
        ProjectResumed = "project.resumed",
        /// Containers that Docker Compose had created were taken over.
        ProjectAdopted = "project.adopted",
        /// The health check of a container fails, and nothing else is done about it, or all that was
        /// done was in vain.
        InstanceUnhealthy = "instance.unhealthy",
        /// The agent is about to restart an unhealthy container.
        InstanceHealStarted = "instance.heal_started",
        /// An unhealthy container was restarted, or needed it no more.
        InstanceHealed = "instance.healed",
        /// An unhealthy container could not be restarted.
        InstanceHealFailed = "instance.heal_failed",
        /// Somebody is about to execute a command in a container.
        ExecStarted = "project_exec.started",
        /// The command ended.
        ExecCompleted = "project_exec.completed",
        /// The command did not begin, or nobody saw its end.
        ExecFailed = "project_exec.failed",
        /// A removal is about to act.
        ProjectRemovalStarted = "project.removal_started",
        /// A project was removed.
        ProjectRemoved = "project.removed",
        /// A project could not be removed.
        ProjectRemovalFailed = "project.removal_failed",
        /// A restart is about to act.
        ProjectRestartStarted = "project.restart_started",
        /// A project's containers were restarted.
        ProjectRestarted = "project.restarted",
        /// A project's containers could not be restarted.
        ProjectRestartFailed = "project.restart_failed",

        /// The agent is about to fetch images of a project.
        ImagesPullStarted = "project_images.pull_started",
        /// Images of a project were fetched, all or some.
        ImagesPulled = "project_images.pulled",
        /// Images of a project could not be fetched.
        ImagesPullFailed = "project_images.pull_failed",
        /// The agent is about to build images of a project.
        ImagesBuildStarted = "project_images.build_started",
        /// Images of a project were built, all or some.
        ImagesBuilt = "project_images.built",
        /// Images of a project could not be built.
        ImagesBuildFailed = "project_images.build_failed",
        /// The agent is about to ask registries for newer images.
        ImagesCheckStarted = "project_images.check_started",
        /// Registries were asked for newer images.
        ImagesChecked = "project_images.checked",
        /// Registries could not be asked.
        ImagesCheckFailed = "project_images.check_failed",

        /// A hosted type was registered, or its definition changed.
        HostedTypeRegistered = "hosted_type.registered",
        /// A hosted type was removed: no run of it can be asked for.
        HostedTypeRemoved = "hosted_type.removed",
        /// A part of the queue was paused.
        QueuePaused = "queue.paused",
        /// A part of the queue goes on.
        QueueResumed = "queue.resumed",
        /// The most runs of a part of the queue at once changed.
        QueueLimited = "queue.limited",

        /// Somebody looked at what a runbook would do.
        RunbookPreflight = "platform.ops.runbooks.preflight",
        /// Somebody started a runbook.
        RunbookStart = "platform.ops.runbooks.start",
        /// A runbook was done, wholly or in part.
        RunbookCompleted = "platform.ops.runbooks.completed",
        /// A runbook could not be done, or was blocked.
        RunbookFailed = "platform.ops.runbooks.failed",

        /// A schedule was made.
        ScheduleCreated = "schedule.created",
        /// What a schedule does was changed.
        ScheduleUpdated = "schedule.updated",
        /// A schedule was removed.
        ScheduleRemoved = "schedule.removed",
        /// A schedule is held back.
        SchedulePaused = "schedule.paused",
        /// A schedule goes on.
        ScheduleResumed = "schedule.resumed",
        /// A schedule asked for its run.
        ScheduleFired = "schedule.fired",
        /// A firing was missed and left out.
        ScheduleMissed = "schedule.missed",
        /// A firing was left out because an earlier run went on.
        ScheduleSkipped = "schedule.skipped",
        /// A firing waits for the end of an earlier run.
        ScheduleHeld = "schedule.held",
        /// A firing could not become a run.
        ScheduleFailed = "schedule.failed",

        /// A rule of the alerts was made or changed.
        AlertRulePut = "alert_rule.put",
        /// A rule of the alerts was removed.
        AlertRuleRemoved = "alert_rule.removed",
        /// A receiver of alerts was made or changed.
        AlertReceiverPut = "alert_receiver.put",
        /// A receiver of alerts was removed.
        AlertReceiverRemoved = "alert_receiver.removed",
        /// Somebody tried a receiver out.
        AlertReceiverTested = "alert_receiver.tested",
        /// Somebody wants a delivery tried again.
        AlertDeliveryRetried = "alert_delivery.retried",

        /// The agent can log in to a registry of images, or does so as somebody else.
        RegistryLoginPut = "registry_login.put",
        /// A registry did not take a login, so that it was not kept.
        RegistryLoginRefused = "registry_login.refused",
        /// The agent forgot how to log in to a registry.
        RegistryLoginRemoved = "registry_login.removed",
        /// A run logged in to a registry.
        RegistryLoginUsed = "registry_login.used",

        /// Findings of an old form were made, for a proof or a demonstration.
        FindingsPlanted = "findings.planted",

        /// A workspace was made, renamed, or given its first owner.
        WorkspacePut = "workspace.put",
        /// A user was made, changed or shut out.
        UserPut = "user.put",
        /// A user was made a member, or their role or reach changed.
        MemberPut = "workspace_membership.put",
        /// A user is no member any more.
        MemberRemoved = "workspace_membership.removed",
        /// A workspace's own role was made or changed.
        RolePut = "role.put",
        /// A workspace's own role was removed.
        RoleRemoved = "role.removed",
        /// A tenant was made or changed.
        TenantPut = "tenant.put",
        /// A token was made.
        TokenCreated = "access_token.created",
        /// A token is worth nothing any more.
        TokenRevoked = "access_token.revoked",
        /// A client certificate stands for a user.
        CertificateAdded = "access_certificate.added",
        /// A client certificate stands for nobody any more.
        CertificateRemoved = "access_certificate.removed",
        /// A platform user came in.
        PlatformUserLoggedIn = "platform_user.logged_in",
        /// A platform user holds everything for a time.
        BreakGlassStarted = "break_glass.started",
        /// That ended: it was given back or taken, or its time was over.
        BreakGlassEnded = "break_glass.ended",
        /// Somebody failed too often to prove who they are.
        AccessLockedOut = "access.locked_out",

        /// A person was erased: the log calls them by a pseudonym.
        PersonErased = "person.erased",
        /// Whole segments of the audit log were purged.
        AuditPurged = "audit.purged",
        /// The audit log was proved, or found to be tampered with.
        AuditVerified = "audit.verified",

        /// The agent started.
        AgentStarted = "agent.started",
        /// The agent stopped in order.
        AgentStopped = "agent.stopped",
        /// The configuration was read again.
        ConfigurationReloaded = "configuration.reloaded",
        /// A new database was created.
        StoreCreated = "store.created",
        /// The database was brought to a newer form.
        StoreUpgraded = "store.upgraded",
        /// A further host uses the agent's database.
        StoreJoined = "store.joined",
        /// A backup of the database was handed out.
        StoreBackedUp = "store.backed_up",
        /// A backup was put in the place of the database.
        StoreRestored = "store.restored",
        /// The records came here from another database.
        StoreMoved = "store.moved",
    }
}

impl EventType {
    /// What the event is about: the key without its last part.
    pub fn family(self) -> &'static str {
        self.key().rsplit_once('.').map_or(self.key(), |(family, _)| family)
    }

    /// What happened: the last part of the key.
    pub fn verb(self) -> &'static str {
        self.key().rsplit_once('.').map_or(self.key(), |(_, verb)| verb)
    }

    /// Whether the target has a page of its own that a viewer can be led to.
    pub fn supports_target_link(self) -> bool {
        match self.family() {
            "operation_run" | "deployment" => true,
            "project" => self != Self::ProjectRemoved,
            _ => false,
        }
    }
}
