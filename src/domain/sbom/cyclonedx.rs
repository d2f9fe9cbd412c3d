//! Writes an inventory as a software bill of materials. Owns the form, CycloneDX as JSON. Face:
//! `cyclonedx`, `Described`. Never differs from one time to the next: equal inventories of one image make
//! equal bytes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Inventory, Package, purl};
use crate::base::{Digest, Timestamp};

/// The version of the form.
pub const SPEC_VERSION: &str = "1.6";

/// The image that the inventory is of.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// A name of it, else its id.
    pub name: &'a str,
    /// The engine's id, `sha256:…`: the digest of its configuration.
    pub image_id: &'a str,
    /// The digests by which registries know it, `name@sha256:…`.
    pub digests: &'a [String],
    /// When it was looked at.
    pub at: Timestamp,
    /// The version of this program.
    pub version: &'a str,
}

/// The bill of materials.
pub fn cyclonedx(inventory: &Inventory, image: &Described<'_>) -> Value {
    let os = inventory.os.as_ref();
    let mut references = BTreeSet::new();
    let components: Vec<Value> = inventory
        .packages
        .iter()
        .filter_map(|package| {
            let url = purl(package, os);
            references.insert(url.clone()).then(|| component(package, &url))
        })
        .collect();
    let mut properties: Vec<Value> =
        image.digests.iter().map(|digest| property("wharfinger:image:digest", digest)).collect();
    properties.extend(inventory.notes.iter().map(|note| property("wharfinger:note", note)));
    if let Some(os) = os {
        let name = if os.name.is_empty() { &os.id } else { &os.name };
        properties.push(property("wharfinger:image:os", name));
    }
    let subject = image.image_id;
    let mut document = json!({
        "$schema": format!("http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json"),
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "timestamp": image.at.to_string(),
            "tools": { "components": [
                { "type": "application", "name": "wharfinger", "version": image.version },
            ] },
            "component": {
                "type": "container",
                "bom-ref": subject,
                "name": image.name,
                "version": image.image_id,
                "properties": properties,
            },
        },
        "components": components,
        "dependencies": [{ "ref": subject, "dependsOn": references }],
    });
    if let Some(hex) = image.image_id.strip_prefix("sha256:").filter(|hex| hex.len() == 64) {
        document["metadata"]["component"]["hashes"] = json!([{ "alg": "SHA-256", "content": hex }]);
    }
    let serial = serial_number(&document["components"], image);
    document["serialNumber"] = Value::String(serial);
    document
}

fn component(package: &Package, url: &str) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        "properties": package.found_in.iter()
            .map(|path| property("wharfinger:found_in", path)).collect::<Vec<_>>(),
    });
    if let Some(license) = &package.license {
        // What a package says need not be an expression of SPDX, so it is given as a name.
        component["licenses"] = json!([{ "license": { "name": license } }]);
    }
    if let Some(source) = &package.source
        && let Some(properties) = component["properties"].as_array_mut()
    {
        let source = format!("{} {}", source.name, source.version);
        properties.push(property("wharfinger:source", &source));
    }
    component
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

/// A UUID of version 8 that follows from what is listed.
fn serial_number(components: &Value, image: &Described<'_>) -> String {
    let listed = components.to_string();
    let parts: [&[u8]; 3] =
        [b"wharfinger bill of materials 1", image.image_id.as_bytes(), listed.as_bytes()];
    let digest = Digest::of_parts(&parts).to_string();
    let hex = digest.rsplit(":").next().unwrap_or_default();
    let hex: Vec<char> = hex.chars().collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().iter().collect();
    let parts: [String; 5] = [part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32)];
    let [one, two, three, four, five] = parts;
    format!("urn:uuid:{one}-{two}-8{three}-8{four}-{five}")
}
