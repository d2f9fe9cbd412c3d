//! Does what the steps of runbook files call. Owns the way from a name to what it does. Face:
//! `Calls`. Never asks for the same run twice: its id follows from the step.

use std::sync::Arc;

use crate::base::ids::{RunId, TenantId};
use crate::base::{Ambient, Name, chain};
use crate::domain::access::Reason;
use crate::domain::rollout::HostPathPolicy;
use crate::domain::runbooks::file::{Call, Known, Told};
use crate::domain::runbooks::{Argument, Arguments, Scope};
use crate::domain::runs::{Inputs, ReasonCode};
use crate::operations::projects::{Asker, ProjectError, Projects};
use crate::operations::rollout::Rollout;
use crate::operations::schedules::{ScheduleError, Schedules};
use crate::operations::{Admitted, Door, Within};
use crate::store::{Desired, PageRequest, Project, RunFilter, Store, StoreError};
use crate::world::runbook_files::Folder;

use super::{RunbookError, Runbooks, Wish};

/// Why a call did not do what it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct CallError {
    /// For programs.
    pub(super) code: ReasonCode,
    /// For people.
    pub(super) message: String,
}

impl CallError {
    pub(super) fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        let failure = crate::operations::store_failure(&error);
        Self::new(failure.reason_code, failure.message.to_string())
    }
}

impl From<ProjectError> for CallError {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::Store(error) => error.into(),
            ProjectError::Unknown(_) => Self::new(ReasonCode::NotFound, error.to_string()),
            other => Self::new(ReasonCode::InputInvalid, chain(&other)),
        }
    }
}

impl From<ScheduleError> for CallError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Store(error) => error.into(),
            ScheduleError::Unknown(_) => Self::new(ReasonCode::NotFound, error.to_string()),
            other => Self::new(ReasonCode::InputInvalid, chain(&other)),
        }
    }
}

impl From<RunbookError> for CallError {
    fn from(error: RunbookError) -> Self {
        match error {
            RunbookError::Store(error) => error.into(),
            other => Self::new(ReasonCode::InputInvalid, chain(&other)),
        }
    }
}

/// In whose name runs are asked for, and how far they reach.
#[derive(Debug, Clone)]
pub(super) struct On {
    pub(super) asker: Asker,
    pub(super) scope: Scope,
    pub(super) tenant_id: Option<TenantId>,
    pub(super) reason: Option<Reason>,
}

/// What steps can do on this host.
#[derive(Clone)]
pub(super) struct Calls {
    store: Arc<dyn Store>,
    rollout: Rollout,
    projects: Projects,
    schedules: Schedules,
    runbooks: Runbooks,
    door: Door,
    within: Within,
}

fn text<'a>(inputs: &'a Arguments, name: &str) -> Option<&'a str> {
    match inputs.get(name)? {
        Argument::Text(text) => Some(text),
        _ => None,
    }
}

fn named<'a>(inputs: &'a Arguments, name: &str) -> Result<&'a str, CallError> {
    let wrong = || CallError::new(ReasonCode::InputInvalid, format!("`{name}` must be a text"));
    text(inputs, name).ok_or_else(wrong)
}

