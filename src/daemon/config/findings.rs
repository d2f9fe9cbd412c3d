//! Reads how findings are kept. Owns the section `findings`. Face: `Findings`. Never says what a finding
//! is: policies do.

use std::time::Duration;

use super::{bounded, in_days};
use crate::base::yaml::Fields;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long findings are kept that are over, when nobody says otherwise.
const KEEP_DEFAULT: Duration = Duration::from_secs(400 * 24 * 3600);
/// A hundred years.
const KEEP_MAX: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// How findings are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Findings {
    /// How long they are kept after they are over.
    pub keep_finished: Duration,
}

impl Findings {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let keep = bounded(fields, "keep_finished", DAY, KEEP_MAX);
        Self { keep_finished: keep.unwrap_or(KEEP_DEFAULT) }
    }

    /// The keys of the section with their values in effect, as they would be written.
    pub(super) fn values(self) -> [(&'static str, String); 1] {
        [("findings.keep_finished", in_days(self.keep_finished))]
    }
}
