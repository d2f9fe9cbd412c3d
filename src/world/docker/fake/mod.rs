//! An engine in memory, for tests only. Owns `FakeEngine`, its script and its faults. Face:
//! `FakeEngine::new`, the script methods, then `Engine`. Never lets an unexpected call pass: a
//! write to something that never existed panics, and so does a forbidden method.
//!
//! Time passes by looking: a container becomes healthy, or exits, after it was inspected as often
//! as its [`Behaviour`] says. One suite proves that it answers like the real engine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use super::{Answer, EngineError, EngineErrorKind, NewExec};
use crate::base::Clock;
use crate::domain::registries::Credentials;
use crate::facts::{ImageFacts, LiveSettings, Protocol};

mod build;
mod container;
mod engine;
mod exec;
mod inspect;
mod save;
mod state;

pub use save::ImageLayers;
use state::State;

/// How the program of a container behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// What its health check comes to say, when there is one.
    pub health: HealthCourse,
    /// It exits with this status after so many inspections; `None` runs until it is stopped.
    pub exit: Option<(u32, i64)>,
    /// What it writes at each start: standard error or not, and the line.
    pub output: Vec<(bool, String)>,
    /// The processes that run inside, beside its command.
    pub processes: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            health: HealthCourse::HealthyAfter(1),
            exit: None,
            output: Vec::new(),
            processes: Vec::new(),
        }
    }
}

/// What a health check comes to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthCourse {
    /// Healthy at the inspection after this many that found it starting.
    HealthyAfter(u32),
    /// Unhealthy at the inspection after this many that found it starting.
    UnhealthyAfter(u32),
}

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineCall {
    /// The method of `Engine`.
    pub method: &'static str,
    /// The name or id that it was about; empty for lists.
    pub subject: String,
    /// May it change something?
    pub is_write: bool,
}

/// When a planned fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The call fails and does nothing.
    Before(EngineErrorKind),
    /// The call does its work, and its answer is lost.
    After,
}

/// A call refused by the state of things.
struct Refused {
    kind: EngineErrorKind,
    message: String,
}

fn refuse<T>(kind: EngineErrorKind, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { kind, message: message.into() })
}

/// An engine in memory.
pub struct FakeEngine {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// Counts changes, so that followers of logs and events wake up.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    state: State,
    calls: Vec<EngineCall>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    delays: BTreeMap<&'static str, Duration>,
    forbidden: BTreeSet<&'static str>,
    is_unreachable: bool,
    is_lenient: bool,
    latency: Duration,
}

