//! The users' programs around a simulated agent's run queue: they register types, ask for runs,
//! claim and execute them, sometimes slowly, sometimes not at all, and an operator gets in the way.
//! Owns what the programs know. Face: `Programs`, `Counter`. Never looks into the store: a program
//! knows what it was told, and that is what must be true.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use wharfinger::base::ids::RunId;
use wharfinger::base::time::after;
use wharfinger::base::{Clock, Timestamp};
use wharfinger::domain::access::Capability;
use wharfinger::domain::runs::{
    CountKey, Definition, Failure, Inputs, JobEnd, JobState, OperationRun, QueueScope, ReasonCode,
    Retry, RunType, Source,
};
use wharfinger::operations::hosted::{
    ClaimRequest, Completion, ControlChange, Failed, Hosted, HostedError, NewPart, NewRun, Report,
    RetryParts, Standing, TypeRequest, WorkOutcome,
};
use wharfinger::operations::projects::Asker;
use wharfinger::store::{AttemptRef, Claimed};

use crate::mortal::Dice;
use crate::promises::Broken;

/// Tried again when it fails.
pub(crate) const MAIL: &str = "shop.mail";
/// Made of jobs.
pub(crate) const LETTERS: &str = "shop.letters";
/// A newer one takes the place of an older one.
pub(crate) const REPORT: &str = "shop.report";
const TYPES: [&str; 3] = [MAIL, LETTERS, REPORT];
/// Failed attempts until a run of a type is a dead letter.
pub(crate) fn attempts_max(run_type: RunType) -> u32 {
    match run_type.to_string().as_str() {
        MAIL => 3,
        LETTERS => 2,
        _ => 0,
    }
}
/// What every program calls itself.
const WORKERS: [&str; 3] = ["worker-0", "worker-1", "worker-2"];
const PATIENCE: Duration = Duration::from_secs(3);

/// What an agent offers to programs.
pub(crate) struct Counter {
    pub(crate) hosted: Hosted,
    pub(crate) asker: Asker,
}

/// The programs of a simulated host; they outlive its agents.
#[derive(Default)]
pub(crate) struct Programs(Mutex<Known>);

/// What the programs were told.
#[derive(Default)]
pub(crate) struct Known {
    /// Runs that were accepted.
    pub(crate) accepted: BTreeSet<RunId>,
    works: Vec<Work>,
    /// What was counted with an end that was acknowledged, and what may have been besides.
    pub(crate) processed: BTreeMap<RunId, (u64, u64)>,
    /// The same of progress.
    pub(crate) updated: BTreeMap<RunId, (u64, u64)>,
    /// Runs whose worker said that another attempt is of no use.
    pub(crate) hopeless: BTreeSet<RunId>,
    /// Nobody dawdles any more.
    is_in_haste: bool,
    pub(crate) broken: Broken,
}

/// A piece of work that a program was given.
#[derive(Debug, Clone)]
struct Work {
    worker: usize,
    at: AttemptRef,
    subject: Option<String>,
    lease_until: Timestamp,
    /// What its worker has decided to say about it.
    ending: Option<Ending>,
    /// Its worker does not work on it any more.
    is_over: bool,
    /// Its worker knows what came of it, or never will.
    is_settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done(WorkOutcome),
    Fails { retryable: bool },
}

impl Programs {
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host was started anew: no program has survived.
    pub(crate) fn reboot(&self) {
        let mut known = self.known();
        let works: Vec<Work> =
            known.works.iter().filter(|work| !work.is_settled).cloned().collect();
        for work in works.iter().filter(|work| work.ending.is_some()) {
            known.processed.entry(work.at.run_id).or_default().1 += 1;
        }
        for work in &mut known.works {
            (work.is_over, work.is_settled) = (true, true);
        }
    }

    /// Nobody dawdles from now on.
    pub(crate) fn hurry(&self) {
        self.known().is_in_haste = true;
    }

