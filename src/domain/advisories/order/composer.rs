//! Orders versions as Composer does: what it makes of a version, compared as PHP's `version_compare` does.
//! Owns both. Face: `compare`. Never orders a branch (`dev-main`): it has no place among versions.

use std::cmp::Ordering;

use super::{is_number, numbers};

/// How two versions stand.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (parts(one)?, parts(other)?);
    for at in 0..one.len().max(other.len()) {
        let order = match (one.get(at), other.get(at)) {
            (Some(left), Some(right)) => part(left, right),
            // A number more is later, a word more as early as the word is.
            (Some(left), None) => more(left),
            (None, Some(right)) => more(right).reverse(),
            (None, None) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
    Some(Ordering::Equal)
}

fn more(part: &str) -> Ordering {
    if is_number(part) { Ordering::Greater } else { rank(part).cmp(&NUMBER) }
}

fn part(left: &str, right: &str) -> Ordering {
    match (is_number(left), is_number(right)) {
        (true, true) => numbers(left, right),
        _ => rank(left).cmp(&rank(right)),
    }
}

const NUMBER: u8 = 5;

fn rank(part: &str) -> u8 {
    match part {
        "dev" => 1,
        "alpha" | "a" => 2,
        "beta" | "b" => 3,
        "rc" | "c" => 4,
        "patch" | "pl" | "p" => 6,
        _ if is_number(part) => NUMBER,
        _ => 0,
    }
}

/// Its numbers, four of them unless they are a date, then words and their numbers: `1.0-beta.2` is 1, 0, 0, 0,
/// beta, 2.
fn parts(version: &str) -> Option<Vec<String>> {
    let version = version.trim().to_lowercase();
    let words: Vec<&str> = version.split_whitespace().collect();
    let version = match words[..] {
        // As another version, for whoever asks for that one.
        [version] | [version, "as", _] => version,
        _ => return None,
    };
    // `@dev` is a wish for a stability, no part of the version.
    let version = match version.rsplit_once('@') {
        Some((version, "stable" | "rc" | "beta" | "alpha" | "dev")) => version,
        _ => version,
    };
    let version = match version.split_once('+') {
        Some((version, build)) if !version.is_empty() && !build.is_empty() => version,
        _ => version,
    };
    let version = version.strip_prefix('v').unwrap_or(version);
    let classical = classical(version).and_then(|(mut numbers, rest)| {
        numbers.resize(4, "0".to_owned());
        Some((numbers, modifier(rest)?))
    });
    let (mut parts, later) = classical.or_else(|| date(version))?;
    parts.extend(later);
    Some(parts)
}

/// One to four numbers, the first of at most five digits, and the rest.
fn classical(text: &str) -> Option<(Vec<String>, &str)> {
    let (first, mut rest) = digits(text);
    let mut numbers = vec![first.to_owned()];
    while numbers.len() < 4
        && let Some((number, after)) = rest.strip_prefix('.').map(digits)
        && !number.is_empty()
    {
        numbers.push(number.to_owned());
        rest = after;
    }
    (1..=5).contains(&first.len()).then_some((numbers, rest))
}

/// A year, one to six pairs of digits and up to two groups of at most three, with `.`, `:` or `-` between them
/// if somebody likes; the longest date that only a modifier follows.
fn date(text: &str) -> Option<(Vec<String>, Vec<String>)> {
    let year = group(text, 4)?;
    let mut ends = vec![year];
    for _ in 0..6 {
        let last = ends.last().copied()?;
        let Some(size) = text.get(last..).and_then(|rest| separated(rest, 2)) else { break };
        ends.push(last + size);
    }
    let later = |end: usize| {
        let tails =
            (1..=3).rev().filter_map(move |size| Some(end + separated(&text[end..], size)?));
        tails.collect::<Vec<usize>>()
    };
    for end in ends.into_iter().skip(1).rev() {
        let one: Vec<usize> = later(end);
        let two = one.iter().flat_map(|end| later(*end)).collect::<Vec<_>>();
        for end in two.into_iter().chain(one).chain([end]) {
            if let Some(words) = modifier(&text[end..]) {
                let numbers = text[..end].split(['.', ':', '-']).map(str::to_owned);
                return Some((numbers.collect(), words));
            }
        }
    }
    None
}

/// So many digits, after a separator or not: how many bytes that are.
fn separated(text: &str, digits: usize) -> Option<usize> {
    match text.strip_prefix(['.', ':', '-']) {
        Some(rest) => group(rest, digits).map(|size| size + 1),
        None => group(text, digits),
    }
}

fn group(text: &str, digits: usize) -> Option<usize> {
    text.get(..digits).filter(|text| is_number(text)).map(str::len)
}

/// How stable a version is and how much of that: `-beta.2`, `RC1`, `-p1-dev`. Empty for a stable one.
fn modifier(text: &str) -> Option<Vec<String>> {
    let without = text.strip_prefix(['.', '_', '-']).unwrap_or(text);
    [without, text].into_iter().find_map(|text| {
        const WORDS: [&str; 9] = ["stable", "beta", "b", "rc", "alpha", "a", "patch", "pl", "p"];
        let worded = WORDS.iter().find_map(|word| {
            let mut rest = text.strip_prefix(word)?;
            let mut parts = vec![(*word).to_owned()];
            loop {
                let (number, after) = digits(rest.strip_prefix(['.', '-']).unwrap_or(rest));
                if number.is_empty() {
                    break;
                }
                parts.push(number.to_owned());
                rest = after;
            }
            let is_dev = is_dev(rest)?;
            // Whatever is called stable comes as if it were not called anything.
            if *word == "stable" {
                return Some(Vec::new());
            }
            parts.extend(is_dev.then(|| "dev".to_owned()));
            Some(parts)
        });
        worded.or_else(|| Some(is_dev(text)?.then(|| "dev".to_owned()).into_iter().collect()))
    })
}

/// Whether it is an unfinished one; none when something else stands there.
fn is_dev(text: &str) -> Option<bool> {
    match text {
        "" => Some(false),
        "dev" | ".dev" | "-dev" => Some(true),
        _ => None,
    }
}

/// The digits at the beginning, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}
