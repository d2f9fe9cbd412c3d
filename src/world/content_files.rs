//! Keeps the content of configs and secrets as files of the agent, for containers to mount. Owns
//! `<state_dir>/files`. Face: `ContentFiles`, `FilesOnDisk`, `FilesInMemory` (for tests). Never
//! names a file after its content without the host's key, and never changes a file once written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::base::{Digest, HashKey};
use crate::facts::ContentFile;

/// A file that could not be written, looked at or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}", .path.display())]
pub struct ContentFileError {
    /// What was attempted, such as `write`.
    pub attempt: &'static str,
    /// Where.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The files that containers mount. Looking and removing are short and block.
pub trait ContentFiles: Send + Sync {
    /// Where the file of this name lies on the host, whether it exists or not.
    fn path(&self, project: &str, name: &Digest) -> PathBuf;

    /// Is it there?
    fn is_there(&self, project: &str, name: &Digest) -> bool;

    /// Writes it with owner and mode, whole or not at all. Writing it again changes nothing.
    ///
    /// # Errors
    /// When the disk is full, or the owner cannot be set.
    fn write<'a>(
        &'a self,
        project: &'a str,
        name: Digest,
        file: &'a ContentFile,
    ) -> BoxFuture<'a, Result<(), ContentFileError>>;

    /// Removes all files of a project but these.
    ///
    /// # Errors
    /// When a file cannot be removed.
    fn keep_only(&self, project: &str, names: &BTreeSet<Digest>) -> Result<(), ContentFileError>;
}

/// The name of a file: a keyed digest over content, owner and mode, so that any change of them is
/// another file and therefore another mount.
pub fn name_of(file: &ContentFile, key: &HashKey) -> Digest {
    let owner = format!("{}:{}:{:o}", file.uid, file.gid, file.mode);
    let parts = Digest::of_parts(&[owner.as_bytes(), file.content.expose()]);
    key.digest(parts.as_bytes())
}

/// The files below a state directory.
pub struct FilesOnDisk {
    root: PathBuf,
    /// Files begun: two services may want the same file at the same time.
    begun: AtomicU64,
}

impl FilesOnDisk {
    /// Files below `<state_dir>/files`.
    pub fn below(state_dir: &Path) -> Self {
        Self { root: state_dir.join("files"), begun: AtomicU64::new(0) }
    }

    fn folder(&self, project: &str) -> PathBuf {
        self.root.join(project)
    }
}

impl ContentFiles for FilesOnDisk {
    fn path(&self, project: &str, name: &Digest) -> PathBuf {
        self.folder(project).join(name.to_string())
    }

    fn is_there(&self, project: &str, name: &Digest) -> bool {
        self.path(project, name).is_file()
    }

    fn write<'a>(
        &'a self,
        project: &'a str,
        name: Digest,
        file: &'a ContentFile,
    ) -> BoxFuture<'a, Result<(), ContentFileError>> {
        let (folder, path) = (self.folder(project), self.path(project, &name));
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{begun}.part"));
        let lost = failed("write", &path);
        let file = file.clone();
        #[expect(clippy::disallowed_methods, reason = "the disk is waited for on a thread")]
        let written = tokio::task::spawn_blocking(move || keep(&folder, &path, &part, &file));
        async move { written.await.map_err(|error| lost(io::Error::from(error)))? }.boxed()
    }

    fn keep_only(&self, project: &str, names: &BTreeSet<Digest>) -> Result<(), ContentFileError> {
        let folder = self.folder(project);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed("list", &folder))?,
        };
        let kept: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        for entry in entries {
            let entry = entry.map_err(failed("list", &folder))?;
            if !kept.contains(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
            }
        }
        if kept.is_empty() {
            fs::remove_dir(&folder).map_err(failed("remove", &folder))?;
        }
        Ok(())
    }
}

fn failed(
    attempt: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> ContentFileError + Send + use<> {
    let path = path.to_owned();
    move |source| ContentFileError { attempt, path: path.clone(), source }
}

/// Writes the file beside its place, then puts it there; nothing when it is there.
fn keep(
    folder: &Path,
    path: &Path,
    part: &Path,
    file: &ContentFile,
) -> Result<(), ContentFileError> {
    if path.is_file() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("create", folder))?;
    // What a crash left half-written is in the way of nobody else.
    let _ = fs::remove_file(part);
    let written = write_whole(part, file).and_then(|()| fs::rename(part, path));
    let kept = written.and_then(|()| fs::File::open(folder)?.sync_all());
    kept.map_err(|source| {
        let _ = fs::remove_file(part);
        failed("write", path)(source)
    })
}

