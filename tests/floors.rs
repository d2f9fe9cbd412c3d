//! The laws of ARCHITECTURE.md as a test: reads `src/` and fails on an import that runs uphill, an
//! impure word on a pure floor, a library outside its one module, a file that is too long, a module
//! without its header. The second half plants each of these and shows that it is found.

#![expect(clippy::expect_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::{Path, PathBuf};

/// Top-level modules by floor, lowest first. `main` and `lib` stand above all.
const FLOORS: &[(&str, usize)] = &[
    ("base", 0),
    ("facts", 1),
    ("domain", 2),
    ("store", 3),
    ("world", 3),
    ("operations", 4),
    ("watchers", 4),
    ("api", 5),
    ("console", 5),
    ("cli", 6),
    ("daemon", 6),
    ("proxy", 6),
];

/// Modules of one floor that may use each other; every other pair on one floor may not.
const PEERS: &[(&str, &str)] = &[("daemon", "cli"), ("cli", "daemon"), ("watchers", "operations")];

/// Within `domain/`, who may use whom.
const DOMAIN_PAIRS: &[(&str, &str)] = &[
    ("access", "redaction"),
    ("advisories", "alerts"),
    ("advisories", "sbom"),
    ("alerts", "redaction"),
    ("alerts", "runs"),
    ("audit", "redaction"),
    ("audit", "runbooks"),
    ("audit", "runs"),
    ("compose", "redaction"),
    ("enforcement", "alerts"),
    ("enforcement", "policy"),
    ("findings", "access"),
    ("findings", "alerts"),
    ("findings", "policy"),
    ("findings", "redaction"),
    ("policy", "access"),
    ("policy", "alerts"),
    ("policy", "compose"),
    ("policy", "registries"),
    ("runbooks", "access"),
    ("runbooks", "redaction"),
    ("runs", "access"),
    ("runs", "redaction"),
    ("runs", "rollout"),
    ("runs", "runbooks"),
    ("scans", "advisories"),
    ("scans", "alerts"),
    ("scans", "sbom"),
    ("schedules", "runs"),
];

/// What floors 0 to 2 must not say: effects, waiting, the machine's clock.
const IMPURE: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "tokio::",
    "bollard",
    "rusqlite",
    "reqwest",
    "axum",
    "std::{",
    "std::fs",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "getrandom",
];

/// Libraries with one home each; entry points of floor 6 may wire what they start.
const HOMES: &[(&str, &[&str])] = &[
    ("bollard", &["world/docker"]),
    ("rusqlite", &["store"]),
    ("axum", &["api", "console"]),
    ("utoipa", &["api", "console"]),
    ("clap", &["cli"]),
    ("saphyr_parser", &["base/yaml"]),
    ("regex", &["domain/policy/condition"]),
];

/// Folders whose code the seeded simulation repeats exactly: what it does must not depend on
/// threads, hashing or the machine.
const REPEATED: &[&str] = &["base", "facts", "domain", "operations", "watchers"];

/// What no run of a program repeats, and what to use instead.
const UNREPEATABLE: &[(&str, &str)] = &[
    ("HashMap", "its order differs from run to run: BTreeMap"),
    ("HashSet", "its order differs from run to run: BTreeSet"),
    ("spawn_blocking", "threads come in any order: let `world` or `store` wait for the disk"),
    ("std::time::Instant", "the time of the machine: tokio::time::Instant, or a `Clock`"),
];

const LINES_MAX: usize = 600;

/// Everything that is wrong with the tree below `src`, as `path:line: what`.
fn violations(src: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in rust_files(src) {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let name = path.strip_prefix(src).expect("below src").to_string_lossy().into_owned();
        check_file(&name, &text, &mut found);
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs") || name.split('/').any(|part| part == "tests")
}

fn check_file(name: &str, text: &str, found: &mut Vec<String>) {
    if is_test_file(name) {
        return;
    }
    let code = before_tests(text);
    let lines = code.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{name}:{lines}: more than {LINES_MAX} lines"));
    }
    if !text.starts_with("//! ") {
        found.push(format!("{name}:1: no header that says what the module is for"));
    }
    let module = name.split(['/', '.']).next().unwrap_or("");
    let floor = FLOORS.iter().find(|(known, _)| *known == module).map(|(_, floor)| *floor);
    if floor.is_none() && !matches!(module, "lib" | "main") {
        found.push(format!("{name}:1: {module} is on no floor"));
    }
    if REPEATED.contains(&module) {
        check_repeatable(name, code, found);
    }
    for (index, line) in code.lines().enumerate() {
        let line = line.split("//").next().unwrap_or("");
        let at = format!("{name}:{}", index + 1);
        if line.contains("#[allow(") || line.contains("#![allow(") {
            found.push(format!("{at}: `allow` instead of `expect` with a reason"));
        }
        check_spelling(&at, name, line, found);
        if let Some(floor) = floor {
            check_line(&at, name, module, floor, line, found);
        }
    }
}

