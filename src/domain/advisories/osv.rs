//! Reads advisories in the form of OSV (schema 1.x). Owns what is kept of one. Face: `parse`, `Entry`.
//! Never keeps a withdrawn advisory, and never what is about ecosystems that no image is read for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cvss::{base_score, severity_of_score};
use crate::base::Timestamp;
use crate::base::limits::{ADVISORY_ITEMS_MAX, ADVISORY_TEXT_CHARS_MAX};
use crate::domain::alerts::Severity;
use crate::domain::sbom::{Ecosystem, normal_name};

/// What an advisory says of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The advisory's own name.
    pub id: String,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// How severe it is; none when it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The CVSS base score, in tenths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// In one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Which versions.
    pub affected: Affected,
}

/// The versions that an advisory is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// One by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// From one to another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
}

/// Versions between events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// What happened, in any order.
    pub events: Vec<Event>,
}

/// What happened at a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It is affected from here on; `0` comes before all versions.
    Introduced(String),
    /// It is not, from here on.
    Fixed(String),
    /// It is not, after this one.
    LastAffected(String),
    /// Nothing is said from here on.
    Limit(String),
}

/// An advisory as far as it is about packages that images are read for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Per package: where it is looked for, `Debian:12/openssl`, and what is said.
    pub entries: Vec<(String, Entry)>,
    /// When it changed last.
    pub modified: Option<Timestamp>,
    /// Nothing is kept of it since it was withdrawn.
    pub is_withdrawn: bool,
}

/// Why a record is no advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// It is no JSON object.
    #[error("it is no JSON object")]
    NotJson,
    /// It has no id.
    #[error("it has no id (`id`)")]
    NoId,
    /// It is larger than any advisory.
    #[error("it has more than {ADVISORY_ITEMS_MAX} versions, events or packages")]
    TooLarge,
}

/// Reads one advisory.
///
/// # Errors
/// When it is none.
pub fn parse(json: &[u8]) -> Result<Parsed, NotRead> {
    let value: Value = serde_json::from_slice(json).map_err(|_| NotRead::NotJson)?;
    parse_value(&value)
}

fn parse_value(value: &Value) -> Result<Parsed, NotRead> {
    let object = value.as_object().ok_or(NotRead::NotJson)?;
    let id = object.get("id").and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() < 200);
    let id = id.ok_or(NotRead::NoId)?;
    let modified = object.get("modified").and_then(Value::as_str);
    let modified = modified.and_then(|at| at.parse::<Timestamp>().ok());
    if object.get("withdrawn").is_some_and(|at| !at.is_null()) {
        return Ok(Parsed { modified, is_withdrawn: true, ..Parsed::default() });
    }
    let mut aliases = texts(value, "aliases");
    // A distribution's record about one thing is that thing under another name.
    if let [upstream] = &texts(value, "upstream")[..] {
        aliases.push(upstream.clone());
    }
    aliases.retain(|alias| alias != id && alias.len() < 200);
    aliases.sort();
    aliases.dedup();
    aliases.truncate(50);
    let summary = object.get("summary").or(object.get("details")).and_then(Value::as_str);
    let summary = summary.unwrap_or_default().lines().next().unwrap_or_default();
    let summary: String = summary.chars().take(ADVISORY_TEXT_CHARS_MAX).collect();
    let mut entries = Vec::new();
    for affected in array(value, "affected") {
        let package = affected.get("package");
        let text = |key: &str| package.and_then(|package| package.get(key)).and_then(Value::as_str);
        let (Some(ecosystem), Some(name)) = (text("ecosystem"), text("name")) else { continue };
        let Some(key) = key_of(ecosystem, name) else { continue };
        let (severity, score) = severity(value, affected);
        let affected = read_affected(affected)?;
        if affected.versions.is_empty() && affected.ranges.is_empty() {
            continue;
        }
        if entries.len() >= ADVISORY_ITEMS_MAX {
            return Err(NotRead::TooLarge);
        }
        entries.push((
            key,
            Entry {
                id: id.to_owned(),
                aliases: aliases.clone(),
                severity,
                score,
                summary: summary.clone(),
                affected,
            },
        ));
    }
    Ok(Parsed { entries, modified, is_withdrawn: false })
}

