//! Puts the agent together. Owns which part gets which. Face: `Agent::assemble`. Never contains a
//! rule: it connects what others decided.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::watch;

use super::RunError;
use super::config::{AnchorPlace, Config, Postgres, StorePlace};
use super::counted_store::CountedStore;
use super::state_dir;

use crate::api::access::Gate;
use crate::api::listen::{self, Listener, SocketOptions};
use crate::api::metrics::Metrics;
use crate::api::{About, Api};
use crate::base::{Ambient, CrashPoints};
use crate::domain::alerts::DeliveryStatus;
use crate::domain::policy::PolicySet;
use crate::domain::rollout::HostPathPolicy;
use crate::domain::schedules::Calendar;
use crate::operations::access::Access;
use crate::operations::alerts::Alerts;
use crate::operations::backups::Backups;
use crate::operations::enforcement::{DoneObserver, Enforcement, SharedEnforcement};
use crate::operations::exec::Exec;
use crate::operations::findings::Findings;
use crate::operations::policies::{PolicyKeeper, PolicyObserver, SharedPolicies};
use crate::operations::projects::Projects;
use crate::operations::registries::Registries;
use crate::operations::rollout::Rollout;
use crate::operations::runbooks::Runbooks;
use crate::operations::scans::Scans;
use crate::operations::schedules::Schedules;
use crate::operations::{Operations, Runner, RunnerOptions, Within};
use crate::store::Store;
use crate::store::keys::Keys;
use crate::store::postgres::News;
use crate::store::sqlite::{self, Mode, Opening};
use crate::store::{CommitObserver, host as host_id, postgres};
use crate::watchers::convergence::{Convergence, ConvergenceOptions, Noticed, Observer};
use crate::watchers::deliveries::{Deliveries, DeliveryObserver};
use crate::watchers::enforcement::{PolicyWatchOptions, PolicyWatcher, WatchObserver, Watched};
use crate::watchers::schedules::Scheduler;
use crate::watchers::sealing::{self, AnchorObserver, Commits, Sealing};
use crate::watchers::unhealthy::Healer;
use crate::world::advisories::Advisories;
use crate::world::anchors::{Anchor, FileAnchor, WebhookAnchor};
use crate::world::clock::SystemClock;
use crate::world::content_files::FilesOnDisk;
use crate::world::contexts::Contexts;
use crate::world::docker::{
    CallObserver, DockerEngine, EngineAddress, ObservedEngine, SharedEngine,
};
use crate::world::groups;
use crate::world::host::{self, SystemEntropy};
use crate::world::notify::HttpNotify;
use crate::world::runbook_files::Folder;
use crate::world::tasks::{Spawn as _, Supervisor, TaskHandle};

/// Everything that lives as long as the process.
pub(super) struct Agent {
    pub(super) ambient: Ambient,
    pub(super) store: Arc<dyn Store>,
    pub(super) engine: SharedEngine,
    pub(super) runner: Arc<Runner>,
    pub(super) contexts: Arc<Contexts>,
    pub(super) supervisor: Supervisor,
    pub(super) api: Api,
    /// Keeps projects as applied; taken when it starts.
    pub(super) convergence: Option<Convergence>,
    /// Deals with unhealthy containers; taken when it starts.
    pub(super) healer: Option<Healer>,
    /// Judges what runs; taken when it starts.
    pub(super) watcher: Option<PolicyWatcher>,
    /// Changes how policies are enforced.
    pub(super) enforcement: SharedEnforcement,
    /// Changes how what runs is watched.
    pub(super) watch_options: watch::Sender<PolicyWatchOptions>,
    /// Lets schedules fire; taken when it starts.
    pub(super) scheduler: Option<Scheduler>,
    /// Sends alerts; taken when it starts.
    pub(super) deliveries: Option<Deliveries>,
    /// Puts policies in force.
    pub(super) policies: PolicyKeeper,
    /// Seals the audit log; taken when it starts.
    pub(super) sealing: Option<Sealing>,
    /// What other agents on the same database tell; none when there can be none.
    pub(super) news: Option<watch::Receiver<News>>,
    /// Changes when images are scanned.
    pub(super) scan_calendar: watch::Sender<Option<Calendar>>,
    /// Changes how projects are kept.
    pub(super) convergence_options: watch::Sender<ConvergenceOptions>,
}

