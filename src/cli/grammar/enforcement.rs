//! The words of `wharf enforcement`, `wharf quarantine` and `wharf maintenance`. Owns their options and
//! their help. Face: `EnforcementVerb`, `QuarantineVerb`, `MaintenanceVerb`. Never takes a place for
//! the whole host unasked.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::base::units::parse_duration;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum EnforcementVerb {
    /// Show how it stands with enforcement
    Status,
    /// Do nothing from now on that policies ask for about what runs
    Off(Why),
    /// Do again what policies ask for about what runs
    On(Why),
    /// Show what would be done about a container; nothing is changed
    Plan {
        /// Its name or id
        #[arg(value_name = "CONTAINER")]
        container: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Why {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QuarantineVerb {
    /// List containers that were dealt with
    Ls,
    /// Shut a container off: it loses its networks, or is frozen where it has none of its own
    Add(QuarantineWord),
    /// Take back what was done about a container
    Release(Release),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct QuarantineWord {
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    #[command(flatten)]
    pub why: Why,
    /// Do not wait for the end
    #[arg(short, long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Release {
    #[command(flatten)]
    pub word: QuarantineWord,
    /// For how long policies leave it alone afterwards: `2h`
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub grace: Duration,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum MaintenanceVerb {
    /// List what is worked on
    Ls,
    /// Begin maintenance, or give it another end: nothing is enforced there
    Begin(MaintenanceBegin),
    /// End maintenance
    End(MaintenancePlace),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct MaintenancePlace {
    /// Of this project
    #[arg(short, long, value_name = "NAME")]
    pub project: Option<String>,
    /// Of the whole host
    #[arg(long)]
    pub host: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MaintenanceBegin {
    #[command(flatten)]
    pub place: MaintenancePlace,
    /// For how long at most: `2h`
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub lasts: Duration,
    #[command(flatten)]
    pub why: Why,
}
