//! Proves when hooks are executed, what follows one that fails, and that a start is never without
//! its hooks because an agent or an engine went away in between. Owns no host. Face: none. Never on
//! a real engine.

use std::collections::BTreeMap;
use std::time::Duration;

use super::written;
use crate::domain::runs::{HealInstance, Inputs, Outcome, Source};
use crate::facts::{ContainerState, Health};
use crate::operations::Request;
use crate::operations::harness::{Agent, Ended, Host};
use crate::world::docker::fake::{Behaviour, FakeEngine, HealthCourse};
use crate::world::docker::{EngineErrorKind, NewExec};

/// A database that is prepared, and a server that waits for it.
const HOOKED: &str = "
services:
  db:
    image: db:1
    command: [serve]
    post_start: [{ command: [echo, prepare] }]
    pre_stop: [{ command: [echo, flush] }]
  web:
    image: app:1
    command: [serve]
    environment: { COLOUR: red }
    depends_on: [db]
    post_start:
      - command: [echo, announce]
        user: '7'
        privileged: true
        working_dir: /srv
        environment: { TOKEN: hunter2 }
      - command: [echo, warm]
    pre_stop: [{ command: [echo, withdraw] }, { command: [echo, drain] }]
";

/// The database alone.
const ALONE: &str = "
services:
  db: { image: 'db:1', command: [serve], post_start: [{ command: [echo, prepare] }] }
";

/// What was executed, as `container: words`; the words of `echo` and `fail` alone.
fn executed(engine: &FakeEngine) -> Vec<String> {
    let words = |new: &NewExec| match new.command[0].as_str() {
        "echo" | "fail" => new.command[1..].join(" "),
        _ => new.command.join(" "),
    };
    let told = |(name, new): (String, NewExec)| {
        let name = name.split_once("shop-").map_or("", |(_, rest)| rest);
        format!("{name}: {}", words(&new))
    };
    engine.execs().into_iter().map(told).collect()
}

/// The steps that hook.
fn hooks(ended: &Ended) -> Vec<&str> {
    let keys = ended.keys().into_iter();
    keys.filter(|key| key.starts_with("run_p")).collect()
}

async fn up(host: &mut Host, compose: &str) -> Agent {
    let agent = host.start().await;
    agent.up(compose).await.assert(Outcome::Succeeded);
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.engine.forget_calls();
    agent
}

