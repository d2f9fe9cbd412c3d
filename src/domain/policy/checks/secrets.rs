//! Tells what in an environment is a secret. Owns the names and the forms of values that say so.
//! Face: `holds_secret`, `shows_secret`,
//! `ENVIRONMENT_SECRETS`. Never shows a value.

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, quoted};
use crate::domain::alerts::Severity;

pub(super) const ENVIRONMENT_SECRETS: Check = Check {
    id: CheckId::EnvironmentSecrets,
    title: "No secret is in the environment",
    severity: Severity::Medium,
    rationale: "Whoever may look at the container reads its environment; every program that it \
                starts inherits it, and many write it to logs when they fail.",
    remediation: "mount it as a file with `secrets:`; many images take `<NAME>_FILE`",
    cis: &[],
    judge: environment_secrets,
    remedy: None,
};

fn environment_secrets(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let environment = subject.spec.environment.iter();
    let found: Vec<&str> = environment
        .filter(|(name, value)| holds_secret(name, value.expose()))
        .map(|(name, _)| name.as_str())
        .collect();
    match found.as_slice() {
        [] => Verdict::Pass,
        [first, ..] => fail(
            format!("{} in its environment looks like a secret", quoted(found.iter().copied())),
            &["environment", first],
        ),
    }
}

/// Last words of names that are those of secrets there alone: `DB_PASS`, but not `PASS_THROUGH`.
const LAST_WORDS: [&str; 3] = ["PASS", "PASSCODE", "SALT"];

fn ends_as_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let mut words = upper.split(['_', '-', '.']).rev();
    let is_last = words.next().is_some_and(|last| LAST_WORDS.contains(&last));
    is_last && words.next().is_some() && !is_no_secret(value)
}

/// Nothing, a path, or a choice.
fn is_no_secret(value: &str) -> bool {
    let choice = value.to_ascii_lowercase();
    let is_path = ["/", "./", "../", "~/"].iter().any(|start| value.starts_with(start));
    value.is_empty() || is_path || CHOICES.contains(&choice.as_str())
}

