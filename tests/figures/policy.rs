//! `cargo bench --bench policy`: how long it takes to judge five hundred containers by every check, with and
//! without policies around them, to compile two hundred policies, and to look at fifty containers of the
//! engine, split into its time and ours. Beside the first, reading the same containers out of JSON. Nothing
//! here passes or fails.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use wharfinger::base::Timestamp;
use wharfinger::domain::access::Stage;
use wharfinger::domain::compose::{Answer, Files, Inputs, Loaded, Options, load, lower};
use wharfinger::domain::policy::{
    CHECKS, Parameters, PolicySet, Question, SHIPPED, Source, Subject, compile, judge,
};
use wharfinger::facts::{ProjectSpec, ServiceSpec};
use wharfinger::world::docker::{
    ContainerFilter, DockerEngine, Engine, EngineAddress, NewContainer, RemoveContainer,
};

const CONTAINERS: usize = 500;
const POLICIES: usize = 200;
const LIVE: usize = 50;
const ROUNDS: usize = 31;
const LABEL: &str = "wharfbench";

fn main() {
    let project = project();
    let specs: Vec<(&str, &ServiceSpec)> =
        project.services.iter().map(|(name, unit)| (name.as_str(), &unit.spec)).collect();
    assert_eq!(specs.len(), CONTAINERS);
    let parameters = Parameters::default();
    let checks = median(|| {
        for (name, spec) in &specs {
            let subject = Subject { peers: Some(&specs), ..Subject::new(name, spec) };
            drop(black_box(judge(&subject, &parameters)));
        }
    });
    let set = compile(SHIPPED).unwrap();
    let policies = median(|| judge_all(&set, &specs));
    let own = own_policies();
    let sources: Vec<_> = own.iter().map(|(file, text)| Source { file, text }).collect();
    let compiled = median(|| drop(black_box(compile(&sources).unwrap())));
    let set = compile(&sources).unwrap();
    let conditions = median(|| judge_all(&set, &specs));
    let json: Vec<String> =
        specs.iter().map(|(_, spec)| serde_json::to_string(spec).unwrap()).collect();
    let read = median(|| {
        for text in &json {
            drop(black_box(serde_json::from_str::<serde_json::Value>(text).unwrap()));
        }
    });
    println!("{CONTAINERS} containers in memory, median of {ROUNDS}:");
    println!("  {} checks each            {}", CHECKS.len(), milliseconds(checks));
    println!("  the shipped policies      {}", milliseconds(policies));
    println!("  {POLICIES} policies of our own   {}", milliseconds(conditions));
    println!("  reading them out of JSON  {}", milliseconds(read));
    println!("  ratio to the checks       {:.2}", checks.as_secs_f64() / read.as_secs_f64());
    println!("compiling {POLICIES} policies       {}", milliseconds(compiled));
    match std::env::var("DOCKER_HOST") {
        Ok(address) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(sweep(&address));
        }
        Err(_) => println!("no engine is named by DOCKER_HOST: no sweep is measured"),
    }
}