/// What a simulation runs must come out the same every time.
fn check_repeatable(name: &str, code: &str, found: &mut Vec<String>) {
    let lines: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    for (index, line) in lines.iter().enumerate() {
        let at = format!("{name}:{}", index + 1);
        for (word, instead) in UNREPEATABLE.iter().filter(|(word, _)| says(line, word)) {
            found.push(format!("{at}: `{word}` cannot be repeated: {instead}"));
        }
        let is_biased = lines.get(index + 1).is_some_and(|next| next.trim() == "biased;");
        if line.contains("select! {") && !is_biased {
            found.push(format!("{at}: `select!` without `biased;` chooses by chance"));
        }
    }
}

/// Paths must be written so that the checks below can read them: whole, and from the root.
fn check_spelling(at: &str, name: &str, line: &str, found: &mut Vec<String>) {
    if line.contains("crate::{") || (name.starts_with("domain/") && line.contains("domain::{")) {
        found.push(format!("{at}: several modules in one import, which hides where they belong"));
    }
    // The module that the path starts from, as names from the root; `mod.rs` is its folder.
    let own = name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let climbs = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let climbs = climbs.map(|path| path.split("::").take_while(|part| *part == "super").count());
    let kept = if name.starts_with("domain/") { 2 } else { 1 };
    if climbs.max().is_some_and(|climbs| climbs > 0 && own < climbs + kept) {
        found.push(format!("{at}: `super` out of the module; write the path from `crate`"));
    }
}

/// The part of a file before its inline tests.
fn before_tests(text: &str) -> &str {
    let inline = |after: &str| after.lines().next().is_some_and(|line| line.ends_with('{'));
    let mut modules = text.match_indices("#[cfg(test)]\nmod ");
    let tests = modules.find(|(start, opening)| inline(&text[start + opening.len()..]));
    tests.map_or(text, |(start, _)| &text[..start])
}

fn check_line(
    at: &str,
    name: &str,
    module: &str,
    floor: usize,
    line: &str,
    found: &mut Vec<String>,
) {
    for (target, target_floor) in FLOORS {
        let uphill = *target_floor > floor;
        let sideways =
            *target_floor == floor && *target != module && !PEERS.contains(&(module, target));
        if (uphill || sideways) && uses(line, &format!("crate::{target}")) {
            found.push(format!("{at}: {module} uses {target}, which is not below it"));
        }
    }
    if module == "domain" {
        check_domain_pair(at, name, line, found);
    }
    if floor <= 2 {
        for word in IMPURE.iter().filter(|word| says(line, word)) {
            found.push(format!("{at}: `{word}` on a pure floor"));
        }
    }
    for (library, homes) in HOMES {
        let at_home = homes.iter().any(|home| name.starts_with(home));
        if !at_home && uses(line, &format!("{library}::")) {
            found.push(format!("{at}: {library} outside {}", homes.join(", ")));
        }
    }
}

fn check_domain_pair(at: &str, name: &str, line: &str, found: &mut Vec<String>) {
    let own = name.split(['/', '.']).nth(1).unwrap_or("");
    let mut rest = line;
    while let Some(start) = rest.find("crate::domain::") {
        rest = &rest[start + "crate::domain::".len()..];
        let other: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !other.is_empty() && other != own && !DOMAIN_PAIRS.contains(&(own, other.as_str())) {
            found.push(format!(
                "{at}: domain::{own} uses domain::{other}, a pair that is not listed"
            ));
        }
    }
}

