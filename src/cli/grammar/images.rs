//! The words of `wharf images`, `wharf pull` and `wharf build`. Owns their options and their help. Face:
//! `Images`, `ImagesVerb`, `Pull`, `Build`. Never names what only one engine understands.

use clap::{Args, Subcommand, ValueEnum};

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
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Images {
    #[command(subcommand)]
    pub verb: Option<ImagesVerb>,
    #[command(flatten)]
    pub files: Files,
    /// Only images of which their registry has a newer one
    #[arg(long)]
    pub outdated: bool,
    /// Ask the registries first, and wait for their answers
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ImagesVerb {
    /// Read the packages of images, and match them with advisories
    ///
    /// Without names: the images that projects run, of one project with `--project`.
    Scan(ImagesScan),
    /// List what is known to be wrong with the packages of images
    ///
    /// With an image: each vulnerability, the worst first. Without: how many each scanned image has.
    Vulnerabilities(Vulnerabilities),
    /// Print the packages of an image as a CycloneDX document
    Sbom {
        /// The image's name or id
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// Show the advisories that images are matched with
    Advisories {
        /// Look for newer ones first, and wait for the end of that
        #[arg(long)]
        update: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImagesScan {
    /// Names or ids of images of the agent's host
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Only the images that this project runs
    #[arg(long, value_name = "PROJECT", conflicts_with = "images")]
    pub project: Option<String>,
    /// Do not wait for the run's end
    #[arg(short, long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Vulnerabilities {
    /// The image's name or id
    #[arg(value_name = "IMAGE")]
    pub image: Option<String>,
    /// Only these and worse ones
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub severity: Option<Severity>,
    /// End with 1 when there is one as severe as this, or worse; what has no severity counts too
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub fail_on: Option<Severity>,
}

/// How severe a vulnerability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum Severity {
    /// Good to know
    Info,
    /// Some day
    Low,
    /// This week
    Medium,
    /// Today
    High,
    /// Now
    Critical,
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
