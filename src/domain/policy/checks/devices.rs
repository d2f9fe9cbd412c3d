//! Checks of devices of the host. Owns which of them give the host away, by every name that one has.
//! Face: `CHECKS`. Never looks at a device: its name tells, and where its links lead when the host is
//! known.

use super::shares::{Source, mounted};
use super::{Check, CheckId, Parameters, Subject, Verdict, fail, quoted};
use crate::domain::alerts::Severity;
use crate::domain::policy::capabilities::effective;
use crate::domain::policy::paths::{is_within, resolved};
use crate::domain::policy::{Remedy, SpecChange};
use crate::facts::{DeviceMapping, Security};

pub(super) const CHECKS: [Check; 2] = [
    Check {
        id: CheckId::Devices,
        title: "No device of the host is passed on",
        severity: Severity::High,
        rationale: "Whoever has a disk's device reads and writes the disk past all permissions; \
                    other devices lead to the host's memory or people.",
        remediation: "remove it from `devices`, or allow it with `devices_allowed`",
        cis: &["5.18"],
        judge: devices,
        remedy: Some(remove_devices),
    },
    Check {
        id: CheckId::DevicesDangerous,
        title: "No disk, memory or kernel log of the host is passed on",
        severity: Severity::Critical,
        rationale: "Whoever has the device of a disk reads and writes every file on it past all \
                    permissions, and whoever has that of the memory reads what any process keeps: \
                    both are the host itself.",
        remediation: "remove it from `devices`; mount the folder that is needed as a volume",
        cis: &["5.18"],
        judge: devices_dangerous,
        remedy: Some(remove_dangerous_devices),
    },
];

/// Devices that every container has anyway.
const OWN_DEVICES: [&str; 6] =
    ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

fn foreign_devices<'a>(subject: &Subject<'a>, parameters: &Parameters) -> Vec<&'a DeviceMapping> {
    let is_foreign = |device: &&DeviceMapping| {
        if !device.source.starts_with('/') {
            return !parameters.devices_allowed.contains(&device.source);
        }
        let path = resolved(&device.source, subject.host);
        let is_allowed = |allowed: &String| is_within(&path, allowed.trim_end_matches('/'));
        !OWN_DEVICES.contains(&path.as_str()) && !parameters.devices_allowed.iter().any(is_allowed)
    };
    subject.spec.security.devices.iter().filter(is_foreign).collect()
}

fn rules<'a>(subject: &Subject<'a>) -> impl Iterator<Item = &'a String> {
    subject.spec.security.device_cgroup_rules.iter()
}

fn devices(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let found = foreign_devices(subject, parameters);
    if !found.is_empty() {
        return fail(of_the_host(&found), &["devices"]);
    }
    match rules(subject).next() {
        Some(rule) => {
            fail(format!("it may use devices by the rule `{rule}`"), &["device_cgroup_rules"])
        }
        None => Verdict::Pass,
    }
}

fn of_the_host(devices: &[&DeviceMapping]) -> String {
    format!("it has {} of the host", quoted(devices.iter().map(|device| device.source.as_str())))
}

fn remove_devices(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    remove(foreign_devices(subject, parameters), rules(subject))
}

fn remove<'a>(
    devices: Vec<&DeviceMapping>,
    rules: impl Iterator<Item = &'a String>,
) -> Option<Remedy> {
    let devices = devices.into_iter().map(|it| SpecChange::RemoveDevice(it.source.clone()));
    let rules = rules.map(|rule| SpecChange::RemoveDeviceRule(rule.clone()));
    let changes: Vec<SpecChange> = devices.chain(rules).collect();
    (!changes.is_empty()).then_some(Remedy::Recreate(changes))
}

fn devices_dangerous(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let found = dangerous_devices(subject, parameters);
    if !found.is_empty() {
        return fail(of_the_host(&found), &["devices"]);
    }
    match dangerous_rules(subject).next() {
        Some(rule) => {
            let message = format!("it may make itself devices of disks or memory by `{rule}`");
            fail(message, &["device_cgroup_rules"])
        }
        None => Verdict::Pass,
    }
}

fn remove_dangerous_devices(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    remove(dangerous_devices(subject, parameters), dangerous_rules(subject))
}

/// Whoever may only make the node of a device, and neither read nor write it, has nothing of it.
fn dangerous_devices<'a>(subject: &Subject<'a>, parameters: &Parameters) -> Vec<&'a DeviceMapping> {
    let has_memory = reaches_memory(&subject.spec.security);
    let is_dangerous = |device: &&DeviceMapping| {
        let path = resolved(&device.source, subject.host);
        opens(&device.permissions) && is_dangerous_path(&path, has_memory)
    };
    foreign_devices(subject, parameters).into_iter().filter(is_dangerous).collect()
}

/// Memory and ports of the host are opened by nobody without this capability, whoever has the device.
fn reaches_memory(security: &Security) -> bool {
    security.privileged || effective(security).contains("SYS_RAWIO")
}

fn opens(permissions: &str) -> bool {
    permissions.contains(['r', 'w'])
}

