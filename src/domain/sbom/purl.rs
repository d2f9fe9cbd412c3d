//! Names packages for everybody. Owns the spelling of package URLs. Face: `purl`. Never leaves a character
//! as it is that has a meaning there.

use super::{Ecosystem, Os, Package};

/// The package URL of a package, in an image of this distribution.
pub fn purl(package: &Package, os: Option<&Os>) -> String {
    let name = match package.ecosystem {
        Ecosystem::Debian | Ecosystem::Alpine => {
            let fallback = if package.ecosystem == Ecosystem::Debian { "debian" } else { "alpine" };
            let vendor = os.map_or(fallback, |os| os.id.as_str());
            format!("{}/{}", escaped(&vendor.to_lowercase()), escaped(&package.name.to_lowercase()))
        }
        // Names that are older than the rule against capital letters count without them here.
        Ecosystem::Npm => path(&match package.name.rsplit_once('/') {
            Some((scope, name)) => format!("{scope}/{}", name.to_lowercase()),
            None => package.name.to_lowercase(),
        }),
        _ => path(&package.name),
    };
    let kind = package.ecosystem.key();
    let mut url = format!("pkg:{kind}/{name}@{}", escaped(&package.version));
    let mut mark = '?';
    let mut qualifier = |key: &str, value: String| {
        url.push(mark);
        url.push_str(&format!("{key}={value}"));
        mark = '&';
    };
    if let Some(architecture) = &package.architecture {
        qualifier("arch", escaped(architecture));
    }
    let is_of_distribution = matches!(package.ecosystem, Ecosystem::Debian | Ecosystem::Alpine);
    if let Some(os) = os.filter(|os| is_of_distribution && !os.version.is_empty()) {
        qualifier("distro", escaped(&format!("{}-{}", os.id, os.version)));
    }
    if let Some(source) = &package.source {
        qualifier("upstream", escaped(&format!("{}@{}", source.name, source.version)));
    }
    url
}

fn path(name: &str) -> String {
    name.split('/').map(escaped).collect::<Vec<_>>().join("/")
}

/// With `%XX` for everything but letters, digits and `.-_~`; the colon of an epoch may stay.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                escaped.push(char::from(byte));
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}
