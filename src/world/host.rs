//! Tells what the machine says about itself. Owns the kernel's randomness, the boot id, the host
//! name, the user and disk space. Face: `SystemEntropy` and the functions. Never caches.

use std::io;
use std::path::Path;

use rustix::process::{Uid, geteuid};

use crate::base::Entropy;

/// The kernel's random numbers (getrandom(2)).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the place that asks for randomness")]
    #[expect(
        clippy::expect_used,
        reason = "without the kernel's randomness no id is unique and no nonce is safe: stop"
    )]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the kernel must give random bytes");
    }
}

/// The id of this boot of the machine: whoever wrote another one is dead.
///
/// # Errors
/// When the kernel does not tell it.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The id of the container that this process runs in; none outside of one, or where the kernel does
/// not tell.
pub fn own_container() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    container_of(&text)
}

/// The container whose files an engine mounts into it, such as `…/containers/ID/hostname`.
fn container_of(mountinfo: &str) -> Option<String> {
    let mut ids = mountinfo.lines().filter_map(|line| {
        let path = line.split(' ').nth(3)?.strip_suffix("/hostname")?;
        let (parents, id) = path.rsplit_once('/')?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (parents.ends_with("/containers") && is_id).then(|| id.to_owned())
    });
    ids.next_back()
}

/// The machine's name.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A user of the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsUser {
    /// The number.
    pub uid: u32,
    /// The name; the number as text when the machine has no name for it.
    pub name: String,
}

/// The user who runs this process.
pub fn os_user() -> OsUser {
    user_of(geteuid())
}

/// The user with a number.
pub fn user_by_uid(uid: u32) -> OsUser {
    user_of(Uid::from_raw(uid))
}

fn user_of(uid: Uid) -> OsUser {
    let uid = uid.as_raw();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name_in_passwd(&known, uid).map_or_else(|| uid.to_string(), str::to_owned);
    OsUser { uid, name }
}

/// The number of the user of this machine with a name.
pub fn uid_of(name: &str) -> Option<u32> {
    uid_in_passwd(&std::fs::read_to_string("/etc/passwd").unwrap_or_default(), name)
}

fn uid_in_passwd(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_theirs = fields.next()? == name;
        fields.nth(1)?.parse().ok().filter(|_| is_theirs)
    })
}

/// Finds a name in the text of passwd(5).
fn name_in_passwd(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (number.parse() == Ok(uid)).then_some(name)
    })
}

/// The space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that this process could still write.
    pub available_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
}

/// The space of the file system that holds `path`.
///
/// # Errors
/// When the path does not exist or cannot be reached.
pub fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(DiskSpace {
        available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_name_is_called_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1000::/:/bin/sh\n";
        assert_eq!(name_in_passwd(passwd, 1000), Some("app"));
        assert_eq!(name_in_passwd(passwd, 7), None);
        assert_eq!(
            (uid_in_passwd(passwd, "app"), uid_in_passwd(passwd, "kim")),
            (Some(1000), None)
        );
        assert_eq!(user_by_uid(4_000_000_000).name, "4000000000");
    }

    #[test]
    fn the_machine_answers() {
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(!hostname().is_empty());
        let space = disk_space(Path::new("/")).unwrap();
        assert!(space.available_bytes <= space.total_bytes);
        let mut bytes = [0; 32];
        SystemEntropy.fill(&mut bytes);
        assert_ne!(bytes, [0; 32]);
    }
}
