//! The words of `wharf schedule`. Owns its options and their help. Face: `ScheduleVerb`. Never reads
//! an expression: the agent does, and says what is wrong with it.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ScheduleVerb {
    /// List schedules with their next firing
    Ls,
    /// Show the next firings of a schedule
    Next {
        /// The schedule's name
        name: String,
        /// How many, up to 100
        #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
        count: usize,
    },
    /// Make a schedule, or change what it does
    Add(Box<ScheduleAdd>),
    /// Ask for a schedule's run now, beside its firings
    Run {
        /// The schedule's name
        name: String,
        /// Do not wait for the run's end
        #[arg(short, long)]
        detach: bool,
    },
    /// Hold a schedule back until `resume`
    Pause {
        /// The schedule's name
        name: String,
    },
    /// Let a paused schedule go on; what it left out is not made up for
    Resume {
        /// The schedule's name
        name: String,
    },
    /// Remove a schedule; a run that it asked for goes on
    Rm {
        /// The schedule's name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ScheduleAdd {
    /// The schedule's name
    pub name: String,
    /// Minute, hour, day of month, month, day of week: `30 3 * * *`; or `@daily` and its kin
    #[arg(long, value_name = "EXPRESSION")]
    pub cron: String,
    /// The IANA name of the time zone
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// Bring this project to what was applied last
    #[arg(long, value_name = "PROJECT", group = "task", required_unless_present_any = ["restart", "check_images", "scan_images", "update_advisories", "hosted"])]
    pub deploy: Option<String>,
    /// Restart this project's containers
    #[arg(long, value_name = "PROJECT", group = "task")]
    pub restart: Option<String>,
    /// Ask registries for newer images of this project, or of all projects
    #[arg(long, value_name = "PROJECT", group = "task", num_args = 0..=1, default_missing_value = "")]
    pub check_images: Option<String>,
    /// Scan the images of this project, or of all projects
    #[arg(long, value_name = "PROJECT", group = "task", num_args = 0..=1, default_missing_value = "")]
    pub scan_images: Option<String>,
    /// Look for newer advisories
    #[arg(long, group = "task")]
    pub update_advisories: bool,
    /// Ask for a run of this registered type
    #[arg(long, value_name = "TYPE", group = "task")]
    pub hosted: Option<String>,
    /// What a hosted run is to do, as JSON
    #[arg(long, value_name = "JSON", requires = "hosted")]
    pub payload: Option<String>,
    /// Restart only this service; may be repeated
    #[arg(long = "service", value_name = "SERVICE", requires = "restart")]
    pub services: Vec<String>,
    /// Replace containers even when nothing changed
    #[arg(long, requires = "deploy")]
    pub force_recreate: bool,
    /// Build images even when one of the same files exists
    #[arg(long, requires = "deploy")]
    pub build: bool,
    /// Let each firing come up to this much later, always by the same amount, such as `5m`
    #[arg(long, value_name = "DURATION", default_value = "0")]
    pub jitter: String,
    /// What becomes of a firing that nobody was there for: `skip` or `run_once`
    #[arg(long, value_name = "POLICY", default_value = "skip")]
    pub missed: String,
    /// How old a missed firing may be that `run_once` makes up for
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub missed_age_max: String,
    /// What becomes of a firing while an earlier run goes on: `skip`, `queue` or `cancel_running`
    #[arg(long, value_name = "POLICY", default_value = "skip")]
    pub overlap: String,
}
