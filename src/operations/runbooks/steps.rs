//! Executes the run of a runbook file, step by step, forward and backward. Owns what becomes of a
//! step that fails, takes too long or is unknown. Face: `FileRun`. Never keeps a worker while it
//! waits, and never does a step again that its journal has as ended.

use std::time::Duration;

use super::calls::{CallError, Calls, On, look_at};
use crate::base::limits::RUNBOOK_LOOK_INTERVAL;
use crate::base::time::after;
use crate::base::{Diagnostics, Timestamp};
use crate::domain::access::{PlatformIdentity, Reach};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::file::{
    Acts, Approval, CallStep, Calling, Ended, Journal, Known, Next, OnUnknown, Open, Phase,
    RunbookFile, Standing, Step as FileStep, Told, next, plan, read, run_of_step,
};
use crate::domain::runbooks::{Argument, Arguments, Ask, Start};
use crate::domain::runs::{
    CountKey, End, Failure, Outcome, ReasonCode, StepStatus, Undo, Waiting, WaitsFor,
};
use crate::operations::projects::Asker;
use crate::operations::rollout::Rollout;
use crate::operations::{RunContext, RunEnd, Step, StepError, Stop, Within};
use crate::store::{Scope, Store};

/// One attempt of such a run.
pub(super) struct FileRun<'a> {
    run: &'a RunContext,
    start: &'a Start,
    file: RunbookFile,
    calls: Calls,
    within: Within,
    on: On,
}

/// How it goes on after a step.
enum Flow {
    /// With the next one.
    On,
    /// Not in this attempt.
    Leave(Box<RunEnd>),
}

/// A step that is done or taken back.
struct Turn<'s> {
    step: &'s FileStep,
    call: &'s CallStep,
    calling: &'s Calling,
    is_undo: bool,
}

impl Turn<'_> {
    fn word(&self) -> &'static str {
        if self.is_undo { "undo" } else { "step" }
    }

    /// Of the step log: another one for each try.
    fn key(&self, failures: u32) -> String {
        match failures {
            0 => format!("{}:{}", self.word(), self.step.id),
            _ => format!("{}:{}#{}", self.word(), self.step.id, failures + 1),
        }
    }
}

/// What a run of a file sees: its tenant, or all of the workspace.
pub(super) fn borders(scope: &Scope, ask: &Ask) -> Within {
    let (tenant_id, reach) = match ask.target_tenant_id {
        Some(tenant) => (tenant, Reach::Some([tenant].into())),
        None => (scope.tenant_id, Reach::All),
    };
    Within { scope: Scope { tenant_id, ..scope.clone() }, reach, is_home: true }
}

/// What the preflight of a file finds.
pub(super) async fn look(
    store: &dyn Store,
    within: &Within,
    file: &RunbookFile,
    arguments: &Arguments,
) -> Result<Known, CallError> {
    let mut known = Known {
        arguments: arguments.clone(),
        journal: Journal { looks: Some(Default::default()), ..Journal::default() },
    };
    for look in &file.looks {
        let inputs = Calls::inputs(&look.calling, &known)?;
        let told = look_at(store, within, look.calling.call, &inputs).await?;
        known.journal.looks.get_or_insert_default().insert(look.id.clone(), told);
    }
    Ok(known)
}

impl<'a> FileRun<'a> {
    /// Of the file as it was when it was started.
    ///
    /// # Errors
    /// When this version of the program does not take the file any more.
    pub(super) fn new(
        run: &'a RunContext,
        start: &'a Start,
        text: &str,
        rollout: &Rollout,
    ) -> Result<Self, Diagnostics> {
        let file = read(start.runbook.key.key(), text)?;
        let within = borders(&rollout.store.scope(), &start.runbook);
        let calls = Calls::new(rollout, run.door(), run.ambient(), &within);
        let platform = start.platform_initiator.as_ref().map(|it| PlatformIdentity {
            user_id: it.platform_user_id,
            is_break_glass: it.is_break_glass,
            is_elevated: it.is_break_glass,
        });
        let on = On {
            asker: Asker {
                user_id: run.run().user_id,
                platform,
                is_above: platform.is_some(),
                ..Asker::local(
                    start.asker_uid.unwrap_or_default(),
                    &run.run().initiator_name,
                    run.run().source,
                )
            },
            scope: start.runbook.scope,
            tenant_id: start.runbook.target_tenant_id,
            reason: start.reason.clone(),
        };
        Ok(Self { run, start, file, calls, within, on })
    }

