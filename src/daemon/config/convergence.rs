//! Reads how applied projects are kept. Owns the section `convergence`. Face: `Convergence`. Never
//! starts a watcher.

use std::time::Duration;

use super::{DURATION_MAX, SECOND, bounded};
use crate::base::units::format_duration;
use crate::base::yaml::Fields;

/// How applied projects are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convergence {
    /// Whether they are.
    pub enabled: bool,
    /// How often every project is looked at.
    pub sweep_interval: Duration,
    /// How long the agent waits for further events.
    pub debounce: Duration,
}

impl Convergence {
    /// What the section says.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let longest = Duration::from_secs(600);
        Self {
            enabled: fields.boolean("enabled").unwrap_or(true),
            sweep_interval: bounded(fields, "sweep_interval", SECOND, DURATION_MAX)
                .unwrap_or(Duration::from_secs(60)),
            debounce: bounded(fields, "debounce", Duration::ZERO, longest)
                .unwrap_or(Duration::from_secs(2)),
        }
    }

    /// The keys of the section with their values in effect.
    pub(super) fn values(self) -> [(&'static str, String); 3] {
        [
            ("convergence.enabled", self.enabled.to_string()),
            ("convergence.sweep_interval", format_duration(self.sweep_interval)),
            ("convergence.debounce", format_duration(self.debounce)),
        ]
    }
}
