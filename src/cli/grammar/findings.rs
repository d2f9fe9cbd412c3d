//! The words of `wharf findings`. Owns its options and their help. Face: `FindingVerb`. Never says what
//! a finding's lifecycle allows: the agent does.

use clap::{Args, Subcommand};

use super::Part;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FindingVerb {
    /// List findings, the most severe first; without a status those that are not over
    Ls(Box<FindingLs>),
    /// Show a finding with its exceptions and what happened to it
    Show {
        /// The finding's id
        id: String,
    },
    /// Say that you looked at a finding
    Triage(FindingNote),
    /// Give a finding to a member, or take it back
    Assign {
        /// The finding's id
        id: String,
        /// The member's name or id
        #[arg(required_unless_present = "nobody")]
        user: Option<String>,
        /// Take it from who has it
        #[arg(long, conflicts_with = "user")]
        nobody: bool,
    },
    /// Say that you work on a finding
    Start(FindingNote),
    /// Ask for the risk of a finding to be accepted; another person approves it
    Accept {
        /// The finding's id
        id: String,
        /// Why the risk can be accepted
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Until when, within a year: `2027-01-31`, or `2027-01-31T12:00:00Z`
        #[arg(long, value_name = "TIME")]
        until: String,
    },
    /// Accept the risk that somebody else asked about
    Approve(FindingNote),
    /// Do not accept the risk that somebody else asked about
    Reject(FindingNote),
    /// Take the exception of a finding back, or what was asked for
    Revoke(FindingNote),
    /// Say that a finding was put right; the next look says whether that is so
    Resolve(FindingNote),
    /// Close a finding for good; it comes back when it is seen again
    Close {
        /// The finding's id
        id: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Say that a finding is not over
    Reopen(FindingNote),
    /// Show how subjects stand to policies; exits 0 also when some fail
    Compliance(ComplianceShow),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FindingNote {
    /// The finding's id
    pub id: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FindingLs {
    /// Only in these statuses, separated by commas: `new`, `triaged`, `in_progress`, `reopened`,
    /// `risk_accepted`, `resolved`, `closed`
    #[arg(long, value_name = "STATUS", conflicts_with = "all")]
    pub status: Option<String>,
    /// Those that are over too
    #[arg(long)]
    pub all: bool,
    /// Only of these severities, separated by commas
    #[arg(long, value_name = "SEVERITY")]
    pub severity: Option<String>,
    /// Only of this type: `drift` or `policy_violation`
    #[arg(long = "type", value_name = "TYPE")]
    pub finding_type: Option<String>,
    /// Only what this policy says
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Only by this check
    #[arg(long, value_name = "ID")]
    pub check: Option<String>,
    /// Only of this project
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Only about this subject, such as `shop/web/1`
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// Only what this member works on
    #[arg(long, value_name = "NAME")]
    pub assignee: Option<String>,
    /// Only what should have been dealt with by now
    #[arg(long)]
    pub overdue: bool,
    /// Only with this text
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ComplianceShow {
    /// A row for each `policy`, `project` or `tenant`
    #[arg(long, value_name = "WHAT", default_value = "policy")]
    pub by: String,
    /// Only of this policy
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Only of this project
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
}
