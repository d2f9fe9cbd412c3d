//! Records how workers' attempts end. Owns the ends of hosted runs and jobs, and that telling one
//! twice changes nothing. Face: `Completion`, `Failed`, `Hosted::complete`, `Hosted::fail`. Never
//! counts an end twice: counts and end are one transaction.

use super::{Asker, Hosted, HostedError, about, check_hosted};
use crate::base::Timestamp;
use crate::base::keyed::keyed;
use crate::domain::audit::{self, AuditEvent};
use crate::domain::runs::{
    AttemptEnd, CountKey, End, Failure, Job, JobEnd, JobState, OperationRun, Outcome, RunState,
    WaitsFor,
};
use crate::operations::events::{describe_end, run_event, teller};
use crate::store::{
    AttemptRef, Change, CompleteRun, Conflict, EndJob, FailAttempt, RunProgress, StoreError, Write,
};

keyed! {
    /// How a worker may complete its work. A failure has a call of its own.
    pub enum WorkOutcome: "outcome of hosted work" {
        /// All was done.
        Succeeded = "succeeded",
        /// Some was done, some could not be; of runs only.
        PartiallySucceeded = "partially_succeeded",
        /// It needed nothing; of jobs only.
        Skipped = "skipped",
        /// It was refused; of runs only.
        Blocked = "blocked",
        /// It stopped because somebody asked for that.
        Cancelled = "cancelled",
    }
}

/// The end of an attempt's work.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// How it ended.
    pub outcome: WorkOutcome,
    /// Numbers to add to the run.
    pub counts: Vec<(CountKey, u64)>,
    /// What could not be done.
    pub failures: Vec<Failure>,
}

/// The failure of an attempt's work.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// Whether another attempt may help; the type says whether and when there is one.
    pub retryable: bool,
    /// Numbers to add to the run.
    pub counts: Vec<(CountKey, u64)>,
}

/// How a run or a job stands after its worker told.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The run.
    pub run: OperationRun,
    /// The job, if the worker had one.
    pub job: Option<Job>,
}

impl Standing {
    /// When the next attempt follows, if one does after a pause.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match (&self.job, &self.run.state) {
            (Some(job), _) => match job.state {
                JobState::Waiting { until } => Some(until),
                _ => None,
            },
            (None, RunState::Waiting(waiting)) if waiting.waits_for == WaitsFor::BackOff => {
                waiting.until
            }
            _ => None,
        }
    }
}

/// What a worker says of its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Done(WorkOutcome),
    Failed,
}

impl Hosted {
    /// The work is done. Saying so again changes nothing and answers the same.
    ///
    /// # Errors
    /// When the attempt is over in another way, a key is not registered, or the store does not
    /// take it.
    pub async fn complete(
        &self,
        at: AttemptRef,
        done: Completion,
        asker: &Asker,
    ) -> Result<Standing, HostedError> {
        let Completion { outcome, counts, failures } = done;
        let said = Said::Done(outcome);
        match at.job.clone() {
            None => {
                let end = run_end(outcome)?;
                let progress = RunProgress { counts, failures, details: None };
                self.end_run(&at, said, asker, |run| self.ending(run, end, progress, asker)).await
            }
            Some(key) => {
                let end = job_end(outcome)?;
                let write = EndJob { failures, ..self.end_of_job(&at, key, end, counts) };
                self.end_part(&at, said, asker, write).await
            }
        }
    }

