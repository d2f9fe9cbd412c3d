//! Real agent processes. Owns their folders and configuration; they are killed when dropped. Face:
//! `Agent`. Never ends a process that it did not start.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Client;
use crate::{PATIENCE, postgres};

/// An agent in a folder of its own.
pub(crate) struct Agent {
    dir: PathBuf,
    socket: PathBuf,
    child: Option<Child>,
    /// When the process was started last.
    since: Instant,
    /// Removes the folder at the end; none when somebody else does.
    folder: Option<tempfile::TempDir>,
}

impl Agent {
    /// One with its database in its folder, started.
    pub(crate) fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::begun(folder.path().to_owned(), Some(folder), "")
    }

    /// The same in a folder that somebody else owns.
    pub(crate) fn on_sqlite_in(dir: &Path) -> Self {
        Self::begun(dir.to_owned(), None, "")
    }

    /// One that shares a database, started.
    pub(crate) fn on_postgres(server: &postgres::Server, database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = shared_store(server, database);
        Self::begun(folder.path().to_owned(), Some(folder), &settings)
    }

    /// The same, configured and not started.
    pub(crate) fn prepared_on(dir: &Path, server: &postgres::Server, database: &str) -> Self {
        Self::prepared(dir.to_owned(), None, &shared_store(server, database))
    }

    /// One with its database in its folder, configured and not started.
    pub(crate) fn prepared_in(dir: &Path) -> Self {
        Self::prepared(dir.to_owned(), None, "")
    }

    /// The same, with settings of the test's.
    pub(crate) fn prepared_with(dir: &Path, settings: &str) -> Self {
        Self::prepared(dir.to_owned(), None, settings)
    }

    /// The same, with its socket elsewhere.
    pub(crate) fn prepared_at(dir: &Path, socket: &Path) -> Self {
        let settings = format!("socket: {{path: '{}'}}\n", socket.display());
        let mut agent = Self::prepared(dir.to_owned(), None, &settings);
        socket.clone_into(&mut agent.socket);
        agent
    }

    fn prepared(dir: PathBuf, folder: Option<tempfile::TempDir>, settings: &str) -> Self {
        let config = format!(
            "state_dir: {0}/state\nengine: {{address: 'unix://{0}/nobody.sock'}}\n{settings}",
            dir.display()
        );
        std::fs::write(dir.join("agent.yaml"), config).unwrap();
        let socket = dir.join("state/wharf.sock");
        Self { dir, socket, child: None, since: Instant::now(), folder }
    }

    fn begun(dir: PathBuf, folder: Option<tempfile::TempDir>, settings: &str) -> Self {
        let mut agent = Self::prepared(dir, folder, settings);
        agent.start();
        agent.await_listening();
        agent
    }

    /// Starts the process and waits for nothing.
    pub(crate) fn start(&mut self) {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_wharf")));
    }

    /// The same, by a program that becomes the one that its last arguments name.
    pub(crate) fn start_within(&mut self, mut outer: Command) {
        outer.arg(env!("CARGO_BIN_EXE_wharf"));
        self.spawn(outer);
    }

    fn spawn(&mut self, mut command: Command) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path());
        let log = log.unwrap();
        command.args(["agent", "--config"]).arg(self.dir.join("agent.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.since = Instant::now();
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until somebody can connect; gives how long that took since the start.
    pub(crate) fn await_listening(&mut self) -> Duration {
        while UnixStream::connect(self.socket()).is_err() {
            assert!(!self.has_ended(), "the agent ended:\n{}", self.log());
            assert!(self.since.elapsed() < PATIENCE, "nobody listens:\n{}", self.log());
            std::thread::sleep(Duration::from_micros(300));
        }
        self.since.elapsed()
    }

    /// Since when the process lives.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it in order.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        signal(&child, Signal::TERM);
        child.wait().unwrap()
    }

    /// Waits until the process ends by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("the agent goes on:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Lets it stand still, so that it writes nothing more.
    pub(crate) fn pause(&self) {
        signal(self.child.as_ref().unwrap(), Signal::STOP);
    }

    /// How long the process has used a processor.
    pub(crate) fn processor_time(&self) -> Duration {
        let pid = self.pid();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // proc_pid_stat(5): utime and stime are fields 14 and 15, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|it| it.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Forgets what was logged so far.
    pub(crate) fn clear_log(&self) {
        std::fs::write(self.log_path(), "").unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        drop(self.folder.take());
    }
}

/// The setting that leads to a database.
pub(crate) fn shared_store(server: &postgres::Server, database: &str) -> String {
    format!(
        "store: {{postgres: {{host: '{}', database: {database}, readers: 2}}}}\n",
        server.socket().display()
    )
}

/// Sends a signal to a process that we started.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
}
