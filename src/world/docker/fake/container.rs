//! The containers of the engine in memory. Owns how they start, stop and go. Face: `Container`,
//! the methods of `State` about containers. Never waits.

use std::collections::BTreeMap;

use super::state::State;
use super::{Behaviour, HealthCourse, Refused, refuse};
use crate::base::Timestamp;
use crate::facts::{
    Attachment, ContainerState, Health, HealthProbe, LiveSettings, MountKind, NetworkMode,
    PortBinding, RestartPolicy, ServiceSpec, VolumeSpec, effective, labels, resolve_namespaces,
};
use crate::world::docker::{EngineErrorKind as Kind, EngineEvent, NewContainer, RemoveContainer};

/// Less memory the engine refuses.
const MEMORY_MIN_BYTES: i64 = 6 << 20;

pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image_id: String,
    /// Effective, without the networks: those are here.
    pub(super) spec: ServiceSpec,
    pub(super) networks: BTreeMap<String, Attachment>,
    pub(super) addresses: BTreeMap<String, String>,
    pub(super) all_labels: BTreeMap<String, String>,
    pub(super) anonymous_volumes: BTreeMap<String, String>,
    pub(super) state: ContainerState,
    pub(super) exit_code: i64,
    pub(super) state_error: Option<String>,
    pub(super) restart_count: u64,
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) output: Vec<(Timestamp, bool, String)>,
    pub(super) health: Health,
    pub(super) behaviour: Behaviour,
    /// Inspections since the last start.
    looks: u32,
    is_stopped_by_hand: bool,
}

impl Container {
    /// Does it hold its addresses and ports?
    pub(super) fn is_active(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Paused)
    }

    pub(super) fn join(&mut self, network: &str, attachment: Attachment, address: String) {
        let address = attachment.ipv4_address.clone().unwrap_or(address);
        self.networks.insert(network.to_owned(), attachment);
        self.addresses.insert(network.to_owned(), address);
    }

    pub(super) fn leave(&mut self, network: &str) -> bool {
        self.addresses.remove(network);
        self.networks.remove(network).is_some()
    }

    pub(super) fn mounts_volume(&self, volume: &str) -> bool {
        let is_named =
            |kind: &MountKind| matches!(kind, MountKind::Volume { name, .. } if name == volume);
        self.spec.mounts.values().any(|mount| is_named(&mount.kind))
            || self.anonymous_volumes.values().any(|name| name == volume)
    }

    fn has_healthcheck(&self) -> bool {
        let probe = self.spec.healthcheck.as_ref().map(|check| &check.probe);
        matches!(probe, Some(HealthProbe::Exec(_) | HealthProbe::Shell(_)))
    }

    fn run(&mut self, now: Timestamp) {
        self.state = ContainerState::Running;
        self.started_at = Some(now);
        self.exit_code = 0;
        self.state_error = None;
        self.looks = 0;
        self.is_stopped_by_hand = false;
        self.health = if self.has_healthcheck() { Health::Starting } else { Health::None };
        let lines = self.behaviour.output.iter();
        self.output.extend(lines.map(|(is_stderr, text)| (now, *is_stderr, text.clone())));
    }

    fn end(&mut self, code: i64, now: Timestamp) {
        self.state = ContainerState::Exited;
        self.exit_code = code;
        self.finished_at = Some(now);
        if self.health != Health::None {
            self.health = Health::Unhealthy;
        }
    }

    /// Does the engine start it again after an end that nobody asked for?
    fn comes_back(&self, code: i64) -> bool {
        match self.spec.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { retries_max } => {
                code != 0 && (retries_max == 0 || self.restart_count < u64::from(retries_max))
            }
        }
    }
}

impl State {
    pub(super) fn position(&self, id: &str) -> Result<usize, Refused> {
        let is_meant = |container: &Container| {
            container.name == id
                || container.id == id
                || (id.len() >= 12 && container.id.starts_with(id))
        };
        match self.containers.iter().position(is_meant) {
            Some(position) => Ok(position),
            None => refuse(Kind::NotFound, format!("no such container: {id}")),
        }
    }

    pub(super) fn container_mut(&mut self, id: &str) -> Result<&mut Container, Refused> {
        let position = self.position(id)?;
        Ok(&mut self.containers[position])
    }

