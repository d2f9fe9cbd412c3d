//! Reads how images are scanned. Owns the section `images`. Face: `Images`. Never reads what it names.

use std::path::PathBuf;
use std::time::Duration;

use super::{bounded, in_days, report_at};
use crate::base::limits::ADVISORIES_AGE_DEFAULT;
use crate::base::yaml::Fields;
use crate::domain::schedules::Calendar;
use crate::world::advisories::Source;

/// How images are scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Where advisories come from.
    pub advisories: Option<Source>,
    /// When they are called old.
    pub advisories_age_max: Duration,
    /// When images are scanned.
    pub scan_schedule: Option<Calendar>,
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const AGE_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

impl Default for Images {
    fn default() -> Self {
        Self { advisories: None, advisories_age_max: ADVISORIES_AGE_DEFAULT, scan_schedule: None }
    }
}

impl Images {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let advisories = match fields.string("advisories") {
            None => None,
            Some(text) if text.starts_with("https://") => Some(Source::Url(text)),
            // Of this host alone, as a mirror or a test has it.
            Some(text) if is_of_this_host(&text) => Some(Source::Url(text)),
            Some(text) if text.starts_with('/') => Some(Source::Path(PathBuf::from(text))),
            Some(text) => {
                let message = format!(
                    "`advisories` must be an absolute path or an `https://` address, found `{text}`"
                );
                report_at(fields, "advisories", message);
                None
            }
        };
        let scan_schedule = fields.string("scan_schedule").and_then(|text| {
            let calendar = Calendar::parse(&text, "UTC");
            calendar.map_err(|error| report_at(fields, "scan_schedule", error.to_string())).ok()
        });
        let age = bounded(fields, "advisories_age_max", DAY, AGE_MAX);
        let advisories_age_max = age.unwrap_or(ADVISORIES_AGE_DEFAULT);
        Self { advisories, advisories_age_max, scan_schedule }
    }

    /// The keys of the section with their values in effect.
    pub(super) fn values(&self) -> [(&'static str, String); 3] {
        let advisories = self.advisories.as_ref().map(Source::shown).unwrap_or_default();
        let schedule = self.scan_schedule.as_ref();
        let schedule = schedule.map(|it| it.expression().to_owned()).unwrap_or_default();
        [
            ("images.advisories", advisories),
            ("images.advisories_age_max", in_days(self.advisories_age_max)),
            ("images.scan_schedule", schedule),
        ]
    }
}

fn is_of_this_host(text: &str) -> bool {
    let hosts = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let rest = hosts.iter().find_map(|host| text.strip_prefix(host));
    rest.is_some_and(|rest| rest.starts_with([':', '/']))
}
