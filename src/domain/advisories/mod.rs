//! Says which advisories are about what an image holds. Owns the reading of OSV records, the orders of
//! versions and the joining of records that are about the same. Face: `parse`, `Entry`, `vulnerabilities`.
//! Never takes a version that it cannot read for one that is affected: it says that nobody knows.

mod cvss;
mod cvss4;
mod matching;
pub mod order;
mod osv;
#[cfg(test)]
mod tests;

pub use cvss::base_score;
pub use matching::{Vulnerability, entry_keys, vulnerabilities};
pub use osv::{Affected, Entry, Event, NotRead, Parsed, Range, parse};
