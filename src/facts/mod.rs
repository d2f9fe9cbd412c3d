//! The one vocabulary: what a compose file declares and what the engine reports, in the same words.
//! Owns the nouns of services, containers, networks, volumes, images and engines, and the rule when
//! a contract and a container are alike. Face: what is re-exported here. Never reads a file or an
//! engine: others translate into these words.

mod container;
mod differences;
mod effective;
mod host;
pub mod labels;
mod live;
mod project;
mod service;

pub use container::{
    ContainerFacts, ContainerState, ContainerUsage, EngineFacts, Health, ImageFacts, Instance,
    NetworkAddress, NetworkFacts, VolumeFacts,
};
pub use differences::{FieldDifference, differences};
pub use effective::{
    container_side, effective, exposed_ports, normalise, resolve_namespaces, resolve_volumes_from,
};
pub use host::{DaemonFacts, DaemonFile, DaemonOption, FileFacts, FileLook, HostFacts};
pub use live::{LiveSettings, is_left_out, is_live, is_never_taken_away};
pub use project::{
    BuildSpec, Condition, ContentFile, Dependency, Hook, HookKind, Ipam, IpamPool, NetworkSpec,
    OnUnhealthy, ProjectSpec, PullPolicy, STOP_GRACE_PERIOD_DEFAULT, ServiceUnit, UpdateOrder,
    Updates, VolumeSpec,
};
pub use service::{
    Attachment, BlkioLimits, DeviceMapping, DeviceRequest, HealthProbe, Healthcheck, Logging,
    Mount, MountKind, NetworkMode, PortBinding, Protocol, Resources, RestartPolicy, Security,
    ServiceSpec, UNMASKED, Ulimit,
};
