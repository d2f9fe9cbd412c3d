//! Lowers a compose project to what a deployment needs. Owns the translation of every key, key by
//! key. Face: `lower`, `lower_as_far_as_possible`, `Inputs`. Never loses a key in silence: one without a counterpart is an
//! error with its place.

mod build;
mod content;
mod hooks;
mod mounts;
mod network;
mod resources;
mod section;
mod service;

use std::collections::BTreeMap;

use super::load::Files;
use super::project::Project;
use crate::base::yaml::Node;
use crate::base::{Diagnostics, Digest};
use crate::facts::{Ipam, IpamPool, NetworkSpec, ProjectSpec, VolumeSpec};
use section::{Problems, Section};

pub(super) use section::holds_something;

/// What lowering needs besides the model.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The content of config and secret files, by absolute path.
    pub files: Files,
    /// Digests of local build contexts, by service.
    pub context_digests: BTreeMap<String, Digest>,
}

/// The deployable form of a project.
///
/// # Errors
/// Every key that cannot be honoured, and every config or secret without content.
pub fn lower(project: &Project, inputs: &Inputs) -> Result<ProjectSpec, Diagnostics> {
    match lower_as_far_as_possible(project, inputs) {
        (spec, problems) if problems.0.is_empty() => Ok(spec),
        (_, problems) => Err(problems),
    }
}

/// The same without what cannot be honoured, for whoever only looks at the project.
pub fn lower_as_far_as_possible(project: &Project, inputs: &Inputs) -> (ProjectSpec, Diagnostics) {
    let problems = Problems::default();
    let mut spec = ProjectSpec { name: project.name.clone(), ..ProjectSpec::default() };
    let names = Names::of(project);
    for (name, node) in project.section("networks") {
        if let Some(section) = Section::of(node, format!("networks.{name}"), &problems) {
            spec.networks.insert(name.to_owned(), lower_network(section));
        }
    }
    for (name, node) in project.section("volumes") {
        if let Some(section) = Section::of(node, format!("volumes.{name}"), &problems) {
            spec.volumes.insert(name.to_owned(), lower_volume(section));
        }
    }
    for (name, node) in project.services() {
        let context =
            service::Context { project, inputs, names: &names, name, problems: &problems };
        if let Some(section) = Section::of(node, format!("services.{name}"), &problems) {
            spec.services.insert(name.to_owned(), service::lower(&context, section));
        }
    }
    let lowered = problems.into_inner();
    let problems = project.passed_over.iter().cloned().chain(lowered);
    let problems = problems.chain(project.elsewhere.iter().cloned()).collect();
    (spec, project.secrets.in_diagnostics(Diagnostics(problems)))
}

/// Names on the engine, by the key in the compose file.
pub(super) struct Names {
    networks: BTreeMap<String, String>,
    volumes: BTreeMap<String, String>,
}

impl Names {
    fn of(project: &Project) -> Self {
        let names = |section: &str| {
            let name = |node: &Node| Some(node.as_map()?.get("name")?.as_scalar()?.text.clone());
            let entries = project.section(section);
            entries.filter_map(|(key, node)| Some((key.to_owned(), name(node)?))).collect()
        };
        Self { networks: names("networks"), volumes: names("volumes") }
    }
}

fn lower_network(mut section: Section<'_>) -> NetworkSpec {
    section.flag("enable_ipv4").filter(|enabled| !enabled).inspect(|_| {
        section.refuse("enable_ipv4", "this engine's networks always have IPv4");
    });
    NetworkSpec {
        name: section.text("name").unwrap_or_default(),
        external: section.flag("external").unwrap_or_default(),
        driver: section.text("driver"),
        driver_options: section.labels("driver_opts"),
        internal: section.flag("internal").unwrap_or_default(),
        attachable: section.flag("attachable").unwrap_or_default(),
        enable_ipv6: section.flag("enable_ipv6"),
        ipam: section.section("ipam").and_then(lower_ipam),
        labels: section.labels("labels"),
    }
}

fn lower_ipam(mut section: Section<'_>) -> Option<Ipam> {
    let pool = |mut pool: Section<'_>| IpamPool {
        subnet: pool.text("subnet"),
        ip_range: pool.text("ip_range"),
        gateway: pool.text("gateway"),
        aux_addresses: pool.labels("aux_addresses"),
    };
    let ipam = Ipam {
        driver: section.text("driver"),
        options: section.labels("options"),
        pools: section.sections("config").into_iter().map(pool).collect(),
    };
    (ipam != Ipam::default()).then_some(ipam)
}

fn lower_volume(mut section: Section<'_>) -> VolumeSpec {
    VolumeSpec {
        name: section.text("name").unwrap_or_default(),
        external: section.flag("external").unwrap_or_default(),
        driver: section.text("driver"),
        driver_options: section.labels("driver_opts"),
        labels: section.labels("labels"),
    }
}
