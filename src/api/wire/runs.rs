//! The wire form of runs, their attempts and their steps. Owns the shapes. Face: `RunView`,
//! `RunDetail`, `StepView`. Never shows more than the domain's sanitised texts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ImageEnd, RunbookOfRun, SourceView};
use crate::base::Timestamp;
use crate::domain::runs::{
    Attempt, Failure, Inputs, JobCounts, OperationRun, Outcome, PolicyDetail, RunType,
    ServiceDetail, Source, Status, StepRecord, StepStatus, Waiting, WaitsFor,
};
use crate::operations::Admitted;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its id, a UUID.
    pub id: String,
    /// The workspace it belongs to.
    pub workspace_id: String,
    /// The tenant it belongs to.
    pub tenant_id: Option<String>,
    /// The member who started it.
    pub user_id: Option<String>,
    /// Who started it, in words.
    pub initiator_name: String,
    /// Through which door it came.
    #[schema(value_type = String, example = "cli")]
    pub source: Source,
    /// What it does, such as `deploy_project`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "deploy_project")]
    pub run_type: RunType,
    /// What it locks; nothing when absent.
    #[schema(example = "project:shop")]
    pub subject: Option<String>,
    /// The compose project; none for what is about no project.
    pub project: Option<String>,
    /// The runbook that it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<RunbookOfRun>,
    /// `queued`, `running` or `completed`.
    #[schema(value_type = String, example = "running")]
    pub status: Status,
    /// `pending` until completed.
    #[schema(value_type = String, example = "pending")]
    pub outcome: Outcome,
    /// What it waits for, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingView>,
    /// The number of its latest attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts that failed.
    #[serde(default)]
    pub failures: u32,
    /// Of two runs that could begin, the one with the higher priority comes first.
    #[serde(default)]
    pub priority: i8,
    /// When it may begin; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub run_at: Option<Timestamp>,
    /// The dead letter that it tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_from: Option<String>,
    /// Its retries are used up, and nobody has tried it again or dismissed it.
    #[serde(default)]
    pub is_dead_letter: bool,
    /// How many of its jobs stand where; absent for a run that is no bulk run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u64>>)]
    pub jobs: Option<JobCounts>,
    /// What a program named to tell it from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Equal for runs that ask for the same.
    pub run_identity_hash: String,
    /// How much was done.
    pub summary_counts: BTreeMap<String, u64>,
    /// What went wrong, first things first.
    pub failure_summary: Vec<FailureView>,
    /// How each service stands at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceEnd>,
    /// What the names of images led to before the run, and what they lead to now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageEnd>,
    /// What policies found in what was deployed all the same, and what was put right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyLine>,
    /// The digest of the plan that was executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<String>,
    /// What a deploy brings about: the files, and where they came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationView>,
    /// When somebody asked for it to be cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_requested_at: Option<Timestamp>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its first attempt began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
}

impl RunView {
    /// What it is about, for people: the project, else what it locks, else its type.
    pub fn about(&self) -> String {
        let named = self.project.clone().or(self.subject.clone()).or(self.identity.clone());
        named.unwrap_or_else(|| self.run_type.to_string())
    }
}

impl From<&OperationRun> for RunView {
    fn from(run: &OperationRun) -> Self {
        let details = &run.context.details;
        Self {
            id: run.id.to_string(),
            workspace_id: run.workspace_id.to_string(),
            tenant_id: run.tenant_id.map(|id| id.to_string()),
            user_id: run.user_id.map(|id| id.to_string()),
            initiator_name: run.initiator_name.clone(),
            source: run.source,
            run_type: run.run_type(),
            subject: run.subject.as_ref().map(ToString::to_string),
            project: run.context.inputs.project().map(str::to_owned),
            runbook: run.context.inputs.runbook().map(|start| {
                RunbookOfRun::of(start, run.source, run.context.details.journal.as_deref())
            }),
            status: run.status(),
            outcome: run.outcome(),
            waiting: run.waiting().map(WaitingView::from),
            attempt: run.attempt,
            failures: run.failures,
            priority: run.priority.0,
            run_at: run.run_at,
            retried_from: run.retried_from.map(|id| id.to_string()),
            is_dead_letter: run.is_dead_letter,
            jobs: run.jobs,
            identity: match &run.context.inputs {
                Inputs::Hosted(hosted) => hosted.identity.clone(),
                _ => None,
            },
            run_identity_hash: run.run_identity_hash.to_string(),
            summary_counts: run
                .summary_counts
                .iter()
                .map(|(key, count)| (key.to_string(), count))
                .collect(),
            failure_summary: run.failure_summary.iter().map(FailureView::from).collect(),
            services: details.services.iter().map(ServiceEnd::from).collect(),
            images: details.images.iter().map(ImageEnd::from).collect(),
            policies: details.policies.iter().map(PolicyLine::from).collect(),
            plan_digest: details.plan_digest.map(|digest| digest.to_string()),
            configuration: ConfigurationView::of(&run.context.inputs),
            cancel_requested_at: run.cancel_requested_at,
            created_at: run.created_at,
            started_at: run.started_at,
            completed_at: run.completed_at,
        }
    }
}

