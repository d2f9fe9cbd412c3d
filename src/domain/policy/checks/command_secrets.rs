//! Finds secrets in commands: what a container starts, and what its health check does. Owns which words
//! of a command are followed by a secret. Face: `COMMAND_SECRETS`. Never shows a value.

use super::secrets::{holds_secret, shows_secret};
use super::{Check, CheckId, Parameters, Subject, Verdict, fail};
use crate::domain::alerts::Severity;
use crate::facts::HealthProbe;

pub(super) const COMMAND_SECRETS: Check = Check {
    id: CheckId::CommandSecrets,
    title: "No secret is in a command",
    severity: Severity::Medium,
    rationale: "Everybody on the host reads the words of a command in its list of processes, and \
                whoever may look at the container reads them too, wherever the value came from.",
    remediation: "let the program read it from a file of `secrets:`, or from its environment",
    cis: &[],
    judge: command_secrets,
    remedy: None,
};

fn command_secrets(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let spec = subject.spec;
    let probe = match spec.healthcheck.as_ref().map(|check| &check.probe) {
        Some(HealthProbe::Exec(words)) => words.as_slice(),
        Some(HealthProbe::Shell(line)) => std::slice::from_ref(line),
        Some(HealthProbe::Disabled | HealthProbe::Inherit) | None => &[],
    };
    let main = [("entrypoint", &spec.entrypoint), ("command", &spec.command)];
    let main = main.map(|(key, words)| (key, words.as_deref().unwrap_or_default()));
    // The program of the command may be named by the entry point.
    let mut program = None;
    for (key, words) in main.into_iter().chain([("healthcheck", probe)]) {
        let words: Vec<String> = words.iter().flat_map(|word| apart(word)).collect();
        for (at, word) in words.iter().enumerate() {
            program = known_program(word).or(program);
            let next = words.get(at + 1).map(String::as_str);
            if let Some(name) = of_secret(word, next, program) {
                let message = format!("`{name}` in it has what looks like a secret");
                return fail(message, &[key]);
            }
        }
    }
    Verdict::Pass
}

/// A word, or the words of a line for a shell as far as spaces, quotes and signs tell them apart.
fn apart(word: &str) -> Vec<String> {
    if !word.contains(char::is_whitespace) {
        return vec![word.to_owned()];
    }
    let (mut words, mut part, mut quote) = (Vec::new(), String::new(), None);
    for letter in word.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, ';' | '&' | '|' | '(' | ')') => words.push(std::mem::take(&mut part)),
            (None, _) if letter.is_whitespace() => words.push(std::mem::take(&mut part)),
            _ => part.push(letter),
        }
    }
    words.push(part);
    words.retain(|word| !word.is_empty());
    words
}

/// Names of options that only as such are those of secrets.
const OPTIONS: [&str; 4] = ["masterauth", "pass", "primaryauth", "requirepass"];

/// Options of programs that a password follows.
const OPTIONS_OF: [(&str, &[&str]); 7] = [
    ("keydb-cli", &["-a"]),
    ("mongo", &["-p"]),
    ("mongodump", &["-p"]),
    ("mongosh", &["-p"]),
    ("redis-cli", &["-a"]),
    ("sshpass", &["-p"]),
    ("valkey-cli", &["-a"]),
];

/// The program that a word names, when its options are known: `mysql` stands for its whole family.
fn known_program(word: &str) -> Option<&'static str> {
    let name = word.rsplit('/').next().unwrap_or_default();
    if name.starts_with("mysql") || name.starts_with("mariadb") {
        return Some("mysql");
    }
    OPTIONS_OF.iter().map(|(program, _)| *program).find(|program| *program == name)
}

/// What a secret in this word, or in the next one, is called. What a shell puts in when it runs is not
/// in the command.
fn of_secret<'a>(word: &'a str, next: Option<&str>, program: Option<&str>) -> Option<&'a str> {
    let is_literal = |value: &str| !value.contains(['$', '`']);
    if let Some((name, value)) = word.split_once('=') {
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        return (is_name && is_literal(value) && names(name, value)).then_some(name);
    }
    if !word.starts_with('-') {
        return (is_literal(word) && shows_secret(word)).then_some("it");
    }
    let value = next.filter(|value| !value.starts_with('-') && is_literal(value));
    let is_of_program = program.is_some_and(|program| {
        OPTIONS_OF.iter().any(|(name, options)| *name == program && options.contains(&word))
    });
    if value.is_some_and(|value| is_of_program || names(word, value)) {
        return Some(word);
    }
    // `-pPASSWORD`: these programs take it without a space, and ask for it when nothing follows.
    let is_glued = program == Some("mysql") && word.len() > "-p".len();
    (is_glued && word.starts_with("-p") && is_literal(word)).then_some("-p")
}

fn names(name: &str, value: &str) -> bool {
    let name = name.trim_start_matches('-');
    holds_secret(name, value) || OPTIONS.contains(&name) && holds_secret("password", value)
}
