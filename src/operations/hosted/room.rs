//! Where claimants wait for work. Owns who waits for which types, and what is owed to claimants who
//! left. Face: `Room`, `Seat`, `Reserved`, `Held`. Never looks at the store: a claimant who waits
//! costs nothing until there may be something for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::base::Timestamp;
use crate::domain::runs::{Holder, OperationRun, RunType};
use crate::store::Claimed;

/// Claimants that wait, in the order of their coming.
#[derive(Debug, Default)]
pub(in crate::operations) struct Room {
    state: Mutex<State>,
    /// Whether some part of the queue has a limit.
    is_limited: AtomicBool,
    /// Whether the keeper sleeps because nobody waits.
    is_unattended: AtomicBool,
    /// Told when the keeper has to look: somebody came, something is owed, something is due sooner.
    keeper: Notify,
    /// Told when a lease ends sooner than was known.
    reaper: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    by_type: BTreeMap<RunType, BTreeSet<u64>>,
    /// How often there may have been work of a type; `all` of any type.
    news: BTreeMap<RunType, u64>,
    all: u64,
    /// Work that nobody heard of: its claimants left.
    owed: Vec<Claimed>,
    /// When something is due.
    dues: BTreeSet<Timestamp>,
    /// When the next lease ends, or earlier.
    lease_end: Option<Timestamp>,
}

#[derive(Debug)]
struct Waiter {
    run_types: Vec<RunType>,
    holder: Holder,
    tell: oneshot::Sender<Told>,
}

/// What a waiting claimant hears.
#[derive(Debug)]
pub(super) enum Told {
    /// Work that is theirs already.
    Work(Held),
    /// There may be work: claim.
    Look,
}

/// Work that was taken for somebody, and is given back when they never hear of it.
#[derive(Debug)]
pub(super) struct Held {
    claimed: Vec<Claimed>,
    room: Arc<Room>,
}

impl Held {
    pub(super) fn new(room: &Arc<Room>, claimed: Vec<Claimed>) -> Self {
        if let Some(end) = claimed.iter().map(|claimed| claimed.lease_until).min() {
            room.leased(end);
        }
        Self { claimed, room: Arc::clone(room) }
    }

    /// The claimant hears of it now.
    pub(super) fn take(mut self) -> Vec<Claimed> {
        std::mem::take(&mut self.claimed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.claimed.is_empty() {
            self.room.lock().owed.append(&mut self.claimed);
            self.room.keeper.notify_one();
        }
    }
}

/// A place in the room. Leaving it passes on what was told and not heard.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    run_types: Vec<RunType>,
    told: oneshot::Receiver<Told>,
    room: Arc<Room>,
}

impl Seat {
    /// Waits for what is told.
    pub(super) async fn told(&mut self) -> Told {
        (&mut self.told).await.unwrap_or(Told::Look)
    }

    /// What was told at the last moment.
    pub(super) fn leave(mut self) -> Option<Held> {
        self.room.remove(self.id);
        match self.told.try_recv() {
            Ok(Told::Work(held)) => Some(held),
            Ok(Told::Look) => {
                self.room.wake(&self.run_types);
                None
            }
            Err(_) => None,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.remove(self.id);
        if let Ok(Told::Look) = self.told.try_recv() {
            self.room.wake(&self.run_types);
        }
    }
}

/// A claimant that is kept for one run. Without a run it is told to look for itself.
#[derive(Debug)]
pub(in crate::operations) struct Reserved {
    waiter: Option<Waiter>,
    room: Arc<Room>,
}

impl Reserved {
    /// Who takes it.
    pub(in crate::operations) fn holder(&self) -> Option<Holder> {
        self.waiter.as_ref().map(|waiter| waiter.holder.clone())
    }

    /// Gives the run that was begun for the claimant.
    pub(in crate::operations) fn hand_over(mut self, claimed: Claimed) {
        let held = Held::new(&self.room, vec![claimed]);
        if let Some(waiter) = self.waiter.take() {
            // A claimant that has left gives it back by not hearing it.
            drop(waiter.tell.send(Told::Work(held)));
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take()
            && waiter.tell.send(Told::Look).is_err()
        {
            self.room.wake(&waiter.run_types);
        }
    }
}

impl Room {
    /// How much was heard of these types so far: what `enter` compares.
    pub(super) fn news(&self, run_types: &[RunType]) -> u64 {
        self.lock().news_of(run_types)
    }

