//! The words of `wharf store`. Owns its options and their help. Face: `StoreVerb`. Never takes a
//! password as a word of the command line: it is read from a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StoreVerb {
    /// Write everything that the agent remembers into a file, but no keys
    Backup(StoreBackup),
    /// Put a backup in the place of the database, which is set aside; the agent is stopped
    Restore(StoreRestore),
    /// Move from SQLite to an empty PostgreSQL database; the agent is stopped
    Move(StoreMove),
    /// Fill the database with findings of the form before lifecycles, for a demonstration; the agent
    /// is stopped
    #[command(hide = true)]
    Plant(StorePlant),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StorePlant {
    /// The agent's configuration: it says which database
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// How many tenants
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub tenants: u64,
    /// How many findings each has
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub findings: u64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StoreBackup {
    /// The file to write
    pub file: PathBuf,
    /// Read the database of this configuration, without asking an agent
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StoreRestore {
    /// The backup
    pub file: PathBuf,
    /// The agent's configuration: it says which database
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StoreMove {
    /// The agent's configuration, with `store: sqlite`
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The folder of the server's Unix socket, or its name or address
    #[arg(long, value_name = "HOST")]
    pub host: String,
    /// The server's port
    #[arg(long, value_name = "PORT", default_value_t = 5432)]
    pub port: u16,
    /// The database
    #[arg(long, value_name = "NAME", default_value = "wharf")]
    pub database: String,
    /// The role
    #[arg(long, value_name = "NAME", default_value = "wharf")]
    pub user: String,
    /// The file that holds its password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
