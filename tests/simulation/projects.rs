//! Makes up small projects and changes them. Owns the compose text that a simulated user writes.
//! Face: `Declaration`. Never declares what cannot be brought up on a working engine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wharfinger::domain::compose::{Bundle, BundleFile, Options};
use wharfinger::facts::{ImageFacts, ServiceSpec};
use wharfinger::world::docker::fake::{Behaviour, FakeEngine, HealthCourse};

use crate::mortal::Dice;

/// Ends successfully each time; the others run until they are stopped.
pub(crate) const ONE_SHOT: &str = "init";
const SERVICES: [&str; 4] = [ONE_SHOT, "db", "web", "worker"];
const IMAGES: [&str; 2] = ["image:0", "image:1"];

/// What a user declares of a project.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declaration {
    pub(crate) name: String,
    pub(crate) services: BTreeMap<&'static str, Service>,
    has_internal_network: bool,
    settings: u64,
}

/// What a user declares of a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service {
    image: &'static str,
    pub(crate) replicas: u64,
    value: u64,
    has_volume: bool,
    pub(crate) has_anonymous_volume: bool,
    has_healthcheck: bool,
    has_settings: bool,
    is_on_both_networks: bool,
    comes_back: bool,
    /// Depends on every earlier service, or on none.
    depends: bool,
    /// Its memory in MiB at most; without a limit when it is none. Changed on the living container.
    memory: Option<u64>,
}

impl Declaration {
    /// Two to four services.
    pub(crate) fn roll(name: &str, dice: &Dice) -> Self {
        let mut services = BTreeMap::new();
        let left_out = dice.below(3);
        for service in SERVICES.iter().skip(usize::try_from(left_out).unwrap_or(0)) {
            services.insert(*service, Service::roll(service, dice));
        }
        Self {
            name: name.to_owned(),
            services,
            has_internal_network: dice.once_in(2),
            settings: dice.below(3),
        }
    }

    /// The same project with a change or two.
    pub(crate) fn changed(&self, dice: &Dice) -> Self {
        let mut changed = self.clone();
        for _ in 0..=dice.below(2) {
            let Some(service) = dice.choose(&SERVICES).copied() else { continue };
            match dice.below(6) {
                5 => {
                    let found = changed.services.get_mut(service);
                    found.into_iter().for_each(|found| found.memory = found.memory.xor(Some(96)));
                }
                0 => changed.settings = dice.below(3),
                1 => changed.has_internal_network = !changed.has_internal_network,
                2 if changed.services.len() > 2 => drop(changed.services.remove(service)),
                _ => drop(changed.services.insert(service, Service::roll(service, dice))),
            }
        }
        changed
    }

    /// Everything that the client would send.
    pub(crate) fn bundle(&self) -> Bundle {
        let path = |file: &str| format!("/srv/{}/{file}", self.name);
        let options = Options {
            directory: path("").trim_end_matches('/').to_owned(),
            files: vec![path("compose.yaml")],
            ..Options::default()
        };
        let files = [
            (path("compose.yaml"), BundleFile::Text(self.text())),
            (path(".env"), BundleFile::Missing),
        ];
        Bundle { options, files: files.into(), ..Bundle::default() }
    }

    fn text(&self) -> String {
        let mut text = format!("name: {}\nservices:\n", self.name);
        for (name, service) in &self.services {
            service.write(&mut text, name, self);
        }
        let _ = write!(
            text,
            "networks: {{front: {{}}, back: {{internal: {}}}}}\nvolumes: {{data: {{}}}}\n\
             configs: {{settings: {{content: 'value {}'}}}}\n",
            self.has_internal_network, self.settings,
        );
        text
    }
}

impl Service {
    fn roll(name: &str, dice: &Dice) -> Self {
        let is_one_shot = name == ONE_SHOT;
        Self {
            image: dice.choose(&IMAGES).copied().unwrap_or_default(),
            replicas: if is_one_shot { 1 } else { 1 + dice.below(2) },
            value: dice.below(3),
            has_volume: dice.once_in(2),
            has_anonymous_volume: dice.once_in(2),
            has_healthcheck: !is_one_shot && dice.once_in(2),
            has_settings: dice.once_in(3),
            is_on_both_networks: dice.once_in(2),
            comes_back: !is_one_shot && dice.once_in(2),
            depends: dice.once_in(2),
            memory: (!is_one_shot).then(|| dice.below(3) * 64).filter(|mebibytes| *mebibytes > 0),
        }
    }

    fn write(&self, text: &mut String, name: &str, project: &Declaration) {
        let networks = if self.is_on_both_networks { "front, back" } else { "front" };
        let _ = write!(
            text,
            "  {name}:\n    image: {}\n    command: [serve]\n    scale: {}\n    \
             environment: {{VALUE: '{}'}}\n    networks: [{networks}]\n",
            self.image, self.replicas, self.value,
        );
        let volumes = [(self.has_volume, "data:/data"), (self.has_anonymous_volume, "/scratch")];
        let volumes: Vec<_> = volumes.iter().filter(|it| it.0).map(|it| it.1).collect();
        if !volumes.is_empty() {
            let _ = writeln!(text, "    volumes: ['{}']", volumes.join("', '"));
        }
        if self.has_healthcheck {
            text.push_str("    healthcheck: {test: [CMD, probe], interval: 1s}\n");
            // No throw of its own, so that the seeds of regressions mean what they meant.
            text.push_str("    post_start: [{command: [echo, a]}, {command: [echo, b]}]\n");
            text.push_str("    pre_stop: [{command: [echo, c]}]\n");
        }
        if self.has_settings {
            text.push_str("    configs: [settings]\n");
        }
        if let Some(mebibytes) = self.memory {
            let _ = writeln!(text, "    mem_limit: {mebibytes}m");
        }
        if self.comes_back {
            text.push_str("    restart: unless-stopped\n");
        }
        let earlier: Vec<_> = project.services.range(..name).filter(|_| self.depends).collect();
        if name != ONE_SHOT && !earlier.is_empty() {
            text.push_str("    depends_on:\n");
            for (other, service) in earlier {
                let _ = writeln!(text, "      {other}: {{condition: {}}}", service.awaited(other));
            }
        }
    }

    /// Bytes of memory that it may have.
    pub(crate) fn memory(&self) -> Option<i64> {
        self.memory.and_then(|mebibytes| i64::try_from(mebibytes << 20).ok())
    }

    fn awaited(&self, name: &str) -> &'static str {
        match name {
            ONE_SHOT => "service_completed_successfully",
            _ if self.has_healthcheck => "service_healthy",
            _ => "service_started",
        }
    }
}

/// Puts on the engine what the declarations need, and says how their programs behave.
pub(crate) fn prepare(engine: &FakeEngine, dice: &Dice) {
    for (number, image) in IMAGES.iter().enumerate() {
        engine.add_image(ImageFacts {
            last_tagged_at: None,
            id: format!("sha256:{number:064x}"),
            tags: vec![(*image).to_owned()],
            digests: Vec::new(),
            defaults: ServiceSpec::default(),
            platform: "linux/amd64".to_owned(),
            size_bytes: 1 << 20,
            created_at: None,
        });
    }
    let looks = || u32::try_from(dice.below(4)).unwrap_or_default();
    for service in SERVICES {
        let exit = (service == ONE_SHOT).then(|| (looks(), 0));
        let health = HealthCourse::HealthyAfter(looks());
        engine.behave(service, Behaviour { health, exit, ..Behaviour::default() });
    }
}
