//! The verbs of registries: `registry …`. Owns their text, and how a password is asked for. Face:
//! `registries`. Never prints a password, and never takes one from the command line, where other users
//! of the machine could read it.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use super::client::{Client, encode};
use super::exit::{CliError, Exit};
use super::grammar::{RegistryLogin, RegistryVerb};
use super::output::{Output, Table, ago};
use crate::api::wire::{Page, RegistryLoginPut, RegistryLoginView};
use crate::base::Clock as _;
use crate::base::limits::REGISTRY_PASSWORD_BYTES_MAX;
use crate::world::clock::SystemClock;
use crate::world::terminal::Hushed;

/// `wharf registry …`.
pub(super) async fn registries(
    client: &Client,
    verb: RegistryVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        RegistryVerb::Ls => list(client, output).await,
        RegistryVerb::Login(login) => log_in(client, login, output).await,
        RegistryVerb::Logout { registry } => {
            client.delete(&format!("/v1/registries/{}", encode(&registry))).await?;
            if output.is_json() {
                output.json(&serde_json::json!({ "removed": registry }))?;
            } else {
                output.line(format!("logged out of {registry}"))?;
            }
            Ok(Exit::Success)
        }
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let page: Page<RegistryLoginView> = client.get("/v1/registries").await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["REGISTRY", "USER", "SINCE"]);
    for login in &page.items {
        let since = ago(Some(login.updated_at), now);
        table.row([login.registry.clone(), login.username.clone(), since]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

async fn log_in(
    client: &Client,
    login: RegistryLogin,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let password = password(&login)?;
    let put = RegistryLoginPut { username: login.username, password };
    let path = format!("/v1/registries/{}", encode(&login.registry));
    let view: RegistryLoginView = client.replace(&path, &put).await?;
    if output.is_json() {
        output.json(&view)?;
    } else {
        output.line(format!("logged in to {} as {}", view.registry, view.username))?;
    }
    Ok(Exit::Success)
}

/// From the file that was named, else from a prompt, else from standard input.
fn password(login: &RegistryLogin) -> Result<String, CliError> {
    let text = match &login.password_file {
        Some(file) => {
            let opened = std::fs::File::open(file);
            read(opened.map_err(|error| unreadable(&file.display().to_string(), &error))?, file)?
        }
        None if std::io::stdin().is_terminal() => prompt(&login.registry, &login.username)?,
        None => read(std::io::stdin().lock(), Path::new("standard input"))?,
    };
    let password = text.trim_end_matches(['\r', '\n']).to_owned();
    match password.is_empty() {
        true => Err(CliError::new(Exit::Usage, "no password was given")
            .hint("write it to standard input, or name a file with --password-file")),
        false => Ok(password),
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> CliError {
    CliError::new(Exit::SystemFile, format!("cannot read {name}: {error}"))
}

/// A little more than a password may have, so that one that is too long is refused and not cut.
fn read(from: impl std::io::Read, name: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let limit = REGISTRY_PASSWORD_BYTES_MAX as u64 + 3;
    let taken = from.take(limit).read_to_string(&mut text);
    taken.map_err(|error| unreadable(&name.display().to_string(), &error))?;
    Ok(text)
}

fn prompt(host: &str, username: &str) -> Result<String, CliError> {
    let failed = |error: std::io::Error| unreadable("the terminal", &error);
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "Password of {username} at {host}: ").map_err(failed)?;
    terminal.flush().map_err(failed)?;
    let _hushed = Hushed::stdin().map_err(failed)?;
    let mut line = String::new();
    let limit = REGISTRY_PASSWORD_BYTES_MAX as u64 + 3;
    let mut typed = std::io::BufReader::new(std::io::stdin().lock().take(limit));
    std::io::BufRead::read_line(&mut typed, &mut line).map_err(failed)?;
    writeln!(terminal).map_err(failed)?;
    Ok(line)
}
