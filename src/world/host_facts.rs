//! Looks at the machine and at the files of its engine. Owns what is read of them, and within which limits.
//! Face: `look`. Never opens a file that it only looks at, never reads more than it has to, and never says
//! that something is absent when it could not look.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use super::groups;
use crate::base::limits::{
    DAEMON_FILE_BYTES_MAX, HOST_FOLDER_DEPTH_MAX, HOST_FOLDER_ENTRIES_MAX, HOST_LINKS_MAX,
    HOST_PROCESSES_MAX, PROCESS_ARGUMENTS_BYTES_MAX,
};
use crate::domain::policy::looked_at;
use crate::facts::{DaemonFile, DaemonOption, FileFacts, FileLook, HostFacts};

/// Where the daemon's configuration is when its command line does not say.
const DAEMON_FILE: &str = "/etc/docker/daemon.json";
/// The daemon's process, by the name that the kernel has for it.
const DAEMON: &str = "dockerd";
/// Where it listens when nobody says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// The parts of the file system that cannot be seen from a namespace of one's own.
const PROCESSES: &str = "/proc";

/// Its options of one letter.
const SHORT: [(char, &str); 8] = [
    ('D', "debug"),
    ('G', "group"),
    ('H', "host"),
    ('b', "bridge"),
    ('g', "data-root"),
    ('l', "log-level"),
    ('p', "pidfile"),
    ('s', "storage-driver"),
];

/// Its switches: the word after one is not its value.
const SWITCHES: [&str; 21] = [
    "allow-direct-routing",
    "debug",
    "experimental",
    "help",
    "icc",
    "init",
    "ip-forward",
    "ip-forward-no-drop",
    "ip-masq",
    "ip6tables",
    "iptables",
    "ipv6",
    "live-restore",
    "no-new-privileges",
    "raw-logs",
    "rootless",
    "selinux-enabled",
    "tls",
    "tlsverify",
    "userland-proxy",
    "validate",
];

/// Completes what the engine said of itself with what this machine shows of it.
pub fn look(host: HostFacts) -> HostFacts {
    Looker { root: PathBuf::from("/") }.look(host)
}

/// Looks below a folder that stands for the root of a machine.
struct Looker {
    root: PathBuf,
}

impl Looker {
    fn look(&self, mut host: HostFacts) -> HostFacts {
        host.daemon_arguments = self.arguments();
        let file = match host.option("config-file", "config-file") {
            DaemonOption::Set(paths) => paths.last().cloned(),
            DaemonOption::Default | DaemonOption::Unknown => None,
        };
        host.daemon_file = self.daemon_file(file.as_deref().unwrap_or(DAEMON_FILE));
        host.sockets = match host.option("hosts", "host") {
            DaemonOption::Set(hosts) => {
                let paths = hosts.iter().filter_map(|host| host.strip_prefix("unix://"));
                paths.map(str::to_owned).collect()
            }
            DaemonOption::Default | DaemonOption::Unknown => [SOCKET.to_owned()].into(),
        };
        let (files, folders) = looked_at(&host);
        for path in files {
            self.note(&path, &mut host);
        }
        for folder in folders {
            if self.list(&folder, &mut host) {
                host.listed.insert(folder);
            }
        }
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The options of the one daemon that runs here; none when there is no such, or several.
    fn arguments(&self) -> Option<BTreeMap<String, Vec<String>>> {
        let mut found = None;
        let entries = fs::read_dir(self.at(PROCESSES)).ok()?;
        for entry in entries.take(HOST_PROCESSES_MAX).flatten() {
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
                continue;
            }
            let comm = read_bounded(&entry.path().join("comm"), PROCESS_ARGUMENTS_BYTES_MAX);
            if comm.is_none_or(|comm| comm.trim_ascii() != DAEMON.as_bytes()) {
                continue;
            }
            if found.is_some() {
                return None;
            }
            found = Some(read_bounded(&entry.path().join("cmdline"), PROCESS_ARGUMENTS_BYTES_MAX)?);
        }
        let words: Vec<String> = found?
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        Some(options(&words))
    }

