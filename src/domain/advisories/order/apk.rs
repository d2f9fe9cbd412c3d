//! Orders versions as apk does (`apk-package(5)`): numbers, a letter, suffixes, a hash, a revision. Owns
//! that grammar. Face: `compare`. Never orders a version that apk calls invalid.

use std::cmp::Ordering;

use super::{is_number, numbers};

#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    numbers: Vec<&'a str>,
    letter: Option<u8>,
    suffixes: Vec<(i8, &'a str)>,
    revision: &'a str,
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

/// How two versions stand.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (parse(one)?, parse(other)?);
    let mut order = Ordering::Equal;
    for at in 0..one.numbers.len().max(other.numbers.len()) {
        order = match (one.numbers.get(at), other.numbers.get(at)) {
            // From the second on, a number with a leading zero counts as a fraction.
            (Some(left), Some(right))
                if at > 0 && (left.starts_with('0') || right.starts_with('0')) =>
            {
                left.cmp(right)
            }
            (Some(left), Some(right)) => numbers(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
    order = order.then(one.letter.cmp(&other.letter));
    for at in 0..one.suffixes.len().max(other.suffixes.len()) {
        let rank = |suffixes: &[(i8, &str)]| suffixes.get(at).map_or(0, |(rank, _)| *rank);
        let number = |version: &Version<'_>| {
            version.suffixes.get(at).map_or(String::new(), |(_, number)| (*number).to_owned())
        };
        let ranks = rank(&one.suffixes).cmp(&rank(&other.suffixes));
        order = order.then(ranks).then_with(|| numbers(&number(&one), &number(&other)));
    }
    Some(order.then_with(|| numbers(one.revision, other.revision)))
}

fn parse(version: &str) -> Option<Version<'_>> {
    let version = version.trim();
    let (version, revision) = match version.rsplit_once("-r") {
        Some((version, revision)) if is_number(revision) => (version, revision),
        Some(_) => return None,
        None => (version, ""),
    };
    // A commit's hash is no order.
    let version = version.split_once('~').map_or(version, |(version, _)| version);
    let mut parts = version.split('_');
    let mut head = parts.next()?;
    let letter = head.bytes().last().filter(u8::is_ascii_lowercase);
    if letter.is_some() {
        head = &head[..head.len() - 1];
    }
    let numbers: Vec<&str> = head.split('.').collect();
    if !numbers.iter().all(|number| is_number(number)) {
        return None;
    }
    let mut suffixes = Vec::new();
    for part in parts {
        let end = part.find(|character: char| character.is_ascii_digit()).unwrap_or(part.len());
        let (word, number) = part.split_at(end);
        let (_, rank) = SUFFIXES.iter().find(|(known, _)| *known == word)?;
        if !number.is_empty() && !is_number(number) {
            return None;
        }
        suffixes.push((*rank, number));
    }
    Some(Version { numbers, letter, suffixes, revision })
}
