//! The words of `wharf audit …`. Owns its arguments. Face: `AuditVerb` and its parts. Never decides
//! what a word means for the agent.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Part;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditVerb {
    /// List events, newest first
    Ls(Box<AuditLs>),
    /// List what the newest events within reach can be filtered by
    Filters {
        #[command(flatten)]
        above: Above,
    },
    /// Show an event with all that is known about it
    Show {
        /// The event's id
        id: String,
        #[command(flatten)]
        above: Above,
    },
    /// Prove that nothing was changed: ends with 1 when something was, and names the first bad event
    Verify(AuditVerify),
    /// Write the whole log of this host, to a file or to standard output
    Export(AuditExport),
    /// Print the public half of the key that seals this host's log
    Key,
    /// Purge whole segments that ended before a time; what is left still verifies
    Purge(AuditPurge),
    /// Replace a person in the log by a pseudonym; what the log proves stays
    ErasePerson {
        /// The id that their records carry, such as `uid:1001`, or their name
        person: String,
    },
}

/// Whose log.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Above {
    /// Of what lies above workspaces: logins, users, broken glass; for platform users
    #[arg(long)]
    pub platform: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditLs {
    #[command(flatten)]
    pub above: Above,
    /// Only with this text in the summary
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only of these types, separated by commas
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only with these outcomes, separated by commas
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only by this actor: a name, or a kind such as `human`
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// Only on this project
    #[arg(short, long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Only on this kind of target, such as `user`
    #[arg(long, value_name = "KIND", conflicts_with = "project_name")]
    pub target_type: Option<String>,
    /// Only on the target with this id or name
    #[arg(long, value_name = "ID", conflicts_with = "project_name")]
    pub target: Option<String>,
    /// Only written by this run
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Only from this time on, such as `2026-11-21T08:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditVerify {
    /// An export, or a copy of `wharf.db`; without it, the log of the agent
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What an anchor got, a line each: finds what was signed anew or cut off
    #[arg(long, value_name = "FILE")]
    pub anchors: Option<PathBuf>,
    /// Public keys, one a line, as `wharf audit key` prints them; else the log's own are believed
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditExport {
    /// The file to write; it must not exist
    pub file: Option<PathBuf>,
    /// What to write
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = ExportForm::Jsonl)]
    pub form: ExportForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ExportForm {
    /// JSON lines that prove themselves: `wharf audit verify --file`
    Jsonl,
    /// CloudEvents 1.0, one a line, for other systems
    Cloudevents,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditPurge {
    /// The time, such as `2026-01-01T00:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub before: String,
}
