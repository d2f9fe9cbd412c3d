//! Builds an image in memory from the few Dockerfile instructions that shape a container. Owns
//! that reading. Face: `text`, `bases`, `build`. Never runs anything: `RUN false` fails, every other `RUN` succeeds.

use std::io::Read;

use super::state::State;
use super::{Refused, refuse};
use crate::facts::{
    BuildSpec, HealthProbe, Healthcheck, ImageFacts, Mount, MountKind, ServiceSpec,
};
use crate::world::docker::EngineErrorKind as Kind;

/// The Dockerfile.
pub(super) fn text(build: &BuildSpec, context: &[u8]) -> Result<String, Refused> {
    match &build.dockerfile_inline {
        Some(text) => Ok(text.clone()),
        None => dockerfile(build, context),
    }
}

/// The images that it begins with.
pub(super) fn bases(dockerfile: &str) -> impl Iterator<Item = &str> {
    let lines = dockerfile.lines().filter_map(|line| line.trim().strip_prefix("FROM "));
    lines.map(str::trim).filter(|base| *base != "scratch")
}

pub(super) fn build(
    state: &State,
    build: &BuildSpec,
    text: &str,
    size: usize,
) -> Result<ImageFacts, Refused> {
    let mut image = ImageFacts {
        last_tagged_at: None,
        id: String::new(),
        tags: Vec::new(),
        digests: Vec::new(),
        defaults: ServiceSpec::default(),
        platform: "linux/amd64".to_owned(),
        size_bytes: size as u64,
        created_at: None,
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
        if instruction == "FROM" {
            image.defaults = base(state, rest.trim())?;
        } else {
            instruct(&mut image.defaults, instruction, rest.trim())?;
        }
    }
    image.defaults.labels.extend(build.labels.clone());
    Ok(image)
}

fn dockerfile(build: &BuildSpec, context: &[u8]) -> Result<String, Refused> {
    let wanted = if build.dockerfile.is_empty() { "Dockerfile" } else { &build.dockerfile };
    let missing = || Refused {
        kind: Kind::BuildFailed,
        message: format!("the context holds no readable {wanted}"),
    };
    let mut archive = tar::Archive::new(context);
    for entry in archive.entries().map_err(|_| missing())? {
        let mut entry = entry.map_err(|_| missing())?;
        let is_wanted = entry.path().is_ok_and(|path| path.to_string_lossy() == wanted);
        if is_wanted {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(|_| missing())?;
            return Ok(text);
        }
    }
    Err(missing())
}

fn base(state: &State, reference: &str) -> Result<ServiceSpec, Refused> {
    if reference == "scratch" {
        let path = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let environment = [(path.0.to_owned(), path.1.to_owned().into())].into();
        return Ok(ServiceSpec { environment, ..ServiceSpec::default() });
    }
    match state.image(reference) {
        Some(image) => Ok(image.defaults.clone()),
        None => refuse(Kind::ImageUnavailable, format!("no registry holds {reference}")),
    }
}

fn instruct(spec: &mut ServiceSpec, instruction: &str, rest: &str) -> Result<(), Refused> {
    let list = || serde_json::from_str::<Vec<String>>(rest).ok();
    let pair = || rest.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    match instruction {
        "ENV" => spec.environment.extend(pair().map(|(key, value)| (key, value.into()))),
        "LABEL" => spec.labels.extend(pair()),
        "CMD" => spec.command = list(),
        "ENTRYPOINT" => spec.entrypoint = list(),
        "USER" => spec.user = Some(rest.to_owned()),
        "WORKDIR" => spec.working_dir = Some(rest.to_owned()),
        "STOPSIGNAL" => spec.stop_signal = Some(rest.to_owned()),
        "EXPOSE" => drop(spec.expose.insert(format!("{rest}/tcp"))),
        "VOLUME" => {
            let mount = Mount { kind: MountKind::Anonymous, read_only: false };
            spec.mounts
                .extend(list().unwrap_or_default().into_iter().map(|it| (it, mount.clone())));
        }
        "HEALTHCHECK" => {
            let words = rest.strip_prefix("CMD ").unwrap_or_default();
            spec.healthcheck = serde_json::from_str(words).ok().map(|words| Healthcheck {
                probe: HealthProbe::Exec(words),
                interval: None,
                timeout: None,
                retries: None,
                start_period: None,
                start_interval: None,
            });
        }
        "RUN" if rest.ends_with("\"false\"]") => {
            return refuse(Kind::BuildFailed, format!("the command {rest} returned status 1"));
        }
        "RUN" | "COPY" | "ADD" | "ARG" => {}
        other => {
            return refuse(Kind::BuildFailed, format!("unknown instruction: {other}"));
        }
    }
    Ok(())
}