    /// The work failed. Its type says whether another attempt follows.
    ///
    /// # Errors
    /// As for `complete`.
    pub async fn fail(
        &self,
        at: AttemptRef,
        failed: Failed,
        asker: &Asker,
    ) -> Result<Standing, HostedError> {
        let Failed { failure, retryable, counts } = failed;
        let failures = vec![failure];
        if let Some(key) = at.job.clone() {
            let end = self.end_of_job(&at, key, JobEnd::Failed, counts);
            let write = EndJob { failures, is_final: !retryable, ..end };
            return self.end_part(&at, Said::Failed, asker, write).await;
        }
        let progress = RunProgress { counts, failures, details: None };
        self.end_run(&at, Said::Failed, asker, |run| match retryable {
            false => self.ending(run, End::Failed, progress, asker),
            true => {
                let write = Write::FailAttempt(FailAttempt {
                    run_id: run.id,
                    attempt: run.attempt,
                    end: End::Failed,
                    at: self.ambient().now(),
                    random: self.ambient().entropy.next_u64(),
                    progress,
                });
                (write, Vec::new())
            }
        })
        .await
    }

    async fn end_run(
        &self,
        at: &AttemptRef,
        said: Said,
        asker: &Asker,
        write: impl FnOnce(&OperationRun) -> (Write, Vec<AuditEvent>),
    ) -> Result<Standing, HostedError> {
        let run = self.find(at.run_id).await?;
        check_hosted(run.run_type(), run.id)?;
        if run.attempt != at.attempt || run.state != RunState::Running {
            return self.said_before(at, said).await;
        }
        let (write, events) = write(&run);
        let teller = teller(self.ambient(), self.worker_actor(asker));
        let change = Change { writes: vec![write], events, teller };
        match self.store().change(change).await {
            Ok(notices) => self.noticed(notices),
            Err(StoreError::Conflict(Conflict::Fenced { .. } | Conflict::Illegal { .. })) => {
                return self.said_before(at, said).await;
            }
            Err(error) => return Err(error.into()),
        }
        let run = self.find(at.run_id).await?;
        self.changed(&run);
        if run.state.is_completed() {
            self.freed(&run);
        }
        Ok(Standing { run, job: None })
    }

    async fn end_part(
        &self,
        at: &AttemptRef,
        said: Said,
        asker: &Asker,
        write: EndJob,
    ) -> Result<Standing, HostedError> {
        let run = self.find(at.run_id).await?;
        check_hosted(run.run_type(), run.id)?;
        let teller = teller(self.ambient(), self.worker_actor(asker));
        let change = Change { writes: vec![Write::EndJob(write)], events: Vec::new(), teller };
        match self.store().change(change).await {
            Ok(notices) => self.noticed(notices),
            Err(StoreError::Conflict(
                Conflict::Fenced { .. } | Conflict::Illegal { .. } | Conflict::Missing { .. },
            )) => return self.said_before(at, said).await,
            Err(error) => return Err(error.into()),
        }
        let standing = self.standing(at).await?;
        if let Some(due) = standing.retry_at() {
            self.room().due_at(due);
        }
        if self.room().is_limited() {
            self.door.signals.look();
        }
        if !standing.run.state.is_completed() {
            self.changed(&standing.run);
        }
        Ok(standing)
    }

    /// The same answer again, when the worker says what it has said before.
    async fn said_before(&self, at: &AttemptRef, said: Said) -> Result<Standing, HostedError> {
        let standing = self.standing(at).await?;
        let is_same = match &standing.job {
            Some(job) => job.attempt == at.attempt && job_heard(job, said),
            None => self.run_heard(&standing.run, at.attempt, said).await?,
        };
        if is_same {
            return Ok(standing);
        }
        Err(self.stale(at).await?)
    }

    async fn run_heard(
        &self,
        run: &OperationRun,
        number: u32,
        said: Said,
    ) -> Result<bool, HostedError> {
        let ended = run.outcome();
        let attempts = self.store().attempts(run.id).await?;
        let attempt = attempts.iter().find(|attempt| attempt.number == number);
        // One that was interrupted may have ended the run alike, but without what its worker counted.
        Ok(match (attempt.and_then(|attempt| attempt.end), said) {
            (Some(AttemptEnd::Completed), Said::Done(outcome)) => {
                let same = run_end(outcome).is_ok_and(|end| end.outcome() == ended);
                same && run.attempt == number
            }
            (Some(AttemptEnd::Completed), Said::Failed) => {
                ended == Outcome::Failed && run.attempt == number
            }
            (Some(AttemptEnd::Failed), Said::Failed) => true,
            _ => false,
        })
    }

