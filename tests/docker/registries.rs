//! A real registry that wants to know who pulls: logging in, what is refused, where the password is
//! not, new images under an old name, digests that stay.

use crate::support::agent::{Agent, text};
use crate::support::engine;
use crate::support::project::Project;
use crate::support::registry::{Registry, USER};

fn started(folder: &std::path::Path) -> Agent {
    let mut agent = Agent::new(folder, &engine::socket(), "");
    agent.start();
    agent
}

fn log_in(agent: &Agent, registry: &Registry, password: &str) -> std::process::Output {
    agent.wharf_told(&["registry", "login", &registry.host(), "--username", USER], password)
}

fn must_log_in(agent: &Agent, registry: &Registry) {
    let done = log_in(agent, registry, registry.password());
    assert!(done.status.success(), "{}", text(&done.stderr));
}

fn compose(services: &[(&str, &str)]) -> String {
    let mut text = String::from("services:\n");
    for (name, image) in services {
        text.push_str(&format!(
            "  {name}: {{image: '{image}', init: true, command: [sleep, '3600']}}\n"
        ));
    }
    text
}

/// What the image says on which the container of a service runs.
fn says(project: &str, service: &str) -> String {
    let name = format!("{project}-{service}-1");
    engine::docker_text(&["inspect", "-f", "{{index .Config.Labels \"says\"}}", &name])
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn images_are_pulled_as_whom_the_agent_is_logged_in() {
    let registry = Registry::start();
    registry.push("team/web:1", "web");
    registry.push("team/job:1", "job");
    let folder = tempfile::tempdir().unwrap();
    let mut agent = started(folder.path());
    let services = [("web", registry.image("team/web:1")), ("job", registry.image("team/job:1"))];
    let services = services.each_ref().map(|(name, image)| (*name, image.as_str()));
    let project = Project::new("wharfreg-login", &compose(&services));

    let refused = agent.on(&project, "up", &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("wharf registry login"), "{}", said(&refused));
    let runs = agent.json(&["run", "ls"]);
    let shown = agent.json(&["run", "show", runs["items"][0]["id"].as_str().unwrap()]);
    assert!(shown.to_string().contains("registry.denied"), "{shown}");

    let wrong = log_in(&agent, &registry, "wrong-password-1");
    assert_eq!(wrong.status.code(), Some(65), "{}", said(&wrong));
    assert!(said(&wrong).contains("does not let ci in"), "{}", said(&wrong));
    assert_eq!(agent.json(&["registry", "ls"])["items"], serde_json::json!([]));

    must_log_in(&agent, &registry);
    let listed = agent.json(&["registry", "ls"]);
    assert_eq!(listed["items"][0]["registry"], registry.host());
    assert_eq!(listed["items"][0]["username"], USER);
    agent.stop();
    agent.start();
    agent.must(&project, "up", &[]);
    assert_eq!(
        (says(&project.name, "web"), says(&project.name, "job")),
        ("web".into(), "job".into())
    );

    // Two pulls of one run used the login: the log tells once of it.
    let log = agent.json(&["audit", "ls", "--limit", "200"]);
    let told = |key: &str| {
        let items = log["items"].as_array().unwrap();
        items.iter().filter(|item| item["event_type"] == key).count()
    };
    assert_eq!(told("registry_login.put"), 1, "{log}");
    assert_eq!(told("registry_login.refused"), 1, "{log}");
    assert_eq!(told("registry_login.used"), 1, "{log}");

    let out = agent.wharf(&["registry", "logout", &registry.host()]);
    assert!(out.status.success(), "{}", said(&out));
    let again = agent.wharf(&["registry", "logout", &registry.host()]);
    assert_eq!(again.status.code(), Some(66), "{}", said(&again));

    // The password is in nothing that was written: neither state, nor log, nor what clients heard.
    let runs = agent.json(&["run", "ls"]).to_string();
    assert!(!agent.log().contains(registry.password()) && !runs.contains(registry.password()));
    let mut looked = 0;
    for path in files_below(&agent.state_dir) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let password = registry.password().as_bytes();
        let is_there = bytes.windows(password.len()).any(|part| part == password);
        assert!(!is_there, "{} holds the password", path.display());
        looked += usize::from(!bytes.is_empty());
    }
    assert!(looked >= 3, "{looked} files");
    println!("registry: 2 images pulled with a login, {looked} files without its password");
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_new_image_under_the_name_runs_when_the_policy_says_so_and_a_digest_stays() {
    let registry = Registry::start();
    let first = registry.push("team/app:1", "first");
    let folder = tempfile::tempdir().unwrap();
    let agent = started(folder.path());
    must_log_in(&agent, &registry);
    let tagged = registry.image("team/app:1");
    let pinned = registry.image(&format!("team/app@{first}"));
    let files = compose(&[("calm", &tagged), ("pinned", &pinned)]);
    let eager = format!(
        "  eager: {{image: '{tagged}', init: true, command: [sleep, '3600'], pull_policy: always}}\n"
    );
    let project = Project::new("wharfreg-new", &files);
    agent.must(&project, "up", &[]);
    let both = |expect: &str| {
        assert_eq!(says(&project.name, "calm"), expect, "pull_policy: missing");
        assert_eq!(says(&project.name, "pinned"), "first", "a digest");
    };
    both("first");

    let second = registry.push("team/app:1", "second");
    assert_ne!(first, second);
    let before = engine::containers_of(&project.name);
    agent.must(&project, "up", &[]);
    assert_eq!(engine::containers_of(&project.name), before, "nobody asked for the new image");
    both("first");

    project.write("compose.yaml", &format!("{files}{eager}"));
    agent.must(&project, "up", &[]);
    assert_eq!(says(&project.name, "eager"), "second", "pull_policy: always");
    assert_eq!(says(&project.name, "pinned"), "first", "a digest");
    println!("registry: {first} stays, {second} was taken by pull_policy: always");
}

#[test]
fn images_are_pulled_and_built_by_themselves_and_run_when_somebody_says_so() {
    let registry = Registry::start();
    registry.push("team/app:1", "first");
    registry.push("team/base:1", "old-base");
    let folder = tempfile::tempdir().unwrap();
    let agent = started(folder.path());
    let app = registry.image("team/app:1");
    let base = registry.image("team/base:1");
    let built = format!(
        "  own:\n    init: true\n    command: [sleep, '3600']\n    build: {{context: ., \
         dockerfile_inline: \"FROM {base}\\n\"}}\n"
    );
    let project = Project::new("wharfreg-pull", &format!("{}{built}", compose(&[("app", &app)])));
    for verb in ["pull", "build"] {
        let refused = agent.on(&project, verb, &[]);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("registry.denied"), "{}", said(&refused));
        assert!(said(&refused).contains("wharf registry login"), "{}", said(&refused));
    }
    must_log_in(&agent, &registry);
    let pulled = agent.must(&project, "pull", &[]);
    assert!(pulled.contains(" is new") && pulled.contains("1 updated"), "{pulled}");
    let was_built = agent.must(&project, "build", &[]);
    assert!(was_built.contains("1 built"), "{was_built}");
    assert_eq!(engine::containers_of(&project.name), Vec::<String>::new());
    assert_eq!(agent.json(&["ps"])["items"], serde_json::json!([]), "nothing is kept");

    agent.must(&project, "up", &[]);
    let both = || (says(&project.name, "app"), says(&project.name, "own"));
    assert_eq!(both(), ("first".to_owned(), "old-base".to_owned()));
    let before = engine::containers_of(&project.name);
    // What the names led to stays on the host, so that only who asks gets the new ones.
    let ids = [&app, &base].map(|name| engine::docker_text(&["inspect", "-f", "{{.Id}}", name]));
    let second = registry.push("team/app:1", "second");
    registry.push("team/base:1", "new-base");
    engine::docker_text(&["tag", &ids[0], &app]);
    engine::docker_text(&["tag", &ids[1], &base]);
    let kept = agent.wharf(&["pull", "-p", &project.name]);
    assert!(kept.status.success() && said(&kept).contains(" → "), "{}", said(&kept));
    assert!(said(&kept).contains(&second[7..19]), "{}", said(&kept));
    let fresh = agent.wharf(&["build", "-p", &project.name, "--pull", "own"]);
    assert!(fresh.status.success(), "{}", said(&fresh));
    assert_eq!(engine::containers_of(&project.name), before, "no container is touched");
    let again = agent.must(&project, "pull", &["app"]);
    assert!(again.contains("as before"), "{again}");
    agent.must(&project, "up", &[]);
    assert_eq!(both(), ("second".to_owned(), "new-base".to_owned()));
    println!("registry: pulled {} and built by themselves, up took both", &second[..19]);
}

