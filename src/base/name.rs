//! Holds a short key that a user registers: a type of run, a count, a reason. Owns its form.
//! Face: `Name`. Never on the heap: keys that users register are as cheap to pass as our own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most bytes of a name.
const BYTES_MAX: usize = 40;

/// Lower-case words of letters and digits, joined by `.`, `_` or `-`; it begins with a letter and
/// has at most 40 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// Zero past the end, so that comparing the bytes compares the names.
    bytes: [u8; BYTES_MAX],
    length: u8,
}

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name: up to 40 lower-case letters and digits, in words joined by `.`, `_` or `-`, \
     beginning with a letter"
)]
pub struct NotAName(pub String);

impl Name {
    /// The name, as text.
    pub fn as_str(&self) -> &str {
        // Only ASCII ever gets in.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    /// Whether it has a dot: `shop.send_invoices`.
    pub fn is_dotted(&self) -> bool {
        self.as_str().contains('.')
    }

    /// Whether it is a name at all: every one is.
    pub fn is_any(&self) -> bool {
        true
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let wrong = || NotAName(text.to_owned());
        let joins = |byte: u8| matches!(byte, b'.' | b'_' | b'-');
        let fits = !text.is_empty() && text.len() <= BYTES_MAX;
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !fits || !begins || text.bytes().next_back().is_some_and(joins) {
            return Err(wrong());
        }
        let mut name = Self { bytes: [0; BYTES_MAX], length: 0 };
        let mut after_join = false;
        for (place, byte) in name.bytes.iter_mut().zip(text.bytes()) {
            let is_word = byte.is_ascii_lowercase() || byte.is_ascii_digit();
            if !is_word && (after_join || !joins(byte)) {
                return Err(wrong());
            }
            after_join = !is_word;
            *place = byte;
            name.length += 1;
        }
        Ok(name)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_words_of_lower_case_letters_and_digits() {
        let forty = "a".repeat(40);
        for right in ["a", "a1", "shop.send_invoices", "a-b", "a.b.c", forty.as_str()] {
            let name: Name = right.parse().unwrap();
            assert_eq!((name.as_str(), name.to_string()), (right, right.to_owned()));
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{right}\""));
        }
        let long = "a".repeat(41);
        for wrong in ["", "A", "1a", "_a", "a_", "a.", "a..b", "a_-b", "ä", "a b", long.as_str()] {
            assert_eq!(wrong.parse::<Name>(), Err(NotAName(wrong.to_owned())));
        }
    }

    #[test]
    fn names_sort_as_their_texts_do() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert!(name("a") < name("a.b") && name("a.b") < name("ab") && name("ab") < name("b"));
    }
}
