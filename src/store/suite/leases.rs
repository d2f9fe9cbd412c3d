//! Promises about leases: who has lost his attempt, who is still heard, who is taken for lost. Owns no
//! words of its own. Face: one function per promise. Never names a dialect.

use std::time::Duration;

use super::queue::{Queue, conflict, definition};
use super::*;
use crate::base::time::after;
use crate::domain::runs::{Agent, AttemptEnd, CountKey, Definition};
use crate::store::{AttemptRef, Claimed, Conflict, SignOfLife};

pub(crate) async fn a_worker_that_lost_its_attempt_cannot_write(fixture: Fixture) {
    let queue = Queue(&fixture);
    let timeout = Some(Duration::from_secs(45));
    queue.register("shop.mail", Definition { timeout, ..definition() }).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", Some("march"))).await;
    queue.claim(&["shop.mail"], 1).await;
    let mails: CountKey = "mails".parse().unwrap();
    let sign = |attempt, by| SignOfLife {
        attempt: AttemptRef { run_id: run.id, job: None, attempt },
        at: fixture.now(),
        progress: RunProgress { counts: vec![(mails, by)], ..RunProgress::default() },
    };
    let began = fixture.now();
    queue.advance(10);
    let heard = fixture.store.sign_of_life(sign(1, 2)).await.unwrap();
    assert_eq!(heard.lease_until, after(fixture.now(), Duration::from_secs(30)));
    queue.advance(10);
    let heard = fixture.store.sign_of_life(sign(1, 3)).await.unwrap();
    assert_eq!(heard.lease_until, after(began, Duration::from_secs(45)), "no attempt is longer");
    assert!(!heard.cancel_requested);
    let open = fixture.store.open_attempts().await.unwrap();
    assert_eq!(open[0].attempt.lease_until, heard.lease_until);
    let interrupt = Write::InterruptAttempt {
        run_id: run.id,
        attempt: 1,
        end: AttemptEnd::Interrupted,
        at: fixture.now(),
        progress: RunProgress::default(),
    };
    queue.change(interrupt).await.unwrap();
    let fenced = Conflict::Fenced { run_id: run.id, attempt: 1 };
    assert_eq!(conflict(fixture.store.sign_of_life(sign(1, 1)).await), fenced);
    queue.claim(&["shop.mail"], 1).await;
    assert_eq!(conflict(fixture.store.sign_of_life(sign(1, 1)).await), fenced);
    assert_eq!(conflict(fixture.complete(&run, 1).await), fenced);
    fixture.complete(&run, 2).await.unwrap();
    assert_eq!(queue.read(&run).await.summary_counts.get(mails), 5);
}

pub(crate) async fn a_worker_that_spoke_up_is_not_taken_for_lost(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let bulk = queue.enqueue(queue.run("shop.mail", "b", None)).await;
    queue.claim(&["shop.mail"], 1).await;
    queue.fan_out(&bulk, &["x"]).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    let begun = queue.claim(&["shop.mail"], 2).await;
    assert_eq!(begun.len(), 2);
    for Claimed { run: claimed, job, lease_until: read } in begun {
        let key = job.map(|job| job.key);
        let attempt = AttemptRef { run_id: claimed.id, job: key.clone(), attempt: 1 };
        let (run_id, at, end) = (claimed.id, fixture.now(), AttemptEnd::Interrupted);
        let interrupt = match key {
            Some(key) => Write::InterruptJob { run_id, key, attempt: 1, end, at },
            None => {
                let progress = RunProgress::default();
                Write::InterruptAttempt { run_id, attempt: 1, end, at, progress }
            }
        };
        let interrupt_when = |lease_until| {
            let expect = Write::ExpectLease { attempt: attempt.clone(), lease_until };
            fixture.store.commit(vec![expect, interrupt.clone()], fixture.events())
        };
        queue.advance(31);
        // Its lease was over when it was read, and renewed before it was written.
        let progress = RunProgress::default();
        let sign = SignOfLife { attempt: attempt.clone(), at: fixture.now(), progress };
        let renewed = fixture.store.sign_of_life(sign).await.unwrap().lease_until;
        let before = fixture.records().await;
        let refused = conflict(interrupt_when(read).await);
        assert!(matches!(refused, Conflict::Changed { .. }), "{refused}");
        assert_eq!(fixture.records().await, before, "nothing of it is recorded");
        assert_eq!(queue.claim_ids(&["shop.mail"], 1).await, []);
        // The same once it says no more.
        interrupt_when(renewed).await.unwrap();
        assert_eq!(queue.claim_ids(&["shop.mail"], 1).await, [claimed.id]);
        // And when the attempt is another one.
        assert!(matches!(conflict(interrupt_when(renewed).await), Conflict::Fenced { .. }));
    }
    assert_eq!(queue.read(&run).await.attempt, 2);
}

pub(crate) async fn a_lost_worker_is_known_by_host_boot_and_lease(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let agent = |instance: &str, boot: &str| Agent {
        instance: instance.to_owned(),
        host_id: fixture.store.scope().host_id,
        boot_id: boot.to_owned(),
        hostname: "host-1".to_owned(),
        started_at: fixture.now(),
        heartbeat_at: fixture.now(),
    };
    fixture.store.register_agent(agent("boot/0", "boot")).await.unwrap();
    fixture.store.register_agent(agent("boot-1", "boot")).await.unwrap();
    let agents = fixture.store.agents().await.unwrap();
    assert_eq!(agents, [agent("boot-1", "boot")], "one per host");
    let own = fixture.queue("shop", "a").await;
    fixture.claim(1).await;
    let hosted = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    let bulk = queue.enqueue(queue.run("shop.mail", "b", None)).await;
    queue.claim(&["shop.mail"], 2).await;
    queue.fan_out(&bulk, &["x"]).await;
    queue.claim(&["shop.mail"], 1).await;
    let lost = async |instance: &str, boot: &str| {
        let lost = fixture.store.lost(agent(instance, boot), fixture.now()).await.unwrap();
        let runs: Vec<_> = lost.attempts.iter().map(|open| open.run.id).collect();
        (runs, lost.jobs.into_iter().map(|(_, job)| job.key).collect::<Vec<_>>())
    };
    assert_eq!(lost("boot-1", "boot").await, (vec![own.id], vec![]), "its own, as it may forget");
    assert_eq!(lost("boot-2", "boot").await, (vec![own.id], vec![]), "hosted ones outlive it");
    let all = (vec![own.id, hosted.id], vec!["x".to_owned()]);
    assert_eq!(lost("boot-2", "other boot").await, all);
    let next_end = async || {
        let lost = fixture.store.lost(agent("boot-1", "boot"), fixture.now()).await.unwrap();
        lost.next_lease_end
    };
    let end = next_end().await.unwrap();
    assert!(end > fixture.now() && end <= after(fixture.now(), Duration::from_secs(30)), "{end}");
    queue.advance(31);
    assert_eq!(lost("boot-1", "boot").await, all);
    assert_eq!(next_end().await, None, "what this process executes needs no lease");
    let interrupt = |attempt| Write::InterruptJob {
        run_id: bulk.id,
        key: "x".to_owned(),
        attempt,
        end: AttemptEnd::Interrupted,
        at: fixture.now(),
    };
    queue.change(interrupt(1)).await.unwrap();
    let again = queue.claim(&["shop.mail"], 1).await;
    assert_eq!(again[0].job.as_ref().map(|job| (job.attempt, job.interruptions)), Some((2, 1)));
    let late = conflict(queue.change(interrupt(1)).await);
    assert!(matches!(late, Conflict::Fenced { .. }), "{late}");
}
