//! Says why a step is in a plan. Owns `Cause`: one variant per reason, with its machine-readable
//! code and its sentence. Face: `Cause::code`, `Display`. Never holds a value that may be secret:
//! environment variables and files appear by name only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// Why a step is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "code")]
pub enum Cause {
    /// It is declared and does not exist.
    Missing,
    /// The declared number of containers is larger than what exists.
    ScaledUp,
    /// The container's number is above the declared number of containers.
    ScaledDown,
    /// The declaration differs from what the container was made from.
    ContractChanged {
        /// Names of the differing fields, such as `environment.PGPASSWORD`.
        fields: Vec<String>,
    },
    /// The image's name leads to another image than the container runs.
    ImageChanged {
        /// Id of the image that it runs.
        from: String,
        /// Id of the image that the name leads to.
        to: String,
    },
    /// No image was built from these files yet.
    ContextChanged,
    /// `pull_policy: always`.
    PullAlways,
    /// `pull_policy: daily` and its kin, and the last time is long ago.
    PullDue {
        /// How old it may be, in seconds.
        seconds: u64,
        /// When it was pulled last, as far as is known.
        last: Option<Timestamp>,
    },
    /// The network's declaration differs from the network.
    NetworkChanged {
        /// Its name.
        network: String,
        /// Names of the differing fields.
        fields: Vec<String>,
    },
    /// The volume's declaration differs from the volume, and it was asked to make it anew.
    VolumeChanged {
        /// Its name.
        volume: String,
        /// Names of the differing fields.
        fields: Vec<String>,
    },
    /// The project has several networks of this name, which no container can tell apart.
    NetworkDoubled {
        /// Their name.
        network: String,
    },
    /// The container belongs to a network that was removed and made again since.
    NetworkReplaced {
        /// Its name.
        network: String,
    },
    /// The container is not a member of a declared network.
    NotConnected {
        /// The network's name.
        network: String,
    },
    /// The container whose namespace or volumes it shares is another one now.
    ParentReplaced {
        /// The service of that container.
        service: String,
    },
    /// A container that carries Compose's labels differs from the declaration.
    AdoptionDiffers {
        /// Names of the differing fields.
        fields: Vec<String>,
    },
    /// A container that carries Compose's labels is as declared: it only has to be noted down.
    AdoptionMatches,
    /// Another agent made it, and we were asked to take the project over.
    OtherAgent {
        /// The other agent's id.
        agent: String,
    },
    /// An earlier replacement of this container was interrupted.
    ReplacementInterrupted,
    /// It replaces, or is replaced by, another container; the cause is named at the creation.
    Replacement,
    /// The container that was to replace it did not come to be as it has to.
    ReplacementFailed,
    /// The container was made and never started.
    NeverStarted,
    /// The container has ended.
    Exited {
        /// Its exit status.
        exit_code: i64,
    },
    /// The container is frozen.
    Paused,
    /// The engine could not remove the container earlier.
    Unusable,
    /// Its service is not declared any more.
    Orphaned,
    /// A service that it depends on was replaced, and it asks to be restarted then.
    DependencyReplaced {
        /// That service.
        service: String,
    },
    /// It was started, and not all hooks of that start have ended.
    HooksDue,
    /// A dependent must not start before.
    Awaited,
    /// A file that the agent mounts into the container is not where it was written.
    FilesMissing,
    /// Somebody asked for exactly this.
    Requested,
}

