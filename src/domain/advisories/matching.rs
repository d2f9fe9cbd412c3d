//! Matches the packages of an image with advisories. Owns the places where entries about a package are
//! looked for, when a version is affected, and which records are about the same. Face: `entry_keys`,
//! `vulnerabilities`. Never reads a list of advisories: who calls brings the entries of these keys.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::order::{Order, compare};
use super::osv::{Affected, Entry, Event, Range, key_of, language};
use crate::domain::alerts::Severity;
use crate::domain::sbom::{Ecosystem, Inventory, Os, Package};

/// What is wrong with a package of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vulnerability {
    /// Its name: the CVE's where it has one.
    pub id: String,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// How severe it is; none when no record says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The CVSS base score, in tenths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u32>,
    /// Whose package.
    pub ecosystem: Ecosystem,
    /// Its name.
    pub package: String,
    /// What is installed.
    pub installed: String,
    /// The first version without it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// In one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Whether it could not be told: the version is not one that its ecosystem orders.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unclear: bool,
}

/// Where entries about these packages are looked for.
pub fn entry_keys(inventory: &Inventory) -> BTreeSet<String> {
    let os = inventory.os.as_ref();
    inventory.packages.iter().flat_map(|package| keys(package, os)).collect()
}

/// A package of a distribution is looked for by the name of what it was built from, as the advisories of
/// distributions name that.
fn keys(package: &Package, os: Option<&Os>) -> Vec<String> {
    let places = match language(package.ecosystem) {
        Some(language) => vec![language.to_owned()],
        None => os.map(places).unwrap_or_default(),
    };
    let name = package.source.as_ref().map_or(&package.name, |source| &source.name);
    places.iter().filter_map(|place| key_of(place, name)).collect()
}

/// How the OSV form calls a distribution.
fn places(os: &Os) -> Vec<String> {
    match os.id.as_str() {
        "debian" => {
            let release = os.version.split('.').next().unwrap_or_default();
            match release {
                "" => vec!["Debian".to_owned()],
                release => vec![format!("Debian:{release}"), "Debian".to_owned()],
            }
        }
        "ubuntu" => vec![format!("Ubuntu:{}", os.version)],
        "alpine" => {
            let mut parts = os.version.split('.');
            match (parts.next(), parts.next()) {
                (Some(major), Some(minor)) => {
                    vec![format!("Alpine:v{major}.{minor}"), "Alpine".to_owned()]
                }
                _ => vec!["Alpine".to_owned()],
            }
        }
        "wolfi" => vec!["Wolfi".to_owned()],
        "chainguard" => vec!["Chainguard".to_owned(), "Wolfi".to_owned()],
        _ => Vec::new(),
    }
}

/// Whether advisories about the distribution's own packages can be found at all.
pub(super) const fn order_of(ecosystem: Ecosystem) -> Order {
    match ecosystem {
        Ecosystem::Debian => Order::Dpkg,
        Ecosystem::Alpine => Order::Apk,
        Ecosystem::PyPi => Order::Pep440,
        Ecosystem::Npm | Ecosystem::CratesIo | Ecosystem::Go => Order::Semver,
        Ecosystem::RubyGems => Order::Gem,
        Ecosystem::Packagist => Order::Composer,
    }
}

/// What is wrong with the packages, the worst first. `entries` are those of `entry_keys`.
pub fn vulnerabilities(
    inventory: &Inventory,
    entries: &BTreeMap<String, Vec<Entry>>,
) -> Vec<Vulnerability> {
    let os = inventory.os.as_ref();
    let mut found = Vec::new();
    for package in &inventory.packages {
        let keys = keys(package, os);
        let about = keys.iter().filter_map(|key| entries.get(key)).flatten();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for entry in about {
            if let Some(hit) = hit(package, entry) {
                join(&mut groups, entry, hit);
            }
        }
        found.extend(groups.into_iter().map(|group| group.vulnerability(package)));
    }
    found.sort_by(|one, other| {
        let key = |it: &Vulnerability| (it.package.clone(), it.id.clone(), it.installed.clone());
        other.severity.cmp(&one.severity).then_with(|| key(one).cmp(&key(other)))
    });
    found
}

/// An advisory is about the version, or nobody can tell.
struct Hit {
    fixed: Option<String>,
    is_unclear: bool,
}

fn hit(package: &Package, entry: &Entry) -> Option<Hit> {
    let version = package.source.as_ref().map_or(&package.version, |source| &source.version);
    let order = order_of(package.ecosystem);
    let told = affects(order, version, &entry.affected);
    match told {
        Told::No => None,
        Told::Yes { fixed } => Some(Hit { fixed, is_unclear: false }),
        Told::Unclear => Some(Hit { fixed: None, is_unclear: true }),
    }
}

/// What an advisory says of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    No,
    Yes { fixed: Option<String> },
    Unclear,
}

