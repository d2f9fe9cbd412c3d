//! Looks at a body for what a proof needs of it, without reading all of it. Owns the shortcut through
//! bodies as they are written. Face: `Glance`. Never says of a body what a whole reading would not.

use std::borrow::Cow;

use serde::Deserialize;

use super::EventType;
use super::person::People;
use crate::base::Digest;

/// What a proof looks at in a body.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Glance<'a> {
    /// The persons that it commits to.
    #[serde(default)]
    pub(super) people: People,
    /// Its place in the log.
    pub(super) seq: u64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(default)]
    context: Named,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Named {
    pseudonym: Option<String>,
}

impl<'a> Glance<'a> {
    /// At this body.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn at(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        // Whatever is not as we write it is read as a whole.
        Scan { bytes: body, at: 0 }.body().map_or_else(|| serde_json::from_slice(body), Ok)
    }

    /// The person who was erased, when the record says that one was.
    pub(super) fn erased(self) -> Option<String> {
        let is_erasure = self.event_type == EventType::PersonErased.key();
        self.context.pseudonym.filter(|_| is_erasure)
    }
}

/// How deep bodies as they are written are nested at most.
const DEPTH_MAX: usize = 8;

/// Goes through canonical JSON without escapes and fractions, and gives up at anything else.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn body(mut self) -> Option<Glance<'a>> {
        let (mut people, mut seq, mut event_type) = (People::default(), None, None);
        let mut context = Named::default();
        self.members(|scan, key| {
            match key {
                b"people" => people = scan.people()?,
                b"seq" => seq = Some(scan.number()?),
                b"event_type" => event_type = Some(std::str::from_utf8(scan.text()?).ok()?),
                b"context" => context = scan.context()?,
                _ => scan.skip(DEPTH_MAX)?,
            }
            Some(())
        })?;
        let event_type = Cow::Borrowed(event_type?);
        (self.at == self.bytes.len()).then_some(Glance { people, seq: seq?, event_type, context })
    }

    fn people(&mut self) -> Option<People> {
        let mut people = People::default();
        self.members(|scan, key| {
            let person = match key {
                b"actor" => &mut people.actor,
                b"platform" => &mut people.platform,
                b"target" => &mut people.target,
                _ => return None,
            };
            *person = Some(Digest::from_hex(std::str::from_utf8(scan.text()?).ok()?)?);
            Some(())
        })?;
        Some(people)
    }

    fn context(&mut self) -> Option<Named> {
        let mut pseudonym = None;
        self.members(|scan, key| {
            match key {
                b"pseudonym" => {
                    pseudonym = Some(std::str::from_utf8(scan.text()?).ok()?.to_owned());
                }
                _ => scan.skip(DEPTH_MAX)?,
            }
            Some(())
        })?;
        Some(Named { pseudonym })
    }

    /// An object whose names are in order, so that none comes twice.
    fn members(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        let mut before: Option<&[u8]> = None;
        loop {
            let key = self.text()?;
            if !key.is_ascii() || before.is_some_and(|before| before >= key) {
                return None;
            }
            before = Some(key);
            self.take(b':')?;
            member(self, key)?;
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn skip(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.bytes.get(self.at)? {
            b'"' => self.text().map(drop),
            b'{' => self.members(|scan, _| scan.skip(depth)),
            b'[' => {
                self.at += 1;
                if self.take(b']').is_some() {
                    return Some(());
                }
                loop {
                    self.skip(depth)?;
                    if self.take(b',').is_none() {
                        return self.take(b']');
                    }
                }
            }
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number().map(drop),
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (*self.bytes.get(self.at)? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// A whole number that is not negative.
    fn number(&mut self) -> Option<u64> {
        let rest = &self.bytes[self.at..];
        let digits = &rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()];
        if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
            return None;
        }
        self.at += digits.len();
        let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        digits.iter().try_fold(0, add)
    }

    /// A text that stands there as it reads.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let begin = self.at;
        // Eight bytes at once: what is not in most of them is a quote, an escape or a control.
        while let Some(word) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let special = special(u64::from_le_bytes(*word));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                break;
            }
            self.at += 8;
        }
        while !matches!(self.bytes.get(self.at)?, b'"' | b'\\' | ..b' ') {
            self.at += 1;
        }
        let text = &self.bytes[begin..self.at];
        self.take(b'"').map(|()| text)
    }
}

/// The highest bit of the first byte that ends plain text, or of one behind it.
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    is(b'"') | is(b'\\') | below(word, b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Entropy as _;
    use crate::base::entropy::SeededEntropy;

    const BODY: &str = r#"{"actor":{"actor_id":null,"n":[1,{"a":true},[]]},"context":{"exit_code":-1,"pseudonym":"person-7f3ä"},"event_type":"person.erased","people":{"actor":"84f496b8f871c0b9b1e75d47efba20e954101952d8d2e95b9fdb6df5fa9dbdea"},"seq":101,"summary":"a {actor} with a \"name\" \\ and more","target":{},"v":2}"#;

    fn shortcut(body: &[u8]) -> Option<Glance<'_>> {
        Scan { bytes: body, at: 0 }.body()
    }

    #[test]
    fn a_body_as_it_is_written_needs_no_whole_reading() {
        let plain = BODY.replace("\\\"", "'").replace("\\\\", "").replace("-1", "1");
        let found = shortcut(plain.as_bytes()).unwrap();
        assert_eq!(found, serde_json::from_str(&plain).unwrap());
        assert_eq!((found.seq, found.erased().as_deref()), (101, Some("person-7f3ä")));
        assert_eq!(shortcut(BODY.as_bytes()), None, "escapes are read as a whole");
        assert_eq!(Glance::at(BODY.as_bytes()).unwrap().seq, 101);
    }

    #[test]
    fn the_shortcut_says_nothing_that_a_whole_reading_would_not() {
        let plain = BODY.replace("\\\"", "'").replace("\\\\", "").replace("-1", "1");
        let entropy = SeededEntropy::new(5);
        let dice = |sides: usize| usize::try_from(entropy.next_u64() % sides as u64).unwrap();
        let marks = b"\"\\{}[]:,0123456789-.eutfn \n\x00\xff";
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut body = plain.clone().into_bytes();
            for _ in 0..=dice(2) {
                let at = dice(body.len());
                match dice(4) {
                    0 => drop(body.remove(at)),
                    1 => body.insert(at, marks[dice(marks.len())]),
                    2 => body[at] = marks[dice(marks.len())],
                    _ => {
                        let from = dice(body.len());
                        body[at] = body[from];
                    }
                }
            }
            let whole = serde_json::from_slice::<Glance<'_>>(&body);
            match shortcut(&body) {
                Some(found) => {
                    taken += 1;
                    assert_eq!(Some(found), whole.ok(), "{}", String::from_utf8_lossy(&body));
                }
                None => refused += 1,
            }
        }
        assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
    }
}