fn told<const N: usize>(facts: [(&str, Argument); N]) -> Told {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Calls {
    /// Within these borders.
    pub(super) fn new(rollout: &Rollout, door: &Door, ambient: &Ambient, within: &Within) -> Self {
        let store = Arc::clone(&rollout.store);
        let (door, ambient) = (door.clone(), ambient.clone());
        // Nothing is applied here: no path is looked at.
        let policy = HostPathPolicy::default();
        Self {
            projects: Projects::new(rollout.clone(), door.clone(), ambient.clone(), policy)
                .within(within.clone()),
            schedules: Schedules::new(Arc::clone(&store), door.clone(), ambient.clone())
                .within(within.clone()),
            runbooks: Runbooks::new(Arc::clone(&store), door.clone(), ambient, Folder::default())
                .within(within.clone()),
            within: within.clone(),
            rollout: rollout.clone(),
            store,
            door,
        }
    }

    /// The values of what is called with.
    pub(super) fn inputs(
        calling: &crate::domain::runbooks::file::Calling,
        known: &Known,
    ) -> Result<Arguments, CallError> {
        let mut inputs = Arguments::new();
        for (name, template) in &calling.with {
            let value = template.evaluate(known).map_err(|error| {
                CallError::new(ReasonCode::InputInvalid, format!("`{name}`: {error}"))
            })?;
            inputs.insert(name.clone(), value);
        }
        Ok(inputs)
    }

    /// How that is in one word what a call is to change; none for what only looks.
    pub(super) async fn before(
        &self,
        call: Call,
        inputs: &Arguments,
    ) -> Result<Option<String>, CallError> {
        Ok(match call {
            Call::ProjectPause | Call::ProjectResume => {
                let project = self.project(named(inputs, "project")?).await?;
                project.map(|project| project.desired.key().to_owned())
            }
            Call::SchedulePause | Call::ScheduleResume => {
                let schedule = self.schedules.find(named(inputs, "schedule")?).await?;
                Some(Self::word(schedule.is_paused).to_owned())
            }
            _ => None,
        })
    }

    const fn word(is_paused: bool) -> &'static str {
        if is_paused { "paused" } else { "running" }
    }

    /// Does what only looks, or changes a record that was like this before.
    pub(super) async fn perform(
        &self,
        call: Call,
        inputs: &Arguments,
        on: &On,
        before: Option<&str>,
    ) -> Result<Told, CallError> {
        let asker = &on.asker;
        let changed = |after: &str| told([("changed", Argument::YesNo(before != Some(after)))]);
        match call {
            Call::ProjectPause | Call::ProjectResume => {
                let name = named(inputs, "project")?;
                let after = match call {
                    Call::ProjectPause => self.projects.pause(name, asker).await?,
                    _ => self.projects.resume(name, asker).await?,
                };
                Ok(changed(after.desired.key()))
            }
            Call::SchedulePause | Call::ScheduleResume => {
                let name = named(inputs, "schedule")?;
                let is_paused = call == Call::SchedulePause;
                self.schedules.set_paused(name, is_paused, asker).await?;
                Ok(changed(Self::word(is_paused)))
            }
            look => look_at(&*self.store, &self.within, look, inputs).await,
        }
    }

    async fn project(&self, name: &str) -> Result<Option<Project>, CallError> {
        project_within(&*self.store, &self.within, name).await
    }

    /// Asks for the run of a call under this id, unless that was done before.
    pub(super) async fn ask(
        &self,
        call: Call,
        inputs: &Arguments,
        on: &On,
        run_id: RunId,
    ) -> Result<RunId, CallError> {
        if self.store.run(run_id).await?.is_some() {
            return Ok(run_id);
        }
        if let Some(admitted) = self.ask_runbook(call, inputs, on, run_id).await? {
            return Ok(admitted.run().id);
        }
        let asker = &on.asker;
        let mut request = match call {
            Call::ProjectRestart => {
                let services = text(inputs, "service").map(str::to_owned).into_iter().collect();
                self.projects.restarting(named(inputs, "project")?, services, asker).await?
            }
            Call::ProjectRemove => {
                let volumes = inputs.get("volumes") == Some(&Argument::YesNo(true));
                self.projects.removal(named(inputs, "project")?, volumes, asker).await?
            }
            Call::ScheduleRun => self.schedules.firing(named(inputs, "schedule")?, asker).await?,
            _ => {
                let name = named(inputs, "project")?;
                let unknown = || {
                    let message = format!("the agent keeps no project {name} that was applied");
                    CallError::new(ReasonCode::NotFound, message)
                };
                let project = self.project(name).await?;
                let project = project.filter(|it| it.desired != Desired::Removed);
                let deploy = match &project {
                    Some(project) => self.rollout.deploy_as_applied(project).await?,
                    None => None,
                };
                let deploy = deploy.ok_or_else(unknown)?;
                asker.request(&self.within.scope, Inputs::DeployProject(deploy))
            }
        };
        request.run_id = Some(run_id);
        let refused = |error| CallError::new(ReasonCode::StoreUnavailable, chain(&error));
        Ok(self.door.submit(request).await.map_err(refused)?.run().id)
    }

    /// The run of a built-in runbook, looked at and started in one go.
    async fn ask_runbook(
        &self,
        call: Call,
        inputs: &Arguments,
        on: &On,
        run_id: RunId,
    ) -> Result<Option<Admitted>, CallError> {
        let Some(key) = call.runbook() else { return Ok(None) };
        let scope = call.reach(on.scope);
        let tenant_id = on.tenant_id.filter(|_| scope == Scope::SingleTenant);
        let wish = Wish { key, scope, tenant_id, arguments: inputs.clone() };
        // Whoever started the file reaches as far as its operations work.
        let runbooks = match scope {
            Scope::SingleTenant => self.runbooks.clone(),
            Scope::AllTenants => self.runbooks.within(Within::host(self.store.scope())),
        };
        let looked = runbooks.preflight(&wish, &on.asker).await?;
        let reason = on.reason.clone();
        let digest = looked.digest;
        let started = runbooks.start_as(&wish, digest, reason, &on.asker, Some(run_id));
        Ok(Some(started.await?))
    }
}