/// Whether a version is affected, as section "Evaluation" of the OSV schema says.
pub(super) fn affects(order: Order, version: &str, affected: &Affected) -> Told {
    let mut is_unclear = false;
    for range in &affected.ranges {
        match in_range(order, version, range) {
            Told::Yes { fixed } => return Told::Yes { fixed },
            Told::Unclear => is_unclear = true,
            Told::No => {}
        }
    }
    let is_listed = affected.versions.iter().any(|listed| {
        listed == version || compare(order, listed, version) == Some(Ordering::Equal)
    });
    match (is_listed, is_unclear) {
        (true, _) => Told::Yes { fixed: None },
        (false, true) => Told::Unclear,
        (false, false) => Told::No,
    }
}

fn in_range(order: Order, version: &str, range: &Range) -> Told {
    // `0` comes before everything, even before what is no version.
    let against = |at: &str| match at {
        "0" => Some(Ordering::Greater),
        at => compare(order, version, at),
    };
    let mut limits = Vec::new();
    let mut events: Vec<(&str, &Event)> = Vec::new();
    for event in &range.events {
        match event {
            Event::Limit(at) => limits.push(at.as_str()),
            Event::Introduced(at) | Event::Fixed(at) | Event::LastAffected(at) => {
                if against(at).is_none() {
                    return Told::Unclear;
                }
                events.push((at, event));
            }
        }
    }
    let is_before = |limit: &&str| against(limit) == Some(Ordering::Less);
    if !limits.is_empty() && !limits.iter().any(is_before) {
        return Told::No;
    }
    // Where two happen at one version, it is introduced first.
    let rank = |event: &Event| u8::from(!matches!(event, Event::Introduced(_)));
    events.sort_by(|(one, event), (other, later)| {
        let order = match (*one, *other) {
            ("0", "0") => Ordering::Equal,
            ("0", _) => Ordering::Less,
            (_, "0") => Ordering::Greater,
            (one, other) => compare(order, one, other).unwrap_or(Ordering::Equal),
        };
        order.then(rank(event).cmp(&rank(later)))
    });
    let mut is_affected = false;
    for (at, event) in &events {
        match (event, against(at)) {
            (Event::Introduced(_), Some(Ordering::Greater | Ordering::Equal)) => is_affected = true,
            (Event::Fixed(_), Some(Ordering::Greater | Ordering::Equal))
            | (Event::LastAffected(_), Some(Ordering::Greater)) => is_affected = false,
            _ => {}
        }
    }
    if !is_affected {
        return Told::No;
    }
    let fixed = events.iter().find_map(|(at, event)| {
        let is_later = against(at) == Some(Ordering::Less);
        (matches!(event, Event::Fixed(_)) && is_later).then(|| (*at).to_owned())
    });
    Told::Yes { fixed }
}

/// Records about one thing: each shares a name with another one.
struct Group<'a> {
    names: BTreeSet<&'a str>,
    entries: Vec<(&'a Entry, Hit)>,
}

fn join<'a>(groups: &mut Vec<Group<'a>>, entry: &'a Entry, hit: Hit) {
    let own = entry.aliases.iter().map(String::as_str).chain([entry.id.as_str()]);
    let mut joined = Group { names: own.collect(), entries: vec![(entry, hit)] };
    let mut rest = Vec::with_capacity(groups.len());
    for group in groups.drain(..) {
        if group.names.is_disjoint(&joined.names) {
            rest.push(group);
        } else {
            joined.names.extend(group.names);
            joined.entries.extend(group.entries);
        }
    }
    rest.push(joined);
    *groups = rest;
}

impl Group<'_> {
    fn vulnerability(self, package: &Package) -> Vulnerability {
        let named = |prefix: &str| self.names.iter().find(|name| name.starts_with(prefix));
        let first = self.names.first();
        let id = named("CVE-").or(named("GHSA-")).or(first).map_or("", |name| name).to_owned();
        // Of several records the clear one counts, then the one that knows a fixed version.
        let mut entries: Vec<&(&Entry, Hit)> = self.entries.iter().collect();
        entries.sort_by_key(|(entry, hit)| (hit.is_unclear, hit.fixed.is_none(), entry.id.clone()));
        let best = entries.first();
        let summary = entries.iter().map(|(entry, _)| &entry.summary).find(|it| !it.is_empty());
        Vulnerability {
            aliases: self
                .names
                .iter()
                .filter(|name| **name != id)
                .map(|&it| it.to_owned())
                .collect(),
            id,
            severity: entries.iter().filter_map(|(entry, _)| entry.severity).max(),
            score: entries.iter().filter_map(|(entry, _)| entry.score).max(),
            ecosystem: package.ecosystem,
            package: package.name.clone(),
            installed: package.version.clone(),
            fixed: best.and_then(|(_, hit)| hit.fixed.clone()),
            summary: summary.cloned().unwrap_or_default(),
            is_unclear: best.is_some_and(|(_, hit)| hit.is_unclear),
        }
    }
}
