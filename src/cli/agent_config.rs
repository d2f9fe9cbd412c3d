//! The verbs around the agent's own process: `agent`, `config check`, `config keys`. Owns their
//! text. Face: `run_agent`, `config`. Never starts anything for a check.

use std::path::Path;

use super::exit::{CliError, Exit};
use super::grammar::ConfigVerb;
use super::output::{Output, Table};
use crate::base::{Diagnostic, Diagnostics, chain};
use crate::daemon::{self, config};

/// `wharf agent --config FILE`.
pub(super) fn run_agent(file: &Path) -> Result<Exit, CliError> {
    let config = read(file)?;
    daemon::run(file, config).map_err(|error| {
        let exit = if error.is_configuration() { Exit::Configuration } else { Exit::Unavailable };
        let failed = CliError::new(exit, format!("the agent cannot run: {}", chain(&error)));
        match error.hint() {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    })?;
    Ok(Exit::Success)
}

/// `wharf config …`.
pub(super) fn config(verb: ConfigVerb, output: &mut Output) -> Result<Exit, CliError> {
    match verb {
        ConfigVerb::Check { file } => check(&file, output),
        ConfigVerb::Keys => keys(output),
    }
}

fn check(file: &Path, output: &mut Output) -> Result<Exit, CliError> {
    let config = read(file)?;
    if output.is_json() {
        output.json(&serde_json::json!({ "is_valid": true, "values": config.values() }))?;
        return Ok(Exit::Success);
    }
    output.line(format!("{}: valid", file.display()))?;
    let mut table = Table::new(&["KEY", "VALUE IN EFFECT"]);
    for (key, value) in config.values() {
        table.row([key.to_owned(), if value.is_empty() { "-".to_owned() } else { value }]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

fn keys(output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        let keys: Vec<_> = config::KEYS
            .iter()
            .map(|key| {
                serde_json::json!({
                    "path": key.path,
                    "kind": key.kind,
                    "default": key.default,
                    "takes_effect_at": key.reload.words(),
                    "doc": key.doc,
                })
            })
            .collect();
        output.json(&serde_json::json!({ "items": keys }))?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["KEY", "DEFAULT", "EFFECT AT", "WHAT IT DOES"]);
    for key in config::KEYS {
        let default = key.default.replace('`', "");
        table.row([
            key.path.to_owned(),
            default,
            key.reload.words().to_owned(),
            key.doc.to_owned(),
        ]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

/// Reads the configuration of an agent.
pub(super) fn read(file: &Path) -> Result<config::Config, CliError> {
    let docker_host = std::env::var("DOCKER_HOST").ok();
    daemon::read_config(file, docker_host.as_deref()).map_err(|problem| match problem {
        daemon::ReadConfigError::File { source, .. } => CliError::new(
            if source.kind() == std::io::ErrorKind::NotFound {
                Exit::NotFound
            } else {
                Exit::SystemFile
            },
            format!("cannot read {}: {source}", file.display()),
        ),
        daemon::ReadConfigError::Invalid(Diagnostics(found)) => wrong(file, found),
    })
}

fn wrong(file: &Path, found: Vec<Diagnostic>) -> CliError {
    let message = format!("the configuration {} is wrong", file.display());
    CliError::diagnostics(Exit::Configuration, message, found)
        .hint("`wharf config keys` lists every key")
}
