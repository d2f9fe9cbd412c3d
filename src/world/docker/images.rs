//! Fetches, builds and removes images. Owns the calls on them, and the reading of the engine's
//! progress reports. Face: one function per call. Never pulls all tags of a name, and never shows a build argument.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::auth::DockerCredentials;
use bollard::body_full;
use bollard::errors::Error;
use bollard::models::BuildInfo;
use bollard::query_parameters::{BuildImageOptions, CreateImageOptions, RemoveImageOptions};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::failure::{absent, is_about_missing_image, one_line};
use super::pull_progress::PullProgress;
use super::request::segment;
use super::session::{Connection, MANY_VALUES, Session};
use super::{EngineError, EngineErrorKind, PullImage, read_others, registries};
use crate::base::limits::{ENGINE_BUILD_TIMEOUT, ENGINE_CALL_TIMEOUT, ENGINE_PULL_TIMEOUT};
use crate::domain::registries::Credentials;
use crate::facts::{BuildSpec, ImageFacts};

/// Where progress goes, line by line.
pub(super) type Progress<'a> = &'a (dyn Fn(String) + Send + Sync);

/// Size of the end of a tar archive: two empty blocks.
const TAR_END_BYTES: usize = 1024;

/// Name of a Dockerfile that the compose file holds; it must not hide a file of the context.
const INLINE_DOCKERFILE: &str = ".wharfinger.Dockerfile";

pub(super) async fn find(
    connection: &Connection,
    reference: &str,
) -> Result<Option<ImageFacts>, EngineError> {
    let attempt = format!("inspect image {reference}");
    let reference = segment(&attempt, reference)?;
    let call = connection.read(&attempt, |session| async move {
        absent(session.docker.inspect_image(reference).await)
    });
    Ok(call.await?.map(read_others::image))
}

pub(super) async fn remove(connection: &Connection, reference: &str) -> Result<(), EngineError> {
    let attempt = format!("remove image {reference}");
    let reference = segment(&attempt, reference)?;
    let call = connection.write(&attempt, |session| async move {
        session.docker.remove_image(reference, None::<RemoveImageOptions>, None).await
    });
    call.await.map(drop)
}

/// The archive of an image. What it is called must be a path's segment.
pub(super) fn save<'a>(
    connection: &'a Connection,
    reference: &'a str,
) -> BoxStream<'a, Result<Bytes, EngineError>> {
    let attempt = format!("save image {reference}");
    let parts = stream::once(async move {
        let session = connection.session(&attempt).await?;
        let parts = session.docker.export_image(reference);
        Ok(parts.map_err(move |error| connection.failed(&attempt, &error)))
    });
    let parts = parts.try_flatten().boxed();
    stream::unfold(Some(parts), |parts| async move {
        let mut parts = parts?;
        match tokio::time::timeout(ENGINE_CALL_TIMEOUT, parts.next()).await {
            Ok(Some(Ok(part))) => Some((Ok(part), Some(parts))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => {
                let message = "no answer in time";
                let error = EngineError::new(EngineErrorKind::TimedOut, "save image", message);
                Some((Err(error), None))
            }
        }
    })
    .boxed()
}

pub(super) async fn pull(
    connection: &Connection,
    pull: &PullImage,
    progress: Progress<'_>,
) -> Result<(), EngineError> {
    let reference = pull.reference.as_str();
    let credentials = pull.credentials.as_ref().map(registries::as_library);
    let (name, tag) = split_tag(reference);
    let request = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: tag.map(str::to_owned),
        platform: pull.platform.clone().unwrap_or_default(),
        ..CreateImageOptions::default()
    };
    let follow = |session: Arc<Session>| async move {
        let mut reports = Box::pin(session.docker.create_image(Some(request), None, credentials));
        let mut so_far = PullProgress::default();
        while let Some(report) = reports.try_next().await? {
            if let Some(line) = so_far.take(&report, Instant::now()) {
                progress(format!("{reference}: {line}"));
            }
        }
        Ok(())
    };
    let attempt = format!("pull image {reference}");
    connection.once(&attempt, ENGINE_PULL_TIMEOUT, follow).await.map_err(|mut error| {
        // Whatever a registry answers, the image cannot be had from it.
        if matches!(error.kind, EngineErrorKind::Internal | EngineErrorKind::NotFound) {
            error.kind = registries::kind_of(&error.message);
        }
        error
    })
}

/// Name and tag. Without a tag, the engine would fetch every tag of the name.
fn split_tag(reference: &str) -> (&str, Option<&str>) {
    if reference.contains('@') {
        return (reference, None);
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (reference, Some("latest")),
    }
}

