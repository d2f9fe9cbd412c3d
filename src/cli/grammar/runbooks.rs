//! The words of `wharf runbook`. Owns its options and their help. Face: `RunbookVerb`. Never knows a
//! runbook: the agent tells which there are and what they take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RunbookVerb {
    /// List the runbooks
    Ls,
    /// Show what a runbook does and takes
    Show {
        /// The runbook's key
        key: String,
    },
    /// Look at what a runbook would do; nothing changes
    Preflight {
        #[command(flatten)]
        ask: RunbookAsk,
    },
    /// Start a runbook as it was looked at
    Start(Box<RunbookStart>),
    /// Approve what a run waits for, or let one go on that asks after a crash
    Approve {
        #[command(flatten)]
        word: RunbookWord,
    },
    /// Refuse what a run waits for: what it did is taken back
    Refuse {
        #[command(flatten)]
        word: RunbookWord,
    },
    /// Check a runbook's file, without an agent
    Validate {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunbookWord {
    /// The run's id
    pub run: String,
    /// Why, in words
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunbookAsk {
    /// The runbook's key
    pub key: String,
    /// For this tenant, by id; without it and `--all-tenants`, for the host's own
    #[arg(long, value_name = "ID", conflicts_with = "all_tenants")]
    pub tenant: Option<String>,
    /// For all tenants of the workspace
    #[arg(long)]
    pub all_tenants: bool,
    /// As a platform user, in this workspace, also when you are no member of it
    #[arg(long, value_name = "WORKSPACE")]
    pub platform: Option<String>,
    /// What the runbook is told; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunbookStart {
    #[command(flatten)]
    pub ask: RunbookAsk,
    /// The digest that `preflight` told
    #[arg(long, value_name = "DIGEST", required_unless_present = "yes")]
    pub digest: Option<String>,
    /// Look now, and start it with what is found
    #[arg(long, conflicts_with = "digest")]
    pub yes: bool,
    /// Why: DATA_REPAIR, INCIDENT, SUPPORT or SECURITY; needed for all tenants and with `--platform`
    #[arg(long, value_name = "CODE", requires = "reason")]
    pub reason_code: Option<String>,
    /// Why, in words
    #[arg(long, value_name = "TEXT", requires = "reason_code")]
    pub reason: Option<String>,
    /// Do not wait for the run's end
    #[arg(short, long)]
    pub detach: bool,
}
