//! Keeps the build contexts that clients sent, as tar archives named by what they hold. Owns
//! `<state_dir>/contexts`. Face: `Contexts`. Never believes a name: an archive is kept only when its
//! own files give the digest that it is sent under, and never holds one in memory on its way in.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use crate::base::Digest;
use crate::base::limits::{BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX};
use crate::domain::compose::dockerignore::{ContextEntry, ContextKind, context_digest};

/// Why a build context was not kept or found.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It holds other files than its name says.
    #[error("the build context holds {found}, not {expected}")]
    Digest {
        /// What its name says.
        expected: Digest,
        /// What its files give.
        found: Digest,
    },
    /// It holds what no context may hold.
    #[error("the build context holds {0:?}, which is no file, folder or link below it")]
    Entry(String),
    /// It is no tar archive that can be read.
    #[error("the build context is no tar archive that can be read")]
    Archive(#[source] io::Error),
    /// It is larger than a context may be.
    #[error("the build context exceeds {BUNDLE_FILES_MAX} files or {} MiB", BUNDLE_BYTES_MAX >> 20)]
    TooLarge,
    /// The folder has no room for it.
    #[error("the build contexts would exceed {0} bytes")]
    NoRoom(u64),
    /// Nobody sent it.
    #[error("there is no build context {0}")]
    Missing(Digest),
    /// The system refuses.
    #[error("cannot {act} {}", path.display())]
    System {
        /// What was attempted.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The build contexts on this host. All but `read` block: call them where blocking is allowed.
#[derive(Debug)]
pub struct Contexts {
    dir: PathBuf,
    bytes_max: AtomicU64,
    uploads: AtomicU64,
}

/// An archive that is on its way in. Dropped before it is kept, it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    path: PathBuf,
    file: fs::File,
    bytes: u64,
}

impl Contexts {
    /// Opens the folder, made with mode 0700 when missing; uploads that a crash cut off are removed.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(state_dir: &Path, bytes_max: u64) -> Result<Self, ContextError> {
        let dir = state_dir.join("contexts");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(system("create", &dir))?;
        let contexts =
            Self { dir, bytes_max: AtomicU64::new(bytes_max), uploads: AtomicU64::new(0) };
        for (path, _) in contexts.files()? {
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(&path).map_err(system("remove", &path))?;
            }
        }
        Ok(contexts)
    }

    /// Changes how much space the contexts may take together.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Whether a context is here.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// A context as a tar archive, for the engine.
    ///
    /// # Errors
    /// When nobody sent it or it cannot be read.
    pub async fn read(&self, digest: &Digest) -> Result<Bytes, ContextError> {
        let path = self.path(digest);
        match tokio::fs::read(&path).await {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ContextError::Missing(*digest))
            }
            Err(error) => Err(system("read", &path)(error)),
        }
    }

    /// Makes room for an archive that is about to come in.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn begin(&self) -> Result<Upload, ContextError> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{number}.part"));
        let mut options = fs::File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(system("create", &path))?;
        Ok(Upload { path, file, bytes: 0 })
    }

    /// Keeps what came in, after looking at every file in it. Keeping it twice is no error.
    ///
    /// # Errors
    /// When it is not what its name says, holds what it may not, finds no room, or cannot be
    /// written. Nothing is left behind then.
    pub fn keep(&self, digest: &Digest, mut upload: Upload) -> Result<(), ContextError> {
        if self.has(digest) {
            return Ok(());
        }
        let reread = |source| system("read", &upload.path)(source);
        upload.file.seek(io::SeekFrom::Start(0)).map_err(reread)?;
        let found = context_digest(&entries_of(io::BufReader::new(&upload.file))?);
        if found != *digest {
            return Err(ContextError::Digest { expected: *digest, found });
        }
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        // The upload itself is one of the files.
        let used: u64 = self.files()?.iter().map(|(_, metadata)| metadata.len()).sum();
        if used > bytes_max {
            return Err(ContextError::NoRoom(bytes_max));
        }
        let path = self.path(digest);
        let kept = upload.file.sync_all().and_then(|()| fs::rename(&upload.path, &path));
        kept.map_err(system("write", &path))
    }

    /// Keeps an archive that is in memory.
    ///
    /// # Errors
    /// As `keep`.
    pub fn put(&self, digest: &Digest, archive: &[u8]) -> Result<(), ContextError> {
        let mut upload = self.begin()?;
        upload.write(archive)?;
        self.keep(digest, upload)
    }

    /// Removes contexts that nothing needs and that were sent before `before`: a younger one may
    /// belong to a request that is under way. Returns how many.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file cannot be removed.
    pub fn collect(
        &self,
        needed: &BTreeSet<Digest>,
        before: SystemTime,
    ) -> Result<usize, ContextError> {
        let mut removed = 0;
        for (path, metadata) in self.files()? {
            let digest = path.file_stem().and_then(|stem| Digest::from_hex(stem.to_str()?));
            let is_needed = digest.is_some_and(|digest| needed.contains(&digest));
            let is_old = metadata.modified().is_ok_and(|modified| modified < before);
            if !is_needed && is_old {
                fs::remove_file(&path).map_err(system("remove", &path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}.tar"))
    }

    fn files(&self) -> Result<Vec<(PathBuf, fs::Metadata)>, ContextError> {
        let read = || -> io::Result<Vec<_>> {
            let mut files = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                files.push((entry.path(), entry.metadata()?));
            }
            Ok(files)
        };
        read().map_err(system("list", &self.dir))
    }
}

fn system(act: &'static str, path: &Path) -> impl Fn(io::Error) -> ContextError {
    let path = path.to_owned();
    move |source| ContextError::System { act, path: path.clone(), source }
}

impl Upload {
    /// Takes the next part of the archive.
    ///
    /// # Errors
    /// When the archive becomes too large, or cannot be written.
    pub fn write(&mut self, part: &[u8]) -> Result<(), ContextError> {
        self.bytes = self.bytes.saturating_add(part.len() as u64);
        if self.bytes > BUNDLE_BYTES_MAX as u64 {
            return Err(ContextError::TooLarge);
        }
        self.file.write_all(part).map_err(system("write", &self.path))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Gone already when it was kept; what stays all the same goes at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// What an archive holds, in the words of the digest.
fn entries_of(archive: impl Read) -> Result<Vec<ContextEntry>, ContextError> {
    let broken = ContextError::Archive;
    let mut entries = Vec::new();
    let mut bytes = 0_u64;
    for entry in tar::Archive::new(archive).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = plain_path(&entry.path().map_err(broken)?)?;
        let mode = entry.header().mode().map_err(broken)? & 0o777;
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => ContextKind::Directory,
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(broken)?.unwrap_or_default();
                ContextKind::Link(target.to_string_lossy().into_owned())
            }
            tar::EntryType::Regular => {
                bytes = bytes.saturating_add(entry.size());
                if bytes > BUNDLE_BYTES_MAX as u64 {
                    return Err(ContextError::TooLarge);
                }
                ContextKind::File(Digest::of_reader(&mut entry).map_err(broken)?)
            }
            _ => return Err(ContextError::Entry(path)),
        };
        entries.push(ContextEntry { path, mode, kind });
        if entries.len() > BUNDLE_FILES_MAX {
            return Err(ContextError::TooLarge);
        }
    }
    Ok(entries)
}