fn states(agent: &Agent, project: &str, more: &[&str]) -> Vec<String> {
    let mut words = vec!["images", "-p", project];
    words.extend(more);
    let listed = agent.json(&words);
    let items = listed["items"].as_array().expect("items").iter();
    let state = |item: &serde_json::Value| format!("{} {}", item["service"], item["state"]);
    items.map(state).map(|line| line.replace('"', "")).collect()
}

#[test]
fn an_image_is_outdated_until_it_is_pulled_and_brought_up() {
    let mut registry = Registry::start();
    let first = registry.push("team/app:1", "first");
    let folder = tempfile::tempdir().unwrap();
    let agent = started(folder.path());
    must_log_in(&agent, &registry);
    let app = registry.image("team/app:1");
    let pinned = registry.image(&format!("team/app@{first}"));
    let own = engine::busybox();
    let files = compose(&[("app", &app), ("pinned", &pinned), ("own", &own)]);
    let project = Project::new("wharfreg-old", &files);
    agent.must(&project, "up", &[]);
    let name = project.name.as_str();
    assert_eq!(states(&agent, name, &[]), ["app unknown", "own local", "pinned pinned"]);
    assert_eq!(states(&agent, name, &["--check"]), ["app current", "own local", "pinned pinned"]);
    let second = registry.push("team/app:1", "second");
    assert_eq!(states(&agent, name, &["--outdated"]), Vec::<String>::new(), "nobody has asked");
    let schedule = ["schedule", "add", "look", "--cron", "@daily", "--check-images"];
    let added = agent.wharf(&schedule);
    assert!(added.status.success(), "{}", said(&added));
    let ran = agent.wharf(&["schedule", "run", "look"]);
    assert!(ran.status.success(), "{}", said(&ran));
    assert_eq!(states(&agent, name, &["--outdated"]), ["app outdated"]);
    let listed = agent.json(&["images", "-p", name, "--outdated"]);
    assert_eq!(listed["items"][0]["runs_digest"], first.as_str());
    assert_eq!(listed["items"][0]["registry_digest"], second.as_str());

    agent.must(&project, "pull", &["app"]);
    assert_eq!(states(&agent, name, &[])[0], "app pulled_not_deployed");
    agent.must(&project, "up", &[]);
    assert_eq!(states(&agent, name, &[])[0], "app current");
    assert_eq!(says(name, "app"), "second");

    // Who is not logged in is told so; and so is who asks when nobody answers.
    let out = agent.wharf(&["registry", "logout", &registry.host()]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(states(&agent, name, &["--check"])[0], "app unknown");
    let told = agent.wharf(&["images", "-p", name]);
    assert!(said(&told).contains("wharf registry login"), "{}", said(&told));
    must_log_in(&agent, &registry);
    assert_eq!(states(&agent, name, &["--check"])[0], "app current");
    registry.stop();
    assert_eq!(states(&agent, name, &["--check"])[0], "app unknown");
    let told = agent.wharf(&["images", "-p", name]);
    assert!(told.status.success() && said(&told).contains("refused"), "{}", said(&told));
    println!("registry: {} → {}, outdated, pulled, current, unknown", &first[..19], &second[..19]);
}