    async fn standing(&self, at: &AttemptRef) -> Result<Standing, HostedError> {
        let run = self.find(at.run_id).await?;
        let job = match &at.job {
            Some(key) => Some(self.find_job(at.run_id, key).await?),
            None => None,
        };
        Ok(Standing { run, job })
    }

    fn end_of_job(
        &self,
        at: &AttemptRef,
        key: String,
        end: JobEnd,
        counts: Vec<(CountKey, u64)>,
    ) -> EndJob {
        EndJob {
            run_id: at.run_id,
            key,
            attempt: at.attempt,
            end,
            is_final: false,
            at: self.ambient().now(),
            random: self.ambient().entropy.next_u64(),
            counts,
            failures: Vec::new(),
        }
    }

    /// The end of a run, and the event that tells of it.
    fn ending(
        &self,
        run: &OperationRun,
        end: End,
        progress: RunProgress,
        asker: &Asker,
    ) -> (Write, Vec<AuditEvent>) {
        let mut told = run.clone();
        told.failure_summary.extend(progress.failures.iter().cloned());
        for (key, by) in &progress.counts {
            told.summary_counts.add(*key, *by);
        }
        let counted = |key| Some(told.summary_counts.get(key)).filter(|count| *count > 0);
        let mut event = run_event(
            self.ambient(),
            run,
            audit::ended(run.run_type(), end),
            end.into(),
            self.worker_actor(asker),
            match end {
                End::Cancelled => format!("{} was cancelled", about(run)),
                end => describe_end(&told, end),
            },
        );
        event.context.attempt = Some(run.attempt);
        event.context.reason_code = told.failure_summary.last().map(|it| it.reason_code);
        event.context.items_succeeded = counted(CountKey::Processed);
        event.context.items_failed = counted(CountKey::Failed);
        let write = Write::CompleteRun(CompleteRun {
            run_id: run.id,
            attempt: run.attempt,
            end,
            at: self.ambient().now(),
            progress,
        });
        (write, vec![event])
    }
}

fn run_end(outcome: WorkOutcome) -> Result<End, HostedError> {
    match outcome {
        WorkOutcome::Succeeded => Ok(End::Succeeded),
        WorkOutcome::PartiallySucceeded => Ok(End::PartiallySucceeded),
        WorkOutcome::Blocked => Ok(End::Blocked),
        WorkOutcome::Cancelled => Ok(End::Cancelled),
        WorkOutcome::Skipped => {
            Err(HostedError::Invalid("only a job is `skipped`; a run `succeeded`".to_owned()))
        }
    }
}

fn job_end(outcome: WorkOutcome) -> Result<JobEnd, HostedError> {
    match outcome {
        WorkOutcome::Succeeded => Ok(JobEnd::Succeeded),
        WorkOutcome::Skipped => Ok(JobEnd::Skipped),
        WorkOutcome::Cancelled => Ok(JobEnd::Cancelled),
        WorkOutcome::PartiallySucceeded | WorkOutcome::Blocked => {
            let message = format!("a job is not {outcome}: it succeeded, was skipped or failed");
            Err(HostedError::Invalid(message))
        }
    }
}

/// Whether a job stands where the word of the worker of its latest attempt would have brought it.
fn job_heard(job: &Job, said: Said) -> bool {
    match (job.state, said) {
        (JobState::Ended(end), Said::Done(outcome)) => job_end(outcome).is_ok_and(|it| it == end),
        (JobState::Ended(JobEnd::Failed) | JobState::Waiting { .. }, Said::Failed) => true,
        _ => false,
    }
}