fn read_affected(value: &Value) -> Result<Affected, NotRead> {
    let versions = texts(value, "versions");
    let mut ranges = Vec::new();
    let mut items = versions.len();
    for range in array(value, "ranges") {
        // Commits of a repository are no versions.
        let kind = range.get("type").and_then(Value::as_str);
        if !matches!(kind, Some("ECOSYSTEM" | "SEMVER")) {
            continue;
        }
        let mut events = Vec::new();
        for event in array(range, "events") {
            let text = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
            events.extend(text("introduced").map(Event::Introduced));
            events.extend(text("fixed").map(Event::Fixed));
            events.extend(text("last_affected").map(Event::LastAffected));
            events.extend(text("limit").filter(|limit| limit != "*").map(Event::Limit));
        }
        items += events.len();
        if items > ADVISORY_ITEMS_MAX {
            return Err(NotRead::TooLarge);
        }
        if !events.is_empty() {
            ranges.push(Range { events });
        }
    }
    match items > ADVISORY_ITEMS_MAX {
        true => Err(NotRead::TooLarge),
        false => Ok(Affected { versions, ranges }),
    }
}

/// What is said of the package goes before what is said of all.
fn severity(advisory: &Value, affected: &Value) -> (Option<Severity>, Option<u32>) {
    let scored = [affected, advisory].into_iter().flat_map(|value| array(value, "severity"));
    let mut word = None;
    for severity in scored {
        let text = |key: &str| severity.get(key).and_then(Value::as_str);
        let Some(score) = text("score") else { continue };
        match base_score(score) {
            Some(tenths) => return (Some(severity_of_score(tenths)), Some(tenths)),
            None => word = word.or(severity_of_word(score)),
        }
    }
    let places = [
        (affected, "ecosystem_specific", "severity"),
        (affected, "database_specific", "severity"),
        (affected, "ecosystem_specific", "urgency"),
        (advisory, "ecosystem_specific", "severity"),
        (advisory, "database_specific", "severity"),
    ];
    let said = places
        .into_iter()
        .find_map(|(value, at, key)| value.get(at)?.get(key)?.as_str().and_then(severity_of_word));
    (word.or(said), None)
}

fn severity_of_word(word: &str) -> Option<Severity> {
    match word.trim_end_matches('*').to_ascii_lowercase().as_str() {
        "critical" => Some(Severity::Critical),
        "high" | "important" => Some(Severity::High),
        "medium" | "moderate" => Some(Severity::Medium),
        "low" => Some(Severity::Low),
        "negligible" | "unimportant" | "none" => Some(Severity::Info),
        _ => None,
    }
}

/// Where entries about a package are looked for: the ecosystem, with its release where it has some, and
/// the name. None for ecosystems whose packages are not read.
pub(super) fn key_of(ecosystem: &str, name: &str) -> Option<String> {
    if name.is_empty() || name.len() > 500 || name.contains(['\n', '\t']) {
        return None;
    }
    let (family, release) = ecosystem.split_once(':').unwrap_or((ecosystem, ""));
    let name = match family {
        "PyPI" => normal_name(name),
        "Packagist" => name.to_lowercase(),
        _ => name.to_owned(),
    };
    let place = match family {
        "Debian" | "Wolfi" | "Chainguard" => ecosystem.to_owned(),
        // `v3.19`, and `3.19` of some databases.
        "Alpine" if release.is_empty() => ecosystem.to_owned(),
        "Alpine" => format!("Alpine:v{}", release.trim_start_matches('v')),
        // Of releases with paid support alone nobody knows whether this host has it.
        "Ubuntu" if release.starts_with("Pro:") => return None,
        "Ubuntu" => format!("Ubuntu:{}", release.trim_end_matches(":LTS")),
        "PyPI" | "npm" | "crates.io" | "Go" | "RubyGems" | "Packagist" => family.to_owned(),
        _ => return None,
    };
    (place.len() < 100 && !place.contains(['\n', '\t', '/'])).then(|| format!("{place}/{name}"))
}

/// How the OSV form calls an ecosystem of languages; none for distributions.
pub(super) const fn language(ecosystem: Ecosystem) -> Option<&'static str> {
    match ecosystem {
        Ecosystem::Debian | Ecosystem::Alpine => None,
        Ecosystem::PyPi => Some("PyPI"),
        Ecosystem::Npm => Some("npm"),
        Ecosystem::CratesIo => Some("crates.io"),
        Ecosystem::Go => Some("Go"),
        Ecosystem::RubyGems => Some("RubyGems"),
        Ecosystem::Packagist => Some("Packagist"),
    }
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    array(value, key).filter_map(Value::as_str).map(str::to_owned).collect()
}