/// Beginnings of the tokens of well-known services, and how many characters follow at least.
const TOKENS: [(&str, usize); 26] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 35),
    ("ATATT3", 20),
    ("SG.", 40),
    ("dckr_pat_", 20),
    ("dop_v1_", 40),
    ("gho_", 30),
    ("ghp_", 30),
    ("ghr_", 30),
    ("ghs_", 30),
    ("ghu_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("hf_", 30),
    ("hvs.", 20),
    ("npm_", 30),
    ("pypi-", 30),
    ("rk_live_", 20),
    ("shpat_", 30),
    ("sk-ant-", 30),
    ("sk_live_", 20),
    ("xoxa-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("ya29.", 20),
];

/// Is it a token or a key by its form, whatever its name?
fn is_token(value: &str) -> bool {
    let value = value.trim();
    let is_token_character = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+/".contains(&byte);
    let is_known = TOKENS.iter().any(|(start, least)| {
        let rest = value.strip_prefix(start);
        rest.is_some_and(|rest| rest.len() >= *least && rest.bytes().all(is_token_character))
    });
    let is_key = value.contains("-----BEGIN") && value.contains("PRIVATE KEY-----");
    is_known || is_key || is_signed_token(value)
}

/// A JSON web token: three parts, of which the first two are objects in Base64.
fn is_signed_token(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    let is_base64 = |part: &&str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    match parts.as_slice() {
        [header, claims, signature] => {
            header.starts_with("eyJ")
                && claims.starts_with("eyJ")
                && !signature.is_empty()
                && parts.iter().all(is_base64)
        }
        _ => false,
    }
}

/// Words that make the name of a variable that of a secret.
const SECRET_WORDS: [&str; 9] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "PWD",
];
/// The same, where other words stand before them without a sign in between: `MYAPIKEY`.
const SECRET_ENDS: [&str; 5] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY"];
/// The same, of two words.
const SECRET_PAIRS: [(&str, &str); 5] = [
    ("API", "KEY"),
    ("PRIVATE", "KEY"),
    ("ACCESS", "KEY"),
    ("ENCRYPTION", "KEY"),
    ("SIGNING", "KEY"),
];
/// Last words that make it the name of something about a secret.
const ABOUT_WORDS: [&str; 13] = [
    "FILE",
    "PATH",
    "DIR",
    "URL",
    "URI",
    "TTL",
    "EXPIRY",
    "LENGTH",
    "NAME",
    "ALGORITHM",
    "TYPE",
    "EXPIRATION",
    "ENABLED",
];
/// Words that, with a number for the value, make it the name of a rule about secrets:
/// `PASSWORD_MIN_LENGTH=12`, `ACCESS_TOKEN_EXPIRE_MINUTES=30`.
const QUANTITY_WORDS: [&str; 46] = [
    "AGE",
    "ATTEMPTS",
    "BONUS",
    "BUDGET",
    "CACHE",
    "CHARACTERS",
    "CHARS",
    "COST",
    "COUNT",
    "DAYS",
    "DURATION",
    "EXPIRATION",
    "EXPIRE",
    "EXPIRES",
    "EXPIRY",
    "HISTORY",
    "HOURS",
    "INTERVAL",
    "ITERATIONS",
    "LENGTH",
    "LIFETIME",
    "LIMIT",
    "MAX",
    "MIN",
    "MINIMUM",
    "MINUTES",
    "MS",
    "POLICY",
    "PORT",
    "QUOTA",
    "RATE",
    "REQUIREMENTS",
    "RETENTION",
    "RETRIES",
    "ROTATION",
    "ROUNDS",
    "SECONDS",
    "SECS",
    "SIZE",
    "STRENGTH",
    "TIMEOUT",
    "TOKENS",
    "TTL",
    "USAGE",
    "VALIDITY",
    "WORKERS",
];
/// Values that are a choice and no secret.
const CHOICES: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "0", "1"];

/// Is it a bare number, with a unit of time or size if any?
fn is_quantity(value: &str) -> bool {
    const UNITS: [&str; 10] = ["", "%", "b", "d", "h", "k", "m", "mb", "ms", "s"];
    let value = value.trim().to_ascii_lowercase();
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    number.starts_with(|c: char| c.is_ascii_digit()) && UNITS.contains(&unit)
}

/// Whether a variable holds a secret, as far as its name and the form of its value tell.
pub(super) fn holds_secret(name: &str, value: &str) -> bool {
    if is_no_secret(value) {
        return false;
    }
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(['_', '-', '.']).collect();
    let is_secret = |word: &str| {
        SECRET_WORDS.contains(&word) || SECRET_ENDS.iter().any(|end| word.ends_with(end))
    };
    // A rule about secrets ends with another word: `PASSWORD_MIN`, but not `MIN_PASSWORD`.
    let is_last = words.last().is_some_and(|last| is_secret(last));
    let is_rule = !is_last && words.iter().any(|word| QUANTITY_WORDS.contains(word));
    let is_about = words.last().is_some_and(|last| ABOUT_WORDS.contains(last))
        || is_rule && is_quantity(value);
    let is_pair = words.windows(2).any(|pair| SECRET_PAIRS.contains(&(pair[0], pair[1])));
    // `PWD` alone is the folder that a shell is in.
    // Of several it is as true as of one: `AUTH_TOKENS`.
    let is_one = |word: &str| is_secret(word.strip_suffix('S').unwrap_or(word));
    let is_word = words.iter().any(|word| is_secret(word) || is_one(word));
    let is_word = is_word && upper != "PWD";
    !is_about && (is_pair || is_word) || shows_secret(value) || ends_as_secret(name, value)
}

/// Whether a value is a secret by its form alone: a token, a key, an address with a password.
pub(super) fn shows_secret(value: &str) -> bool {
    has_password(value) || is_token(value)
}

/// Whether a value is an address with a password: `scheme://user:password@host`.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}