    /// Goes on where the journal says.
    pub(super) async fn go(&self) -> RunEnd {
        if self.journal().looks.is_none()
            && let Flow::Leave(end) = self.begin().await
        {
            return *end;
        }
        loop {
            if let Some(stop) = self.run.stop() {
                return RunEnd::stopped(stop);
            }
            let known = self.known();
            let flow = match next(&self.file, &known) {
                Next::Call(step, call) => {
                    let turn = Turn { step, call, calling: &call.calling, is_undo: false };
                    self.turn(&turn, &known).await
                }
                Next::Undo(step, call) => match &call.undo {
                    Some(calling) => {
                        let turn = Turn { step, call, calling, is_undo: true };
                        self.turn(&turn, &known).await
                    }
                    None => Flow::On,
                },
                Next::Approve(step, approval) => self.approve(step, approval, &known).await,
                Next::Skip(step) => {
                    self.end(&step.id, Standing::Skipped, Told::new());
                    Flow::On
                }
                Next::Wrong(step, error) => {
                    let message = format!("the condition of step {}: {error}", step.id);
                    self.fail(&step.id, ReasonCode::InputInvalid, message);
                    self.end(&step.id, Standing::Failed, Told::new());
                    Flow::On
                }
                Next::End => return self.ended(),
            };
            if let Flow::Leave(end) = flow {
                return *end;
            }
        }
    }

    fn journal(&self) -> Journal {
        self.run.details().journal.map(|journal| *journal).unwrap_or_default()
    }

    fn known(&self) -> Known {
        Known { arguments: self.start.runbook.arguments.clone(), journal: self.journal() }
    }

    fn change(&self, change: impl FnOnce(&mut Journal)) {
        self.run.describe(|details| change(details.journal.get_or_insert_default()));
    }

    fn now(&self) -> Timestamp {
        self.run.ambient().now()
    }

    fn count(&self, key: CountKey) {
        // The type of the run registers them all.
        let _ = self.run.count(key, 1);
    }

    fn fail(&self, step: &str, code: ReasonCode, message: impl AsRef<str>) {
        self.run.fail(Failure::new(code, format!("step:{step}"), message));
    }

    fn end(&self, id: &str, standing: Standing, told: Told) {
        self.count(CountKey::Processed);
        self.count(match standing {
            Standing::Succeeded => CountKey::Updated,
            Standing::Skipped => CountKey::Skipped,
            Standing::Failed | Standing::Refused => CountKey::Failed,
        });
        self.change(|journal| journal.end(Ended { id: id.to_owned(), standing, told }));
    }

    /// Looks again, and compares that with what somebody looked at.
    async fn begin(&self) -> Flow {
        let step = Step {
            key: "preflight".to_owned(),
            description: "look again at what the runbook would do".to_owned(),
            cause: "a preflight is good for what it found".to_owned(),
            undo: Undo::Nothing,
        };
        let ask = &self.start.runbook;
        let looked = self.run.step(step, async {
            let known = look(&**self.run.store(), &self.within, &self.file, &ask.arguments).await?;
            let found = plan(&self.file, &known);
            let is_same = self.file.digest == self.start.definition
                && found
                    .digest(ask, self.file.digest)
                    .is_ok_and(|digest| digest == self.start.preflight_digest);
            if is_same {
                self.change(|journal| *journal = known.journal);
                let _ = self.run.count(CountKey::Total, found.total_count);
            }
            Ok::<_, CallError>(is_same)
        });
        match looked.await {
            Ok(true) => Flow::On,
            Ok(false) => {
                let message = "what the runbook would do is not what was looked at, or its file is \
                               another one by now; look again, then start it with the new digest";
                let failure = Failure::new(ReasonCode::PreflightStale, "preflight", message);
                self.run.fail(failure);
                Flow::Leave(Box::new(RunEnd::ended(End::Blocked)))
            }
            Err(error) => self.stopped_or(error, "preflight"),
        }
    }

