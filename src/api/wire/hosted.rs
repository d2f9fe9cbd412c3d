//! The wire form of the run queue for programs: types, requests, claims and what workers say. Owns
//! the shapes. Face: the types. Never shows the payload of a run that was not claimed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::runs::RunAccepted;
use crate::base::Timestamp;
use crate::domain::runs::{
    CountKey, Definition, HostedType, Inputs, Job, JobStatus, OnCrash, Priority, ReasonCode, Retry,
    StepStatus, Undo,
};
use crate::operations::hosted::{Standing, WorkOutcome};
use crate::store::Claimed;

/// What is fixed about the runs of a hosted type. What is absent has the value that is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TypeDefinition {
    /// For people: what it does; the name when absent.
    pub label: Option<String>,
    /// The numbers that its runs count.
    #[schema(value_type = Vec<String>, example = json!(["total", "processed", "mails_sent"]))]
    pub counts: Vec<CountKey>,
    /// The codes of its own that its runs fail with, besides those that every type may.
    #[schema(value_type = Vec<String>, example = json!(["mail.bounced"]))]
    pub reason_codes: Vec<ReasonCode>,
    /// When a failed attempt is followed by another one.
    pub retry: RetryRule,
    /// Longest time of one attempt, in milliseconds; none when absent.
    pub timeout_ms: Option<u64>,
    /// How long a worker may go without a sign of life, in milliseconds.
    pub lease_ms: u64,
    /// Of two runs that could begin, the one with the higher priority comes first.
    pub priority: i8,
    /// A new run ends older ones of the same type and subject.
    pub supersedes: bool,
}

/// When a failed attempt is followed by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryRule {
    /// Attempts until the run is a dead letter; 0 for neither retries nor dead letters.
    pub attempts_max: u32,
    /// The pause after the first failure, in milliseconds.
    pub first_ms: u64,
    /// How many times longer each pause is than the one before.
    pub factor: u32,
    /// The longest pause, in milliseconds.
    pub longest_ms: u64,
    /// How far a pause may be from its length either way.
    pub jitter_percent: u8,
}

impl Default for RetryRule {
    /// Five attempts, pauses from a second to five minutes.
    fn default() -> Self {
        Self {
            attempts_max: 5,
            first_ms: 1_000,
            factor: 3,
            longest_ms: 300_000,
            jitter_percent: 20,
        }
    }
}

impl Default for TypeDefinition {
    fn default() -> Self {
        Self {
            label: None,
            counts: vec![CountKey::Total, CountKey::Processed, CountKey::Failed],
            reason_codes: Vec::new(),
            retry: RetryRule::default(),
            timeout_ms: None,
            lease_ms: 60_000,
            priority: 0,
            supersedes: false,
        }
    }
}

impl TypeDefinition {
    /// The definition that a type of this name gets.
    pub fn definition(self, name: &str) -> Definition {
        let millis = std::time::Duration::from_millis;
        Definition {
            label: self.label.unwrap_or_else(|| name.to_owned()).into(),
            capability: crate::domain::access::Capability::RunsEnqueue,
            on_crash: OnCrash::Resume,
            counts: self.counts.into(),
            reason_codes: self.reason_codes.into(),
            retry: Retry {
                attempts_max: self.retry.attempts_max,
                first: millis(self.retry.first_ms),
                factor: self.retry.factor,
                longest: millis(self.retry.longest_ms),
                jitter_percent: self.retry.jitter_percent,
            },
            timeout: self.timeout_ms.map(millis),
            lease: millis(self.lease_ms),
            priority: Priority(self.priority),
            supersedes: self.supersedes,
        }
    }
}

impl From<&Definition> for TypeDefinition {
    fn from(definition: &Definition) -> Self {
        let millis = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let Retry { attempts_max, first, factor, longest, jitter_percent } = definition.retry;
        Self {
            label: Some(definition.label.to_string()),
            counts: definition.counts.to_vec(),
            reason_codes: definition.reason_codes.to_vec(),
            retry: RetryRule {
                attempts_max,
                first_ms: millis(first),
                factor,
                longest_ms: millis(longest),
                jitter_percent,
            },
            timeout_ms: definition.timeout.map(millis),
            lease_ms: millis(definition.lease),
            priority: definition.priority.0,
            supersedes: definition.supersedes,
        }
    }
}

/// A hosted type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TypeView {
    /// Its name.
    #[schema(example = "shop.send_invoices")]
    pub name: String,
    /// What is fixed about its runs.
    pub definition: TypeDefinition,
    /// When it was first registered.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Timestamp,
    /// When its definition changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<&HostedType> for TypeView {
    fn from(hosted: &HostedType) -> Self {
        Self {
            name: hosted.name.to_string(),
            definition: TypeDefinition::from(&hosted.definition),
            registered_at: hosted.registered_at,
            updated_at: hosted.updated_at,
        }
    }
}