/// A path that stays below the context's root.
fn plain_path(path: &Path) -> Result<String, ContextError> {
    let refused = || ContextError::Entry(path.display().to_string());
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str().ok_or_else(refused)?),
            Component::CurDir => {}
            _ => return Err(refused()),
        }
    }
    if parts.is_empty() { Err(refused()) } else { Ok(parts.join("/")) }
}

/// Packs the entries of a folder, as `put` wants them.
///
/// # Errors
/// When a file cannot be read, or became longer or shorter meanwhile.
pub fn pack(root: &Path, entries: &[ContextEntry]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.mode(tar::HeaderMode::Complete);
    archive.follow_symlinks(false);
    for entry in entries {
        let path = root.join(&entry.path);
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(&fs::symlink_metadata(&path)?, tar::HeaderMode::Complete);
        // Whoever sends a context must not decide who owns the files in an image.
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(entry.mode);
        match &entry.kind {
            ContextKind::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, &entry.path, target)?;
            }
            ContextKind::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                archive.append_data(&mut header, &entry.path, io::empty())?;
            }
            ContextKind::File(_) => {
                let content = fs::read(&path)?;
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, &entry.path, content.as_slice())?;
            }
        }
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (tempfile::TempDir, Vec<ContextEntry>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/main"), "hello").unwrap();
        std::os::unix::fs::symlink("src/main", dir.path().join("link")).unwrap();
        let entry = |path: &str, mode, kind| ContextEntry { path: path.to_owned(), mode, kind };
        let entries = vec![
            entry("link", 0o777, ContextKind::Link("src/main".to_owned())),
            entry("src", 0o755, ContextKind::Directory),
            entry("src/main", 0o644, ContextKind::File(Digest::of(b"hello"))),
        ];
        (dir, entries)
    }

    #[tokio::test]
    async fn what_is_packed_is_what_is_kept() {
        let (dir, entries) = sample();
        let archive = pack(dir.path(), &entries).unwrap();
        let digest = context_digest(&entries);
        let state = tempfile::tempdir().unwrap();
        let contexts = Contexts::open(state.path(), 1 << 20).unwrap();
        assert!(matches!(contexts.read(&digest).await, Err(ContextError::Missing(_))));
        contexts.put(&digest, &archive).unwrap();
        contexts.put(&digest, &archive).unwrap();
        assert_eq!(contexts.read(&digest).await.unwrap(), archive);
    }

    #[test]
    fn an_archive_under_another_name_is_refused() {
        let (dir, entries) = sample();
        let archive = pack(dir.path(), &entries).unwrap();
        let state = tempfile::tempdir().unwrap();
        let contexts = Contexts::open(state.path(), 1 << 20).unwrap();
        let refused = contexts.put(&Digest::of(b"another"), &archive);
        assert!(matches!(refused, Err(ContextError::Digest { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn what_is_not_kept_leaves_nothing_behind() {
        let (dir, entries) = sample();
        let archive = pack(dir.path(), &entries).unwrap();
        let state = tempfile::tempdir().unwrap();
        let contexts = Contexts::open(state.path(), 1 << 20).unwrap();
        let (mut one, mut two) = (contexts.begin().unwrap(), contexts.begin().unwrap());
        for part in archive.chunks(100) {
            one.write(part).unwrap();
            two.write(part).unwrap();
        }
        let digest = context_digest(&entries);
        contexts.keep(&digest, one).unwrap();
        contexts.keep(&digest, two).unwrap();
        assert_eq!(contexts.read(&digest).await.unwrap(), archive);
        assert!(contexts.put(&Digest::of(b"another"), &archive).is_err());
        let mut cut_off = contexts.begin().unwrap();
        cut_off.write(&archive[..10]).unwrap();
        drop(cut_off);
        assert_eq!(contexts.files().unwrap().len(), 1);
    }

    #[test]
    fn an_endless_archive_is_stopped() {
        let state = tempfile::tempdir().unwrap();
        let contexts = Contexts::open(state.path(), u64::MAX).unwrap();
        let mut upload = contexts.begin().unwrap();
        upload.bytes = BUNDLE_BYTES_MAX as u64;
        assert!(matches!(upload.write(b"x"), Err(ContextError::TooLarge)));
    }

    #[test]
    fn paths_stay_below_the_root() {
        let check = |path: &str, expect: Option<&str>| {
            assert_eq!(plain_path(Path::new(path)).ok().as_deref(), expect, "{path}");
        };
        check("a/b", Some("a/b"));
        check("./a/", Some("a"));
        check("../a", None);
        check("/a", None);
        check(".", None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "compared with the kernel's stamps on files")]
    fn room_is_limited_and_what_nothing_needs_goes() {
        let (dir, entries) = sample();
        let archive = pack(dir.path(), &entries).unwrap();
        let digest = context_digest(&entries);
        let state = tempfile::tempdir().unwrap();
        let contexts = Contexts::open(state.path(), 10).unwrap();
        assert!(matches!(contexts.put(&digest, &archive), Err(ContextError::NoRoom(10))));
        contexts.set_bytes_max(1 << 20);
        contexts.put(&digest, &archive).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        assert_eq!(contexts.collect(&BTreeSet::from([digest]), later).unwrap(), 0);
        assert_eq!(contexts.collect(&BTreeSet::new(), SystemTime::UNIX_EPOCH).unwrap(), 0);
        assert_eq!(contexts.collect(&BTreeSet::new(), later).unwrap(), 1);
        assert!(!contexts.has(&digest));
    }
}
