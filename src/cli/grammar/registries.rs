//! The words of `wharf registry`. Owns its options and their help. Face: `RegistryVerb`. Never takes a
//! password as a word of the command line: it is read from a prompt, a file or standard input.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RegistryVerb {
    /// List registries that the agent is logged in to
    Ls,
    /// Log the agent in to a registry: images of it are pulled so from then on
    ///
    /// The password is asked for at a terminal, else read from standard input. It is kept only when
    /// the registry takes it, and sealed with the host's key.
    Login(RegistryLogin),
    /// Log the agent out of a registry
    Logout {
        /// The registry's host, with its port where it has one
        #[arg(value_name = "HOST")]
        registry: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RegistryLogin {
    /// The registry's host, with its port where it has one: `registry.example.org:5000`
    #[arg(value_name = "HOST")]
    pub registry: String,
    /// As whom
    #[arg(short, long, value_name = "USER")]
    pub username: String,
    /// A file with the password, instead of a prompt or standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