    /// Whether every program knows what came of its work.
    pub(crate) fn is_settled(&self) -> bool {
        self.known().works.iter().all(|work| work.is_settled)
    }

    /// Registers the types.
    pub(crate) async fn register(&self, counter: &Counter) -> Result<(), HostedError> {
        for name in TYPES {
            let name = name.parse().expect("a name");
            let request = TypeRequest { name, definition: definition(RunType::Hosted(name)) };
            counter.hosted.register(request, &counter.asker).await?;
        }
        Ok(())
    }

    /// Works for as long as the agents live.
    pub(crate) async fn work(
        &self,
        number: usize,
        counter: &Counter,
        dice: &Dice,
        clock: &dyn Clock,
    ) {
        let worker = Worker { programs: self, number, counter, dice, clock };
        loop {
            let place = match worker.unsettled() {
                Some(place) => place,
                None => {
                    worker.claim().await;
                    continue;
                }
            };
            worker.execute(place).await;
        }
    }

    pub(crate) const fn workers() -> usize {
        WORKERS.len()
    }

    /// Somebody asks for something of the queue.
    pub(crate) async fn ask(&self, counter: &Counter, dice: &Dice, now: Timestamp) {
        let (hosted, asker) = (&counter.hosted, &counter.asker);
        let answer = match dice.below(16) {
            0..=9 => self.enqueue(counter, dice, now).await,
            10 | 11 => self.control(counter, dice).await,
            12 => match self.some_run(dice) {
                Some(id) => {
                    let parts = *dice
                        .choose(&[RetryParts::All, RetryParts::FailedOnly])
                        .unwrap_or(&RetryParts::All);
                    hosted.retry(id, parts, asker).await.map(|run| self.accept(run.id))
                }
                None => Ok(()),
            },
            _ => self.enqueue(counter, dice, now).await,
        };
        self.judge(answer);
    }

    /// An answer that nobody should have got.
    fn judge(&self, answer: Result<(), HostedError>) {
        use HostedError::{ActiveRun, Busy, Closed, NoRun, NotDead, Store, UnknownType};
        match answer {
            // A type may not be registered yet, because the agent died or did not reach its store.
            Ok(()) | Err(ActiveRun(_) | Busy | Closed | NoRun(_) | NotDead(_) | UnknownType(_)) => {
            }
            Err(Store(error)) if is_planted(&error) => {}
            Err(error) => self.known().broken.push(format!("a program is refused: {error:?}")),
        }
    }

    fn accept(&self, run: RunId) {
        self.known().accepted.insert(run);
    }

    /// A run that was accepted once.
    pub(crate) fn some_run(&self, dice: &Dice) -> Option<RunId> {
        let runs: Vec<RunId> = self.known().accepted.iter().copied().collect();
        dice.choose(&runs).copied()
    }

    async fn enqueue(
        &self,
        counter: &Counter,
        dice: &Dice,
        now: Timestamp,
    ) -> Result<(), HostedError> {
        let name = dice.choose(&TYPES).copied().unwrap_or(MAIL);
        let some = |text: &str, sides| Some(format!("{text}-{}", dice.below(sides)));
        let part = |number| NewPart {
            key: format!("part-{number}"),
            payload: json!({"part": number}),
            tenant_id: None,
        };
        let new = NewRun {
            run_type: name.parse().expect("a name"),
            payload: json!({"order": dice.below(6)}),
            identity: if dice.once_in(2) { some("order", 4) } else { None },
            subject: if dice.once_in(3) { None } else { some("till", 2) },
            priority: Some(i8::try_from(dice.below(3)).unwrap_or(0) - 1),
            run_at: dice.once_in(4).then(|| after(now, Duration::from_secs(dice.below(60)))),
            tenant_id: None,
            jobs: (name == LETTERS).then(|| (0..=dice.below(4)).map(part).collect()),
        };
        let admitted = counter.hosted.enqueue(new, &counter.asker).await?;
        self.accept(admitted.run().id);
        Ok(())
    }

