//! The agent as a process: configuration, wiring, signals, service manager, start, drain, exit. Owns
//! the order in which things start and stop. Face: `config`, `run`. Never decides anything about a
//! project.

mod agent;
pub mod config;
mod counted_records;
mod counted_store;
mod error;
mod logs;
mod news;
pub mod planted;
mod records;
mod service;
mod state_dir;
pub mod transfers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::api::{self, Routes, tls};
use crate::base::limits::{BLOCKING_THREADS_MAX, TASKS_STOP_TIMEOUT};
use crate::base::{Diagnostics, chain};
use crate::operations::Runner;
use crate::store::{Store, StoreError};
use crate::watchers::{glass, policies};
use crate::world::docker::SharedEngine;
use crate::world::tasks::TaskHandle;

pub use error::RunError;

use agent::Agent;
use config::Config;
use logs::Logs;

/// Threads that run tasks; the agent waits much and computes little.
const WORKER_THREADS: usize = 2;
/// How often the engine is asked for until it answers first.
const ENGINE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// When build contexts that nothing needs are looked for first: a start has more urgent work.
const COLLECT_DELAY: Duration = Duration::from_secs(60);
/// How often from then on.
const COLLECT_INTERVAL: Duration = Duration::from_secs(3600);
/// A younger build context may belong to a request that is under way.
const CONTEXT_AGE_MIN: Duration = Duration::from_secs(24 * 3600);

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Invalid(Diagnostics),
}

/// Reads a configuration file. `docker_host` is the environment's `DOCKER_HOST`.
///
/// # Errors
/// When the file cannot be read or is wrong.
pub fn read_config(file: &Path, docker_host: Option<&str>) -> Result<Config, ReadConfigError> {
    let failed = |source| ReadConfigError::File { path: file.to_owned(), source };
    let text = std::fs::read_to_string(file).map_err(failed)?;
    config::read(&file.to_string_lossy(), &text, docker_host).map_err(ReadConfigError::Invalid)
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When it cannot start, or when a part of it that must live ended.
pub fn run(file: &Path, config: Config) -> Result<(), RunError> {
    let logs = Logs::start(config.log_format, config.log_level).map_err(RunError::Log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|source| RunError::System { act: "start threads", source })?;
    let result = runtime.block_on(live(file, config, &logs));
    runtime.shutdown_timeout(TASKS_STOP_TIMEOUT);
    result
}

/// Starts, serves, drains.
async fn live(file: &Path, config: Config, logs: &Logs) -> Result<(), RunError> {
    let mut signals = Signals::listen()?;
    let routes = routes_meanwhile()?;
    let (mut agent, listener) = Agent::assemble(&config).await?;
    let routes = routes.await.map_err(|_| RunError::TaskEnded("routes"))?;
    // Workers of hosted runs outlive an agent: what they have to tell waits for nothing else.
    let mut doors = agent.spawn("api", api::serve(listener, routes, agent.api.clone()));
    let keys = serve_elsewhere(&config, &agent).await?;
    let recovered = agent.runner.start().await.map_err(RunError::Store)?;
    records::started(&*agent.store, &agent.ambient).await.map_err(RunError::Store)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %config.socket.path.display(),
        engine = config.engine_address,
        ?recovered,
        "agent started"
    );
    let mut runner = agent.spawn("runner", Arc::clone(&agent.runner).serve());
    if let Err(error) = agent.api.runbooks.look_after_waiting().await {
        tracing::warn!(error = %chain(&error), "runbooks that wait for runs wake later");
    }
    if let Some(news) = agent.news.take() {
        let (runner, schedules) = (Arc::clone(&agent.runner), agent.api.schedules.clone());
        let alerts = agent.api.alerts.changed();
        agent.spawn_until_stop("news", news::look_again(runner, schedules, alerts, news));
    }
    agent.spawn_until_stop("readiness", announce_readiness(Arc::clone(&agent.engine)));
    if let Some(convergence) = agent.convergence.take() {
        agent.spawn("convergence", convergence.watch(agent.supervisor.stop_token()));
    }
    if let Some(healer) = agent.healer.take() {
        agent.spawn("health", healer.watch(agent.supervisor.stop_token()));
    }
    if let Some(scheduler) = agent.scheduler.take() {
        agent.spawn("schedules", scheduler.watch(agent.supervisor.stop_token()));
    }
    if let Some(deliveries) = agent.deliveries.take() {
        agent.spawn("alerts", deliveries.watch(agent.supervisor.stop_token()));
    }
    if let Some(sealing) = agent.sealing.take() {
        agent.spawn("audit", sealing.watch(agent.supervisor.stop_token()));
    }
    agent.spawn_until_stop("hosted", agent.api.hosted.clone().keep());
    agent.spawn_until_stop("broken glass", glass::watch(agent.api.access.clone()));
    agent.spawn_until_stop("policies", policies::watch(agent.policies.clone()));
    agent.spawn_until_stop("housekeeping", housekeep(agent.api.clone()));
    if let Some(interval) = service::watchdog_interval() {
        agent.spawn_until_stop(
            "watchdog",
            feed_watchdog(Arc::clone(&agent.store), Arc::clone(&agent.runner), interval),
        );
    }
    let mut config = config;
    let ended = loop {
        match signals.next(&mut runner, &mut doors).await {
            Heard::Stop => break Ok(()),
            Heard::Reload => {
                reload(file, &mut config, &agent, logs).await;
                reload_certificates(keys.as_ref());
                service::ready("serving");
            }
            Heard::Ended(task) => break Err(RunError::TaskEnded(task)),
        }
    };
    stop(&agent, config.shutdown_deadline, signals).await;
    ended
}

