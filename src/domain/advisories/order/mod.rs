//! Orders versions as each ecosystem does. Owns one file per order. Face: `compare`, `Order`. Never
//! orders what its ecosystem would not take for a version: then nobody knows.

mod apk;
mod composer;
mod dpkg;
mod gem;
mod pep440;
mod semver;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use crate::base::limits::SBOM_TEXT_BYTES_MAX;

/// Whose order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `deb-version(7)`.
    Dpkg,
    /// `apk-package(5)`.
    Apk,
    /// Semantic Versioning 2.0, with or without a leading `v`.
    Semver,
    /// Python's version specifiers (PEP 440).
    Pep440,
    /// RubyGems' `Gem::Version`.
    Gem,
    /// Composer's normalised versions.
    Composer,
}

/// How two versions stand; none when one of them is none.
pub fn compare(order: Order, one: &str, other: &str) -> Option<Ordering> {
    if one.len() > SBOM_TEXT_BYTES_MAX || other.len() > SBOM_TEXT_BYTES_MAX {
        return None;
    }
    match order {
        Order::Dpkg => dpkg::compare(one, other),
        Order::Apk => apk::compare(one, other),
        Order::Semver => semver::compare(one, other),
        Order::Pep440 => pep440::compare(one, other),
        Order::Gem => gem::compare(one, other),
        Order::Composer => composer::compare(one, other),
    }
}

/// Two numbers of any length, in decimal digits.
fn numbers(one: &str, other: &str) -> Ordering {
    let one = one.trim_start_matches('0');
    let other = other.trim_start_matches('0');
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
