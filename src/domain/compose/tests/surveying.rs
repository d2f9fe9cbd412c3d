//! Files that are refused, and what can be read of them all the same.

use super::*;

/// What a survey makes of one file: the project, what it would deploy, and what is wrong.
fn surveyed(text: &str) -> (Project, ProjectSpec, Vec<String>) {
    let options = Options { directory: "/p".to_owned(), ..Options::default() };
    let content = Answer::Content(text.as_bytes().to_vec());
    let mut files = Files::from([("/p/compose.yaml".to_owned(), content)]);
    let project = loop {
        match survey(&options, &BTreeMap::new(), &files).unwrap() {
            Loaded::Done(project) => break *project,
            Loaded::Needs(paths) => files.extend(paths.into_iter().map(|p| (p, Answer::Missing))),
        }
    };
    let (spec, problems) = lower_as_far_as_possible(&project, &Inputs::default());
    let problems = problems.0.into_iter().map(|problem| problem.message).collect();
    (project, spec, problems)
}

#[test]
fn what_is_right_is_surveyed_as_it_is_loaded() {
    let text = "services: {web: {image: 'web:1', ports: ['8080:80'], user: '1000'}}\n";
    let (project, spec, problems) = surveyed(text);
    assert_eq!(problems, [""; 0]);
    let loaded = case(&[("compose.yaml", text)]).load().unwrap();
    assert_eq!(canonical(&project), canonical(&loaded));
    assert_eq!(spec, lower(&loaded, &Inputs::default()).unwrap());
}

#[test]
fn a_wrong_part_is_passed_over_and_told_of() {
    // Below the service, the first word that is wrong, and the rest that is told of it.
    let check = |body: &str, expect: &str| {
        let text = format!("services:\n  web:\n    image: web:1\n    privileged: true\n{body}");
        let (project, spec, problems) = surveyed(&text);
        assert!(problems.iter().any(|problem| problem.contains(expect)), "{body}\n{problems:?}");
        assert!(spec.services["web"].spec.security.privileged, "{body}");
        // Nobody deploys what was passed over.
        assert!(lower(&project, &Inputs::default()).is_err(), "{body}");
        assert!(case(&[("compose.yaml", &text)]).load().is_err() || project.passed_over.is_empty());
    };
    check("    prots: ['80:80']\n", "unknown key `prots`");
    check("    init: perhaps\n", "`init` must be");
    check("    security_opt: [{seccomp: unconfined}]\n", "`security_opt` must be text");
    check("    networks: [front]\n", "undefined network `front`");
    check("    volumes: ['data:/data']\n", "undefined volume `data`");
    check("    depends_on: [db]\n", "undefined service `db`");
    check("    env_file: [a.env]\n", "env file `a.env` not found");
    check("    extends: {file: b.yaml, service: web}\n", "there is no file `b.yaml`");
    check("    environment: {A: '${B:?set it}'}\n", "required variable `B`");
    check("    expose: [74746]\n", "`74746` is not a port");
    check("    secrets: [key]\nsecrets: {key: {file: ./key}}\n", "`secrets.key` has no content");
    check("  db: none\n", "`db` must be a mapping");
    check("include: [b.yaml]\n", "there is no file `b.yaml`");
    check("volumes: []\n", "`volumes` must be a mapping");
}

#[test]
fn what_is_wrong_and_plainly_meant_is_taken_so() {
    let web = |body: &str| {
        let (_, spec, problems) = surveyed(&format!("services:\n  web:\n{body}"));
        assert!(!problems.is_empty(), "{body}");
        spec.services["web"].clone()
    };
    assert_eq!(web("    image: i\n    user: 0\n").spec.user.as_deref(), Some("0"));
    let mounts = |body: &str| web(&format!("    image: i\n    volumes:\n{body}")).spec.mounts;
    let socket = mounts("    - source: /run/docker.sock\n    - source: /tmp\n");
    let is_bind = |kind: &MountKind, path: &str| matches!(kind, MountKind::Bind { source, .. } if source == path);
    assert!(is_bind(&socket["/run/docker.sock"].kind, "/run/docker.sock"));
    assert!(is_bind(&socket["/tmp"].kind, "/tmp"));
    let relative = mounts("    - ./host:container.yaml\n");
    assert!(is_bind(&relative["container.yaml"].kind, "/p/host"));
    let port = |port: &str| {
        let unit = web(&format!("    image: i\n    ports: ['{port}']\n"));
        let found = unit.spec.ports.first().unwrap();
        let (host, published) = (found.host_ip.as_deref(), found.host_port.as_deref());
        format!("{}|{}|{}", host.unwrap_or(""), published.unwrap_or(""), found.container_port)
    };
    assert_eq!(port("90-9091:8080-8081"), "|90-9091|8080");
    assert_eq!(port("${PORT:?set it}:80"), "||80");
    assert_eq!(port("127.0.0.1:web:80"), "127.0.0.1|web|80");
    assert_eq!(port("here:8080:80"), "|8080|80");
    assert_eq!(port("8080:http"), "|8080|0");
    let nameless = web("    privileged: true\n");
    assert!(nameless.build.is_some() && nameless.spec.security.privileged);
}

#[test]
fn what_cannot_be_read_at_all_is_refused() {
    let refused = |text: &str| {
        let options = Options { directory: "/p".to_owned(), ..Options::default() };
        let content = Answer::Content(text.as_bytes().to_vec());
        let mut files = Files::from([("/p/compose.yaml".to_owned(), content)]);
        loop {
            match survey(&options, &BTreeMap::new(), &files) {
                Ok(Loaded::Needs(paths)) => {
                    files.extend(paths.into_iter().map(|p| (p, Answer::Missing)));
                }
                found => return found.is_err(),
            }
        }
    };
    assert!(refused("services: [\n"));
    assert!(refused(""));
    assert!(!refused("services: {}\n"));
}
