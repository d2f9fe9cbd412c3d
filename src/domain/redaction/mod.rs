//! Keeps secrets and noise out of texts that people and logs will read. Owns the rules for free
//! text. Face: `SafeText`, `sanitise`. Never promises to find every secret: types that cannot be
//! printed come first, this is the second net.

mod known;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::limits::MESSAGE_CHARS_MAX;

pub use known::Known;

/// What stands where a secret was.
const REDACTED: &str = "[redacted]";
/// What ends a text that was too long.
const CUT: &str = " […]";

/// Names that announce a secret when `=` or `:` follows. Compared in lower case, as the end of a
/// word, so that `POSTGRES_PASSWORD` and `x-api-key` are caught too.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "access_key",
    "access-key",
    "private_key",
    "private-key",
    "credential",
    "credentials",
    "authorization",
    "cookie",
];

/// Beginnings of tokens that give themselves away: GitHub, GitLab, Slack, AWS, Stripe, JWT.
const TOKEN_STARTS: &[&str] = &[
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "AKIA",
    "ASIA",
    "sk_live_",
    "rk_live_",
    "eyJ",
];
/// What our own tokens begin with. So do the names of our metrics: what follows has to be an id.
const OWN_TOKEN_START: &str = "wharf_";
/// Digits of the id in one of our own tokens.
const OWN_TOKEN_ID_DIGITS: usize = 32;
/// Shortest word that counts as a token after one of these beginnings.
const TOKEN_CHARS_MIN: usize = 16;

/// Text that went through `sanitise`: of bounded length, without control characters and without
/// what looks like a secret. The only kind of text that failures and audit events accept.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SafeText(String);

impl SafeText {
    /// The sanitised form of `text`.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(sanitise(text.as_ref()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<String> for SafeText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for SafeText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<SafeText> for String {
    fn from(text: SafeText) -> Self {
        text.0
    }
}

/// The text without control characters (line ends stay), without what looks like a secret, and at
/// most `MESSAGE_CHARS_MAX` characters long. Sanitising twice changes nothing more.
pub fn sanitise(text: &str) -> String {
    shorten(redact(text.trim_end()))
}

/// The same, however long it is.
fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len().min(MESSAGE_CHARS_MAX * 4));
    let mut in_private_key = false;
    for (index, line) in text.split('\n').enumerate() {
        if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY") {
            in_private_key = true;
            separate(&mut redacted, index);
            redacted.push_str(REDACTED);
            continue;
        }
        if in_private_key {
            in_private_key = !line.contains("-----END ");
            continue;
        }
        separate(&mut redacted, index);
        redact_line(line, &mut redacted);
    }
    redacted
}

fn separate(text: &mut String, line_index: usize) {
    if line_index > 0 {
        text.push('\n');
    }
}

fn shorten(text: String) -> String {
    if text.chars().count() <= MESSAGE_CHARS_MAX {
        return text;
    }
    let kept = MESSAGE_CHARS_MAX - CUT.chars().count();
    let mut short: String = text.chars().take(kept).collect();
    short.push_str(CUT);
    short
}

/// Copies one line word by word; a word is what stands between blanks.
fn redact_line(line: &str, out: &mut String) {
    let mut hide = Hide::Nothing;
    for word in line.split_inclusive([' ', '\t']) {
        let (body, blank) = split_blank(word);
        if body.is_empty() {
            out.push_str(blank);
            continue;
        }
        hide = match hide {
            Hide::Next if is_scheme_name(body) => {
                push_visible(body, out);
                Hide::Next
            }
            Hide::Next => {
                out.push_str(REDACTED);
                Hide::Nothing
            }
            Hide::Nothing => redact_word(body, out),
        };
        out.push_str(blank);
    }
}

/// What the words so far say about the next one.
#[derive(Clone, Copy)]
enum Hide {
    Nothing,
    /// `password:` or `Bearer` came last.
    Next,
}

fn split_blank(word: &str) -> (&str, &str) {
    let body = word.trim_end_matches([' ', '\t']);
    (body, &word[body.len()..])
}

fn is_scheme_name(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic") || word == "="
}

