//! What is on the engine in memory: images, networks, volumes, and the way between names and
//! things. Owns `State`. Face: its methods, one per effect. Never waits.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::container::Container;
use super::save::ImageLayers;
use super::{Behaviour, Refused, refuse};
use crate::base::{Digest, Timestamp};
use crate::domain::registries::{Credentials, RegistryHost, registry_of};
use crate::facts::{
    Attachment, BuildSpec, ImageFacts, NetworkFacts, NetworkSpec, Protocol, VolumeFacts, VolumeSpec,
};
use crate::world::docker::{EngineErrorKind as Kind, EngineEvent, NewExec};

/// Networks that every engine has.
const PREDEFINED_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

pub(super) struct State {
    pub(super) images: Vec<ImageFacts>,
    /// What lies in images, by id.
    pub(super) layers: BTreeMap<String, ImageLayers>,
    pub(super) registry: BTreeMap<String, ImageFacts>,
    /// Registries that ask who pulls, and what they want to hear.
    pub(super) logins: BTreeMap<RegistryHost, Credentials>,
    pub(super) containers: Vec<Container>,
    pub(super) networks: Vec<NetworkFacts>,
    pub(super) volumes: BTreeMap<String, VolumeFacts>,
    pub(super) behaviours: BTreeMap<String, Behaviour>,
    pub(super) occupied_ports: BTreeSet<(Protocol, u16)>,
    pub(super) events: Vec<EngineEvent>,
    /// Says yes to updates and keeps what was, as an engine does that cannot enforce a limit.
    pub(super) ignores_updates: bool,
    /// Methods that are answered well and change nothing.
    pub(super) ignored: BTreeSet<&'static str>,
    /// Changes when streams break.
    pub(super) epoch: u64,
    /// Every name and id that there ever was.
    known: BTreeSet<String>,
    /// What commands ended with, by their ids.
    pub(super) exec_exit_codes: BTreeMap<String, i64>,
    /// The commands that were executed, with the names of their containers.
    pub(super) execs: Vec<(String, NewExec)>,
    ids_made: u64,
    addresses_given: u64,
}

impl Default for State {
    fn default() -> Self {
        let mut state = Self {
            images: Vec::new(),
            layers: BTreeMap::new(),
            registry: BTreeMap::new(),
            logins: BTreeMap::new(),
            containers: Vec::new(),
            networks: Vec::new(),
            volumes: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            occupied_ports: BTreeSet::new(),
            events: Vec::new(),
            ignores_updates: false,
            ignored: BTreeSet::new(),
            epoch: 0,
            known: BTreeSet::new(),
            exec_exit_codes: BTreeMap::new(),
            execs: Vec::new(),
            ids_made: 0,
            addresses_given: 0,
        };
        for name in PREDEFINED_NETWORKS {
            let spec = NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() };
            state.insert_network(&spec, &BTreeMap::new());
        }
        state
    }
}

impl State {
    /// Was there ever something of this name or id?
    pub(super) fn knew(&self, subject: &str) -> bool {
        self.known.contains(subject)
    }

    pub(super) fn ignored(&self, method: &str) -> bool {
        self.ignored.contains(method)
    }