/// Puts the routes together while the store is opened.
fn routes_meanwhile() -> Result<oneshot::Receiver<Routes>, RunError> {
    let (sender, routes) = oneshot::channel();
    let thread = std::thread::Builder::new().name("routes".to_owned());
    let started = thread.spawn(move || sender.send(Routes::new()));
    started.map_err(|source| RunError::System { act: "start a thread", source })?;
    Ok(routes)
}

/// Admission closes, runs reach a safe step, the log is written out. A second signal ends at once.
async fn stop(agent: &Agent, deadline: Duration, mut signals: Signals) {
    service::stopping();
    tracing::info!("agent stops");
    let in_order = async {
        agent.runner.drain(deadline).await;
        let stopped = records::stopped(&*agent.store, &agent.ambient, agent.api.about.started_at);
        if let Err(error) = stopped.await {
            tracing::error!(error = %chain(&error), "the stop could not be recorded");
        }
        let aborted = agent.supervisor.shut_down(TASKS_STOP_TIMEOUT).await;
        if aborted > 0 {
            tracing::warn!(aborted, "tasks did not stop in time");
        }
        if let Err(error) = agent.store.close().await {
            tracing::error!(error = %chain(&error), "the store could not be closed");
        }
    };
    tokio::select! {
        () = in_order => tracing::info!("agent stopped"),
        () = signals.stop_again() => tracing::warn!("told twice to stop: ends at once"),
    }
}

async fn reload(file: &Path, config: &mut Config, agent: &Agent, logs: &Logs) {
    service::reloading();
    let docker_host = std::env::var("DOCKER_HOST").ok();
    let recorded = match read_config(file, docker_host.as_deref()) {
        Ok(new) => {
            let changes = config::changes(config, &new);
            logs.set_level(new.log_level);
            agent.contexts.set_bytes_max(new.contexts_bytes_max);
            agent.api.projects.set_host_paths(agent::host_path_policy(&new));
            agent.api.projects.policies().set_rules(new.rules.clone());
            agent.policies.load(new.policies.clone()).await;
            agent.convergence_options.send_replace(agent::convergence_options(&new));
            tracing::info!(
                applied = changes.applied.join(","),
                needs_restart = changes.needs_restart.join(","),
                "configuration read again"
            );
            *config = new;
            records::reloaded(&*agent.store, &agent.ambient, &changes).await
        }
        Err(error) => {
            let reason = chain(&error);
            tracing::error!(error = reason, "configuration not read again; the old one stays");
            records::reload_failed(&*agent.store, &agent.ambient, &reason).await
        }
    };
    if let Err(error) = recorded {
        tracing::error!(error = %chain(&error), "the reload could not be recorded");
    }
}

