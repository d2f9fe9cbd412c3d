//! What checks can be told: exceptions, lists and limits. Owns each parameter, its default and how
//! it is read from a policy's file. Face: `Parameters`, `PARAMETERS`, `ParameterError`. Never takes
//! a name that no check knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::capabilities;
use crate::base::suggest::did_you_mean;
use crate::base::units::parse_bytes;
use crate::base::yaml::{Key, Node, Resolved, Value};

/// Days in a hundred years: an image is not meant to be older.
const DAYS_MAX: i128 = 36_500;
/// The most items that a list has.
const ITEMS_MAX: usize = 1_000;
/// The most characters of one item.
const ITEM_CHARS_MAX: usize = 512;

/// What the checks go by, where people differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Capabilities that may be added, upper case without `CAP_`.
    pub capabilities_allowed: BTreeSet<String>,
    /// Where images may come from: a registry, or a registry with the beginning of a path. `None`
    /// when nobody has said so.
    pub registries: Option<BTreeSet<String>>,
    /// Ports of the host below 1024 that may be published.
    pub ports_privileged_allowed: BTreeSet<u16>,
    /// Ports inside containers that are needed. `None` when nobody has said so.
    pub ports_needed: Option<BTreeSet<u16>>,
    /// The address that a remedy publishes ports on.
    pub ports_address: Option<IpAddr>,
    /// Devices of the host that may be passed on.
    pub devices_allowed: BTreeSet<String>,
    /// Sensitive paths of the host that may be mounted.
    pub host_paths_allowed: BTreeSet<String>,
    /// More sockets by which an engine is commanded.
    pub sockets: BTreeSet<String>,
    /// Kernel parameters that may be set.
    pub sysctls_allowed: BTreeSet<String>,
    /// Control groups that containers may be put below.
    pub cgroup_parents_allowed: BTreeSet<String>,
    /// The most that a process limit may be raised to, by name.
    pub ulimits_max: BTreeMap<String, i64>,
    /// The memory limit that a remedy sets; `None` is no remedy.
    pub memory_bytes: Option<i64>,
    /// The CPU limit that a remedy sets, in thousand-millionths; `None` is no remedy.
    pub nano_cpus: Option<i64>,
    /// The limit of processes that a remedy sets.
    pub pids_max: i64,
    /// The most restarts after failures.
    pub restart_retries_max: u32,
    /// Days after which an image is old.
    pub image_age_days_max: u32,
    /// Labels that say where an image comes from.
    pub provenance_labels: BTreeSet<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        let texts = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Self {
            capabilities_allowed: texts(&capabilities::DEFAULT),
            registries: None,
            ports_privileged_allowed: BTreeSet::new(),
            ports_needed: None,
            ports_address: None,
            devices_allowed: BTreeSet::new(),
            host_paths_allowed: BTreeSet::new(),
            sockets: BTreeSet::new(),
            sysctls_allowed: texts(&SYSCTLS),
            cgroup_parents_allowed: BTreeSet::new(),
            ulimits_max: ULIMITS.iter().map(|(name, max)| ((*name).to_owned(), *max)).collect(),
            memory_bytes: None,
            nano_cpus: None,
            pids_max: 512,
            restart_retries_max: 5,
            image_age_days_max: 90,
            provenance_labels: texts(&[
                "org.opencontainers.image.revision",
                "org.opencontainers.image.source",
            ]),
        }
    }
}

/// Kernel parameters that reach no further than the container: those that Kubernetes calls safe,
/// and the length of the queue of connections.
const SYSCTLS: [&str; 13] = [
    "kernel.shm_rmid_forced",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What a process limit is raised to at most: files as systemd's and containerd's own units have
/// them, processes as many as a default kernel has numbers for.
const ULIMITS: [(&str, i64); 2] = [("nofile", 1_048_576), ("nproc", 32_768)];

/// One parameter, for people.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name in a policy's file.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it means, as a sentence.
    pub meaning: &'static str,
    /// What counts when it is not set.
    pub default: &'static str,
}

