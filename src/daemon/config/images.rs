//! Reads how images are scanned. Owns the section `images`. Face: `Images`. Never reads what it names.

use std::path::PathBuf;

use super::report_at;
use crate::base::yaml::Fields;
use crate::domain::schedules::Calendar;
use crate::world::advisories::Source;

/// How images are scanned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Where advisories come from.
    pub advisories: Option<Source>,
    /// When images are scanned.
    pub scan_schedule: Option<Calendar>,
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
        Self { advisories, scan_schedule }
    }

    /// The keys of the section with their values in effect.
    pub(super) fn values(&self) -> [(&'static str, String); 2] {
        let advisories = self.advisories.as_ref().map(Source::shown).unwrap_or_default();
        let schedule = self.scan_schedule.as_ref();
        let schedule = schedule.map(|it| it.expression().to_owned()).unwrap_or_default();
        [("images.advisories", advisories), ("images.scan_schedule", schedule)]
    }
}

fn is_of_this_host(text: &str) -> bool {
    let hosts = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let rest = hosts.iter().find_map(|host| text.strip_prefix(host));
    rest.is_some_and(|rest| rest.starts_with([':', '/']))
}