/// Opens the door for clients from elsewhere, when there is to be one.
async fn serve_elsewhere(config: &Config, agent: &Agent) -> Result<Option<tls::Keys>, RunError> {
    let Some(options) = &config.tcp else { return Ok(None) };
    let door = tls::bind(options).await.map_err(RunError::Tcp)?;
    let keys = door.keys().cloned();
    let address = door.address().unwrap_or(options.address);
    tracing::info!(%address, is_plain = keys.is_none(), "listens for clients from elsewhere");
    let (spawn, stop) = (Arc::new(agent.supervisor.clone()), agent.supervisor.stop_token());
    agent.spawn("api elsewhere", tls::serve(door, api::router(agent.api.clone()), spawn, stop));
    Ok(keys)
}

/// Certificates are renewed under the same name.
fn reload_certificates(keys: Option<&tls::Keys>) {
    match keys.map(tls::Keys::reload) {
        None => {}
        Some(Ok(())) => tracing::info!("certificates read again"),
        Some(Err(error)) => {
            tracing::error!(error = %chain(&error), "certificates not read again; the old ones stay");
        }
    }
}

/// Tells the service manager that the agent is ready, as soon as the engine answers. The agent
/// serves before: it says what is wrong, and runs wait.
async fn announce_readiness(engine: SharedEngine) {
    let mut was_told = false;
    loop {
        match engine.ping().await {
            Ok(()) => break,
            Err(error) if !was_told => {
                tracing::warn!(%error, hint = error.hint(), "the engine does not answer yet");
                service::status(&format!("waiting for the Docker Engine: {error}"));
                was_told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(ENGINE_RETRY_INTERVAL).await;
    }
    tracing::info!("agent ready");
    service::ready("serving");
}

/// Feeds the watchdog while the database takes writes and the runner looks for work: without one of
/// them nothing else makes progress.
async fn feed_watchdog(store: Arc<dyn Store>, runner: Arc<Runner>, interval: Duration) {
    let proof = async || {
        store.check().await?;
        runner.turn().await;
        Ok::<_, StoreError>(())
    };
    loop {
        match tokio::time::timeout(interval, proof()).await {
            Ok(Ok(())) => service::alive(),
            Ok(Err(error)) => tracing::error!(error = %chain(&error), "no sign of life given"),
            Err(_) => tracing::error!("no sign of life given: store or runner stands still"),
        }
        tokio::time::sleep(interval).await;
    }
}

/// Removes build contexts that no stored bundle names.
#[expect(clippy::disallowed_methods, reason = "compared with the kernel's stamps on files")]
async fn housekeep(api: api::Api) {
    tokio::time::sleep(COLLECT_DELAY).await;
    loop {
        let before = SystemTime::now() - CONTEXT_AGE_MIN;
        match api::collect_contexts(&api, before).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "build contexts removed"),
            Err(problem) => tracing::warn!(detail = problem.detail, "build contexts not looked at"),
        }
        tokio::time::sleep(COLLECT_INTERVAL).await;
    }
}

/// What the main loop hears.
enum Heard {
    Stop,
    Reload,
    Ended(&'static str),
}

/// The signals that the agent obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, RunError> {
        let listen = |kind| {
            signal(kind).map_err(|source| RunError::System { act: "listen for signals", source })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self, runner: &mut TaskHandle, doors: &mut TaskHandle) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.hang_up.recv() => Heard::Reload,
            _ = runner => Heard::Ended("runner"),
            _ = doors => Heard::Ended("API"),
        }
    }

    async fn stop_again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