/// The files that a deploy brings about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationView {
    /// The stored files.
    pub revision_id: String,
    /// The digest of these files: equal files have an equal one.
    pub digest: String,
    /// The repository that they came from, as the client found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceView>,
}

impl ConfigurationView {
    fn of(inputs: &Inputs) -> Option<Self> {
        let Inputs::DeployProject(deploy) = inputs else { return None };
        let source = deploy.choices.source.as_ref();
        Some(Self {
            revision_id: deploy.revision_id.to_string(),
            digest: deploy.revision_digest.to_string(),
            source: source.and_then(|source| SourceView::new(&source.commit, source.is_clean)),
        })
    }
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingView {
    /// What must happen.
    #[serde(rename = "for")]
    #[schema(value_type = String, example = "approval")]
    pub waits_for: WaitsFor,
    /// When the run goes on by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

impl From<&Waiting> for WaitingView {
    fn from(waiting: &Waiting) -> Self {
        Self { waits_for: waiting.waits_for, until: waiting.until }
    }
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// Why, for programs.
    #[schema(example = "port.in_use")]
    pub reason_code: String,
    /// Why, for people.
    pub message: String,
    /// What it happened to.
    #[schema(example = "service:web")]
    pub subject: String,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        Self {
            reason_code: failure.reason_code.to_string(),
            message: failure.message.to_string(),
            subject: failure.subject.clone(),
        }
    }
}

/// How one service stands at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceEnd {
    /// The service.
    pub service: String,
    /// Its state in one word.
    #[schema(example = "healthy")]
    pub state: String,
    /// Why, when it is not as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<&ServiceDetail> for ServiceEnd {
    fn from(detail: &ServiceDetail) -> Self {
        Self {
            service: detail.service.clone(),
            state: detail.state.clone(),
            reason: detail.reason.as_ref().map(ToString::to_string),
        }
    }
}

/// What a rule of policies found in a service that was deployed all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyLine {
    /// The service.
    pub service: String,
    /// The rule.
    #[schema(example = "rule.read_only_root")]
    pub rule: String,
    /// What is done about it: `audit`, `warn`, `remediate`, `deny` or `quarantine`.
    pub action: String,
    /// It was put right before the service was planned.
    pub is_hardened: bool,
    /// What was found, and what to do or was done.
    pub message: String,
}

impl From<&PolicyDetail> for PolicyLine {
    fn from(detail: &PolicyDetail) -> Self {
        Self {
            service: detail.service.clone(),
            rule: detail.rule.clone(),
            action: detail.action.clone(),
            is_hardened: detail.is_hardened,
            message: detail.message.to_string(),
        }
    }
}

/// A run with everything that is recorded about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDetail {
    /// The run.
    pub run: RunView,
    /// What a hosted run is to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
    /// Its attempts, first first.
    pub attempts: Vec<AttemptView>,
    /// Its steps over all attempts, in order.
    pub steps: Vec<StepView>,
}

/// One try at a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Its number, from 1.
    pub number: u32,
    /// Who executes it: an agent, or what a program calls itself.
    #[serde(default)]
    pub worker: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The last sign of life.
    #[schema(value_type = String, format = DateTime)]
    pub heartbeat_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// `completed`, `failed`, `interrupted`, `released` or `suspended`.
    pub end: Option<String>,
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            worker: attempt.holder.instance.clone(),
            started_at: attempt.started_at,
            heartbeat_at: attempt.heartbeat_at,
            ended_at: attempt.ended_at,
            end: attempt.end.map(|end| end.to_string()),
        }
    }
}

/// One step of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// The attempt.
    pub attempt: u32,
    /// Its place in the attempt, from 0.
    pub index: u32,
    /// What it is, stable over attempts.
    #[schema(example = "create_container:web/1")]
    pub key: String,
    /// What it does.
    pub description: String,
    /// Why it is done.
    pub cause: String,
    /// Where it stands.
    #[schema(value_type = String, example = "succeeded")]
    pub status: StepStatus,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One event of a run's stream, as a client of server-sent events gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunEvent {
    /// `run`, `step`, `log`, `end` or `bye`.
    pub event: String,
    /// Where to go on from, as `Last-Event-ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Of `run` and `end` the run as JSON, of `step` the step, of `log` and `bye` a line.
    pub data: String,
}

impl From<&StepRecord> for StepView {
    fn from(step: &StepRecord) -> Self {
        Self {
            attempt: step.attempt,
            index: step.index,
            key: step.key.clone(),
            description: step.description.to_string(),
            cause: step.cause.to_string(),
            status: step.status,
            started_at: step.started_at,
            ended_at: step.ended_at,
            detail: step.detail.as_ref().map(ToString::to_string),
        }
    }
}

/// The answer to whatever asks for a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunAccepted {
    /// The run that does it.
    pub run: RunView,
    /// Whether it was started by this request; else a run that asks for the same is not completed.
    pub is_new: bool,
}

impl From<&Admitted> for RunAccepted {
    fn from(admitted: &Admitted) -> Self {
        Self { run: RunView::from(admitted.run()), is_new: matches!(admitted, Admitted::New(_)) }
    }
}
