//! What every engine promises, fake or real: each method's success and each of its errors. Owns
//! the suite. Face: the macro `engine_suite`. Never knows which engine it runs against.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use wharfinger::facts::labels::RUN;
use wharfinger::facts::{
    Attachment, BuildSpec, ContainerFacts, NetworkMode, NetworkSpec, ServiceSpec, VolumeSpec,
};
use wharfinger::world::docker::fake::Behaviour;
use wharfinger::world::docker::{
    ContainerFilter, EngineError, EngineErrorKind, NewContainer, RemoveContainer, SharedEngine,
};

pub mod containers;
pub mod images;
pub mod networks;
pub mod round_trip;
pub mod streams;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Tells the container of this name how to behave.
pub type Script = Box<dyn Fn(&str, Behaviour) + Send + Sync>;

/// One engine and what a test needs around it.
pub struct Bench {
    /// The engine under test.
    pub engine: SharedEngine,
    /// The beginning of every name that the test gives.
    pub prefix: String,
    /// A static busybox; a fake engine takes any bytes.
    pub busybox: Bytes,
    /// Tells a fake engine how a container behaves; a real one runs the program.
    pub script: Script,
}

/// Makes one test of each promise, on the bench that `$bench` makes from the test's name.
#[macro_export]
macro_rules! engine_suite {
    ($bench:path) => {
        $crate::engine_suite!(@ $bench;
            containers::container_lives_from_create_to_remove;
            containers::calls_about_missing_containers_say_so;
            containers::names_are_unique;
            containers::impossible_containers_are_refused;
            containers::port_is_taken_once;
            containers::health_is_found_out;
            containers::exit_status_is_kept_and_policy_obeyed;
            containers::settings_change_while_a_container_goes_on;
            containers::impossible_changes_are_refused;
            containers::filter_takes_all_labels;
            containers::anonymous_volume_survives_its_container_when_kept;
            images::image_is_built_inspected_and_removed;
            images::failed_builds_are_told_apart;
            images::image_that_no_registry_holds_is_unavailable;
            images::image_is_saved_with_what_its_layers_leave;
            networks::network_lives_from_create_to_remove;
            networks::containers_join_and_leave;
            networks::container_is_in_all_its_networks_from_the_start;
            networks::volume_lives_from_create_to_remove;
            round_trip::contract_is_read_back_as_it_was_written;
            round_trip::plain_contract_is_read_back;
            round_trip::devices_of_a_driver_are_read_back_and_missed_by_name;
            round_trip::planted_difference_is_found;
            streams::log_has_all_lines_in_order;
            streams::followed_log_ends_with_the_container;
            streams::command_has_its_streams_and_its_end;
            streams::events_tell_a_containers_life;
            streams::engine_answers;
        );
    };
    (@ $bench:path; $($module:ident::$promise:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let bench = $bench(stringify!($promise));
            engine_suite::run(&bench, engine_suite::$module::$promise(&bench)).await;
        }
    )*};
}

