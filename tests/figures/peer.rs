//! Measures a public queue on PostgreSQL: pgqueuer, in its own language. Owns its server and its run.
//! Face: `figures`. Never gives it another server than ours has, and waits for the disk on both.

use std::process::Command;

use crate::load::{DRAIN_BATCH, DRAIN_WORKERS, Figures};

/// What pgqueuer does per second on a server that waits for the disk; none when the environment names
/// no Python that has it (`WHARF_BENCH_PYTHON`).
pub fn figures(callers: &[usize], socket: &std::path::Path) -> Option<Figures> {
    let python = std::env::var_os("WHARF_BENCH_PYTHON")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/figures/peer.py");
    let callers: Vec<String> = callers.iter().map(ToString::to_string).collect();
    let output = Command::new(python)
        .args([script, &socket.to_string_lossy(), &callers.join(",")])
        .args([DRAIN_WORKERS.to_string(), DRAIN_BATCH.to_string()])
        .output()
        .expect("the peer's program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_str(&said).expect("the peer prints JSON");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let whole = callers
        .iter()
        .map(|callers| (callers.parse().expect("a number"), number(&said["whole"][callers])));
    Some(Figures { whole: whole.collect(), begun: Vec::new(), drain: number(&said["drain"]) })
}
