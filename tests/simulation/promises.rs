//! What must hold of a simulated host, whatever went wrong. Owns the promises. Face: the functions,
//! each of which tells what is broken. Never stops at the first broken one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wharfinger::base::ids::RunId;
use wharfinger::domain::runs::{End, OperationRun, Outcome, ReasonCode, RunState, StepStatus};
use wharfinger::facts::{ContainerFacts, ContainerState, Instance, ProjectSpec, RestartPolicy};
use wharfinger::store::{AuditFilter, Desired, PageRequest, Project, RunFilter, Store};
use wharfinger::world::docker::fake::EngineCall;

use crate::projects::{Declaration, ONE_SHOT, Service};

/// Promises that are broken, in words; empty when all is well.
pub(crate) type Broken = Vec<String>;

pub(crate) async fn all_runs(store: &Arc<dyn Store>) -> Vec<OperationRun> {
    let filter = RunFilter::workspace(store.scope().workspace_id);
    let mut page = PageRequest::default();
    let mut runs = Vec::new();
    loop {
        let found = store.runs(filter.clone(), page).await.expect("runs");
        runs.extend(found.items);
        match found.next {
            Some(next) => page = PageRequest { limit: 0, after: Some(next) },
            None => return runs,
        }
    }
}

/// The whole audit log, oldest last: every id and every time of a life is in it.
pub(crate) async fn whole_log(store: &Arc<dyn Store>) -> Vec<String> {
    let filter = AuditFilter::workspace(store.scope().workspace_id);
    let mut page = PageRequest::default();
    let mut log = Vec::new();
    loop {
        let found = store.audit(filter.clone(), page).await.expect("the log");
        let told = |record| serde_json::to_string(record).expect("a record");
        log.extend(found.items.iter().map(told));
        match found.next {
            Some(next) => page = PageRequest { limit: 0, after: Some(next) },
            None => return log,
        }
    }
}

/// Of every run, and of the log that tells of them.
pub(crate) async fn of_runs(store: &Arc<dyn Store>, accepted: &BTreeSet<RunId>) -> Broken {
    let runs = all_runs(store).await;
    let mut broken = Broken::new();
    let verdict = store.verify_audit().await.expect("the log");
    broken.extend(verdict.breaks.iter().map(|it| format!("the audit log is broken: {it:?}")));
    let known: BTreeSet<RunId> = runs.iter().map(|run| run.id).collect();
    broken.extend(accepted.difference(&known).map(|run| format!("accepted run {run} is lost")));
    for run in &runs {
        of_run(store, run, &mut broken).await;
    }
    one_at_a_time(&runs, &mut broken);
    broken
}

async fn of_run(store: &Arc<dyn Store>, run: &OperationRun, broken: &mut Broken) {
    let id = run.id;
    if run.outcome() == Outcome::Pending || run.completed_at.is_none() {
        let (kind, state) = (run.run_type(), &run.state);
        let attempt = run.attempt;
        broken.push(format!("run {id} ({kind}, attempt {attempt}, {state:?}) never ended"));
    }
    let attempts = store.attempts(id).await.expect("attempts");
    if attempts.iter().any(|attempt| attempt.end.is_none()) {
        broken.push(format!("run {id} has an attempt without an end"));
    }
    for pair in attempts.windows(2) {
        if pair[0].ended_at.is_none_or(|ended| ended > pair[1].started_at) {
            broken.push(format!("run {id} has two attempts at once"));
        }
    }
    let steps = store.steps(id).await.expect("steps");
    for step in steps.iter().filter(|step| step.status == StepStatus::Started) {
        broken.push(format!("run {id} has a step without an end: {}", step.description));
    }
}

/// Of the agent itself: whatever fails, it is not because of a defect.
pub(crate) async fn of_failures(store: &Arc<dyn Store>) -> Broken {
    let defects = [ReasonCode::RunPanicked, ReasonCode::Internal];
    let mut broken = Broken::new();
    for run in all_runs(store).await {
        for failure in run.failure_summary.iter().filter(|it| defects.contains(&it.reason_code)) {
            broken.push(format!("run {} met a defect: {}", run.id, failure.message.as_str()));
        }
    }
    broken
}

/// From its first attempt to its end, a run of ours has its subject for itself. A hosted one loses it
/// with its lease; what its workers are told, they check themselves.
fn one_at_a_time(runs: &[OperationRun], broken: &mut Broken) {
    let held = runs
        .iter()
        .filter(|run| !run.run_type().is_hosted())
        .filter_map(|run| Some((run.subject.clone()?, run.started_at?, run.completed_at?, run.id)));
    let mut held: Vec<_> = held.collect();
    held.sort();
    for pair in held.windows(2) {
        let ((one, _, until, first), (other, from, _, second)) = (&pair[0], &pair[1]);
        if one == other && from < until {
            broken.push(format!("runs {first} and {second} hold {one} at once"));
        }
    }
}

/// Of the last run, which nothing disturbed.
pub(crate) fn of_last_run(run: &OperationRun) -> Broken {
    if run.state == RunState::Completed(End::Succeeded) {
        return Broken::new();
    }
    let told: Vec<_> = run.failure_summary.iter().map(|it| it.message.as_str()).collect();
    let subject = run.subject.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![format!("the last run of {subject} ended {}: {}", run.outcome(), told.join("; "))]
}