    async fn control(&self, counter: &Counter, dice: &Dice) -> Result<(), HostedError> {
        let name = dice.choose(&TYPES).copied().unwrap_or(MAIL);
        let scope = match dice.below(3) {
            0 => QueueScope::Workspace,
            _ => QueueScope::Type(name.parse().expect("a type")),
        };
        let change = match dice.below(3) {
            0 => ControlChange { scope, is_paused: Some(true), concurrency_max: None },
            1 => ControlChange { scope, is_paused: Some(false), concurrency_max: Some(None) },
            _ => {
                let most = u32::try_from(1 + dice.below(2)).unwrap_or(1);
                ControlChange { scope, is_paused: None, concurrency_max: Some(Some(most)) }
            }
        };
        counter.hosted.control(change, &counter.asker).await.map(drop)
    }

    /// Nothing holds the queue back any more.
    pub(crate) async fn let_go(&self, counter: &Counter) {
        for control in counter.hosted.controls().await.expect("controls") {
            let (is_paused, concurrency_max) = (Some(false), Some(None));
            let change = ControlChange { scope: control.scope, is_paused, concurrency_max };
            counter.hosted.control(change, &counter.asker).await.expect("a control");
        }
    }
}

/// Whether an error is one that the simulation made.
pub(crate) fn is_planted(error: &wharfinger::store::StoreError) -> bool {
    matches!(error, wharfinger::store::StoreError::Away { .. })
}

/// Who asks for something.
pub(crate) fn program() -> Asker {
    Asker::local(1001, "shop", Source::Api)
}

fn reason() -> ReasonCode {
    "till.empty".parse().expect("a reason")
}

fn definition(run_type: RunType) -> Definition {
    let retry = Retry {
        attempts_max: attempts_max(run_type),
        first: Duration::from_secs(2),
        factor: 3,
        longest: Duration::from_secs(60),
        jitter_percent: 20,
    };
    let name = run_type.to_string();
    let built_in = Definition::built_in("simulated", Capability::RunsEnqueue, &[]);
    Definition {
        label: Cow::Owned(format!("Simulated {name}")),
        counts: Cow::Borrowed(&[CountKey::Processed, CountKey::Updated]),
        reason_codes: Cow::Owned(vec![reason()]),
        retry: if retry.attempts_max == 0 { Retry::NEVER } else { retry },
        timeout: (name == REPORT).then_some(Duration::from_secs(90)),
        lease: Duration::from_secs(20),
        supersedes: name == REPORT,
        ..built_in
    }
}

impl Known {
    /// A program was given a piece of work: nobody else has it, and nobody has its subject.
    fn hand(&mut self, worker: usize, claimed: &Claimed, now: Timestamp) {
        let run = &claimed.run;
        let job = claimed.job.as_ref();
        let attempt = job.map_or(run.attempt, |job| job.attempt);
        let at = AttemptRef { run_id: run.id, job: job.map(|job| job.key.clone()), attempt };
        let subject = subject(run);
        for other in &self.works {
            let is_same = other.at.run_id == at.run_id && other.at.job == at.job;
            let is_alive = !other.is_over && other.lease_until > now;
            if is_same && other.at.attempt >= at.attempt {
                self.broken
                    .push(format!("{at:?} is handed out after attempt {}", other.at.attempt));
            }
            if is_same && is_alive {
                self.broken.push(format!("{at:?} has two holders: {other:?} lives at {now}"));
            }
            let is_rival =
                subject.is_some() && other.subject == subject && other.at.run_id != run.id;
            if is_rival && is_alive {
                self.broken.push(format!("{at:?} and {other:?} hold one subject at {now}"));
            }
        }
        let lease_until = claimed.lease_until;
        let (ending, is_over, is_settled) = (None, false, false);
        self.works.push(Work { worker, at, subject, lease_until, ending, is_over, is_settled });
    }

