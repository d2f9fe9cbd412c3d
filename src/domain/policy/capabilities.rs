//! Knows the capabilities of the kernel. Owns which of them the engine gives by itself, which give
//! the host away, and how additions and drops combine. Face: `effective`, `plain`. Never asks the
//! kernel.

use std::collections::BTreeSet;

use crate::facts::Security;

/// Stands for every capability.
pub(super) const ALL: &str = "ALL";

/// What the engine gives to a container that says nothing.
pub(super) const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What leads from a container to root on the host, or out of its walls, by well-known ways.
pub(super) const DANGEROUS: [&str; 17] = [
    "AUDIT_CONTROL",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
];

/// The rest of what a kernel knows.
const OTHERS: [&str; 10] = [
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "NET_BROADCAST",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// One spelling: upper case, without `CAP_`.
pub(super) fn plain(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

/// What a container that is not privileged can do, by the engine's rule: with `ALL` added, all but
/// what is dropped (`ALL` among the drops takes nothing away then); with `ALL` dropped, what is
/// added; else the default without the drops, and with the additions, which win.
pub(super) fn effective(security: &Security) -> BTreeSet<String> {
    let names = |names: &BTreeSet<String>| names.iter().map(|name| plain(name)).collect();
    let (added, dropped): (BTreeSet<String>, BTreeSet<String>) =
        (names(&security.cap_add), names(&security.cap_drop));
    if added.contains(ALL) {
        let all = DEFAULT.iter().chain(&DANGEROUS).chain(&OTHERS);
        return all.map(|name| (*name).to_owned()).filter(|cap| !dropped.contains(cap)).collect();
    }
    if dropped.contains(ALL) {
        return added;
    }
    let default = DEFAULT.iter().map(|name| (*name).to_owned());
    default.filter(|cap| !dropped.contains(cap)).chain(added.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(add: &[&str], drop: &[&str], has: &[&str], has_not: &[&str]) {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security =
            Security { cap_add: texts(add), cap_drop: texts(drop), ..Security::default() };
        let found = effective(&security);
        for name in has {
            assert!(found.contains(*name), "{add:?} {drop:?}: {name} in {found:?}");
        }
        for name in has_not {
            assert!(!found.contains(*name), "{add:?} {drop:?}: {name} not in {found:?}");
        }
    }

    #[test]
    fn additions_and_drops_combine_as_in_the_engine() {
        check(&[], &[], &DEFAULT, &["SYS_ADMIN"]);
        check(&["cap_sys_admin"], &[], &["SYS_ADMIN", "CHOWN"], &["SYS_MODULE"]);
        check(&[], &["ALL"], &[], &["CHOWN"]);
        check(&["CHOWN"], &["all"], &["CHOWN"], &["KILL"]);
        check(&["ALL"], &["ALL"], &["SYS_ADMIN", "CHOWN"], &[]);
        check(&["CAP_ALL"], &["SYS_ADMIN"], &["SYS_MODULE"], &["SYS_ADMIN"]);
        check(&["SYS_ADMIN"], &["SYS_ADMIN"], &["SYS_ADMIN"], &[]);
    }

    #[test]
    fn every_capability_is_listed_once() {
        let all: Vec<_> = DEFAULT.iter().chain(&DANGEROUS).chain(&OTHERS).collect();
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (41, 41));
    }
}
