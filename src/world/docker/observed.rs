//! Watches the calls to an engine: marks the instants before and after each, logs it and reports
//! how long it took. Owns `ObservedEngine`. Face: it is an `Engine` itself. Never changes a call
//! or its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use super::{
    Answer, ContainerFilter, Engine, EngineError, EngineErrorKind, EngineEvent, ExecSession,
    LogLine, LogOptions, NewContainer, NewExec, PullImage, Reading, RemoveContainer, SharedEngine,
};
use crate::base::Timestamp;
use crate::base::crash_points::CrashPoints;
use crate::domain::registries::Credentials;
use crate::facts::{
    Attachment, BuildSpec, ContainerFacts, ContainerUsage, EngineFacts, ImageFacts, LiveSettings,
    NetworkFacts, NetworkSpec, VolumeFacts, VolumeSpec,
};

/// One finished call, for a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedCall {
    /// The method of `Engine`.
    pub method: &'static str,
    /// May it change something?
    pub is_write: bool,
    /// How long it took, repetitions included.
    pub duration: Duration,
    /// Why it failed, if it did.
    pub failure: Option<EngineErrorKind>,
}

/// Told about every finished call.
pub type CallObserver = Arc<dyn Fn(FinishedCall) + Send + Sync>;

/// An engine whose calls are watched. The two streams pass through unwatched: they have no end to
/// be counted at.
pub struct ObservedEngine {
    inner: SharedEngine,
    crash_points: Arc<dyn CrashPoints>,
    observer: CallObserver,
}

/// A method with the names of the instants around it.
struct Watched {
    method: &'static str,
    before: &'static str,
    after: &'static str,
    is_write: bool,
}

macro_rules! watched {
    ($method:literal, $is_write:literal) => {
        Watched {
            method: $method,
            before: concat!("engine.", $method, ".before"),
            after: concat!("engine.", $method, ".after"),
            is_write: $is_write,
        }
    };
}

macro_rules! reading {
    ($method:literal) => {
        watched!($method, false)
    };
}

macro_rules! writing {
    ($method:literal) => {
        watched!($method, true)
    };
}

impl ObservedEngine {
    /// Watches `inner`.
    pub fn new(
        inner: SharedEngine,
        crash_points: Arc<dyn CrashPoints>,
        observer: CallObserver,
    ) -> Self {
        Self { inner, crash_points, observer }
    }

    fn watch<'a, T: Send + 'a>(
        &'a self,
        watched: Watched,
        subject: &'a str,
        call: Answer<'a, T>,
    ) -> Answer<'a, T> {
        let Watched { method, before, after, is_write } = watched;
        async move {
            self.crash_points.reached(before);
            let start = Instant::now();
            let answer = call.await;
            let duration = start.elapsed();
            self.crash_points.reached(after);
            let failure = answer.as_ref().err().map(|error| error.kind);
            match answer.as_ref().err() {
                None => tracing::debug!(method, subject, ?duration, "engine call succeeded"),
                Some(error) => {
                    tracing::debug!(method, subject, ?duration, %error, "engine call failed");
                }
            }
            (self.observer)(FinishedCall { method, is_write, duration, failure });
            answer
        }
        .boxed()
    }
}

