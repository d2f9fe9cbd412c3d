//! Reads what tells of Python packages. Owns the forms of installed metadata, requirements and Pipenv's
//! lock file, and the one spelling of a name. Face: `metadata`, `requirements`, `pipfile_lock`,
//! `normal_name`. Never takes a wish for a version: only `==` says what is installed.

use serde_json::Value;

use super::lines::{field, records};
use super::{Ecosystem, Told};

/// The name as everybody spells it: lower case, one `-` for each run of `-`, `_` and `.`.
pub fn normal_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.trim().chars() {
        match character {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.extend(other.to_lowercase()),
        }
    }
    normal
}

/// Reads `METADATA` or `PKG-INFO`: the first record is the head, the rest is a description.
pub(super) fn metadata(text: &str) -> Told {
    let mut told = Told::default();
    let Some(head) = records(text).next() else { return Told::nothing("it is empty") };
    let name = field(&head, "Name").map(normal_name);
    told.add(Ecosystem::PyPi, name.as_deref(), field(&head, "Version"));
    if let Some(package) = told.packages.first_mut() {
        let license = field(&head, "License-Expression").or(field(&head, "License"));
        let license = license.filter(|text| !text.is_empty() && *text != "UNKNOWN");
        package.license = license.map(str::to_owned);
    }
    told
}

/// Reads `requirements.txt`.
pub(super) fn requirements(text: &str) -> Told {
    let mut told = Told::default();
    let mut open = 0_usize;
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default();
        let line = line.split(';').next().unwrap_or_default().trim().trim_end_matches('\\').trim();
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        match line.split_once("==") {
            Some((name, version)) => {
                let name = name.split('[').next().unwrap_or_default();
                let version =
                    version.trim_start_matches('=').split([' ', ',']).find(|it| !it.is_empty());
                let version = version.filter(|version| !version.contains('*'));
                told.add(Ecosystem::PyPi, Some(&normal_name(name)), version);
            }
            None => open += 1,
        }
    }
    if open > 0 {
        told.note(format!("{open} requirements do not say which version (`==`)"));
    }
    told
}

/// Reads `Pipfile.lock`.
pub(super) fn pipfile_lock(text: &str) -> Told {
    let Ok(lock) = serde_json::from_str::<Value>(text) else {
        return Told::nothing("it is no JSON");
    };
    let mut told = Told::default();
    for section in ["default", "develop"] {
        let Some(packages) = lock.get(section).and_then(Value::as_object) else { continue };
        for (name, package) in packages {
            let version = package.get("version").and_then(Value::as_str);
            let version = version.map(|version| version.trim_start_matches('='));
            told.add(Ecosystem::PyPi, Some(&normal_name(name)), version);
        }
    }
    told
}
