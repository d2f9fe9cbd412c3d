use std::time::Duration;

use super::*;
use crate::domain::audit::{self, Actor};
use crate::domain::runbooks::file::Standing;
use crate::domain::runbooks::{Argument, Scope};
use crate::domain::runs::{CountKey, Outcome as RunOutcome, RunType, Source, WaitsFor};
use crate::domain::schedules::{Calendar, MissedPolicy, Overlap, Task};
use crate::operations::harness::{Agent, Ended, Host, asker};
use crate::operations::schedules::{ScheduleSpec, Schedules};
use crate::operations::{CancelError, Word};
use crate::store::{AuditFilter, PageRequest, Scope as Scope_};

const COMPOSE: &str = "services: {web: {image: 'app:1'}, db: {image: 'db:1'}}";

/// Restarts the shop while its nightly run is held back.
const MAINTENANCE: &str = r#"key: shop.maintenance
label: Maintain the shop
parameters:
  service: {type: text, default: web}
preflight:
  - {id: shop, call: project.show, with: {project: shop}}
steps:
  - id: hold
    call: schedule.pause
    with: {schedule: nightly}
    undo: {call: schedule.resume, with: {schedule: nightly}}
  - id: restart
    call: project.restart
    with: {project: shop, service: "${{ params.service }}"}
    when: preflight.shop.is_kept
  - id: release
    call: schedule.resume
    with: {schedule: nightly}
    when: steps.hold.changed
"#;

/// Asks before it restarts the shop.
const CAREFUL: &str = r#"key: shop.careful
label: Restart the shop when somebody approves
steps:
  - id: hold
    call: schedule.pause
    with: {schedule: nightly}
    undo: {call: schedule.resume, with: {schedule: nightly}}
  - {id: go, approve: {message: Restart the shop?, deadline: 40m}}
  - {id: restart, call: project.restart, with: {project: shop}}
"#;

struct Shop {
    host: Host,
    folder: tempfile::TempDir,
}

