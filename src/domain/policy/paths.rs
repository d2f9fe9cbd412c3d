//! Reads paths of a host however they are spelled. Owns their one form, which of them are an
//! engine's sockets, and which are the system's own. Face: `resolved`, `is_socket`, `holds_socket`,
//! `system_folder`. Never looks at a disk: a link counts when the host's facts tell of it, or when
//! it is one everywhere.

use crate::facts::HostFacts;

/// Links that are followed at most, as the kernel does.
const LINKS_MAX: usize = 40;

/// Links that every common system has.
const USUAL_LINKS: [(&str, &str); 2] = [("/var/run", "/run"), ("/var/lock", "/run/lock")];

/// The path as the engine uses it: cleaned by its letters first, then with links followed. A
/// process's view of the root (`/proc/1/root`) is the root.
pub(super) fn resolved(path: &str, host: Option<&HostFacts>) -> String {
    if is_plain(path, host) {
        return path.to_owned();
    }
    let mut waiting: Vec<String> = clean(path).into_iter().rev().collect();
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = waiting.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => drop(done.pop()),
            _ => done.push(part),
        }
        if is_view_of_root(&done) {
            done.clear();
            continue;
        }
        let Some(target) = link(&done, host).filter(|_| links < LINKS_MAX) else { continue };
        links += 1;
        match target.starts_with('/') {
            true => done.clear(),
            false => drop(done.pop()),
        }
        waiting.extend(target.split('/').rev().map(str::to_owned));
    }
    format!("/{}", done.join("/"))
}

/// Is there nothing to clean and no link to follow? Most paths are so, and each service is compared
/// with all others by theirs.
fn is_plain(path: &str, host: Option<&HostFacts>) -> bool {
    let has_link = |from: &str| is_within(path, from);
    let is_clean = || {
        let mut parts = path.split('/').skip(1);
        parts.all(|part| !matches!(part, "" | "." | ".."))
    };
    path.starts_with('/')
        && !is_within(path, "/proc")
        && !USUAL_LINKS.iter().any(|(from, _)| has_link(from))
        && !host.is_some_and(|host| host.symlinks.keys().any(|from| has_link(from)))
        && is_clean()
}

/// The parts of a path without `//`, `.` and `..`; the root has nothing above it.
fn clean(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part.to_owned()),
        }
    }
    parts
}

/// `/proc/<process>/root`, also through one of its tasks.
fn is_view_of_root(parts: &[String]) -> bool {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_process = |text: &str| text == "self" || text == "thread-self" || is_number(text);
    match parts.as_slice() {
        ["proc", process, "root"] => is_process(process),
        ["proc", process, "task", task, "root"] => is_process(process) && is_number(task),
        _ => false,
    }
}

fn link(parts: &[String], host: Option<&HostFacts>) -> Option<String> {
    let path = format!("/{}", parts.join("/"));
    let known = host.and_then(|host| host.symlinks.get(&path)).cloned();
    let usual = || USUAL_LINKS.iter().find(|(from, _)| *from == path);
    known.or_else(|| usual().map(|(_, to)| (*to).to_owned()))
}

/// Is `path` this folder, or something below it? Both are resolved.
pub(super) fn is_within(path: &str, folder: &str) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder == "/" || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Where engines listen, as resolved paths; `*` is one part of any name.
const SOCKETS: [&str; 15] = [
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/docker/containerd/docker-containerd.sock",
    "/run/docker/metrics.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/dockershim.sock",
    "/run/balena-engine.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/user/*/docker.sock",
    "/run/user/*/podman/podman.sock",
    "/run/user/*/containerd/containerd.sock",
];

/// Names of sockets of engines, wherever they lie: in homes, or below an engine's own folder.
const SOCKET_NAMES: [&str; 8] = [
    "docker.sock",
    "docker.raw.sock",
    "docker-cli.sock",
    "dockerd.sock",
    "containerd.sock",
    "podman.sock",
    "crio.sock",
    "buildkitd.sock",
];

