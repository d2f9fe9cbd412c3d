//! The words of `wharf policy …`. Owns its arguments. Face: `PolicyVerb` and its parts. Never decides
//! what a policy means.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Files, StageWord};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PolicyVerb {
    /// Judge compose files, or what runs, by policies; needs no agent
    ///
    /// Ends with 0 when nothing is wrong, 1 when something is, 2 when it cannot be judged: a file or a
    /// policy is broken, or the engine does not answer. A compose file that would not be deployed is
    /// judged as far as it can be read, says why, and ends with 2 when nothing else is wrong. What is
    /// not known (`unknown`) and what somebody is excepted from count for nothing. Services of all
    /// profiles are judged unless some are named.
    Check(Box<PolicyCheck>),
    /// Run the tests beside policies; ends with 1 when one fails, 2 when a policy is broken
    Test(PolicyTest),
    /// List policies with what they do, or all checks
    Ls {
        #[command(flatten)]
        set: PolicyWords,
        /// List the built-in checks instead
        #[arg(long)]
        checks: bool,
        /// List what the agent has in force, and why newer ones are not
        #[arg(long, conflicts_with_all = ["policies", "shipped", "config", "checks"])]
        agent: bool,
    },
    /// Show a policy with its rules, or a check, by its id or the control of the benchmark (`cis:5.4`)
    Show {
        /// The policy, the check or the control
        name: String,
        #[command(flatten)]
        set: PolicyWords,
        /// Show the policy that the agent has in force
        #[arg(long, conflicts_with_all = ["policies", "shipped", "config"])]
        agent: bool,
    },
}

/// Which policies. Without any: `baseline` and `cis-docker`, which are shipped.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct PolicyWords {
    /// A policy, or a folder of policies
    #[arg(long = "policy", value_name = "FILE|DIR")]
    pub policies: Vec<PathBuf>,
    /// A policy that comes with the program: `baseline`, `restricted`, `cis-docker`
    #[arg(long, value_name = "NAME")]
    pub shipped: Vec<String>,
    /// An agent's configuration, for the policies and rules that it puts in force
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PolicyCheck {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub set: PolicyWords,
    /// The stage whose actions count
    #[arg(long, value_enum, default_value_t = StageWord::Production)]
    pub stage: StageWord,
    /// What ends with 1: this severity or action and worse ones
    #[arg(long, value_name = "WORD", default_value = "info")]
    pub fail_on: String,
    /// Judge the containers of the engine (`DOCKER_HOST`, else the default socket) instead of files; with
    /// `-p NAME`, those of one project
    #[arg(long, conflicts_with = "files")]
    pub engine: bool,
    /// Judge the host of the engine too, as far as this user may look
    #[arg(long, requires = "engine")]
    pub with_host: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PolicyTest {
    /// Policies, their tests, or folders of both; a policy brings the tests beside it, and tests bring
    /// their policy
    #[arg(value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// The policies that come with the program
    #[arg(long)]
    pub shipped: bool,
}
