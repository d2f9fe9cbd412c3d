//! Reads what tells of JavaScript packages. Owns the forms of npm, Yarn and pnpm. Face: `package`,
//! `package_lock`, `yarn_lock`, `pnpm_lock`. Never lists a link to a folder as a package.

use serde_json::Value;

use super::{Ecosystem, Told};

/// Dependencies within dependencies in a lock file of the first form.
const DEPTH_MAX: usize = 64;

/// Reads the `package.json` of an installed package.
pub(super) fn package(text: &str) -> Told {
    let Ok(package) = serde_json::from_str::<Value>(text) else {
        return Told::nothing("it is no JSON");
    };
    let mut told = Told::default();
    let text = |key: &str| package.get(key).and_then(Value::as_str);
    // Folders below a package may have a file that only says how they are read.
    if text("name").is_none() && text("version").is_none() {
        return told;
    }
    told.add(Ecosystem::Npm, text("name"), text("version"));
    if let Some(added) = told.packages.first_mut() {
        let license = match package.get("license") {
            Some(Value::String(license)) => Some(license.as_str()),
            Some(Value::Object(license)) => license.get("type").and_then(Value::as_str),
            _ => None,
        };
        added.license = license.filter(|text| !text.is_empty()).map(str::to_owned);
    }
    told
}

/// Reads `package-lock.json`, in its forms 1, 2 and 3.
pub(super) fn package_lock(text: &str) -> Told {
    let Ok(lock) = serde_json::from_str::<Value>(text) else {
        return Told::nothing("it is no JSON");
    };
    let mut told = Told::default();
    if let Some(packages) = lock.get("packages").and_then(Value::as_object) {
        for (place, package) in packages {
            let is_link = package.get("link").and_then(Value::as_bool) == Some(true);
            let Some((_, name)) = place.rsplit_once("node_modules/") else { continue };
            if !is_link {
                // An alias is installed in a folder of another name.
                let name = package.get("name").and_then(Value::as_str).unwrap_or(name);
                let version = package.get("version").and_then(Value::as_str);
                told.add(Ecosystem::Npm, Some(name), version);
            }
        }
    } else if let Some(dependencies) = lock.get("dependencies") {
        first_form(dependencies, 0, &mut told);
    } else if lock.get("lockfileVersion").is_none() {
        told.note("it is no lock file of npm");
    }
    told
}

fn first_form(dependencies: &Value, depth: usize, told: &mut Told) {
    if depth >= DEPTH_MAX {
        return told.note("dependencies that lie too deep are left out");
    }
    for (name, package) in dependencies.as_object().into_iter().flatten() {
        let version = package.get("version").and_then(Value::as_str);
        // A version may say where it came from instead: `file:..`, `git+ssh:..`, `npm:other@1.2.3`.
        match version.and_then(|version| version.strip_prefix("npm:")) {
            Some(alias) => {
                let (name, version) = alias.rsplit_once('@').unwrap_or((alias, ""));
                told.add(Ecosystem::Npm, Some(name), Some(version));
            }
            None if version.is_some_and(|version| version.contains(':')) => {
                told.note(format!("{} does not come from a registry", short(name)));
            }
            None => told.add(Ecosystem::Npm, Some(name), version),
        }
        if let Some(inner) = package.get("dependencies") {
            first_form(inner, depth + 1, told);
        }
    }
}

/// Reads `yarn.lock`, of Yarn 1 and later.
pub(super) fn yarn_lock(text: &str) -> Told {
    let mut told = Told::default();
    let mut name: Option<String> = None;
    for line in text.lines() {
        let is_head = !line.starts_with([' ', '\t', '#']) && line.trim_end().ends_with(':');
        if is_head {
            name = yarn_name(line);
            continue;
        }
        let Some((key, version)) = line.trim().split_once(['"', ' ', ':']) else { continue };
        if key != "version" || indent(line) != 2 {
            continue;
        }
        let version = version.trim().trim_start_matches(':').trim().trim_matches('"');
        if let Some(name) = name.take() {
            told.add(Ecosystem::Npm, Some(&name), Some(version));
        }
    }
    if told.packages.is_empty() && text.contains("@") {
        told.note("it lists no package");
    }
    told
}

/// `"@scope/name@^1.0.0", "@scope/name@~1.1.0":`, `name@npm:^1.0.0:`. None for what is no package of a
/// registry, such as `@workspace:`, and for metadata.
fn yarn_name(head: &str) -> Option<String> {
    let first = head.trim_end().trim_end_matches(':').split(", ").next()?;
    let first = first.trim().trim_matches('"');
    let at = first.get(1..)?.find('@')? + 1;
    let (name, wish) = first.split_at(at);
    let wish = wish.trim_start_matches('@');
    let is_here = ["workspace:", "link:", "portal:", "file:", "patch:"];
    if is_here.iter().any(|kind| wish.starts_with(kind)) {
        return None;
    }
    // An alias: `mine@npm:theirs@^1.0.0`.
    if let Some(theirs) = wish.strip_prefix("npm:")
        && let Some(at) = theirs.get(1..).and_then(|rest| rest.find('@'))
    {
        return Some(theirs.split_at(at + 1).0.to_owned());
    }
    Some(name.to_owned())
}

/// Reads `pnpm-lock.yaml`: the keys of its `packages`, which name and version make up.
pub(super) fn pnpm_lock(text: &str) -> Told {
    let mut told = Told::default();
    let mut is_inside = false;
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && !line.trim().is_empty() {
            is_inside = line.trim_end() == "packages:";
            continue;
        }
        if !is_inside || indent(line) != 2 || !line.trim_end().ends_with([':', '}']) {
            continue;
        }
        let key = line.trim().trim_end_matches("{}").trim().trim_end_matches(':');
        let key = key.trim_matches(['\'', '"']);
        match pnpm_package(key) {
            Some((name, version)) => told.add(Ecosystem::Npm, Some(name), Some(version)),
            None => told.note(format!("{} names no package of a registry", short(key))),
        }
    }
    if !text.contains("lockfileVersion") {
        told.note("it is no lock file of pnpm");
    }
    told
}

/// `name@1.0.0(peer@2.0.0)`, `/name@1.0.0`, and `/name/1.0.0_peer@2.0.0` of earlier forms.
fn pnpm_package(key: &str) -> Option<(&str, &str)> {
    let is_old = key.starts_with('/');
    let key = key.trim_start_matches('/');
    let key = key.split('(').next().unwrap_or(key);
    if key.contains(':') {
        return None;
    }
    let at = key.get(1..).and_then(|rest| rest.find('@')).map(|at| at + 1);
    // In the earliest form a `/` stands before the version; an `@` may follow in a peer's.
    let slash = key.rfind('/').filter(|slash| {
        is_old && key[slash + 1..].starts_with(|first: char| first.is_ascii_digit())
    });
    let first = match (slash, at) {
        (Some(slash), Some(at)) if at < slash => at,
        (Some(slash), _) => slash,
        (None, at) => at?,
    };
    let (name, version) = (&key[..first], &key[first + 1..]);
    let version = version.split('_').next().unwrap_or(version);
    (!name.is_empty() && !version.is_empty()).then_some((name, version))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
