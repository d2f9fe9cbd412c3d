//! Promises about logs, events and the engine itself.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use wharfinger::facts::ContainerState;
use wharfinger::facts::labels::RUN;
use wharfinger::world::docker::fake::Behaviour;
use wharfinger::world::docker::{
    EngineErrorKind, ExecOutput, LogLine, LogOptions, NewContainer, NewExec, RemoveContainer,
};

use super::{Bench, PATIENCE, assert_fails, shell};

/// A container that writes three lines and ends after a while.
fn talker(bench: &Bench, image: &str) -> NewContainer {
    let mut new = bench.container("talker", image);
    new.spec.command =
        shell("echo one; /bin/busybox sleep 0.3; echo two >&2; /bin/busybox sleep 0.3; echo three");
    let output = [(false, "one"), (true, "two"), (false, "three")]
        .map(|(is_stderr, text)| (is_stderr, text.to_owned()))
        .to_vec();
    let behaviour = Behaviour { exit: Some((2, 0)), output, ..Behaviour::default() };
    (bench.script)(&new.name, behaviour);
    new
}

fn expected(texts: &[(bool, &str)]) -> Vec<LogLine> {
    let line = |&(is_stderr, text): &(bool, &str)| LogLine { is_stderr, text: text.to_owned() };
    texts.iter().map(line).collect()
}

pub async fn log_has_all_lines_in_order(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let id = bench.run(&talker(bench, &image)).await;
    bench.wait_until(&id, "the end", |facts| facts.state == ContainerState::Exited).await;
    let all = LogOptions::default();
    let lines: Vec<LogLine> = engine.logs(&id, &all).try_collect().await.unwrap();
    assert_eq!(lines, expected(&[(false, "one"), (true, "two"), (false, "three")]));
    let last = LogOptions { tail: Some(1), ..LogOptions::default() };
    let lines: Vec<LogLine> = engine.logs(&id, &last).try_collect().await.unwrap();
    assert_eq!(lines, expected(&[(false, "three")]));
    let timed = LogOptions { timestamps: true, ..LogOptions::default() };
    let lines: Vec<LogLine> = engine.logs(&id, &timed).try_collect().await.unwrap();
    let (time, text) = lines[0].text.split_once(' ').expect("a time before the text");
    assert!(time.parse::<wharfinger::base::Timestamp>().is_ok(), "{time}");
    assert_eq!(text, "one");

    let nobody = bench.name("nobody");
    let missing = engine.logs(&nobody, &all).try_collect::<Vec<_>>().await;
    assert_fails(missing, EngineErrorKind::NotFound);
}

pub async fn command_has_its_streams_and_its_end(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let id = bench.run(&bench.container("host", &image)).await;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    for (command, written, code) in [
        (["/bin/busybox", "echo", "hello"].as_slice(), "hello\n", 0),
        (&["/bin/busybox", "false"], "", 1),
    ] {
        // A privileged one is proved by itself: not every machine lets an engine execute it.
        let new = NewExec { command: words(command), ..NewExec::default() };
        let session = engine.exec(&id, &new).await.unwrap();
        let parts: Vec<ExecOutput> = session.output.try_collect().await.unwrap();
        assert!(parts.iter().all(|part| !part.is_stderr));
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), written);
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(code) = engine.exec_exit_code(&session.id).await.unwrap() {
                    return code;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert_eq!(found.await.unwrap(), code);
    }
    let echo = NewExec { command: words(&["/bin/busybox", "echo"]), ..NewExec::default() };
    let nobody = bench.name("nobody");
    assert_fails(engine.exec(&nobody, &echo).await.map(drop), EngineErrorKind::NotFound);
    engine.stop_container(&id, Some(Duration::ZERO)).await.unwrap();
    assert_fails(engine.exec(&id, &echo).await.map(drop), EngineErrorKind::Conflict);
}

pub async fn followed_log_ends_with_the_container(bench: &Bench) {
    let image = bench.image("").await;
    let id = bench.run(&talker(bench, &image)).await;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let lines = bench.engine.logs(&id, &follow).try_collect::<Vec<LogLine>>();
    let end = bench.wait_until(&id, "the end", |facts| facts.state == ContainerState::Exited);
    let both = futures_util::future::join(lines, end);
    let (lines, _) = tokio::time::timeout(PATIENCE, both).await.expect("the stream ends");
    assert_eq!(lines.unwrap(), expected(&[(false, "one"), (true, "two"), (false, "three")]));
}

pub async fn events_tell_a_containers_life(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let new = bench.container("one", &image);
    let mut events = engine.events(None);
    let life = async {
        // The stream begins at its first poll, which comes before this at the latest now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let id = bench.run(&new).await;
        engine.stop_container(&id, Some(Duration::ZERO)).await.unwrap();
        engine.remove_container(&id, RemoveContainer::default()).await.unwrap();
        id
    };
    let listen = async {
        let mut actions = Vec::new();
        while actions.last().map(String::as_str) != Some("destroy") {
            let event = events.next().await.expect("a stream without end").unwrap();
            if event.attributes.get(RUN) == Some(&bench.prefix) {
                assert_eq!(event.attributes["name"], new.name);
                actions.push(event.action);
            }
        }
        actions
    };
    let both = futures_util::future::join(listen, life);
    let (actions, _) = tokio::time::timeout(PATIENCE, both).await.expect("all events come");
    let told: Vec<_> = actions.iter().filter(|action| *action != "kill").collect();
    assert_eq!(told, ["create", "start", "die", "stop", "destroy"]);
}

pub async fn engine_answers(bench: &Bench) {
    bench.engine.ping().await.unwrap();
    let facts = bench.engine.info().await.unwrap();
    assert!(!facts.id.is_empty() && facts.cpus > 0 && facts.memory_bytes > 0);
    assert!(facts.api_version.starts_with("1."), "{}", facts.api_version);
    assert!(!facts.version.is_empty() && facts.root_dir.starts_with('/'));
}