impl Engine for ObservedEngine {
    fn ping(&self) -> Answer<'_, ()> {
        self.watch(reading!("ping"), "", self.inner.ping())
    }

    fn info(&self) -> Answer<'_, EngineFacts> {
        self.watch(reading!("info"), "", self.inner.info())
    }

    fn containers<'a>(&'a self, filter: &'a ContainerFilter) -> Answer<'a, Vec<ContainerFacts>> {
        self.watch(reading!("containers"), "", self.inner.containers(filter))
    }

    fn container<'a>(&'a self, id: &'a str) -> Answer<'a, Option<ContainerFacts>> {
        self.watch(reading!("container"), id, self.inner.container(id))
    }

    fn usage<'a>(&'a self, id: &'a str, reading: Reading) -> Answer<'a, Option<ContainerUsage>> {
        self.watch(reading!("usage"), id, self.inner.usage(id, reading))
    }

    fn processes<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Vec<String>>> {
        self.watch(reading!("processes"), id, self.inner.processes(id))
    }

    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<ImageFacts>> {
        self.watch(reading!("image"), reference, self.inner.image(reference))
    }

    fn networks<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<NetworkFacts>> {
        self.watch(reading!("networks"), "", self.inner.networks(label))
    }

    fn network<'a>(&'a self, name: &'a str) -> Answer<'a, Option<NetworkFacts>> {
        self.watch(reading!("network"), name, self.inner.network(name))
    }

    fn volumes<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<VolumeFacts>> {
        self.watch(reading!("volumes"), "", self.inner.volumes(label))
    }

    fn volume<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VolumeFacts>> {
        self.watch(reading!("volume"), name, self.inner.volume(name))
    }

    fn create_container<'a>(&'a self, new: &'a NewContainer) -> Answer<'a, String> {
        self.watch(writing!("create_container"), &new.name, self.inner.create_container(new))
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.watch(writing!("start_container"), id, self.inner.start_container(id))
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()> {
        self.watch(writing!("stop_container"), id, self.inner.stop_container(id, grace))
    }

    fn restart_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()> {
        self.watch(writing!("restart_container"), id, self.inner.restart_container(id, grace))
    }

    fn pause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.watch(writing!("pause_container"), id, self.inner.pause_container(id))
    }

    fn unpause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.watch(writing!("unpause_container"), id, self.inner.unpause_container(id))
    }

    fn update_container<'a>(&'a self, id: &'a str, settings: &'a LiveSettings) -> Answer<'a, ()> {
        let call = self.inner.update_container(id, settings);
        self.watch(writing!("update_container"), id, call)
    }

    fn remove_container<'a>(&'a self, id: &'a str, how: RemoveContainer) -> Answer<'a, ()> {
        self.watch(writing!("remove_container"), id, self.inner.remove_container(id, how))
    }

    fn rename_container<'a>(&'a self, id: &'a str, name: &'a str) -> Answer<'a, ()> {
        self.watch(writing!("rename_container"), id, self.inner.rename_container(id, name))
    }

    fn connect_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a Attachment,
    ) -> Answer<'a, ()> {
        let call = self.inner.connect_network(network, container, attachment);
        self.watch(writing!("connect_network"), network, call)
    }

    fn rejoin_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a Attachment,
        links: &'a BTreeSet<String>,
    ) -> Answer<'a, ()> {
        let call = self.inner.rejoin_network(network, container, attachment, links);
        self.watch(writing!("rejoin_network"), network, call)
    }

    fn disconnect_network<'a>(&'a self, network: &'a str, container: &'a str) -> Answer<'a, ()> {
        let call = self.inner.disconnect_network(network, container);
        self.watch(writing!("disconnect_network"), network, call)
    }

    fn create_network<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, String> {
        let call = self.inner.create_network(spec, bookkeeping);
        self.watch(writing!("create_network"), &spec.name, call)
    }

    fn remove_network<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.watch(writing!("remove_network"), name, self.inner.remove_network(name))
    }

    fn create_volume<'a>(
        &'a self,
        spec: &'a VolumeSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, ()> {
        let call = self.inner.create_volume(spec, bookkeeping);
        self.watch(writing!("create_volume"), &spec.name, call)
    }

    fn remove_volume<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.watch(writing!("remove_volume"), name, self.inner.remove_volume(name))
    }

    fn pull_image<'a>(
        &'a self,
        pull: &'a PullImage,
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, ()> {
        let call = self.inner.pull_image(pull, progress);
        self.watch(writing!("pull_image"), &pull.reference, call)
    }

    fn registry_digest<'a>(
        &'a self,
        reference: &'a str,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, String> {
        let call = self.inner.registry_digest(reference, credentials);
        self.watch(reading!("registry_digest"), reference, call)
    }

    fn check_login<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, ()> {
        let call = self.inner.check_login(credentials);
        self.watch(reading!("check_login"), credentials.registry.as_str(), call)
    }

    fn build_image<'a>(
        &'a self,
        build: &'a BuildSpec,
        tags: &'a [String],
        context: Bytes,
        logins: &'a [Credentials],
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, String> {
        let subject = tags.first().map_or("", String::as_str);
        let call = self.inner.build_image(build, tags, context, logins, progress);
        self.watch(writing!("build_image"), subject, call)
    }

    fn save_image<'a>(&'a self, reference: &'a str) -> BoxStream<'a, Result<Bytes, EngineError>> {
        self.inner.save_image(reference)
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> Answer<'a, ()> {
        self.watch(writing!("remove_image"), reference, self.inner.remove_image(reference))
    }

    fn exec<'a>(&'a self, container: &'a str, new: &'a NewExec) -> Answer<'a, ExecSession> {
        self.watch(writing!("exec"), container, self.inner.exec(container, new))
    }

    fn resize_exec<'a>(&'a self, id: &'a str, size: (u16, u16)) -> Answer<'a, ()> {
        self.watch(writing!("resize_exec"), id, self.inner.resize_exec(id, size))
    }

    fn exec_exit_code<'a>(&'a self, id: &'a str) -> Answer<'a, Option<i64>> {
        self.watch(reading!("exec_exit_code"), id, self.inner.exec_exit_code(id))
    }

    fn logs<'a>(
        &'a self,
        id: &'a str,
        options: &'a LogOptions,
    ) -> BoxStream<'a, Result<LogLine, EngineError>> {
        self.inner.logs(id, options)
    }

    fn events(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<EngineEvent, EngineError>> {
        self.inner.events(since)
    }
}
