//! Lets somebody execute a command in a container of a project: a session, not a run. Owns its audit
//! events, its limits and how it ends. Face: `Exec`, `ExecSpec`, `Session`. Never records a command's
//! arguments or what it reads and writes: they may hold secrets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Within;
use super::projects::Asker;
use crate::base::Ambient;
use crate::base::ids::{EventId, TenantId};
use crate::base::limits::{
    EXEC_ENVIRONMENT_MAX, EXEC_IDLE_MAX, EXEC_PARTS_MAX, EXEC_SESSIONS_MAX, EXEC_WORDS_BYTES_MAX,
};
use crate::domain::audit::{AuditEvent, AuditEvents, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::facts::{ContainerFacts, ContainerState, Instance};
use crate::store::{Store, StoreError};
use crate::world::docker::{Engine, EngineError, ExecOutput, ExecSession, NewExec, SharedEngine};
use crate::world::tasks::Spawn;

/// How often a session is looked at, whether anything passed through it.
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// How often, and how many times, the engine is asked what a command ended with whose output is over.
const EXIT_LOOK: Duration = Duration::from_millis(50);
const EXIT_LOOKS_MAX: u32 = 40;
/// How often a terminal is given its first size.
const SIZE_TRIES_MAX: u32 = 20;
/// Characters of a command's name that are recorded.
const NAME_CHARS_MAX: usize = 80;

/// What is to be executed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// As whom, instead of the container's user.
    pub user: Option<String>,
    /// In which folder, instead of the container's.
    pub working_dir: Option<String>,
    /// Variables beside the container's.
    pub environment: BTreeMap<String, String>,
    /// With a terminal of this many columns and rows.
    pub terminal: Option<(u16, u16)>,
}

/// What goes into a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Bytes for the command's standard input.
    Input(Bytes),
    /// Nothing more comes there.
    InputEnds,
    /// The terminal has another size: columns and rows.
    Resized(u16, u16),
    /// The client is gone.
    Left,
}

/// What comes out of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What the command writes.
    Output(ExecOutput),
    /// It ended with this code: the last that is heard.
    Ended(i64),
    /// The session broke off: the last that is heard.
    Broke(SessionEnd),
}

/// Why a session ends before its command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    /// Nothing passed through it for long.
    #[error("nothing was read or written for {} minutes", EXEC_IDLE_MAX.as_secs() / 60)]
    Idle,
    /// The client left.
    #[error("the client left; the command may go on in the container")]
    Left,
    /// The agent stops.
    #[error("the agent stops; the command may go on in the container")]
    Stopped,
    /// The engine did not answer, or refuses.
    #[error(transparent)]
    Engine(EngineError),
}

/// A session from outside. Dropping it ends it; the command may go on.
#[derive(Debug)]
pub struct Session {
    /// What the client says.
    pub told: mpsc::Sender<Told>,
    /// What it hears.
    pub heard: mpsc::Receiver<Heard>,
}