    /// An attempt that cannot go on.
    fn stopped_or(&self, error: StepError<CallError>, subject: &str) -> Flow {
        Flow::Leave(Box::new(match error {
            StepError::Stopped(stop) => RunEnd::stopped(stop),
            StepError::Failed(error) => {
                RunEnd::failed(self.run, [Failure::new(error.code, subject, &error.message)])
            }
            // The journal does not have it: a later attempt goes on from there.
            StepError::NotRecorded(_) => RunEnd::stopped(Stop::Draining),
        }))
    }

    /// Does a step, or takes it back: as far as it goes now.
    async fn turn(&self, turn: &Turn<'_>, known: &Known) -> Flow {
        let open = known.journal.open(&turn.step.id).cloned().unwrap_or_default();
        if let Some(run_id) = open.run_id {
            return self.look_after(turn, run_id, open.until).await;
        }
        let inputs = match Calls::inputs(turn.calling, known) {
            Ok(inputs) => inputs,
            Err(error) => return self.given_up(turn, &error),
        };
        let key = turn.key(open.failures);
        if turn.call.on_unknown == OnUnknown::Ask
            && let Some(attempt) = self.unknown_since(&key)
            && open.asked != Some(attempt)
        {
            self.change(|journal| journal.begin(&turn.step.id).asked = Some(attempt));
            let waiting = Waiting { waits_for: WaitsFor::Answer, until: None };
            let summary = format!(
                "runbook {} asks whether to do step {} again: nobody knows whether it acted",
                self.start.runbook.key, turn.step.id
            );
            return Flow::Leave(Box::new(RunEnd::waits(waiting).summary(summary)));
        }
        let call = turn.calling.call;
        let before = self.before(turn, &open, &inputs).await;
        let step = Step {
            key,
            description: format!("{}: {call}", turn.step.label),
            cause: match turn.is_undo {
                true => "a later step was not done".to_owned(),
                false => "the runbook says so".to_owned(),
            },
            undo: match (&turn.call.undo, call.acts()) {
                (_, Acts::Looks) => Undo::Nothing,
                (Some(undo), _) if !turn.is_undo => Undo::By { description: undo.call.to_string() },
                _ => Undo::Impossible,
            },
        };
        let acted = match call.acts() {
            Acts::Runs => {
                let id = run_of_step(self.run.run().id, &turn.step.id, open.failures, turn.is_undo);
                let until = after(self.now(), turn.call.timeout);
                self.run
                    .step(step, async {
                        let run_id = self.calls.ask(call, &inputs, &self.on, id).await?;
                        self.change(|journal| {
                            let open = journal.begin(&turn.step.id);
                            (open.run_id, open.until) = (Some(run_id), Some(until));
                        });
                        Ok(())
                    })
                    .await
            }
            Acts::Looks | Acts::Records => {
                self.run
                    .step(step, async {
                        let before = before?;
                        let acting = self.calls.perform(call, &inputs, &self.on, before.as_deref());
                        let told = tokio::time::timeout(turn.call.timeout, acting).await;
                        let told = told.map_err(|_| late(turn.call.timeout))??;
                        self.end(&turn.step.id, Standing::Succeeded, told);
                        Ok(())
                    })
                    .await
            }
        };
        match acted {
            Ok(()) => Flow::On,
            Err(StepError::Failed(error)) => self.failed(turn, &error),
            Err(error) => self.stopped_or(error, turn.word()),
        }
    }

