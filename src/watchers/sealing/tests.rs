use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::domain::audit::EventType;
use crate::domain::audit::person::pseudonym;
use crate::domain::audit::seal::Checkpoint;
use crate::domain::runs::End;
use crate::operations::audit::AuditLog;
use crate::store::{AuditFilter, AuditWrite, Erasure, PageRequest, Write};
use crate::watchers::stage::{Lasting, Stage};
use crate::world::tasks::Spawn as _;

const RUNS: Lasting = Lasting { time: std::time::Duration::from_secs(1), end: End::Succeeded };

/// A place that takes what it is sent, or does not.
#[derive(Default)]
struct Place {
    is_away: AtomicBool,
    has: Mutex<Vec<Checkpoint>>,
}

impl Anchor for Place {
    fn name(&self) -> &str {
        "place"
    }

    fn place(&self) -> String {
        "place".to_owned()
    }

    fn put(&self, checkpoints: Vec<Checkpoint>) -> BoxFuture<'_, Result<(), NotAnchored>> {
        async move {
            if self.is_away.load(Ordering::Relaxed) {
                return Err(NotAnchored("nobody is there".to_owned()));
            }
            self.has.lock().unwrap().extend(checkpoints);
            Ok(())
        }
        .boxed()
    }
}

impl Place {
    fn last(&self) -> Option<u64> {
        self.has.lock().unwrap().last().map(|checkpoint| checkpoint.sealed.seq)
    }
}

struct Watched {
    stage: Stage,
    commits: Arc<Commits>,
    place: Arc<Place>,
    lags: Arc<Mutex<Vec<(bool, u64)>>>,
}

async fn watched(retention: Option<SignedDuration>) -> Watched {
    watched_on(Stage::at("2026-06-01T00:00:00Z", RUNS).await, retention)
}

fn watched_on(stage: Stage, retention: Option<SignedDuration>) -> Watched {
    let place: Arc<Place> = Arc::default();
    watched_with(stage, retention, vec![Arc::clone(&place) as _], place)
}

fn watched_with(
    stage: Stage,
    retention: Option<SignedDuration>,
    anchors: Vec<Arc<dyn Anchor>>,
    place: Arc<Place>,
) -> Watched {
    let commits = Arc::new(Commits::default());
    let lags = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lags);
    let sealing = Sealing::new(
        Arc::clone(&stage.store),
        Arc::clone(&commits),
        anchors,
        retention,
        stage.ambient.clone(),
        Arc::new(move |_, reached, lag| told.lock().unwrap().push((reached, lag))),
    );
    let stop = stage.supervisor.stop_token();
    let _watched = stage.supervisor.spawn("audit", sealing.watch(stop).boxed());
    Watched { stage, commits, place, lags }
}

impl Watched {
    /// Something happens, as many times.
    async fn happen(&self, times: usize) {
        for _ in 0..times {
            let log = AuditLog::new(Arc::clone(&self.stage.store), self.stage.ambient.clone());
            let event =
                log.event(EventType::AgentStarted, "it happened".to_owned(), Actor::agent());
            self.stage.store.commit(Vec::new(), event.into()).await.unwrap();
            self.commits.note(1);
        }
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    }