/// Runs one promise and removes what it left, also when it panics.
pub async fn run(bench: &Bench, promise: impl Future<Output = ()>) {
    bench.clean().await;
    let outcome = AssertUnwindSafe(promise).catch_unwind().await;
    bench.clean().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Bench {
    /// A name of this test's own.
    pub fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// Labels by which everything of the test is found again.
    pub fn bookkeeping(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(RUN.to_owned(), self.prefix.clone())])
    }

    /// Builds an image of busybox with more Dockerfile lines; answers with its name.
    pub async fn image(&self, lines: &str) -> String {
        let name = self.name("image");
        let dockerfile = format!(
            "FROM scratch\nLABEL suite={}\nCOPY busybox /bin/busybox\n\
             CMD [\"/bin/busybox\", \"sleep\", \"3600\"]\n{lines}\n",
            self.prefix
        );
        self.build(&dockerfile, &name).await.expect("the image is built");
        name
    }

    /// Builds from a context of a Dockerfile and busybox.
    pub async fn build(&self, dockerfile: &str, tag: &str) -> Result<String, EngineError> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in [("Dockerfile", dockerfile.as_bytes()), ("busybox", &self.busybox)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, name, bytes).unwrap();
        }
        let context = archive.into_inner().unwrap().into();
        // The engine's search for earlier layers fails when another test removes an image.
        let build = BuildSpec {
            dockerfile: "Dockerfile".to_owned(),
            no_cache: true,
            ..BuildSpec::default()
        };
        self.engine.build_image(&build, &[tag.to_owned()], context, &[], &|_| {}).await
    }

    /// A container of the image, to be changed before it is made.
    pub fn container(&self, what: &str, image: &str) -> NewContainer {
        NewContainer {
            name: self.name(what),
            image: image.to_owned(),
            spec: ServiceSpec { image: image.to_owned(), ..ServiceSpec::default() },
            bookkeeping: self.bookkeeping(),
            resolved_namespaces: BTreeMap::new(),
            kept_volumes: BTreeMap::new(),
        }
    }

    /// Makes and starts a container; answers with its id.
    pub async fn run(&self, new: &NewContainer) -> String {
        let id = self.engine.create_container(new).await.expect("the container is made");
        self.engine.start_container(&id).await.expect("the container starts");
        id
    }

    /// Looks at a container until it is as expected.
    pub async fn wait_until(
        &self,
        id: &str,
        what: &str,
        is_met: impl Fn(&ContainerFacts) -> bool,
    ) -> ContainerFacts {
        let watch = async {
            loop {
                let facts = self.look(id).await;
                if is_met(&facts) {
                    return facts;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let met = tokio::time::timeout(PATIENCE, watch).await;
        met.unwrap_or_else(|_| panic!("{what} did not happen to {id}"))
    }

    /// A container that has to be there.
    pub async fn look(&self, id: &str) -> ContainerFacts {
        let found = self.engine.container(id).await.expect("the engine answers");
        found.expect("the container is there")
    }

    /// Makes a network; answers with its name.
    pub async fn network(&self, what: &str) -> String {
        let name = self.name(what);
        let spec = NetworkSpec { name: name.clone(), ..NetworkSpec::default() };
        self.engine.create_network(&spec, &self.bookkeeping()).await.expect("the network is made");
        name
    }

    /// Makes a volume; answers with its name.
    pub async fn volume(&self, what: &str) -> String {
        let name = self.name(what);
        let spec = VolumeSpec { name: name.clone(), ..VolumeSpec::default() };
        self.engine.create_volume(&spec, &self.bookkeeping()).await.expect("the volume is made");
        name
    }

    /// Removes what the test made.
    async fn clean(&self) {
        let engine = &self.engine;
        let how = RemoveContainer { force: true, anonymous_volumes: true };
        let filter = ContainerFilter::label(RUN, &self.prefix);
        for container in engine.containers(&filter).await.expect("the engine answers") {
            drop(engine.remove_container(&container.id, how).await);
        }
        let label = Some((RUN, self.prefix.as_str()));
        for network in engine.networks(label).await.expect("the engine answers") {
            drop(engine.remove_network(&network.name).await);
        }
        for volume in engine.volumes(label).await.expect("the engine answers") {
            drop(engine.remove_volume(&volume.name).await);
        }
        let image = self.name("image");
        if engine.image(&image).await.expect("the engine answers").is_some() {
            drop(engine.remove_image(&image).await);
        }
    }
}

/// A command for busybox's shell.
pub fn shell(line: &str) -> Option<Vec<String>> {
    Some(["/bin/busybox", "sh", "-c", line].map(str::to_owned).to_vec())
}

/// Memberships without settings.
pub fn members(names: &[&str]) -> NetworkMode {
    let plain = |name: &&str| ((*name).to_owned(), Attachment::default());
    NetworkMode::Networks(names.iter().map(plain).collect())
}

/// The call failed for this reason.
#[track_caller]
pub fn assert_fails<T: std::fmt::Debug>(answer: Result<T, EngineError>, expect: EngineErrorKind) {
    match answer {
        Err(error) => assert_eq!(error.kind, expect, "{error}"),
        Ok(done) => panic!("{expect:?} was expected, and the call answered {done:?}"),
    }
}
