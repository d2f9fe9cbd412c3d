//! The engine in memory as an `Engine`. Owns the mapping of each call to one effect on `State`.
//! Face: the trait. Never answers before latency, faults and strictness had their say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt as _};

use super::{FakeEngine, inspect};
use crate::base::Timestamp;
use crate::domain::registries::Credentials;
use crate::facts::{
    Attachment, BuildSpec, ContainerFacts, ContainerUsage, EngineFacts, ImageFacts, LiveSettings,
    NetworkFacts, NetworkSpec, VolumeFacts, VolumeSpec,
};
use crate::world::docker::{
    Answer, ContainerFilter, Engine, EngineError, EngineErrorKind, EngineEvent, ExecSession,
    LogLine, LogOptions, NewContainer, NewExec, PullImage, Reading, RemoveContainer,
};

impl Engine for FakeEngine {
    fn ping(&self) -> Answer<'_, ()> {
        self.read("ping", "", |_| Ok(()))
    }

    fn info(&self) -> Answer<'_, EngineFacts> {
        self.read("info", "", |_| Ok(inspect::engine_facts()))
    }

    fn containers<'a>(&'a self, filter: &'a ContainerFilter) -> Answer<'a, Vec<ContainerFacts>> {
        self.call("containers", false, "", |state, now| {
            for position in state.selected(filter) {
                state.look(position, now);
            }
            let meant = state.selected(filter).into_iter();
            Ok(meant.map(|position| state.facts_of(&state.containers[position])).collect())
        })
    }

    fn container<'a>(&'a self, id: &'a str) -> Answer<'a, Option<ContainerFacts>> {
        self.call("container", false, id, move |state, now| {
            let Ok(position) = state.position(id) else { return Ok(None) };
            state.look(position, now);
            Ok(Some(state.facts_of(&state.containers[position])))
        })
    }

    fn usage<'a>(&'a self, id: &'a str, reading: Reading) -> Answer<'a, Option<ContainerUsage>> {
        self.read("usage", id, move |state| Ok(state.usage(id, reading)))
    }

    fn processes<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Vec<String>>> {
        self.read("processes", id, move |state| Ok(state.processes(id)))
    }

    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<ImageFacts>> {
        self.read("image", reference, move |state| Ok(state.image(reference).cloned()))
    }

    fn networks<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<NetworkFacts>> {
        self.read("networks", "", move |state| Ok(state.networks_with(label)))
    }

    fn network<'a>(&'a self, name: &'a str) -> Answer<'a, Option<NetworkFacts>> {
        self.read("network", name, move |state| Ok(state.network(name).cloned()))
    }

    fn volumes<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<VolumeFacts>> {
        self.read("volumes", "", move |state| Ok(state.volumes_with(label)))
    }

    fn volume<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VolumeFacts>> {
        self.read("volume", name, move |state| Ok(state.volumes.get(name).cloned()))
    }

    fn create_container<'a>(&'a self, new: &'a NewContainer) -> Answer<'a, String> {
        // Its name is new, and what is missing is a network or a namespace: no stranger's name.
        self.write("create_container", &new.name, |state, now| {
            state.know(&[&new.name]);
            state.create(new, now)
        })
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.write("start_container", id, move |state, now| state.start(id, now))
    }

    fn stop_container<'a>(&'a self, id: &'a str, _grace: Option<Duration>) -> Answer<'a, ()> {
        self.write("stop_container", id, move |state, now| match state.ignored("stop_container") {
            true => Ok(()),
            false => state.stop(id, now),
        })
    }

    fn restart_container<'a>(&'a self, id: &'a str, _grace: Option<Duration>) -> Answer<'a, ()> {
        self.write("restart_container", id, move |state, now| state.restart_one(id, now))
    }

    fn pause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.write("pause_container", id, move |state, now| {
            match state.ignored("pause_container") {
                true => Ok(()),
                false => state.pause(id, now),
            }
        })
    }

    fn unpause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.write("unpause_container", id, move |state, now| state.unpause(id, now))
    }

    fn update_container<'a>(&'a self, id: &'a str, settings: &'a LiveSettings) -> Answer<'a, ()> {
        self.write("update_container", id, move |state, now| state.update(id, settings, now))
    }

    fn remove_container<'a>(&'a self, id: &'a str, how: RemoveContainer) -> Answer<'a, ()> {
        self.write("remove_container", id, move |state, now| state.remove(id, how, now))
    }

    fn rename_container<'a>(&'a self, id: &'a str, name: &'a str) -> Answer<'a, ()> {
        self.write("rename_container", id, move |state, now| state.rename(id, name, now))
    }

    fn connect_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a Attachment,
    ) -> Answer<'a, ()> {
        self.write("connect_network", network, move |state, _| {
            state.connect(network, container, attachment)
        })
    }

    fn rejoin_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a Attachment,
        links: &'a BTreeSet<String>,
    ) -> Answer<'a, ()> {
        self.write("rejoin_network", network, move |state, _| {
            state.connect(network, container, attachment)?;
            state.container_mut(container)?.spec.external_links.extend(links.iter().cloned());
            Ok(())
        })
    }

    fn disconnect_network<'a>(&'a self, network: &'a str, container: &'a str) -> Answer<'a, ()> {
        self.write("disconnect_network", network, move |state, _| {
            match state.ignored("disconnect_network") {
                true => Ok(()),
                false => state.disconnect(network, container),
            }
        })
    }

    fn create_network<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, String> {
        self.write("create_network", &spec.name, |state, _| state.create_network(spec, bookkeeping))
    }

    fn remove_network<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.write("remove_network", name, move |state, _| state.remove_network(name))
    }

    fn create_volume<'a>(
        &'a self,
        spec: &'a VolumeSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, ()> {
        self.write("create_volume", &spec.name, |state, _| state.create_volume(spec, bookkeeping))
    }

    fn remove_volume<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.write("remove_volume", name, move |state, _| state.remove_volume(name))
    }

    fn pull_image<'a>(
        &'a self,
        pull: &'a PullImage,
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, ()> {
        let reference = pull.reference.as_str();
        self.write("pull_image", reference, move |state, _| {
            state.let_in(reference, pull.credentials.as_ref())?;
            state.pull(reference)?;
            progress(format!("Pulled {reference}"));
            Ok(())
        })
    }

    fn registry_digest<'a>(
        &'a self,
        reference: &'a str,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, String> {
        self.read("registry_digest", reference, move |state| {
            state.let_in(reference, credentials)?;
            state.registry_digest(reference)
        })
    }

    fn check_login<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, ()> {
        let registry = credentials.registry.as_str();
        self.read("check_login", registry, move |state| state.check_login(credentials))
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
        self.write("build_image", subject, move |state, now| {
            let id = state.build(build, tags, (&context, logins), now)?;
            progress(format!("Successfully built {id}"));
            Ok(id)
        })
    }

    fn save_image<'a>(&'a self, reference: &'a str) -> BoxStream<'a, Result<Bytes, EngineError>> {
        // In parts, as a socket would bring it.
        const PART: usize = 64 << 10;
        stream::once(async move {
            let saved = self.read("save_image", reference, move |state| state.save(reference));
            let saved = saved.await?;
            let parts = (0..saved.len().div_ceil(PART)).map(move |part| {
                let from = part * PART;
                Ok(saved.slice(from..saved.len().min(from + PART)))
            });
            Ok(stream::iter(parts))
        })
        .try_flatten()
        .boxed()
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> Answer<'a, ()> {
        self.write("remove_image", reference, move |state, _| state.remove_image(reference))
    }

    fn exec<'a>(&'a self, container: &'a str, new: &'a NewExec) -> Answer<'a, ExecSession> {
        self.write("exec", container, move |state, _| state.exec(container, new))
    }

    fn resize_exec<'a>(&'a self, _id: &'a str, _size: (u16, u16)) -> Answer<'a, ()> {
        self.read("resize_exec", "", |_| Ok(()))
    }

    fn exec_exit_code<'a>(&'a self, id: &'a str) -> Answer<'a, Option<i64>> {
        self.read("exec_exit_code", id, move |state| Ok(state.exec_exit_code(id)))
    }

    fn logs<'a>(
        &'a self,
        id: &'a str,
        options: &'a LogOptions,
    ) -> BoxStream<'a, Result<LogLine, EngineError>> {
        stream::once(async move {
            let opened = self.read("logs", id, move |state| {
                let position = state.position(id)?;
                Ok((state.containers[position].id.clone(), state.epoch))
            });
            let (id, epoch) = opened.await?;
            let follower =
                LogFollower { engine: self, id, epoch, options, seen: None, is_done: false };
            Ok(stream::unfold((follower, VecDeque::new()), |(mut follower, mut ready)| async {
                while ready.is_empty() {
                    follower.take(&mut ready).await?;
                }
                ready.pop_front().map(|line| (line, (follower, ready)))
            }))
        })
        .map(|opened: Result<_, EngineError>| match opened {
            Ok(lines) => lines.boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        })
        .flatten()
        .boxed()
    }

    fn events(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<EngineEvent, EngineError>> {
        stream::once(async move {
            let opened = self.read("events", "", move |state| {
                let is_old = |event: &EngineEvent| since.is_none_or(|since| event.at < since);
                let first = state.events.iter().take_while(|event| is_old(event)).count();
                Ok((first, state.epoch))
            });
            let (next, epoch) = opened.await?;
            Ok(stream::unfold(Some((next, epoch)), move |place| async move {
                let (next, epoch) = place?;
                match self.wait_for_event(next, epoch).await {
                    Ok(event) => Some((Ok(event), Some((next + 1, epoch)))),
                    Err(error) => Some((Err(error), None)),
                }
            }))
        })
        .map(|opened: Result<_, EngineError>| match opened {
            Ok(events) => events.boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        })
        .flatten()
        .boxed()
    }
}

