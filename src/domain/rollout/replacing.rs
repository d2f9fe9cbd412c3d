//! Decides how a container makes way for its successor. Owns the rule when the two may run side by
//! side, and the name of one that is kept for a return. Face: `side_by_side`, `Way`, `failed_by_itself`. Never looks at
//! an engine.

use super::Exit;
use super::naming::REPLACED_ID_DIGITS;
use super::start::was_interrupted;
use crate::facts::{
    Attachment, ContainerFacts, ContainerState, Health, MountKind, NetworkMode, ServiceUnit,
    UpdateOrder,
};

/// How a container makes way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is removed before its successor starts: nothing of it is worth a return.
    Plain,
    /// Its successor starts beside it, and it goes when that one has proved itself.
    Beside,
    /// It stops, and is kept until its successor has proved itself.
    InTurn,
}

/// Why two containers of an instance do not run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// They would want the same thing of the host or of a network.
    Exclusive(&'static str),
    /// They would write to the same files, and only one ever did.
    Shared,
    /// The declaration says so.
    Declared,
}

/// May the successor start while `old` still works?
///
/// Several containers of a service already share their volumes, so that one more changes nothing.
/// A single one may count on being alone, unless the declaration says `start-first`: then it is
/// the author's word. What is exclusive stays so whatever is declared.
pub(super) fn side_by_side(unit: &ServiceUnit, old: &ContainerFacts) -> Result<(), Obstacle> {
    if let Some(what) = exclusive(unit, old) {
        return Err(Obstacle::Exclusive(what));
    }
    match unit.updates.order {
        Some(UpdateOrder::StartFirst) => Ok(()),
        Some(UpdateOrder::StopFirst) => Err(Obstacle::Declared),
        None if writes_alone(unit) => Err(Obstacle::Shared),
        None => Ok(()),
    }
}

fn exclusive(unit: &ServiceUnit, old: &ContainerFacts) -> Option<&'static str> {
    let spec = &unit.spec;
    let is_same_port = spec.ports.iter().any(|port| {
        let is_fixed = port.host_port.is_some();
        is_fixed
            && old
                .spec
                .ports
                .iter()
                .any(|held| held.protocol == port.protocol && held.host_port == port.host_port)
    });
    let is_pinned = |attachment: &Attachment| {
        attachment.ipv4_address.is_some()
            || attachment.ipv6_address.is_some()
            || attachment.mac_address.is_some()
            || !attachment.link_local_ips.is_empty()
    };
    let (is_shared_stack, has_pinned) = match &spec.network_mode {
        NetworkMode::Networks(networks) => (false, networks.values().any(is_pinned)),
        NetworkMode::None => (false, false),
        _ => (true, false),
    };
    let is_a_range = |port: &crate::facts::PortBinding| {
        port.host_port.as_ref().is_some_and(|range| range.contains('-'))
    };
    [
        (unit.container_name.is_some(), "a fixed name"),
        (is_same_port, "a fixed port"),
        (spec.ports.iter().any(is_a_range), "a range of ports"),
        (has_pinned, "a fixed address"),
        (is_shared_stack, "the network of others"),
        (!spec.security.devices.is_empty(), "a device"),
        (!spec.security.device_requests.is_empty(), "a device"),
    ]
    .into_iter()
    .find_map(|(holds, what)| holds.then_some(what))
}

/// Does one container alone write to volumes, or to what belongs to it alone?
fn writes_alone(unit: &ServiceUnit) -> bool {
    let is_single = unit.replicas <= 1;
    let is_files = |target: &String| unit.files.contains_key(target);
    let mut mounts = unit.spec.mounts.iter().filter(|(target, _)| !is_files(target));
    let is_written = mounts.any(|(_, mount)| match mount.kind {
        // It goes from the old container to the new one, whatever the others do.
        MountKind::Anonymous => !mount.read_only,
        MountKind::Tmpfs { .. } => false,
        _ => is_single && !mount.read_only,
    });
    let is_from_others =
        unit.spec.volumes_from.iter().any(|from| is_single && !from.ends_with(":ro"));
    is_written || is_from_others
}

/// Does it work, as far as its state tells?
pub(super) fn is_up(container: &ContainerFacts) -> bool {
    matches!(
        container.state,
        ContainerState::Running | ContainerState::Restarting | ContainerState::Paused
    )
}

/// Does its own state say that a container failed, whatever was done to it from outside?
pub fn failed_by_itself(container: &ContainerFacts, exit: Option<Exit>) -> bool {
    let is_ill = is_up(container) && container.health == Health::Unhealthy;
    let could_not_start = !is_up(container) && container.state_error.is_some();
    let has_ended = container.state == ContainerState::Exited
        && container.exit_code != 0
        && !was_interrupted(container, exit);
    is_ill || could_not_start || has_ended
}

/// The name of a container that is kept until its successor has proved itself.
pub(super) fn kept_name(id: &str, name: &str) -> String {
    format!("{}{KEPT}{name}", id.get(..REPLACED_ID_DIGITS).unwrap_or(id))
}

/// Is this a name that `kept_name` made of `name`?
pub(super) fn is_kept_name(candidate: &str, name: &str) -> bool {
    let Some((id, rest)) = candidate.split_once(KEPT) else { return false };
    let is_id = id.len() == REPLACED_ID_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id && rest == name
}

const KEPT: &str = "_kept_";
