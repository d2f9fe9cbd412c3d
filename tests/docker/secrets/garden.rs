//! What is planted, and how it would look if it came out. Owns the secrets and their encodings.
//! Face: `Garden`. Never plants the same twice.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::harvest::Harvest;

/// Secrets, each with the place where it was planted.
#[derive(Default)]
pub struct Garden {
    planted: Vec<(&'static str, String)>,
}

/// A text that would betray a secret.
pub struct Pattern {
    /// Whose.
    secret: usize,
    encoding: &'static str,
    text: String,
}

impl Garden {
    /// A new secret of letters and digits, for places that take no other.
    pub fn word(&mut self, place: &'static str) -> String {
        // Fixed, so that a failure repeats; far from each other, so that none is part of another.
        let mut state = self.planted.len() as u64 + 1;
        let letters = (0..24).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(state >> 33).unwrap() % 36;
            b"abcdefghijklmnopqrstuvwxyz0123456789"[at]
        });
        let word = format!("zq{}", String::from_utf8(letters.collect()).unwrap());
        self.planted.push((place, word.clone()));
        word
    }

    /// A new one that every encoding writes in its own way.
    pub fn secret(&mut self, place: &'static str) -> String {
        let mut secret = self.word(place);
        secret.push_str("+/&<é\\");
        self.planted.last_mut().unwrap().1.clone_from(&secret);
        secret
    }

    /// One that the agent made.
    pub fn plant(&mut self, place: &'static str, secret: &str) {
        self.planted.push((place, secret.to_owned()));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.planted.len()
    }

    /// Where.
    pub fn places(&self) -> BTreeSet<&'static str> {
        self.planted.iter().map(|(place, _)| *place).collect()
    }

    /// Everything that would betray one of them.
    pub fn patterns(&self) -> Vec<Pattern> {
        let secrets = self.planted.iter().enumerate();
        secrets.flat_map(|(secret, (_, text))| patterns(secret, text)).collect()
    }

    /// What came out: where it was planted, in which encoding it is seen, and where.
    pub fn find(&self, harvest: &Harvest) -> Vec<String> {
        let patterns = self.patterns();
        let texts = patterns.iter().map(|pattern| pattern.text.as_bytes());
        let search = AhoCorasick::new(texts).unwrap();
        let mut found = BTreeSet::new();
        for (name, bytes) in harvest.texts() {
            for hit in search.find_overlapping_iter(bytes) {
                let Pattern { secret, encoding, .. } = &patterns[hit.pattern().as_usize()];
                let place = self.planted[*secret].0;
                let from = hit.start().saturating_sub(100);
                let around = &bytes[from..(hit.end() + 20).min(bytes.len())];
                let around = String::from_utf8_lossy(around).replace('\n', " ");
                found.insert((place, name, *encoding, around));
            }
        }
        let mut seen = BTreeSet::new();
        let first = found.into_iter().filter(|(place, name, encoding, _)| {
            let name = name.split_once(' ').map_or(name.as_str(), |(name, _)| name);
            seen.insert((*place, name.to_owned(), *encoding))
        });
        let told = first.map(|(place, name, encoding, around)| {
            format!("{place}: {encoding} in {name}: …{around}")
        });
        told.collect()
    }
}

fn patterns(secret: usize, text: &str) -> Vec<Pattern> {
    // What no encoding changes gives away as much as the whole.
    let core: String = text.chars().take(26).collect();
    let escaped = serde_json::to_string(text).unwrap();
    let mut texts = vec![
        ("plain", core),
        ("json", escaped.trim_matches('"').to_owned()),
        ("percent", utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()),
        ("hex", hex::encode(text)),
        ("hex", hex::encode_upper(text)),
    ];
    texts.extend(in_base64(text, &STANDARD_NO_PAD).map(|text| ("base64", text)));
    texts.extend(in_base64(text, &URL_SAFE_NO_PAD).map(|text| ("base64url", text)));
    let pattern = |(encoding, text)| Pattern { secret, encoding, text };
    texts.into_iter().map(pattern).collect()
}

/// Base64 of a text that begins at any of the three places of a group, without what depends on its
/// neighbours.
fn in_base64<E: base64::Engine>(text: &str, engine: &E) -> [String; 3] {
    [0, 1, 2].map(|before| {
        let bytes = [&b"\0\0"[..before], text.as_bytes()].concat();
        let encoded = engine.encode(&bytes[..bytes.len() - bytes.len() % 3]);
        // Of the first group, only what no neighbour has a part in.
        encoded[if before == 0 { 0 } else { 4 }..].to_owned()
    })
}

#[test]
fn every_encoding_of_a_secret_is_found() {
    let mut garden = Garden::default();
    let secret = garden.secret("a test");
    let basic = STANDARD_NO_PAD.encode(format!("user:{secret}"));
    for (encoding, text) in [
        ("plain", secret.clone()),
        ("json", serde_json::json!({ "a": secret }).to_string()),
        ("percent", utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string()),
        ("hex", hex::encode(&secret)),
        ("base64", STANDARD_NO_PAD.encode(&secret)),
        ("base64", basic),
        ("base64url", URL_SAFE_NO_PAD.encode(format!("{{\"a\":\"{secret}\"}}"))),
    ] {
        let mut harvest = Harvest::default();
        harvest.text("here", format!("before {text} after"));
        let found = garden.find(&harvest).join("\n");
        assert!(found.contains(&format!("a test: {encoding} in here")), "{encoding}: {found}");
    }
    let mut harvest = Harvest::default();
    harvest.text("here", "nothing of the kind");
    assert!(garden.find(&harvest).is_empty());
}
