//! Looks at the host of an engine: what the engine says of itself, and what this machine shows of it. Owns
//! when the machine is the engine's. Face: `look_at_host`. Never takes the files of one host for those of
//! another.

use crate::facts::HostFacts;
use crate::world::docker::{Engine, EngineError};
use crate::world::{host, host_facts};

/// The network that containers are in which name none.
const BRIDGE: &str = "bridge";

/// What is known of the host; its files only when they are asked for, and when the engine is this
/// machine's.
///
/// # Errors
/// When the engine does not answer.
pub async fn look_at_host(engine: &dyn Engine, with_files: bool) -> Result<HostFacts, EngineError> {
    let (info, bridge) =
        futures_util::future::try_join(engine.info(), engine.network(BRIDGE)).await?;
    let is_here = info.name == host::hostname();
    let facts = HostFacts {
        daemon: Some(info.daemon),
        bridge_options: bridge.map(|network| network.driver_options),
        ..HostFacts::default()
    };
    if !with_files || !is_here {
        return Ok(facts);
    }
    let looked = tokio::task::spawn_blocking({
        let facts = facts.clone();
        move || host_facts::look(facts)
    });
    Ok(looked.await.unwrap_or(facts))
}