fn judge_all(set: &PolicySet, specs: &[(&str, &ServiceSpec)]) {
    for (name, spec) in specs {
        let subject = Subject { peers: Some(specs), ..Subject::new(name, spec) };
        let question =
            Question { subject: &subject, stage: Stage::Production, tenant: None, now: now() };
        drop(black_box(set.judge(&question)));
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Makes containers, looks at all of them, and judges them by the shipped policies.
async fn sweep(address: &str) {
    let socket = address.strip_prefix("unix://").unwrap();
    let engine = DockerEngine::at(EngineAddress::Unix(socket.into()));
    let image = std::env::var("WHARF_TEST_BUSYBOX_IMAGE").unwrap();
    let how = RemoveContainer { force: true, anonymous_volumes: true };
    let filter = ContainerFilter::label(LABEL, "");
    for left in engine.containers(&filter).await.unwrap() {
        engine.remove_container(&left.id, how).await.unwrap();
    }
    for number in 0..LIVE {
        let spec = ServiceSpec {
            image: image.clone(),
            command: Some(vec!["sleep".to_owned(), "3600".to_owned()]),
            init: Some(true),
            ..ServiceSpec::default()
        };
        let new = NewContainer {
            name: format!("{LABEL}-{number}"),
            image: image.clone(),
            spec,
            bookkeeping: [(LABEL.to_owned(), String::new())].into(),
            resolved_namespaces: BTreeMap::new(),
            kept_volumes: BTreeMap::new(),
        };
        let id = engine.create_container(&new).await.unwrap();
        engine.start_container(&id).await.unwrap();
    }
    let set = compile(SHIPPED).unwrap();
    let (mut of_engine, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let found = engine.containers(&filter).await.unwrap();
        of_engine.push(start.elapsed());
        assert_eq!(found.len(), LIVE);
        let start = Instant::now();
        let specs: Vec<_> = found.iter().map(|it| (it.name.as_str(), &it.spec)).collect();
        for container in &found {
            let subject = Subject {
                peers: Some(&specs),
                container: Some(container),
                ..Subject::new(&container.name, &container.spec)
            };
            let question =
                Question { subject: &subject, stage: Stage::Production, tenant: None, now: now() };
            drop(black_box(set.judge(&question)));
        }
        ours.push(start.elapsed());
    }
    for left in engine.containers(&filter).await.unwrap() {
        engine.remove_container(&left.id, how).await.unwrap();
    }
    println!("a sweep of {LIVE} containers that run, median of {ROUNDS}:");
    println!("  the engine tells of them  {}", milliseconds(middle(of_engine)));
    println!("  we judge them             {}", milliseconds(middle(ours)));
}

fn own_policies() -> Vec<(String, String)> {
    let policy = |number: usize| {
        format!(
            "name: policy-{number}\ntitle: Policy {number}\ndescription: One of many\nowner: somebody\n\
             match: {{services: ['s{}*', 'web*'], stages: [production]}}\naction: {{production: deny, \
             default: warn}}\nchecks: [privileged, capabilities_dangerous, {{check: image_registry, \
             parameters: {{registries: [example]}}}}]\nconditions:\n  - id: named\n    title: Services \
             are named\n    expression: service.name.startsWith('s') && service.name.size() < 64\n    \
             message: its name is of another form\n    remediation: rename it\n    at: [image]\n  - id: \
             tiered\n    title: Services say their tier\n    expression: >-\n      'tier' in \
             service.labels && service.labels['tier'] in ['web', 'api', 'db']\n    message: it says \
             no tier\n    remediation: label it\n    at: [labels]\n",
            number % 10
        )
    };
    (0..POLICIES).map(|number| (format!("policy-{number}.yaml"), policy(number))).collect()
}

fn project() -> ProjectSpec {
    let mut text = "services:\n".to_owned();
    for number in 0..CONTAINERS {
        text += &format!(
            "  s{number:03}:\n    image: example/app:1.{number}\n    user: '1000'\n    read_only: {}\n    \
             cap_drop: [ALL]\n    cap_add: [NET_BIND_SERVICE]\n    security_opt: \
             ['no-new-privileges:true']\n    ports: ['127.0.0.1:{}:8080']\n    volumes: ['data{}:/data', \
             './conf:/conf:ro']\n    environment: {{LOG_LEVEL: info, ZONE: eu, DB_HOST: db}}\n    labels: \
             {{tier: web}}\n    mem_limit: 64m\n    restart: on-failure:3\n    healthcheck: {{test: [CMD, \
             /bin/probe]}}\n",
            number % 2 == 0,
            10_000 + number,
            number % 50
        );
    }
    text += "volumes:\n";
    for number in 0..50 {
        text += &format!("  data{number}:\n");
    }
    let content = Answer::Content(text.into_bytes());
    let files = Files::from([("/p/compose.yaml".to_owned(), content)]);
    let options = Options { directory: "/p".to_owned(), ..Options::default() };
    let mut known = files.clone();
    let project = loop {
        match load(&options, &BTreeMap::new(), &known).unwrap() {
            Loaded::Done(project) => break *project,
            Loaded::Needs(paths) => {
                known.extend(paths.into_iter().map(|path| (path, Answer::Missing)));
            }
        }
    };
    lower(&project, &Inputs { files, ..Inputs::default() }).unwrap()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn median(mut work: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    middle(times.collect())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