#[tokio::test(start_paused = true)]
async fn hooks_follow_each_start_and_precede_each_stop() {
    let mut host = Host::new();
    let agent = host.start().await;
    let ended = agent.up(HOOKED).await;
    ended.assert(Outcome::Succeeded);
    super::assert_all_recorded(&host.engine, &ended);
    assert_eq!(executed(&host.engine), ["db-1: prepare", "web-1: announce", "web-1: warm"]);
    let order = [
        "start:shop-db-1",
        "run_post_start[0]:shop-db-1",
        "start:shop-web-1",
        "run_post_start[0]:shop-web-1",
        "run_post_start[1]:shop-web-1",
    ];
    let places: Vec<usize> = order.iter().map(|key| ended.place(key)).collect();
    assert!(places.is_sorted(), "{:#?}", ended.keys());
    let (_, announced) = host.engine.execs().swap_remove(1);
    let expect = NewExec {
        command: vec!["echo".to_owned(), "announce".to_owned()],
        user: Some("7".to_owned()),
        privileged: true,
        working_dir: Some("/srv".to_owned()),
        environment: BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
        tty: false,
    };
    assert_eq!(announced, expect);
    assert!(!format!("{:?} {:?}", ended.run, ended.steps).contains("hunter2"));
    assert_eq!(ended.run.context.details.hooks_due, BTreeMap::new());

    // Nothing is started or stopped, so nothing is executed, whatever the hooks say now.
    host.engine.forget_calls();
    for compose in [HOOKED, &HOOKED.replace("warm", "heat")] {
        let again = agent.up(compose).await;
        again.assert(Outcome::Succeeded);
        assert_eq!(again.keys(), [""; 0]);
    }
    assert_eq!(written(&host.engine), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn each_verb_hooks_what_it_starts_and_stops() {
    let stops_web = ["web-1: withdraw", "web-1: drain"];
    let starts_web = ["web-1: announce", "web-1: warm"];
    let mut host = Host::new();
    let agent = up(&mut host, HOOKED).await;
    agent.restart().await.assert(Outcome::Succeeded);
    let told = executed(&host.engine);
    assert_eq!(told[..2], ["db-1: flush", "db-1: prepare"]);
    assert_eq!(told[2..], [stops_web, starts_web].concat());

    // The old one stops first, for it is the one container of its service that mounts a volume.
    let volume = "depends_on: [db]\n    volumes: ['data:/data']";
    let compose = HOOKED.replace("depends_on: [db]", volume) + "volumes: { data: {} }\n";
    agent.up(&compose).await.assert(Outcome::Succeeded);
    host.engine.forget_calls();
    let compose = compose.replace("red", "blue");
    agent.up(&compose).await.assert(Outcome::Succeeded);
    assert_eq!(executed(&host.engine), [stops_web, starts_web].concat());

    host.engine.forget_calls();
    let two = compose.replace("depends_on", "scale: 2\n    depends_on");
    agent.up(&two).await.assert(Outcome::Succeeded);
    assert_eq!(executed(&host.engine), ["web-2: announce", "web-2: warm"]);
    host.engine.forget_calls();
    agent.up(&compose).await.assert(Outcome::Succeeded);
    assert_eq!(executed(&host.engine), ["web-2: withdraw", "web-2: drain"]);

    // What ends by itself or is stopped past the agent is not hooked; its next start is.
    host.engine.forget_calls();
    host.engine.stop_behind("shop-web-1");
    agent.up(&compose).await.assert(Outcome::Succeeded);
    assert_eq!(executed(&host.engine), starts_web);

    host.engine.forget_calls();
    agent.down(false).await.assert(Outcome::Succeeded);
    assert_eq!(executed(&host.engine), [stops_web[0], stops_web[1], "db-1: flush"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_container_has_its_hooks_before_the_old_one_is_told_to_go() {
    let mut host = Host::new();
    let agent = up(&mut host, HOOKED).await;
    agent.up(&HOOKED.replace("red", "blue")).await.assert(Outcome::Succeeded);
    let expect = ["web-1: announce", "web-1: warm", "web-1: withdraw", "web-1: drain"];
    assert_eq!(executed(&host.engine), expect);
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_hook_fails_the_start_and_what_waits_for_it() {
    let cases = [
        ("[fail, PASSWORD=hunter2, no disk]", "exited with status 1; its last words:", "no disk"),
        ("[sleep, '1']", "it has not ended after 300 s", ""),
    ];
    for (command, why, words) in cases {
        let mut host = Host::new();
        let agent = host.start().await;
        let broken = HOOKED.replace("[echo, prepare]", command);
        let ended = agent.up(&broken).await;
        ended.assert(Outcome::PartiallySucceeded);
        let [(code, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
        assert_eq!(code, "container.hook_failed");
        assert!(message.starts_with("post_start[0] of service db failed: it "), "{message}");
        assert!(message.contains(why) && message.contains(words), "{message}");
        assert!(message.contains("`wharf restart db`"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert_eq!((ended.standing()["db"], ended.standing()["web"]), ("running", "not_started"));
        assert!(!ended.keys().contains(&"start:shop-web-1"), "{:?}", ended.keys());

        // The container runs, so that nothing starts it, and the hook is not tried again.
        host.engine.forget_calls();
        let again = agent.up(&broken).await;
        again.assert(Outcome::Succeeded);
        assert_eq!(executed(&host.engine), ["web-1: announce", "web-1: warm"]);
        // Corrected, it is executed with the next start.
        host.engine.forget_calls();
        agent.up(HOOKED).await.assert(Outcome::Succeeded);
        assert_eq!(executed(&host.engine), [""; 0]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        agent.restart().await.assert(Outcome::Succeeded);
        assert!(executed(&host.engine).contains(&"db-1: prepare".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_after_a_failed_one_are_not_executed() {
    let mut host = Host::new();
    let broken = HOOKED.replace("[echo, announce]", "[fail, broken]");
    let broken = broken.replace("[echo, withdraw]", "[fail, gone]");
    let ended = host.start().await.up(&broken).await;
    ended.assert(Outcome::PartiallySucceeded);
    assert_eq!(hooks(&ended), ["run_post_start[0]:shop-db-1", "run_post_start[0]:shop-web-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_before_its_hook_says_its_last_words() {
    let mut host = Host::new();
    host.engine.behave("web", super::exits(0, 3));
    host.engine.fail_next("exec", EngineErrorKind::Conflict);
    let ended = host.start().await.up(&ALONE.replace("db: {", "web: {")).await;
    ended.assert(Outcome::Failed);
    let [(code, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
    assert_eq!(code, "container.hook_failed");
    assert!(message.contains("container shop-web-1 had exited with status 3"), "{message}");
    assert!(message.contains("no such table"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_hook_takes_a_replacement_back() {
    let mut host = Host::new();
    let agent = up(&mut host, HOOKED).await;
    let before = agent.containers().await["shop-web-1"].id.clone();
    let broken = HOOKED.replace("red", "blue").replace("[echo, warm]", "[fail, cold]");
    let ended = agent.up(&broken).await;
    ended.assert(Outcome::Failed);
    assert_eq!(ended.failures()[0].0, "container.hook_failed");
    let found = agent.containers().await;
    assert_eq!((found.len(), &found["shop-web-1"].id), (2, &before), "{:?}", ended.keys());
    // The one that failed is not asked to prepare its end, and the old one never stopped.
    assert_eq!(executed(&host.engine), ["web-1: announce", "web-1: cold"]);
    // By itself the agent does not try the same again.
    host.engine.forget_calls();
    agent.converge().await;
    assert_eq!(written(&host.engine), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_stop_hook_is_told_and_the_stop_follows() {
    for (command, why) in
        [("[fail, busy]", "exited with status 1"), ("[sleep, '1']", "not ended after 300 s")]
    {
        let broken = HOOKED.replace("[echo, withdraw]", command);
        let mut host = Host::new();
        let agent = up(&mut host, &broken).await;
        let ended = agent.down(false).await;
        ended.assert(Outcome::Succeeded);
        let [(code, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
        assert_eq!(code, "container.hook_failed");
        assert!(message.contains("pre_stop[0] of service web failed"), "{message}");
        assert!(message.contains(why) && message.contains("stopped all the same"), "{message}");
        assert_eq!(hooks(&ended), ["run_pre_stop[0]:shop-web-1", "run_pre_stop[0]:shop-db-1"]);
        assert!(agent.containers().await.is_empty());
        let scope = agent.store.scope().workspace_id;
        assert_eq!(agent.store.project(scope, "shop".to_owned()).await.unwrap(), None);
    }
}

/// What the engine answers to a hook, and what comes of it.
#[tokio::test(start_paused = true)]
async fn an_engine_that_fails_a_hook_is_believed_and_one_that_goes_away_is_asked_again() {
    type Fault = fn(&FakeEngine);
    let cases: [(&str, Fault, usize, Outcome); 4] = [
        ("refused", |it| it.fail_next("exec", EngineErrorKind::Internal), 0, Outcome::Failed),
        ("invalid", |it| it.fail_next("exec", EngineErrorKind::Invalid), 0, Outcome::Failed),
        ("lost answer", |it| it.lose_answer("exec"), 2, Outcome::Succeeded),
        (
            "went away before",
            |it| it.fail_next("exec", EngineErrorKind::Unreachable),
            1,
            Outcome::Succeeded,
        ),
    ];
    for (what, fault, times, outcome) in cases {
        let mut host = Host::new();
        fault(&host.engine);
        let agent = host.start().await;
        let ended = agent.up(ALONE).await;
        let outcome =
            if outcome == Outcome::Failed { Outcome::PartiallySucceeded } else { outcome };
        assert_eq!(ended.run.outcome(), outcome, "{what}: {:?}", ended.failures());
        assert_eq!(executed(&host.engine).len(), times, "{what}");
        if outcome != Outcome::Succeeded {
            assert_eq!(ended.failures()[0].0, "container.hook_failed", "{what}");
        }
        assert_eq!(agent.containers().await["shop-db-1"].state, ContainerState::Running);
    }
}

/// Each start of a container is followed by all its hooks, as often as one was killed.
#[track_caller]
fn assert_hooked(engine: &FakeEngine, counts: &BTreeMap<String, usize>, when: &str) {
    let calls = engine.writes();
    for (id, count) in counts {
        let of_it = calls.iter().filter(|call| call.subject == *id);
        let methods: Vec<&str> = of_it.map(|call| call.method).collect();
        let is_start = |method: &&str| ["start_container", "restart_container"].contains(method);
        let last = methods.iter().rposition(is_start).expect("it was started");
        let after = methods[last..].iter().filter(|method| **method == "exec").count();
        assert!(after >= *count, "{when}: {methods:?}");
    }
}

async fn counts(agent: &Agent) -> BTreeMap<String, usize> {
    let found = agent.containers().await.into_values();
    let count = |name: &str| if name.contains("web") { 2 } else { 1 };
    found.map(|container| (container.id, count(&container.name))).collect()
}

#[tokio::test(start_paused = true)]
async fn no_start_is_without_its_hooks_wherever_the_agent_is_killed() {
    for steps in 1..14 {
        for restarts in [false, true] {
            let mut host = Host::new();
            let mut agent = host.start().await;
            if restarts {
                agent.up(HOOKED).await.assert(Outcome::Succeeded);
                tokio::time::sleep(Duration::from_secs(1)).await;
                host.engine.forget_calls();
            }
            let id = match restarts {
                true => agent.submit_restart().await,
                false => agent.submit(HOOKED).await,
            };
            agent.steps_taken(id, steps).await;
            // Somewhere inside of the step.
            tokio::time::sleep(Duration::from_millis(steps as u64 * 3 % 11)).await;
            agent.kill().await;
            agent = host.start().await;
            let ended = agent.ended(id).await;
            ended.assert(Outcome::Succeeded);
            let when = format!("killed at step {steps}, restarts: {restarts}");
            assert_hooked(&host.engine, &counts(&agent).await, &when);
            assert_eq!(ended.run.context.details.hooks_due, BTreeMap::new(), "{when}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_healing_restart_has_its_hooks() {
    for (announce, outcome) in
        [("[echo, announce]", Outcome::Succeeded), ("[fail, deaf]", Outcome::Failed)]
    {
        let mut host = Host::new();
        let checked = "depends_on: [db]\n    healthcheck: { test: [CMD, ready] }";
        let compose = HOOKED.replace("depends_on: [db]", checked);
        let health = HealthCourse::UnhealthyAfter(0);
        host.engine.behave("web", Behaviour { health, ..Behaviour::default() });
        let agent = host.start().await;
        // Ill from the start, or not announced: either way it runs.
        let begun = agent.up(&compose.replace("[echo, announce]", announce)).await;
        begun.assert(Outcome::PartiallySucceeded);
        agent.containers().await;
        let web = agent.containers().await.remove("shop-web-1").unwrap();
        assert_eq!((web.state, web.health), (ContainerState::Running, Health::Unhealthy));
        let id = web.id;
        tokio::time::sleep(Duration::from_secs(1)).await;
        host.engine.forget_calls();
        let inputs = Inputs::HealInstance(HealInstance {
            project: "shop".to_owned(),
            service: "web".to_owned(),
            number: 1,
            container_id: id,
            number_of_try: 1,
            tries_max: 3,
            grace_seconds: None,
        });
        let request = Request::by_agent(&agent.store.scope(), Source::Convergence, inputs);
        let run = agent.door.submit(request).await.unwrap().run().id;
        let ended = agent.ended(run).await;
        ended.assert(outcome);
        let mut expect = vec!["web-1: withdraw", "web-1: drain"];
        expect.extend(match outcome {
            Outcome::Succeeded => &["web-1: announce", "web-1: warm"][..],
            _ => &["web-1: deaf"],
        });
        assert_eq!(executed(&host.engine), expect);
        assert_eq!(
            ended.keys()[..3],
            ["run_pre_stop[0]:shop-web-1", "run_pre_stop[1]:shop-web-1", "restart:shop-web-1",]
        );
    }
}
