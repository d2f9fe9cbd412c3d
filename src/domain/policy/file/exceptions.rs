//! Reads who is excepted from a policy. Owns what an exception has to say. Face: `read`. Never takes
//! one that ends nowhere, or that somebody allowed themselves.

use super::read::{bounded, patterns, selector, short};
use super::{CODE, Exception};
use crate::base::limits::POLICY_EXCEPTIONS_MAX;
use crate::base::suggest::did_you_mean;
use crate::base::yaml::{Fields, Node};
use crate::base::{Diagnostic, Timestamp};

const EXCEPTION: &[&str] =
    &["rules", "match", "owner", "requester", "approver", "reason", "expires"];

/// The exceptions of a policy with these rules.
pub(super) fn read(
    top: &mut Fields<'_>,
    rules: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Vec<Exception> {
    let mut exceptions = Vec::new();
    for node in bounded(top, "exceptions", POLICY_EXCEPTIONS_MAX) {
        let mut fields = Fields::of(node, CODE, EXCEPTION);
        for key in ["rules", "match", "owner", "approver", "reason", "expires"] {
            fields.required(key);
        }
        let mut count = 0;
        let for_rules = fields.node("rules");
        let for_rules = for_rules.map(|it| patterns(it, &mut count, problems)).unwrap_or_default();
        if let Some(node) = fields.node("rules") {
            for pattern in &for_rules {
                if !rules.is_empty() && !rules.iter().any(|rule| pattern.matches(rule)) {
                    let known: Vec<&str> = rules.iter().map(String::as_str).collect();
                    let message = format!("this policy has no rule `{}`", pattern.as_str());
                    let help = did_you_mean(pattern.as_str(), &known);
                    problems.push(node.problem(CODE, message).help(help));
                }
            }
        }
        let matches = fields.node("match").map(|node| {
            let selector = selector(node, problems);
            if selector.is_empty() {
                let problem = node.problem(CODE, "an exception for everything is no exception");
                problems.push(problem.help("leave the check out, or set its action to `off`"));
            }
            selector
        });
        let owner = short(&mut fields, "owner");
        let requester = short(&mut fields, "requester");
        let approver = short(&mut fields, "approver");
        let reason = short(&mut fields, "reason");
        if let (Some(approver), Some(node)) = (&approver, fields.node("approver")) {
            let same = |other: &Option<String>| {
                other.as_ref().is_some_and(|it| it.trim().eq_ignore_ascii_case(approver.trim()))
            };
            if same(&owner) || same(&requester) {
                let message = format!("`{approver}` cannot allow an exception of their own");
                let problem = node.problem(CODE, message);
                problems.push(problem.help("somebody else has to approve it"));
            }
        }
        let expires_at = fields.node("expires").and_then(|node| moment(node, true, problems));
        problems.extend(fields.into_problems());
        let (Some(matches), Some(owner), Some(approver), Some(reason), Some(expires_at)) =
            (matches, owner, approver, reason, expires_at)
        else {
            continue;
        };
        let place = node.mark.location();
        let rules = for_rules;
        exceptions.push(Exception {
            rules,
            matches,
            owner,
            requester,
            approver,
            reason,
            expires_at,
            place,
        });
    }
    exceptions
}

/// A moment: `2027-01-31`, which is its beginning or its end in UTC, or `2027-01-31T12:00:00Z`.
pub(super) fn moment(
    node: &Node,
    is_end: bool,
    problems: &mut Vec<Diagnostic>,
) -> Option<Timestamp> {
    let text = node.as_scalar().map(|scalar| scalar.text.trim()).unwrap_or_default();
    let day = || {
        let date: jiff::civil::Date = text.parse().ok()?;
        let date = if is_end { date.tomorrow().ok()? } else { date };
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let is_day = text.len() == "2027-01-31".len();
    let moment = if is_day { day() } else { text.parse().ok() };
    if moment.is_none() {
        let problem = node.problem(CODE, format!("`{text}` is no date"));
        problems.push(problem.help("write `2027-01-31`, or `2027-01-31T12:00:00Z`"));
    }
    moment
}
