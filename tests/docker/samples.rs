//! Projects that do real work, brought up on a real engine: those of `compose/samples`, with databases
//! whose data outlives their containers, and public ones that Docker Compose is tested with.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;

/// A copy of a project's folder, removed from disk and engine when the test ends.
struct Copy {
    name: String,
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Copy {
    fn new(name: &str, source: &Path) -> Self {
        engine::remove_project(name);
        let folder = tempfile::tempdir().unwrap();
        copy(source, folder.path());
        Self { name: name.to_owned(), folder, files: Vec::new() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn args<'a>(&'a self, verb: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        let mut args = verb.to_vec();
        for file in &self.files {
            args.extend(["-f", file.to_str().unwrap()]);
        }
        args.extend(["-p", &self.name]);
        args.extend(more);
        args
    }

    fn must(&self, agent: &Agent, verb: &[&str], more: &[&str]) -> String {
        let output = agent.wharf(&self.args(verb, more));
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{} {verb:?}: {said}\n{}", self.name, agent.log());
        text(&output.stdout)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        engine::remove_project(&self.name);
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn started(folder: &Path) -> Agent {
    let mut agent = Agent::new(folder, &engine::socket(), "");
    agent.start();
    agent
}

fn sample(name: &str, environment: &str) -> Copy {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/samples").join(name);
    let mut sample = Copy::new(&format!("wharfsample-{name}"), &folder);
    let images = ["MARIADB", "POSTGRES", "REDIS", "NGINX"].map(|image| {
        let variable = format!("{image}_IMAGE");
        format!("{variable}={}\n", engine::image(&variable))
    });
    sample.write(".env", &format!("{}{environment}", images.concat()));
    sample.files.push(sample.folder.path().join("compose.yaml"));
    sample
}

/// What a service answers, and with which status.
fn ask(port: u16, path: &str, body: Option<&str>) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}"]);
    if let Some(body) = body {
        curl.args(["--data-binary", body]);
    }
    let output = curl.arg(format!("http://127.0.0.1:{port}{path}")).output().unwrap();
    let answer = text(&output.stdout);
    let (said, status) = answer.rsplit_once('\n').unwrap();
    (said.trim().to_owned(), status.to_owned())
}

fn answered(port: u16, path: &str) -> String {
    ask(port, path, None).0
}

#[test]
fn a_stock_in_mariadb_outlives_its_containers() {
    let folder = tempfile::tempdir().unwrap();
    let project =
        sample("inventory", "INVENTORY_PORT=18390\nINVENTORY_PASSWORD=it's \"all\" \\ here\n");
    let agent = started(folder.path());
    let (port, stock) = (18390, "/cgi-bin/stock");
    project.must(&agent, &["up"], &[]);
    assert_eq!(ask(port, stock, Some("bolts 10\n")), ("bolts\t10".into(), "200".into()));
    assert_eq!(ask(port, stock, Some("bolts -3\n")), ("bolts\t7".into(), "200".into()));
    let (refused, status) = ask(port, stock, Some("bolts -8\n"));
    assert_eq!((refused.as_str(), status.as_str()), ("there is not so much of bolts", "409"));
    assert_eq!(answered(port, stock), "bolts\t7");

    // Its process dies; then its containers and networks go.
    let database = format!("{}-db-1", project.name);
    engine::docker_text(&["kill", &database]);
    wait_until("the database is back", || answered(port, stock) == "bolts\t7");
    project.must(&agent, &["down"], &[]);
    assert_eq!(engine::containers_of(&project.name), Vec::<String>::new());
    project.must(&agent, &["up"], &[]);
    assert_eq!(answered(port, stock), "bolts\t7");

    let before = engine::containers_of(&project.name);
    assert_eq!(before.len(), 5, "a database, a job, two of the API, a proxy");
    project.must(&agent, &["up"], &[]);
    assert_eq!(engine::containers_of(&project.name), before, "nothing was made again");
}

#[test]
fn a_queue_in_redis_counts_each_number_once() {
    let folder = tempfile::tempdir().unwrap();
    let project = sample("tally", "TALLY_PORT=18391\nTALLY_NUMBERS=1000\n");
    let agent = started(folder.path());
    project.must(&agent, &["up"], &[]);
    let report = answered(18391, "/");
    assert!(report.starts_with("sum 500500 by "), "{report}");
    // The queue starts anew from its log, and knows what was counted.
    let queue = format!("{}-queue-1", project.name);
    engine::docker_text(&["kill", &queue]);
    let done = || {
        let output = engine::docker(&["exec", &queue, "redis-cli", "-e", "get", "done"]);
        text(&output.stdout).trim().to_owned()
    };
    wait_until("the queue is back", || done() == "1000");
    project.must(&agent, &["up"], &[]);
    assert_eq!(answered(18391, "/"), report);
}

#[test]
fn a_guest_book_in_postgres_is_written_and_dumped() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = "GUESTBOOK_PASSWORD=open\nGUESTBOOK_PGPASS=db:5432:guests:guests:open\n";
    let project = sample("guestbook", &format!("GUESTBOOK_PORT=18392\n{secrets}"));
    let agent = started(folder.path());
    let (port, guests) = (18392, "/cgi-bin/guests");
    project.must(&agent, &["up"], &[]);
    ask(port, guests, Some("Ada\n"));
    let (both, status) = ask(port, guests, Some("Miles O'Brien'); DROP TABLE guests; --\n"));
    assert_eq!(status, "200", "{both}");
    assert_eq!(both, "Ada\nMiles O'Brien'); DROP TABLE guests; --");
    assert_eq!(ask(port, guests, Some("\n")).1, "400");

    project.must(&agent, &["up"], &["--profile", "dump", "dump"]);
    let dump = format!("{}-dump-1", project.name);
    let state = || engine::docker_text(&["inspect", "-f", "{{.State.Status}}", &dump]);
    wait_until("the dump has ended", || state() == "exited");
    let tables = engine::docker(&["logs", &dump]);
    assert_eq!(text(&tables.stdout).trim(), "1", "{}", text(&tables.stderr));
    assert_eq!(answered(port, guests), both, "the others were left alone");
}

/// Public projects whose images can be made here: their folder and file, and variables they want.
const PUBLIC: [(&str, &str); 15] = [
    ("network-recreate/compose.yaml", ""),
    ("config_hash/compose.yaml", ""),
    ("ps-test/compose.yaml", ""),
    ("nested/compose.yaml", "ROOT=root\nSUB=sub\nWIN=win\n"),
    ("wait/compose.yaml", ""),
    ("ups-deps-stop/compose.yaml", ""),
    ("ups-deps-stop/orphan.yaml", ""),
    ("publish/oci/compose-interpolated.yaml", "GREETING=good day\n"),
    ("run-test/piped-test.yaml", ""),
    ("logs-test/compose.yaml", "REPEAT=2\n"),
    ("restart-test/compose.yaml", ""),
    ("start-stop/compose.yaml", ""),
    ("start-stop/other.yaml", ""),
    ("simple-composefile/compose.yaml", ""),
    ("project-volume-bind-test/docker-compose.yml", "TEST_DIR=@HERE@/data\n"),
];

/// The server of the images made here asks for a configuration.
const NGINX_CONFIG: &str = r"
configs:
  local_nginx:
    content: |
      pid /tmp/nginx.pid;
      error_log /dev/stderr;
      events { worker_connections 16; }
      http {
          access_log off;
          client_body_temp_path /tmp/body;
          proxy_temp_path /tmp/proxy;
          fastcgi_temp_path /tmp/fastcgi;
          uwsgi_temp_path /tmp/uwsgi;
          scgi_temp_path /tmp/scgi;
          server { listen 8080; return 200; }
      }
";

fn public_projects() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let near = [root.join("../shared"), root.join("../../shared")];
    let mut found = near.iter().map(|dir| dir.join("conformance/compose/projects/compose-e2e"));
    found.find(|dir| dir.is_dir())
}