impl FakeEngine {
    /// An engine with nothing on it but the networks `bridge`, `host` and `none`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let inner = Mutex::new(Inner::default());
        Arc::new(Self { clock, inner, changes: watch::Sender::new(0) })
    }

    /// Puts an image on the engine.
    pub fn add_image(&self, facts: ImageFacts) {
        self.lock().state.add_image(facts);
    }

    /// Puts files into an image of this id, layer by layer.
    pub fn fill_image(&self, id: &str, layers: ImageLayers) {
        self.lock().state.layers.insert(id.to_owned(), layers);
    }

    /// Lets a registry ask who pulls, and take only these credentials.
    pub fn want_login(&self, credentials: Credentials) {
        self.lock().state.logins.insert(credentials.registry.clone(), credentials);
    }

    /// Lets a registry hold an image under this reference.
    pub fn offer_image(&self, reference: &str, facts: ImageFacts) {
        self.lock().state.registry.insert(reference.to_owned(), facts);
    }

    /// Says how containers behave, by container name or by Compose's service name.
    pub fn behave(&self, who: &str, behaviour: Behaviour) {
        self.lock().state.behaviours.insert(who.to_owned(), behaviour);
    }

    /// Another program of the host holds this port.
    pub fn occupy_port(&self, protocol: Protocol, port: u16) {
        self.lock().state.occupied_ports.insert((protocol, port));
    }

    /// The next call of this method fails and does nothing. Several faults strike one by one.
    pub fn fail_next(&self, method: &'static str, kind: EngineErrorKind) {
        self.lock().faults.entry(method).or_default().push_back(Fault::Before(kind));
    }

    /// The next call of this method does its work, but its answer is lost.
    pub fn lose_answer(&self, method: &'static str) {
        self.lock().faults.entry(method).or_default().push_back(Fault::After);
    }

    /// The next call of this method does its work, and its answer is late by so much.
    pub fn delay_answer(&self, method: &'static str, late: Duration) {
        self.lock().delays.insert(method, late);
    }

    /// Takes back the faults that have not struck yet.
    pub fn forget_faults(&self) {
        self.lock().faults.clear();
    }

    /// A call of this method panics from now on.
    pub fn forbid(&self, method: &'static str) {
        self.lock().forbidden.insert(method);
    }

    /// Allows everything again.
    pub fn allow_all(&self) {
        self.lock().forbidden.clear();
    }

    /// A write to something that never existed is answered, as the real engine does, instead of
    /// being a defect of the caller.
    pub fn be_lenient(&self) {
        self.lock().is_lenient = true;
    }

    /// Updates of containers are answered well and change nothing, or change something again.
    pub fn ignore_updates(&self, ignores_updates: bool) {
        self.lock().state.ignores_updates = ignores_updates;
    }

    /// Calls of this method are answered well and change nothing: `disconnect_network`,
    /// `pause_container` or `stop_container`.
    pub fn ignore(&self, method: &'static str) {
        self.lock().state.ignored.insert(method);
    }

    /// Somebody lets a container join a network past the agent.
    ///
    /// # Panics
    /// When there is no such container or network.
    pub fn connect_behind(&self, network: &str, name: &str) {
        self.behind_the_back(|state, _| state.connect(network, name, &Default::default()));
    }

    /// Somebody changes a container's limits past the agent.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn update_behind(&self, name: &str, settings: &LiveSettings) {
        self.behind_the_back(|state, now| state.update(name, settings, now));
    }

    /// Nobody answers, or somebody does again. Streams break.
    pub fn set_unreachable(&self, is_unreachable: bool) {
        let mut inner = self.lock();
        inner.is_unreachable = is_unreachable;
        if is_unreachable {
            inner.state.epoch += 1;
        }
        drop(inner);
        self.wake();
    }

    /// Each call takes this long.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// The engine stops and starts: streams break, containers end, and those whose policy says so
    /// run again.
    pub fn restart(&self) {
        let now = self.clock.now();
        self.lock().state.restart(now);
        self.wake();
    }

    /// The program in a container ends by itself.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn exit_container(&self, name: &str, code: i64) {
        self.behind_the_back(|state, now| state.exit(name, code, now));
    }

    /// Somebody stops a container past the agent.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn stop_behind(&self, name: &str) {
        self.behind_the_back(|state, now| state.stop(name, now));
    }

    /// Somebody freezes a container past the agent.
    ///
    /// # Panics
    /// When there is no such container, or it does not run.
    pub fn pause_behind(&self, name: &str) {
        self.behind_the_back(|state, now| state.pause(name, now));
    }

    /// Somebody removes a container past the agent, running or not.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn remove_behind(&self, name: &str) {
        let how = super::RemoveContainer { force: true, anonymous_volumes: false };
        self.behind_the_back(|state, now| state.remove(name, how, now));
    }

    /// What was called, in order.
    pub fn calls(&self) -> Vec<EngineCall> {
        self.lock().calls.clone()
    }

    /// The calls that may have changed something, in order.
    pub fn writes(&self) -> Vec<EngineCall> {
        self.lock().calls.iter().filter(|call| call.is_write).cloned().collect()
    }

    /// The commands that were executed since the calls were forgotten, in order, each with the
    /// name that its container had.
    pub fn execs(&self) -> Vec<(String, NewExec)> {
        self.lock().state.execs.clone()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        let mut inner = self.lock();
        inner.calls.clear();
        inner.state.execs.clear();
    }

    fn behind_the_back(
        &self,
        act: impl FnOnce(&mut State, crate::base::Timestamp) -> Result<(), Refused>,
    ) {
        let now = self.clock.now();
        let done = act(&mut self.lock().state, now);
        self.wake();
        if let Err(refused) = done {
            panic!("the script of the fake engine cannot be followed: {}", refused.message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        subject: &'a str,
        act: impl FnOnce(&mut State) -> Result<T, Refused> + Send + 'a,
    ) -> Answer<'a, T> {
        self.call(method, false, subject, move |state, _| act(state))
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        subject: &'a str,
        act: impl FnOnce(&mut State, crate::base::Timestamp) -> Result<T, Refused> + Send + 'a,
    ) -> Answer<'a, T> {
        self.call(method, true, subject, act)
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        is_write: bool,
        subject: &'a str,
        act: impl FnOnce(&mut State, crate::base::Timestamp) -> Result<T, Refused> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            let latency = self.lock().latency;
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            let answer = self.answer(method, is_write, subject, act);
            self.wake();
            let late = self.lock().delays.remove(method);
            if let Some(late) = late {
                tokio::time::sleep(late).await;
            }
            let attempt = format!("{} {subject}", method.replace('_', " "));
            answer.map_err(|refused| EngineError::new(refused.kind, attempt, refused.message))
        }
        .boxed()
    }

    fn answer<T>(
        &self,
        method: &'static str,
        is_write: bool,
        subject: &str,
        act: impl FnOnce(&mut State, crate::base::Timestamp) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let now = self.clock.now();
        let mut inner = self.lock();
        assert!(!inner.forbidden.contains(method), "unexpected call: {method} {subject}");
        inner.calls.push(EngineCall { method, subject: subject.to_owned(), is_write });
        let fault = inner.faults.get_mut(method).and_then(VecDeque::pop_front);
        if inner.is_unreachable {
            return refuse(EngineErrorKind::Unreachable, "nobody answers");
        }
        if let Some(Fault::Before(kind)) = fault {
            return refuse(kind, "a fault was planned");
        }
        let done = act(&mut inner.state, now);
        let is_stranger = matches!(&done, Err(refused) if refused.kind == EngineErrorKind::NotFound)
            && !inner.state.knew(subject);
        let is_defect = is_write && is_stranger && !inner.is_lenient;
        drop(inner);
        assert!(!is_defect, "unexpected call: {method} of {subject}, which never existed");
        match fault {
            Some(Fault::After) => refuse(EngineErrorKind::Unreachable, "the answer was lost"),
            _ => done,
        }
    }
}
