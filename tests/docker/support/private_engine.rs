//! An engine of the test's own, in a network namespace of its own, so that it can be restarted
//! without touching the engine that others use. A second engine on the host's own bridge would
//! flush the first one's rules.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::agent::wait_until;
use super::engine;

/// A running engine; stopped and unmounted when dropped.
pub struct PrivateEngine {
    dir: PathBuf,
    namespace: String,
    child: Option<Child>,
}

impl PrivateEngine {
    /// Starts an engine with its data under `dir` and loads the test's image into it.
    pub fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let namespace = format!("wharf-test-{}", std::process::id());
        run("ip", &["netns", "add", &namespace]);
        run("nsenter", &[&net(&namespace), "ip", "link", "set", "lo", "up"]);
        let mut engine = Self { dir: dir.to_owned(), namespace, child: None };
        engine.launch();
        engine.load_image();
        engine
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// Stops the engine as a package upgrade does, and starts it again.
    pub fn restart(&mut self) {
        self.terminate();
        self.launch();
    }

    /// Ids of all containers.
    pub fn containers(&self) -> Vec<String> {
        let output = Command::new("docker")
            .env("DOCKER_HOST", self.host())
            .args(["ps", "-aq"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn launch(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("dockerd.log"))
            .unwrap();
        let path = |name: &str| self.dir.join(name).display().to_string();
        let child = Command::new("nsenter")
            .args([net(&self.namespace).as_str(), "dockerd", "-H", &self.host()])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("dockerd.pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("nsenter and dockerd are installed");
        self.child = Some(child);
        wait_until("the private engine answers", || {
            Command::new("docker")
                .env("DOCKER_HOST", self.host())
                .args(["version", "--format", "{{.Server.Version}}"])
                .output()
                .is_ok_and(|output| output.status.success())
        });
    }

    fn load_image(&self) {
        let mut save = Command::new("docker")
            .env("DOCKER_HOST", format!("unix://{}", engine::socket().display()))
            .args(["save", &engine::busybox()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let status = Command::new("docker")
            .env("DOCKER_HOST", self.host())
            .arg("load")
            .stdin(save.stdout.take().unwrap())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(save.wait().unwrap().success() && status.success(), "the image can be loaded");
    }

    fn terminate(&mut self) {
        if let Some(mut child) = self.child.take() {
            // `nsenter` replaces itself by dockerd, so this is the engine's own pid.
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        for id in self.containers() {
            let _ = Command::new("docker")
                .env("DOCKER_HOST", self.host())
                .args(["rm", "-f", &id])
                .output();
        }
        self.terminate();
        let _ = Command::new("umount").arg(self.dir.join("exec/netns/default")).output();
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).status();
    }
}

fn net(namespace: &str) -> String {
    format!("--net=/run/netns/{namespace}")
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {args:?} failed");
}
