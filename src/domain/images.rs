//! Compares what runs with what the names of images lead to, on the host and in their registries. Owns
//! how names and digests belong together, and the word for each case. Face: `standing`,
//! `known_digests`. Never asks anybody.

use crate::facts::ImageFacts;

/// What every name of Docker Hub may begin with, the longer one first.
const DOCKER_HUB: [&str; 4] =
    ["index.docker.io/library/", "docker.io/library/", "index.docker.io/", "docker.io/"];
/// What its own images may begin with.
const LIBRARY: &str = "library/";

/// A name without tag and digest, as the engine spells it where it names digests: `redis` for
/// `docker.io/library/redis:7`.
pub fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    };
    let short = DOCKER_HUB.iter().find_map(|prefix| name.strip_prefix(prefix));
    short.unwrap_or(name).strip_prefix(LIBRARY).unwrap_or(short.unwrap_or(name))
}

/// The digests by which the registry of this name knows the image.
pub fn known_digests<'a>(
    reference: &'a str,
    image: &'a ImageFacts,
) -> impl Iterator<Item = &'a str> {
    let wanted = repository(reference);
    let named = image.digests.iter().filter_map(|digest| digest.split_once('@'));
    named.filter(move |(name, _)| repository(name) == wanted).map(|(_, digest)| digest)
}

/// The digest by which the registry knows the image, else its id on the engine.
pub fn digest_or_id(reference: &str, image: &ImageFacts) -> String {
    known_digests(reference, image).next().map_or_else(|| image.id.clone(), str::to_owned)
}

/// How the image of an instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It runs what the registry has under the name.
    Current,
    /// What the name leads to on this host is not what runs.
    PulledNotDeployed,
    /// The registry has another one under the name.
    Outdated,
    /// The name says which one it is: there is no newer one.
    Pinned,
    /// No registry knows it.
    Local,
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Standing {
    /// In one word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::PulledNotDeployed => "pulled_not_deployed",
            Self::Outdated => "outdated",
            Self::Pinned => "pinned",
            Self::Local => "local",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// What is known of the image of an instance.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// Its name, as declared.
    pub reference: &'a str,
    /// The engine's id of the image that runs.
    pub runs_id: &'a str,
    /// The image that runs, where the engine still knows it.
    pub runs: Option<&'a ImageFacts>,
    /// What the name leads to on this host.
    pub here: Option<&'a ImageFacts>,
    /// The digest that the name leads to in its registry, or why nobody knows it; none when nobody
    /// asked.
    pub registry: Option<Result<&'a str, &'a str>>,
}

/// How the image of an instance stands.
pub fn standing(found: &Compared<'_>) -> Standing {
    if is_pinned(found.reference) {
        return Standing::Pinned;
    }
    let is_deployed = found.here.is_none_or(|here| here.id == found.runs_id);
    let unknown = |why: &str| Standing::Unknown { why: why.to_owned() };
    let Some(newest) = found.here.or(found.runs) else {
        return unknown("the image is not on this host any more");
    };
    let mut digests = known_digests(found.reference, newest).peekable();
    if digests.peek().is_none() {
        return if is_deployed { Standing::Local } else { Standing::PulledNotDeployed };
    }
    match found.registry {
        Some(Ok(now)) if !digests.any(|digest| digest == now) => Standing::Outdated,
        // Whatever its registry has: what is on this host does not run.
        _ if !is_deployed => Standing::PulledNotDeployed,
        Some(Ok(_)) => Standing::Current,
        Some(Err(why)) => unknown(why),
        None => unknown("nobody has asked its registry: `wharf images --check` does"),
    }
}

/// Whether a registry can tell something new of the name: not of a digest, an id, or an image that came
/// from none.
pub fn is_worth_asking(reference: &str, image: &ImageFacts) -> bool {
    !is_pinned(reference) && known_digests(reference, image).next().is_some()
}

