//! Talks to a Docker Engine. Owns the `Engine` trait, its error, and (alone) the client library.
//! Face: `Engine` in the words of `facts`. Never decides what to change and never retries a call
//! that changes something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::base::Timestamp;
use crate::domain::registries::Credentials;
use crate::facts::{
    BuildSpec, ContainerFacts, ContainerUsage, EngineFacts, ImageFacts, LiveSettings, NetworkFacts,
    NetworkSpec, ServiceSpec, VolumeFacts, VolumeSpec,
};

mod address;
mod client;
mod containers;
mod create;
mod create_mounts;
mod error;
mod exec;
mod failure;
pub mod fake;
mod images;
mod networks;
mod observed;
mod processes;
mod pull_progress;
mod read;
mod read_mounts;
mod read_others;
mod registries;
mod request;
mod session;
mod streams;
mod usage;
mod version;
mod volumes;

pub use address::EngineAddress;
pub use client::DockerEngine;
pub use error::{EngineError, EngineErrorKind};
pub use exec::{ExecOutput, ExecSession};
pub use observed::{CallObserver, FinishedCall, ObservedEngine};

/// What happened when a container joined a network; nothing but its id is told then.
pub const NETWORK_JOINED: &str = "connect_network";

/// What an engine call answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, EngineError>>;

/// An engine that somebody else may restart, fill or break at any moment.
pub type SharedEngine = Arc<dyn Engine>;

/// One Docker Engine. Each method is one call of its API (an inspect after a list apart), so that
/// a plan's step is one effect. Every call has a time limit.
///
/// Reads are retried a bounded number of times when the connection breaks; writes never are,
/// because a broken connection does not say whether the engine acted.
pub trait Engine: Send + Sync {
    /// Does it answer?
    fn ping(&self) -> Answer<'_, ()>;
    /// What it is.
    fn info(&self) -> Answer<'_, EngineFacts>;

    /// All containers that carry the label `key=value`, running or not, fully inspected. A
    /// container that vanishes between list and inspect is left out.
    fn containers<'a>(&'a self, filter: &'a ContainerFilter) -> Answer<'a, Vec<ContainerFacts>>;
    /// One container by id or name; `None` when there is none.
    fn container<'a>(&'a self, id: &'a str) -> Answer<'a, Option<ContainerFacts>>;
    /// What a container uses; `None` when it does not run.
    fn usage<'a>(&'a self, id: &'a str, reading: Reading) -> Answer<'a, Option<ContainerUsage>>;
    /// The commands of the processes inside, with their arguments; `None` when it does not run.
    fn processes<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Vec<String>>>;
    /// One image by reference or id; `None` when there is none.
    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<ImageFacts>>;
    /// Networks with the label `key=value`, or all.
    fn networks<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<NetworkFacts>>;
    /// One network by name; `None` when there is none.
    fn network<'a>(&'a self, name: &'a str) -> Answer<'a, Option<NetworkFacts>>;
    /// Volumes with the label `key=value`, or all.
    fn volumes<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<VolumeFacts>>;
    /// One volume by name; `None` when there is none.
    fn volume<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VolumeFacts>>;