/// Asks for a hosted run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enqueue {
    /// Its registered type.
    #[serde(rename = "type")]
    #[schema(example = "shop.send_invoices")]
    pub run_type: String,
    /// What it is to do: any JSON, at most 64 KiB.
    #[serde(default)]
    pub payload: Value,
    /// Requests with this key ask for the same while one is not completed; without one, those with
    /// equal payloads do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What it locks: no two runs of one subject execute at once. Nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Over what the type says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i8>,
    /// When it may begin; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub run_at: Option<Timestamp>,
    /// The tenant; the host's own when absent, the whole workspace when null.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<Option<String>>,
    /// The parts of a bulk run. Workers claim them one by one, and the run ends with the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Vec<EnqueueJob>>,
}

/// A part of a bulk run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueueJob {
    /// Its name, unique in the run.
    pub key: String,
    /// What it is to do.
    #[serde(default)]
    pub payload: Value,
    /// The tenant it works for; the run's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
}

/// Makes jobs of a run that a worker executes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FanOut {
    /// The jobs, in the order in which they are to begin: 1 to 100,000.
    pub jobs: Vec<EnqueueJob>,
    /// Numbers to add to the run, by registered key, such as `total`.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: BTreeMap<CountKey, u64>,
}

/// Asks for several hosted runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueueBatch {
    /// The runs, at most 256.
    pub runs: Vec<Enqueue>,
}

/// The answers to a batch, in its order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnqueuedBatch {
    /// One for each run.
    pub items: Vec<RunAccepted>,
}

/// Asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimWork {
    /// Work of these types.
    pub types: Vec<String>,
    /// What the worker calls itself, for people who look at the queue.
    #[schema(example = "mailer-1")]
    pub worker: String,
    /// Most runs and jobs together.
    #[serde(default = "one")]
    pub limit: usize,
    /// How long to wait for work when there is none, up to 60.
    #[serde(default)]
    pub wait_seconds: u64,
}

fn one() -> usize {
    1
}

/// What a claim took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClaimedWork {
    /// What is the worker's now; empty when the time was over.
    pub items: Vec<WorkItem>,
}

/// A run, or one job of a bulk run, that a worker has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkItem {
    /// Where the worker tells of this attempt: `…/heartbeat`, `…/progress`, `…/complete`, `…/fail`;
    /// of a run also `…/jobs`, which makes it a bulk run.
    pub path: String,
    /// The run.
    pub run_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub run_type: String,
    /// The job; absent when the worker has the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The number of this attempt: the fencing token of everything that the worker tells.
    pub attempt: u32,
    /// When the next sign of life must have come.
    #[schema(value_type = String, format = DateTime)]
    pub lease_until: Timestamp,
    /// What it is to do.
    pub payload: Value,
    /// What the run locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The tenant it works for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Attempts that failed before.
    pub failures: u32,
}

impl From<&Claimed> for WorkItem {
    fn from(claimed: &Claimed) -> Self {
        let (run, job) = (&claimed.run, claimed.job.as_ref());
        let attempt = job.map_or(run.attempt, |job| job.attempt);
        let part = job.map(|job| format!("/jobs/{}", encode(&job.key))).unwrap_or_default();
        let payload = match (&job, &run.context.inputs) {
            (Some(job), _) => job.payload.value(),
            (None, Inputs::Hosted(hosted)) => hosted.payload.value(),
            (None, _) => Value::Null,
        };
        let tenant_id = job.and_then(|job| job.tenant_id).or(run.tenant_id);
        Self {
            path: format!("/v1/queue/runs/{}{part}/attempts/{attempt}", run.id),
            run_id: run.id.to_string(),
            run_type: run.run_type().to_string(),
            job: job.map(|job| job.key.clone()),
            attempt,
            lease_until: claimed.lease_until,
            payload,
            subject: run.subject.as_ref().map(ToString::to_string),
            tenant_id: tenant_id.map(|id| id.to_string()),
            failures: job.map_or(run.failures, |job| job.failures),
        }
    }
}

/// A key as a part of a path (RFC 3986, unreserved characters stay).
fn encode(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// What a worker hears when it gives a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeardView {
    /// When the next one must have come.
    #[schema(value_type = String, format = DateTime)]
    pub lease_until: Timestamp,
    /// Somebody asked for the run to be cancelled: stop, and complete it as `cancelled`.
    pub cancel_requested: bool,
}

