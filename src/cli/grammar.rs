//! Says which words `wharf` understands. Owns verbs, options and their help. Face: `Cli`. Never
//! does anything.

mod access;
mod alerts;
mod audit;
mod images;
mod policies;
mod registries;
mod runbooks;
mod schedules;
mod store;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::exit::Exit;

pub(super) use access::{
    AccessVerb, CertificateVerb, GlassVerb, Reached, ReasonWord, StageWord, TokenCreate, TokenVerb,
    UserAdd,
};
pub(super) use alerts::{AlertVerb, DeliveryLs, ReceiverAdd, RuleAdd};
pub(super) use audit::{Above, AuditExport, AuditLs, AuditVerb, AuditVerify, ExportForm};
pub(super) use images::{Build, Images, Pull, PullWhen};
pub(super) use policies::{PolicyCheck, PolicyTest, PolicyVerb, PolicyWords};
pub(super) use registries::{RegistryLogin, RegistryVerb};
pub(super) use runbooks::{RunbookAsk, RunbookStart, RunbookVerb, RunbookWord};
pub(super) use schedules::{ScheduleAdd, ScheduleVerb};
pub(super) use store::{StoreBackup, StoreMove, StorePlant, StoreRestore, StoreVerb};

/// Where clients look for the agent when nobody says otherwise.
pub(super) const SOCKET_DEFAULT: &str = "/run/wharfinger/wharf.sock";

/// Keeps Docker Compose projects running as declared.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, after_long_help = Exit::table(), propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = false, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The agent's Unix socket
    #[arg(long, global = true, env = "WHARF_SOCKET", default_value = SOCKET_DEFAULT)]
    #[arg(value_name = "PATH", help_heading = "Global options")]
    pub socket: PathBuf,
    /// The workspace that is meant, by name or id
    #[arg(long, global = true, env = "WHARF_WORKSPACE", hide_env_values = true)]
    #[arg(value_name = "NAME", help_heading = "Global options")]
    pub workspace: Option<String>,
    /// The tenant that is meant, by name or id: lists show what is its, and new things are its
    #[arg(long, global = true, env = "WHARF_TENANT", hide_env_values = true)]
    #[arg(value_name = "NAME", help_heading = "Global options")]
    pub tenant: Option<String>,
    /// A file with a token that proves who asks, instead of the user who runs this
    #[arg(long, global = true, env = "WHARF_TOKEN_FILE", value_name = "FILE")]
    #[arg(help_heading = "Global options")]
    pub token_file: Option<PathBuf>,
    /// An agent on another host, such as `https://agent.example.org:8443`, instead of the socket
    #[arg(long, global = true, env = "WHARF_HOST", value_name = "URL")]
    #[arg(help_heading = "Global options")]
    pub host: Option<String>,
    /// Certificates that vouch for that agent, instead of those that this host trusts
    #[arg(long, global = true, env = "WHARF_CA", value_name = "FILE")]
    #[arg(help_heading = "Global options")]
    pub ca: Option<PathBuf>,
    /// A client certificate with its key, in one PEM file
    #[arg(long, global = true, env = "WHARF_CERTIFICATE", value_name = "FILE")]
    #[arg(help_heading = "Global options")]
    pub certificate: Option<PathBuf>,
    /// A token, from the environment alone: others can read the arguments of a process
    #[arg(skip = std::env::var("WHARF_TOKEN").ok())]
    pub token: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    #[arg(help_heading = "Global options")]
    pub format: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[value(alias = "yaml")]
    Text,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code hosts and editors: what is wrong with compose files
    Sarif,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Bring a project to the state that its files declare
    Up(Up),
    /// Show what `up` would do; exits 0 for nothing, 2 for changes
    Plan(Plan),
    /// Remove a project's containers and networks
    Down(Down),
    /// Show what runs of a project, or all projects
    Ps(Named),
    /// Show how the containers of a project are, and what they use of what they may
    Instances(Instances),
    /// Show the output of a project's containers
    Logs(Logs),
    /// Execute a command in a running container, and end with what it ends with
    Exec(Exec),
    /// Restart a project's containers
    Restart(Restart),
    /// Fetch the images of a project's services now, without changing a container
    ///
    /// With `-p NAME` and no files: of the project as the agent keeps it.
    Pull(Pull),
    /// Build the images of a project's services, without starting anything
    ///
    /// With `-p NAME` and no files: of the project as the agent keeps it.
    Build(Build),
    /// Show which images run, and whether their registries have newer ones: of a project, or of all
    Images(Images),
    /// Leave a project alone: no convergence until `resume`
    Pause(Named),
    /// Keep a paused project as declared again
    Resume(Named),
    /// See and control runs
    #[command(subcommand)]
    Run(RunVerb),
    /// Look at runbooks and start them
    #[command(subcommand)]
    Runbook(RunbookVerb),
    /// See and control what is asked for again and again
    #[command(subcommand)]
    Schedule(ScheduleVerb),
    /// See and control who hears of what happens
    #[command(subcommand)]
    Alert(AlertVerb),
    /// See and change which registries images are pulled from, and as whom
    #[command(subcommand)]
    Registry(RegistryVerb),
    /// See the run queue, and pause or limit parts of it
    #[command(subcommand)]
    Queue(QueueVerb),
    /// Judge compose files and what runs by policies, and see which ones there are
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// See and change who may do what
    #[command(subcommand)]
    Access(AccessVerb),
    /// Read and prove the audit log
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Back up, restore and move what the agent remembers
    #[command(subcommand)]
    Store(StoreVerb),
    /// Work with compose files, without agent or engine
    #[command(subcommand)]
    Compose(ComposeVerb),
    /// Work with the agent's configuration, without agent or engine
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Examine agent, engine and host, and say how to mend what is wrong
    Doctor,
    /// Run the agent in the foreground
    Agent(Agent),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where a project's files are. Found as Docker Compose finds them: `compose.yaml`, `compose.yml`,
