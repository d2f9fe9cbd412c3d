//! Orders versions as Python does (PEP 440): epoch, release, pre-, post- and development releases, local
//! versions. Owns its grammar with all the spellings that it takes. Face: `compare`. Never orders a version
//! that Python's `packaging` refuses.

use std::cmp::Ordering;

use super::{is_number, numbers};

#[derive(Debug)]
struct Version {
    epoch: String,
    release: Vec<String>,
    /// `a`, `b` or `rc` and its number.
    pre: Option<(u8, String)>,
    post: Option<String>,
    dev: Option<String>,
    local: Option<Vec<String>>,
}

/// How two versions stand.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (parse(one)?, parse(other)?);
    let release = || {
        (0..one.release.len().max(other.release.len())).fold(Ordering::Equal, |order, at| {
            let part = |version: &Version| version.release.get(at).cloned().unwrap_or_default();
            order.then_with(|| numbers(&part(&one), &part(&other)))
        })
    };
    let pre = || {
        let (left, right) = (pre_rank(&one), pre_rank(&other));
        left.0.cmp(&right.0).then_with(|| numbers(left.1, right.1))
    };
    let post = || option(one.post.as_deref(), other.post.as_deref(), Ordering::Less);
    // Without `dev` it comes after all of them.
    let dev = || option(one.dev.as_deref(), other.dev.as_deref(), Ordering::Greater);
    let epoch = numbers(&one.epoch, &other.epoch);
    Some(
        epoch
            .then_with(release)
            .then_with(pre)
            .then_with(post)
            .then_with(dev)
            .then_with(|| local(one.local.as_deref(), other.local.as_deref())),
    )
}

/// A development release of nothing else comes before pre-releases, these before the release.
fn pre_rank(version: &Version) -> (u8, &str) {
    match &version.pre {
        Some((kind, number)) => (*kind, number),
        None if version.post.is_none() && version.dev.is_some() => (0, ""),
        None => (9, ""),
    }
}

fn option(one: Option<&str>, other: Option<&str>, absent: Ordering) -> Ordering {
    match (one, other) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => absent,
        (Some(_), None) => absent.reverse(),
        (Some(one), Some(other)) => numbers(one, other),
    }
}

fn local(one: Option<&[String]>, other: Option<&[String]>) -> Ordering {
    let (Some(one), Some(other)) = (one, other) else {
        return one.is_some().cmp(&other.is_some());
    };
    for (left, right) in one.iter().zip(other) {
        let order = match (is_number(left), is_number(right)) {
            (true, true) => numbers(left, right),
            (left_is, right_is) if left_is != right_is => left_is.cmp(&right_is),
            _ => left.cmp(right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

fn parse(version: &str) -> Option<Version> {
    let lower = version.trim().to_lowercase();
    let text = lower.strip_prefix('v').unwrap_or(&lower);
    let (text, local) = match text.split_once('+') {
        Some((text, local)) => {
            let parts: Vec<String> = local.split(['.', '-', '_']).map(str::to_owned).collect();
            let is_part = |part: &String| {
                !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
            };
            if !parts.iter().all(is_part) {
                return None;
            }
            (text, Some(parts))
        }
        None => (text, None),
    };
    let (epoch, text) = text.split_once('!').unwrap_or(("0", text));
    if !is_number(epoch) {
        return None;
    }
    let mut rest = Rest(text);
    let mut release = vec![rest.number()?];
    while let Some(number) = rest.dotted_number() {
        release.push(number);
    }
    let pre = [
        ("alpha", 1),
        ("beta", 2),
        ("preview", 3),
        ("pre", 3),
        ("rc", 3),
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]
    .into_iter()
    .find_map(|(word, kind)| rest.part(word).map(|number| (kind, number)));
    let post = match rest.implicit_post() {
        Some(number) => Some(number),
        None => ["post", "rev", "r"].into_iter().find_map(|word| rest.part(word)),
    };
    let dev = rest.part("dev");
    rest.0.is_empty().then(|| Version { epoch: epoch.to_owned(), release, pre, post, dev, local })
}

struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn number(&mut self) -> Option<String> {
        let end = self.0.find(|it: char| !it.is_ascii_digit()).unwrap_or(self.0.len());
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        (!number.is_empty()).then(|| number.to_owned())
    }

    fn dotted_number(&mut self) -> Option<String> {
        let rest = self.0.strip_prefix('.')?;
        let mut after = Rest(rest);
        let number = after.number()?;
        let taken = rest.len() - after.0.len();
        self.0 = &self.0[1 + taken..];
        Some(number)
    }

    /// `-1` stands for `.post1`.
    fn implicit_post(&mut self) -> Option<String> {
        let before = self.0;
        self.0 = self.0.strip_prefix('-')?;
        let number = self.number();
        if number.is_none() {
            self.0 = before;
        }
        number
    }

    /// A word with a separator before it and one before its number, both left out if one likes; without
    /// a number it is 0.
    fn part(&mut self, word: &str) -> Option<String> {
        let rest = self.0.strip_prefix(['.', '-', '_']).unwrap_or(self.0);
        let rest = rest.strip_prefix(word)?;
        let mut after = Rest(rest.strip_prefix(['.', '-', '_']).unwrap_or(rest));
        // The separator may stand there without a number too.
        let number = after.number().unwrap_or_else(|| "0".to_owned());
        self.0 = &rest[rest.len() - after.0.len()..];
        Some(number)
    }
}
