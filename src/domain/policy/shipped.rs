//! The policies that come with the program, and their tests. Owns which ones there are. Face:
//! `SHIPPED`, `shipped_names`, `shipped_sources`. Never in force by themselves: whoever wants one names it.

use super::set::Source;

/// Embeds a file of the folder `policies`.
macro_rules! shipped {
    ($($file:literal),+ $(,)?) => {
        &[$(Source {
            file: concat!("policies/", $file),
            text: include_str!(concat!("../../../policies/", $file)),
        },)+]
    };
}

/// Policies, each followed by its tests.
pub const SHIPPED: &[Source<'static>] = shipped![
    "baseline.yaml",
    "baseline.test.yaml",
    "restricted.yaml",
    "restricted.test.yaml",
    "cis-docker.yaml",
    "cis-docker.test.yaml",
];

/// The names of these policies, in the order of the list.
pub fn shipped_names() -> Vec<&'static str> {
    SHIPPED.iter().filter(|source| !source.is_tests()).map(name).collect()
}

/// A policy that is shipped and its tests; nothing for another name.
pub fn shipped_sources(policy: &str) -> Vec<Source<'static>> {
    SHIPPED.iter().filter(|source| name(source) == policy).copied().collect()
}

/// `policies/baseline.test.yaml` is of `baseline`.
fn name(source: &Source<'static>) -> &'static str {
    let file = source.file.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default()
}