    /// Takes a seat, unless there were news since the claimant looked for work.
    pub(super) fn enter(
        self: &Arc<Self>,
        run_types: Vec<RunType>,
        holder: Holder,
        seen: u64,
    ) -> Option<Seat> {
        let mut state = self.lock();
        if state.news_of(&run_types) != seen {
            return None;
        }
        let (tell, told) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        for run_type in &run_types {
            state.by_type.entry(*run_type).or_default().insert(id);
        }
        state.waiting.insert(id, Waiter { run_types: run_types.clone(), holder, tell });
        if self.is_unattended.swap(false, Ordering::Relaxed) {
            self.keeper.notify_one();
        }
        Some(Seat { id, run_types, told, room: Arc::clone(self) })
    }

    /// Keeps the claimant that has waited longest for this type, if there is one.
    pub(in crate::operations) fn reserve(self: &Arc<Self>, run_type: RunType) -> Option<Reserved> {
        let mut state = self.lock();
        let id = *state.by_type.get(&run_type)?.first()?;
        let waiter = state.remove(id);
        Some(Reserved { waiter, room: Arc::clone(self) })
    }

    /// There may be work of these types: tells as few claimants as are needed to find it. Who
    /// finds more than it can take wakes the next.
    pub(in crate::operations) fn wake(&self, run_types: &[RunType]) {
        let mut state = self.lock();
        for run_type in run_types {
            *state.news.entry(*run_type).or_default() += 1;
        }
        let firsts = run_types.iter().filter_map(|run_type| state.by_type.get(run_type)?.first());
        let firsts: BTreeSet<u64> = firsts.copied().collect();
        state.tell(firsts);
    }

    /// There may be work of any type.
    pub(in crate::operations) fn wake_all(&self) {
        let mut state = self.lock();
        state.all += 1;
        let firsts = state.by_type.values().filter_map(|waiters| waiters.first().copied());
        let firsts: BTreeSet<u64> = firsts.collect();
        state.tell(firsts);
    }

    /// There may be work of any type, and something may be due: others than this agent changed it.
    pub(in crate::operations) fn look(&self) {
        self.wake_all();
        self.keeper.notify_one();
    }

    /// A run has given back what others may wait for: its subject, or its place under a limit.
    pub(in crate::operations) fn freed(&self, run: &OperationRun) {
        if run.subject.is_some() || self.is_limited.load(Ordering::Relaxed) {
            self.wake_all();
        }
    }

    /// Whether a limit makes one run's end another's beginning.
    pub(in crate::operations) fn set_limited(&self, is_limited: bool) {
        self.is_limited.fetch_or(is_limited, Ordering::Relaxed);
    }

    /// The same, when all limits are known.
    pub(super) fn know_limited(&self, is_limited: bool) {
        self.is_limited.store(is_limited, Ordering::Relaxed);
    }

    /// Whether a limit is known.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// Something is due then. It is kept until its time: any claim, of whatever types, makes what is
    /// due ready, and whoever waits for it must hear of that although it is due no more.
    pub(in crate::operations) fn due_at(&self, at: Timestamp) {
        if self.lock().dues.insert(at) {
            self.keeper.notify_one();
        }
    }

    /// What was due until now is forgotten; whether there was any.
    pub(super) fn take_due(&self, now: Timestamp) -> bool {
        let mut state = self.lock();
        let later: BTreeSet<_> = state.dues.iter().copied().filter(|due| *due > now).collect();
        let passed = later.len() < state.dues.len();
        state.dues = later;
        passed
    }

    /// When something is due next, as far as is known here.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.lock().dues.first().copied()
    }

    /// Somebody works with a lease that ends then, if it is not renewed.
    pub(in crate::operations) fn leased(&self, end: Timestamp) {
        let mut state = self.lock();
        if state.lease_end.is_none_or(|known| end < known) {
            state.lease_end = Some(end);
            self.reaper.notify_one();
        }
    }

    /// When the next lease ends, or earlier: a renewed one is looked at once for nothing.
    pub(in crate::operations) fn lease_end(&self) -> Option<Timestamp> {
        self.lock().lease_end
    }

    /// The same, forgotten: whoever looks at the leases says then when the next one ends.
    pub(in crate::operations) fn forget_lease_end(&self) {
        self.lock().lease_end = None;
    }