impl Cause {
    /// The stable, machine-readable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::ScaledUp => "scaled_up",
            Self::ScaledDown => "scaled_down",
            Self::ContractChanged { .. } => "contract_changed",
            Self::ImageChanged { .. } => "image_changed",
            Self::ContextChanged => "context_changed",
            Self::PullAlways => "pull_always",
            Self::PullDue { .. } => "pull_due",
            Self::NetworkChanged { .. } => "network_changed",
            Self::VolumeChanged { .. } => "volume_changed",
            Self::NetworkDoubled { .. } => "network_doubled",
            Self::NetworkReplaced { .. } => "network_replaced",
            Self::NotConnected { .. } => "not_connected",
            Self::ParentReplaced { .. } => "parent_replaced",
            Self::AdoptionDiffers { .. } => "adoption_differs",
            Self::AdoptionMatches => "adoption_matches",
            Self::OtherAgent { .. } => "other_agent",
            Self::ReplacementInterrupted => "replacement_interrupted",
            Self::Replacement => "replacement",
            Self::ReplacementFailed => "replacement_failed",
            Self::NeverStarted => "never_started",
            Self::Exited { .. } => "exited",
            Self::Paused => "paused",
            Self::Unusable => "unusable",
            Self::Orphaned => "orphaned",
            Self::DependencyReplaced { .. } => "dependency_replaced",
            Self::HooksDue => "hooks_due",
            Self::Awaited => "awaited",
            Self::FilesMissing => "files_missing",
            Self::Requested => "requested",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::ScaledUp => f.write_str("more containers are declared"),
            Self::ScaledDown => f.write_str("fewer containers are declared"),
            Self::ContractChanged { fields } => write!(f, "changed: {}", Fields(fields)),
            Self::ImageChanged { from, to } => {
                write!(f, "image changed from {} to {}", short(from), short(to))
            }
            Self::ContextChanged => f.write_str("no image was built from these files yet"),
            Self::PullAlways => f.write_str("pull_policy is always"),
            Self::PullDue { seconds, last: Some(last) } => {
                write!(f, "pull_policy is every {}, and it was pulled at {last:.0}", time(*seconds))
            }
            Self::PullDue { seconds, last: None } => {
                let time = time(*seconds);
                write!(f, "pull_policy is every {time}, and nobody knows when it was pulled")
            }
            Self::NetworkChanged { network, fields } => {
                write!(f, "network {network} changed: {}", Fields(fields))
            }
            Self::VolumeChanged { volume, fields } => {
                write!(f, "volume {volume} is made anew without its data: {}", Fields(fields))
            }
            Self::NetworkDoubled { network } => {
                write!(f, "network {network} exists more than once")
            }
            Self::NetworkReplaced { network } => write!(f, "network {network} was replaced"),
            Self::NotConnected { network } => write!(f, "not connected to {network}"),
            Self::ParentReplaced { service } => {
                write!(f, "shares a namespace or volumes with {service}, which is replaced")
            }
            Self::AdoptionDiffers { fields } => {
                write!(f, "made by somebody else, and different: {}", Fields(fields))
            }
            Self::AdoptionMatches => f.write_str("made by somebody else, exactly as declared"),
            Self::OtherAgent { agent } => write!(f, "taken over from agent {agent}"),
            Self::ReplacementInterrupted => f.write_str("an earlier replacement was interrupted"),
            Self::Replacement => f.write_str("part of the replacement"),
            Self::ReplacementFailed => f.write_str("its replacement failed"),
            Self::NeverStarted => f.write_str("not started yet"),
            Self::Exited { exit_code } => write!(f, "exited with status {exit_code}"),
            Self::Paused => f.write_str("frozen"),
            Self::Unusable => f.write_str("left behind by a removal that failed"),
            Self::Orphaned => f.write_str("its service is not declared any more"),
            Self::DependencyReplaced { service } => write!(f, "{service} was replaced"),
            Self::HooksDue => f.write_str("started, and not all its hooks have ended"),
            Self::Awaited => f.write_str("others wait for it"),
            Self::FilesMissing => f.write_str("not on this host yet"),
            Self::Requested => f.write_str("requested"),
        }
    }
}

/// `12h`, `1d`, `90s`.
fn time(seconds: u64) -> String {
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "m")];
    let whole = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// A list of names that stays one readable line however much changed.
struct Fields<'a>(&'a [String]);

const FIELDS_SHOWN_MAX: usize = 6;

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(FIELDS_SHOWN_MAX)];
        f.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// `sha256:0123456789ab…` as people know it: twelve digits.
fn short(image_id: &str) -> &str {
    let digits = image_id.strip_prefix("sha256:").unwrap_or(image_id);
    digits.get(..12).unwrap_or(digits)
}
