//! Computes how severe a vulnerability is. Owns the base score of CVSS 3.0 and 3.1 (specification 3.1,
//! section 7.1), and what a score is called. Face: `base_score`. Never guesses a metric that is missing.

use super::cvss4;
use crate::domain::alerts::Severity;

/// The base score, in tenths, of a vector of version 3 or 4, such as
/// `CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H`.
pub fn base_score(vector: &str) -> Option<u32> {
    if let Some(metrics) = vector.strip_prefix("CVSS:4.0/") {
        return cvss4::base_score(metrics);
    }
    let rest = vector.strip_prefix("CVSS:3.1/").or(vector.strip_prefix("CVSS:3.0/"))?;
    let metric =
        |name: &str| rest.split('/').find_map(|part| part.strip_prefix(name)?.strip_prefix(':'));
    let is_changed = match metric("S")? {
        "C" => true,
        "U" => false,
        _ => return None,
    };
    let vector = match metric("AV")? {
        "N" => 0.85,
        "A" => 0.62,
        "L" => 0.55,
        "P" => 0.2,
        _ => return None,
    };
    let complexity = match metric("AC")? {
        "L" => 0.77,
        "H" => 0.44,
        _ => return None,
    };
    let privileges = match (metric("PR")?, is_changed) {
        ("N", _) => 0.85,
        ("L", false) => 0.62,
        ("L", true) => 0.68,
        ("H", false) => 0.27,
        ("H", true) => 0.5,
        _ => return None,
    };
    let interaction = match metric("UI")? {
        "N" => 0.85,
        "R" => 0.62,
        _ => return None,
    };
    let impact = |name: &str| match metric(name)? {
        "H" => Some(0.56),
        "L" => Some(0.22),
        "N" => Some(0.0),
        _ => None,
    };
    let kept: f64 = (1.0 - impact("C")?) * (1.0 - impact("I")?) * (1.0 - impact("A")?);
    let base = 1.0 - kept;
    let impact = match is_changed {
        false => 6.42 * base,
        true => 7.52 * (base - 0.029) - 3.25 * (base - 0.02).powi(15),
    };
    if impact <= 0.0 {
        return Some(0);
    }
    let exploitability = 8.22 * vector * complexity * privileges * interaction;
    let sum = if is_changed { 1.08 * (impact + exploitability) } else { impact + exploitability };
    Some(rounded_up(sum.min(10.0)))
}

/// Rounded up to a tenth as the specification says (Appendix A): without errors of binary fractions.
fn rounded_up(score: f64) -> u32 {
    // At most 1,000,000, and not negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,000,000")]
    let exact = (score * 100_000.0).round() as u32;
    exact.div_ceil(10_000)
}

/// The rating of a score, in tenths (section 5).
pub(super) fn severity_of_score(tenths: u32) -> Severity {
    match tenths {
        0 => Severity::Info,
        1..=39 => Severity::Low,
        40..=69 => Severity::Medium,
        70..=89 => Severity::High,
        _ => Severity::Critical,
    }
}