/// Every parameter, by name.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "capabilities_allowed",
        takes: "a list of capabilities",
        meaning: "Capabilities that may be added.",
        default: "the 14 that the engine gives by itself",
    },
    Parameter {
        name: "cgroup_parents_allowed",
        takes: "a list of control groups",
        meaning: "Control groups that containers may be put below.",
        default: "none",
    },
    Parameter {
        name: "cpus",
        takes: "a number such as 1.5",
        meaning: "The CPU limit that a remedy sets.",
        default: "no remedy",
    },
    Parameter {
        name: "devices_allowed",
        takes: "a list of paths",
        meaning: "Devices of the host that may be passed on.",
        default: "none",
    },
    Parameter {
        name: "host_paths_allowed",
        takes: "a list of paths",
        meaning: "Sensitive paths of the host that may be mounted, with what is below them.",
        default: "none",
    },
    Parameter {
        name: "image_age_days_max",
        takes: "a number of days",
        meaning: "Days after which an image is old.",
        default: "90",
    },
    Parameter {
        name: "memory",
        takes: "a size such as 512m",
        meaning: "The memory limit that a remedy sets.",
        default: "no remedy",
    },
    Parameter {
        name: "pids",
        takes: "a number of processes",
        meaning: "The limit of processes that a remedy sets.",
        default: "512",
    },
    Parameter {
        name: "ports_address",
        takes: "an address",
        meaning: "The address that a remedy publishes ports on.",
        default: "no remedy",
    },
    Parameter {
        name: "ports_needed",
        takes: "a list of ports",
        meaning: "Ports inside containers that are needed; others are not to be published.",
        default: "nobody has said: the verdict is unknown",
    },
    Parameter {
        name: "ports_privileged_allowed",
        takes: "a list of ports",
        meaning: "Ports of the host below 1024 that may be published.",
        default: "none",
    },
    Parameter {
        name: "provenance_labels",
        takes: "a list of labels",
        meaning: "Labels that an image must have.",
        default: "`org.opencontainers.image.source` and `org.opencontainers.image.revision`",
    },
    Parameter {
        name: "registries",
        takes: "a list such as ghcr.io/acme",
        meaning: "Registries that images may come from, with the beginning of a path if wanted.",
        default: "nobody has said: the verdict is unknown",
    },
    Parameter {
        name: "restart_retries_max",
        takes: "a number",
        meaning: "The most restarts after failures.",
        default: "5",
    },
    Parameter {
        name: "sockets",
        takes: "a list of paths",
        meaning: "More sockets by which an engine is commanded.",
        default: "none besides those that are known",
    },
    Parameter {
        name: "sysctls_allowed",
        takes: "a list of kernel parameters",
        meaning: "Kernel parameters that may be set.",
        default: "those that reach no further than the container",
    },
    Parameter {
        name: "ulimits_max",
        takes: "a mapping of names to numbers",
        meaning: "The most that process limits may be raised to.",
        default: "`nofile: 1048576`, `nproc: 32768`",
    },
];

/// Why a parameter cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// No check knows it.
    #[error("no check has a parameter {name:?}; {hint}")]
    Unknown {
        /// What was given.
        name: String,
        /// The name that may have been meant.
        hint: String,
    },
    /// It takes something else.
    #[error("parameter `{name}` takes {takes}, not {found}")]
    Wrong {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        takes: &'static str,
        /// What was given, in words.
        found: String,
    },
    /// It has too many items, or one that is too long.
    #[error(
        "parameter `{name}` has more than {ITEMS_MAX} items, or one of over {ITEM_CHARS_MAX} \
         characters"
    )]
    TooLong {
        /// The parameter.
        name: &'static str,
    },
}

impl Parameters {
    /// Sets one from a policy's file.
    ///
    /// # Errors
    /// When no check knows it, or it takes something else.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), ParameterError> {
        let Some(known) = PARAMETERS.iter().find(|known| known.name == name) else {
            let names: Vec<&str> = PARAMETERS.iter().map(|known| known.name).collect();
            let hint = did_you_mean(name, &names);
            return Err(ParameterError::Unknown { name: name.to_owned(), hint });
        };
        let given = Given { known, value };
        match known.name {
            "capabilities_allowed" => {
                let names = given.texts()?.into_iter().map(|name| capabilities::plain(&name));
                self.capabilities_allowed = names.collect();
            }
            "cgroup_parents_allowed" => self.cgroup_parents_allowed = given.texts()?,
            "cpus" => self.nano_cpus = Some(given.cpus()?),
            "devices_allowed" => self.devices_allowed = given.paths()?,
            "host_paths_allowed" => self.host_paths_allowed = given.paths()?,
            "image_age_days_max" => self.image_age_days_max = given.number(1..=DAYS_MAX)?,
            "memory" => self.memory_bytes = Some(given.bytes()?),
            "pids" => self.pids_max = given.number(1..=i128::from(u32::MAX))?,
            "ports_address" => {
                let address = given.text()?.parse::<IpAddr>().map_err(|_| given.wrong())?;
                self.ports_address = Some(address);
            }
            "ports_needed" => self.ports_needed = Some(given.ports()?),
            "ports_privileged_allowed" => self.ports_privileged_allowed = given.ports()?,
            "provenance_labels" => self.provenance_labels = given.texts()?,
            "registries" => self.registries = Some(given.texts()?),
            "restart_retries_max" => {
                self.restart_retries_max = given.number(0..=i128::from(u32::MAX))?;
            }
            "sockets" => self.sockets = given.paths()?,
            "sysctls_allowed" => self.sysctls_allowed = given.texts()?,
            _ => self.ulimits_max = given.limits()?,
        }
        Ok(())
    }
}