    pub(super) fn know(&mut self, names: &[&str]) {
        self.known.extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// 64 hexadecimal digits that were not there before, the same in each run of a test.
    pub(super) fn make_id(&mut self) -> String {
        self.ids_made += 1;
        Digest::of_parts(&[b"fake engine", &self.ids_made.to_be_bytes()]).to_string()
    }

    pub(super) fn next_address(&mut self) -> String {
        self.addresses_given += 1;
        let [.., high, low] = self.addresses_given.to_be_bytes();
        format!("10.99.{high}.{low}")
    }

    pub(super) fn add_image(&mut self, facts: ImageFacts) {
        let names: Vec<String> = facts.tags.clone();
        for image in &mut self.images {
            image.tags.retain(|tag| !names.contains(tag));
        }
        self.images.retain(|image| image.id != facts.id);
        self.know(&[&facts.id]);
        self.known.extend(names);
        self.images.push(facts);
    }

    pub(super) fn image(&self, reference: &str) -> Option<&ImageFacts> {
        let tagged = with_tag(reference);
        self.images.iter().find(|image| {
            image.id == reference
                || image.id.strip_prefix("sha256:") == Some(reference)
                || image.tags.contains(&tagged)
                || image.digests.iter().any(|digest| digest == reference)
        })
    }

    pub(super) fn pull(&mut self, reference: &str) -> Result<(), Refused> {
        match self.registry.get(reference) {
            Some(facts) => {
                let facts = facts.clone();
                self.add_image(facts);
                Ok(())
            }
            None => refuse(Kind::ImageUnavailable, format!("no registry holds {reference}")),
        }
    }

    /// Whether the image's registry shows it to whoever has these credentials.
    pub(super) fn let_in(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
    ) -> Result<(), Refused> {
        let registry = registry_of(reference);
        let wanted = registry.and_then(|registry| self.logins.get(&registry));
        match wanted {
            Some(wanted) if credentials != Some(wanted) => {
                refuse(Kind::Denied, format!("{reference}: no basic auth credentials"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_login(&self, credentials: &Credentials) -> Result<(), Refused> {
        match self.logins.get(&credentials.registry) {
            Some(wanted) if wanted == credentials => Ok(()),
            Some(_) => refuse(Kind::Denied, "unauthorized: authentication required"),
            None => refuse(Kind::Internal, format!("{} does not answer", credentials.registry)),
        }
    }

    /// The digest by which the registry's image is known, or one that stands for it.
    pub(super) fn registry_digest(&self, reference: &str) -> Result<String, Refused> {
        let Some(facts) = self.registry.get(reference) else {
            return refuse(Kind::ImageUnavailable, format!("no registry holds {reference}"));
        };
        let known = facts.digests.iter().find_map(|digest| digest.split_once('@'));
        Ok(known.map_or_else(|| facts.id.clone(), |(_, digest)| digest.to_owned()))
    }

    pub(super) fn build(
        &mut self,
        build: &BuildSpec,
        tags: &[String],
        (context, logins): (&[u8], &[Credentials]),
        now: Timestamp,
    ) -> Result<String, Refused> {
        let text = super::build::text(build, context)?;
        for base in super::build::bases(&text) {
            if build.pull || self.image(base).is_none() {
                let registry = registry_of(base);
                let login = logins.iter().find(|login| Some(&login.registry) == registry.as_ref());
                self.let_in(base, login)?;
                self.pull(base)?;
            }
        }
        let mut facts = super::build::build(self, build, &text, context.len())?;
        facts.id = format!("sha256:{}", self.make_id());
        facts.tags = tags.iter().chain(&build.tags).map(|tag| with_tag(tag)).collect();
        facts.created_at = Some(now);
        let id = facts.id.clone();
        let mut layers = ImageLayers::new();
        for base in super::build::bases(&text) {
            let below = self.image(base).and_then(|image| self.layers.get(&image.id));
            layers = below.cloned().unwrap_or_default();
        }
        layers.extend(super::save::copied(&text, context));
        self.layers.insert(id.clone(), layers);
        self.add_image(facts);
        Ok(id)
    }

    /// What the engine sends of an image.
    pub(super) fn save(&self, reference: &str) -> Result<Bytes, Refused> {
        let Some(image) = self.image(reference) else {
            return refuse(Kind::NotFound, format!("no such image: {reference}"));
        };
        let layers = self.layers.get(&image.id).cloned().unwrap_or_default();
        let saved = super::save::archive(&image.id, &layers);
        saved.map_err(|error| Refused { kind: Kind::Internal, message: error.to_string() })
    }

    pub(super) fn remove_image(&mut self, reference: &str) -> Result<(), Refused> {
        let Some(image) = self.image(reference) else {
            return refuse(Kind::NotFound, format!("no such image: {reference}"));
        };
        let id = image.id.clone();
        let is_by_id = image.id == reference;
        let is_last_name = is_by_id || image.tags.len() <= 1;
        let user = self.containers.iter().find(|container| container.image_id == id);
        if let Some(user) = user.filter(|_| is_last_name) {
            return refuse(Kind::Conflict, format!("container {} uses it", user.name));
        }
        if is_last_name {
            self.images.retain(|image| image.id != id);
        } else {
            let tagged = with_tag(reference);
            for image in &mut self.images {
                image.tags.retain(|tag| *tag != tagged);
            }
        }
        Ok(())
    }

    pub(super) fn network(&self, name: &str) -> Option<&NetworkFacts> {
        self.networks.iter().find(|network| network.name == name || network.id == name)
    }

    pub(super) fn create_network(
        &mut self,
        spec: &NetworkSpec,
        bookkeeping: &BTreeMap<String, String>,
    ) -> Result<String, Refused> {
        if self.network(&spec.name).is_some() {
            let message = format!("network with name {} already exists", spec.name);
            return refuse(Kind::Conflict, message);
        }
        Ok(self.insert_network(spec, bookkeeping))
    }

    fn insert_network(
        &mut self,
        spec: &NetworkSpec,
        bookkeeping: &BTreeMap<String, String>,
    ) -> String {
        let id = self.make_id();
        self.know(&[&id, &spec.name]);
        let labels = spec.labels.iter().chain(bookkeeping);
        self.networks.push(NetworkFacts {
            id: id.clone(),
            name: spec.name.clone(),
            driver: spec.driver.clone().unwrap_or_else(|| "bridge".to_owned()),
            scope: "local".to_owned(),
            driver_options: spec.driver_options.clone(),
            internal: spec.internal,
            attachable: spec.attachable,
            enable_ipv6: spec.enable_ipv6.unwrap_or_default(),
            ipam: spec.ipam.clone().unwrap_or_default(),
            labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
        });
        id
    }

    pub(super) fn remove_network(&mut self, name: &str) -> Result<(), Refused> {
        let Some(network) = self.network(name) else {
            return refuse(Kind::NotFound, format!("network {name} not found"));
        };
        let name = network.name.clone();
        let is_joined = |container: &&Container| {
            container.is_active() && container.networks.contains_key(&name)
        };
        if let Some(user) = self.containers.iter().find(is_joined) {
            let message = format!("network {name} has active endpoints ({})", user.name);
            return refuse(Kind::Conflict, message);
        }
        self.networks.retain(|network| network.name != name);
        Ok(())
    }

    pub(super) fn connect(
        &mut self,
        network: &str,
        container: &str,
        attachment: &Attachment,
    ) -> Result<(), Refused> {
        let Some(name) = self.network(network).map(|network| network.name.clone()) else {
            return refuse(Kind::NotFound, format!("network {network} not found"));
        };
        let address = self.next_address();
        let found = self.container_mut(container)?;
        if found.is_active() && found.networks.contains_key(&name) {
            let message = format!("endpoint with name {} already exists in network", found.name);
            return refuse(Kind::Conflict, message);
        }
        found.join(&name, attachment.clone(), address);
        Ok(())
    }

    pub(super) fn disconnect(&mut self, network: &str, container: &str) -> Result<(), Refused> {
        let Some(name) = self.network(network).map(|network| network.name.clone()) else {
            return refuse(Kind::NotFound, format!("network {network} not found"));
        };
        let found = self.container_mut(container)?;
        if found.leave(&name) {
            return Ok(());
        }
        refuse(Kind::Conflict, format!("container {container} is not connected to network {name}"))
    }

    pub(super) fn create_volume(
        &mut self,
        spec: &VolumeSpec,
        bookkeeping: &BTreeMap<String, String>,
    ) -> Result<(), Refused> {
        let driver = spec.driver.clone().unwrap_or_else(|| "local".to_owned());
        if self.volumes.get(&spec.name).is_some_and(|volume| volume.driver != driver) {
            let message = format!("volume {} exists with another driver", spec.name);
            return refuse(Kind::Conflict, message);
        }
        let labels = spec.labels.iter().chain(bookkeeping);
        let facts = VolumeFacts {
            name: spec.name.clone(),
            driver,
            driver_options: spec.driver_options.clone(),
            labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
            mountpoint: format!("/var/lib/docker/volumes/{}/_data", spec.name),
        };
        self.know(&[&spec.name]);
        self.volumes.entry(spec.name.clone()).or_insert(facts);
        Ok(())
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Result<(), Refused> {
        if !self.volumes.contains_key(name) {
            return refuse(Kind::NotFound, format!("get {name}: no such volume"));
        }
        if let Some(user) = self.containers.iter().find(|it| it.mounts_volume(name)) {
            let message = format!("volume is in use by container {}", user.name);
            return refuse(Kind::Conflict, message);
        }
        self.volumes.remove(name);
        Ok(())
    }
}

/// The name as the engine lists it, with a tag.
pub(super) fn with_tag(reference: &str) -> String {
    let is_tagged = reference.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    if is_tagged || reference.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}