fn write_whole(path: &Path, file: &ContentFile) -> io::Result<()> {
    let mut handle = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    handle.write_all(file.content.expose())?;
    // Only root may give a file away. An agent that is not root keeps those that nobody else was
    // named for: root in a container reads them all the same.
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let may_stay = own.0 != 0 && (file.uid, file.gid) == (0, 0);
    if (file.uid, file.gid) != own && !may_stay {
        std::os::unix::fs::fchown(&handle, Some(file.uid), Some(file.gid))?;
    }
    handle.set_permissions(fs::Permissions::from_mode(file.mode))?;
    handle.sync_all()
}

/// Files that are nowhere, for tests and simulations.
#[derive(Debug, Default)]
pub struct FilesInMemory(Mutex<BTreeMap<(String, Digest), ContentFile>>);

impl FilesInMemory {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, Digest), ContentFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ContentFiles for FilesInMemory {
    fn path(&self, project: &str, name: &Digest) -> PathBuf {
        Path::new("/memory").join(project).join(name.to_string())
    }

    fn is_there(&self, project: &str, name: &Digest) -> bool {
        self.lock().contains_key(&(project.to_owned(), *name))
    }

    fn write<'a>(
        &'a self,
        project: &'a str,
        name: Digest,
        file: &'a ContentFile,
    ) -> BoxFuture<'a, Result<(), ContentFileError>> {
        self.lock().insert((project.to_owned(), name), file.clone());
        ready(Ok(())).boxed()
    }

    fn keep_only(&self, project: &str, names: &BTreeSet<Digest>) -> Result<(), ContentFileError> {
        self.lock().retain(|(owner, name), _| owner != project || names.contains(name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    fn file(content: &str, mode: u32) -> ContentFile {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let content = Secret::new(content.as_bytes().to_vec());
        ContentFile { content, uid: own.0, gid: own.1, mode, is_secret: true, read_from: None }
    }

    /// One suite for the real files and the fake.
    async fn suite(files: &dyn ContentFiles) {
        let key = HashKey::new([7; 32]);
        let (one, two) = (file("one", 0o440), file("one", 0o400));
        let (name_one, name_two) = (name_of(&one, &key), name_of(&two, &key));
        assert_ne!(name_one, name_two, "another mode is another file");
        assert!(!files.is_there("shop", &name_one));
        for (name, file) in [(&name_one, &one), (&name_two, &two), (&name_one, &one)] {
            files.write("shop", *name, file).await.unwrap();
            assert!(files.is_there("shop", name));
        }
        files.keep_only("shop", &BTreeSet::from([name_two])).unwrap();
        assert!(!files.is_there("shop", &name_one) && files.is_there("shop", &name_two));
        files.keep_only("shop", &BTreeSet::new()).unwrap();
        assert!(!files.is_there("shop", &name_two));
        files.keep_only("never-heard-of", &BTreeSet::new()).unwrap();
    }

    #[tokio::test]
    async fn files_and_fake_keep_the_same_promises() {
        let folder = tempfile::tempdir().unwrap();
        suite(&FilesOnDisk::below(folder.path())).await;
        suite(&FilesInMemory::default()).await;
    }

    #[tokio::test]
    async fn services_may_write_the_same_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = FilesOnDisk::below(folder.path());
        let large = file(&"x".repeat(1 << 20), 0o400);
        let name = name_of(&large, &HashKey::new([7; 32]));
        let writing = (0..4).map(|_| files.write("shop", name, &large));
        futures_util::future::try_join_all(writing).await.unwrap();
        assert_eq!(fs::read(files.path("shop", &name)).unwrap(), large.content.expose().as_slice());
        assert_eq!(fs::read_dir(folder.path().join("files/shop")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn mode_and_content_are_on_disk_as_declared() {
        let folder = tempfile::tempdir().unwrap();
        let files = FilesOnDisk::below(folder.path());
        let secret = file("s3cret", 0o440);
        let name = name_of(&secret, &HashKey::new([7; 32]));
        files.write("shop", name, &secret).await.unwrap();
        let path = files.path("shop", &name);
        assert_eq!(fs::read(&path).unwrap(), b"s3cret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o440);
    }
}