    /// Waits until a lease ends sooner than was known.
    pub(in crate::operations) async fn lease_ends_sooner(&self) {
        self.reaper.notified().await;
    }

    /// Waits until the keeper has to look.
    pub(super) async fn keeper_wanted(&self) {
        self.keeper.notified().await;
    }

    /// Waits until somebody waits, or something is owed.
    pub(super) async fn somebody(&self) {
        self.is_unattended.store(true, Ordering::Relaxed);
        // Whoever came before that was not told of it.
        if self.waiting_count() == 0 {
            self.keeper.notified().await;
        }
    }

    /// What claimants who left were given.
    pub(super) fn take_owed(&self) -> Vec<Claimed> {
        std::mem::take(&mut self.lock().owed)
    }

    /// Who waits, in the order of their coming, and for what.
    pub(super) fn waiting(&self) -> Vec<(String, Vec<RunType>)> {
        let state = self.lock();
        let waiters = state.waiting.values();
        waiters.map(|it| (it.holder.instance.clone(), it.run_types.clone())).collect()
    }

    /// How many wait.
    pub(super) fn waiting_count(&self) -> usize {
        self.lock().waiting.len()
    }

    fn remove(&self, id: u64) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn news_of(&self, run_types: &[RunType]) -> u64 {
        let of_types = run_types.iter().map(|it| self.news.get(it).copied().unwrap_or(0));
        of_types.fold(self.all, u64::wrapping_add)
    }

    fn remove(&mut self, id: u64) -> Option<Waiter> {
        let waiter = self.waiting.remove(&id)?;
        for run_type in &waiter.run_types {
            if let Some(waiters) = self.by_type.get_mut(run_type) {
                waiters.remove(&id);
                if waiters.is_empty() {
                    self.by_type.remove(run_type);
                }
            }
        }
        Some(waiter)
    }

    /// Tells these to look. One that left has seen the news, because it must enter again.
    fn tell(&mut self, ids: BTreeSet<u64>) {
        for id in ids {
            if let Some(waiter) = self.remove(id) {
                drop(waiter.tell.send(Told::Look));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(names: &[&str]) -> Vec<RunType> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn holder(name: &str) -> Holder {
        Holder { instance: name.to_owned(), host_id: None, boot_id: None, is_hosted: true }
    }

    fn enter(room: &Arc<Room>, name: &str, names: &[&str]) -> Seat {
        let run_types = types(names);
        let seen = room.news(&run_types);
        room.enter(run_types, holder(name), seen).unwrap()
    }

    #[test]
    fn whoever_looked_before_the_news_looks_again() {
        let room = Arc::new(Room::default());
        let (mail, bill) = (types(&["shop.mail"]), types(&["shop.bill"]));
        let seen = room.news(&mail);
        room.wake(&bill);
        assert!(room.enter(mail.clone(), holder("a"), seen).is_some(), "news of another type");
        room.wake(&mail);
        assert!(room.enter(mail.clone(), holder("a"), seen).is_none());
        let seen = room.news(&mail);
        room.wake_all();
        assert!(room.enter(mail, holder("a"), seen).is_none());
    }

    #[tokio::test]
    async fn the_longest_wait_ends_first_and_one_claimant_looks_for_all() {
        let room = Arc::new(Room::default());
        let mut first = enter(&room, "first", &["shop.mail", "shop.bill"]);
        let mut second = enter(&room, "second", &["shop.mail"]);
        assert_eq!(room.reserve(types(&["shop.mail"])[0]).unwrap().holder(), Some(holder("first")));
        // A reservation that led to nothing lets its claimant look.
        assert!(matches!(first.told().await, Told::Look));
        drop(first);
        let third = enter(&room, "third", &["shop.mail"]);
        room.wake_all();
        assert!(matches!(second.told().await, Told::Look));
        assert_eq!(room.waiting().len(), 1, "one looks; the other sleeps on");
        drop(third);
        assert_eq!(room.waiting_count(), 0);
    }

    #[tokio::test]
    async fn a_claimant_that_leaves_passes_the_news_on() {
        let room = Arc::new(Room::default());
        let first = enter(&room, "first", &["shop.mail"]);
        let mut second = enter(&room, "second", &["shop.mail"]);
        room.wake(&types(&["shop.mail"]));
        drop(first);
        assert!(matches!(second.told().await, Told::Look));
    }
}