    /// Makes a container, a member of all its networks; answers with its id. One step for the
    /// caller: [`DockerEngine`] says what a crash in the midst of it leaves behind.
    fn create_container<'a>(&'a self, new: &'a NewContainer) -> Answer<'a, String>;
    /// Starts it; starting a running container is no error.
    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// Asks it to stop and kills it after `grace`; stopping a stopped container is no error.
    fn stop_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()>;
    /// Stops and starts it.
    fn restart_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()>;
    /// Freezes a running container.
    fn pause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// Lets a frozen container go on; it is no error for one that is not frozen.
    fn unpause_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
    /// Changes its limits and its restart policy, running or not. Settings that are not given stay
    /// as they are, for the engine has no word for taking a limit away; and what it cannot enforce
    /// it leaves out without a word, so that whoever relies on it looks again.
    fn update_container<'a>(&'a self, id: &'a str, settings: &'a LiveSettings) -> Answer<'a, ()>;
    /// Removes a stopped container (or any, with `force`), with its anonymous volumes on demand.
    fn remove_container<'a>(&'a self, id: &'a str, how: RemoveContainer) -> Answer<'a, ()>;
    /// Gives it another name.
    fn rename_container<'a>(&'a self, id: &'a str, name: &'a str) -> Answer<'a, ()>;
    /// Joins a network.
    fn connect_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a crate::facts::Attachment,
    ) -> Answer<'a, ()>;
    /// Joins a network that it was a member of, with the links that it had there.
    fn rejoin_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a crate::facts::Attachment,
        links: &'a BTreeSet<String>,
    ) -> Answer<'a, ()>;
    /// Leaves a network.
    fn disconnect_network<'a>(&'a self, network: &'a str, container: &'a str) -> Answer<'a, ()>;

    /// Makes a network; answers with its id.
    fn create_network<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, String>;
    /// Removes it.
    fn remove_network<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;
    /// Makes a volume.
    fn create_volume<'a>(
        &'a self,
        spec: &'a VolumeSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, ()>;
    /// Removes it.
    fn remove_volume<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;

    /// Fetches an image.
    fn pull_image<'a>(
        &'a self,
        pull: &'a PullImage,
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, ()>;
    /// Where the image's name leads in its registry now: the digest of its manifest. Nothing is
    /// fetched. Kind `Denied` when the registry does not let us see it.
    fn registry_digest<'a>(
        &'a self,
        reference: &'a str,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, String>;
    /// Whether a registry takes these credentials; kind `Denied` when it does not.
    fn check_login<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, ()>;
    /// Builds an image from a context, a tar archive; answers with the image's id. Registries of base
    /// images that want to know who pulls are shown the fitting one of `logins`.
    fn build_image<'a>(
        &'a self,
        build: &'a BuildSpec,
        tags: &'a [String],
        context: Bytes,
        logins: &'a [Credentials],
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, String>;
    /// What the engine saves of an image: a tar archive of its layers, part by part. Each part must come
    /// within the limit of an ordinary call.
    fn save_image<'a>(&'a self, reference: &'a str) -> BoxStream<'a, Result<Bytes, EngineError>>;
    /// Removes an image's name, and the image with its last name.
    fn remove_image<'a>(&'a self, reference: &'a str) -> Answer<'a, ()>;

    /// Executes a command in a running container; answers when it has begun.
    fn exec<'a>(&'a self, container: &'a str, new: &'a NewExec) -> Answer<'a, ExecSession>;
    /// Changes the size of a command's terminal: columns and rows.
    fn resize_exec<'a>(&'a self, id: &'a str, size: (u16, u16)) -> Answer<'a, ()>;
    /// What a command ended with; `None` while it runs.
    fn exec_exit_code<'a>(&'a self, id: &'a str) -> Answer<'a, Option<i64>>;

    /// Output of a container, oldest first.
    fn logs<'a>(
        &'a self,
        id: &'a str,
        options: &'a LogOptions,
    ) -> BoxStream<'a, Result<LogLine, EngineError>>;
    /// What happens on the engine to containers, from now on (or from `since`). Ends with an error
    /// when the connection breaks; the caller connects again and looks at everything anew.
    fn events(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<EngineEvent, EngineError>>;
}

/// An image to be fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullImage {
    /// Its name.
    pub reference: String,
    /// `os/architecture`, where it is not the engine's own.
    pub platform: Option<String>,
    /// What its registry wants to see first.
    pub credentials: Option<Credentials>,
}

impl PullImage {
    /// An image that everybody may fetch.
    pub fn plain(reference: &str) -> Self {
        Self { reference: reference.to_owned(), ..Self::default() }
    }
}

/// How usage is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Totals alone, at once.
    Totals,
    /// Rates too: the engine compares two moments, which takes a second or two.
    Rates,
}

/// Which containers to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// Labels with values that it must carry; an empty value asks only for the key.
    pub labels: BTreeMap<String, String>,
}

impl ContainerFilter {
    /// Containers with this label.
    pub fn label(key: &str, value: &str) -> Self {
        Self { labels: BTreeMap::from([(key.to_owned(), value.to_owned())]) }
    }
}

/// A container to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewContainer {
    /// Its name.
    pub name: String,
    /// The image's id or reference, word for word.
    pub image: String,
    /// The contract.
    pub spec: ServiceSpec,
    /// Labels of Compose and of this agent, added to the user's.
    pub bookkeeping: BTreeMap<String, String>,
    /// `network_mode: service:x` and its siblings resolved to container ids: by the spelling in
    /// the contract.
    pub resolved_namespaces: BTreeMap<String, String>,
    /// Anonymous volumes of the container that this one replaces, by target path.
    pub kept_volumes: BTreeMap<String, String>,
}

/// How a container is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveContainer {
    /// Kill it if it runs.
    pub force: bool,
    /// Its anonymous volumes too.
    pub anonymous_volumes: bool,
}

/// A command to be executed in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewExec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// As whom, instead of the container's user.
    pub user: Option<String>,
    /// In which folder, instead of the container's.
    pub working_dir: Option<String>,
    /// Variables beside the container's.
    pub environment: BTreeMap<String, String>,
    /// With a terminal.
    pub tty: bool,
    /// With all capabilities, whatever the container has.
    pub privileged: bool,
}

/// Which lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as lines are written.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Standard error, not standard output.
    pub is_stderr: bool,
    /// The text without its line end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// When.
    pub at: Timestamp,
    /// `create`, `start`, `connect_network` ([`NETWORK_JOINED`]), `kill`, `die`, `stop`, `destroy`, `oom`, `health_status: unhealthy`, …
    pub action: String,
    /// The engine's id of the container.
    pub container_id: String,
    /// Its labels and the event's own attributes (`exitCode`, `signal`, `image`, `name`).
    pub attributes: BTreeMap<String, String>,
}