    fn report(&mut self, position: usize, action: &str, now: Timestamp) {
        let container = &self.containers[position];
        let mut attributes = container.all_labels.clone();
        attributes.insert("name".to_owned(), container.name.clone());
        attributes.insert("image".to_owned(), container.spec.image.clone());
        if action == "die" {
            attributes.insert("exitCode".to_owned(), container.exit_code.to_string());
        }
        let container_id = container.id.clone();
        self.events.push(EngineEvent {
            at: now,
            action: action.to_owned(),
            container_id,
            attributes,
        });
    }

    pub(super) fn create(&mut self, new: &NewContainer, now: Timestamp) -> Result<String, Refused> {
        let Some(image) = self.image(&new.image).cloned() else {
            return refuse(Kind::ImageUnavailable, format!("no image {} on the engine", new.image));
        };
        if self.containers.iter().any(|container| container.name == new.name) {
            let message = format!("the container name {} is already in use", new.name);
            return refuse(Kind::Conflict, message);
        }
        let mut spec = effective(&new.spec, &image);
        spec.image.clone_from(&new.image);
        resolve_namespaces(&mut spec, &new.resolved_namespaces);
        self.refuse_impossible(&spec)?;
        let id = self.make_id();
        let networks = match &mut spec.network_mode {
            NetworkMode::Networks(networks) if networks.is_empty() => {
                BTreeMap::from([("bridge".to_owned(), Attachment::default())])
            }
            NetworkMode::Networks(networks) => std::mem::take(networks),
            _ => BTreeMap::new(),
        };
        let anonymous_volumes = self.make_volumes(&spec, new)?;
        self.know(&[&id, &new.name]);
        let mut all_labels = image.defaults.labels.clone();
        all_labels.extend(new.spec.labels.clone());
        all_labels.extend(new.bookkeeping.clone());
        let behaviour = self.behaviour_of(&new.name, &all_labels);
        self.containers.push(Container {
            id: id.clone(),
            name: new.name.clone(),
            image_id: image.id,
            spec,
            networks,
            addresses: BTreeMap::new(),
            all_labels,
            anonymous_volumes,
            state: ContainerState::Created,
            exit_code: 0,
            state_error: None,
            restart_count: 0,
            created_at: now,
            started_at: None,
            finished_at: None,
            output: Vec::new(),
            health: Health::None,
            behaviour,
            looks: 0,
            is_stopped_by_hand: false,
        });
        self.report(self.containers.len() - 1, "create", now);
        Ok(id)
    }

    fn behaviour_of(&self, name: &str, all_labels: &BTreeMap<String, String>) -> Behaviour {
        let service = all_labels.get(labels::COMPOSE_SERVICE);
        let found = self.behaviours.get(name);
        found.or_else(|| self.behaviours.get(service?)).cloned().unwrap_or_default()
    }

    /// What the real engine refuses at once.
    fn refuse_impossible(&self, spec: &ServiceSpec) -> Result<(), Refused> {
        match &spec.network_mode {
            NetworkMode::Service(service) => {
                let message = format!("network_mode: no container stands for service:{service}");
                return refuse(Kind::Invalid, message);
            }
            NetworkMode::Container(id) => drop(self.position(id)?),
            _ => {}
        }
        if spec.command.is_none() && spec.entrypoint.is_none() {
            return refuse(Kind::Invalid, "no command specified");
        }
        Ok(())
    }

    fn make_volumes(
        &mut self,
        spec: &ServiceSpec,
        new: &NewContainer,
    ) -> Result<BTreeMap<String, String>, Refused> {
        let mut anonymous = BTreeMap::new();
        for (target, mount) in &spec.mounts {
            let name = match &mount.kind {
                MountKind::Volume { name, .. } => name.clone(),
                MountKind::Anonymous => {
                    let kept = new.kept_volumes.get(target).cloned();
                    let name = kept.unwrap_or_else(|| self.make_id());
                    anonymous.insert(target.clone(), name.clone());
                    name
                }
                _ => continue,
            };
            let volume = VolumeSpec { name, ..VolumeSpec::default() };
            if !self.volumes.contains_key(&volume.name) {
                self.create_volume(&volume, &BTreeMap::new())?;
            }
        }
        Ok(anonymous)
    }