    fn daemon_file(&self, path: &str) -> DaemonFile {
        let path = self.at(path);
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return DaemonFile::Absent,
            Ok(is) if is.is_file() => {}
            _ => return DaemonFile::Unknown,
        }
        let Some(text) = read_bounded(&path, DAEMON_FILE_BYTES_MAX) else {
            return DaemonFile::Unknown;
        };
        serde_json::from_slice(&text).map_or(DaemonFile::Unknown, DaemonFile::Read)
    }

    /// Looks at one path, and notes the links on the way to it.
    fn note(&self, path: &str, host: &mut HostFacts) {
        if !path.starts_with('/') {
            return;
        }
        let Some(found) = self.follow(path, host) else { return };
        let look = match found {
            Some(is) => FileLook::Found(facts(&is)),
            None => FileLook::Absent,
        };
        host.files.insert(path.to_owned(), look);
    }

    /// What lies at a path; `Some(None)` is nothing, `None` is not known.
    fn follow(&self, path: &str, host: &mut HostFacts) -> Option<Option<Metadata>> {
        let parts = |path: &Path| -> VecDeque<PathBuf> {
            let names = path.components().filter_map(|part| match part {
                Component::Normal(name) => Some(PathBuf::from(name)),
                Component::ParentDir => Some(PathBuf::from("..")),
                _ => None,
            });
            names.collect()
        };
        let mut rest = parts(Path::new(path));
        let (mut done, mut links) = (PathBuf::from("/"), 0);
        let mut last = fs::symlink_metadata(&self.root).ok()?;
        while let Some(name) = rest.pop_front() {
            if name.as_os_str() == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            let real = self.at(&next.to_string_lossy());
            let is = match fs::symlink_metadata(&real) {
                Ok(is) => is,
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    return Some(None);
                }
                Err(_) => return None,
            };
            if is.is_symlink() {
                links += 1;
                let target = fs::read_link(&real).ok().filter(|_| links <= HOST_LINKS_MAX)?;
                host.symlinks.insert(
                    next.to_string_lossy().into_owned(),
                    target.to_string_lossy().into_owned(),
                );
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    rest.push_front(part);
                }
                continue;
            }
            (done, last) = (next, is);
        }
        Some(Some(last))
    }

    /// Looks at everything below a folder; whether nothing was left out.
    fn list(&self, folder: &str, host: &mut HostFacts) -> bool {
        self.note(folder, host);
        if host.files.get(folder) == Some(&FileLook::Absent) {
            return true;
        }
        let mut folders = vec![(folder.to_owned(), 0)];
        let mut entries_max = HOST_FOLDER_ENTRIES_MAX;
        while let Some((folder, depth)) = folders.pop() {
            let Ok(entries) = fs::read_dir(self.at(&folder)) else { return false };
            for entry in entries {
                let Some(name) = entry.ok().and_then(|it| it.file_name().into_string().ok()) else {
                    return false;
                };
                let path = format!("{}/{name}", folder.trim_end_matches('/'));
                self.note(&path, host);
                let Some(FileLook::Found(is)) = host.files.get(&path) else { return false };
                if is.is_folder && !host.symlinks.contains_key(&path) {
                    if depth == HOST_FOLDER_DEPTH_MAX {
                        return false;
                    }
                    folders.push((path, depth + 1));
                }
                entries_max -= 1;
                if entries_max == 0 {
                    return false;
                }
            }
        }
        true
    }
}

fn facts(is: &Metadata) -> FileFacts {
    FileFacts {
        uid: is.uid(),
        gid: is.gid(),
        group: groups::group_name(is.gid()),
        mode: is.mode() & 0o7777,
        is_folder: is.is_dir(),
    }
}

/// A file of at most so many bytes, without waiting for whoever writes it.
fn read_bounded(path: &Path, bytes_max: usize) -> Option<Vec<u8>> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= bytes_max).then_some(bytes)
}

