//! What must hold of a simulated run queue when everything has ended. Owns these promises. Face:
//! `of_queue`. Never believes one side: records, audit log and what programs were told must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wharfinger::base::Timestamp;
use wharfinger::base::ids::RunId;
use wharfinger::domain::alerts::{Delivery, DeliveryStatus, EventKey};
use wharfinger::domain::audit::{self, AuditRecord, EventType};
use wharfinger::domain::runs::{
    CountKey, End, JobStatus, OperationRun, Outcome, ReasonCode, RunState,
};
use wharfinger::store::{AuditFilter, DeliveryFilter, JobFilter, PageRequest, Store};

use crate::programs::{Programs, REPORT, attempts_max};
use crate::promises::{Broken, all_runs};
use crate::queue::Receiver;

/// Of a queue in which every run has ended.
pub(crate) async fn of_queue(
    store: &Arc<dyn Store>,
    programs: &Programs,
    receiver: &Receiver,
) -> Broken {
    let runs = all_runs(store).await;
    let log = whole_audit(store).await;
    let mut broken = Broken::new();
    of_acceptance(programs, &runs, &mut broken);
    of_ends(&runs, &log, &mut broken);
    of_identities(&runs, &log, &mut broken);
    of_counts(programs, &runs, &mut broken);
    of_dead_letters(programs, &runs, &log, &mut broken);
    of_superseding(&runs, &log, &mut broken);
    of_firings(&runs, &log, &mut broken);
    of_deliveries(store, &runs, &log, receiver, &mut broken).await;
    for run in runs.iter().filter(|run| run.jobs.is_some()) {
        of_jobs(store, run, &mut broken).await;
    }
    for run in &runs {
        of_attempts(store, run, &mut broken).await;
    }
    broken
}

fn of_acceptance(programs: &Programs, runs: &[OperationRun], broken: &mut Broken) {
    let known: BTreeSet<RunId> = runs.iter().map(|run| run.id).collect();
    let accepted = programs.known().accepted.clone();
    let lost = accepted.difference(&known);
    broken.extend(lost.map(|run| format!("run {run}, which a program asked for, is lost")));
}

/// Every run ends once, and the log says so.
fn of_ends(runs: &[OperationRun], log: &[AuditRecord], broken: &mut Broken) {
    for run in runs {
        let RunState::Completed(end) = run.state else { continue };
        let ended = audit::ended(run.run_type(), end);
        let all = [End::Succeeded, End::Failed, End::Cancelled, End::Blocked];
        let ends: BTreeSet<EventType> =
            all.iter().map(|end| audit::ended(run.run_type(), *end)).collect();
        let told = about(log, run.id).filter(|event| ends.contains(event));
        let told: Vec<EventType> = told.collect();
        if told != [ended] {
            broken.push(format!("run {} ended {end:?}, and the log tells of {told:?}", run.id));
        }
    }
}

/// When a run was accepted and when it ended, by the log. It alone knows what came first: a request is
/// stamped before it is accepted, and the clock may jump meanwhile.
fn span(log: &[AuditRecord], run: &OperationRun) -> (Option<u64>, Option<u64>) {
    let seq_of = |event: EventType| {
        let mut told = log.iter().filter(|it| it.event.operation_run_id == Some(run.id));
        told.find(|it| it.event.event_type == event).map(|it| it.seq)
    };
    let ended = match run.state {
        RunState::Completed(end) => seq_of(audit::ended(run.run_type(), end)),
        _ => None,
    };
    (seq_of(EventType::RunQueued), ended)
}

/// Two runs that ask for the same are never active at once.
fn of_identities(runs: &[OperationRun], log: &[AuditRecord], broken: &mut Broken) {
    let mut by_identity: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for run in runs {
        let identity = run.run_identity_hash.to_string();
        by_identity.entry((run.workspace_id, identity)).or_default().push((span(log, run), run.id));
    }
    for same in by_identity.values_mut() {
        same.sort();
        for pair in same.windows(2) {
            let (((_, ended), one), ((accepted, _), other)) = (pair[0], pair[1]);
            if ended.is_none() || ended > accepted {
                broken.push(format!("runs {one} and {other} ask for the same at once"));
            }
        }
    }
}

/// What programs were told that counts, counts once.
fn of_counts(programs: &Programs, runs: &[OperationRun], broken: &mut Broken) {
    let known = programs.known();
    for run in runs.iter().filter(|run| run.run_type().is_hosted()) {
        for (key, told) in
            [(CountKey::Processed, &known.processed), (CountKey::Updated, &known.updated)]
        {
            let (sure, maybe) = told.get(&run.id).copied().unwrap_or_default();
            let counted = run.summary_counts.get(key);
            if counted < sure || counted > sure + maybe {
                broken.push(format!(
                    "run {} counts {counted} {key}, and programs know of {sure} to {}",
                    run.id,
                    sure + maybe
                ));
            }
        }
    }
}

