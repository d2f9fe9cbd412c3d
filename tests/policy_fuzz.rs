//! Random conditions and random files of policies through the whole of them: reading, judging, trying
//! out. Seeded, so that what it finds can be found again. Nothing panics, what is refused has a reason,
//! and what is said without knowing an image still holds when it is known.
//! `WHARF_FUZZ_SECONDS` makes it long, `WHARF_FUZZ_SEED` makes it begin elsewhere.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what it tried, or panics"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use wharfinger::base::Timestamp;
use wharfinger::domain::access::Stage;
use wharfinger::domain::policy::condition::{Condition, EvaluationError, Outcome, Steps, Value};
use wharfinger::domain::policy::document::{ROOT, document};
use wharfinger::domain::policy::{
    PolicySet, Question, SHIPPED, Source, Subject, compile, strictest, try_out,
};
use wharfinger::facts::{ImageFacts, PortBinding, Protocol, ServiceSpec};

#[path = "support/random.rs"]
mod random;

use random::Random;

/// How long each of the two runs when nobody says otherwise.
const SECONDS: u64 = 3;
/// It stops after so many failures.
const FAILURES_MAX: usize = 12;

/// What stands in conditions.
const PARTS: &[&str] = &[
    "service",
    "container",
    "image",
    "host",
    ".name",
    ".user",
    ".labels",
    "['tier']",
    ".tier",
    ".ports",
    ".mounts",
    ".security",
    ".resources",
    ".environment",
    ".healthcheck",
    ".restart",
    ".privileged",
    ".cap_add",
    ".memory_bytes",
    ".retries_max",
    ".source",
    ".host_ip",
    ".tags",
    ".exists(x, ",
    ".all(x, ",
    ".map(x, ",
    ".filter(x, ",
    ".exists_one(x, ",
    "x",
    "x.target",
    ".size()",
    "size(",
    ".contains(",
    ".startsWith(",
    ".matches('",
    ".split(",
    ".trim()",
    "int(",
    "double(",
    "string(",
    "has(",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    " in ",
    "0",
    "1",
    "-1",
    "1.5",
    "1e9",
    "9223372036854775807",
    "0x10",
    "'a'",
    "\"web\"",
    "''",
    "'",
    "r'\\d'",
    "'''",
    "'\\x41'",
    "'\\'",
    "true",
    "false",
    "null",
    "// c",
    "\n",
    " ",
    "ä",
    "\u{1F600}",
    "1u",
    "b'a'",
    ".?",
    "`a`",
    "@",
];

/// Whole conditions to begin with.
const SEEDS: &[&str] = &[
    "service.registry == 'r.example' || service.labels['tier'] in ['web', 'api']",
    "service.ports.all(port, port.host_ip != null && port.host_port_first >= 1024)",
    "service.mounts.exists(mount, mount.type == 'bind' && mount.source.startsWith('/etc'))",
    "has(service.user) && service.user != 'root' && !service.security.privileged",
    "image.age_days < 30 ? size(image.tags) > 0 : service.tag != 'latest'",
    "service.environment.exists(name, name.matches('(?i)secret'))",
    "size(service.networks.filter(x, x.contains('_')).map(x, x.split('_')[0])) <= 2",
    "service.healthcheck.retries + 1 > 2 && int('12') * 2 == 24 && 1.5 < 2",
    "[service.user, service.working_dir].exists(x, x == null) || 'TZ' in service.environment",
    "service.labels.all(key, size(service.labels[key]) < 100)",
];

