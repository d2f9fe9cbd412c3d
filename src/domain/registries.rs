//! Says which registry an image comes from, and what one logs in to it with. Owns the names of
//! registries. Face: `RegistryHost`, `registry_of`, `Login`, `check_login`. Never shows a password.

use std::fmt;
use std::str::FromStr;

use crate::base::ids::{LoginId, WorkspaceId};
use crate::base::limits::{
    REGISTRY_HOST_BYTES_MAX, REGISTRY_PASSWORD_BYTES_MAX, REGISTRY_USER_BYTES_MAX,
};
use crate::base::{Secret, Timestamp};

/// The registry of names that say none.
const DOCKER_HUB: &str = "docker.io";
/// Other names of it.
const ALSO_DOCKER_HUB: &[&str] = &["index.docker.io", "registry-1.docker.io", "hub.docker.com"];
/// What the engine calls it where one logs in.
const DOCKER_HUB_ADDRESS: &str = "https://index.docker.io/v1/";

/// A registry, by the host and port that names of images begin with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

/// A text that names no registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no registry: expected its host, with a port where it has one, such as \
     `registry.example.org:5000`"
)]
pub struct RegistryHostError(pub String);

impl RegistryHost {
    /// Host and port, as names of images begin with them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the engine calls it where one logs in.
    pub fn server_address(&self) -> &str {
        if self.0 == DOCKER_HUB { DOCKER_HUB_ADDRESS } else { &self.0 }
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RegistryHost {
    type Err = RegistryHostError;

    /// Takes what people write: with `https://` before it, or one of the names of Docker Hub.
    fn from_str(text: &str) -> Result<Self, RegistryHostError> {
        let wrong = || RegistryHostError(text.chars().take(REGISTRY_HOST_BYTES_MAX).collect());
        let plain = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_address = plain.is_some();
        let mut plain = plain.unwrap_or(text);
        // Of an address, what follows the host says nothing here: `https://index.docker.io/v1/`.
        if is_address && let Some((host, _)) = plain.split_once('/') {
            plain = host;
        }
        let plain = plain.to_ascii_lowercase();
        if plain.is_empty() || plain.len() > REGISTRY_HOST_BYTES_MAX || !is_host(&plain) {
            return Err(wrong());
        }
        if ALSO_DOCKER_HUB.contains(&plain.as_str()) {
            return Ok(Self(DOCKER_HUB.to_owned()));
        }
        // Names of images could not say so: `team/app` is an image of Docker Hub.
        if !is_registry(&plain) {
            return Err(wrong());
        }
        Ok(Self(plain))
    }
}

/// `host`, `host:port`, `[::1]:port`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, rest)) => {
                let is_address =
                    !host.is_empty() && host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                let Some(port) = rest.strip_prefix(':') else {
                    return is_address && rest.is_empty();
                };
                return is_address && is_port(port);
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether the first part of an image's name is a registry: the rule of Docker.
fn is_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

/// The registry that an image is pulled from, by the rule of Docker: the first part of the name when it
/// has a dot or a colon or is `localhost`, else Docker Hub. None for an image's id.
pub fn registry_of(reference: &str) -> Option<RegistryHost> {
    if reference.starts_with("sha256:") {
        return None;
    }
    match reference.split_once('/') {
        Some((first, _)) if is_registry(first) => first.parse().ok(),
        _ => Some(RegistryHost(DOCKER_HUB.to_owned())),
    }
}

/// That an agent can log in to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its own.
    pub id: LoginId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The registry; a host has one login to it in a workspace.
    pub registry: RegistryHost,
    /// As whom.
    pub username: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What an engine logs in to a registry with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The registry.
    pub registry: RegistryHost,
    /// As whom.
    pub username: String,
    /// The password, or a token in its place.
    pub password: Secret<String>,
}

/// Why nobody can log in so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No name, one that is too long, or one that no header can carry.
    #[error(
        "the user's name must have 1 to {REGISTRY_USER_BYTES_MAX} bytes, none of them a colon \
             or a control character"
    )]
    Username,
    /// No password, or one that is too long.
    #[error(
        "the password must have 1 to {REGISTRY_PASSWORD_BYTES_MAX} bytes, none of them a \
             control character"
    )]
    Password,
}

