//! Reads and prints durations and sizes as Docker's tools write them. Owns Go's duration syntax and
//! the 1024-based size suffixes. Face: `parse_duration`, `format_duration`, `parse_bytes`.
//! Never rounds silently: what does not fit is refused.

use std::time::Duration;

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    /// Not `<number><unit>…`.
    #[error("{0:?} is not a duration, such as `90s`, `1m30s` or `500ms`")]
    NotDuration(String),
    /// Not `<number>[b|k|m|g|t|p]`.
    #[error("{0:?} is not a size, such as `512m` or `1.5gb`")]
    NotSize(String),
    /// Larger than can be represented.
    #[error("{0:?} is too large")]
    TooLarge(String),
}

const DURATION_UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Go's duration syntax (`1h2m3.5s`), with days as Compose has them; a bare `0` is zero.
///
/// # Errors
/// When the text has another form, is negative, or exceeds 292 years, Go's own limit.
pub fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
    let not = || ParseUnitError::NotDuration(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(not());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(not)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let scale = DURATION_UNITS
            .iter()
            .find_map(|(name, scale)| (*name == unit).then_some(*scale))
            .ok_or_else(not)?;
        let part = scaled(number, scale).ok_or_else(not)?;
        nanos = nanos.saturating_add(part);
        rest = next;
    }
    match i64::try_from(nanos) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Err(_) => Err(ParseUnitError::TooLarge(text.to_owned())),
    }
}

/// Digits after the point that can matter: a nanosecond is the 14th of a day.
const FRACTION_DIGITS_MAX: usize = 18;

/// `number` (digits with at most one point) times `scale`, the fraction cut to whole units.
fn scaled(number: &str, scale: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let kept = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let numerator: u128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let part = numerator * u128::from(scale) / 10_u128.pow(kept.len() as u32);
    let total = whole.checked_mul(u128::from(scale))?.checked_add(part)?;
    Some(total)
}

/// The text that Go prints for a duration: `1m30s`, `1.5s`, `250ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fraction = |scale: u128, unit: &str| {
        let text = format!("{}.{:0width$}", nanos / scale, nanos % scale, width = digits(scale));
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => return fraction(1_000, "µs"),
        1_000_000..1_000_000_000 => return fraction(1_000_000, "ms"),
        _ => {}
    }
    let minutes = duration.as_secs() / 60;
    let within = Duration::new(duration.as_secs() % 60, duration.subsec_nanos());
    let seconds = format!("{}.{:09}", within.as_secs(), within.subsec_nanos());
    let seconds = format!("{}s", seconds.trim_end_matches('0').trim_end_matches('.'));
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

fn digits(scale: u128) -> usize {
    scale.ilog10() as usize
}

/// A size as Docker reads it: `64`, `512k`, `1.5g`, `10mb`, `1 GiB`; every suffix is a power of
/// 1024.
///
/// # Errors
/// When the text has another form, or exceeds 2^63.
pub fn parse_bytes(text: &str) -> Result<u64, ParseUnitError> {
    let not = || ParseUnitError::NotSize(text.to_owned());
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let suffix = suffix.strip_prefix(' ').unwrap_or(suffix).to_ascii_lowercase();
    let power = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(not()),
    };
    let bytes = scaled(number, 1_u64 << (10 * power)).ok_or_else(not)?;
    match i64::try_from(bytes) {
        Ok(bytes) => Ok(bytes.unsigned_abs()),
        Err(_) => Err(ParseUnitError::TooLarge(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_go_does() {
        let check = |text: &str, expect: Option<&str>| {
            let printed = parse_duration(text).ok().map(format_duration);
            assert_eq!(printed.as_deref(), expect, "{text}");
        };
        check("90s", Some("1m30s"));
        check("1h", Some("1h0m0s"));
        check("1.5s", Some("1.5s"));
        check("1m30.25s", Some("1m30.25s"));
        check("250ms", Some("250ms"));
        check("1500us", Some("1.5ms"));
        check("2500ns", Some("2.5µs"));
        check("0", Some("0s"));
        check("2d", Some("48h0m0s"));
        check("", None);
        check("10", None);
        check("s", None);
        check(".s", None);
        check("1.2.3s", None);
        check("-1s", None);
        check("99999999999h", None);
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(parse_bytes(text).ok(), expect, "{text}");
        };
        check("64", Some(64));
        check("64b", Some(64));
        check("512k", Some(512 << 10));
        check("50M", Some(50 << 20));
        check("1.5gb", Some(3 << 29));
        check("1 GiB", Some(1 << 30));
        check("", None);
        check("m", None);
        check("1x", None);
        check("-1", None);
        check("99999999p", None);
    }
}
