//! Examines agent, engine and host, and says how to mend what is wrong. Owns the list of checks.
//! Face: `examine`. Never changes anything, and works without an agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::client::Client;
use super::exit::{CliError, Exit};
use super::output::Output;
use crate::api::wire::AgentView;
use crate::base::limits::ENGINE_CONNECT_TIMEOUT;
use crate::base::time::between;
use crate::base::{Clock as _, Timestamp};
use crate::world::clock::SystemClock;
use crate::world::host;

/// Less free space than this is a fault: a database that cannot write stops everything.
const DISK_FREE_MIN_BYTES: u64 = 256 << 20;
/// Client and agent share a machine, so their clocks differ only when one was stopped or changed.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);
/// The oldest engine API that the agent is tested with (Engine 20.10).
const ENGINE_API_MIN: (u32, u32) = (1, 41);

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Fault,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

fn ok(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, state: State::Ok, found: found.into(), mend: None }
}

fn warning(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { check, state: State::Warning, found: found.into(), mend: Some(mend.into()) }
}

fn fault(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { check, state: State::Fault, found: found.into(), mend: Some(mend.into()) }
}

/// `wharf doctor`: exits 0 when nothing is at fault.
pub(super) async fn examine(socket: &Path, output: &mut Output) -> Result<Exit, CliError> {
    let mut findings = vec![examine_socket(socket)];
    let agent = Client::new(socket)?.get_any::<AgentView>("/v1/agent").await;
    let engine_address = match &agent {
        Ok(agent) => {
            findings.extend(examine_agent(agent));
            agent.engine_address.clone()
        }
        Err(error) => {
            let mend = error.hint.clone().unwrap_or_default();
            findings.push(fault("agent", error.message.clone(), mend));
            host_engine()
        }
    };
    findings.push(examine_engine(&engine_address).await);
    findings.extend(examine_host());
    report(&findings, output)
}

fn report(findings: &[Finding], output: &mut Output) -> Result<Exit, CliError> {
    let is_faulty = findings.iter().any(|finding| finding.state == State::Fault);
    let exit = if is_faulty { Exit::Failed } else { Exit::Success };
    if output.is_json() {
        output.json(&serde_json::json!({ "is_healthy": !is_faulty, "checks": findings }))?;
        return Ok(exit);
    }
    for finding in findings {
        let mark = match finding.state {
            State::Ok => "ok",
            State::Warning => "WARNING",
            State::Fault => "FAULT",
        };
        output.line(format!("{mark:<8}{:<9}{}", finding.check, finding.found))?;
        if let Some(mend) = &finding.mend {
            output.line(format!("{:17}help: {mend}", ""))?;
        }
    }
    Ok(exit)
}

fn examine_socket(socket: &Path) -> Finding {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
    let shown = socket.display();
    let metadata = match std::fs::metadata(socket) {
        Ok(metadata) => metadata,
        Err(error) => {
            return fault(
                "socket",
                format!("{shown}: {error}"),
                "start the agent, or name its socket with --socket or WHARF_SOCKET",
            );
        }
    };
    if !metadata.file_type().is_socket() {
        return fault("socket", format!("{shown} is no socket"), "move the file away");
    }
    let mode = metadata.permissions().mode() & 0o777;
    let owner = host::user_by_uid(metadata.uid()).name;
    let found = format!("{shown}, mode {mode:04o}, owner {owner}, group {}", metadata.gid());
    if mode & 0o007 != 0 {
        let mend = "set `socket.mode: 0660`; others are refused anyway";
        return warning("socket", format!("{found}: others may connect"), mend);
    }
    ok("socket", found)
}

fn examine_agent(agent: &AgentView) -> Vec<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let mut findings = vec![if agent.version == own {
        ok("agent", format!("version {}, state in {}", agent.version, agent.state_dir))
    } else {
        warning(
            "agent",
            format!("version {}; this client is {own}", agent.version),
            "restart the agent after an upgrade",
        )
    }];
    findings.push(if agent.store == "ok" {
        ok("database", "answers and takes writes")
    } else {
        fault(
            "database",
            agent.store.clone(),
            "free space and check the permissions of the state folder; the agent goes on by itself",
        )
    });
    findings.push(examine_clock(agent.now, SystemClock.now()));
    let state_dir = PathBuf::from(&agent.state_dir);
    findings.push(examine_disk(&state_dir, agent.state_dir_available_bytes));
    findings
}