/// A run is a dead letter when its retries are used up or of no use, and nobody dealt with it.
fn of_dead_letters(
    programs: &Programs,
    runs: &[OperationRun],
    log: &[AuditRecord],
    broken: &mut Broken,
) {
    let known = programs.known();
    let retried: BTreeSet<RunId> = runs.iter().filter_map(|run| run.retried_from).collect();
    for run in runs.iter().filter(|run| run.run_type().is_hosted()) {
        let most = attempts_max(run.run_type());
        let is_undone =
            matches!(run.state, RunState::Completed(End::Failed | End::PartiallySucceeded));
        let is_dealt_with = retried.contains(&run.id)
            || about(log, run.id).any(|event| event == EventType::RunDismissed);
        let was_dead = is_undone && most > 0 && run.cancel_requested_at.is_none();
        if run.is_dead_letter != (was_dead && !is_dealt_with) {
            broken.push(format!("run {} is a dead letter: {}", run.id, run.is_dead_letter));
        }
        if is_dealt_with && !was_dead {
            broken.push(format!("run {} was dealt with, and was no dead letter", run.id));
        }
        let has_hope = run.jobs.is_none()
            && !known.hopeless.contains(&run.id)
            && !run
                .failure_summary
                .iter()
                .any(|it| it.reason_code == ReasonCode::RunAttemptsExhausted);
        let is_failed = was_dead && run.state == RunState::Completed(End::Failed);
        if is_failed && has_hope && run.failures < most && run.cancel_requested_at.is_none() {
            broken.push(format!("run {} is given up after {} of {most}", run.id, run.failures));
        }
    }
}

/// A newer run of such a type ends the older ones of its subject.
fn of_superseding(runs: &[OperationRun], log: &[AuditRecord], broken: &mut Broken) {
    let of_type = runs.iter().filter(|run| run.run_type().to_string() == REPORT);
    let mut subjects: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for run in of_type {
        if let Some(subject) = &run.subject {
            subjects.entry(subject.to_string()).or_default().push((span(log, run), run));
        }
    }
    for same in subjects.values_mut() {
        same.sort_by_key(|(span, _)| *span);
        for pair in same.windows(2) {
            let (((_, ended), older), ((accepted, _), newer)) = (pair[0], pair[1]);
            let was_active = ended.is_none() || ended > accepted;
            // One that had not begun ended with the acceptance of the newer one.
            let mut reasons = older.failure_summary.iter().map(|failure| failure.reason_code);
            let is_ended = reasons.any(|code| code == ReasonCode::RunSuperseded);
            if was_active && !is_ended && older.cancel_requested_at.is_none() {
                broken.push(format!("run {} goes on beside the newer {}", older.id, newer.id));
            }
        }
    }
    for run in runs {
        let reasons = run.failure_summary.iter().map(|failure| failure.reason_code);
        let is_superseded = reasons.into_iter().any(|code| code == ReasonCode::RunSuperseded);
        let never_began = run.started_at.is_none();
        if is_superseded && never_began && run.outcome() != Outcome::Cancelled {
            broken.push(format!("run {} was superseded, and ended {}", run.id, run.outcome()));
        }
    }
}

/// A planned firing becomes one run at most, and each such run is one that the log knows.
fn of_firings(runs: &[OperationRun], log: &[AuditRecord], broken: &mut Broken) {
    let fired = log.iter().filter(|record| record.event.event_type == EventType::ScheduleFired);
    let mut planned = BTreeMap::new();
    let known: BTreeSet<RunId> = runs.iter().map(|run| run.id).collect();
    for record in fired {
        let summary = record.event.summary.as_str();
        let firing = summary.split_once(" fires").map_or(summary, |(firing, _)| firing);
        if let Some(other) = planned.insert(firing.to_owned(), record.event.operation_run_id) {
            broken.push(format!("{firing} fired twice; the first became {other:?}"));
        }
        if record.event.operation_run_id.is_none_or(|run| !known.contains(&run)) {
            broken.push(format!("{firing} became no run"));
        }
    }
}

