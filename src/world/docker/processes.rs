//! Reads what runs inside a container. Owns the translation of the engine's list of processes. Face:
//! `processes`. Never takes silence for absence: where the engine cannot list them, it says so.

use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::ContainerTopResponse;
use bollard::query_parameters::TopOptions;

use super::EngineError;
use super::failure::absent;
use super::request::segment;
use super::session::{Connection, Session};
use crate::base::limits::{ENGINE_CALL_TIMEOUT, PROCESSES_MAX};

/// What `ps` prints: the engine wants a column of numbers to tell whose a process is.
const COLUMNS: &str = "-eo pid,args";

/// The commands of its processes; none when it is gone or does not run.
pub(super) async fn processes(
    connection: &Connection,
    id: &str,
) -> Result<Option<Vec<String>>, EngineError> {
    let attempt = "list the processes of a container";
    let id = segment(attempt, id)?;
    let call = |session: Arc<Session>| async move {
        let options = TopOptions { ps_args: COLUMNS.to_owned() };
        match session.docker.top_processes(id, Some(options)).await {
            // It ended since somebody saw it run.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(None),
            answer => absent(answer),
        }
    };
    let report = connection.once(attempt, ENGINE_CALL_TIMEOUT, call).await?;
    Ok(report.map(translate))
}

/// The last column is the command with its arguments.
fn translate(report: ContainerTopResponse) -> Vec<String> {
    let rows = report.processes.unwrap_or_default().into_iter().take(PROCESSES_MAX);
    rows.filter_map(|mut row| row.pop()).filter(|command| !command.is_empty()).collect()
}
