//! The words of `wharf images`, `wharf pull` and `wharf build`. Owns their options and their help. Face:
//! `Images`, `Pull`, `Build`. Never names what only one engine understands.

use clap::{Args, ValueEnum};

use super::Files;

#[derive(Debug, Args)]
pub(in crate::cli) struct Pull {
    #[command(flatten)]
    pub files: Files,
    /// Only the images of these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// What these services depend on, too
    #[arg(long)]
    pub include_deps: bool,
    /// Images that can be built, too, when they have a name of their own
    #[arg(long)]
    pub include_buildable: bool,
    /// Leave out images that can be built: what is done anyway
    #[arg(long, conflicts_with = "include_buildable")]
    pub ignore_buildable: bool,
    /// End well although an image could not be had
    #[arg(long)]
    pub ignore_pull_failures: bool,
    /// Which images are asked for
    #[arg(long, value_enum, default_value_t = PullWhen::Always)]
    pub policy: PullWhen,
    /// Do not wait for the run's end
    #[arg(short, long)]
    pub detach: bool,
}

/// Which images are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PullWhen {
    /// All
    Always,
    /// Those that are not on the host
    Missing,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Images {
    #[command(flatten)]
    pub files: Files,
    /// Only images of which their registry has a newer one
    #[arg(long)]
    pub outdated: bool,
    /// Ask the registries first, and wait for their answers
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    #[command(flatten)]
    pub files: Files,
    /// Only the images of these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// What these services depend on, too
    #[arg(long)]
    pub with_dependencies: bool,
    /// Take no layers from earlier builds
    #[arg(long)]
    pub no_cache: bool,
    /// Ask the registries for newer base images
    #[arg(long)]
    pub pull: bool,
    /// Do not wait for the run's end
    #[arg(short, long)]
    pub detach: bool,
}