/// Is it a socket by which an engine is commanded? `more` are those that only this place knows.
pub(super) fn is_socket<'a>(path: &str, more: impl IntoIterator<Item = &'a String>) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    SOCKET_NAMES.contains(&name)
        || SOCKETS.iter().any(|socket| matches(path, socket, false))
        || more.into_iter().any(|socket| path == socket)
}

/// Does such a socket lie below this folder?
pub(super) fn holds_socket<'a>(path: &str, more: impl IntoIterator<Item = &'a String>) -> bool {
    SOCKETS.iter().any(|socket| matches(path, socket, true))
        || more.into_iter().any(|socket| is_within(socket, path))
}

/// Is the path this pattern, or, when `above`, a folder on the way to it?
fn matches(path: &str, pattern: &str, above: bool) -> bool {
    let (path, pattern) = (clean(path), clean(pattern));
    let fits = match above {
        true => path.len() <= pattern.len(),
        false => path.len() == pattern.len(),
    };
    fits && path.iter().zip(&pattern).all(|(part, own)| own == "*" || part == own)
}

/// The system's own folders. What is mounted of them shows or changes the host.
const SYSTEM_FOLDERS: [&str; 16] = [
    "/bin", "/boot", "/cgroup", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc",
    "/root", "/run", "/sbin", "/sys", "/usr", "/var",
];

/// Below a home: keys and logins.
const KEYS_OF_HOMES: [&str; 7] =
    [".ssh", ".gnupg", ".aws", ".azure", ".docker", ".kube", ".config/gcloud"];

/// What says nothing of the host when it can only be read, and is the same on most hosts.
const HARMLESS: [&str; 5] =
    ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo", "/etc/os-release", "/etc/ssl/certs"];

/// The sensitive place that this resolved path is, lies in, or has below it.
pub(super) fn system_folder(path: &str, read_only: bool) -> Option<&'static str> {
    if path == "/" {
        return Some("/");
    }
    if read_only && HARMLESS.iter().any(|harmless| is_within(path, harmless)) {
        return None;
    }
    if let Some(folder) = SYSTEM_FOLDERS.iter().find(|folder| is_within(path, folder)) {
        return Some(folder);
    }
    // A project often lies in its user's home, and mounts what lies beside it: that is not the
    // home.
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("home"), _, None) => Some("/home"),
        (Some("home"), _, Some(rest)) => {
            let below = format!("/{rest}");
            let is_key = |key: &&&str| is_within(&below, &format!("/{key}"));
            KEYS_OF_HOMES.iter().find(is_key).copied()
        }
        _ => None,
    }
}

/// What the host keeps to itself: its accounts, its keys, its devices and what its kernel tells.
const SECRETS_OF_HOSTS: [&str; 11] = [
    "/boot",
    "/dev",
    "/etc/gshadow",
    "/etc/shadow",
    "/etc/ssh",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/proc",
    "/sys",
    "/var/lib/containerd",
    "/var/lib/docker",
];

/// Does this resolved path lead to what the host, or a person on it, keeps secret? A file that is made
/// to be handed on may lie anywhere else, also in a folder of the system.
pub(super) fn keeps_secrets(path: &str) -> bool {
    if path == "/" || SECRETS_OF_HOSTS.iter().any(|secret| is_within(path, secret)) {
        return true;
    }
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let below = match (parts.next(), parts.next(), parts.next()) {
        (Some("root"), Some(first), rest) => format!("/{first}/{}", rest.unwrap_or_default()),
        (Some("home"), Some(_), Some(rest)) => format!("/{rest}"),
        _ => return false,
    };
    KEYS_OF_HOMES.iter().any(|key| is_within(&below, &format!("/{key}")))
}