/// An expression that is one, most of the time.
fn grown(random: &mut Random, depth: usize) -> String {
    let field = |random: &mut Random| {
        random
            .of(&[
                "service.user",
                "service.name",
                "service.tag",
                "service.labels.tier",
                "service.labels['team']",
                "service.working_dir",
                "image.user",
                "host.storage_driver",
            ])
            .to_owned()
    };
    let list = |random: &mut Random| {
        random
            .of(&["service.environment", "service.networks", "image.tags", "['a', 'web']"])
            .to_owned()
    };
    if depth == 0 {
        return random.of(&["true", "false", "service.tty", "service.is_built"]).to_owned();
    }
    let below = depth - 1;
    match random.below(14) {
        0 => format!("{} && {}", grown(random, below), grown(random, below)),
        1 => format!("{} || {}", grown(random, below), grown(random, below)),
        2 => format!("!({})", grown(random, below)),
        3 => format!("({})", grown(random, below)),
        4 => format!(
            "({}) ? {} : {}",
            grown(random, below),
            grown(random, below),
            grown(random, below)
        ),
        5 => format!("{} {} {}", field(random), random.of(&["==", "!="]), field(random)),
        6 => format!("{} in {}", field(random), list(random)),
        7 => format!("'TZ' in {}", list(random)),
        8 => {
            let kind = random.of(&["all", "exists", "exists_one"]);
            let body = random.of(&["x == 'TZ'", "size(x) > 2", "int(x) > 1", "x in ['a', 'TZ']"]);
            format!("{}.{kind}(x, {body})", list(random))
        }
        9 => format!("has({})", random.of(&["service.user", "image.user", "service.labels.tier"])),
        10 => format!("int({}) > 1", field(random)),
        11 => format!("size([{}, {}]) == 2", field(random), field(random)),
        12 => format!(
            "{}.{}(x, {}).size() > {}",
            list(random),
            random.of(&["map", "filter"]),
            random.of(&["x == 'a'", "size(x) > 1", "int(x) > 0", "x.startsWith('T')"]),
            random.below(3)
        ),
        _ => format!("[{}].exists(x, x {} null)", field(random), random.of(&["==", "!="])),
    }
}

/// Something like a condition: grown, or a whole one with parts changed, or parts alone.
fn expression(random: &mut Random) -> String {
    if random.below(2) == 0 {
        return grown(random, 4);
    }
    let mut text = match random.below(4) {
        0 => String::new(),
        _ => random.of(SEEDS).to_owned(),
    };
    for _ in 0..=random.below(6) {
        let places: Vec<usize> =
            text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let at = places[random.below(places.len())];
        let to = places[random.below(places.len())].max(at);
        let kept = if random.below(2) == 0 { at } else { to };
        text = match random.below(8) {
            0 => format!("{}{}", &text[..at], &text[to..]),
            1 => format!("{}{}{}", &text[..at], &text[at..to].repeat(3), &text[to..]),
            2 => format!("{}({}){}", &text[..at], &text[at..to], &text[to..]),
            3 => {
                let open = random.of(&["(", "[", "!", "{1:", "-", "[1].map(x,", "true?"]);
                format!("{}{}{}", &text[..at], open.repeat(random.below(40)), &text[at..])
            }
            _ => format!("{}{}{}", &text[..at], random.of(PARTS), &text[kept..]),
        };
    }
    text
}

/// A service about whose image nothing is said.
fn service() -> ServiceSpec {
    let mut spec = ServiceSpec { image: "web:1".to_owned(), ..ServiceSpec::default() };
    spec.labels.insert("tier".to_owned(), "web".to_owned());
    spec.environment.insert("TZ".to_owned(), wharfinger::base::Secret::new("UTC".to_owned()));
    spec.ports.insert(PortBinding {
        container_port: 80,
        protocol: Protocol::Tcp,
        host_ip: None,
        host_port: Some("8080".to_owned()),
    });
    spec
}