/// `docker-compose.yaml`, `docker-compose.yml`, here or in a folder above.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Files {
    /// A compose file, `-` for standard input; several are merged in order
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The project's name; else `name:` of the files, else the folder's name
    #[arg(short, long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// The folder that relative paths start from, instead of the first file's
    #[arg(long, value_name = "DIR")]
    pub project_directory: Option<PathBuf>,
    /// A file of variables for the compose files, instead of `.env`
    #[arg(long = "env-file", value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// A profile to activate
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
}

/// A project that is known by name; files are read only for the name.
#[derive(Debug, Clone, Args)]
pub(super) struct Named {
    #[command(flatten)]
    pub files: Files,
}

/// `SERVICE=N` of `--scale`.
fn scale(text: &str) -> Result<(String, u32), String> {
    let (service, number) = text.split_once('=').ok_or("it is SERVICE=N, such as `web=3`")?;
    let number = number.parse().map_err(|_| format!("`{number}` is no number of containers"))?;
    Ok((service.to_owned(), number))
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    pub files: Files,
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Show the plan and stop: nothing is changed
    #[arg(long, conflicts_with = "detach")]
    pub dry_run: bool,
    /// Do not wait for the run's end
    #[arg(short, long)]
    pub detach: bool,
    /// Replace containers even when nothing changed
    #[arg(long)]
    pub force_recreate: bool,
    /// Make this volume anew if it is declared differently: ITS DATA IS LOST. By its key in the file
    #[arg(long = "recreate-volume", value_name = "VOLUME")]
    pub recreate_volumes: Vec<String>,
    /// Run so many containers of a service, whatever the files say, until the next `up`
    #[arg(long, value_name = "SERVICE=N", value_parser = scale)]
    pub scale: Vec<(String, u32)>,
    /// Build images even when one of the same files exists
    #[arg(long)]
    pub build: bool,
    /// Keep containers of services that the files no longer declare
    #[arg(long)]
    pub keep_orphans: bool,
    /// Take the project over from another agent on this engine: its containers are replaced
    #[arg(long)]
    pub adopt: bool,
    /// Longest wait for health, over what the project says
    #[arg(long, value_name = "SECONDS")]
    pub wait_timeout: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    pub files: Files,
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Plan for so many containers of a service, whatever the files say
    #[arg(long, value_name = "SERVICE=N", value_parser = scale)]
    pub scale: Vec<(String, u32)>,
    /// Plan as if containers had to be replaced
    #[arg(long)]
    pub force_recreate: bool,
    /// Plan to make this volume anew if it is declared differently
    #[arg(long = "recreate-volume", value_name = "VOLUME")]
    pub recreate_volumes: Vec<String>,
    /// Plan to take the project over from another agent on this engine
    #[arg(long)]
    pub adopt: bool,
    /// Keep containers of services that the files no longer declare
    #[arg(long)]
    pub keep_orphans: bool,
}

#[derive(Debug, Args)]
pub(super) struct Down {
    #[command(flatten)]
    pub files: Files,
    /// Remove the named volumes too: their data is lost
    #[arg(long)]
    pub volumes: bool,
    /// Do not wait for the run's end
    #[arg(short, long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub(super) struct Restart {
    #[command(flatten)]
    pub files: Files,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Do not wait for the run's end
    #[arg(short, long)]
    pub detach: bool,
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    #[command(flatten)]
    pub files: Files,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Go on as lines are written (`-f` names a file)
    #[arg(long)]
    pub follow: bool,
    /// Only the last lines of each container
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,
    /// Begin each line with its time
    #[arg(short, long)]
    pub timestamps: bool,
}

