//! Says why no plan can be made. Owns `PlanError`. Face: `PlanError::code`, `hint`. Never stops at
//! the first: all that stands in the way is told at once.

use std::fmt;

/// One thing that stands in the way of a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum PlanError {
    /// Services that wait for each other.
    #[error("services depend on each other in a circle: {}", .services.join(", "))]
    DependencyCycle {
        /// All of them.
        services: Vec<String>,
    },
    /// A service was asked for that the project does not declare.
    #[error("the project declares no service {service:?}")]
    UnknownService {
        /// Its name.
        service: String,
    },
    /// A network that is made elsewhere is not there.
    #[error("external network {network:?} does not exist")]
    ExternalNetworkMissing {
        /// Its name.
        network: String,
    },
    /// A volume that is made elsewhere is not there.
    #[error("external volume {volume:?} does not exist")]
    ExternalVolumeMissing {
        /// Its name.
        volume: String,
    },
    /// A network of that name belongs to somebody else.
    #[error("network {network:?} exists, and does not belong to project {project:?}")]
    ForeignNetwork {
        /// Its name.
        network: String,
        /// The project.
        project: String,
    },
    /// A changed network cannot be made again.
    #[error("network {network:?} changed, but container {container:?} keeps it in use")]
    NetworkInUse {
        /// Its name.
        network: String,
        /// A container that is not to be touched.
        container: String,
    },
    /// A volume was asked to be made anew that the project does not declare, or does not own.
    #[error("the project makes no volume {volume:?}, so that it cannot make it anew")]
    UnknownVolume {
        /// Its key in the project.
        volume: String,
    },
    /// A changed volume cannot be made again.
    #[error("volume {volume:?} cannot be made anew, for container {container:?} mounts it")]
    VolumeInUse {
        /// Its name.
        volume: String,
        /// A container that is not to be touched.
        container: String,
    },
    /// Another container has the name.
    #[error("the name {name:?} belongs to another container")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The image is not there, and must not be pulled.
    #[error("image {image:?} of service {service:?} is not on this host, and pull_policy is never")]
    ImageMissing {
        /// Its reference.
        image: String,
        /// The service.
        service: String,
    },
    /// A fixed name, and more than one container.
    #[error("service {service:?} has a container_name, so it cannot have {replicas} containers")]
    NameForSeveral {
        /// The service.
        service: String,
        /// Declared containers.
        replicas: u32,
    },
    /// Another agent on the same engine keeps the project.
    #[error(
        "{} belong{} to another agent on this engine, {agent}",
        .containers.join(", "),
        if .containers.len() == 1 { "s" } else { "" }
    )]
    OtherAgent {
        /// The other agent's id.
        agent: String,
        /// Names of its containers.
        containers: Vec<String>,
    },
    /// A number that has no exact form.
    #[error("service {service:?} declares a number that is too large")]
    NumberTooLarge {
        /// The service.
        service: String,
    },
}

impl PlanError {
    /// The stable, machine-readable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DependencyCycle { .. } => "dependency_cycle",
            Self::UnknownService { .. } => "unknown_service",
            Self::ExternalNetworkMissing { .. } => "external_network_missing",
            Self::ExternalVolumeMissing { .. } => "external_volume_missing",
            Self::ForeignNetwork { .. } => "foreign_network",
            Self::NetworkInUse { .. } => "network_in_use",
            Self::UnknownVolume { .. } => "unknown_volume",
            Self::VolumeInUse { .. } => "volume_in_use",
            Self::NameTaken { .. } => "name_taken",
            Self::ImageMissing { .. } => "image_missing",
            Self::NameForSeveral { .. } => "name_for_several",
            Self::OtherAgent { .. } => "other_agent",
            Self::NumberTooLarge { .. } => "number_too_large",
        }
    }

    /// What it is about.
    pub fn subject(&self) -> String {
        match self {
            Self::DependencyCycle { services } => services.join(", "),
            Self::UnknownService { service }
            | Self::ImageMissing { service, .. }
            | Self::NameForSeveral { service, .. }
            | Self::NumberTooLarge { service } => service.clone(),
            Self::ExternalNetworkMissing { network }
            | Self::ForeignNetwork { network, .. }
            | Self::NetworkInUse { network, .. } => network.clone(),
            Self::ExternalVolumeMissing { volume }
            | Self::UnknownVolume { volume }
            | Self::VolumeInUse { volume, .. } => volume.clone(),
            Self::NameTaken { name } => name.clone(),
            Self::OtherAgent { containers, .. } => containers.join(", "),
        }
    }

    /// What the operator can do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::DependencyCycle { .. } => "remove one of the dependencies",
            Self::UnknownService { .. } => "check the spelling and the active profiles",
            Self::ExternalNetworkMissing { .. } => "create it, or remove `external: true`",
            Self::ExternalVolumeMissing { .. } => "create it, or remove `external: true`",
            Self::ForeignNetwork { .. } => "declare it `external: true`, or give another `name`",
            Self::NetworkInUse { .. } => "disconnect or remove that container",
            Self::UnknownVolume { .. } => "name a volume by its key below `volumes:`",
            Self::VolumeInUse { .. } => "remove that container, or bring its service up too",
            Self::NameTaken { .. } => "remove or rename that container",
            Self::ImageMissing { .. } => "load the image, or allow it to be pulled",
            Self::NameForSeveral { .. } => "remove container_name, or declare one container",
            Self::OtherAgent { .. } => {
                "let that agent remove the project, or take all of it over with \
                 `wharf up --adopt`, which replaces its containers"
            }
            Self::NumberTooLarge { .. } => "declare a number below 2^53",
        }
    }
}

/// Everything that stands in the way of a plan. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl PlanErrors {
    /// Is it refused, rather than impossible?
    pub fn is_refusal(&self) -> bool {
        self.0.iter().any(|error| matches!(error, PlanError::OtherAgent { .. }))
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl std::error::Error for PlanErrors {}
