//! A compose project on disk, removed from disk and engine when the test ends.

use std::path::PathBuf;

use super::engine;

/// A project in a temporary folder.
pub struct Project {
    /// Its name on the engine.
    pub name: String,
    /// Its folder.
    pub dir: tempfile::TempDir,
}

impl Project {
    /// Writes `compose.yaml`; `@IMAGE@` stands for the busybox image.
    pub fn new(name: &str, compose: &str) -> Self {
        engine::remove_project(name);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let project = Self { name: name.to_owned(), dir };
        project.write("compose.yaml", compose);
        project
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text.replace("@IMAGE@", &engine::busybox())).expect("a file");
    }

    /// The compose file.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("compose.yaml")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        engine::remove_project(&self.name);
    }
}

/// Five services in four waves: a volume, two networks, a job that must complete, health checks.
pub const FIVE_SERVICES: &str = r#"
services:
  store:
    image: @IMAGE@
    command: [sh, -c, "touch /data/ready; exec sleep 3600"]
    init: true
    volumes: [data:/data]
    networks: [back]
    healthcheck: {test: [CMD, test, -f, /data/ready], interval: 1s, retries: 30}
  migrate:
    image: @IMAGE@
    command: [sh, -c, "echo migrated"]
    networks: [back]
    depends_on: {store: {condition: service_healthy}}
  api:
    image: @IMAGE@
    command: [sleep, "3600"]
    init: true
    environment: {MODE: proof}
    networks: [back, front]
    depends_on: {migrate: {condition: service_completed_successfully}}
  worker:
    image: @IMAGE@
    command: [sleep, "3600"]
    init: true
    networks: [back]
    depends_on: {migrate: {condition: service_completed_successfully}}
  web:
    image: @IMAGE@
    command: [sleep, "3600"]
    init: true
    networks: [front]
    depends_on: [api]
networks: {front: {}, back: {}}
volumes: {data: {}}
"#;
