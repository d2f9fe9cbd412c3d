//! The suite of all engines on the real one, and what only that one promises.

use std::sync::Arc;

use wharfinger::world::docker::{DockerEngine, Engine, EngineAddress, EngineErrorKind};

use crate::engine_suite::{self, Bench, assert_fails};
use crate::support::engine::socket;

/// Where Debian installs busybox-static.
const BUSYBOX: &str = "/bin/busybox";

fn bench(promise: &str) -> Bench {
    let busybox = std::fs::read(BUSYBOX).expect("busybox-static is installed");
    Bench {
        engine: Arc::new(DockerEngine::at(EngineAddress::Unix(socket()))),
        prefix: format!("wharf-suite-{promise}").replace('_', "-"),
        busybox: busybox.into(),
        script: Box::new(|_, _| {}),
    }
}

crate::engine_suite!(bench);

#[tokio::test]
async fn engine_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let engine = DockerEngine::at(EngineAddress::Unix(folder.path().join("docker.sock")));
    assert_fails(engine.ping().await, EngineErrorKind::Unreachable);
    assert_fails(engine.remove_network("x").await, EngineErrorKind::Unreachable);
}

#[tokio::test]
async fn name_that_leads_elsewhere_is_refused() {
    let bench = bench("names");
    for name in ["", "..", "a/../b", "a?force=true", "a%2fb", "a b"] {
        assert_fails(bench.engine.container(name).await, EngineErrorKind::Invalid);
    }
}
