//! Orders versions as apk does (`apk-package(5)`, apk-tools 3): numbers, a letter, suffixes with numbers, a
//! commit's hash, a revision. Owns that grammar. Face: `compare`. Never orders a version that apk calls
//! invalid.

use std::cmp::Ordering;

use super::{is_number, numbers};

/// What a version consists of, in the order in which it may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    First(&'a str),
    Number(&'a str),
    Letter(u8),
    Suffix(i8),
    SuffixNumber(&'a str),
    Hash(&'a str),
    Revision(&'a str),
}

/// Before the plain version, and after it.
const SUFFIXES: [(&str, i8); 9] = [
    ("alpha", -4),
    ("beta", -3),
    ("pre", -2),
    ("rc", -1),
    ("cvs", 1),
    ("svn", 2),
    ("git", 3),
    ("hg", 4),
    ("p", 5),
];

/// How two versions stand: the first part that differs decides.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (parts(one)?, parts(other)?);
    for at in 0..one.len().max(other.len()) {
        let order = match (one.get(at), other.get(at)) {
            (Some(left), Some(right)) if left.rank() == right.rank() => left.against(*right),
            (Some(Part::Suffix(..0)), _) => Ordering::Less,
            (_, Some(Part::Suffix(..0))) => Ordering::Greater,
            // What goes on with the earlier kind of part is later; the end is the last kind.
            (left, right) => {
                let rank = |part: Option<&Part<'_>>| part.map_or(u8::MAX, |part| part.rank());
                rank(right).cmp(&rank(left))
            }
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
    Some(Ordering::Equal)
}

impl Part<'_> {
    const fn rank(self) -> u8 {
        match self {
            Self::First(_) => 0,
            Self::Number(_) => 1,
            Self::Letter(_) => 2,
            Self::Suffix(_) => 3,
            Self::SuffixNumber(_) => 4,
            Self::Hash(_) => 5,
            Self::Revision(_) => 6,
        }
    }

    /// Against a part of the same kind.
    fn against(self, other: Self) -> Ordering {
        match (self, other) {
            // From the second on, a number with a leading zero counts as a fraction.
            (Self::Number(left), Self::Number(right))
                if left.starts_with('0') || right.starts_with('0') =>
            {
                left.cmp(right)
            }
            (Self::Letter(left), Self::Letter(right)) => left.cmp(&right),
            (Self::Suffix(left), Self::Suffix(right)) => left.cmp(&right),
            (Self::Hash(left), Self::Hash(right)) => left.cmp(right),
            (
                Self::First(left)
                | Self::Number(left)
                | Self::SuffixNumber(left)
                | Self::Revision(left),
                Self::First(right)
                | Self::Number(right)
                | Self::SuffixNumber(right)
                | Self::Revision(right),
            ) => numbers(left, right),
            (left, right) => left.rank().cmp(&right.rank()),
        }
    }
}

fn parts(version: &str) -> Option<Vec<Part<'_>>> {
    let version = version.trim();
    let (version, revision) = match version.split_once('-') {
        Some((version, revision)) => (version, Some(revision.strip_prefix('r')?)),
        None => (version, None),
    };
    let (version, hash) = match version.split_once('~') {
        Some((version, hash)) => (version, Some(hash)),
        None => (version, None),
    };
    let mut words = version.split('_');
    let mut head = words.next()?;
    let letter = head.bytes().last().filter(u8::is_ascii_lowercase);
    if letter.is_some() {
        head = &head[..head.len() - 1];
    }
    let mut parts = Vec::new();
    for (at, number) in head.split('.').enumerate() {
        parts.push(if at == 0 { Part::First(number) } else { Part::Number(number) });
    }
    parts.extend(letter.map(Part::Letter));
    for word in words {
        let end = word.find(|character: char| character.is_ascii_digit()).unwrap_or(word.len());
        let (word, number) = word.split_at(end);
        let (_, rank) = SUFFIXES.iter().find(|(known, _)| *known == word)?;
        parts.push(Part::Suffix(*rank));
        parts.extend((!number.is_empty()).then_some(Part::SuffixNumber(number)));
    }
    parts.extend(hash.map(Part::Hash));
    parts.extend(revision.map(Part::Revision));
    let is_legal = |part: &Part<'_>| match part {
        Part::Letter(_) | Part::Suffix(_) => true,
        Part::Hash(hash) => {
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            !hash.is_empty() && hash.bytes().all(is_hex)
        }
        Part::First(number)
        | Part::Number(number)
        | Part::SuffixNumber(number)
        | Part::Revision(number) => is_number(number),
    };
    parts.iter().all(is_legal).then_some(parts)
}
