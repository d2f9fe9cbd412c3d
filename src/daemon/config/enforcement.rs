//! Reads how policies are enforced on what runs. Owns the section `enforcement`. Face: `read`,
//! `values`, `Enforcement`. Never enforces: a run does.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{CODE, DURATION_MAX, SECOND, bounded};
use crate::base::Name;
use crate::base::limits::POLICIES_MAX;
use crate::base::units::format_duration;
use crate::base::yaml::Fields;
use crate::domain::enforcement::Settings;

/// How policies are enforced on what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcement {
    /// What decisions are made by.
    pub settings: Settings,
    /// How often everything that runs is judged.
    pub sweep_interval: Duration,
}

impl Enforcement {
    /// What the section says.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let mut unmanaged = BTreeSet::new();
        for node in fields.items("unmanaged") {
            let text = node.as_scalar().map_or("", |scalar| scalar.text.as_str());
            match text.parse::<Name>() {
                Ok(_) if unmanaged.len() < POLICIES_MAX => {
                    unmanaged.insert(text.to_owned());
                }
                Ok(_) => fields.report(node.problem(CODE, "too many policies are named")),
                Err(_) => {
                    let problem = node.problem(CODE, format!("`{text}` is no policy's name"));
                    fields
                        .report(problem.help("write the `name` that stands in the policy's file"));
                }
            }
        }
        let actions_max = fields.integer("actions_max", 1..=ACTIONS_MAX);
        let actions_max = actions_max.and_then(|count| usize::try_from(count).ok());
        let settings = Settings {
            is_enabled: fields.boolean("enabled").unwrap_or(true),
            unmanaged,
            actions_max: actions_max.unwrap_or(ACTIONS_DEFAULT),
            window: bounded(fields, "window", SECOND, DURATION_MAX)
                .unwrap_or(Duration::from_secs(600)),
        };
        let sweep_interval = bounded(fields, "sweep_interval", SECOND, DURATION_MAX);
        Self { settings, sweep_interval: sweep_interval.unwrap_or(Duration::from_secs(300)) }
    }

    /// The keys of the section with their values in effect.
    pub(super) fn values(&self) -> [(&'static str, String); 5] {
        let settings = &self.settings;
        let unmanaged: Vec<&str> = settings.unmanaged.iter().map(String::as_str).collect();
        [
            ("enforcement.enabled", settings.is_enabled.to_string()),
            ("enforcement.unmanaged", format!("[{}]", unmanaged.join(", "))),
            ("enforcement.actions_max", settings.actions_max.to_string()),
            ("enforcement.window", format_duration(settings.window)),
            ("enforcement.sweep_interval", format_duration(self.sweep_interval)),
        ]
    }
}

/// Most containers that may be dealt with within a window: as many runs are looked at.
const ACTIONS_MAX: u64 = 500;
/// The same, when nobody says otherwise.
const ACTIONS_DEFAULT: usize = 20;