fn redact_word(word: &str, out: &mut String) -> Hide {
    if word.eq_ignore_ascii_case("bearer") {
        push_visible(word, out);
        return Hide::Next;
    }
    if let Some((before, after)) = split_url_password(word) {
        push_visible(before, out);
        out.push_str(REDACTED);
        push_visible(after, out);
        return Hide::Nothing;
    }
    if let Some((name, value)) = split_secret_assignment(word) {
        push_visible(name, out);
        if value.trim_matches(['"', '\'']).is_empty() {
            push_visible(value, out);
            return Hide::Next;
        }
        out.push_str(REDACTED);
        return Hide::Nothing;
    }
    if looks_like_token(word) {
        out.push_str(REDACTED);
        return Hide::Nothing;
    }
    push_visible(word, out);
    Hide::Nothing
}

fn push_visible(text: &str, out: &mut String) {
    out.extend(text.chars().filter(|c| !c.is_control()));
}

/// Whether a text is an address with a password: `scheme://user:password@host`.
pub fn has_url_password(word: &str) -> bool {
    split_url_password(word).is_some_and(|(before, after)| before.len() + after.len() < word.len())
}

/// Splits `scheme://user:password@host` around the password.
fn split_url_password(word: &str) -> Option<(&str, &str)> {
    let authority = word.find("://")? + 3;
    let end = word[authority..].find(['/', '?', '#']).map_or(word.len(), |at| authority + at);
    let at = authority + word[authority..end].rfind('@')?;
    let colon = authority + word[authority..at].find(':')? + 1;
    if word.get(colon..at) == Some(REDACTED) {
        return None;
    }
    Some((&word[..colon], &word[at..]))
}

/// Splits `NAME=value` or `NAME: value` after the sign, when the name announces a secret.
fn split_secret_assignment(word: &str) -> Option<(&str, &str)> {
    for (at, _) in word.match_indices(['=', ':']) {
        if announces_secret(word[..at].trim_end_matches(['"', '\''])) {
            return Some(word.split_at(at + 1));
        }
    }
    None
}

/// Whether what has this name is a secret: `POSTGRES_PASSWORD`, `x-api-key`.
fn announces_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

fn looks_like_token(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_own = |rest: &str| {
        let id = rest.as_bytes().get(..OWN_TOKEN_ID_DIGITS);
        id.is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
    };
    if word.strip_prefix(OWN_TOKEN_START).is_some_and(is_own) {
        return true;
    }
    word.len() >= TOKEN_CHARS_MIN && TOKEN_STARTS.iter().any(|start| word.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &str) {
        let once = sanitise(input);
        assert_eq!(once, expect);
        assert_eq!(sanitise(&once), expect, "sanitising twice");
    }

    #[test]
    fn secrets_are_replaced_and_the_rest_stays_readable() {
        check("port 8080 is in use", "port 8080 is in use");
        check("POSTGRES_PASSWORD=hunter2 is set", "POSTGRES_PASSWORD=[redacted] is set");
        check("password: hunter2, retrying", "password: [redacted] retrying");
        check(r#"{"token":"abc"}"#, r#"{"token":[redacted]"#);
        check("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]");
        check("sent Bearer abc.def to it", "sent Bearer [redacted] to it");
        check("postgres://app:s3cr3t@db:5432/app", "postgres://app:[redacted]@db:5432/app");
        check("see https://example.org/a?b=c", "see https://example.org/a?b=c");
        check("key AKIAIOSFODNN7EXAMPLE leaked", "key [redacted] leaked");
        check("the token expired", "the token expired");
        let own = format!("wharf_{}_{}", "0a".repeat(16), "b".repeat(64));
        check(&format!("used {own}, twice"), "used [redacted] twice");
        check("see wharf_delivery_duration_seconds", "see wharf_delivery_duration_seconds");
    }

    #[test]
    fn private_keys_vanish_whole() {
        let text = "before\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nafter";
        check(text, "before\n[redacted]\nafter");
    }

    #[test]
    fn control_characters_cannot_forge_a_terminal() {
        check("a\u{1b}[2Jb\r\nc\n", "a[2Jb\nc");
    }

    #[test]
    fn long_texts_are_cut_with_a_mark() {
        let long = "ä".repeat(MESSAGE_CHARS_MAX + 1);
        let short = sanitise(&long);
        assert_eq!(short.chars().count(), MESSAGE_CHARS_MAX);
        assert!(short.ends_with(CUT));
    }
}