    async fn unsealed(&self) -> u64 {
        let verdict = self.stage.store.verify_audit().await.unwrap();
        assert_eq!(verdict.breaks, []);
        verdict.unsealed
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_sealed_within_a_second() {
    let watched = watched(None).await;
    watched.pass(2).await;
    assert_eq!(watched.unsealed().await, 0, "what was there at the start");
    watched.happen(3).await;
    assert_eq!(watched.unsealed().await, 3);
    watched.pass(2).await;
    assert_eq!(watched.unsealed().await, 0);
    let checkpoints = watched.stage.store.audit_checkpoints(0, 100).await.unwrap().len();
    watched.pass(3600).await;
    assert_eq!(watched.stage.store.audit_checkpoints(0, 100).await.unwrap().len(), checkpoints);
}

#[tokio::test(start_paused = true)]
async fn a_log_is_sealed_for_ever_where_nothing_is_anchored_or_purged() {
    let stage = Stage::at("2026-06-01T00:00:00Z", RUNS).await;
    let watched = watched_with(stage, None, Vec::new(), Arc::default());
    for _ in 0..3 {
        watched.happen(2).await;
        watched.pass(2).await;
        assert_eq!(watched.unsealed().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_anchor_that_was_away_catches_up() {
    let watched = watched(None).await;
    watched.happen(1).await;
    watched.pass(2).await;
    let first = watched.place.last().unwrap();
    watched.place.is_away.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        watched.happen(1).await;
        watched.pass(5).await;
    }
    assert_eq!(watched.unsealed().await, 0, "an anchor that is away holds nothing up");
    assert_eq!(watched.place.last(), Some(first));
    let (reached, lag) = *watched.lags.lock().unwrap().last().unwrap();
    assert!(!reached && lag >= 1, "{lag}");
    watched.place.is_away.store(false, Ordering::Relaxed);
    watched.pass(120).await;
    assert_eq!(watched.place.last(), Some(first + 5));
    assert_eq!(watched.lags.lock().unwrap().last(), Some(&(true, 0)));
    let has = watched.place.has.lock().unwrap().clone();
    assert_eq!(has, watched.stage.store.audit_checkpoints(0, 100).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_what_is_kept_is_purged() {
    let watched = watched(Some(days(1))).await;
    for _ in 0..4 {
        watched.happen(2).await;
        watched.pass(12 * 3600).await;
    }
    watched.happen(1).await;
    watched.pass(3 * 3600).await;
    // The purge itself is recorded, and nobody here told of that commit.
    assert!(watched.unsealed().await <= 1);
    assert!(watched.stage.recorded(EventType::AuditPurged).await >= 1);
    let left = watched.stage.recorded(EventType::AgentStarted).await;
    assert!((3..9).contains(&left), "{left}");
}

#[tokio::test(start_paused = true)]
async fn an_erasure_that_a_crash_interrupted_is_completed_at_the_start() {
    let stage = Stage::at("2026-06-01T00:00:00Z", RUNS).await;
    let log = AuditLog::new(Arc::clone(&stage.store), stage.ambient.clone());
    let owner = stage.store.scope().owner_id;
    let ada = Actor::human(owner, "ada lovelace");
    let event = log.event(EventType::ProjectPaused, "ada lovelace paused web".to_owned(), ada);
    stage.store.commit(Vec::new(), event.into()).await.unwrap();
    let pseudonym = pseudonym(&owner.to_string());
    let said = "A person was erased".to_owned();
    let mut event = log.event(EventType::PersonErased, said, Actor::agent());
    event.context.pseudonym = Some(pseudonym.clone());
    let erasure = Erasure {
        subject: owner.to_string(),
        label: None,
        pseudonym: pseudonym.clone(),
        asked_at: stage.ambient.now(),
    };
    let write = Write::Audit(AuditWrite::Erase(erasure));
    // The process that asked for it ends here.
    stage.store.commit(vec![write], event.into()).await.unwrap();
    let found = async |stage: &Stage, text: &str| {
        let workspace = stage.store.scope().workspace_id;
        let search = Some(text.to_owned());
        let filter = AuditFilter { search, ..AuditFilter::workspace(workspace) };
        stage.store.audit(filter, PageRequest::default()).await.unwrap().items.len()
    };
    assert_eq!(found(&stage, "lovelace").await, 1);
    let watched = watched_on(stage, None);
    watched.pass(2).await;
    assert_eq!(found(&watched.stage, "lovelace").await, 0);
    assert_eq!(found(&watched.stage, &format!("{pseudonym} paused web")).await, 1);
    assert_eq!(watched.unsealed().await, 0);
}
