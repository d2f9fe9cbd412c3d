//! Reads the lock files of Go, Ruby and PHP. Owns their forms. Face: `go_mod`, `go_sum`, `gemfile_lock`,
//! `composer_lock`. Never lists what a file replaces by a folder.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Ecosystem, Told};

/// Reads `go.mod`: what it requires, as what it replaces that by.
pub(super) fn go_mod(text: &str) -> Told {
    let mut told = Told::default();
    let mut block = "";
    let mut required: BTreeMap<String, String> = BTreeMap::new();
    let mut replaced: BTreeMap<String, Option<(String, String)>> = BTreeMap::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line == ")" {
            block = "";
            continue;
        }
        if let Some(verb) = line.strip_suffix('(') {
            block = match verb.trim() {
                "require" => "require",
                "replace" => "replace",
                _ => "other",
            };
            continue;
        }
        let (verb, rest) = match block {
            "" => line.split_once(char::is_whitespace).unwrap_or((line, "")),
            block => (block, line),
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (verb, &words[..]) {
            ("require", [name, version]) => {
                required.insert((*name).to_owned(), (*version).to_owned());
            }
            ("replace", _) => {
                let Some(arrow) = words.iter().position(|word| *word == "=>") else { continue };
                let Some(name) = words.first() else { continue };
                let by = match &words[arrow + 1..] {
                    [name, version] => Some(((*name).to_owned(), (*version).to_owned())),
                    _ => None,
                };
                replaced.insert((*name).to_owned(), by);
            }
            _ => {}
        }
    }
    for (name, version) in required {
        match replaced.get(&name) {
            None => told.add(Ecosystem::Go, Some(&name), Some(&version)),
            Some(Some((name, version))) => told.add(Ecosystem::Go, Some(name), Some(version)),
            Some(None) => {}
        }
    }
    told
}

/// Reads `go.sum`: modules, not the `go.mod` files that were looked at on the way.
pub(super) fn go_sum(text: &str) -> Told {
    let mut told = Told::default();
    let mut wrong = 0_usize;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, version, _] if version.ends_with("/go.mod") => {}
            [name, version, _] => told.add(Ecosystem::Go, Some(name), Some(version)),
            _ => wrong += 1,
        }
    }
    if wrong > 0 {
        told.note(format!("{wrong} lines are not understood"));
    }
    told
}

/// Reads `Gemfile.lock`: what lies four columns deep below `specs:` of `GEM`.
pub(super) fn gemfile_lock(text: &str) -> Told {
    let mut told = Told::default();
    let mut is_inside = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            is_inside = line.trim() == "GEM";
            continue;
        }
        let name = line.strip_prefix("    ").filter(|rest| !rest.starts_with(' '));
        let Some(name) = name.filter(|_| is_inside) else { continue };
        let Some((name, version)) = name.trim_end().split_once(" (") else {
            told.note("a line names no version");
            continue;
        };
        // `nokogiri (1.15.4-x86_64-linux)`: the rest is the platform.
        let version = version.trim_end_matches(')');
        let version = version.split('-').next().unwrap_or(version);
        told.add(Ecosystem::RubyGems, Some(name), Some(version));
    }
    told
}

/// Reads `composer.lock`.
pub(super) fn composer_lock(text: &str) -> Told {
    let Ok(lock) = serde_json::from_str::<Value>(text) else {
        return Told::nothing("it is no JSON");
    };
    let mut told = Told::default();
    for section in ["packages", "packages-dev"] {
        for package in lock.get(section).and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| package.get(key).and_then(Value::as_str);
            let name = text("name").map(str::to_lowercase);
            told.add(Ecosystem::Packagist, name.as_deref(), text("version"));
            let licenses = package.get("license").and_then(Value::as_array);
            let licenses: Vec<&str> =
                licenses.into_iter().flatten().filter_map(Value::as_str).collect();
            if let Some(added) = told.packages.last_mut().filter(|_| !licenses.is_empty()) {
                added.license = Some(licenses.join(" OR "));
            }
        }
    }
    told
}