    /// How that was which a step changes, before its first try; noted before anybody acts.
    async fn before(
        &self,
        turn: &Turn<'_>,
        open: &Open,
        inputs: &Arguments,
    ) -> Result<Option<String>, CallError> {
        if open.before.is_some() {
            return Ok(open.before.clone());
        }
        let before = self.calls.before(turn.calling.call, inputs).await?;
        if before.is_some() {
            self.change(|journal| journal.begin(&turn.step.id).before = before.clone());
            self.run.save().await?;
        }
        Ok(before)
    }

    /// The attempt in which this step was begun and of which nobody knows more.
    fn unknown_since(&self, key: &str) -> Option<u32> {
        let mut of_step = self.run.earlier_steps().iter().filter(|step| step.key == key);
        of_step.rfind(|step| step.status == StepStatus::Unknown).map(|step| step.attempt)
    }

    /// Sees how the run of a step is.
    async fn look_after(
        &self,
        turn: &Turn<'_>,
        run_id: crate::base::ids::RunId,
        until: Option<Timestamp>,
    ) -> Flow {
        let now = self.now();
        let found = match self.run.store().run(run_id).await {
            Ok(found) => found,
            Err(error) => return self.failed(turn, &error.into()),
        };
        let Some(other) = found else {
            let message = format!("run {run_id} that it asked for is gone");
            return self.failed(turn, &CallError::new(ReasonCode::NotFound, message));
        };
        if other.state.is_completed() {
            return self.other_ended(turn, run_id, &other).await;
        }
        let until = until.unwrap_or(now);
        if now >= until {
            let actor = self.on.asker.actor(&self.within.scope);
            // When it has ended meanwhile, that is as well.
            let _ = self.run.door().cancel(other.workspace_id, run_id, actor).await;
            return self.failed(turn, &late(turn.call.timeout));
        }
        let wake_at = until.min(after(now, RUNBOOK_LOOK_INTERVAL));
        let waiting = Waiting { waits_for: WaitsFor::BackOff, until: Some(wake_at) };
        self.run.door().wake_after(self.run.run().id, run_id);
        let summary = format!(
            "runbook {} waits for run {run_id} of step {}",
            self.start.runbook.key, turn.step.id
        );
        Flow::Leave(Box::new(RunEnd::waits(waiting).summary(summary)))
    }

    async fn other_ended(
        &self,
        turn: &Turn<'_>,
        run_id: crate::base::ids::RunId,
        other: &crate::domain::runs::OperationRun,
    ) -> Flow {
        if other.outcome() != Outcome::Succeeded {
            let why = other.failure_summary.first();
            let why = why.map_or_else(String::new, |it| format!(": {}", it.message));
            let message = format!("run {run_id} ended as {}{why}", other.outcome());
            let code = other.failure_summary.first().map(|it| it.reason_code);
            return self
                .failed(turn, &CallError::new(code.unwrap_or(ReasonCode::RunFailed), message));
        }
        let step = Step {
            key: format!("{}-ended:{}", turn.word(), turn.step.id),
            description: format!("{}: run {run_id} succeeded", turn.step.label),
            cause: "its run has ended".to_owned(),
            undo: Undo::Nothing,
        };
        let told = Told::from([("run_id".to_owned(), Argument::Text(run_id.to_string()))]);
        let noted = self.run.step(step, async {
            self.end(&turn.step.id, Standing::Succeeded, told);
            Ok(())
        });
        match noted.await {
            Ok(()) => Flow::On,
            Err(error) => self.stopped_or(error, turn.word()),
        }
    }

