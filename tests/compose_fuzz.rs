//! Random files through the whole loader: interpolation, merging, `extends`, `include`, printing and
//! lowering. Seeded, so that what it finds can be found again; a mutator that knows the structure of
//! compose files, over our own samples and the conformance projects beside the checkout.
//! `WHARF_FUZZ_SECONDS` makes it long, `WHARF_FUZZ_SEED` makes it begin elsewhere.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wharfinger::domain::compose::{Answer, Files, Inputs, Loaded, Options, canonical, load, lower};

/// How long it runs when nobody says otherwise.
const SECONDS: u64 = 5;
/// Largest seed file: beyond it a round costs more than it finds.
const SEED_BYTES_MAX: usize = 16 << 10;
/// It stops after so many failures.
const FAILURES_MAX: usize = 12;
/// Most seed files.
const SEEDS_MAX: usize = 400;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// Values and fragments that mean something somewhere in a compose file.
const WORDS: &[&str] = &[
    "${A}",
    "${A:-b}",
    "${A:-${B:-$$}}",
    "${A?x}",
    "${",
    "$",
    "$$",
    "${A:+${A}}",
    "!reset",
    "!reset null",
    "!override",
    "&a",
    "*a",
    "<<: *a",
    "null",
    "~",
    "true",
    "no",
    "-1",
    "0",
    "0x10",
    "0o7",
    "1e400",
    "9223372036854775808",
    "1.50",
    ".inf",
    "''",
    "\"\\n\"",
    "|",
    ">-",
    "[]",
    "{}",
    "[[[[",
    "- - -",
    "? a",
    "80:80",
    "8000-8010:80-90/udp",
    "[::1]:80:80",
    "65536",
    "a:/b:ro,z,nocopy",
    "~/x:/y",
    "C:\\a:/b",
    "/a",
    ".:/b:",
    "1g",
    "512m",
    "1.5gb",
    "1h30m",
    "90s",
    "10",
    "ä\u{1F600}",
    "\t",
    "\r\n",
    "---",
    "...",
    "service:web",
    "container:x",
    "file: compose.yaml",
    "services:",
    "web:",
    "x-a:",
    "include: [b.yaml]",
    "extends: web",
    "extends: {file: b.yaml, service: web}",
    "depends_on: [web]",
    "ports:",
    "volumes:",
    "environment:",
    "env_file: [a.env]",
    "build: .",
    "networks:",
    "healthcheck:",
    "deploy:",
    "configs:",
    "secrets:",
    "ulimits:",
    "profiles: [a]",
    "command: 'a",
    "image: i",
    "external: {name: x}",
    "test: [CMD]",
    "logging: {driver: a, options: {b: 1}}",
    "ipam: {config: [{subnet: 10.0.0.0/8}]}",
    "gpus: all",
];

fn mutate(random: &mut Random, seed: &str, other: &str) -> String {
    let mut lines: Vec<String> = seed.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        if lines.is_empty() {
            lines.push(String::new());
        }
        let at = random.below(lines.len());
        match random.below(9) {
            0 => {
                lines.remove(at);
            }
            1 => lines.insert(at, lines[random.below(lines.len())].clone()),
            2 => {
                let to = random.below(lines.len());
                lines.swap(at, to);
            }
            3 => {
                let more = other.lines().skip(random.below(other.lines().count()));
                let more: Vec<String> = more.take(1 + random.below(6)).map(str::to_owned).collect();
                lines.splice(at..at, more);
            }
            4 => {
                let indent = " ".repeat(random.below(9));
                lines[at] = format!("{indent}{}", lines[at].trim_start());
            }
            5 => {
                let key = lines[at].split_once(':').map(|(key, _)| key.to_owned());
                let key = key.unwrap_or_default();
                lines[at] = format!("{key}: {}", random.of(WORDS));
            }
            6 => {
                let indent: String = lines[at].chars().take_while(|c| *c == ' ').collect();
                lines.insert(at, format!("{indent}{}", random.of(WORDS)));
            }
            _ => {
                let line = &mut lines[at];
                let places: Vec<usize> = line.char_indices().map(|(place, _)| place).collect();
                let place = places.get(random.below(places.len())).copied().unwrap_or(0);
                let cut = if random.below(2) == 0 { &line[place..] } else { "" };
                *line = format!("{}{}{cut}", &line[..place], random.of(WORDS));
            }
        }
    }
    lines.join("\n")
}

/// What the loader made of some files, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Made {
    Refused,
    Printed,
    Lowered,
}

