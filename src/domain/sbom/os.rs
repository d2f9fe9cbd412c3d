//! Reads what distributions say of themselves and of their packages. Owns the forms of `os-release`, of
//! dpkg and of apk. Face: `Os`, `release`, `dpkg`, `apk`. Never takes a package for installed that dpkg
//! has removed.

use serde::{Deserialize, Serialize};

use super::lines::{field, records};
use super::{Ecosystem, Package, Source, Told};
use crate::base::limits::SBOM_TEXT_BYTES_MAX;

/// The distribution of an image, as its `os-release` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// In one word: `debian`, `alpine`.
    pub id: String,
    /// Which version, such as `12` or `3.19.1`; empty where there are none.
    pub version: String,
    /// For people.
    pub name: String,
}

/// Reads an `os-release`.
pub(super) fn release(text: &str) -> Option<Os> {
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        let found = found.unwrap_or_default().trim().trim_matches(['"', '\'']);
        found.chars().take(SBOM_TEXT_BYTES_MAX / 4).collect::<String>()
    };
    let os = Os { id: value("ID"), version: value("VERSION_ID"), name: value("PRETTY_NAME") };
    (!os.id.is_empty()).then_some(os)
}

/// Reads dpkg's `status`, or one of the records that images without dpkg have in `status.d`.
pub(super) fn dpkg(text: &str) -> Told {
    let mut told = Told::default();
    for record in records(text) {
        let Some(name) = field(&record, "Package") else {
            told.note("a record names no package");
            continue;
        };
        // Records in `status.d` have no state: they are there because the package is.
        let state = field(&record, "Status").unwrap_or("install ok installed");
        let mut state = state.split_whitespace().skip(2);
        if !matches!(
            state.next(),
            Some(
                "installed"
                    | "unpacked"
                    | "half-configured"
                    | "triggers-awaited"
                    | "triggers-pending"
            )
        ) {
            continue;
        }
        let Some(version) = field(&record, "Version").filter(|version| !version.is_empty()) else {
            told.note(format!("{} has no version", short(name)));
            continue;
        };
        let mut package = Package::new(Ecosystem::Debian, name, version);
        package.architecture = field(&record, "Architecture").map(short);
        package.source = field(&record, "Source").map(|source| source_of(source, version));
        told.packages.push(package);
    }
    told
}

/// `name` or `name (version)`.
fn source_of(source: &str, version: &str) -> Source {
    let (name, own) = source.split_once('(').unwrap_or((source, ""));
    let own = own.trim().trim_end_matches(')').trim();
    let version = if own.is_empty() { version } else { own };
    Source { name: short(name.trim()), version: short(version) }
}

/// Reads apk's `installed`.
pub(super) fn apk(text: &str) -> Told {
    let mut told = Told::default();
    for record in records(text) {
        let one = |key: char| {
            record.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
        };
        let (Some(name), Some(version)) = (one('P'), one('V')) else {
            told.note("a record lacks a name or a version");
            continue;
        };
        let mut package = Package::new(Ecosystem::Alpine, name, version);
        package.architecture = one('A').map(short);
        package.license = one('L').filter(|text| !text.is_empty()).map(short);
        package.source = one('o')
            .filter(|origin| *origin != name && !origin.is_empty())
            .map(|origin| Source { name: short(origin), version: short(version) });
        told.packages.push(package);
    }
    told
}

fn short(text: &str) -> String {
    text.chars().take(SBOM_TEXT_BYTES_MAX / 4).collect()
}