impl Agent {
    /// Opens what is there and makes what is not, without starting anything. The store comes first:
    /// its lock keeps a second agent from touching the rest.
    pub(super) async fn assemble(config: &Config) -> Result<(Self, Listener), RunError> {
        state_dir::prepare(&config.state_dir).map_err(RunError::StateDir)?;
        let ambient = Ambient {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            crash_points: crash_points()?,
        };
        let keys =
            Keys::open_or_create(&config.state_dir, &*ambient.entropy).map_err(RunError::Store)?;
        let metrics = Arc::new(Metrics::new().map_err(RunError::Metrics)?);
        let commits = Arc::new(Commits::default());
        let (store, news) = open_store(config, &keys, &ambient, (&metrics, &commits)).await?;
        let store: Arc<dyn Store> = Arc::new(CountedStore::new(store, Arc::clone(&metrics)));
        let engine = engine(config, &ambient, &metrics)?;
        let contexts = Contexts::open(&config.state_dir, config.contexts_bytes_max);
        let contexts = Arc::new(contexts.map_err(RunError::Contexts)?);
        let supervisor = Supervisor::new();
        let options = RunnerOptions {
            workers_max: config.workers,
            tenants: config.tenants.clone(),
            hostname: host::hostname(),
            ..RunnerOptions::new(instance(&ambient)?)
        };
        let policies = PolicyKeeper::new(
            SharedPolicies::new(PolicySet::default()).with_rules(config.rules.clone()),
            Arc::clone(&store),
            ambient.clone(),
            &config.state_dir,
            policy_observer(&metrics),
        );
        // Before anything is deployed.
        policies.load(config.policies.clone()).await;
        let enforcement =
            SharedEnforcement::new(config.enforcement.settings.clone(), host::own_container())
                .observed(enforcement_observer(&metrics));
        let rollout = Rollout {
            engine: Arc::clone(&engine),
            store: Arc::clone(&store),
            key: keys.hash_key().clone(),
            files: Arc::new(FilesOnDisk::below(&config.state_dir)),
            contexts: Arc::clone(&contexts),
            policies: policies.policies().clone(),
            enforcement: enforcement.clone(),
        };
        let advisories = Advisories::below(&config.state_dir, config.images.advisories.clone());
        let runner = Runner::new(
            Arc::clone(&store),
            ambient.clone(),
            Operations::on_projects(&rollout).and_scans(&rollout, &advisories),
            Arc::new(supervisor.clone()),
            options,
        );
        let listener = listen::bind(&socket(config)?).map_err(RunError::Bind)?;
        let policy = host_path_policy(config);
        let (convergence_options, options) = watch::channel(convergence_options(config));
        let clock = Arc::clone(&ambient.clock);
        let convergence = Convergence::new(rollout.clone(), runner.door(), clock, options)
            .observed(convergence_observer(&metrics));
        let healer = Healer::new(rollout.clone(), runner.door(), ambient.clone());
        let (watch_options, options) = watch::channel(policy_watch_options(config));
        let watcher = PolicyWatcher::new(rollout.clone(), runner.door(), ambient.clone(), options)
            .observed(watch_observer(&metrics))
            .keeping(Findings::new(Arc::clone(&store), ambient.clone()));
        let enforcing = Enforcement::new(rollout.clone(), runner.door(), ambient.clone());
        let (scan_calendar, _) = watch::channel(config.images.scan_schedule.clone());
        let scans = Scans::new(rollout.clone(), runner.door(), advisories, ambient.clone())
            .calling_old_after(config.images.advisories_age_max);
        let projects = Projects::new(rollout, runner.door(), ambient.clone(), policy);
        let schedules = Schedules::new(Arc::clone(&store), runner.door(), ambient.clone());
        let alerts = Alerts::new(Arc::clone(&store), ambient.clone());
        let deliveries = Deliveries::new(
            Arc::clone(&store),
            Arc::new(HttpNotify::default()),
            runner.door(),
            alerts.changed(),
            ambient.clone(),
            config.alerts_run_url.clone(),
            delivery_observer(&metrics),
        );
        let sealing = Sealing::new(
            Arc::clone(&store),
            commits,
            anchors(config),
            config.audit.retention_days.map(sealing::days),
            ambient.clone(),
            anchor_observer(&metrics),
        );
        let api = Api {
            enforcement: enforcing,
            schedules: schedules.clone(),
            policies: policies.clone(),
            exec: Exec::new(
                Arc::clone(&store),
                Arc::clone(&engine),
                ambient.clone(),
                Arc::new(supervisor.clone()),
                supervisor.stop_token(),
            ),
            alerts,
            registries: Registries::new(Arc::clone(&store), Arc::clone(&engine), ambient.clone()),
            findings: Findings::new(Arc::clone(&store), ambient.clone()),
            scans,
            runbooks: Runbooks::new(
                Arc::clone(&store),
                runner.door(),
                ambient.clone(),
                Folder::new(config.runbooks.clone()),
            ),
            backups: Backups::new(Arc::clone(&store), ambient.clone()),
            store: Arc::clone(&store),
            door: runner.door(),
            hosted: runner.hosted(),
            projects,
            engine: Arc::clone(&engine),
            ambient: ambient.clone(),
            metrics,
            contexts: Arc::clone(&contexts),
            access: Access::new(Arc::clone(&store), ambient.clone())
                .allowing(config.access.allowance),
            gate: Gate {
                own_uid: host::os_user().uid,
                group_id: listener.group_id().ok(),
                group_role: config.access.socket_group_role,
            },
            within: Within::host(store.scope()),
            about: Arc::new(About {
                started_at: ambient.now(),
                state_dir: config.state_dir.clone(),
                engine_address: config.engine_address.clone(),
            }),
            stop: supervisor.stop_token(),
        };
        let agent = Self {
            ambient,
            store,
            engine,
            runner,
            contexts,
            supervisor,
            api,
            news,
            convergence: Some(convergence),
            healer: Some(healer),
            watcher: Some(watcher),
            enforcement,
            watch_options,
            scheduler: Some(Scheduler::new(schedules)),
            deliveries: Some(deliveries),
            policies,
            sealing: Some(sealing),
            convergence_options,
            scan_calendar,
        };
        Ok((agent, listener))
    }