/// What a rule routes is told once, by one delivery.
async fn of_deliveries(
    store: &Arc<dyn Store>,
    runs: &[OperationRun],
    log: &[AuditRecord],
    receiver: &Receiver,
    broken: &mut Broken,
) {
    let Some(since) = rule_since(log) else { return };
    let deliveries = all_deliveries(store).await;
    let retried: BTreeSet<RunId> = runs.iter().filter_map(|run| run.retried_from).collect();
    for run in runs.iter().filter(|run| run.completed_at.is_some_and(|at| at > since)) {
        let was_dead = run.is_dead_letter
            || retried.contains(&run.id)
            || about(log, run.id).any(|event| event == EventType::RunDismissed);
        for (key, is_due) in [
            (EventKey::RunFailed, run.outcome() == Outcome::Failed),
            (EventKey::RunDeadLetter, was_dead),
        ] {
            let id = run.id.to_string();
            let told = deliveries.iter().filter(|it| it.event.key == key && it.event.about == id);
            let told = told.count();
            if told != usize::from(is_due) {
                broken.push(format!("of run {id}, {told} deliveries tell {key}"));
            }
        }
    }
    let got: BTreeSet<String> = receiver.got().iter().cloned().collect();
    for delivery in &deliveries {
        let (id, status) = (delivery.id.to_string(), delivery.state.status());
        let has_arrived = got.contains(&id);
        if status == DeliveryStatus::Pending
            || (status == DeliveryStatus::Delivered && !has_arrived)
        {
            broken.push(format!("delivery {id} is {status}; heard: {has_arrived}"));
        }
    }
    let sent: BTreeSet<String> = deliveries.iter().map(|it| it.id.to_string()).collect();
    broken.extend(got.difference(&sent).map(|id| format!("delivery {id} was never written down")));
}

/// When the first rule was made.
fn rule_since(log: &[AuditRecord]) -> Option<Timestamp> {
    let put = log.iter().filter(|record| record.event.event_type == EventType::AlertRulePut);
    put.map(|record| record.event.occurred_at).min()
}

/// The jobs of a run have ended as its counts say, and it with the last of them.
async fn of_jobs(store: &Arc<dyn Store>, run: &OperationRun, broken: &mut Broken) {
    let filter = JobFilter { run_id: run.id, statuses: Vec::new() };
    let jobs = store.jobs(filter, PageRequest::default()).await.expect("jobs").items;
    let open = [JobStatus::Queued, JobStatus::Running, JobStatus::Waiting];
    let left = jobs.iter().filter(|job| open.contains(&job.state.status())).count();
    if left > 0 {
        broken.push(format!("run {} has ended, and {left} of its jobs have not", run.id));
    }
    let is_done = run.state == RunState::Completed(End::Succeeded);
    let undone = [JobStatus::Failed, JobStatus::Cancelled];
    if is_done && jobs.iter().any(|job| undone.contains(&job.state.status())) {
        broken.push(format!("run {} succeeded without all of its jobs", run.id));
    }
}

async fn of_attempts(store: &Arc<dyn Store>, run: &OperationRun, broken: &mut Broken) {
    let attempts = store.attempts(run.id).await.expect("attempts");
    for (place, attempt) in attempts.iter().enumerate() {
        if attempt.number as usize != place + 1 {
            broken.push(format!("attempt {} of run {} has no place", attempt.number, run.id));
        }
    }
    if attempts.len() != run.attempt as usize {
        broken.push(format!("run {} has {} attempts, not {}", run.id, attempts.len(), run.attempt));
    }
}

fn about(log: &[AuditRecord], run: RunId) -> impl Iterator<Item = EventType> + '_ {
    let of_run = log.iter().filter(move |record| record.event.operation_run_id == Some(run));
    of_run.map(|record| record.event.event_type)
}

async fn whole_audit(store: &Arc<dyn Store>) -> Vec<AuditRecord> {
    let filter = AuditFilter::workspace(store.scope().workspace_id);
    let (mut page, mut log) = (PageRequest::default(), Vec::new());
    loop {
        let found = store.audit(filter.clone(), page).await.expect("the log");
        log.extend(found.items);
        match found.next {
            Some(next) => page = PageRequest { limit: 0, after: Some(next) },
            None => return log,
        }
    }
}

/// Everything in the outbox.
pub(crate) async fn all_deliveries(store: &Arc<dyn Store>) -> Vec<Delivery> {
    let filter = DeliveryFilter::workspace(store.scope().workspace_id);
    let (mut page, mut all) = (PageRequest::default(), Vec::new());
    loop {
        let found = store.deliveries(filter.clone(), page).await.expect("deliveries");
        all.extend(found.items);
        match found.next {
            Some(next) => page = PageRequest { limit: 0, after: Some(next) },
            None => return all,
        }
    }
}