    /// Whether somebody was given a later attempt of the same.
    fn is_fenced(&self, at: &AttemptRef) -> bool {
        let is_later = |other: &Work| {
            other.at.run_id == at.run_id && other.at.job == at.job && other.at.attempt > at.attempt
        };
        self.works.iter().any(is_later)
    }
}

/// What was asked for, whatever the store made of it.
fn subject(run: &OperationRun) -> Option<String> {
    match &run.context.inputs {
        Inputs::Hosted(hosted) => hosted.subject.as_ref().map(ToString::to_string),
        _ => None,
    }
}

/// One program that executes runs.
struct Worker<'a> {
    programs: &'a Programs,
    number: usize,
    counter: &'a Counter,
    dice: &'a Dice,
    clock: &'a dyn Clock,
}

impl Worker<'_> {
    fn unsettled(&self) -> Option<usize> {
        let known = self.programs.known();
        known.works.iter().position(|work| work.worker == self.number && !work.is_settled)
    }

    /// Asks for work, and may leave before it has heard of any.
    async fn claim(&self) {
        let chosen = TYPES.iter().filter(|_| !self.dice.once_in(4));
        let mut run_types: Vec<RunType> =
            chosen.map(|name| name.parse().expect("a type")).collect();
        if run_types.is_empty() {
            run_types.push(MAIL.parse().expect("a type"));
        }
        let request = ClaimRequest {
            run_types,
            limit: usize::try_from(1 + self.dice.below(3)).unwrap_or(1),
            worker: WORKERS[self.number].to_owned(),
            wait: Duration::from_secs(self.dice.below(30)),
        };
        let leaves_after = match self.dice.once_in(4) {
            true => Duration::from_millis(self.dice.below(20_000)),
            false => Duration::from_secs(60),
        };
        let claiming = self.counter.hosted.claim(request);
        match tokio::time::timeout(leaves_after, claiming).await {
            Ok(Ok(claimed)) if !claimed.is_empty() => {
                let mut known = self.programs.known();
                for claimed in &claimed {
                    known.hand(self.number, claimed, self.clock.now());
                }
            }
            Ok(Ok(_)) | Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            Ok(Err(error)) => {
                self.programs.judge(Err(error));
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }

    fn get(&self, place: usize) -> Work {
        self.programs.known().works[place].clone()
    }

    fn set(&self, place: usize, change: impl FnOnce(&mut Work)) {
        change(&mut self.programs.known().works[place]);
    }

    async fn execute(&self, place: usize) {
        if self.get(place).ending.is_none() {
            let Some(ending) = self.toil(place).await else { return };
            self.set(place, |work| work.ending = Some(ending));
        }
        self.end(place).await;
    }

    /// Works on something until it knows how that ends; nothing when it gives up without a word.
    async fn toil(&self, place: usize) -> Option<Ending> {
        let mut is_cancelled = false;
        for _ in 0..self.dice.below(3) {
            let is_in_haste = self.programs.known().is_in_haste;
            let pause = match self.dice.once_in(8) && !is_in_haste {
                true => Duration::from_secs(15 + self.dice.below(60)),
                false => Duration::from_millis(self.dice.below(6_000)),
            };
            tokio::time::sleep(pause).await;
            match self.sign(place).await {
                Ok(cancel_requested) => is_cancelled |= cancel_requested,
                // A stubborn one goes on, and says in the end what it did.
                Err(HostedError::Stale(_)) if self.dice.once_in(2) => {
                    self.set(place, |work| (work.is_over, work.is_settled) = (true, true));
                    return None;
                }
                Err(_) => {}
            }
        }
        if self.dice.once_in(12) && !self.programs.known().is_in_haste {
            // It dies; its lease must run out.
            self.set(place, |work| (work.is_over, work.is_settled) = (true, true));
            return None;
        }
        if is_cancelled {
            return Some(Ending::Done(WorkOutcome::Cancelled));
        }
        let is_job = self.get(place).at.job.is_some();
        Some(match self.dice.below(8) {
            0 | 1 => Ending::Fails { retryable: true },
            2 => Ending::Fails { retryable: false },
            3 if !is_job => Ending::Done(WorkOutcome::PartiallySucceeded),
            4 if is_job => Ending::Done(WorkOutcome::Skipped),
            _ => Ending::Done(WorkOutcome::Succeeded),
        })
    }

    /// A sign of life, with what was done or without; whether somebody wants it to stop.
    async fn sign(&self, place: usize) -> Result<bool, HostedError> {
        let work = self.get(place);
        let is_fenced = self.programs.known().is_fenced(&work.at);
        let run = work.at.run_id;
        let heard = if self.dice.once_in(2) {
            // Until its answer is heard, it may have been counted.
            self.programs.known().updated.entry(run).or_default().1 += 1;
            let counts = vec![(CountKey::Updated, 1)];
            let report = Report { counts, ..Report::default() };
            let heard = self.counter.hosted.report(work.at.clone(), report).await;
            let mut known = self.programs.known();
            let (sure, maybe) = known.updated.entry(run).or_default();
            match &heard {
                Ok(_) => (*sure, *maybe) = (*sure + 1, *maybe - 1),
                Err(HostedError::Stale(_)) => *maybe -= 1,
                Err(_) => {}
            }
            heard
        } else {
            self.counter.hosted.heartbeat(work.at.clone()).await
        }?;
        if is_fenced {
            let told = format!("{:?} was taken over, and its sign of life was taken", work.at);
            self.programs.known().broken.push(told);
        }
        self.set(place, |work| work.lease_until = heard.lease_until);
        Ok(heard.cancel_requested)
    }

    /// Says how it ended, again and again until that is heard.
    async fn end(&self, place: usize) {
        let work = self.get(place);
        let Some(ending) = work.ending else { return };
        self.set(place, |work| work.is_over = true);
        if matches!(ending, Ending::Fails { retryable: false }) {
            self.programs.known().hopeless.insert(work.at.run_id);
        }
        loop {
            let is_fenced = self.programs.known().is_fenced(&work.at);
            match self.say(&work.at, ending).await {
                Ok(standing) => {
                    self.heard(&work.at, ending, &standing, is_fenced);
                    break;
                }
                Err(HostedError::Stale(_)) => break,
                Err(error) => {
                    self.programs.judge(Err(error));
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
        self.set(place, |work| work.is_settled = true);
    }

    async fn say(&self, at: &AttemptRef, ending: Ending) -> Result<Standing, HostedError> {
        let (hosted, asker) = (&self.counter.hosted, &self.counter.asker);
        let counts = vec![(CountKey::Processed, 1)];
        match ending {
            Ending::Done(outcome) => {
                let done = Completion { outcome, counts, failures: Vec::new() };
                hosted.complete(at.clone(), done, asker).await
            }
            Ending::Fails { retryable } => {
                let failure = Failure::new(reason(), "till:1", "the paper is out");
                hosted.fail(at.clone(), Failed { failure, retryable, counts }, asker).await
            }
        }
    }

    fn heard(&self, at: &AttemptRef, ending: Ending, standing: &Standing, is_fenced: bool) {
        let mut known = self.programs.known();
        // A failure that another attempt followed is answered the same as often as it is told.
        if is_fenced && !matches!(ending, Ending::Fails { .. }) {
            known.broken.push(format!("{at:?} was taken over, and ended all the same"));
        }
        let is_counted = match (standing.job.as_ref().map(|job| job.state), ending) {
            (None, _) => true,
            // One that was to be tried again may have been cancelled before this was answered.
            (Some(state), Ending::Fails { .. }) => state == JobState::Ended(JobEnd::Failed),
            (Some(state), Ending::Done(_)) => matches!(state, JobState::Ended(_)),
        };
        if is_counted {
            known.processed.entry(at.run_id).or_default().0 += 1;
        }
    }
}
