//! The words of `wharf alert`. Owns its options and their help. Face: `AlertVerb`. Never takes a
//! secret as a word of the command line: it is read from a file or from standard input.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Part;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AlertVerb {
    /// List deliveries, newest first
    Ls(DeliveryLs),
    /// Show a delivery
    Show {
        /// The delivery's id
        id: String,
    },
    /// Send a delivery again at once, also one that was given up
    Retry {
        /// The delivery's id
        id: String,
    },
    /// List rules
    Rules,
    /// Make a rule or replace one
    AddRule(RuleAdd),
    /// Remove a rule
    RmRule {
        /// The rule's name
        name: String,
    },
    /// List receivers
    Receivers,
    /// Make a receiver or replace one
    AddReceiver(ReceiverAdd),
    /// Remove a receiver, with what is on its way to it
    RmReceiver {
        /// The receiver's name
        name: String,
    },
    /// Send a receiver a test, and wait for what comes of it
    Test {
        /// The receiver's name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeliveryLs {
    /// Only in this status: `pending`, `delivered` or `given_up`
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Only to this receiver
    #[arg(long, value_name = "NAME")]
    pub receiver: Option<String>,
    /// Only about this run
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RuleAdd {
    /// The rule's name
    pub name: String,
    /// A receiver that hears of what fits; may be repeated
    #[arg(long = "to", value_name = "RECEIVER", required = true)]
    pub receivers: Vec<String>,
    /// Which events fit; `*` stands for any letters
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub event: String,
    /// Which types of run fit
    #[arg(long = "type", value_name = "PATTERN", default_value = "*")]
    pub run_type: String,
    /// Only events of this tenant
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,
    /// The least severity that fits: `info`, `low`, `medium`, `high` or `critical`
    #[arg(long, value_name = "SEVERITY", default_value = "info")]
    pub severity: String,
    /// Keep the rule, but route nothing by it
    #[arg(long)]
    pub disabled: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReceiverAdd {
    /// The receiver's name
    pub name: String,
    /// The webhook's address; `-` reads it from standard input
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// A file of headers, one `Name: value` a line
    #[arg(long, value_name = "FILE")]
    pub headers_file: Option<PathBuf>,
    /// A file with the key that messages are signed with
    #[arg(long, value_name = "FILE")]
    pub signing_key_file: Option<PathBuf>,
    /// How long the receiver may take to answer, up to 60s
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: String,
}
