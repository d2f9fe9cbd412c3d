//! Orders versions as dpkg does (`deb-version(7)`). Owns epochs, and the `~` that comes before an end. Face:
//! `compare`. Never orders a version with characters that dpkg refuses.

use std::cmp::Ordering;

use super::numbers;

/// How two versions stand.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (split(one)?, split(other)?);
    let epoch = numbers(one.0, other.0);
    Some(epoch.then_with(|| part(one.1, other.1)).then_with(|| part(one.2, other.2)))
}

/// Epoch, upstream version, revision.
fn split(version: &str) -> Option<(&str, &str, &str)> {
    let version = version.trim();
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    let is_legal = |text: &str, more: &[u8]| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    // dpkg takes a version that does not begin with a digit too, with a warning.
    let is_version = super::is_number(epoch)
        && !upstream.is_empty()
        && is_legal(upstream, b".+-~:")
        && is_legal(revision, b".+~");
    is_version.then_some((epoch, upstream, revision))
}

fn part(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        loop {
            let (left, right) = (one.first().copied(), other.first().copied());
            let is_text = |byte: Option<u8>| byte.is_some_and(|byte| !byte.is_ascii_digit());
            if !is_text(left) && !is_text(right) {
                break;
            }
            let order = weight(left).cmp(&weight(right));
            if order != Ordering::Equal {
                return order;
            }
            one = one.get(1..).unwrap_or_default();
            other = other.get(1..).unwrap_or_default();
        }
        let (left, right) = (digits(&mut one), digits(&mut other));
        let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if order != Ordering::Equal || (one.is_empty() && other.is_empty()) {
            return order;
        }
    }
}

/// `~` comes before the end and a digit, these before letters, and letters before the rest.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => i32::from(byte) + 256,
    }
}

/// Takes the leading number, without zeros in front.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    let zeros = number.iter().position(|byte| *byte != b'0').unwrap_or(number.len());
    &number[zeros..]
}