/// Checks what somebody wants to log in with, before a registry is asked.
///
/// # Errors
/// When no registry could take it.
pub fn check_login(credentials: &Credentials) -> Result<(), LoginError> {
    let user = &credentials.username;
    let is_user_wrong = user.is_empty()
        || user.len() > REGISTRY_USER_BYTES_MAX
        || user.chars().any(|character| character.is_control() || character == ':');
    if is_user_wrong {
        return Err(LoginError::Username);
    }
    let password = credentials.password.expose();
    let is_password_wrong = password.is_empty()
        || password.len() > REGISTRY_PASSWORD_BYTES_MAX
        || password.chars().any(char::is_control);
    if is_password_wrong { Err(LoginError::Password) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_of_the_registry_that_docker_takes_it_from() {
        let check = |reference: &str, expect: Option<&str>| {
            let found = registry_of(reference);
            assert_eq!(found.as_ref().map(RegistryHost::as_str), expect, "{reference}");
        };
        check("redis", Some("docker.io"));
        check("redis:7", Some("docker.io"));
        check("team/app:1", Some("docker.io"));
        check("docker.io/library/redis", Some("docker.io"));
        check("index.docker.io/library/redis", Some("docker.io"));
        check("localhost/app", Some("localhost"));
        check("localhost:5000/app:1", Some("localhost:5000"));
        check("127.0.0.1:5000/team/app@sha256:00", Some("127.0.0.1:5000"));
        check("[::1]:5000/app", Some("[::1]:5000"));
        check("Registry.Example.org/app", Some("registry.example.org"));
        check("sha256:1234", None);
    }

    #[test]
    fn a_registry_is_named_by_its_host_and_port() {
        let check = |text: &str, expect: Option<&str>| {
            let found = text.parse::<RegistryHost>().ok();
            assert_eq!(found.as_ref().map(RegistryHost::as_str), expect, "{text:?}");
        };
        check("registry.example.org", Some("registry.example.org"));
        check("https://registry.example.org/", Some("registry.example.org"));
        check("http://127.0.0.1:5000/v2/", Some("127.0.0.1:5000"));
        check("https://index.docker.io/v1/", Some("docker.io"));
        check("docker.io", Some("docker.io"));
        check("localhost", Some("localhost"));
        check("LOCALHOST:5000", Some("localhost:5000"));
        check("[fe80::1]:5000", Some("[fe80::1]:5000"));
        for wrong in
            ["", "registry", "a/b.c", "x.org:0", "x.org:99999", "x.org:", "-x.org", "x..org", "[]"]
        {
            check(wrong, None);
        }
        check("x.org\n", None);
        check(&format!("{}.org", "x".repeat(300)), None);
    }

    #[test]
    fn the_engine_calls_docker_hub_by_its_old_address() {
        let address =
            |text: &str| text.parse::<RegistryHost>().unwrap().server_address().to_owned();
        assert_eq!(address("docker.io"), "https://index.docker.io/v1/");
        assert_eq!(address("x.org:5000"), "x.org:5000");
    }

    #[test]
    fn what_no_registry_takes_is_refused_before_one_is_asked() {
        let check = |username: &str, password: &str, expect| {
            let credentials = Credentials {
                registry: "x.org".parse().unwrap(),
                username: username.to_owned(),
                password: Secret::new(password.to_owned()),
            };
            assert_eq!(check_login(&credentials), expect, "{username:?}");
        };
        check("ci", "p w", Ok(()));
        check("", "p", Err(LoginError::Username));
        check("a:b", "p", Err(LoginError::Username));
        check("a\n", "p", Err(LoginError::Username));
        check("ci", "", Err(LoginError::Password));
        check("ci", "a\nb", Err(LoginError::Password));
        check("ci", &"p".repeat(REGISTRY_PASSWORD_BYTES_MAX + 1), Err(LoginError::Password));
    }
}