/// Why nothing is executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// What is asked for is no command.
    #[error("{0}")]
    Invalid(&'static str),
    /// No such container is there.
    #[error("project {project} has no container {number} of service {service}")]
    Unknown {
        /// The project.
        project: String,
        /// The service.
        service: String,
        /// Its number.
        number: u32,
    },
    /// It does not run.
    #[error("container {name} does not run: it is {state}")]
    NotRunning {
        /// Its name.
        name: String,
        /// How it is.
        state: String,
    },
    /// Too many are executed.
    #[error("{EXEC_SESSIONS_MAX} commands are being executed already")]
    TooMany,
    /// The engine refuses.
    #[error(transparent)]
    Engine(EngineError),
    /// It could not be recorded, so that nothing was executed.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// Executes commands. Cheap to clone.
#[derive(Clone)]
pub struct Exec {
    store: Arc<dyn Store>,
    engine: SharedEngine,
    ambient: Ambient,
    spawn: Arc<dyn Spawn>,
    stop: CancellationToken,
    slots: Arc<Semaphore>,
    within: Within,
}

impl Exec {
    /// On this engine; sessions end when `stop` says so.
    pub fn new(
        store: Arc<dyn Store>,
        engine: SharedEngine,
        ambient: Ambient,
        spawn: Arc<dyn Spawn>,
        stop: CancellationToken,
    ) -> Self {
        let within = Within::host(store.scope());
        let slots = Arc::new(Semaphore::new(EXEC_SESSIONS_MAX));
        Self { store, engine, ambient, spawn, stop, slots, within }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// How many sessions are open.
    pub fn open(&self) -> usize {
        EXEC_SESSIONS_MAX.saturating_sub(self.slots.available_permits())
    }

    /// Executes a command in one of a project's containers. It is recorded before it begins, and when
    /// it has ended.
    ///
    /// # Errors
    /// When the command is none, there is no such container, it does not run, too many are executed,
    /// it cannot be recorded, or the engine refuses.
    pub async fn start(
        &self,
        containers: &[ContainerFacts],
        instance: Instance,
        tenant_id: Option<TenantId>,
        spec: ExecSpec,
        asker: &Asker,
    ) -> Result<Session, ExecError> {
        check(&spec)?;
        let is_it =
            |found: &&ContainerFacts| !found.oneoff && found.instance.as_ref() == Some(&instance);
        let Some(container) = containers.iter().find(is_it) else {
            let Instance { project, service, number } = instance;
            return Err(ExecError::Unknown { project, service, number });
        };
        if container.state != ContainerState::Running {
            let (name, state) =
                (container.name.clone(), format!("{:?}", container.state).to_lowercase());
            return Err(ExecError::NotRunning { name, state });
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| ExecError::TooMany)?;
        let about =
            About { asker: asker.clone(), instance, tenant_id, program: program_of(&spec.command) };
        self.record(&about, EventType::ExecStarted, Outcome::Info, "begins".to_owned())
            .await
            .map_err(ExecError::Store)?;
        let new = NewExec {
            command: spec.command,
            user: spec.user,
            working_dir: spec.working_dir,
            environment: spec.environment,
            tty: spec.terminal.is_some(),
            privileged: false,
        };
        let started = match self.engine.exec(&container.id, &new).await {
            Ok(started) => started,
            Err(error) => {
                let end = SessionEnd::Engine(error.clone());
                self.record_end(&about, &Heard::Broke(end)).await;
                return Err(ExecError::Engine(error));
            }
        };
        let (told, inputs) = mpsc::channel(EXEC_PARTS_MAX);
        let (outputs, heard) = mpsc::channel(EXEC_PARTS_MAX);
        let carry = self.clone().carry(started, (about, spec.terminal), (inputs, outputs), slot);
        drop(self.spawn.spawn("exec", carry.boxed()));
        Ok(Session { told, heard })
    }

    /// Carries what passes through a session, to its end.
    async fn carry(
        self,
        started: ExecSession,
        (about, terminal): (About, Option<(u16, u16)>),
        (inputs, outputs): (mpsc::Receiver<Told>, mpsc::Sender<Heard>),
        slot: OwnedSemaphorePermit,
    ) {
        let ExecSession { id, mut output, input } = started;
        let begin = Instant::now();
        let active_ms = AtomicU64::new(0);
        let touch = || {
            let passed = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            active_ms.store(passed, Ordering::Relaxed);
        };
        let fed = async {
            self.give_size(&id, terminal).await;
            self.feed(&id, inputs, input, &touch).await
        };
        let mut feed = std::pin::pin!(fed.fuse());
        let mut look = tokio::time::interval(IDLE_LOOK);
        let end = loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break Err(SessionEnd::Stopped),
                () = outputs.closed() => break Err(SessionEnd::Left),
                // What the client says does not end the session: the command's end does.
                has_left = &mut feed => {
                    if has_left {
                        break Err(SessionEnd::Left);
                    }
                }
                part = output.next() => {
                    touch();
                    match part {
                        Some(Ok(part)) => {
                            if outputs.send(Heard::Output(part)).await.is_err() {
                                break Err(SessionEnd::Left);
                            }
                        }
                        Some(Err(error)) => break Err(SessionEnd::Engine(error)),
                        None => break Ok(()),
                    }
                }
                _ = look.tick() => {
                    let active = Duration::from_millis(active_ms.load(Ordering::Relaxed));
                    if begin.elapsed().saturating_sub(active) > EXEC_IDLE_MAX {
                        break Err(SessionEnd::Idle);
                    }
                }
            }
        };
        let last = match end {
            Ok(()) => match exit_code(&*self.engine, &id).await {
                Ok(code) => Heard::Ended(code),
                Err(error) => Heard::Broke(SessionEnd::Engine(error)),
            },
            Err(end) => Heard::Broke(end),
        };
        // Who hears of the end finds it in the log.
        self.record_end(&about, &last).await;
        let _ = outputs.send(last).await;
        drop(slot);
    }

    /// Gives the terminal its first size. The engine says that the command has begun a moment before its
    /// terminal is there; one that has ended already has none any more.
    async fn give_size(&self, id: &str, terminal: Option<(u16, u16)>) {
        let Some(size) = terminal else { return };
        for _ in 0..SIZE_TRIES_MAX {
            if self.engine.resize_exec(id, size).await.is_ok() {
                return;
            }
            tokio::time::sleep(EXIT_LOOK).await;
        }
    }

    /// Hands on what the client says, while output goes the other way: a command that writes before it
    /// reads must not be waited for. Whether the client has left.
    async fn feed(
        &self,
        id: &str,
        mut inputs: mpsc::Receiver<Told>,
        mut input: std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
        touch: &impl Fn(),
    ) -> bool {
        let mut is_closed = false;
        while let Some(told) = inputs.recv().await {
            touch();
            let done = match told {
                Told::Input(_) if is_closed => Ok(()),
                Told::Input(bytes) => match input.write_all(&bytes).await {
                    Ok(()) => input.flush().await,
                    Err(error) => Err(error),
                },
                Told::InputEnds => input.shutdown().await,
                Told::Resized(columns, rows) => {
                    let _ = self.engine.resize_exec(id, (columns, rows)).await;
                    Ok(())
                }
                Told::Left => return true,
            };
            // A command that closed its input hears nothing any more; the client may leave all the same.
            if done.is_err() {
                is_closed = true;
            }
        }
        false
    }

    /// The end is told although it could not be recorded: the command has ended.
    async fn record_end(&self, about: &About, last: &Heard) {
        let (event_type, outcome, how) = match last {
            Heard::Ended(code) => {
                (EventType::ExecCompleted, Outcome::Success, format!("ended with {code}"))
            }
            Heard::Broke(end) => (EventType::ExecFailed, Outcome::Failed, end.to_string()),
            Heard::Output(_) => return,
        };
        if let Err(error) = self.record(about, event_type, outcome, how).await {
            tracing::error!(%error, "the end of a command was not recorded");
        }
    }

    async fn record(
        &self,
        about: &About,
        event_type: EventType,
        outcome: Outcome,
        how: String,
    ) -> Result<(), StoreError> {
        let scope = &self.within.scope;
        let Instance { project, service, number } = &about.instance;
        let program = &about.program;
        let summary = format!(
            "{} executes `{program}` in {service}/{number} of project {project}: {how}",
            about.asker.name
        );
        let event = AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: about.tenant_id,
            event_type,
            summary: SafeText::new(summary),
            outcome,
            actor: about.asker.actor(scope),
            target: Some(Target {
                target_type: "project".to_owned(),
                target_id: project.clone(),
                target_label: project.clone(),
                workspace_id: scope.workspace_id,
                tenant_id: about.tenant_id,
            }),
            operation_run_id: None,
            context: EventContext { project: Some(project.clone()), ..about.asker.context() },
            occurred_at: self.ambient.now(),
        };
        self.store.commit(Vec::new(), AuditEvents::from(event)).await
    }
}

