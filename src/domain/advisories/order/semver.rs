//! Orders versions as Semantic Versioning 2.0 does (section 11). Owns nothing more. Face: `compare`. Never
//! looks at what stands behind a `+`.

use std::cmp::Ordering;

use super::{is_number, numbers};

/// How two versions stand. A number that is missing is 0, as advisories write `1.2`.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let ((one, early), (other, earlier)) = (split(one)?, split(other)?);
    for at in 0..one.len().max(other.len()) {
        let number = |parts: &[&str]| parts.get(at).map_or("0", |part| part).to_owned();
        let order = numbers(&number(&one), &number(&other));
        if order != Ordering::Equal {
            return Some(order);
        }
    }
    Some(match (early, earlier) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(early), Some(earlier)) => identifiers(early, earlier),
    })
}

fn split(version: &str) -> Option<(Vec<&str>, Option<&str>)> {
    let version = version.trim().trim_start_matches(['v', '=']);
    let version = version.split('+').next().unwrap_or(version);
    let (core, early) = match version.split_once('-') {
        Some((core, early)) => (core, Some(early)),
        None => (version, None),
    };
    let core: Vec<&str> = core.split('.').collect();
    let is_legal = early.is_none_or(|early| {
        let is_word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        early.split('.').all(is_word)
    });
    (core.len() <= 4 && core.iter().all(|part| is_number(part)) && is_legal)
        .then_some((core, early))
}

fn identifiers(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        let order = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) if left.is_none() || right.is_none() => {
                return left.is_some().cmp(&right.is_some());
            }
            (left, right) => {
                let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
                match (is_number(left), is_number(right)) {
                    (true, true) => numbers(left, right),
                    (true, false) => Ordering::Less,
                    (false, true) => Ordering::Greater,
                    (false, false) => left.cmp(right),
                }
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
