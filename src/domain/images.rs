//! Compares what the names of images lead to, on the host and in their registries. Owns how names and
//! digests belong together. Face: `repository`, `known_digests`. Never asks anybody.

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
}