/// What a command ended with. Its output may be over a moment before the engine knows that.
pub(super) async fn exit_code(engine: &dyn Engine, id: &str) -> Result<i64, EngineError> {
    for _ in 0..EXIT_LOOKS_MAX {
        if let Some(code) = engine.exec_exit_code(id).await? {
            return Ok(code);
        }
        tokio::time::sleep(EXIT_LOOK).await;
    }
    let kind = crate::world::docker::EngineErrorKind::TimedOut;
    Err(EngineError::new(kind, "learn what the command ended with", "it closed its output"))
}

/// What the events of a session tell.
struct About {
    asker: Asker,
    instance: Instance,
    tenant_id: Option<TenantId>,
    program: String,
}

/// The name of the program alone.
fn program_of(command: &[String]) -> String {
    let program = command.first().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or_default();
    // `sh -c` hides nothing in its name, but `A=B prog` as one word would.
    let plain = |c: &char| c.is_ascii_alphanumeric() || "._+-".contains(*c);
    name.chars().take_while(plain).take(NAME_CHARS_MAX).collect()
}

fn check(spec: &ExecSpec) -> Result<(), ExecError> {
    let words = spec.command.iter().chain(spec.environment.keys()).chain(spec.environment.values());
    let bytes: usize = words.clone().map(String::len).sum();
    let is_named = |name: &String| !name.is_empty() && !name.contains('=');
    if spec.command.first().is_none_or(String::is_empty) {
        Err(ExecError::Invalid("a command has at least the name of a program"))
    } else if bytes > EXEC_WORDS_BYTES_MAX {
        Err(ExecError::Invalid("the command and its variables are too long"))
    } else if spec.environment.len() > EXEC_ENVIRONMENT_MAX {
        Err(ExecError::Invalid("there are too many variables"))
    } else if !spec.environment.keys().all(is_named) {
        Err(ExecError::Invalid("a variable has a name without `=`"))
    } else if words.clone().any(|word| word.contains('\0')) {
        Err(ExecError::Invalid("a command holds no zero byte"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_only_the_name_is_recorded() {
        let check = |command: &[&str], expect: &str| {
            let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(program_of(&words), expect);
        };
        check(&["sh", "-c", "echo hunter2"], "sh");
        check(&["/usr/bin/pg_dump", "--password=x"], "pg_dump");
        check(&["psql password=hunter2"], "psql");
        check(&["TOKEN=abc env"], "TOKEN");
        check(&[], "");
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let refused = |spec: ExecSpec| check(&spec).is_err();
        let command = vec!["true".to_owned()];
        assert!(!refused(ExecSpec { command: command.clone(), ..ExecSpec::default() }));
        assert!(refused(ExecSpec::default()));
        assert!(refused(ExecSpec { command: vec![String::new()], ..ExecSpec::default() }));
        assert!(refused(ExecSpec { command: vec!["a\0b".to_owned()], ..ExecSpec::default() }));
        let long = vec!["x".repeat(EXEC_WORDS_BYTES_MAX + 1)];
        assert!(refused(ExecSpec { command: long, ..ExecSpec::default() }));
        for name in ["", "A=B"] {
            let environment = BTreeMap::from([(name.to_owned(), String::new())]);
            assert!(refused(ExecSpec {
                command: command.clone(),
                environment,
                ..ExecSpec::default()
            }));
        }
    }
}