pub(super) async fn build(
    connection: &Connection,
    build: &BuildSpec,
    tags: &[String],
    (context, logins): (Bytes, &[Credentials]),
    progress: Progress<'_>,
) -> Result<String, EngineError> {
    let attempt = format!("build image {}", tags.first().map_or("without a name", String::as_str));
    let refuse = |why: String| EngineError::new(EngineErrorKind::Invalid, &attempt, why);
    let request = build_request(build, tags).map_err(refuse)?;
    let context =
        with_inline_dockerfile(build, context).map_err(|error| refuse(error.to_string()))?;
    let logins: HashMap<String, DockerCredentials> = logins
        .iter()
        .map(|login| (login.registry.server_address().to_owned(), registries::as_library(login)))
        .collect();
    let logins = Some(logins).filter(|logins| !logins.is_empty());
    let follow = |session: Arc<Session>| async move {
        let body = Some(body_full(context));
        let mut reports = Box::pin(session.docker.build_image(request, logins, body));
        let mut id = None;
        while let Some(report) = reports.try_next().await? {
            progress_of(&report, progress);
            if let Some(detail) = report.error_detail {
                let error = detail.message.unwrap_or_default();
                return Err(Error::DockerStreamError { error });
            }
            id = report.aux.and_then(|aux| aux.id).or(id);
        }
        Ok(id)
    };
    let built = connection.once(&attempt, ENGINE_BUILD_TIMEOUT, follow).await;
    let id = built.map_err(as_build_failure)?;
    id.ok_or_else(|| {
        EngineError::new(EngineErrorKind::Internal, &attempt, "the engine named no image")
    })
}

fn as_build_failure(mut error: EngineError) -> EngineError {
    let is_about_build = matches!(
        error.kind,
        EngineErrorKind::Internal | EngineErrorKind::NotFound | EngineErrorKind::Invalid
    );
    let is_of_command = error.message.contains("returned a non-zero code");
    if is_about_build && !is_of_command && registries::is_denied(&error.message) {
        error.kind = EngineErrorKind::Denied;
    } else if is_about_missing_image(&error.message) {
        error.kind = EngineErrorKind::ImageUnavailable;
    } else if error.message.starts_with("unable to find image \"sha256:") {
        // Its search for earlier layers goes through all images, and one was removed meanwhile.
        error.kind = EngineErrorKind::Conflict;
    } else if is_about_build {
        error.kind = EngineErrorKind::BuildFailed;
    }
    error
}

fn progress_of(report: &BuildInfo, progress: Progress<'_>) {
    let texts = [report.stream.as_deref(), report.status.as_deref()];
    for line in texts.into_iter().flatten().flat_map(str::lines) {
        let line = one_line(line);
        if !line.is_empty() {
            progress(line);
        }
    }
}

fn build_request(build: &BuildSpec, tags: &[String]) -> Result<BuildImageOptions, String> {
    let shm_size = build.shm_size_bytes.map(|size| {
        i32::try_from(size).map_err(|_| "build.shm_size cannot be 2 GiB or more".to_owned())
    });
    let dockerfile = match &build.dockerfile_inline {
        Some(_) => INLINE_DOCKERFILE,
        None if build.dockerfile.is_empty() => "Dockerfile",
        None => &build.dockerfile,
    };
    let arguments: HashMap<String, String> = build
        .args
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_ref()?.expose().clone())))
        .collect();
    let hosts: Vec<String> =
        build.extra_hosts.iter().map(|line| line.replacen('=', ":", 1)).collect();
    Ok(BuildImageOptions {
        dockerfile: dockerfile.to_owned(),
        t: many(tags.iter().chain(&build.tags)),
        extrahosts: many(&hosts),
        nocache: build.no_cache,
        pull: build.pull.then(|| "true".to_owned()),
        cachefrom: Some(build.cache_from.clone()).filter(|images| !images.is_empty()),
        rm: true,
        forcerm: true,
        buildargs: Some(arguments).filter(|arguments| !arguments.is_empty()),
        shmsize: shm_size.transpose()?,
        labels: Some(build.labels.clone().into_iter().collect()),
        networkmode: build.network.clone(),
        platform: build.platform.clone().unwrap_or_default(),
        target: build.target.clone().unwrap_or_default(),
        ..BuildImageOptions::default()
    })
}

fn many<'a>(values: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let values: Vec<&str> = values.into_iter().map(String::as_str).collect();
    (!values.is_empty()).then(|| values.join(&MANY_VALUES.to_string()))
}

/// Puts the Dockerfile of the compose file before the context: an archive may begin with any file.
fn with_inline_dockerfile(build: &BuildSpec, context: Bytes) -> Result<Bytes, std::io::Error> {
    let Some(text) = &build.dockerfile_inline else { return Ok(context) };
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, INLINE_DOCKERFILE, text.as_bytes())?;
    let mut bytes = archive.into_inner()?;
    bytes.truncate(bytes.len().saturating_sub(TAR_END_BYTES));
    bytes.extend_from_slice(&context);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_without_a_tag_means_latest() {
        let check = |reference, expect| assert_eq!(split_tag(reference), expect);
        check("redis", ("redis", Some("latest")));
        check("redis:7", ("redis", Some("7")));
        check("localhost:5000/redis", ("localhost:5000/redis", Some("latest")));
        check("localhost:5000/redis:7", ("localhost:5000/redis", Some("7")));
        check("redis@sha256:00", ("redis@sha256:00", None));
    }

    #[test]
    fn inline_dockerfile_comes_before_the_context() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        archive.append_data(&mut header, "file", &b"hi"[..]).unwrap();
        let context = Bytes::from(archive.into_inner().unwrap());
        let dockerfile_inline = Some("FROM scratch\n".to_owned());
        let build = BuildSpec { dockerfile_inline, ..BuildSpec::default() };
        let combined = with_inline_dockerfile(&build, context).unwrap();
        let mut archive = tar::Archive::new(&combined[..]);
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, [INLINE_DOCKERFILE, "file"]);
    }
}