fn examine_clock(agent: Timestamp, own: Timestamp) -> Finding {
    let skew = between(agent, own).max(between(own, agent));
    if skew > CLOCK_SKEW_MAX {
        let found = format!("the agent's clock differs by {}s", skew.as_secs());
        return fault("clock", found, "let one time service set the clock of this host");
    }
    ok("clock", format!("{own:.0}"))
}

fn examine_disk(state_dir: &Path, available_bytes: Option<u64>) -> Finding {
    let shown = state_dir.display();
    match available_bytes {
        None => warning("disk", format!("{shown}: free space unknown"), "look with df(1)"),
        Some(bytes) if bytes < DISK_FREE_MIN_BYTES => fault(
            "disk",
            format!("{} MiB are free for {shown}", bytes >> 20),
            "free space on that file system",
        ),
        Some(bytes) => ok("disk", format!("{} MiB are free for {shown}", bytes >> 20)),
    }
}

/// Where an agent on this host would look for the engine.
fn host_engine() -> String {
    let chosen = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    chosen.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

async fn examine_engine(address: &str) -> Finding {
    let Some(path) = address.strip_prefix("unix://") else {
        let mend = "the agent talks to an engine on its own host: `unix:///PATH`";
        return fault("engine", format!("{address} is no Unix socket"), mend);
    };
    let mend = "start the Docker Engine, or set `engine.address` in the agent's configuration";
    match ask_engine(Path::new(path)).await {
        Err(error) => fault("engine", format!("{address}: {error}"), mend),
        Ok(version) => {
            let text = |key: &str| version[key].as_str().unwrap_or("unknown").to_owned();
            let (engine, api) = (text("Version"), text("ApiVersion"));
            let found = format!("{address}, version {engine}, API {api}");
            match api_version(&api) {
                Some(version) if version < ENGINE_API_MIN => {
                    fault("engine", found, "upgrade the Docker Engine to 20.10 or later")
                }
                _ => ok("engine", found),
            }
        }
    }
}

fn api_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

async fn ask_engine(socket: &Path) -> Result<Value, String> {
    // The library's error names neither the socket nor the reason.
    tokio::net::UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let http = reqwest::Client::builder()
        .unix_socket(socket)
        .no_proxy()
        .timeout(ENGINE_CONNECT_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let answer = http.get("http://engine/version").send().await;
    let answer = answer.map_err(|error| error.to_string())?;
    answer.json().await.map_err(|error| error.to_string())
}

fn examine_host() -> Vec<Finding> {
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy().into_owned();
    let cgroup = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        ok("cgroup", "version 2")
    } else if Path::new("/sys/fs/cgroup/memory").exists() {
        warning(
            "cgroup",
            "version 1",
            "boot with `systemd.unified_cgroup_hierarchy=1`; v1 is ending",
        )
    } else {
        fault(
            "cgroup",
            "not mounted",
            "mount cgroup2 on /sys/fs/cgroup: limits cannot work without",
        )
    };
    vec![ok("kernel", kernel), cgroup]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_a_fault() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-21T08:00:09Z".parse().unwrap();
        assert_eq!(examine_clock(now, now).state, State::Ok);
        assert_eq!(examine_clock(now, later).state, State::Fault);
        assert_eq!(examine_clock(later, now).state, State::Fault);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(api_version("1.9") < Some(ENGINE_API_MIN));
        assert!(api_version("1.41") >= Some(ENGINE_API_MIN));
        assert_eq!(api_version("unknown"), None);
    }

    #[tokio::test]
    async fn a_missing_engine_is_named() {
        let found = examine_engine("unix:///nonexistent/engine.sock").await;
        assert_eq!(found.state, State::Fault);
        assert!(found.found.contains("/nonexistent/engine.sock"), "{}", found.found);
    }
}
