//! Asks registries through the engine: who may log in, and where a name leads. Owns the library's form
//! of credentials, and what a registry's refusal looks like. Face: one function per call. Never keeps
//! or shows a password.

use bollard::auth::DockerCredentials;

use super::request::segment;
use super::session::Connection;
use super::{EngineError, EngineErrorKind};
use crate::domain::registries::Credentials;

/// What the engine is sent to log in with.
pub(super) fn as_library(credentials: &Credentials) -> DockerCredentials {
    DockerCredentials {
        username: Some(credentials.username.clone()),
        password: Some(credentials.password.expose().clone()),
        serveraddress: Some(credentials.registry.server_address().to_owned()),
        ..DockerCredentials::default()
    }
}

/// Whether a registry takes these credentials.
pub(super) async fn check_login(
    connection: &Connection,
    credentials: &Credentials,
) -> Result<(), EngineError> {
    let attempt = format!("log in to registry {}", credentials.registry);
    let body = serde_json::json!({
        "username": credentials.username,
        "password": credentials.password.expose(),
        "serveraddress": credentials.registry.server_address(),
    });
    let body = bytes::Bytes::from(body.to_string());
    // Not repeated as a read is: registries count wrong passwords.
    let call = connection
        .write(&attempt, |session| async move { session.posting("/auth", body).ping().await });
    call.await.map(drop).map_err(|mut error| {
        if is_denied(&error.message) {
            error.kind = EngineErrorKind::Denied;
        }
        error
    })
}

/// The digest that a name leads to in its registry.
pub(super) async fn digest(
    connection: &Connection,
    reference: &str,
    credentials: Option<&Credentials>,
) -> Result<String, EngineError> {
    let attempt = format!("ask the registry for {reference}");
    let name = segment(&attempt, reference)?;
    let found = connection
        .read(&attempt, |session| {
            let credentials = credentials.map(as_library);
            async move { session.docker.inspect_registry_image(name, credentials).await }
        })
        .await
        .map_err(|mut error| {
            if !error.is_outcome_unknown() {
                error.kind = kind_of(&error.message);
            }
            error
        })?;
    found.descriptor.digest.ok_or_else(|| {
        EngineError::new(EngineErrorKind::Internal, &attempt, "the registry named no digest")
    })
}

/// Why an image cannot be had. Registries say that it does not exist when they do not show it, so
/// that only plain words count as a refusal.
pub(super) fn kind_of(message: &str) -> EngineErrorKind {
    if is_denied(message) { EngineErrorKind::Denied } else { EngineErrorKind::ImageUnavailable }
}

/// What engines and registries say of who may not. `repository does not exist or may require 'docker
/// login'` is not among it: an engine says so of most names that are misspelt.
pub(super) fn is_denied(message: &str) -> bool {
    const COMPLAINTS: [&str; 5] = [
        "unauthorized",
        "no basic auth credentials",
        "authentication required",
        "incorrect username or password",
        "requested access to the resource is denied",
    ];
    let said = message.to_ascii_lowercase();
    COMPLAINTS.iter().any(|complaint| said.contains(complaint))
        && !said.contains("does not exist or")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_are_a_refusal() {
        use EngineErrorKind::{Denied, ImageUnavailable};
        let check = |message, expect| assert_eq!(kind_of(message), expect, "{message}");
        check("Head \"http://127.0.0.1:5000/v2/a/manifests/1\": no basic auth credentials", Denied);
        check("Get \"https://x/v2/\": unauthorized: authentication required", Denied);
        check("denied: requested access to the resource is denied", Denied);
        check("manifest for x/a:1 not found: manifest unknown: manifest unknown", ImageUnavailable);
        check(
            "pull access denied for shop, repository does not exist or may require 'docker login': \
             denied: requested access to the resource is denied",
            ImageUnavailable,
        );
        check("dial tcp 127.0.0.1:9: connect: connection refused", ImageUnavailable);
    }
}
