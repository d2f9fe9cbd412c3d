//! The agent as a real process, and the command line as its client.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::project::Project;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits for a condition; panics with its name when it does not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A state folder, with an agent on it now and then.
pub struct Agent {
    /// The state folder.
    pub state_dir: PathBuf,
    config: PathBuf,
    child: Option<Child>,
    environment: Vec<(String, String)>,
}

impl Agent {
    /// An agent that is not started yet, on the engine at `engine`; `settings` are further lines of
    /// its configuration.
    pub fn new(folder: &Path, engine: &Path, settings: &str) -> Self {
        let state_dir = folder.join("state");
        let config = folder.join("agent.yaml");
        // Judging what runs adds calls of the engine, which proofs count; whoever proves it says so.
        let enforcement = match settings.contains("enforcement:") {
            true => "",
            false => "enforcement: {enabled: false}\n",
        };
        let text = format!(
            "state_dir: {}\nengine:\n  address: unix://{}\n{enforcement}{settings}",
            state_dir.display(),
            engine.display()
        );
        std::fs::write(&config, text).expect("the configuration can be written");
        Self { state_dir, config, child: None, environment: Vec::new() }
    }

    /// Sets a variable for the next starts.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Forgets a variable.
    pub fn unset_env(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Starts the process, without waiting.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the agent is running already");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.config.with_extension("log"))
            .expect("the agent's log can be opened");
        let child = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["agent", "--config"])
            .arg(&self.config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more handle of the log"))
            .stderr(log)
            .spawn()
            .expect("the agent can be started");
        self.child = Some(child);
    }

    /// Starts the process and waits until its socket answers.
    pub fn start(&mut self) {
        self.spawn();
        let start = Instant::now();
        while !self.answers() {
            if let Some(status) = self.exited() {
                panic!("the agent ended with {status}:\n{}", self.log());
            }
            assert!(start.elapsed() < PATIENCE, "the agent does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        self.wharf(&["run", "ls", "--format", "json"]).status.success()
    }

    /// The exit status, when the process ended by itself.
    pub fn exited(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("the child can be asked")?;
        self.child = None;
        Some(status)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let pid = self.pid().to_string();
        let mut child = self.child.take().expect("the agent is running");
        let asked = Command::new("kill").args(["-TERM", &pid]).status().expect("kill can be run");
        assert!(asked.success(), "the agent could not be asked to stop");
        child.wait().expect("the child can be waited for")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the agent is running").id()
    }

    /// What the agent logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.config.with_extension("log")).unwrap_or_default()
    }

    /// Runs the client against this agent.
    pub fn wharf(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(args)
            .env("WHARF_SOCKET", self.state_dir.join("wharf.sock"))
            .env_remove("WHARF_CRASH_AT")
            .output()
            .expect("the client can be run")
    }

    /// The same, with words on its standard input.
    pub fn wharf_told(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(args)
            .env("WHARF_SOCKET", self.state_dir.join("wharf.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client can be run");
        let mut pipe = child.stdin.take().expect("its input");
        let input = input.as_bytes().to_vec();
        // Beside the reading of what it prints: it may write before it has read all. Who refuses before
        // it reads closes the pipe.
        let writer = std::thread::Builder::new().name("input".to_owned());
        let writer = writer.spawn(move || drop(pipe.write_all(&input))).expect("a thread");
        let output = child.wait_with_output().expect("the client ends");
        writer.join().expect("the input is written");
        output
    }

    /// Runs a verb on a project: `verb -f FILE -p NAME …`.
    pub fn on(&self, project: &Project, verb: &str, more: &[&str]) -> Output {
        let file = project.file();
        let mut args = vec![verb, "-f", file.to_str().expect("a path in UTF-8")];
        args.extend(["-p", &project.name]);
        args.extend(more);
        self.wharf(&args)
    }

    /// The same; panics with both sides' words when the client does not exit with 0.
    pub fn must(&self, project: &Project, verb: &str, more: &[&str]) -> String {
        let output = self.on(project, verb, more);
        assert!(
            output.status.success(),
            "wharf {verb} ended with {}:\n{}{}\nagent:\n{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr),
            self.log()
        );
        text(&output.stdout)
    }

    /// What a listing verb printed as JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut args = args.to_vec();
        args.extend(["--format", "json"]);
        let output = self.wharf(&args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("wharf {args:?}: {error}: {}{}", text(&output.stdout), text(&output.stderr))
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
