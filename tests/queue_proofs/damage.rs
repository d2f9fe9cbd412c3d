//! A database that was damaged while its agent was dead. What no commit had acknowledged is dropped,
//! and all else is there; or the agent refuses, names the file and the remedy, and leaves it alone.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::agent::Agent;
use crate::ledger::acknowledged;
use crate::load::{Load, clients_of};
use crate::{look, wait_until};

/// Bytes of a page of the database.
const PAGE: u64 = 4096;
/// Bytes before each page in the journal, and before the first of them.
const FRAME_HEADER: u64 = 24;
const JOURNAL_HEADER: u64 = 32;

/// The folder of an agent that was killed under load, and which runs it had acknowledged.
struct Killed {
    folder: tempfile::TempDir,
    acknowledged: BTreeSet<String>,
}

impl Killed {
    /// One whose latest commits lie in the journal beside the database.
    fn under_load() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = Agent::on_sqlite_in(folder.path());
        let load = Load::start(&clients_of(&agent.socket(), 4), 5, Duration::from_millis(10));
        std::thread::sleep(Duration::from_millis(1500));
        wait_until("enough is acknowledged", || acknowledged(&load.history()).len() > 10);
        agent.kill();
        let acknowledged = acknowledged(&load.history());
        Self { folder, acknowledged }
    }

    /// One that was stopped in order: all lies in the database.
    fn at_rest() -> Self {
        let killed = Self::under_load();
        let mut agent = Agent::on_sqlite_in(killed.folder.path());
        agent.stop();
        assert!(!killed.state("wharf.db-wal").exists(), "a journal is left over");
        killed
    }

    fn state(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("state").join(name)
    }

    /// The agent starts, knows every acknowledged run, and its audit log is whole.
    fn must_recover(self) {
        let mut agent = Agent::on_sqlite_in(self.folder.path());
        let lost = look::lost(&mut agent.client(), &self.acknowledged);
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        agent.stop();
        look::verify_sqlite(&agent.state_dir());
    }

    /// The agent says what is wrong with which file, and what to do; the file stays as it is.
    fn must_refuse(self, what: &str) {
        let before = fs::read(self.state("wharf.db")).unwrap();
        let mut agent = Agent::prepared_in(self.folder.path());
        agent.clear_log();
        agent.start();
        let status = agent.ended();
        let log = agent.log();
        assert!(!status.success(), "{what}: {log}");
        let file = self.state("wharf.db").display().to_string();
        for words in [&file, "restore", "from a backup", what] {
            assert!(log.contains(words), "`{words}` is missing: {log}");
        }
        assert!(fs::read(self.state("wharf.db")).unwrap() == before, "{what}: it was touched");
    }
}

fn cut(path: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_torn_end_of_the_journal_loses_nothing_that_was_acknowledged() {
    let killed = Killed::under_load();
    let journal = killed.state("wharf.db-wal");
    let text = fs::read(&journal).unwrap();
    // The next commit had begun: the first frame of it is whole but for its last bytes, the second
    // was cut off.
    let frame = usize::try_from(FRAME_HEADER + PAGE).unwrap();
    let last = &text[text.len() - frame..];
    let mut file = OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(&last[..frame - 100]).unwrap();
    file.write_all(&[0; 100]).unwrap();
    file.write_all(&last[..1000]).unwrap();
    killed.must_recover();
}

#[test]
fn a_journal_that_never_reached_the_disk_is_no_harm() {
    let killed = Killed::at_rest();
    // What a first commit had begun to write.
    fs::write(killed.state("wharf.db-wal"), vec![0; 10_000]).unwrap();
    killed.must_recover();
}

#[test]
fn damage_in_the_middle_of_the_journal_is_refused() {
    // A journal that was brought into the database just before the kill begins anew.
    let (killed, commits) = (0..20)
        .map(|_| Killed::under_load())
        .map(|killed| (live_commits(&killed), killed))
        .find_map(|(commits, killed)| (commits.len() > 2).then_some((killed, commits)))
        .expect("a journal with commits");
    // The last commit may be a torn one, as far as anybody can tell: one before it is hit. On a busy
    // machine a single one may be most of the journal.
    let frame = commits[(commits.len() - 1) / 2];
    let at = JOURNAL_HEADER + frame * (FRAME_HEADER + PAGE) + FRAME_HEADER + 2000;
    flip(&killed.state("wharf.db-wal"), at);
    killed.must_refuse("wharf.db-wal is damaged at byte");
}

/// The last frames of the journal's commits, of those frames that count: with the salts of its
/// header.
fn live_commits(killed: &Killed) -> Vec<u64> {
    let text = fs::read(killed.state("wharf.db-wal")).unwrap();
    let (header, frames) = text.split_at(usize::try_from(JOURNAL_HEADER).unwrap());
    let frames = frames.chunks_exact(usize::try_from(FRAME_HEADER + PAGE).unwrap());
    let live = frames.take_while(|frame| frame[8..16] == header[16..24]);
    // Only the last frame of a commit says how large the database is then.
    let ends = (0..).zip(live).filter(|(_, frame)| frame[4..8] != [0; 4]);
    ends.map(|(number, _)| number).collect()
}

#[test]
fn a_torn_last_page_is_refused() {
    let killed = Killed::at_rest();
    let database = killed.state("wharf.db");
    cut(&database, size(&database) - PAGE / 2);
    killed.must_refuse("is not a database that can be read");
}

#[test]
fn a_database_that_was_cut_off_is_refused() {
    for is_at_rest in [true, false] {
        let killed = if is_at_rest { Killed::at_rest() } else { Killed::under_load() };
        let database = killed.state("wharf.db");
        cut(&database, size(&database) / PAGE / 2 * PAGE);
        killed.must_refuse("is not a database that can be read");
    }
}

#[test]
fn a_page_that_holds_something_else_is_refused() {
    let killed = Killed::at_rest();
    let database = killed.state("wharf.db");
    let pages = size(&database) / PAGE;
    assert!(pages > 20, "{pages} pages");
    let file = OpenOptions::new().write(true).open(&database).unwrap();
    for page in [pages / 3, pages / 2, pages * 2 / 3] {
        file.write_all_at(&[0xa5; 4096], page * PAGE).unwrap();
    }
    killed.must_refuse("is not a database that can be read");
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}
