//! Says which version of the engine's API is spoken, and what it can do. Owns `ApiVersion`. Face:
//! `negotiate`, the constants. Never speaks a version that the code was not written for.

use std::fmt;

/// A version of the engine's API, such as 1.41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(pub(super) u32, pub(super) u32);

impl ApiVersion {
    /// The oldest that is spoken: Engine 20.10.
    pub(super) const OLDEST: Self = Self(1, 41);
    /// The newest that is spoken: Engine 29.
    pub(super) const NEWEST: Self = Self(1, 52);
    /// Cluster volumes.
    pub(super) const CLUSTER_VOLUMES: Self = Self(1, 42);
    /// Annotations of a container.
    pub(super) const ANNOTATIONS: Self = Self(1, 43);
    /// Several networks in one create, hardware addresses by network, `start_interval`; a network's
    /// name is taken only once without asking for it.
    pub(super) const MANY_ENDPOINTS: Self = Self(1, 44);
    /// A directory inside a volume.
    pub(super) const VOLUME_SUBPATH: Self = Self(1, 45);
    /// Priority of a network for the default route.
    pub(super) const GATEWAY_PRIORITY: Self = Self(1, 48);

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The newest version that both sides speak.
///
/// # Errors
/// A sentence for the operator when there is none.
pub(super) fn negotiate(newest: &str, oldest: Option<&str>) -> Result<ApiVersion, String> {
    let theirs = ApiVersion::parse(newest)
        .ok_or_else(|| format!("the engine reports {newest:?} as its API version"))?;
    let floor = oldest.and_then(ApiVersion::parse).unwrap_or(ApiVersion(1, 0));
    if theirs < ApiVersion::OLDEST {
        let needed = ApiVersion::OLDEST;
        return Err(format!("the engine speaks API {theirs}; {needed} (Engine 20.10) is needed"));
    }
    if floor > ApiVersion::NEWEST {
        let newest = ApiVersion::NEWEST;
        return Err(format!("the engine asks for API {floor} or newer; {newest} is spoken here"));
    }
    Ok(theirs.min(ApiVersion::NEWEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_common_version_is_spoken() {
        let check = |newest, oldest, expect: Result<ApiVersion, ()>| {
            assert_eq!(negotiate(newest, oldest).map_err(drop), expect, "{newest} {oldest:?}");
        };
        check("1.41", Some("1.12"), Ok(ApiVersion(1, 41)));
        check("1.47", None, Ok(ApiVersion(1, 47)));
        check("1.99", Some("1.44"), Ok(ApiVersion::NEWEST));
        check("1.40", None, Err(()));
        check("2.0", Some("1.60"), Err(()));
        check("new", None, Err(()));
    }
}
