//! The command line: words for people. Owns verbs, output and exit codes. Face: `run`. Never decides
//! what a project means (that is the domain's) or what happens to it (that is the agent's).

mod access;
mod agent_config;
mod alerts;
mod audit;
mod client;
mod compose;

mod doctor;
mod exec;
mod exit;
mod follow;
mod grammar;
mod images;
mod instances;
mod output;
mod policies;
mod policy_check;
mod policy_report;
pub mod project_files;
mod projects;
mod queue;
mod records;
mod registries;
mod runbooks;
mod sarif;
mod schedules;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod tunnel;

use std::ffi::OsString;
use std::future::Future;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::base::Secret;
use crate::base::limits::TOKEN_FILE_BYTES_MAX;

pub use exit::{CliError, Exit};

use client::{Client, Place};
use grammar::{AuditVerb, Cli, ComposeVerb, Format, Global, PolicyVerb, StoreVerb, Verb};
use output::Output;
use tunnel::Elsewhere;

/// Runs `wharf` with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(explain(&error).code()),
    };
    let mut output = Output::process(cli.global.format);
    let exit = dispatch(cli, &mut output).unwrap_or_else(|error| output.fail(&error));
    ExitCode::from(exit.code())
}

/// Prints help, version, or what is wrong with the command line.
fn explain(error: &clap::Error) -> Exit {
    // A closed pipe is no fault of the command line.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Success }
}

fn dispatch(cli: Cli, output: &mut Output) -> Result<Exit, CliError> {
    let Cli { global, verb } = cli;
    let reads_compose_files = matches!(
        verb,
        Verb::Compose(_) | Verb::Up(_) | Verb::Plan(_) | Verb::Policy(PolicyVerb::Check(_))
    );
    if global.format == Format::Sarif && !reads_compose_files {
        let message = "`--format sarif` is for verbs that read compose files";
        let hint = "use it with `compose check`, `compose config`, `policy check`, `plan` or `up`";
        return Err(CliError::new(Exit::Usage, message).hint(hint));
    }
    match verb {
        Verb::Agent(agent) => agent_config::run_agent(&agent.config),
        Verb::Config(verb) => agent_config::config(verb, output),
        Verb::Compose(ComposeVerb::Config(model)) => compose::print_model(&model.files, output),
        Verb::Compose(ComposeVerb::Check(check)) => {
            compose::check(&check.files, check.stage.stage(), check.config.as_deref(), output)
        }
        Verb::Store(verb) if !asks_agent(&verb) => store::offline(verb, output),
        Verb::Audit(AuditVerb::Verify(verify)) if verify.file.is_some() => {
            let file = verify.file.clone().unwrap_or_default();
            audit::offline(&verify, &file, output)
        }
        Verb::Runbook(grammar::RunbookVerb::Validate { file }) => runbooks::validate(&file, output),
        Verb::Policy(verb) if !policies::asks_agent(&verb) => {
            policies::policies(verb, global.tenant.as_deref(), output)
        }
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wharf", &mut script);
            output.text(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Success)
        }
        verb => block_on(ask_agent(verb, &global, output)),
    }
}

/// Whether the agent that runs takes the backup.
fn asks_agent(verb: &StoreVerb) -> bool {
    matches!(verb, StoreVerb::Backup(backup) if backup.config.is_none())
}

async fn ask_agent(verb: Verb, global: &Global, output: &mut Output) -> Result<Exit, CliError> {
    if let Verb::Doctor = verb {
        return doctor::examine(&global.socket, output).await;
    }
    let client = match &global.host {
        Some(host) => {
            let (ca, certificate) = (global.ca.clone(), global.certificate.clone());
            Client::elsewhere(&Elsewhere { host: host.clone(), ca, certificate }).await?
        }
        None => Client::new(&global.socket)?,
    };
    let client = client.with(place(global)?);
    match verb {
        Verb::Up(up) => projects::up(&client, up, output).await,
        Verb::Plan(plan) => projects::plan(&client, plan, output).await,
        Verb::Down(down) => projects::down(&client, down, output).await,
        Verb::Ps(named) => projects::ps(&client, &named.files, output).await,
        Verb::Instances(words) => instances::instances(&client, words, output).await,
        Verb::Logs(logs) => projects::logs(&client, logs, output).await,
        Verb::Exec(words) => exec::exec(&client, words).await,
        Verb::Restart(restart) => projects::restart(&client, restart, output).await,
        Verb::Pull(words) => images::pull(&client, words, output).await,
        Verb::Build(words) => images::build(&client, words, output).await,
        Verb::Images(words) => images::images(&client, words, output).await,
        Verb::Pause(named) => projects::keep(&client, &named.files, "pause", output).await,
        Verb::Resume(named) => projects::keep(&client, &named.files, "resume", output).await,
        Verb::Run(verb) => records::runs(&client, verb, output).await,
        Verb::Runbook(verb) => runbooks::runbooks(&client, verb, output).await,
        Verb::Schedule(verb) => schedules::schedules(&client, verb, output).await,
        Verb::Alert(verb) => alerts::alerts(&client, verb, output).await,
        Verb::Registry(verb) => registries::registries(&client, verb, output).await,
        Verb::Queue(verb) => queue::queue(&client, verb, output).await,
        Verb::Store(StoreVerb::Backup(backup)) => store::backup(&client, backup, output).await,
        Verb::Access(verb) => access::access(&client, verb, output).await,
        Verb::Policy(verb) => policies::with_agent(&client, verb, output).await,
        Verb::Audit(verb) => audit::with_agent(&client, verb, output).await,
        // Handled before: they need no agent.
        Verb::Doctor
        | Verb::Agent(_)
        | Verb::Config(_)
        | Verb::Compose(_)
        | Verb::Store(_)
        | Verb::Completions { .. } => Ok(Exit::Success),
    }
}

/// Where the agent acts for the command, and who asks.
fn place(global: &Global) -> Result<Place, CliError> {
    let token = match (&global.token_file, &global.token) {
        (Some(path), _) => Some(read_token(path)?),
        (None, token) => token.clone().filter(|text| !text.is_empty()).map(Secret::new),
    };
    let (workspace, tenant) = (global.workspace.clone(), global.tenant.clone());
    Ok(Place { workspace, tenant, token })
}

fn read_token(path: &Path) -> Result<Secret<String>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Exit::SystemFile, format!("cannot read {}: {error}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// Runs a client's future on this thread: a client waits, it does not compute.
fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Internal, format!("cannot start: {error}")))?;
    let result = runtime.block_on(future);
    // A read of standard input or a name lookup must not keep a finished command alive.
    runtime.shutdown_background();
    result
}