/// Is it what many mount because it is harmless?
pub(super) fn is_harmless(path: &str) -> bool {
    HARMLESS.iter().any(|harmless| is_within(path, harmless))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_form() {
        let mut host = HostFacts::default();
        let links =
            [("/srv/link", "/etc"), ("/srv/rel", "../etc/./ssh"), ("/loop", "/loop"), ("/a", "b")];
        host.symlinks = links.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
        let check = |path: &str, expect: &str| {
            assert_eq!(resolved(path, Some(&host)), expect, "{path}");
        };
        check("/etc", "/etc");
        check("/etc/", "/etc");
        check("//etc///ssh/.", "/etc/ssh");
        check("/etc/../etc", "/etc");
        check("/../../etc", "/etc");
        check("/srv/x/../../etc", "/etc");
        check("/", "/");
        check("/var/run/docker.sock", "/run/docker.sock");
        check("/var/./run//docker.sock", "/run/docker.sock");
        check("/srv/link/passwd", "/etc/passwd");
        check("/srv/rel", "/etc/ssh");
        check("/srv/link/../x", "/srv/x");
        check("/a/c", "/b/c");
        check("/loop", "/loop");
        check("/proc/1/root", "/");
        check("/proc/1/root/run/docker.sock", "/run/docker.sock");
        check("/proc/self/root/etc", "/etc");
        check("/proc/7/task/9/root/proc/1/root", "/");
        check("/proc/cpuinfo/root", "/proc/cpuinfo/root");
    }

    proptest! {
        #[test]
        fn resolving_twice_changes_nothing_more(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "", ".", "..", "etc", "var", "run", "lock", "proc", "1", "self", "root", "a",
                ]),
                0..12,
            ),
        ) {
            let path = format!("/{}", parts.join("/"));
            let once = resolved(&path, None);
            prop_assert!(once.starts_with('/'), "{path}: {once}");
            let odd = once.split('/').skip(1).any(|part| ["", ".", ".."].contains(&part));
            prop_assert!(once == "/" || !odd, "{path}: {once}");
            prop_assert_eq!(resolved(&once, None), once);
        }
    }

    #[test]
    fn without_facts_only_the_usual_links_are_followed() {
        assert_eq!(resolved("/var/run", None), "/run");
        assert_eq!(resolved("/srv/link", None), "/srv/link");
    }

    #[test]
    fn sockets_are_known_by_path_by_name_and_by_the_folders_above_them() {
        let own = ["/srv/engine/api".to_owned()];
        for path in ["/run/docker.sock", "/home/me/.docker/run/docker.sock", "/srv/engine/api"] {
            assert!(is_socket(path, &own), "{path}");
        }
        for path in ["/run/docker.sock.d", "/run/mysqld.sock", "/srv/engine"] {
            assert!(!is_socket(path, &own), "{path}");
        }
        for path in ["/", "/run", "/run/containerd", "/run/user/1000", "/srv/engine", "/run/user"] {
            assert!(holds_socket(path, &own), "{path}");
        }
        for path in ["/srv", "/var"] {
            assert_eq!(holds_socket(path, &own), path == "/srv", "{path}");
        }
        for path in ["/run/user/1000/pulse", "/run/mysqld", "/srv/engines", "/opt"] {
            assert!(!holds_socket(path, &own), "{path}");
        }
    }

    #[test]
    fn the_systems_own_folders_are_told_from_data() {
        let check = |path: &str, expect: Option<&str>| {
            assert_eq!(system_folder(path, false), expect, "{path}");
        };
        check("/", Some("/"));
        check("/etc", Some("/etc"));
        check("/etc/letsencrypt", Some("/etc"));
        check("/etcetera", None);
        check("/var/lib/x", Some("/var"));
        check("/usr/share/zoneinfo", Some("/usr"));
        check("/home", Some("/home"));
        check("/home/me", Some("/home"));
        check("/home/me/shop/data", None);
        check("/home/me/.ssh/id", Some(".ssh"));
        check("/srv/data", None);
        check("/opt/shop", None);
        check("/etc/localtime", Some("/etc"));
        assert_eq!(system_folder("/etc/localtime", true), None);
        assert_eq!(system_folder("/etc/shadow", true), Some("/etc"));
    }
}