/// A rule is of use to whoever has the device's node among its files, or can make it, which needs a
/// capability that every container has unless it is dropped.
fn dangerous_rules<'a>(subject: &Subject<'a>) -> impl Iterator<Item = &'a String> {
    let security = &subject.spec.security;
    let can_make_nodes = security.privileged || effective(security).contains("MKNOD");
    let has_nodes = || {
        let (mounts, _) = mounted(subject);
        mounts.iter().any(|mount| {
            matches!(&mount.source, Source::Host { path, .. }
                if path == "/" || is_within(path, "/dev"))
        })
    };
    let has_use = can_make_nodes || has_nodes();
    let has_memory = reaches_memory(security);
    rules(subject).filter(move |rule| has_use && is_dangerous_rule(rule, has_memory))
}

/// Folders of links to disks. The engine follows a link, and passes on only the devices of a folder: to
/// name one of these folders gives nothing.
const DISK_FOLDERS: [&str; 6] =
    ["/dev/block", "/dev/disk", "/dev/mapper", "/dev/md", "/dev/raw", "/dev/zvol"];

/// Memory, and ports of input and output.
const MEMORY: [&str; 4] = ["/dev/kmem", "/dev/mem", "/dev/oldmem", "/dev/port"];

/// The kernel's log, and what commands pools or images of disks.
const OF_THE_KERNEL: [&str; 4] =
    ["/dev/btrfs-control", "/dev/kmsg", "/dev/loop-control", "/dev/zfs"];

/// The same by their numbers (`Documentation/admin-guide/devices.txt` of Linux), as `/dev/char` names
/// them and as rules of control groups do.
const NUMBERS_OF_MEMORY: [(u32, u32); 3] = [(1, 1), (1, 2), (1, 4)];
const NUMBERS_OF_THE_KERNEL: [(u32, u32); 3] = [(1, 11), (10, 234), (10, 237)];

/// What follows the beginning of a disk's name.
enum Follows {
    /// So many letters at most, and then only the number of a part.
    Letters(usize),
    /// A digit, and then anything.
    Digit,
    /// Anything, or nothing.
    Anything,
}

const DISKS: [(&str, Follows); 18] = [
    ("bcache", Follows::Digit),
    ("dasd", Follows::Letters(4)),
    ("dm-", Follows::Digit),
    ("drbd", Follows::Digit),
    ("hd", Follows::Letters(1)),
    ("loop", Follows::Digit),
    ("md", Follows::Digit),
    ("mmcblk", Follows::Digit),
    ("mtd", Follows::Anything),
    ("nbd", Follows::Digit),
    ("nvme", Follows::Digit),
    ("rbd", Follows::Anything),
    ("sd", Follows::Letters(3)),
    ("sg", Follows::Digit),
    ("ubi", Follows::Anything),
    ("vd", Follows::Letters(2)),
    ("xvd", Follows::Letters(2)),
    ("zd", Follows::Digit),
];

fn is_dangerous_path(path: &str, has_memory: bool) -> bool {
    // The engine passes on every device below a folder, and this one has all of them.
    if path == "/dev" || path == "/" || OF_THE_KERNEL.contains(&path) {
        return true;
    }
    if MEMORY.contains(&path) {
        return has_memory;
    }
    if DISK_FOLDERS.iter().any(|folder| path != *folder && is_within(path, folder)) {
        return true;
    }
    let Some(numbers) = path.strip_prefix("/dev/char/") else {
        return path.strip_prefix("/dev/").is_some_and(is_disk);
    };
    let numbers = numbers.split_once(':');
    let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.is_some_and(|numbers| dangerous_numbers(has_memory).any(|found| found == numbers))
}

fn dangerous_numbers(has_memory: bool) -> impl Iterator<Item = (u32, u32)> {
    let memory = NUMBERS_OF_MEMORY.into_iter().filter(move |_| has_memory);
    NUMBERS_OF_THE_KERNEL.into_iter().chain(memory)
}

/// Whether it is the name of a disk, or of a part of one.
fn is_disk(name: &str) -> bool {
    DISKS.iter().any(|(begins, follows)| {
        let Some(rest) = name.strip_prefix(begins) else { return false };
        match follows {
            Follows::Letters(most) => {
                let part = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
                let letters = rest.len() - part.len();
                (1..=*most).contains(&letters) && part.chars().all(|c| c.is_ascii_digit())
            }
            Follows::Digit => rest.starts_with(|c: char| c.is_ascii_digit()),
            Follows::Anything => true,
        }
    })
}

/// A rule of a control group, `TYPE MAJOR:MINOR ACCESS`: whether it lets disks, memory or the kernel's
/// log be read or written.
fn is_dangerous_rule(rule: &str, has_memory: bool) -> bool {
    let mut words = rule.split_ascii_whitespace();
    let (kind, numbers) = (words.next().unwrap_or_default(), words.next().unwrap_or("*:*"));
    let (major, minor) = numbers.split_once(':').unwrap_or((numbers, "*"));
    if !words.next().is_none_or(opens) {
        return false;
    }
    match kind {
        "a" | "b" => true,
        "c" => dangerous_numbers(has_memory).any(|(of_major, of_minor)| {
            let is = |word: &str, number: u32| word == "*" || word.parse() == Ok(number);
            is(major, of_major) && is(minor, of_minor)
        }),
        _ => false,
    }
}