/// Of what was asked for last: nothing that goes on beside it overwrites it.
pub(crate) fn of_desired(project: Option<&Project>, name: &str, desired: Desired) -> Broken {
    let kept = project.map_or(Desired::Removed, |project| project.desired);
    if kept == desired {
        return Broken::new();
    }
    vec![format!("project {name} is to be kept {desired}, and is kept {kept}")]
}

/// Of the record of a project that was brought up last.
pub(crate) fn of_project(project: Option<&Project>, name: &str) -> Broken {
    let Some(project) = project else { return vec![format!("project {name} is forgotten")] };
    let mut broken = Broken::new();
    if project.desired != Desired::Running {
        broken.push(format!("project {name} is kept {}", project.desired));
    }
    if project.revision_id.is_none() || project.revision_id != project.deployed_revision_id {
        broken.push(format!("project {name} is deployed, but not recorded so"));
    }
    broken
}

/// Of the containers of a project that is kept as declared: they are there, and run unless they say
/// that they are done, whoever else is there.
pub(crate) fn of_kept(spec: &ProjectSpec, found: &[ContainerFacts]) -> Broken {
    let mut broken = Broken::new();
    for (service, unit) in &spec.services {
        for number in 1..=unit.replicas {
            let name = format!("{}-{service}-{number}", spec.name);
            let container = found.iter().find(|it| it.name == name);
            let is_as_declared = container.is_some_and(|it| match it.state {
                ContainerState::Running => true,
                // Nobody may have watched how it ended: then its status tells.
                ContainerState::Exited => {
                    it.exit_code == 0 && unit.spec.restart == RestartPolicy::No
                }
                _ => false,
            });
            if !is_as_declared {
                let state = container.map(|it| (it.state, it.exit_code, &it.spec.restart));
                broken.push(format!("container {name} is not as declared, but {state:?}"));
            }
        }
    }
    broken
}

/// Of the containers of a project that was brought up last.
pub(crate) fn of_containers(declared: &Declaration, found: &[ContainerFacts]) -> Broken {
    let mut broken = Broken::new();
    let wanted = declared.services.iter().flat_map(|(service, of)| {
        (1..=of.replicas).map(move |number| format!("{}-{service}-{number}", declared.name))
    });
    let wanted: BTreeSet<String> = wanted.collect();
    let names: BTreeSet<String> = found.iter().map(|it| it.name.clone()).collect();
    broken.extend(wanted.difference(&names).map(|name| format!("container {name} is missing")));
    broken.extend(names.difference(&wanted).map(|name| format!("container {name} is too many")));
    let mut instances = BTreeMap::new();
    for container in found {
        let Some(instance) = container.instance.clone() else { continue };
        let is_one_shot = instance.service == ONE_SHOT;
        let is_as_it_should_be = match container.state {
            // A one-shot that nobody waits for may not have ended yet.
            ContainerState::Running => true,
            ContainerState::Exited => is_one_shot && container.exit_code == 0,
            _ => false,
        };
        if !is_as_it_should_be {
            broken.push(format!("container {} is {:?}", container.name, container.state));
        }
        let memory = container.spec.resources.memory_bytes;
        let wanted = declared.services.get(instance.service.as_str()).and_then(Service::memory);
        if memory != wanted {
            let name = &container.name;
            broken.push(format!("container {name} has {memory:?} bytes, and not {wanted:?}"));
        }
        if let Some(other) = instances.insert(instance, &container.name) {
            broken.push(format!("containers {other} and {} are one doubled", container.name));
        }
    }
    broken
}

/// Of data: nothing here ever asks for its removal.
pub(crate) fn of_volumes(seen: &BTreeSet<String>, found: &BTreeSet<String>) -> Broken {
    seen.difference(found).map(|volume| format!("volume {volume} is lost")).collect()
}

/// Of data without a name: it stays with its instance as long as that declares it, whatever becomes
/// of the containers.
pub(crate) fn of_anonymous_volumes(
    before: &BTreeMap<Instance, BTreeMap<String, String>>,
    declared: &Declaration,
    found: &[ContainerFacts],
) -> Broken {
    let is_declared = |instance: &Instance| {
        let service = declared.services.get(instance.service.as_str());
        service.is_some_and(|service| service.has_anonymous_volume)
    };
    let holds = found.iter().filter_map(|it| Some((it.instance.clone()?, &it.anonymous_volumes)));
    let changed = holds.filter(|(instance, volumes)| {
        let before = before.get(instance).filter(|before| !before.is_empty());
        is_declared(instance) && before.is_some_and(|before| before != *volumes)
    });
    changed.map(|(instance, _)| format!("{instance} lost sight of its data")).collect()
}

/// Of everything that is not ours.
pub(crate) fn of_strangers(
    before: &ContainerFacts,
    found: Option<&ContainerFacts>,
    writes: &[EngineCall],
) -> Broken {
    let is_there = found.is_some_and(|it| {
        it.id == before.id && it.name == before.name && it.state == ContainerState::Running
    });
    let touched = writes.iter().filter(|it| it.subject == before.id || it.subject == before.name);
    let mut broken: Broken =
        touched.map(|it| format!("a stranger is touched: {}", it.method)).collect();
    if !is_there {
        broken.push("a stranger is not as it was".to_owned());
    }
    broken
}