/// Images that bring different things.
fn images() -> Vec<ImageFacts> {
    let image = |change: fn(&mut ServiceSpec)| {
        let mut defaults = ServiceSpec::default();
        change(&mut defaults);
        ImageFacts {
            last_tagged_at: None,
            id: "sha256:1".to_owned(),
            tags: vec!["web:1".to_owned(), "a".to_owned()],
            digests: Vec::new(),
            defaults,
            platform: "linux/amd64".to_owned(),
            size_bytes: 1,
            created_at: Some("2026-01-01T00:00:00Z".parse().expect("a time")),
        }
    };
    vec![
        image(|_| {}),
        image(|spec| spec.user = Some("12".to_owned())),
        image(|spec| {
            spec.user = Some("web".to_owned());
            spec.working_dir = Some("/a".to_owned());
            spec.labels.insert("tier".to_owned(), "other".to_owned());
            spec.labels.insert("team".to_owned(), "3".to_owned());
            let value = wharfinger::base::Secret::new("1".to_owned());
            spec.environment.insert("A".to_owned(), value);
        }),
    ]
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().expect("a time")
}

/// The object without an image, and with each of the images.
fn objects() -> Vec<Value> {
    let spec = service();
    let images = images();
    let bare = Subject { now: Some(now()), ..Subject::new("web", &spec) };
    let known = images.iter().map(|image| document(&Subject { image: Some(image), ..bare }));
    std::iter::once(document(&bare)).chain(known).collect()
}

/// What became of an expression, in a word.
fn try_condition(text: &str, objects: &[Value]) -> &'static str {
    let condition = match Condition::compile(text, ROOT) {
        Ok(condition) => condition,
        Err(error) => {
            assert!(!error.message.is_empty(), "refused without a reason");
            assert!(error.at <= text.chars().count(), "refused behind its end: {}", error.at);
            return "refused";
        }
    };
    let judged = |object: &Value| condition.evaluate(object, &mut Steps::default());
    let first = judged(&objects[0]);
    let all: Vec<_> = objects[1..].iter().map(judged).collect();
    if let Ok(Outcome::Known(value)) = &first {
        for known in &all {
            let is_excused = matches!(known, Err(EvaluationError::OutOfSteps));
            let holds = is_excused || matches!(known, Ok(Outcome::Known(other)) if other == value);
            assert!(holds, "it said {value} without the image, and {known:?} with it");
        }
    }
    match first {
        Ok(Outcome::Known(true)) => "true",
        Ok(Outcome::Known(false)) => "false",
        Ok(Outcome::Unknown(_)) => "unknown",
        Err(_) => "error",
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs one seed after the other until the time is over.
fn run<'a>(mut one: impl FnMut(&mut Random) -> (String, Box<dyn FnOnce() -> &'static str + 'a>)) {
    let first = number("WHARF_FUZZ_SEED", 1);
    let until = Instant::now() + Duration::from_secs(number("WHARF_FUZZ_SECONDS", SECONDS));
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut seed, mut slowest, mut failed) = (first, Duration::ZERO, Vec::new());
    while Instant::now() < until && failed.len() < FAILURES_MAX {
        let (text, tried) = one(&mut Random(seed));
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(tried)) {
            Ok(made) => *counts.entry(made).or_default() += 1,
            Err(_) => {
                println!("seed {seed} failed with:\n{text}");
                failed.push(seed);
            }
        }
        slowest = slowest.max(start.elapsed());
        seed += 1;
    }
    println!("seeds {first} to {seed}: {counts:?}, the slowest took {slowest:?}");
    assert!(failed.is_empty(), "failed: {failed:?}; set WHARF_FUZZ_SEED to one of them");
    // What is always refused tries nothing.
    assert!(counts.len() > 1 && counts.keys().any(|made| *made != "refused"), "{counts:?}");
}

#[test]
fn random_conditions_are_judged_or_refused_and_never_more() {
    let objects = objects();
    run(|random| {
        let text = expression(random);
        let objects = &objects;
        (text.clone(), Box::new(move || try_condition(&text, objects)))
    });
}

