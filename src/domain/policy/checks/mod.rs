//! The checks that are built in, by what they are about. Owns their order. Face: `CHECKS`,
//! `HOST_CHECKS`. Never decides what is done about what they find.

mod capabilities;
mod command_secrets;
mod compose_rules;
mod confinement;
mod devices;
mod host_daemon;
mod host_files;
mod image;
mod logs;
mod mounts;
mod namespaces;
pub(super) mod network;
mod processes;
mod resources;
mod secrets;
mod shares;

use super::{Check, CheckId, HostCheck, Parameters, Subject, Verdict};
use crate::facts::ServiceSpec;

pub use host_files::looked_at;

/// Every check of services and containers, in the order of their ids.
pub const CHECKS: &[Check] = &joined::<Check, 50>(&[
    &compose_rules::CHECKS,
    &[confinement::PRIVILEGED],
    &capabilities::CHECKS,
    &confinement::CHECKS,
    &devices::CHECKS,
    &namespaces::CHECKS,
    &mounts::CHECKS,
    &network::CHECKS,
    &resources::CHECKS,
    &logs::CHECKS,
    &[processes::SSH_SERVER, secrets::ENVIRONMENT_SECRETS, command_secrets::COMMAND_SECRETS],
    &image::CHECKS,
]);

/// Every check of hosts, in the order of their ids.
pub const HOST_CHECKS: &[HostCheck] =
    &joined::<HostCheck, 30>(&[&host_daemon::CHECKS, &host_files::CHECKS]);

/// Groups one after the other. With another number of them it does not compile.
const fn joined<T: Copy, const N: usize>(groups: &[&[T]]) -> [T; N] {
    let mut all = [groups[0][0]; N];
    let (mut count, mut group) = (0, 0);
    while group < groups.len() {
        let mut index = 0;
        while index < groups[group].len() {
            all[count] = groups[group][index];
            count += 1;
            index += 1;
        }
        group += 1;
    }
    assert!(count == N, "the number of checks");
    all
}

/// A failure with the keys that lead to it.
fn fail(message: impl Into<String>, at: &[&str]) -> Verdict {
    let at = at.iter().map(|key| (*key).to_owned()).collect();
    Verdict::Fail { message: message.into(), at }
}

fn is_failure(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail { .. })
}

/// What is missing; several needs of one name are one.
fn unknown(mut needs: Vec<&'static str>) -> Verdict {
    needs.sort_unstable();
    needs.dedup();
    Verdict::Unknown { needs }
}

/// Passes when nothing is missing.
fn pass_unless(needs: Vec<&'static str>) -> Verdict {
    if needs.is_empty() { Verdict::Pass } else { unknown(needs) }
}

/// Names in a sentence: `` `a`, `b` ``.
fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Another service or container by a name that refers to it.
fn peer<'a>(subject: &Subject<'a>, name: &str) -> Option<&'a ServiceSpec> {
    let found = subject.peers?.iter().find(|(own, _)| *own == name);
    found.map(|(_, spec)| *spec)
}