fn is_pinned(reference: &str) -> bool {
    reference.starts_with("sha256:") || reference.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_as_the_engine_tells_it_beside_digests() {
        let check = |reference, expect| assert_eq!(repository(reference), expect, "{reference}");
        check("redis", "redis");
        check("redis:7", "redis");
        check("docker.io/library/redis:7", "redis");
        check("index.docker.io/library/redis", "redis");
        check("library/redis", "redis");
        check("docker.io/team/app:1", "team/app");
        check("team/app@sha256:00", "team/app");
        check("localhost:5000/app", "localhost:5000/app");
        check("localhost:5000/app:1", "localhost:5000/app");
        check("127.0.0.1:5000/team/app:1@sha256:00", "127.0.0.1:5000/team/app");
        check("registry.example.org/library/app:1", "registry.example.org/library/app");
    }

    #[test]
    fn an_image_is_known_by_the_digests_of_its_own_name() {
        let digests = ["redis@sha256:aa", "mirror.example.org/redis@sha256:bb", "other@sha256:cc"];
        let image = ImageFacts {
            id: "sha256:id".to_owned(),
            digests: digests.map(str::to_owned).to_vec(),
            ..ImageFacts::default()
        };
        let check = |reference, expect: &[&str], shown| {
            let found: Vec<_> = known_digests(reference, &image).collect();
            assert_eq!(found, expect, "{reference}");
            assert_eq!(digest_or_id(reference, &image), shown, "{reference}");
        };
        check("docker.io/library/redis:7", &["sha256:aa"], "sha256:aa");
        check("mirror.example.org/redis", &["sha256:bb"], "sha256:bb");
        check("shop-web", &[], "sha256:id");
    }

    fn known(id: &str, digest: &str) -> ImageFacts {
        let digests = if digest.is_empty() { Vec::new() } else { vec![format!("app@{digest}")] };
        ImageFacts { id: id.to_owned(), digests, ..ImageFacts::default() }
    }

    #[test]
    fn how_an_image_stands_follows_from_what_runs_what_is_here_and_what_its_registry_has() {
        type Told<'a> = Option<Result<&'a str, &'a str>>;
        let (one, two, own) = (known("1", "d1"), known("2", "d2"), known("3", ""));
        let check =
            |runs: Option<&ImageFacts>, here: Option<&ImageFacts>, registry: Told<'_>, expect| {
                let runs_id = runs.map_or("gone", |image| image.id.as_str());
                let found = Compared { reference: "app:1", runs_id, runs, here, registry };
                assert_eq!(standing(&found).word(), expect, "{found:?}");
            };
        check(Some(&one), Some(&one), Some(Ok("d1")), "current");
        check(Some(&one), Some(&one), Some(Ok("d2")), "outdated");
        check(Some(&one), Some(&two), Some(Ok("d2")), "pulled_not_deployed");
        check(Some(&one), Some(&two), Some(Ok("d3")), "outdated");
        check(Some(&one), Some(&two), Some(Err("away")), "pulled_not_deployed");
        check(Some(&one), Some(&two), None, "pulled_not_deployed");
        check(Some(&one), Some(&one), Some(Err("away")), "unknown");
        check(Some(&one), Some(&one), None, "unknown");
        // The name is gone from this host, the image is not.
        check(Some(&one), None, Some(Ok("d1")), "current");
        check(Some(&one), None, Some(Ok("d2")), "outdated");
        // And the other way round, as an engine forgets an image whose name moved on.
        check(None, Some(&two), Some(Ok("d2")), "pulled_not_deployed");
        check(None, None, Some(Ok("d2")), "unknown");
        check(Some(&own), Some(&own), None, "local");
        check(Some(&own), Some(&own), Some(Ok("d1")), "local");
        check(Some(&one), Some(&own), None, "pulled_not_deployed");
    }

    #[test]
    fn a_digest_stays_what_it_is() {
        let image = known("1", "d1");
        for reference in ["app@sha256:d1", "app:1@sha256:d1", "sha256:1"] {
            let (runs, here) = (Some(&image), Some(&image));
            let registry = Some(Ok("d2"));
            let found = Compared { reference, runs_id: "1", runs, here, registry };
            assert_eq!(standing(&found), Standing::Pinned, "{reference}");
            assert!(!is_worth_asking(reference, &image));
        }
        assert!(is_worth_asking("app:1", &image));
        assert!(!is_worth_asking("other:1", &image));
    }
}