    /// Starts a task that ends by itself when the agent stops; the handle tells when it ended.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> TaskHandle {
        self.supervisor.spawn(name, task.boxed())
    }

    /// Starts a task that may be dropped between any two of its steps when the agent stops.
    pub(super) fn spawn_until_stop(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.supervisor.stop_token();
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

fn delivery_observer(metrics: &Arc<Metrics>) -> DeliveryObserver {
    let metrics = Arc::clone(metrics);
    Arc::new(move |status, took| {
        let outcome = match status {
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Pending => "failed",
            DeliveryStatus::GivenUp => "given_up",
        };
        metrics.alert_delivery(outcome, took);
    })
}

fn policy_observer(metrics: &Arc<Metrics>) -> PolicyObserver {
    let metrics = Arc::clone(metrics);
    Arc::new(move |loading, count| {
        let at = loading.loaded_at.map(|at| at.as_second());
        metrics.policies(count, at, loading.failures);
    })
}

fn enforcement_observer(metrics: &Arc<Metrics>) -> DoneObserver {
    let metrics = Arc::clone(metrics);
    Arc::new(move |rung, took| metrics.enforcement_acted(rung.key(), took))
}

fn watch_observer(metrics: &Arc<Metrics>) -> WatchObserver {
    let metrics = Arc::clone(metrics);
    Arc::new(move |what| match what {
        Watched::Judged(after) => metrics.enforcement_judged("judged", after),
        Watched::Failed => metrics.enforcement_judged("failed", None),
        Watched::Asked(_, _) => metrics.enforcement_judged("asked", None),
        Watched::Refused(leave) => metrics.enforcement_refused(leave.key()),
        Watched::Swept(took) => metrics.enforcement_swept(took),
    })
}

/// How what runs is watched.
pub(super) fn policy_watch_options(config: &Config) -> PolicyWatchOptions {
    PolicyWatchOptions {
        is_enabled: config.enforcement.settings.is_enabled,
        sweep_interval: config.enforcement.sweep_interval,
    }
}

fn anchor_observer(metrics: &Arc<Metrics>) -> AnchorObserver {
    let metrics = Arc::clone(metrics);
    Arc::new(move |anchor, is_reached, lag| metrics.audit_anchor(anchor, is_reached, lag))
}

/// Where checkpoints of the audit log go outside of the host.
fn anchors(config: &Config) -> Vec<Arc<dyn Anchor>> {
    let anchor = |place: &AnchorPlace| -> Arc<dyn Anchor> {
        match place {
            AnchorPlace::File(path) => Arc::new(FileAnchor::new(path.clone())),
            AnchorPlace::Webhook(url) => {
                Arc::new(WebhookAnchor::new(url.clone(), Arc::new(HttpNotify::default())))
            }
        }
    };
    config.audit.anchors.iter().map(anchor).collect()
}

/// How applied projects are kept.
pub(super) fn convergence_options(config: &Config) -> ConvergenceOptions {
    ConvergenceOptions {
        enabled: config.convergence.enabled,
        sweep_interval: config.convergence.sweep_interval,
        debounce: config.convergence.debounce,
    }
}

/// Which host paths users other than root may mount.
pub(super) fn host_path_policy(config: &Config) -> HostPathPolicy {
    let roots = config.host_path_roots.iter().map(|root| root.to_string_lossy().into_owned());
    HostPathPolicy { roots: roots.collect() }
}

/// A store, and how it tells that another agent brought work.
pub(super) type OpenStore = (Arc<dyn Store>, Option<watch::Receiver<News>>);

pub(super) async fn open_store(
    config: &Config,
    keys: &Keys,
    ambient: &Ambient,
    (metrics, commits): (&Arc<Metrics>, &Arc<Commits>),
) -> Result<OpenStore, RunError> {
    let state_dir = &config.state_dir;
    let (metrics, commits) = (Arc::clone(metrics), Arc::clone(commits));
    let on_commit: Option<CommitObserver> = Some(Arc::new(move |writes| {
        metrics.store_batch(writes);
        commits.note(writes);
    }));
    let place = match &config.store {
        StorePlace::Sqlite => {
            let opened = sqlite::open(Opening {
                state_dir,
                keys,
                ambient,
                os_user: &host::os_user().name,
                hostname: &host::hostname(),
                agent_version: env!("CARGO_PKG_VERSION"),
                mode: Mode::Threaded,
                on_commit,
            });
            return Ok((opened.map_err(RunError::Store)?.store, None));
        }
        StorePlace::Postgres(place) => place,
    };
    let opened = postgres::open(postgres::Opening {
        server: server(place)?,
        readers_max: place.readers,
        state_dir: state_dir.clone(),
        host_id: host_id::open_or_create(state_dir, ambient).map_err(RunError::Store)?,
        keys: keys.clone(),
        ambient: ambient.clone(),
        os_user: host::os_user().name,
        hostname: host::hostname(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        on_commit,
    });
    let store = opened.await.map_err(RunError::Store)?.store;
    let news = store.news();
    Ok((store, Some(news)))
}

/// The server that the configuration names, with the password that its file holds.
pub(super) fn server(place: &Postgres) -> Result<postgres::Server, RunError> {
    let password = match &place.password_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| RunError::Password { path: path.clone(), source })?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned().into())
        }
        None => None,
    };
    Ok(postgres::Server {
        host: match place.host.starts_with('/') {
            true => postgres::Host::Socket(place.host.clone().into()),
            false => postgres::Host::Network(place.host.clone()),
        },
        port: place.port,
        user: place.user.clone(),
        password,
        database: place.database.clone(),
    })
}