fn try_all(texts: &[String]) -> Made {
    let names = ["/p/compose.yaml", "/p/b.yaml", "/p/a.env"];
    let content = |text: &String| Answer::Content(text.clone().into_bytes());
    let known: Files =
        names.iter().map(|name| (*name).to_owned()).zip(texts.iter().map(content)).collect();
    let options = Options {
        directory: "/p".to_owned(),
        files: vec!["compose.yaml".to_owned(), "b.yaml".to_owned()],
        ..Options::default()
    };
    let environment = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    let mut files = Files::new();
    for _ in 0..50 {
        match load(&options, &environment, &files) {
            Err(problems) => {
                assert!(!problems.0.is_empty(), "refused without a reason");
                assert!(!problems.to_string().is_empty());
                return Made::Refused;
            }
            Ok(Loaded::Needs(paths)) => {
                for path in paths {
                    let answer = known.get(&path).cloned().unwrap_or(Answer::Missing);
                    assert!(files.insert(path, answer).is_none(), "asked for a file twice");
                }
            }
            Ok(Loaded::Done(project)) => {
                let model = canonical(&project);
                if !has_dollar_in_a_key(&model) {
                    assert_settles(&project.name, &model.to_string());
                }
                let inputs = Inputs { files, context_digests: BTreeMap::new() };
                let is_lowered = lower(&project, &inputs).is_ok();
                return if is_lowered { Made::Lowered } else { Made::Printed };
            }
        }
    }
    panic!("the loader does not stop asking");
}

/// A dollar sign in a key is doubled when it is printed, as Docker Compose does, and not halved when
/// it is read, because variables are replaced in values alone.
fn has_dollar_in_a_key(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(items) => items.iter().any(has_dollar_in_a_key),
        serde_json::Value::Object(map) => {
            map.iter().any(|(key, value)| key.contains('$') || has_dollar_in_a_key(value))
        }
        _ => false,
    }
}

/// The canonical form is a compose file, and its own canonical form after one more round at most: an
/// empty text, as a variable without a value leaves it, hides a default and is not printed.
fn assert_settles(name: &str, once: &str) {
    let twice = printed_again(name, once);
    assert_eq!(printed_again(name, &twice), twice, "first {once}");
}

fn printed_again(name: &str, text: &str) -> String {
    let options = Options {
        directory: "/p".to_owned(),
        files: vec!["again.yaml".to_owned()],
        project_name: Some(name.to_owned()),
        profiles: vec!["*".to_owned()],
        ..Options::default()
    };
    let mut files = Files::new();
    files.insert("/p/again.yaml".to_owned(), Answer::Content(text.as_bytes().to_vec()));
    files.insert("/p/.env".to_owned(), Answer::Missing);
    match load(&options, &BTreeMap::new(), &files) {
        Ok(Loaded::Done(again)) => canonical(&again).to_string(),
        Ok(Loaded::Needs(paths)) => panic!("the canonical form needs {paths:?}"),
        Err(problems) => panic!("the canonical form is refused: {problems}\n{text}"),
    }
}

fn seeds() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.join("compose")];
    for shared in [root.join("../shared"), root.join("../../shared")] {
        open.push(shared.join("conformance/compose/projects"));
    }
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if text.len() <= SEED_BYTES_MAX && text.contains("services:") {
                    found.push(text);
                }
            }
        }
    }
    found.truncate(SEEDS_MAX);
    assert!(!found.is_empty(), "there is no compose file to begin with");
    found
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_files_are_loaded_or_refused_and_never_more() {
    let seeds = seeds();
    let first = number("WHARF_FUZZ_SEED", 1);
    let until = Instant::now() + Duration::from_secs(number("WHARF_FUZZ_SECONDS", SECONDS));
    let mut counts = BTreeMap::from([(Made::Refused, 0), (Made::Printed, 0), (Made::Lowered, 0)]);
    let mut slowest = Duration::ZERO;
    let mut seed = first;
    let mut failed = Vec::new();
    while Instant::now() < until && failed.len() < FAILURES_MAX {
        let mut random = Random(seed);
        let pick = |random: &mut Random| &seeds[random.below(seeds.len())];
        let main = pick(&mut random).clone();
        let other = pick(&mut random).clone();
        let mut texts = vec![mutate(&mut random, &main, &other)];
        // Over the first file: another project, the same one changed otherwise, or nothing much.
        texts.push(match random.below(5) {
            0 => mutate(&mut random, &other, &main),
            1 => mutate(&mut random, &main, &other),
            _ => "services: {}\n".to_owned(),
        });
        texts.push(format!("A=1\nB={}\nC='{}", random.of(WORDS), random.of(WORDS)));
        let start = Instant::now();
        let made = catch_unwind(AssertUnwindSafe(|| try_all(&texts)));
        slowest = slowest.max(start.elapsed());
        match made {
            Ok(made) => *counts.entry(made).or_default() += 1,
            Err(_) => {
                println!("seed {seed} failed with these files:\n{}", texts.join("\n#####\n"));
                failed.push(seed);
            }
        }
        seed += 1;
    }
    println!("seeds {first} to {seed}: {counts:?}, the slowest took {slowest:?}");
    assert!(failed.is_empty(), "failed: {failed:?}; set WHARF_FUZZ_SEED to one of them");
    // A mutator whose files are all refused tries nothing.
    assert!(counts.values().all(|count| *count > 0), "{counts:?}");
}