/// What a worker did since it last told. Numbers are added: tell them once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Progress {
    /// Numbers to add to the run, by registered key.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: BTreeMap<CountKey, u64>,
    /// Failures to append to the run.
    pub failures: Vec<WorkFailure>,
    /// A line for whoever follows the run; not kept.
    pub log: Option<String>,
    /// Steps that began or ended; of runs, not of jobs.
    pub steps: Vec<StepProgress>,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkFailure {
    /// A code that the type registers, or one that every type may use.
    #[serde(default = "run_failed")]
    #[schema(value_type = String, example = "mail.bounced")]
    pub reason_code: ReasonCode,
    /// What happened and what to do, for people.
    pub message: String,
    /// What it happened to; the run or the job when absent.
    #[serde(default)]
    pub subject: Option<String>,
}

fn run_failed() -> ReasonCode {
    ReasonCode::RunFailed
}

/// A step that began or ended. Tell of it before it acts and when it has acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepProgress {
    /// Its place in the attempt, from 0.
    pub index: u32,
    /// What it is, stable over attempts.
    #[schema(example = "mail:1207")]
    pub key: String,
    /// What it does, for people.
    pub description: String,
    /// Why it is done.
    #[serde(default)]
    pub cause: String,
    /// How it is taken back, in words; absent for a step that cannot be.
    #[serde(default)]
    pub undo: Option<String>,
    /// `started`, `succeeded` or `failed`.
    #[schema(value_type = String, example = "started")]
    pub status: StepStatus,
    /// What came of it.
    #[serde(default)]
    pub detail: Option<String>,
}

impl StepProgress {
    /// How it is taken back.
    pub fn undo(&self) -> Undo {
        match &self.undo {
            Some(description) => Undo::By { description: description.clone() },
            None => Undo::Impossible,
        }
    }
}

/// The work is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Of a run: `succeeded`, `partially_succeeded`, `blocked` or `cancelled`. Of a job:
    /// `succeeded`, `skipped` or `cancelled`.
    #[serde(default = "succeeded")]
    #[schema(value_type = String, example = "succeeded")]
    pub outcome: WorkOutcome,
    /// Numbers to add to the run with the end, by registered key.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: BTreeMap<CountKey, u64>,
    /// What could not be done.
    #[serde(default)]
    pub failures: Vec<WorkFailure>,
}

fn succeeded() -> WorkOutcome {
    WorkOutcome::Succeeded
}

impl Default for Complete {
    fn default() -> Self {
        Self { outcome: succeeded(), counts: BTreeMap::new(), failures: Vec::new() }
    }
}

/// The work failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// A code that the type registers, or one that every type may use.
    #[serde(default = "run_failed")]
    #[schema(value_type = String, example = "mail.bounced")]
    pub reason_code: ReasonCode,
    /// What happened and what to do, for people.
    pub message: String,
    /// What it happened to; the run or the job when absent.
    #[serde(default)]
    pub subject: Option<String>,
    /// Whether another attempt may help. The type says whether and when there is one.
    #[serde(default = "yes")]
    pub retryable: bool,
    /// Numbers to add to the run, by registered key; of a job, when it has ended.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: BTreeMap<CountKey, u64>,
}

fn yes() -> bool {
    true
}

/// How the work stands after its worker told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingView {
    /// The run.
    pub run_id: String,
    /// The job, if the worker had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Of the run or, if the worker had one, of the job.
    pub status: String,
    /// How the run ended; `pending` until it has.
    pub run_outcome: String,
    /// When the next attempt follows, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Whether the run waits for somebody to try it again or dismiss it.
    pub is_dead_letter: bool,
}

impl From<&Standing> for StandingView {
    fn from(standing: &Standing) -> Self {
        let (run, job) = (&standing.run, standing.job.as_ref());
        Self {
            run_id: run.id.to_string(),
            job: job.map(|job| job.key.clone()),
            status: match job {
                Some(job) => job.state.status().to_string(),
                None => run.status().to_string(),
            },
            run_outcome: run.outcome().to_string(),
            retry_at: standing.retry_at(),
            is_dead_letter: run.is_dead_letter,
        }
    }
}

/// A job of a bulk run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its name, unique in the run.
    pub key: String,
    /// `queued`, `running`, `waiting`, `succeeded`, `failed`, `skipped` or `cancelled`.
    #[schema(value_type = String, example = "running")]
    pub status: JobStatus,
    /// The tenant it works for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// What it is to do.
    pub payload: Value,
    /// The number of its latest attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that lost their worker.
    pub interruptions: u32,
    /// Who executes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When its worker must have given its next sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lease_until: Option<Timestamp>,
}

impl From<&Job> for JobView {
    fn from(job: &Job) -> Self {
        Self {
            key: job.key.clone(),
            status: job.state.status(),
            tenant_id: job.tenant_id.map(|id| id.to_string()),
            payload: job.payload.value(),
            attempt: job.attempt,
            failures: job.failures,
            interruptions: job.interruptions,
            worker: job.holder.as_ref().map(|holder| holder.instance.clone()),
            lease_until: job.lease_until,
        }
    }
}

/// Tells a field that is absent from one that is null.
pub(super) fn given<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(from).map(Some)
}