    pub(super) fn start(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        let position = self.position(id)?;
        if self.containers[position].is_active() {
            return Ok(());
        }
        if let Err(refused) = self.admit(position) {
            let container = &mut self.containers[position];
            container.state_error = Some(refused.message.clone());
            container.exit_code = 128;
            return Err(refused);
        }
        let joined: Vec<String> = self.containers[position].networks.keys().cloned().collect();
        for network in joined {
            let address = self.next_address();
            let container = &mut self.containers[position];
            let attachment = container.networks.get(&network).cloned().unwrap_or_default();
            container.join(&network, attachment, address);
        }
        self.containers[position].run(now);
        self.report(position, "start", now);
        Ok(())
    }

    /// Are its networks there and its ports free?
    fn admit(&self, position: usize) -> Result<(), Refused> {
        let container = &self.containers[position];
        for network in container.networks.keys() {
            if self.network(network).is_none() {
                return refuse(Kind::NotFound, format!("network {network} not found"));
            }
        }
        if !container.spec.security.device_requests.is_empty() {
            return refuse(Kind::NoDevice, "could not select device driver: there is none");
        }
        for port in &container.spec.ports {
            if !candidates(port).is_none_or(|mut ports| ports.any(|it| self.is_free(port, it))) {
                let wanted = port.host_port.clone().unwrap_or_default();
                let message = format!("bind for {wanted} failed: port is already allocated");
                return refuse(Kind::PortInUse, message);
            }
        }
        Ok(())
    }

    fn is_free(&self, wanted: &PortBinding, number: u16) -> bool {
        let overlaps = |held: &PortBinding| {
            let is_same_address = held.host_ip.is_none()
                || wanted.host_ip.is_none()
                || held.host_ip == wanted.host_ip;
            let is_same_port =
                candidates(held).is_some_and(|mut ports| ports.any(|it| it == number));
            held.protocol == wanted.protocol && is_same_address && is_same_port
        };
        let mut active = self.containers.iter().filter(|container| container.is_active());
        !self.occupied_ports.contains(&(wanted.protocol, number))
            && !active.any(|container| container.spec.ports.iter().any(overlaps))
    }