/// A value on its way to a parameter.
struct Given<'a> {
    known: &'static Parameter,
    value: &'a Value,
}

impl Given<'_> {
    fn wrong(&self) -> ParameterError {
        let found = match self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar(scalar) => {
                format!("{:?}", scalar.text.chars().take(ITEM_CHARS_MAX).collect::<String>())
            }
            Value::Seq(_) => "this list".to_owned(),
            Value::Map(_) => "this mapping".to_owned(),
        };
        ParameterError::Wrong { name: self.known.name, takes: self.known.takes, found }
    }

    fn text(&self) -> Result<String, ParameterError> {
        match self.value {
            Value::Scalar(scalar) => Ok(scalar.to_text()),
            _ => Err(self.wrong()),
        }
    }

    fn items(&self) -> Result<&[Node], ParameterError> {
        match self.value {
            Value::Seq(items) if items.len() <= ITEMS_MAX => Ok(items),
            Value::Seq(_) => Err(ParameterError::TooLong { name: self.known.name }),
            _ => Err(self.wrong()),
        }
    }

    fn texts(&self) -> Result<BTreeSet<String>, ParameterError> {
        let text = |node: &Node| {
            let text = node.as_scalar().ok_or_else(|| self.wrong())?.to_text();
            if text.is_empty() {
                return Err(self.wrong());
            }
            if text.chars().count() > ITEM_CHARS_MAX {
                return Err(ParameterError::TooLong { name: self.known.name });
            }
            Ok(text)
        };
        self.items()?.iter().map(text).collect()
    }

    /// Absolute paths: a relative one would be below nobody knows what.
    fn paths(&self) -> Result<BTreeSet<String>, ParameterError> {
        let paths = self.texts()?;
        match paths.iter().all(|path| path.starts_with('/')) {
            true => Ok(paths),
            false => Err(self.wrong()),
        }
    }

    fn whole(&self, value: &Value) -> Result<i128, ParameterError> {
        match value {
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Int(number) => Ok(number),
                _ => Err(self.wrong()),
            },
            _ => Err(self.wrong()),
        }
    }

    fn number<T: TryFrom<i128>>(
        &self,
        range: std::ops::RangeInclusive<i128>,
    ) -> Result<T, ParameterError> {
        let number = self.whole(self.value)?;
        let number = range.contains(&number).then_some(number).ok_or_else(|| self.wrong())?;
        T::try_from(number).map_err(|_| self.wrong())
    }

    fn ports(&self) -> Result<BTreeSet<u16>, ParameterError> {
        let port = |node: &Node| {
            let number = self.whole(&node.value)?;
            u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| self.wrong())
        };
        self.items()?.iter().map(port).collect()
    }

    fn bytes(&self) -> Result<i64, ParameterError> {
        let bytes = parse_bytes(&self.text()?).map_err(|_| self.wrong())?;
        i64::try_from(bytes).ok().filter(|bytes| *bytes > 0).ok_or_else(|| self.wrong())
    }

    /// Computed on the digits, because the nearest float to `0.1` is not a tenth.
    fn cpus(&self) -> Result<i64, ParameterError> {
        const NANO_DIGITS: usize = 9;
        let text = self.text()?;
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let is_number = !text.is_empty()
            && [whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_number || fraction.len() > NANO_DIGITS {
            return Err(self.wrong());
        }
        let nanos = format!("{whole}{fraction:0<NANO_DIGITS$}").parse::<i64>();
        nanos.ok().filter(|nanos| *nanos > 0).ok_or_else(|| self.wrong())
    }

    fn limits(&self) -> Result<BTreeMap<String, i64>, ParameterError> {
        let Value::Map(map) = self.value else { return Err(self.wrong()) };
        if map.0.len() > ITEMS_MAX {
            return Err(ParameterError::TooLong { name: self.known.name });
        }
        let limit = |(key, node): &(Key, Node)| {
            let number = self.whole(&node.value)?;
            let number = i64::try_from(number).map_err(|_| self.wrong())?;
            Ok((key.text.clone(), number))
        };
        map.0.iter().map(limit).collect()
    }
}