impl Shop {
    fn new(files: &[&str]) -> Self {
        let shop = Self { host: Host::new(), folder: tempfile::tempdir().unwrap() };
        for (index, text) in files.iter().enumerate() {
            shop.put(&format!("{index}.yaml"), text);
        }
        shop
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn runbooks(&self, agent: &Agent) -> Runbooks {
        let folder = Folder::new(Some(self.folder.path().to_owned()));
        Runbooks::new(Arc::clone(&agent.store), agent.door.clone(), agent.ambient.clone(), folder)
    }

    /// An agent that keeps the shop and fires its nightly schedule.
    async fn open(&mut self) -> Agent {
        let agent = self.host.start().await;
        agent.up(COMPOSE).await.assert(RunOutcome::Succeeded);
        let spec = ScheduleSpec {
            calendar: Calendar::parse("0 3 * * *", "UTC").unwrap(),
            task: Task::RestartProject { project: "shop".to_owned(), services: Vec::new() },
            jitter_max: Duration::ZERO,
            missed: MissedPolicy::Skip,
            missed_age_max: Duration::ZERO,
            overlap: Overlap::Skip,
        };
        let schedules = schedules(&agent);
        schedules.put("nightly".parse().unwrap(), spec, &asker()).await.unwrap();
        agent
    }

    async fn start(&self, agent: &Agent, key: &str) -> RunId {
        self.start_with(agent, key, Arguments::new()).await
    }

    async fn start_with(&self, agent: &Agent, key: &str, arguments: Arguments) -> RunId {
        let wish = wish(key, arguments);
        let runbooks = self.runbooks(agent);
        let looked = runbooks.preflight(&wish, &asker()).await.unwrap();
        let started = runbooks.start(&wish, looked.digest, None, &asker()).await;
        started.unwrap().run().id
    }
}

fn schedules(agent: &Agent) -> Schedules {
    Schedules::new(Arc::clone(&agent.store), agent.door.clone(), agent.ambient.clone())
}

async fn is_held(agent: &Agent) -> bool {
    schedules(agent).find("nightly").await.unwrap().is_paused
}

fn wish(key: &str, arguments: Arguments) -> Wish {
    let key = key.parse().unwrap();
    Wish { key, scope: Scope::SingleTenant, tenant_id: None, arguments }
}

fn grace() -> Asker {
    Asker::local(7, "grace", Source::Cli)
}

async fn decide(agent: &Agent, id: RunId, approved: bool, who: &Asker) -> Result<(), CancelError> {
    let word = Word { approved, reason: Some(SafeText::new("looked at it")) };
    let workspace = agent.store.scope().workspace_id;
    agent.door.decide(workspace, id, &word, who).await.map(drop)
}

fn standings(ended: &Ended) -> Vec<(&str, Standing)> {
    let journal = ended.run.context.details.journal.as_ref().unwrap();
    journal.ended.iter().map(|it| (it.id.as_str(), it.standing)).collect()
}

fn undone(ended: &Ended) -> Vec<(&str, Standing)> {
    let journal = ended.run.context.details.journal.as_ref().unwrap();
    journal.undone.iter().map(|it| (it.id.as_str(), it.standing)).collect()
}

async fn restarts(agent: &Agent) -> usize {
    agent.runs().await.iter().filter(|run| run.run_type() == RunType::RestartProject).count()
}

async fn waiting(agent: &Agent, id: RunId, for_what: WaitsFor) {
    agent.until(id, |run| run.waiting().is_some_and(|it| it.waits_for == for_what)).await;
}

async fn events(agent: &Agent, kind: EventType) -> Vec<AuditEvent> {
    let scope = agent.store.scope();
    let filter =
        AuditFilter { event_types: vec![kind], ..AuditFilter::workspace(scope.workspace_id) };
    let page = agent.store.audit(filter, PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|record| record.event).collect()
}

use Standing::{Failed, Refused, Skipped, Succeeded};

#[tokio::test(start_paused = true)]
async fn a_file_is_looked_at_and_done_step_by_step() {
    let mut shop = Shop::new(&[MAINTENANCE]);
    let agent = shop.open().await;
    let wish = wish("shop.maintenance", Arguments::new());
    let looked = shop.runbooks(&agent).preflight(&wish, &asker()).await.unwrap();
    assert_eq!(looked.preflight.affected_count, 3);
    let facts = &looked.preflight.facts;
    assert_eq!(facts["step 02 restart"], "project.restart project=shop service=web");
    assert_eq!(facts["preflight.shop.desired"], "running");
    let ended = agent.ended(shop.start(&agent, "shop.maintenance").await).await;
    ended.assert(RunOutcome::Succeeded);
    let expect = [("hold", Succeeded), ("restart", Succeeded), ("release", Succeeded)];
    assert_eq!(standings(&ended), expect);
    let keys = ["preflight", "step:hold", "step:restart", "step-ended:restart", "step:release"];
    assert_eq!(ended.keys(), keys);
    for (key, count) in [(CountKey::Total, 3), (CountKey::Processed, 3), (CountKey::Updated, 3)] {
        assert_eq!(ended.run.summary_counts.get(key), count, "{key}");
    }
    assert_eq!(ended.run.subject.as_ref().unwrap().to_string(), "runbook:shop.maintenance");
    assert!(!is_held(&agent).await);
    // The restart was a run of its own, in the name of whoever started the runbook.
    let runs = agent.runs().await;
    let restart = runs.iter().find(|run| run.run_type() == RunType::RestartProject).unwrap();
    assert_eq!(
        (restart.initiator_name.as_str(), restart.outcome()),
        ("ada", RunOutcome::Succeeded)
    );
    let told = &ended.run.context.details.journal.as_ref().unwrap().ended[1].told;
    assert_eq!(told["run_id"], Argument::Text(restart.id.to_string()));
    let paused = events(&agent, EventType::SchedulePaused).await;
    assert_eq!((paused.len(), paused[0].actor.actor_label.as_str()), (1, "ada"));
    let completed = events(&agent, EventType::RunbookCompleted).await;
    assert_eq!(completed.len(), 1);
    assert_eq!(completed[0].context.runbook.unwrap().key(), "shop.maintenance");
}

#[tokio::test(start_paused = true)]
async fn files_that_do_not_count_are_told_and_hide_nothing() {
    let mut shop = Shop::new(&[MAINTENANCE, MAINTENANCE, "key: x\nsteps: [{id: a}]\n"]);
    let agent = shop.open().await;
    let catalog = shop.runbooks(&agent).catalog();
    let keys: Vec<String> = catalog.runbooks.iter().map(|it| it.entry().key.to_string()).collect();
    assert_eq!(keys.len(), RunbookKey::ALL.len() + 1);
    assert_eq!(keys.last().unwrap(), "shop.maintenance");
    assert_eq!(catalog.problems.len(), 2, "{:#?}", catalog.problems);
    assert!(catalog.problems[0].contains("1.yaml: another file has the key"));
    assert!(catalog.problems[1].contains("2.yaml:1:6: `x` has no dot"), "{}", catalog.problems[1]);
    let unknown = shop.runbooks(&agent).find("shop.other".parse().unwrap()).unwrap_err();
    assert!(matches!(unknown, RunbookError::Unknown(_)));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_turns_the_run_round() {
    let broken = MAINTENANCE.replace("{project: shop, service", "{project: gone, service");
    let mut shop = Shop::new(&[&broken]);
    let agent = shop.open().await;
    let ended = agent.ended(shop.start(&agent, "shop.maintenance").await).await;
    ended.assert(RunOutcome::Failed);
    assert!(ended.run.is_dead_letter, "somebody looks at it");
    assert_eq!(standings(&ended), [("hold", Succeeded), ("restart", Failed)]);
    assert_eq!(undone(&ended), [("hold", Succeeded)]);
    assert!(!is_held(&agent).await, "taken back");
    let (code, message) = ended.failures()[0];
    assert_eq!((code, message), ("not_found", "the agent keeps no project gone"));
    assert_eq!(ended.keys(), ["preflight", "step:hold", "step:restart", "undo:hold"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_is_tried_again_after_its_pause() {
    let text = "key: a.b\nlabel: x\nsteps:\n  - id: hold\n    call: schedule.pause\n    with: \
                {schedule: later}\n    retry: {attempts: 3, pause: 5m}\n";
    let mut shop = Shop::new(&[text]);
    let agent = shop.open().await;
    let before = agent.ambient.now();
    let id = shop.start(&agent, "a.b").await;
    waiting(&agent, id, WaitsFor::BackOff).await;
    let ended = agent.ended(id).await;
    ended.assert(RunOutcome::Failed);
    assert_eq!(ended.keys(), ["preflight", "step:hold", "step:hold#2", "step:hold#3"]);
    let took = crate::base::time::between(before, ended.run.completed_at.unwrap());
    assert!(took >= Duration::from_secs(600) && took < Duration::from_secs(620), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_takes_too_long_is_given_up_and_its_run_cancelled() {
    let text = "key: a.b\nlabel: x\nsteps:\n  - id: deploy\n    call: project.restart\n    with: \
                {project: shop}\n    timeout: 40s\n";
    let mut shop = Shop::new(&[text]);
    let agent = shop.open().await;
    // Another run has the project, and does not end.
    agent.engine.set_latency(Duration::from_secs(3600));
    let other = agent.submit(&COMPOSE.replace("app:1", "app:2")).await;
    agent.until(other, |run| run.attempt == 1).await;
    let ended = agent.ended(shop.start(&agent, "a.b").await).await;
    ended.assert(RunOutcome::Failed);
    let (code, message) = ended.failures()[0];
    assert_eq!((code, message), ("deadline.exceeded", "it took longer than 40s"));
    let runs = agent.runs().await;
    let restart = runs.iter().find(|run| run.run_type() == RunType::RestartProject).unwrap();
    assert_eq!(restart.outcome(), RunOutcome::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_waited_for_without_a_worker_and_given_by_somebody_else() {
    let mut shop = Shop::new(&[CAREFUL]);
    let agent = shop.open().await;
    let id = shop.start(&agent, "shop.careful").await;
    waiting(&agent, id, WaitsFor::Approval).await;
    assert!(is_held(&agent).await);
    // It holds its lock: asking again finds it.
    assert_eq!(shop.start(&agent, "shop.careful").await, id);
    // It has no worker: many others are done meanwhile.
    for _ in 0..6 {
        agent.restart().await.assert(RunOutcome::Succeeded);
    }
    let before = restarts(&agent).await;
    let own = decide(&agent, id, true, &asker()).await.unwrap_err();
    assert!(matches!(own, CancelError::Own(_)), "{own}");
    decide(&agent, id, true, &grace()).await.unwrap();
    let twice = decide(&agent, id, true, &grace()).await.unwrap_err();
    assert!(matches!(twice, CancelError::NotAsking(_) | CancelError::Ended(_)), "{twice}");
    let ended = agent.ended(id).await;
    ended.assert(RunOutcome::Succeeded);
    let expect = [("hold", Succeeded), ("go", Succeeded), ("restart", Succeeded)];
    assert_eq!(standings(&ended), expect);
    assert_eq!(restarts(&agent).await, before + 1);
    let approved = events(&agent, EventType::RunApproved).await;
    assert_eq!(approved.len(), 1);
    assert_eq!(approved[0].actor.actor_label, "grace");
    assert_eq!(approved[0].operation_run_id, Some(id));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_taken_back() {
    let mut shop = Shop::new(&[CAREFUL]);
    let agent = shop.open().await;
    let id = shop.start(&agent, "shop.careful").await;
    waiting(&agent, id, WaitsFor::Approval).await;
    // Whoever started it may refuse it too.
    decide(&agent, id, false, &asker()).await.unwrap();
    let ended = agent.ended(id).await;
    ended.assert(RunOutcome::Blocked);
    assert_eq!(standings(&ended), [("hold", Succeeded), ("go", Refused)]);
    assert_eq!(undone(&ended), [("hold", Succeeded)]);
    assert_eq!(ended.failures()[0], ("refused", "it was refused: looked at it"));
    assert!(!is_held(&agent).await);
    assert_eq!(restarts(&agent).await, 0);
    let failed = events(&agent, EventType::RunbookFailed).await;
    assert_eq!(failed[0].outcome, audit::Outcome::Blocked);
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_nobody_gives_in_time_counts_as_refused() {
    let mut shop = Shop::new(&[CAREFUL]);
    let agent = shop.open().await;
    let before = agent.ambient.now();
    let id = shop.start(&agent, "shop.careful").await;
    waiting(&agent, id, WaitsFor::Approval).await;
    let run = agent.until(id, |run| run.state.is_completed()).await;
    let took = crate::base::time::between(before, run.completed_at.unwrap());
    assert!(took >= Duration::from_secs(2400) && took < Duration::from_secs(2500), "{took:?}");
    let ended = agent.ended(id).await;
    ended.assert(RunOutcome::Blocked);
    assert_eq!(ended.failures()[0], ("refused", "nobody approved it in time"));
    assert!(!is_held(&agent).await);
}

#[tokio::test(start_paused = true)]
async fn a_started_run_does_what_its_file_said_then() {
    let mut shop = Shop::new(&[CAREFUL]);
    let agent = shop.open().await;
    let id = shop.start(&agent, "shop.careful").await;
    waiting(&agent, id, WaitsFor::Approval).await;
    // The file becomes another one, which waits for the first one's lock; then it goes.
    shop.put("0.yaml", &CAREFUL.replace("project.restart", "project.remove"));
    let other = shop.start(&agent, "shop.careful").await;
    assert_ne!(other, id);
    assert_eq!(agent.run(other).await.attempt, 0, "it waits for the lock");
    agent.door.cancel(agent.store.scope().workspace_id, other, Actor::agent()).await.unwrap();
    std::fs::remove_file(shop.folder.path().join("0.yaml")).unwrap();
    let agent = {
        agent.kill().await;
        shop.host.start().await
    };
    decide(&agent, id, true, &grace()).await.unwrap();
    agent.ended(id).await.assert(RunOutcome::Succeeded);
    assert_eq!(restarts(&agent).await, 1);
    assert!(!agent.containers().await.is_empty(), "nothing was removed");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_of_another_file_or_another_finding_is_stale() {
    let mut shop = Shop::new(&[MAINTENANCE]);
    let agent = shop.open().await;
    let wish = wish("shop.maintenance", Arguments::new());
    let runbooks = shop.runbooks(&agent);
    let looked = runbooks.preflight(&wish, &asker()).await.unwrap();
    shop.put("0.yaml", &MAINTENANCE.replace("Maintain the shop", "Maintain the shop well"));
    let started = runbooks.start(&wish, looked.digest, None, &asker()).await;
    let ended = agent.ended(started.unwrap().run().id).await;
    ended.assert(RunOutcome::Blocked);
    assert_eq!(ended.failures()[0].0, "preflight.stale");
    assert_eq!(ended.keys(), ["preflight"]);
    assert!(!is_held(&agent).await, "nothing was done");
    // The same file, but what it looks at is not as it was.
    let looked = runbooks.preflight(&wish, &asker()).await.unwrap();
    agent.projects.pause("shop", &asker()).await.unwrap();
    let started = runbooks.start(&wish, looked.digest, None, &asker()).await;
    agent.ended(started.unwrap().run().id).await.assert(RunOutcome::Blocked);
    agent.ended(shop.start(&agent, "shop.maintenance").await).await.assert(RunOutcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_condition_leaves_a_step_out_and_another_runbook_is_called() {
    let text = "key: host.check\nlabel: Check the host\nreason: always\nparameters:\n  deep: \
                {type: yes_no}\nsteps:\n  - {id: audit, call: audit.verify}\n  - {id: store, call: \
                store.maintenance, when: params.deep}\n  - {id: again, call: runs.retry_failed, \
                with: {limit: 3}, when: steps.store.outcome == 'skipped'}\n";
    let mut shop = Shop::new(&[text]);
    let agent = shop.open().await;
    let runbooks = shop.runbooks(&agent);
    let wish = wish("host.check", Arguments::from([("deep".to_owned(), Argument::YesNo(false))]));
    let looked = runbooks.preflight(&wish, &asker()).await.unwrap();
    let refused = runbooks.start(&wish, looked.digest, None, &asker()).await.unwrap_err();
    assert!(matches!(refused, RunbookError::Ask(AskError::NoReason)));
    let reason = Reason {
        reason_code: crate::domain::access::ReasonKind::Support,
        reason_text: SafeText::new("as every month"),
    };
    let started = runbooks.start(&wish, looked.digest, Some(reason), &asker()).await;
    let ended = agent.ended(started.unwrap().run().id).await;
    ended.assert(RunOutcome::Succeeded);
    let expect = [("audit", Succeeded), ("store", Skipped), ("again", Succeeded)];
    assert_eq!(standings(&ended), expect);
    let runs = agent.runs().await;
    let mut called: Vec<String> = runs
        .iter()
        .filter_map(|run| run.context.inputs.runbook())
        .map(|start| start.runbook.key.to_string())
        .collect();
    called.sort();
    assert_eq!(called, ["audit.verify", "host.check", "runs.retry_failed"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_started_and_done_within_the_borders_of_whoever_asks() {
    let mut shop = Shop::new(&[MAINTENANCE]);
    let agent = shop.open().await;
    let other = TenantId::from_u128(404);
    let home = agent.store.scope();
    let elsewhere = Within { reach: Reach::Some([other].into()), ..Within::host(home.clone()) };
    let wish = wish("shop.maintenance", Arguments::new());
    let within = |within: Within| shop.runbooks(&agent).within(within);
    let refused = within(elsewhere.clone()).preflight(&wish, &asker()).await.unwrap_err();
    assert!(matches!(refused, RunbookError::UnknownTenant(_)), "{refused}");
    let abroad = Within { is_home: false, ..Within::host(home.clone()) };
    let refused = within(abroad).preflight(&wish, &asker()).await.unwrap_err();
    assert!(matches!(refused, RunbookError::OutOfReach), "{refused}");
    // One tenant is reached, but one of the operations works for all.
    shop.put(
        "all.yaml",
        "key: host.audit\nlabel: x\nreason: always\nsteps: [{id: a, call: audit.verify}]\n",
    );
    let own = Within { reach: Reach::Some([home.tenant_id].into()), ..Within::host(home.clone()) };
    let all = self::wish("host.audit", Arguments::new());
    let refused = within(own.clone()).preflight(&all, &asker()).await.unwrap_err();
    assert!(matches!(refused, RunbookError::OutOfReach), "{refused}");
    within(Within::host(home.clone())).preflight(&all, &asker()).await.unwrap();
    within(own).preflight(&wish, &asker()).await.unwrap();
    // What belongs to another tenant is not there for a run of this one.
    let theirs = Within { scope: Scope_ { tenant_id: other, ..home }, ..elsewhere };
    let file = shop.runbooks(&agent).find(wish.key).unwrap();
    let told = Arguments::from([("service".to_owned(), Argument::Text("web".to_owned()))]);
    let known = steps::look(&*agent.store, &theirs, file.file().unwrap(), &told).await.unwrap();
    let looks = known.looks();
    assert_eq!(looks["shop"]["is_kept"], Argument::YesNo(false));
}

/// Kills the agent after so many turns of its tasks, again and again, and answers what it asks.
async fn kill_between_steps(text: &str, every: usize) -> (Ended, usize, usize, bool) {
    let mut shop = Shop::new(&[text]);
    let mut agent = shop.open().await;
    let id = shop.start(&agent, "shop.maintenance").await;
    let (mut kills, mut answers) = (0, 0);
    while !agent.run(id).await.state.is_completed() {
        if agent.run(id).await.waiting().is_some_and(|it| it.waits_for == WaitsFor::Answer) {
            decide(&agent, id, true, &asker()).await.unwrap();
            answers += 1;
        }
        for _ in 0..every {
            tokio::task::yield_now().await;
        }
        if kills < 6 {
            agent.kill().await;
            agent = shop.host.start().await;
            kills += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let ended = agent.ended(id).await;
    let done = restarts(&agent).await;
    let held = is_held(&agent).await;
    (ended, done, answers, held)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_between_and_within_steps_goes_on_where_it_was() {
    let asking =
        MAINTENANCE.replace("    when: preflight", "    on_unknown: ask\n    when: preflight");
    let mut unknown = 0;
    for every in [1, 2, 3, 5, 8, 11, 14, 17, 20, 30] {
        let (ended, done, answers, held) = kill_between_steps(&asking, every).await;
        ended.assert(RunOutcome::Succeeded);
        let expect = [("hold", Succeeded), ("restart", Succeeded), ("release", Succeeded)];
        assert_eq!(standings(&ended), expect, "killed after each {every} turns");
        assert_eq!(done, 1, "killed after each {every} turns: asked for once");
        assert!(!held, "killed after each {every} turns");
        assert_eq!(ended.run.summary_counts.get(CountKey::Processed), 3);
        assert_eq!(ended.run.summary_counts.get(CountKey::Total), 3);
        unknown += answers;
    }
    assert!(unknown > 0, "no kill fell into the step that asks");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_on_its_way_back_takes_each_step_back_once() {
    let broken = MAINTENANCE.replace(
        "    call: schedule.resume\n    with: {schedule: nightly}\n    when",
        "    call: schedule.resume\n    with: {schedule: gone}\n    when",
    );
    for every in [1, 3, 5, 8, 13, 21] {
        let (ended, done, _, held) = kill_between_steps(&broken, every).await;
        ended.assert(RunOutcome::Failed);
        assert_eq!(undone(&ended), [("hold", Succeeded)], "killed after each {every} turns");
        assert_eq!((done, held), (1, false), "killed after each {every} turns");
    }
}