    pub(super) fn stop(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        let position = self.position(id)?;
        let container = &mut self.containers[position];
        if container.is_active() {
            container.end(143, now);
            container.is_stopped_by_hand = true;
            self.report(position, "die", now);
            self.report(position, "stop", now);
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        let position = self.position(id)?;
        if self.containers[position].state != ContainerState::Running {
            return refuse(Kind::Conflict, format!("container {id} is not running"));
        }
        self.containers[position].state = ContainerState::Paused;
        self.report(position, "pause", now);
        Ok(())
    }

    pub(super) fn unpause(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        let position = self.position(id)?;
        if self.containers[position].state == ContainerState::Paused {
            self.containers[position].state = ContainerState::Running;
            self.report(position, "unpause", now);
        }
        Ok(())
    }

    pub(super) fn restart_one(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        self.stop(id, now)?;
        self.start(id, now)?;
        let position = self.position(id)?;
        self.report(position, "restart", now);
        Ok(())
    }

    /// The program ends; the engine does what the policy says.
    pub(super) fn exit(&mut self, id: &str, code: i64, now: Timestamp) -> Result<(), Refused> {
        let position = self.position(id)?;
        self.containers[position].end(code, now);
        self.report(position, "die", now);
        let container = &mut self.containers[position];
        if container.comes_back(code) {
            container.restart_count += 1;
            container.run(now);
            self.report(position, "start", now);
        }
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        id: &str,
        how: RemoveContainer,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let position = self.position(id)?;
        let container = &mut self.containers[position];
        if container.is_active() {
            if !how.force {
                let message = format!("cannot remove the running container {}", container.name);
                return refuse(Kind::Conflict, message);
            }
            container.end(137, now);
            self.report(position, "die", now);
        }
        self.report(position, "destroy", now);
        let gone = self.containers.remove(position);
        if how.anonymous_volumes {
            for volume in gone.anonymous_volumes.values() {
                // One that a successor uses stays.
                let _ = self.remove_volume(volume);
            }
        }
        Ok(())
    }

    /// What the real engine does: it changes what it is given, refuses two ways of saying CPU time
    /// and what is out of its bounds, and leaves out what it cannot enforce.
    pub(super) fn update(
        &mut self,
        id: &str,
        settings: &LiveSettings,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let position = self.position(id)?;
        let known = LiveSettings::of(&self.containers[position].spec);
        if settings.memory_bytes.is_some_and(|memory| memory < MEMORY_MIN_BYTES) {
            return refuse(Kind::Invalid, "minimum memory limit allowed is 6MB");
        }
        let has_period = known.cpu_period_micros.is_some() || known.cpu_quota_micros.is_some();
        let wants_period =
            settings.cpu_period_micros.is_some() || settings.cpu_quota_micros.is_some();
        if (settings.nano_cpus.is_some() && has_period)
            || (wants_period && known.nano_cpus.is_some())
        {
            return refuse(Kind::Conflict, "conflicting options: CPU time is said in another way");
        }
        if !self.ignores_updates {
            let updated = LiveSettings {
                memory_bytes: settings.memory_bytes.or(known.memory_bytes),
                memory_reservation_bytes: settings
                    .memory_reservation_bytes
                    .or(known.memory_reservation_bytes),
                memory_swap_bytes: settings.swap_in_full().or(known.memory_swap_bytes),
                nano_cpus: settings.nano_cpus.or(known.nano_cpus),
                cpu_shares: settings.cpu_shares.or(known.cpu_shares),
                cpu_quota_micros: settings.cpu_quota_micros.or(known.cpu_quota_micros),
                cpu_period_micros: settings.cpu_period_micros.or(known.cpu_period_micros),
                cpuset_cpus: settings.cpuset_cpus.clone().or(known.cpuset_cpus),
                pids_max: settings.pids_max,
                restart: settings.restart,
            };
            updated.write_to(&mut self.containers[position].spec);
        }
        self.report(position, "update", now);
        Ok(())
    }

    pub(super) fn rename(&mut self, id: &str, name: &str, now: Timestamp) -> Result<(), Refused> {
        let position = self.position(id)?;
        if self.containers.iter().any(|container| container.name == name) {
            let message = format!("the container name {name} is already in use");
            return refuse(Kind::Conflict, message);
        }
        name.clone_into(&mut self.containers[position].name);
        self.know(&[name]);
        self.report(position, "rename", now);
        Ok(())
    }

    pub(super) fn restart(&mut self, now: Timestamp) {
        self.epoch += 1;
        for position in 0..self.containers.len() {
            let container = &mut self.containers[position];
            let was_active = container.is_active();
            if was_active {
                container.end(137, now);
            }
            let comes_back = match container.spec.restart {
                RestartPolicy::Always => container.started_at.is_some(),
                RestartPolicy::UnlessStopped => was_active && !container.is_stopped_by_hand,
                RestartPolicy::OnFailure { .. } => was_active,
                RestartPolicy::No => false,
            };
            if comes_back {
                container.run(now);
            }
        }
    }

    /// One inspection: time passes for this container.
    pub(super) fn look(&mut self, position: usize, now: Timestamp) {
        let container = &mut self.containers[position];
        if container.state != ContainerState::Running {
            return;
        }
        container.looks += 1;
        let looks = container.looks;
        if let Some((_, code)) = container.behaviour.exit.filter(|(after, _)| looks > *after) {
            let id = container.id.clone();
            // It was found a moment ago.
            let _ = self.exit(&id, code, now);
            return;
        }
        if container.health != Health::Starting {
            return;
        }
        let (after, verdict) = match container.behaviour.health {
            HealthCourse::HealthyAfter(after) => (after, Health::Healthy),
            HealthCourse::UnhealthyAfter(after) => (after, Health::Unhealthy),
        };
        if looks > after {
            container.health = verdict;
            let word = if verdict == Health::Healthy { "healthy" } else { "unhealthy" };
            self.report(position, &format!("health_status: {word}"), now);
        }
    }
}

/// The host ports that would do; `None` when any would.
fn candidates(port: &PortBinding) -> Option<std::ops::RangeInclusive<u16>> {
    let text = port.host_port.as_ref()?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}
