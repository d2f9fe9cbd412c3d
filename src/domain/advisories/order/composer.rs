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

/// Four numbers, then words and their numbers: `1.0-beta.2` is 1, 0, 0, 0, beta, 2.
fn parts(version: &str) -> Option<Vec<String>> {
    let version = version.trim().to_lowercase();
    let version = version.strip_prefix('v').unwrap_or(&version);
    let version = version.split('+').next().unwrap_or(version);
    // `@dev` is a wish for a stability, no part of the version.
    let version = version.split('@').next().unwrap_or(version);
    let mut parts: Vec<String> = Vec::new();
    let mut word = String::new();
    for character in version.chars() {
        if !character.is_ascii_alphanumeric() {
            if !matches!(character, '.' | '-' | '_') {
                return None;
            }
            parts.push(std::mem::take(&mut word));
            continue;
        }
        let changes = word
            .chars()
            .last()
            .is_some_and(|last| last.is_ascii_digit() != character.is_ascii_digit());
        if changes {
            parts.push(std::mem::take(&mut word));
        }
        word.push(character);
    }
    parts.push(word);
    parts.retain(|part| !part.is_empty());
    let end = parts.iter().position(|part| !is_number(part)).unwrap_or(parts.len());
    if end == 0 {
        return None;
    }
    let mut later = parts.split_off(end);
    while parts.len() < 4 {
        parts.push("0".to_owned());
    }
    later.retain(|part| part != "stable");
    if later.iter().any(|part| rank(part) == 0) {
        return None;
    }
    parts.extend(later);
    Some(parts)
}
