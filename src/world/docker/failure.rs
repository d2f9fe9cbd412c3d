//! Translates what the client library or the engine said into an `EngineError`. Owns the rules by
//! status and by message. Face: `translate`, `absent`, `by_message`. Never lets a message of several lines
//! through.

use bollard::errors::Error;

use super::{EngineError, EngineErrorKind as Kind};
use crate::base::limits::MESSAGE_CHARS_MAX;

/// The error of a call that failed in the library or at the engine.
pub(super) fn translate(attempt: &str, error: &Error) -> EngineError {
    let (kind, message) = match error {
        Error::DockerResponseServerError { status_code, message } => {
            (by_status(*status_code, message), message.clone())
        }
        Error::DockerStreamError { error } => {
            (by_message(error).unwrap_or(Kind::Internal), error.clone())
        }
        Error::RequestTimeoutError => (Kind::TimedOut, "no answer in time".to_owned()),
        Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::SocketNotFoundError(_) => (Kind::Unreachable, root_cause(error)),
        Error::HttpClientError { .. }
        | Error::URLEncodedError { .. }
        | Error::URLParseError { .. }
        | Error::InvalidURIError { .. }
        | Error::InvalidURIPartsError { .. } => (Kind::Invalid, root_cause(error)),
        other => (Kind::Internal, root_cause(other)),
    };
    EngineError::new(kind, attempt, one_line(&message))
}

/// The library wraps errors in errors that repeat them; the innermost says it once.
fn root_cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// `None` in place of "there is none".
pub(super) fn absent<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn by_status(status: u16, message: &str) -> Kind {
    by_message(message).unwrap_or(match status {
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        400..=499 | 501 => Kind::Invalid,
        _ => Kind::Internal,
    })
}

/// The kinds that the engine's words show better than its status: it answers 500 to a port in
/// use, 403 to a network in use, and whatever it likes to a full disk.
pub(super) fn by_message(message: &str) -> Option<Kind> {
    let said = message.to_ascii_lowercase();
    let says = |words: &str| said.contains(words);
    if says("no space left on device") || says("disk quota exceeded") {
        Some(Kind::DiskFull)
    } else if says("port is already allocated") || (says("address already in use") && says("bind"))
    {
        Some(Kind::PortInUse)
    } else if says("address already in use")
        || says("has active endpoints")
        || says("already exists in network")
        || says("is not connected to")
        || says("pool overlaps")
        || says("is ambiguous")
    {
        Some(Kind::Conflict)
    } else if says("could not select device driver") {
        Some(Kind::NoDevice)
    } else if says("invalid reference format") || says("invalid argument") {
        Some(Kind::Invalid)
    } else {
        None
    }
}

/// Does a pull or the first line of a build complain that an image cannot be had?
pub(super) fn is_about_missing_image(message: &str) -> bool {
    const COMPLAINTS: [&str; 9] = [
        "no such image",
        "pull access denied",
        "manifest unknown",
        "not found: manifest",
        "failed to resolve reference",
        "dial tcp",
        "request canceled while waiting for connection",
        "no matching manifest",
        "unauthorized",
    ];
    let said = message.to_ascii_lowercase();
    COMPLAINTS.iter().any(|complaint| said.contains(complaint))
        || (said.contains("manifest for") && said.contains("not found"))
}

/// The words on one line, without control characters, cut at the limit.
pub(super) fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, message: &str, expect: Kind) {
        let error =
            Error::DockerResponseServerError { status_code: status, message: message.to_owned() };
        assert_eq!(translate("try", &error).kind, expect, "{status} {message}");
    }

    #[test]
    fn words_of_the_engine_decide_before_its_status() {
        check(404, "No such container: x", Kind::NotFound);
        check(409, "Conflict. The container name \"/x\" is already in use", Kind::Conflict);
        check(400, "invalid mount config", Kind::Invalid);
        check(500, "something broke", Kind::Internal);
        check(500, "Bind for 0.0.0.0:80 failed: port is already allocated", Kind::PortInUse);
        check(500, "listen tcp4 0.0.0.0:80: bind: address already in use", Kind::PortInUse);
        check(500, "failed to bind host port 0.0.0.0:80/tcp: address already in use", {
            Kind::PortInUse
        });
        check(403, "Address already in use", Kind::Conflict);
        check(403, "network x id 1 has active endpoints", Kind::Conflict);
        check(500, "container 1 is not connected to network x", Kind::Conflict);
        check(400, "network x is ambiguous (2 matches found on name)", Kind::Conflict);
        check(403, "Pool overlaps with other one on this address space", Kind::Conflict);
        check(500, "write /var/lib: no space left on device", Kind::DiskFull);
        check(
            500,
            "could not select device driver \"\" with capabilities: [[gpu]]",
            Kind::NoDevice,
        );
    }

    #[test]
    fn message_is_one_clean_line() {
        assert_eq!(one_line("a\n\tb\u{7}  c\r\n"), "a b c");
    }
}
