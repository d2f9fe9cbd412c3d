//! The shell: what the agent can do, one file per verb, and the runner that executes runs. Owns
//! the one door and the life of every run. Face: `Door`, `Runner`, `Operation`, `RunContext`.
//! Never acts on the world outside a run's recorded step.

pub mod access;
pub mod alerts;
pub mod audit;
pub mod backups;
pub mod build_images;
pub mod check_images;
mod context;
mod definitions;
pub mod deploy_project;
mod door;
pub mod enforcement;
mod events;
pub mod exec;
pub mod findings;
#[cfg(test)]
pub(crate) mod harness;
pub mod heal_instance;
pub mod host_look;
pub mod hosted;
pub mod policies;
pub mod projects;
pub mod pull_images;
pub mod registries;
pub mod remove_project;
pub mod restart_project;
pub mod rollout;
pub mod runbooks;
mod runner;
pub mod scan_findings;
pub mod scan_images;
#[cfg(test)]
mod scan_tests;
pub mod scans;
pub mod schedules;
mod signals;
mod telling;
mod within;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::domain::audit::AuditEvent;
use crate::domain::runs::{End, Failure, JobEnd, ReasonCode, RunType, Waiting};
use crate::store::{NewJob, Write};
use crate::world::advisories::Advisories;

use build_images::BuildImages;
use check_images::CheckImages;
use deploy_project::DeployProject;
use enforcement::{EnforcePolicy, ReleaseContainer};
use heal_instance::HealInstance;
use pull_images::PullImages;
use remove_project::RemoveProject;
use restart_project::RestartProject;
use rollout::Rollout;
use runbooks::RunRunbook;
use scan_images::{ScanImages, UpdateAdvisories};

pub use context::{Purpose, RunContext, Step, StepError, Stop};
pub use door::{Admitted, Answer, CancelError, Door, QueueError, Request, SubmitError, Word};
pub use events::{notice_event, run_event, teller};
pub use runner::{JobContext, Operations, Recovered, Runner, RunnerOptions};
pub use signals::{Alarm, Followed, Follower, Happened, RunNews};
pub use telling::store_failure;
pub use within::Within;

use telling::{container_failure, count, wrong_inputs};

/// What executes the runs of one type.
pub trait Operation: Send + Sync {
    /// Executes one attempt of a run. Everything it does to the world goes through `run.step`.
    /// A panic fails this run only.
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd>;

    /// Executes one job of a run that ended with `RunEnd::fans_out`. What it counts and tells is
    /// added to the run when the job ends; `Cancelled` is for one that was told to stop.
    fn execute_job(&self, job: JobContext) -> BoxFuture<'_, JobEnd> {
        Box::pin(async move {
            let message = "this operation has no jobs: this is a defect, please report it";
            let about = format!("job:{}", job.job().key);
            job.fail(Failure::new(ReasonCode::Internal, about, message));
            JobEnd::Failed
        })
    }
}

impl Operations {
    /// What the agent can do to projects, and what runbooks say.
    pub fn on_projects(rollout: &Rollout) -> Self {
        Self::default()
            .with(RunType::DeployProject, Arc::new(DeployProject::new(rollout.clone())))
            .with(RunType::RemoveProject, Arc::new(RemoveProject::new(rollout.clone())))
            .with(RunType::RestartProject, Arc::new(RestartProject::new(rollout.clone())))
            .with(RunType::PullImages, Arc::new(PullImages::new(rollout.clone())))
            .with(RunType::BuildImages, Arc::new(BuildImages::new(rollout.clone())))
            .with(RunType::CheckImages, Arc::new(CheckImages::new(rollout.clone())))
            .with(RunType::HealInstance, Arc::new(HealInstance::new(rollout.clone())))
            .with(RunType::EnforcePolicy, Arc::new(EnforcePolicy::new(rollout.clone())))
            .with(RunType::ReleaseContainer, Arc::new(ReleaseContainer::new(rollout.clone())))
            .with(RunType::RunRunbook, Arc::new(RunRunbook::new(rollout.clone())))
    }

    /// The same, and what it can do with these advisories.
    #[must_use]
    pub fn and_scans(self, rollout: &Rollout, advisories: &Arc<Advisories>) -> Self {
        let scan = ScanImages::new(rollout.clone(), Arc::clone(advisories));
        let update = UpdateAdvisories::new(Arc::clone(advisories));
        self.with(RunType::ScanImages, Arc::new(scan))
            .with(RunType::UpdateAdvisories, Arc::new(update))
    }
}

/// How an attempt ended, and what is recorded in the same transaction.
#[derive(Debug)]
pub struct RunEnd {
    /// How it ended.
    pub verdict: Verdict,
    /// What happened, in one sentence, for the audit log; a plain one is made up when absent.
    pub summary: Option<String>,
    /// Changes of records that belong to the end, such as what is deployed now.
    pub writes: Vec<Write>,
    /// Further events of the same transaction.
    pub events: Vec<AuditEvent>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The run ends. What went wrong was told by `RunContext::fail`. One that failed, wholly or in
    /// part, is tried again when its type says so.
    Ended(End),
    /// The run becomes a bulk run: it waits for these jobs without a worker.
    FansOut(Vec<NewJob>),
    /// The run is put aside until something happens.
    Waits(Waiting),
    /// The attempt stopped at a safe step because it was told to; a later one goes on.
    Interrupted,
}

impl RunEnd {
    /// The run ends so.
    pub fn ended(end: End) -> Self {
        Self::of(Verdict::Ended(end))
    }

    /// The run fails, for these reasons.
    pub fn failed(run: &RunContext, reasons: impl IntoIterator<Item = Failure>) -> Self {
        reasons.into_iter().for_each(|reason| run.fail(reason));
        Self::ended(End::Failed)
    }

    /// The run waits for these jobs, and ends as they do.
    pub fn fans_out(jobs: Vec<NewJob>) -> Self {
        Self::of(Verdict::FansOut(jobs))
    }

    /// The run waits.
    pub fn waits(waiting: Waiting) -> Self {
        Self::of(Verdict::Waits(waiting))
    }

    /// The attempt stopped because it was told to: a cancelled run ends, a draining agent leaves
    /// the run for its next start.
    pub fn stopped(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::ended(End::Cancelled),
            Stop::Draining => Self::of(Verdict::Interrupted),
        }
    }

    fn of(verdict: Verdict) -> Self {
        Self { verdict, summary: None, writes: Vec::new(), events: Vec::new() }
    }

    /// The same, said in one sentence.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// The same, with a change of records.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// The same, with a further event.
    #[must_use]
    pub fn event(mut self, event: AuditEvent) -> Self {
        self.events.push(event);
        self
    }
}
