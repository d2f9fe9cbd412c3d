//! What goes wrong around a simulated agent, besides its own death. Owns the faults. Face: `strike`,
//! `calm`. Never harms what is not the simulated projects'.

use wharfinger::facts::labels;
use wharfinger::world::docker::fake::FakeEngine;
use wharfinger::world::docker::{ContainerFilter, Engine as _, EngineErrorKind};

use crate::mortal::Dice;

const METHODS: [&str; 13] = [
    "containers",
    "container",
    "image",
    "networks",
    "create_container",
    "start_container",
    "stop_container",
    "remove_container",
    "update_container",
    "rename_container",
    "connect_network",
    "create_network",
    "create_volume",
];

const KINDS: [EngineErrorKind; 6] = [
    EngineErrorKind::Unreachable,
    EngineErrorKind::TimedOut,
    EngineErrorKind::NotFound,
    EngineErrorKind::Conflict,
    EngineErrorKind::DiskFull,
    EngineErrorKind::Internal,
];

/// One thing goes wrong.
pub(crate) async fn strike(engine: &FakeEngine, dice: &Dice) {
    let method = dice.choose(&METHODS).copied().unwrap_or_default();
    match dice.below(8) {
        0..=2 => {
            let kind = dice.choose(&KINDS).copied().unwrap_or(EngineErrorKind::Internal);
            engine.fail_next(method, kind);
        }
        3 => engine.lose_answer(method),
        4 => engine.set_unreachable(true),
        5 => engine.restart(),
        6 => {
            if let Some(name) = victim(engine, dice).await {
                engine.stop_behind(&name);
            }
        }
        _ => {
            if let Some(name) = victim(engine, dice).await {
                engine.remove_behind(&name);
            }
        }
    }
}

/// A container of the agent's; none when there is none, or nobody answers.
async fn victim(engine: &FakeEngine, dice: &Dice) -> Option<String> {
    let filter = ContainerFilter::label(labels::PROJECT, "");
    let found = engine.containers(&filter).await.ok()?;
    dice.choose(&found).map(|container| container.name.clone())
}

/// Nothing goes wrong from now on.
pub(crate) fn calm(engine: &FakeEngine) {
    engine.set_unreachable(false);
    engine.forget_faults();
}
