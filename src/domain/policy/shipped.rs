//! The policies that come with the program, and their tests. Owns which ones there are. Face:
//! `SHIPPED`. Never in force by themselves: whoever wants one names it.

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
