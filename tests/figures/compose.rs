//! `cargo bench --bench compose`: how long it takes to load a project of a hundred services in three
//! files, with anchors and `extends`, and to plan it. Beside them, what a plain YAML reader needs for
//! the same bytes, in the same run. Nothing here passes or fails.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use wharfinger::base::HashKey;
use wharfinger::domain::compose::{Answer, Files, Inputs, Loaded, Options, Project, load, lower};
use wharfinger::domain::rollout::{Observed, PlanOptions, plan};

const SERVICES: usize = 100;
const ROUNDS: usize = 101;

fn main() {
    let files = files();
    let bytes: usize = files.values().map(size).sum();
    let load_time = median(|| drop(black_box(loaded(&files))));
    let yaml_time = median(|| {
        for answer in files.values() {
            let Answer::Content(bytes) = answer else { continue };
            drop(black_box(serde_yaml::from_slice::<serde_yaml::Value>(bytes).unwrap()));
        }
    });
    let project = loaded(&files);
    let inputs = Inputs { files: files.clone(), context_digests: BTreeMap::new() };
    let spec = lower(&project, &inputs).unwrap();
    assert_eq!(spec.services.len(), SERVICES);
    let key = HashKey::new([7; 32]);
    let (observed, options) = (Observed::default(), PlanOptions::explicit());
    let plan_time = median(|| {
        let spec = lower(&project, &inputs).unwrap();
        drop(black_box(plan(&spec, &observed, &options, &key).unwrap()));
    });
    let bomb = bomb();
    let refused = median(|| {
        let bomb = Files::from([("/p/compose.yaml".to_owned(), Answer::Content(bomb.clone()))]);
        drop(black_box(load(&options_of(&["compose.yaml"]), &BTreeMap::new(), &bomb).unwrap_err()));
    });
    println!(
        "a project of {SERVICES} services in three files ({bytes} bytes), median of {ROUNDS}:"
    );
    println!("  load                {}", milliseconds(load_time));
    println!("  read as plain YAML  {}", milliseconds(yaml_time));
    println!("  ratio               {:.2}", load_time.as_secs_f64() / yaml_time.as_secs_f64());
    println!("  lower and plan      {}", milliseconds(plan_time));
    println!("  refuse 9^30 values  {}", milliseconds(refused));
}

/// A file of a few lines with more values than there is memory, were its aliases expanded.
fn bomb() -> Vec<u8> {
    let mut text = "x-0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(text, "x-{level}: &a{level} [{aliases}]");
    }
    text.into_bytes()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut samples: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    samples.sort_unstable();
    samples[ROUNDS / 2]
}

fn size(answer: &Answer) -> usize {
    match answer {
        Answer::Content(bytes) => bytes.len(),
        Answer::Missing | Answer::Unreadable(_) => 0,
    }
}

fn files() -> Files {
    let mut main = "x-log: &log {driver: json-file, options: {max-size: 10m, max-file: '3'}}\n\
                    x-env: &env {LOG_LEVEL: '${LEVEL:-info}', ZONE: eu, RETRIES: 3}\nservices:\n"
        .to_owned();
    let mut over = "services:\n".to_owned();
    for number in 0..SERVICES {
        let _ = write!(
            main,
            "  s{number:03}:\n    extends: {{file: base.yaml, service: app}}\n    image: \
             example/app:${{TAG:-1.{number}}}\n    logging: *log\n    environment:\n      <<: *env\n      \
             NUMBER: '{number}'\n    ports: ['{}:8080']\n    volumes: ['data{}:/data', \
             './conf:/conf:ro']\n    networks: [front, back]\n    labels: [app=s{number}, tier=web]\n",
            10_000 + number,
            number % 10
        );
        if number > 0 {
            let _ = writeln!(main, "    depends_on: [s{:03}]", number - 1);
        }
        let _ = write!(
            over,
            "  s{number:03}:\n    mem_limit: 64m\n    environment: [STAGE=production]\n    healthcheck: \
             {{interval: 30s}}\n"
        );
    }
    main.push_str("networks: {front: {}, back: {internal: true}}\nvolumes:\n");
    for number in 0..10 {
        let _ = writeln!(main, "  data{number}:");
    }
    let base = "services:\n  app:\n    init: true\n    cap_drop: [ALL]\n    healthcheck: {test: [CMD, \
                '/bin/probe'], retries: 3}\n    deploy: {resources: {limits: {cpus: '0.50'}}}\n    \
                environment: {BASE: '1'}\n";
    let content = |text: &str| Answer::Content(text.as_bytes().to_vec());
    [("/p/compose.yaml", main.as_str()), ("/p/over.yaml", &over), ("/p/base.yaml", base)]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), content(text)))
        .collect()
}

fn options_of(files: &[&str]) -> Options {
    Options {
        directory: "/p".to_owned(),
        files: files.iter().map(|name| (*name).to_owned()).collect(),
        ..Options::default()
    }
}

fn loaded(files: &Files) -> Project {
    let options = options_of(&["compose.yaml", "over.yaml"]);
    let environment = BTreeMap::new();
    let mut known = Files::new();
    loop {
        match load(&options, &environment, &known).unwrap() {
            Loaded::Done(project) => return *project,
            Loaded::Needs(paths) => known.extend(paths.into_iter().map(|path| {
                let answer = files.get(&path).cloned().unwrap_or(Answer::Missing);
                (path, answer)
            })),
        }
    }
}