/// A project within the borders; another one is not there.
async fn project_within(
    store: &dyn Store,
    within: &Within,
    name: &str,
) -> Result<Option<Project>, CallError> {
    let project = store.project(within.workspace(), name.to_owned()).await?;
    Ok(project.filter(|it| within.sees(it.workspace_id, it.tenant_id)))
}

/// What a look tells.
pub(super) async fn look_at(
    store: &dyn Store,
    within: &Within,
    call: Call,
    inputs: &Arguments,
) -> Result<Told, CallError> {
    let workspace = within.workspace();
    match call {
        Call::ProjectShow => {
            let project = project_within(store, within, named(inputs, "project")?).await?;
            let desired = project.as_ref().map_or("unknown", |project| project.desired.key());
            Ok(told([
                ("is_kept", Argument::YesNo(project.is_some())),
                ("desired", Argument::Text(desired.to_owned())),
            ]))
        }
        Call::ScheduleShow => {
            let name: Option<Name> = named(inputs, "schedule")?.parse().ok();
            let schedule = match name {
                Some(name) => store.schedule(workspace, name.to_string()).await?,
                None => None,
            };
            let schedule = schedule.filter(|it| within.sees(it.workspace_id, it.tenant_id));
            Ok(told([
                ("is_there", Argument::YesNo(schedule.is_some())),
                ("is_paused", Argument::YesNo(schedule.is_some_and(|it| it.is_paused))),
            ]))
        }
        Call::DeadLetters => {
            let filter = RunFilter {
                is_dead_letter: Some(true),
                reach: within.reach.clone(),
                ..RunFilter::workspace(workspace)
            };
            let (mut page, mut count) =
                (PageRequest::first(crate::base::limits::PAGE_ITEMS_MAX), 0_i64);
            loop {
                let found = store.runs(filter.clone(), page).await?;
                count += i64::try_from(found.items.len()).unwrap_or(i64::MAX);
                match found.next {
                    None => return Ok(told([("count", Argument::Whole(count))])),
                    after => {
                        page = PageRequest { limit: crate::base::limits::PAGE_ITEMS_MAX, after };
                    }
                }
            }
        }
        other => {
            let message = format!("`{other}` is no look: this is a defect, please report it");
            Err(CallError::new(ReasonCode::Internal, message))
        }
    }
}
