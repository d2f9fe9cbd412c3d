//! A registry of images on this machine that wants to know who pulls. Owns its process and its folder.
//! Face: `Registry`. Never stops a process that it did not start.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::agent::{text, wait_until};
use super::engine;

/// Who may push and pull.
pub const USER: &str = "ci";

/// A registry that lives as long as this.
pub struct Registry {
    folder: tempfile::TempDir,
    port: u16,
    password: String,
    child: Child,
}

impl Registry {
    /// Starts one, with a password that nothing else has.
    pub fn start() -> Self {
        install();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let password = format!("pw-{}-{port}-7f3aQ", std::process::id());
        let users = htpasswd(&password);
        std::fs::write(folder.path().join("htpasswd"), users).expect("the users can be written");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: \
             {0}/images}}\nhttp: {{addr: '127.0.0.1:{port}'}}\nauth:\n  htpasswd: {{realm: test, \
             path: {0}/htpasswd}}\n",
            folder.path().display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).expect("the configuration can be written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more handle of the log"))
            .stderr(log)
            .spawn()
            .expect("the registry can be started");
        let registry = Self { folder, port, password, child };
        wait_until("the registry answers", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let mut login = registry.client(&["login", &registry.host(), "-u", USER]);
        let mut login =
            login.arg("--password-stdin").stdin(Stdio::piped()).spawn().expect("docker");
        let mut input = login.stdin.take().expect("its input");
        input.write_all(registry.password.as_bytes()).expect("the password is taken");
        drop(input);
        assert!(login.wait().expect("docker ends").success(), "docker login failed");
        registry
    }

    /// As names of images begin with it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The password of `USER`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The full name of an image in it.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Lets a name lead to an image that says so on a label, and forgets it on the engine. The answer
    /// is the digest of its manifest.
    pub fn push(&self, name: &str, says: &str) -> String {
        let image = self.image(name);
        let container = engine::docker_text(&["create", &engine::busybox(), "true"]);
        let label = format!("LABEL says={says}");
        engine::docker_text(&["commit", "--change", &label, &container, &image]);
        engine::docker_text(&["rm", &container]);
        let pushed = self.client(&["push", &image]).output().expect("docker can be run");
        let said = format!("{}{}", text(&pushed.stdout), text(&pushed.stderr));
        assert!(pushed.status.success(), "{said}");
        let digest = said.split_once("digest: ").and_then(|(_, rest)| rest.split(' ').next());
        let digest = digest.expect("docker tells the digest").to_owned();
        engine::docker_text(&["rmi", &image]);
        digest
    }

    /// The `docker` client with a configuration of its own, so that no other one logs in.
    fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .env("DOCKER_HOST", format!("unix://{}", engine::socket().display()))
            .arg("--config")
            .arg(self.folder.path().join("client"))
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Registry {
    /// Nobody answers any more.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        let images = format!("{}/*/*", self.host());
        let listed = engine::docker(&["images", "-q", "--filter", &format!("reference={images}")]);
        for id in text(&listed.stdout).lines() {
            let _ = engine::docker(&["rmi", "-f", id]);
        }
    }
}

fn install() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/packages");
    let packages = ["docker-registry=docker-registry", "htpasswd=apache2-utils"];
    let done = Command::new(script).args(packages).status().expect("the script can be run");
    assert!(done.success(), "the registry could not be installed");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The registry takes bcrypt only.
fn htpasswd(password: &str) -> Vec<u8> {
    let mut command = Command::new("htpasswd");
    command.args(["-iBn", USER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("htpasswd can be run");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(password.as_bytes()).expect("the password is taken");
    drop(input);
    child.wait_with_output().expect("htpasswd ends").stdout
}
