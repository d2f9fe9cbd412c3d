//! Orders versions as RubyGems does (`Gem::Version`): numbers and words, a word before a number. Owns that
//! cutting. Face: `compare`. Never orders a text that RubyGems calls malformed.

use std::cmp::Ordering;

use super::{is_number, numbers};

/// How two versions stand.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (segments(one)?, segments(other)?);
    for at in 0..one.len().max(other.len()) {
        let (left, right) = (one.get(at).map_or("0", |it| it), other.get(at).map_or("0", |it| it));
        let order = match (is_number(left), is_number(right)) {
            (true, true) => numbers(left, right),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => left.cmp(right),
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
    Some(Ordering::Equal)
}

/// `1.0.b2` is 1, 0, b, 2. Zeros at the end, and those before a word, do not count.
fn segments(version: &str) -> Option<Vec<String>> {
    let version = version.trim();
    let (head, tail) = match version.split_once('-') {
        Some((head, tail)) => (head, Some(tail)),
        None => (version, None),
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_first = head.split('.').next().is_some_and(is_number);
    if !is_first
        || !head.split('.').chain(tail.into_iter().flat_map(|it| it.split('.'))).all(is_word)
    {
        return None;
    }
    // A `-` stands for `.pre.`.
    let version = version.replace('-', ".pre.");
    let mut segments: Vec<String> = Vec::new();
    for part in version.split('.').filter(|part| !part.is_empty()) {
        let mut word = String::new();
        for character in part.chars() {
            let changes = word
                .chars()
                .last()
                .is_some_and(|last| last.is_ascii_digit() != character.is_ascii_digit());
            if changes {
                segments.push(std::mem::take(&mut word));
            }
            word.push(character);
        }
        segments.push(word);
    }
    let is_zero = |segment: &String| segment.bytes().all(|byte| byte == b'0');
    let first_word = segments.iter().position(|it| !is_number(it)).unwrap_or(segments.len());
    let mut later = segments.split_off(first_word);
    while segments.last().is_some_and(is_zero) {
        segments.pop();
    }
    while later.last().is_some_and(is_zero) {
        later.pop();
    }
    segments.extend(later);
    Some(segments)
}