/// A file that says which images the services get here; nothing else of the project changes.
fn local_images(model: &Value) -> String {
    let mut services = String::new();
    for (name, service) in model["services"].as_object().unwrap() {
        let image = service["image"].as_str().unwrap();
        let (local, more) = match image.split(':').next() {
            Some("alpine" | "busybox") => ("BUSYBOX_IMAGE", ""),
            Some("nginx") => {
                ("NGINX_IMAGE", ", configs: [{source: local_nginx, target: /etc/nginx/nginx.conf}]")
            }
            _ => panic!("no image is made here for {image}"),
        };
        services += &format!("  {name}: {{image: '{}'{more}}}\n", engine::image(local));
    }
    format!("services:\n{services}{NGINX_CONFIG}")
}

/// What became of each container of a service: `running`, or `exited` and the status.
fn states(project: &str, service: &str) -> Vec<String> {
    let of_project = format!("label=com.docker.compose.project={project}");
    let of_service = format!("label=com.docker.compose.service={service}");
    let args = ["ps", "-aq", "--filter", &of_project, "--filter", &of_service];
    let ids = engine::docker_text(&args);
    let state = "{{.State.Status}} {{.State.ExitCode}}";
    ids.lines().map(|id| engine::docker_text(&["inspect", "-f", state, id])).collect()
}

#[test]
fn public_projects_come_up_as_they_are() {
    let Some(root) = public_projects() else {
        println!("SKIPPED: the conformance projects are not beside this checkout");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let agent = started(folder.path());
    let mut containers = 0;
    for (path, environment) in PUBLIC {
        let file = root.join(path);
        let name = path.replace(['/', '.', '_'], "-").to_lowercase();
        let mut project = Copy::new(&format!("wharfpublic-{name}"), file.parent().unwrap());
        std::fs::create_dir_all(project.folder.path().join("data")).unwrap();
        let here = project.folder.path().to_string_lossy().into_owned();
        project.write(".env", &environment.replace("@HERE@", &here));
        project.files.push(project.folder.path().join(file.file_name().unwrap()));
        let config = project.must(&agent, &["compose", "config"], &["--format", "json"]);
        let model: Value = serde_json::from_str(&config).unwrap();
        let images = project.write("local-images.yaml", &local_images(&model));
        project.files.push(images);

        project.must(&agent, &["up"], &[]);
        for (service, declared) in model["services"].as_object().unwrap() {
            let found = states(&project.name, service);
            let replicas = declared["deploy"]["replicas"].as_u64().unwrap_or(1);
            assert_eq!(found.len() as u64, replicas, "{path}: {service}: {found:?}");
            let is_well = |state: &String| state == "running 0" || state == "exited 0";
            assert!(found.iter().all(is_well), "{path}: {service} is {found:?}");
            containers += found.len();
        }
        let before = engine::containers_of(&project.name);
        project.must(&agent, &["up"], &[]);
        assert_eq!(engine::containers_of(&project.name), before, "{path}: made again");
        project.must(&agent, &["down"], &["--volumes"]);
        assert_eq!(engine::containers_of(&project.name), Vec::<String>::new(), "{path}");
    }
    println!("{} public projects came up with {containers} containers", PUBLIC.len());
}
