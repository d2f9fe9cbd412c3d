//! The real engine. Owns `DockerEngine`. Face: `DockerEngine::at`, then `Engine`; what a call asks
//! for stands with its noun. Never connects before the first call, so that the agent starts without
//! its engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};

use super::request::segment;
use super::session::Connection;
use super::{
    Answer, ContainerFilter, Engine, EngineAddress, EngineError, EngineEvent, ExecSession, LogLine,
    LogOptions, NewContainer, NewExec, PullImage, Reading, RemoveContainer, containers, exec,
    images, networks, processes, read_others, registries, streams, usage, volumes,
};
use crate::base::Timestamp;
use crate::domain::registries::Credentials;
use crate::facts::{
    Attachment, BuildSpec, ContainerFacts, ContainerUsage, EngineFacts, ImageFacts, LiveSettings,
    NetworkFacts, NetworkSpec, VolumeFacts, VolumeSpec,
};

/// A Docker Engine, from 20.10 (API 1.41) on.
///
/// The version of the API is agreed upon at the first call, and again after the engine was away.
///
/// **Creating a container** is one call from API 1.44 on. Older engines take one network at a
/// time: there, the container is created in the network of highest priority and connected to the
/// others at once, all before it is ever started. When that fails the container is removed again.
/// A crash between the calls leaves a container in state `created` that is not in all of its
/// networks, which [`crate::facts::differences`] shows: whoever resumes looks again, and removes
/// such a container.
pub struct DockerEngine {
    connection: Connection,
}

impl DockerEngine {
    /// The engine at this address, which need not be there yet.
    pub fn at(address: EngineAddress) -> Self {
        Self { connection: Connection::new(address) }
    }
}

impl Engine for DockerEngine {
    fn ping(&self) -> Answer<'_, ()> {
        let call = self.connection.read("reach the engine", |session| async move {
            session.docker.ping().await.map(drop)
        });
        call.boxed()
    }

    fn info(&self) -> Answer<'_, EngineFacts> {
        let call = self.connection.read("ask the engine about itself", |session| async move {
            let report = session.docker.info().await?;
            Ok(read_others::engine(report, session.reported_api.clone()))
        });
        call.boxed()
    }

    fn containers<'a>(&'a self, filter: &'a ContainerFilter) -> Answer<'a, Vec<ContainerFacts>> {
        containers::list(&self.connection, filter).boxed()
    }

    fn container<'a>(&'a self, id: &'a str) -> Answer<'a, Option<ContainerFacts>> {
        containers::find(&self.connection, id).boxed()
    }

    fn usage<'a>(&'a self, id: &'a str, reading: Reading) -> Answer<'a, Option<ContainerUsage>> {
        usage::usage(&self.connection, id, reading).boxed()
    }

    fn processes<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Vec<String>>> {
        processes::processes(&self.connection, id).boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<ImageFacts>> {
        images::find(&self.connection, reference).boxed()
    }

    fn networks<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<NetworkFacts>> {
        networks::list(&self.connection, label).boxed()
    }

    fn network<'a>(&'a self, name: &'a str) -> Answer<'a, Option<NetworkFacts>> {
        networks::find(&self.connection, name).boxed()
    }

    fn volumes<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<VolumeFacts>> {
        volumes::list(&self.connection, label).boxed()
    }

    fn volume<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VolumeFacts>> {
        volumes::find(&self.connection, name).boxed()
    }

    fn create_container<'a>(&'a self, new: &'a NewContainer) -> Answer<'a, String> {
        containers::create(&self.connection, new).boxed()
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        containers::start(&self.connection, id).boxed()
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()> {
        containers::stop(&self.connection, id, grace).boxed()
    }

    fn restart_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()> {
        containers::restart(&self.connection, id, grace).boxed()
    }

    fn pause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        containers::pause(&self.connection, id).boxed()
    }

    fn unpause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        containers::unpause(&self.connection, id).boxed()
    }

    fn update_container<'a>(&'a self, id: &'a str, settings: &'a LiveSettings) -> Answer<'a, ()> {
        containers::update(&self.connection, id, settings).boxed()
    }

    fn remove_container<'a>(&'a self, id: &'a str, how: RemoveContainer) -> Answer<'a, ()> {
        containers::remove(&self.connection, id, how).boxed()
    }

    fn rename_container<'a>(&'a self, id: &'a str, name: &'a str) -> Answer<'a, ()> {
        containers::rename(&self.connection, id, name).boxed()
    }

    fn connect_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a Attachment,
    ) -> Answer<'a, ()> {
        containers::connect(&self.connection, network, container, attachment).boxed()
    }

    fn rejoin_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a Attachment,
        links: &'a BTreeSet<String>,
    ) -> Answer<'a, ()> {
        containers::rejoin(&self.connection, network, container, (attachment, links)).boxed()
    }

    fn disconnect_network<'a>(&'a self, network: &'a str, container: &'a str) -> Answer<'a, ()> {
        containers::disconnect(&self.connection, network, container).boxed()
    }

    fn create_network<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, String> {
        networks::create(&self.connection, spec, bookkeeping).boxed()
    }

    fn remove_network<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        networks::remove(&self.connection, name).boxed()
    }

    fn create_volume<'a>(
        &'a self,
        spec: &'a VolumeSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, ()> {
        volumes::create(&self.connection, spec, bookkeeping).boxed()
    }

    fn remove_volume<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        volumes::remove(&self.connection, name).boxed()
    }

    fn pull_image<'a>(
        &'a self,
        pull: &'a PullImage,
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, ()> {
        images::pull(&self.connection, pull, progress).boxed()
    }

    fn registry_digest<'a>(
        &'a self,
        reference: &'a str,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, String> {
        registries::digest(&self.connection, reference, credentials).boxed()
    }

    fn check_login<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, ()> {
        registries::check_login(&self.connection, credentials).boxed()
    }

    fn build_image<'a>(
        &'a self,
        build: &'a BuildSpec,
        tags: &'a [String],
        context: Bytes,
        logins: &'a [Credentials],
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, String> {
        images::build(&self.connection, build, tags, (context, logins), progress).boxed()
    }

    fn save_image<'a>(&'a self, reference: &'a str) -> BoxStream<'a, Result<Bytes, EngineError>> {
        match segment("save image", reference) {
            Ok(reference) => images::save(&self.connection, reference),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> Answer<'a, ()> {
        images::remove(&self.connection, reference).boxed()
    }

    fn exec<'a>(&'a self, container: &'a str, new: &'a NewExec) -> Answer<'a, ExecSession> {
        exec::start(&self.connection, container, new).boxed()
    }

    fn resize_exec<'a>(&'a self, id: &'a str, size: (u16, u16)) -> Answer<'a, ()> {
        exec::resize(&self.connection, id, size).boxed()
    }

    fn exec_exit_code<'a>(&'a self, id: &'a str) -> Answer<'a, Option<i64>> {
        exec::exit_code(&self.connection, id).boxed()
    }

    fn logs<'a>(
        &'a self,
        id: &'a str,
        options: &'a LogOptions,
    ) -> BoxStream<'a, Result<LogLine, EngineError>> {
        match segment("read a log", id) {
            Ok(id) => streams::logs(&self.connection, id, options),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn events(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<EngineEvent, EngineError>> {
        streams::events(&self.connection, since)
    }
}