/// What means something somewhere in a policy's file.
const WORDS: &[&str] = &[
    "name: a",
    "title: A",
    "owner: o",
    "severity: low",
    "action: deny",
    "action: {staging: off}",
    "match: {projects: '*'}",
    "match: [{services: web}, {}]",
    "exclude: {labels: {a: , b: [c]}}",
    "parameters: {memory: 1g}",
    "- '*'",
    "- cis:5",
    "- cis:",
    "- {check: limits, action: audit}",
    "- {check: '*', parameters: {pids: 5}}",
    "- {id: a, expression: 'true', message: m}",
    "expression: service.user == 1",
    "expression: |",
    "  && (",
    "expires: 2027-01-01",
    "expires: 2027-13-01",
    "approver: o",
    "rules: ['*']",
    "expect: {limits: pass}",
    "null",
    "~",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "- - -",
    "&a",
    "*a",
    "<<: *a",
    "!x",
    "---",
    "ä\u{1F600}",
    "\t",
    "compose: 5",
    "compose: {services: {web: {image: a}}}",
    "image: {user: 0}",
    "image: []",
    "stage: staging",
    "now: 2026-05-05",
    "tests:",
    "checks:",
    "conditions:",
    "exceptions:",
];

/// A file with some lines changed.
fn mutate(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..random.below(4) {
        if lines.is_empty() {
            lines.push(String::new());
        }
        let at = random.below(lines.len());
        let indent: String = lines[at].chars().take_while(|c| *c == ' ').collect();
        match random.below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[random.below(lines.len())].clone()),
            2 => {
                let to = random.below(lines.len());
                lines.swap(at, to);
            }
            3 => lines[at] = format!("{}{}", " ".repeat(random.below(7)), lines[at].trim_start()),
            4 => {
                let key = lines[at].split_once(':').map(|(key, _)| key.to_owned());
                lines[at] = format!("{}: {}", key.unwrap_or_default(), random.of(WORDS));
            }
            5 => {
                let inner = expression(random).replace('\n', " ").replace('\'', "''");
                lines[at] = format!("{indent}expression: '{inner}'");
            }
            _ => lines.insert(at, format!("{indent}{}", random.of(WORDS))),
        }
    }
    lines.join("\n")
}

fn try_set(texts: &[(&str, String)]) -> &'static str {
    let sources: Vec<Source<'_>> = texts.iter().map(|(file, text)| Source { file, text }).collect();
    let set: PolicySet = match compile(&sources) {
        Ok(set) => set,
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            assert!(problems.0.iter().all(|problem| !problem.message.is_empty()));
            return "refused";
        }
    };
    let names: BTreeSet<_> = set.policies().iter().map(|policy| policy.name).collect();
    assert_eq!(names.len(), set.policies().len(), "two of one name");
    let spec = service();
    let images = images();
    for image in std::iter::once(None).chain(images.iter().map(Some)) {
        for stage in Stage::ALL {
            let subject = Subject { image, ..Subject::new("web", &spec) };
            let question = Question { subject: &subject, stage: *stage, tenant: None, now: now() };
            let findings = set.judge(&question);
            assert!(strictest(&findings).len() <= findings.len());
            for finding in &findings {
                drop(finding.remedy(&subject));
            }
        }
    }
    let tried = try_out(&set);
    assert_eq!(tried.len(), set.tests().len());
    match tried.iter().all(|tried| tried.problems.is_empty()) {
        true => "passed",
        false => "failed",
    }
}

#[test]
fn random_files_of_policies_are_compiled_or_refused_and_never_more() {
    run(|random| {
        let pair = random.below(SHIPPED.len() / 2) * 2;
        let mut texts: Vec<(&str, String)> = SHIPPED[pair..pair + 2]
            .iter()
            .map(|source| (source.file, source.text.to_owned()))
            .collect();
        let changed = random.below(2);
        texts[changed].1 = mutate(random, &texts[changed].1);
        let shown = texts[changed].1.clone();
        (shown, Box::new(move || try_set(&texts)))
    });
}