/// Options by their long names: `--name=value`, `--name value`, `-N value`.
fn options(words: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut words = words.iter().skip(1).map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let (name, value) = match word.strip_prefix("--") {
            Some(long) => match long.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (long.to_owned(), None),
            },
            None => {
                let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
                let Some(letter) = letters.next() else { continue };
                let known = SHORT.iter().find(|(short, _)| *short == letter);
                let Some((_, name)) = known else { continue };
                let rest = letters.as_str().trim_start_matches('=');
                ((*name).to_owned(), Some(rest.to_owned()).filter(|rest| !rest.is_empty()))
            }
        };
        let is_switch = SWITCHES.contains(&name.as_str());
        let value = value.or_else(|| words.next_if(|_| !is_switch).map(str::to_owned));
        found.entry(name).or_default().extend(value);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read_as_the_daemon_reads_them() {
        let line = "/usr/bin/dockerd -H fd:// --host=unix:///run/x.sock --debug --icc=false \
                    --containerd /run/c.sock -D -l warn --tlsverify --storage-opt a=1";
        let found = options(&words(line));
        let check = |name: &str, expect: &[&str]| {
            assert_eq!(found.get(name).map(Vec::as_slice).unwrap_or_default(), expect, "{name}");
        };
        check("host", &["fd://", "unix:///run/x.sock"]);
        check("debug", &[]);
        check("icc", &["false"]);
        check("containerd", &["/run/c.sock"]);
        check("log-level", &["warn"]);
        check("tlsverify", &[]);
        check("storage-opt", &["a=1"]);
        assert!(found.contains_key("debug") && found.contains_key("tlsverify"));
    }

    #[test]
    fn files_are_looked_at_through_links_and_what_is_absent_is_told_from_what_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let put = |path: &str, text: &str, mode: u32| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
            fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        put("proc/7/comm", "dockerd\n", 0o444);
        put("proc/7/cmdline", "dockerd\0--tlscacert\0/etc/docker/ca.pem\0", 0o444);
        put("proc/8/comm", "bash\n", 0o444);
        put(
            "etc/docker/daemon.json",
            r#"{"icc": false, "hosts": ["unix:///run/own.sock"]}"#,
            0o646,
        );
        put("etc/docker/ca.pem", "x", 0o444);
        put("etc/docker/certs.d/r.example/ca.crt", "x", 0o644);
        put("usr/lib/systemd/system/docker.service", "x", 0o644);
        symlink("usr/lib", at("lib")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let looker = Looker { root: dir.path().to_owned() };
        let host = looker.look(HostFacts::default());
        assert_eq!(host.option("icc", "icc"), DaemonOption::Set(vec!["false".to_owned()]));
        assert_eq!(host.option("live-restore", "live-restore"), DaemonOption::Default);
        assert_eq!(host.sockets, ["/run/own.sock".to_owned()].into());
        let mode = |path: &str| match host.files.get(path) {
            Some(FileLook::Found(file)) => Some(file.mode),
            _ => None,
        };
        assert_eq!(mode("/etc/docker/daemon.json"), Some(0o646));
        assert_eq!(mode("/etc/docker/ca.pem"), Some(0o444));
        assert_eq!(mode("/lib/systemd/system/docker.service"), Some(0o644));
        assert_eq!(host.symlinks["/lib"], "usr/lib");
        assert_eq!(mode("/etc/docker/certs.d/r.example/ca.crt"), Some(0o644));
        assert!(host.listed.contains("/etc/docker/certs.d"));
        assert_eq!(host.files["/etc/default/docker"], FileLook::Absent);
        let mut host = HostFacts::default();
        assert_eq!(looker.follow("/loop/x", &mut host).is_none(), true);
        // Two daemons: nobody knows which one is asked.
        put("proc/9/comm", "dockerd\n", 0o444);
        put("proc/9/cmdline", "dockerd\0", 0o444);
        assert_eq!(looker.look(HostFacts::default()).daemon_arguments, None);
        // A file that is no configuration is not known.
        put("etc/docker/daemon.json", "{", 0o644);
        assert_eq!(looker.look(HostFacts::default()).daemon_file, DaemonFile::Unknown);
    }
}