/// Does the line say `word`, and not only begin a longer one with it?
fn says(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        word.ends_with(|c: char| !joins(c)) || !line[start + word.len()..].starts_with(joins)
    })
}

/// Is `path` used on this line, as a whole path segment?
fn uses(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + path.len()..].chars().next();
        let joins = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !before.is_some_and(|c| joins(c) || c == ':')
            && (path.ends_with(':') || !after.is_some_and(joins))
    })
}

#[test]
fn the_house_keeps_its_laws() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let found = violations(&src);
    assert!(rust_files(&src).len() > 50, "the whole tree was read");
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_planted_violation_is_found() {
    let long = format!("//! Long.\n{}", "// line\n".repeat(LINES_MAX));
    let cases: &[(&str, &str, &str)] = &[
        ("base/a.rs", "//! A.\nuse crate::facts::X;\n", "base uses facts"),
        ("store/a.rs", "//! A.\nuse crate::world::X;\n", "store uses world"),
        ("operations/a.rs", "//! A.\nfn f() { crate::api::g() }\n", "operations uses api"),
        ("domain/runs/a.rs", "//! A.\nuse crate::domain::compose::X;\n", "not listed"),
        ("domain/a.rs", "//! A.\nasync fn f() {}\n", "`async fn` on a pure floor"),
        ("facts/a.rs", "//! A.\nuse std::fs;\n", "`std::fs` on a pure floor"),
        ("store/a.rs", "//! A.\nuse bollard::Docker;\n", "bollard outside"),
        ("world/a.rs", "//! A.\nfn f() { rusqlite::x() }\n", "rusqlite outside"),
        ("base/a.rs", "//! A.\nuse crate::{api, facts};\n", "several modules"),
        ("domain/runs/a.rs", "//! A.\nuse crate::domain::{audit, runs};\n", "several modules"),
        ("store/a.rs", "//! A.\nuse super::super::world::X;\n", "`super` out of"),
        ("base/mod.rs", "//! A.\nuse super::api::X;\n", "`super` out of"),
        ("domain/runs.rs", "//! A.\nuse super::compose::X;\n", "`super` out of"),
        ("facts/a.rs", "//! A.\nuse std::{env, fmt};\n", "`std::{` on a pure floor"),
        ("operations/a.rs", "//! A.\nuse std::collections::HashMap;\n", "`HashMap` cannot be"),
        ("watchers/a.rs", "//! A.\nfn f() { spawn_blocking(g) }\n", "`spawn_blocking` cannot"),
        ("watchers/a.rs", "//! A.\ntokio::select! {\n    () = a => {}\n", "without `biased;`"),
        ("base/a.rs", &long, "more than 600 lines"),
        ("base/a.rs", "use std::fmt;\n", "no header"),
        ("base/a.rs", "//! A.\n#[allow(dead_code)]\n", "`allow`"),
        ("attic/a.rs", "//! A.\n", "on no floor"),
    ];
    for (name, text, expect) in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
        let found = violations(folder.path());
        assert!(found.iter().any(|line| line.contains(expect)), "{name}: {expect}: {found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    let text = "//! A.\nuse crate::base::X; // crate::api is above\n\
                fn f() { self.await_health() }\n#[cfg(test)]\nmod tests {\n\
                use std::fs;\n}\n";
    let mut found = Vec::new();
    check_file("domain/runs/a.rs", text, &mut found);
    check_file("domain/runs/a.rs", "//! A.\nuse super::state::X;\n", &mut found);
    check_file("store/sqlite/a.rs", "//! A.\nuse super::super::keys::X;\n", &mut found);
    check_file("domain/runs/tests.rs", "use std::fs;\n", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

/// Crates that must not come back through a dependency, and why.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-sys", "one TLS provider only"),
    ("openssl-sys", "one TLS provider only"),
    ("chrono-tz", "thirteen seconds of compile time"),
    ("sqlx", "a second SQLite library cannot be linked"),
    ("serde_yml", "deprecated"),
    ("cron", "fires on wrong days and twice in autumn"),
];

#[test]
fn no_banned_crate_is_locked() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = fs::read_to_string(lock).expect("the lock file can be read");
    assert!(lock.contains("name = \"tokio\"\n"), "this is the lock file");
    for (name, reason) in BANNED {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is banned: {reason}");
    }
}
