//! Hears from workers while they work. Owns signs of life, progress and the words for an attempt
//! that is over. Face: `Report`, `Hosted::heartbeat`, `Hosted::report`. Never lets an attempt write
//! that was taken over.

use super::{Asker, Hosted, HostedError, Stale, check_hosted};
use crate::base::limits::{HOSTED_STEPS_MAX, REPORTED_STEPS_MAX};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    CountKey, Failure, Job, JobState, OperationRun, RunState, StepRecord, StepStatus, Undo,
};
use crate::operations::signals::Happened;
use crate::store::{AttemptRef, Conflict, Heard, RunProgress, SignOfLife, StoreError};

/// What a worker did since it last told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Numbers to add to the run.
    pub counts: Vec<(CountKey, u64)>,
    /// Failures to append to it.
    pub failures: Vec<Failure>,
    /// A line for whoever follows the run; not kept.
    pub log: Option<String>,
    /// Steps that began or ended; of runs only.
    pub steps: Vec<StepReport>,
}

/// A step that began or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// Its place in the attempt, from 0.
    pub index: u32,
    /// What it is, stable over attempts.
    pub key: String,
    /// What it does, for people.
    pub description: String,
    /// Why it is done.
    pub cause: String,
    /// Whether it can be taken back, and how.
    pub undo: Undo,
    /// Where it stands: started, succeeded or failed.
    pub status: StepStatus,
    /// What came of it.
    pub detail: Option<String>,
}

impl Hosted {
    /// The worker is alive. Its lease is renewed, and it hears whether it is to stop.
    ///
    /// # Errors
    /// When its attempt is over, or the store does not take it.
    pub async fn heartbeat(&self, at: AttemptRef) -> Result<Heard, HostedError> {
        self.sign(at, RunProgress::default()).await
    }

    /// The worker is alive and tells what it did. Numbers are added: what was told once must not
    /// be told again.
    ///
    /// # Errors
    /// When its attempt is over, a key is not registered, or the store does not take it.
    pub async fn report(&self, at: AttemptRef, report: Report) -> Result<Heard, HostedError> {
        if !report.steps.is_empty() {
            self.record_steps(&at, report.steps).await?;
        }
        let Report { counts, failures, log, .. } = report;
        let (run_id, is_news) = (at.run_id, !counts.is_empty() || !failures.is_empty());
        let heard = self.sign(at, RunProgress { counts, failures, details: None }).await?;
        if let Some(line) = log {
            let what = Happened::Log(SafeText::new(line));
            self.door.signals.publish(run_id, self.ambient().now(), what);
        }
        if is_news {
            self.changed(&self.find(run_id).await?);
        }
        Ok(heard)
    }

    async fn sign(&self, at: AttemptRef, progress: RunProgress) -> Result<Heard, HostedError> {
        self.find(at.run_id).await?;
        let sign = SignOfLife { attempt: at.clone(), at: self.ambient().now(), progress };
        match self.store().sign_of_life(sign).await {
            Err(StoreError::Conflict(conflict)) => Err(self.refused(&at, conflict).await),
            other => Ok(other?),
        }
    }

    async fn record_steps(
        &self,
        at: &AttemptRef,
        steps: Vec<StepReport>,
    ) -> Result<(), HostedError> {
        let wrong = |message: String| Err(HostedError::Invalid(message));
        if at.job.is_some() {
            return wrong("steps belong to runs; a job tells what it did in its counts".to_owned());
        }
        if steps.len() > REPORTED_STEPS_MAX {
            return wrong(format!("one report tells of at most {REPORTED_STEPS_MAX} steps"));
        }
        if steps.iter().any(|step| step.index >= HOSTED_STEPS_MAX) {
            return wrong(format!("an attempt has at most {HOSTED_STEPS_MAX} steps"));
        }
        if steps.iter().any(|step| step.status == StepStatus::Unknown) {
            return wrong("a step is `started`, `succeeded` or `failed`".to_owned());
        }
        check_hosted(self.find(at.run_id).await?.run_type(), at.run_id)?;
        let now = self.ambient().now();
        for step in steps {
            let record = StepRecord {
                run_id: at.run_id,
                attempt: at.attempt,
                index: step.index,
                key: step.key,
                description: SafeText::new(step.description),
                cause: SafeText::new(step.cause),
                undo: step.undo,
                status: step.status,
                started_at: now,
                ended_at: (step.status != StepStatus::Started).then_some(now),
                detail: step.detail.map(SafeText::new),
            };
            match self.store().record_step(record.clone(), RunProgress::default()).await {
                Err(StoreError::Conflict(conflict)) => {
                    return Err(self.refused(at, conflict).await);
                }
                other => other?,
            }
            self.door.signals.publish(at.run_id, now, Happened::Step(Box::new(record)));
        }
        Ok(())
    }

