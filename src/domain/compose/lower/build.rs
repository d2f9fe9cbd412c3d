//! Lowers how an image is built. Owns the translation and the digest that says whether it has to be
//! built again. Face: `lower`. Never takes a context from a network.

use std::collections::BTreeMap;

use super::section::Section;
use super::service::Context;
use crate::base::{Digest, Secret};
use crate::domain::compose::project::dockerfile_in;
use crate::facts::BuildSpec;

/// The build of a service.
pub(super) fn lower(context: &Context<'_>, mut section: Section<'_>) -> BuildSpec {
    let directory = section.text("context").unwrap_or_default();
    if !directory.starts_with('/') {
        section.refuse("context", "only a directory can be sent to the engine");
    }
    let platforms = section.texts("platforms");
    if platforms.len() > 1 {
        section.refuse("platforms", "the engine builds for one platform at a time");
    }
    let dockerfile = section.text("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
    let dockerfile = dockerfile_in(&directory, &dockerfile);
    if dockerfile.starts_with('/') || dockerfile.starts_with("../") {
        section.refuse("dockerfile", "it lies outside of the build context");
    }
    let mut build = BuildSpec {
        context_digest: None,
        dockerfile,
        dockerfile_inline: section.text("dockerfile_inline"),
        args: section
            .pairs("args")
            .into_iter()
            .map(|(name, value)| (name, value.map(Secret::new)))
            .collect(),
        target: section.text("target"),
        labels: section.labels("labels"),
        cache_from: section.texts("cache_from"),
        no_cache: section.flag("no_cache").unwrap_or_default(),
        pull: section.flag("pull").unwrap_or_default(),
        network: section.text("network"),
        platform: platforms.into_iter().next(),
        shm_size_bytes: section.number("shm_size"),
        extra_hosts: section.texts("extra_hosts"),
        tags: section.texts("tags"),
    };
    if section.flag("privileged").unwrap_or_default() {
        section.refuse("privileged", "the engine's build API does not take it");
    }
    let digest = context.inputs.context_digests.get(context.name);
    build.context_digest = digest.map(|digest| identity(digest, &build));
    build
}

/// Everything that decides what the image holds: files, Dockerfile, arguments, stage, labels.
fn identity(files: &Digest, build: &BuildSpec) -> Digest {
    let args: BTreeMap<&str, Option<&str>> = build
        .args
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_ref().map(|value| value.expose().as_str())))
        .collect();
    let described = serde_json::json!({
        "files": files,
        "dockerfile": build.dockerfile,
        "dockerfile_inline": build.dockerfile_inline,
        "args": args,
        "target": build.target,
        "labels": build.labels,
        "network": build.network,
        "platform": build.platform,
        "extra_hosts": build.extra_hosts,
    });
    // The keys of a JSON object are sorted, so that the text is the same each time.
    Digest::of(described.to_string().as_bytes())
}