    /// A try has failed: another one follows, or none.
    fn failed(&self, turn: &Turn<'_>, error: &CallError) -> Flow {
        let journal = self.journal();
        let failures = journal.open(&turn.step.id).map_or(0, |open| open.failures) + 1;
        if failures >= turn.call.tries {
            return self.given_up(turn, error);
        }
        self.change(|journal| {
            let open = journal.begin(&turn.step.id);
            (open.failures, open.run_id, open.until) = (failures, None, None);
        });
        let waiting = Waiting {
            waits_for: WaitsFor::BackOff,
            until: Some(after(self.now(), turn.call.pause)),
        };
        let summary = format!(
            "step {} of runbook {} failed ({}); try {} of {} follows",
            turn.step.id,
            self.start.runbook.key,
            error.message,
            failures + 1,
            turn.call.tries
        );
        Flow::Leave(Box::new(RunEnd::waits(waiting).summary(summary)))
    }

    fn given_up(&self, turn: &Turn<'_>, error: &CallError) -> Flow {
        let message = match turn.is_undo {
            true => format!("it could not be taken back: {}", error.message),
            false => error.message.clone(),
        };
        self.fail(&turn.step.id, error.code, message);
        self.end(&turn.step.id, Standing::Failed, Told::new());
        Flow::On
    }

    /// Waits until somebody approves, or takes what was decided.
    async fn approve(&self, step: &FileStep, approval: &Approval, known: &Known) -> Flow {
        let Some(open) = known.journal.open(&step.id) else {
            let message = match approval.message.evaluate(known) {
                Ok(message) => message.to_string(),
                Err(error) => {
                    self.fail(&step.id, ReasonCode::InputInvalid, format!("its message: {error}"));
                    self.end(&step.id, Standing::Failed, Told::new());
                    return Flow::On;
                }
            };
            let until = after(self.now(), approval.deadline);
            self.change(|journal| {
                let open = journal.begin(&step.id);
                (open.until, open.own) = (Some(until), approval.own);
                open.message = Some(SafeText::new(&message));
            });
            let waiting = Waiting { waits_for: WaitsFor::Approval, until: Some(until) };
            let summary = format!(
                "runbook {} waits for an approval of step {}: {message}",
                self.start.runbook.key, step.id
            );
            return Flow::Leave(Box::new(RunEnd::waits(waiting).summary(summary)));
        };
        let (standing, words) = match &open.decision {
            Some(decision) if decision.approved => (Standing::Succeeded, "approved".to_owned()),
            Some(decision) => {
                let why = decision.reason.as_ref();
                let why = why.map_or_else(String::new, |reason| format!(": {reason}"));
                (Standing::Refused, format!("it was refused{why}"))
            }
            None if open.until.is_some_and(|until| self.now() < until) => {
                let waiting = Waiting { waits_for: WaitsFor::Approval, until: open.until };
                return Flow::Leave(Box::new(RunEnd::waits(waiting)));
            }
            None => (Standing::Refused, "nobody approved it in time".to_owned()),
        };
        let record = Step {
            key: format!("approve:{}", step.id),
            description: format!("{}: {words}", step.label),
            cause: "the runbook says so".to_owned(),
            undo: Undo::Nothing,
        };
        let noted = self.run.step(record, async {
            if standing == Standing::Refused {
                self.fail(&step.id, ReasonCode::Refused, &words);
            }
            self.end(&step.id, standing, Told::new());
            Ok::<_, CallError>(())
        });
        match noted.await {
            Ok(()) => Flow::On,
            Err(error) => self.stopped_or(error, "approve"),
        }
    }

    fn ended(&self) -> RunEnd {
        let journal = self.journal();
        if journal.phase() == Phase::Forward {
            return RunEnd::ended(End::Succeeded);
        }
        let is_refused = journal.ended.iter().any(|it| it.standing == Standing::Refused);
        RunEnd::ended(if is_refused { End::Blocked } else { End::Failed })
    }
}

fn late(timeout: Duration) -> CallError {
    let message = format!("it took longer than {}", crate::base::units::format_duration(timeout));
    CallError::new(ReasonCode::DeadlineExceeded, message)
}