#[derive(Debug, Args)]
pub(super) struct Instances {
    #[command(flatten)]
    pub files: Files,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Do not ask what they use: the engine takes a second or two to tell
    #[arg(long)]
    pub no_usage: bool,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    pub files: Files,
    /// The service in one of whose containers it is executed
    pub service: String,
    /// Which of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub index: u32,
    /// No terminal, although this is one: standard output and standard error come apart
    #[arg(short = 'T', long)]
    pub no_tty: bool,
    /// As this user of the container
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// In this folder of the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// A variable for the command; `NAME` alone takes the value that it has here
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum RunVerb {
    /// List runs, newest first
    Ls(RunLs),
    /// Show a run with its attempts, steps and failures
    Show {
        /// The run's id
        id: String,
    },
    /// Show what a run does until it ends
    Follow {
        /// The run's id
        id: String,
    },
    /// Cancel a run: at once when nobody works on it, else before its next step
    Cancel {
        /// The run's id
        id: String,
    },
    /// Ask for a run of a hosted type
    Enqueue(RunEnqueue),
    /// Make jobs of a hosted run that you execute; workers claim them
    FanOut(RunFanOut),
    /// List the jobs of a bulk run
    Jobs(RunJobs),
    /// Try a dead letter again, as a new run
    Retry {
        /// The dead letter's id
        id: String,
        /// Only the jobs that were not done
        #[arg(long)]
        failed_only: bool,
    },
    /// Note that a dead letter was dealt with otherwise
    Dismiss {
        /// The dead letter's id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunEnqueue {
    /// The registered type, such as `shop.send_invoices`
    #[arg(value_name = "TYPE")]
    pub run_type: String,
    /// A file with what it is to do, as JSON; `-` for standard input, nothing for `null`
    #[arg(long, value_name = "FILE")]
    pub payload: Option<PathBuf>,
    /// What makes it the same as another run; its payload when absent
    #[arg(long, value_name = "KEY")]
    pub identity: Option<String>,
    /// What it locks: no two runs of one subject execute at once
    #[arg(long, value_name = "KEY")]
    pub subject: Option<String>,
    /// Over what the type says: the higher one comes first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i8>,
    /// When it may begin, such as `2026-11-21T08:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub run_at: Option<String>,
    /// A file with the jobs of a bulk run, as a JSON list of {key, payload}
    #[arg(long, value_name = "FILE")]
    pub jobs: Option<PathBuf>,
    /// Show what it does until it ends
    #[arg(long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunFanOut {
    /// The run's id
    pub id: String,
    /// The number of your attempt, from the claim
    #[arg(long, value_name = "N")]
    pub attempt: u32,
    /// A file with the jobs, as a JSON list of {key, payload}; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub jobs: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RunJobs {
    /// The run's id
    pub id: String,
    /// Only in these statuses, separated by commas
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    #[command(flatten)]
    pub part: Part,
}

#[derive(Debug, Subcommand)]
pub(super) enum QueueVerb {
    /// Show what is queued and runs, what holds it back, who works on it
    Show,
    /// List the hosted types
    Types,
    /// Let nothing of a part of the queue begin; what has begun goes on
    Pause(QueuePart),
    /// Let a paused part of the queue go on
    Resume(QueuePart),
    /// Limit how many runs and jobs of a part of the queue execute at once
    Limit {
        /// The most at once
        #[arg(value_name = "N", required_unless_present = "none")]
        most: Option<u32>,
        /// Take the limit away
        #[arg(long, conflicts_with = "most")]
        none: bool,
        #[command(flatten)]
        part: QueuePart,
    },
}

/// A part of the queue; all of it when none is named.
#[derive(Debug, Args)]
pub(super) struct QueuePart {
    /// Only runs of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub run_type: Option<String>,
    /// Only runs of this tenant
    #[arg(long, value_name = "ID", conflicts_with = "run_type")]
    pub tenant: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RunLs {
    /// Only of this project
    #[arg(short, long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Only of these types, separated by commas
    #[arg(long = "type", value_name = "TYPE")]
    pub run_type: Option<String>,
    /// Only in these statuses, separated by commas
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Only with these outcomes, separated by commas
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only on this subject, such as `app:march`
    #[arg(long, value_name = "SUBJECT", conflicts_with = "project_name")]
    pub subject: Option<String>,
    /// Only dead letters: runs whose retries are used up
    #[arg(long)]
    pub dead: bool,
    #[command(flatten)]
    pub part: Part,
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(super) struct Part {
    /// Most items, up to 500
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Go on where the last part ended
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ComposeVerb {
    /// Print the canonical model of a project, as YAML or (`--format json`) as JSON
    Config(Model),
    /// Say what `up` would refuse and which rules of a stage the files break; exits 1 for a denied
    /// one
    Check(ModelCheck),
}

#[derive(Debug, Args)]
pub(super) struct Model {
    #[command(flatten)]
    pub files: Files,
}

#[derive(Debug, Args)]
pub(super) struct ModelCheck {
    #[command(flatten)]
    pub files: Files,
    /// The stage whose rules count
    #[arg(long, value_enum, default_value_t = StageWord::Production)]
    pub stage: StageWord,
    /// An agent's configuration, for what it does about broken rules; its defaults otherwise
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Say everything that is wrong with a configuration file
    Check {
        /// The file
        file: PathBuf,
    },
    /// List every key with its default and what it does
    Keys,
}

#[derive(Debug, Args)]
pub(super) struct Agent {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}
