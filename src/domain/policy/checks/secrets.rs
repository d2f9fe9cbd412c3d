//! Tells what in an environment is a secret. Owns the names and the forms of values that say so. Face:
//! `holds_secret`. Never shows a value.

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
/// Values that are a choice and no secret.
const CHOICES: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "0", "1"];

/// Whether a variable holds a secret, as far as its name and the form of its value tell.
pub(super) fn holds_secret(name: &str, value: &str) -> bool {
    let choice = value.to_ascii_lowercase();
    if value.is_empty() || value.starts_with('/') || CHOICES.contains(&choice.as_str()) {
        return false;
    }
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(['_', '-', '.']).collect();
    let is_about = words.last().is_some_and(|last| ABOUT_WORDS.contains(last));
    let is_pair = words.windows(2).any(|pair| SECRET_PAIRS.contains(&(pair[0], pair[1])));
    // `PWD` alone is the folder that a shell is in.
    let is_word = words.iter().any(|w| SECRET_WORDS.contains(w) || w.ends_with("PASSWORD"));
    let is_word = is_word && upper != "PWD";
    !is_about && (is_pair || is_word) || has_password(value)
}

/// Whether a value is an address with a password: `scheme://user:password@host`.
pub(super) fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