fn engine(
    config: &Config,
    ambient: &Ambient,
    metrics: &Arc<Metrics>,
) -> Result<SharedEngine, RunError> {
    let address = EngineAddress::parse(&config.engine_address).map_err(RunError::EngineAddress)?;
    let metrics = Arc::clone(metrics);
    let observer: CallObserver = Arc::new(move |call| {
        let outcome = if call.failure.is_none() { "ok" } else { "failed" };
        metrics.engine_call(call.method, outcome, call.duration);
    });
    let engine = Arc::new(DockerEngine::at(address));
    Ok(Arc::new(ObservedEngine::new(engine, Arc::clone(&ambient.crash_points), observer)))
}

fn convergence_observer(metrics: &Arc<Metrics>) -> Observer {
    let metrics = Arc::clone(metrics);
    Arc::new(move |noticed| match noticed {
        Noticed::Swept => metrics.convergence_swept(),
        Noticed::Settled => metrics.convergence_looked("settled"),
        Noticed::Asked => metrics.convergence_looked("asked"),
        Noticed::Failed => metrics.convergence_looked("failed"),
    })
}

fn socket(config: &Config) -> Result<SocketOptions, RunError> {
    let group_id = match &config.socket.group {
        Some(name) => Some(groups::group_id(name).ok_or_else(|| RunError::Group(name.clone()))?),
        None => None,
    };
    Ok(SocketOptions { path: config.socket.path.clone(), mode: config.socket.mode, group_id })
}

/// Names this process among all that ever wrote to the store.
fn instance(ambient: &Ambient) -> Result<String, RunError> {
    let boot =
        host::boot_id().map_err(|source| RunError::System { act: "read the boot id", source })?;
    Ok(format!("{boot}/{:016x}", ambient.entropy.next_u64()))
}

/// A debug build crashes where `WHARF_CRASH_AT` says, and lists the places in `WHARF_CRASH_LOG`.
#[cfg(debug_assertions)]
pub(super) fn crash_points() -> Result<Arc<dyn CrashPoints>, RunError> {
    let at = std::env::var("WHARF_CRASH_AT").ok().and_then(|text| text.parse().ok());
    let log = std::env::var_os("WHARF_CRASH_LOG").map(std::path::PathBuf::from);
    let points = crate::world::crash::CrashAt::new(at, log.as_deref())
        .map_err(|source| RunError::System { act: "open the log of crash points", source })?;
    Ok(Arc::new(points))
}

/// A release build never crashes on purpose.
#[cfg(not(debug_assertions))]
pub(super) fn crash_points() -> Result<Arc<dyn CrashPoints>, RunError> {
    Ok(Arc::new(crate::base::crash_points::NoCrashPoints))
}
