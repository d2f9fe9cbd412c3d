//! The checks that are built in, by what they are about. Owns their order. Face: `CHECKS`,
//! `HOST_CHECKS`. Never decides what is done about what they find.

mod compose_rules;
mod secrets;

use super::{Check, CheckId, HostCheck, Parameters, Subject, Verdict};

/// Every check of services and containers, in the order of their ids.
pub const CHECKS: &[Check] = &compose_rules::RULES;

/// Every check of hosts, in the order of their ids.
pub const HOST_CHECKS: &[HostCheck] = &[];

/// A failure with the keys that lead to it.
fn fail(message: impl Into<String>, at: &[&str]) -> Verdict {
    let at = at.iter().map(|key| (*key).to_owned()).collect();
    Verdict::Fail { message: message.into(), at }
}