    /// What a conflict means for the worker that met it.
    pub(super) async fn refused(&self, at: &AttemptRef, conflict: Conflict) -> HostedError {
        match conflict {
            Conflict::Fenced { .. } | Conflict::Illegal { .. } | Conflict::Missing { .. } => {
                self.stale(at).await.unwrap_or_else(|error| error)
            }
            other => StoreError::Conflict(other).into(),
        }
    }

    /// Says who took over, or what else ended an attempt.
    pub(super) async fn stale(&self, at: &AttemptRef) -> Result<HostedError, HostedError> {
        let run = self.find(at.run_id).await?;
        check_hosted(run.run_type(), run.id)?;
        let stale = match &at.job {
            Some(key) => stale_job(at, &run, &self.find_job(at.run_id, key).await?),
            None => {
                let last = self.store().attempts(run.id).await?.pop();
                let holder = last.filter(|last| last.ended_at.is_none());
                stale_run(at, &run, holder.map(|last| last.holder.instance))
            }
        };
        Ok(HostedError::Stale(Box::new(stale)))
    }

    pub(super) async fn find_job(
        &self,
        run_id: crate::base::ids::RunId,
        key: &str,
    ) -> Result<Job, HostedError> {
        let job = self.store().job(run_id, key.to_owned()).await?;
        job.ok_or_else(|| HostedError::NoJob(run_id, key.to_owned()))
    }

    /// Who speaks for a worker in the audit log.
    pub(super) fn worker_actor(&self, asker: &Asker) -> crate::domain::audit::Actor {
        self.actor(asker)
    }
}

fn stale_run(at: &AttemptRef, run: &OperationRun, holder: Option<String>) -> Stale {
    let (id, number, now) = (run.id, at.attempt, run.attempt);
    let told = match (&run.state, &holder) {
        _ if number > now => {
            format!("run {id} has had {now} attempts, and none of number {number}")
        }
        (RunState::Completed(end), _) => {
            format!("run {id} has ended as {}, with attempt {now}", end.outcome())
        }
        (_, Some(holder)) if number < now => {
            format!("attempt {number} of run {id} was taken over: {holder} executes attempt {now}")
        }
        (RunState::Waiting(waiting), _) => {
            format!("attempt {number} of run {id} is over: the run waits for {}", waiting.waits_for)
        }
        _ if number < now => format!("attempt {number} of run {id} is over; {now} was the last"),
        _ => format!("attempt {number} of run {id} lost its lease; nobody has taken over yet"),
    };
    Stale { told, attempt: now, holder }
}

fn stale_job(at: &AttemptRef, run: &OperationRun, job: &Job) -> Stale {
    let (id, key, number, now) = (run.id, &job.key, at.attempt, job.attempt);
    let holder = job.holder.as_ref().map(|holder| holder.instance.clone());
    let told = match (job.state, &holder) {
        _ if number > now => {
            format!("job {key:?} of run {id} has had {now} attempts, and none of number {number}")
        }
        (JobState::Ended(_), _) => {
            let how = job.state.status();
            format!("job {key:?} of run {id} has ended as {how}, with attempt {now}")
        }
        (_, Some(holder)) => format!(
            "attempt {number} of job {key:?} of run {id} was taken over: {holder} executes \
             attempt {now}"
        ),
        _ => format!(
            "attempt {number} of job {key:?} of run {id} is over; nobody has taken over yet"
        ),
    };
    Stale { told, attempt: now, holder }
}