/// The error of a stream that the engine's end broke.
fn broken(attempt: &str) -> EngineError {
    EngineError::new(EngineErrorKind::Unreachable, attempt, "the connection broke")
}

impl FakeEngine {
    async fn wait_for_event(&self, next: usize, epoch: u64) -> Result<EngineEvent, EngineError> {
        let mut changes = self.changes.subscribe();
        loop {
            {
                let inner = self.lock();
                if let Some(event) = inner.state.events.get(next) {
                    return Ok(event.clone());
                }
                if inner.state.epoch != epoch {
                    return Err(broken("follow the engine's events"));
                }
            }
            // The sender lives as long as the engine, which is borrowed here.
            let _ = changes.changed().await;
        }
    }
}

/// One reader of a container's log.
struct LogFollower<'a> {
    engine: &'a FakeEngine,
    id: String,
    epoch: u64,
    options: &'a LogOptions,
    /// Lines taken so far; `None` before the first look.
    seen: Option<usize>,
    is_done: bool,
}

type Ready = VecDeque<Result<LogLine, EngineError>>;

impl LogFollower<'_> {
    /// Puts what is new into `ready`; `None` when there is nothing more to come.
    async fn take(&mut self, ready: &mut Ready) -> Option<()> {
        let mut changes = self.engine.changes.subscribe();
        loop {
            if !self.is_done {
                self.look(ready);
            }
            if !ready.is_empty() {
                return Some(());
            }
            if self.is_done {
                return None;
            }
            let _ = changes.changed().await;
        }
    }

    fn look(&mut self, ready: &mut Ready) {
        let inner = self.engine.lock();
        let Ok(position) = inner.state.position(&self.id) else {
            self.is_done = true;
            return;
        };
        let container = &inner.state.containers[position];
        let all = &container.output;
        let first = self.seen.unwrap_or_else(|| {
            self.options.tail.map_or(0, |lines| all.len().saturating_sub(lines))
        });
        for (at, is_stderr, text) in &all[first.min(all.len())..] {
            if self.options.since.is_some_and(|since| *at < since) {
                continue;
            }
            let text = if self.options.timestamps { format!("{at} {text}") } else { text.clone() };
            ready.push_back(Ok(LogLine { is_stderr: *is_stderr, text }));
        }
        self.seen = Some(all.len());
        let is_broken = inner.state.epoch != self.epoch;
        if is_broken {
            ready.push_back(Err(broken("read a log")));
        }
        self.is_done = is_broken || !self.options.follow || !container.is_active();
    }
}
