//! Keeps the host's secret key. Owns `<state_dir>/keys/store.key` and the keys derived from it.
//! Face: `Keys::open_or_create`, `Keys::open`. Never lets the key into the database, a log or an error.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::base::{Digest, Entropy, HashKey, Secret};
use crate::domain::audit::seal::SigningKey;

use super::StoreError;

/// Bytes of the key and of each key derived from it.
const KEY_BYTES: usize = 32;
/// Bytes of a nonce of XChaCha20-Poly1305: long enough that random ones never meet.
const NONCE_BYTES: usize = 24;
/// How much content one seal covers; a bundle is sealed in pieces of this size.
const CHUNK_BYTES: usize = 1 << 20;

/// The host's secret key, as the keys that are derived from it.
#[derive(Debug, Clone)]
pub struct Keys {
    path: PathBuf,
    created: bool,
    sealing: Secret<[u8; KEY_BYTES]>,
    hash_key: HashKey,
    audit: Arc<SigningKey>,
}

impl Keys {
    /// Reads `<state_dir>/keys/store.key`, or makes a new one that only its owner can read.
    ///
    /// # Errors
    /// When the file cannot be read or written, holds no key, or can be read by others.
    pub fn open_or_create(state_dir: &Path, entropy: &dyn Entropy) -> Result<Self, StoreError> {
        let directory = state_dir.join("keys");
        let path = directory.join("store.key");
        match read(&path)? {
            Some(master) => Self::derive(path, false, &master),
            None => {
                let mut master = [0; KEY_BYTES];
                entropy.fill(&mut master);
                create(&directory, &path, &master)?;
                Self::derive(path, true, &master)
            }
        }
    }

    /// Reads `<state_dir>/keys/store.key`; none when it is not there.
    ///
    /// # Errors
    /// When the file cannot be read, holds no key, or can be read by others.
    pub fn open(state_dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = state_dir.join("keys").join("store.key");
        read(&path)?.map(|master| Self::derive(path, false, &master)).transpose()
    }

    fn derive(path: PathBuf, created: bool, master: &[u8; KEY_BYTES]) -> Result<Self, StoreError> {
        let master = HashKey::new(*master);
        let derived = |purpose: &[u8]| *master.digest(purpose).as_bytes();
        let audit = SigningKey::from_seed(&Secret::new(derived(b"wharfinger audit signing 1")));
        let Ok(audit) = audit else {
            return Err(StoreError::Key { path, reason: "does not lead to a signing key" });
        };
        Ok(Self {
            path,
            created,
            sealing: Secret::new(derived(b"wharfinger sealing 1")),
            hash_key: HashKey::new(derived(b"wharfinger content hash 1")),
            audit: Arc::new(audit),
        })
    }

    /// The key that seals the host's audit log.
    pub fn audit(&self) -> &SigningKey {
        &self.audit
    }

    /// The key for digests of content that may be secret.
    pub fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    /// Where the key lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the key was made just now: the state directory is new.
    pub fn created(&self) -> bool {
        self.created
    }

    /// Recognises the key without giving it away.
    pub(super) fn fingerprint(&self) -> Digest {
        self.hash_key.digest(b"wharfinger key fingerprint 1")
    }

    /// Seals content in pieces. Each piece is bound to the id of the record that owns it, its place
    /// and the number of pieces, so that none can be swapped, dropped or moved to another record.
    pub(super) fn seal(
        &self,
        owner: &[u8; 16],
        content: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let cipher = XChaCha20Poly1305::new(self.sealing.expose().into());
        let pieces = content.len().div_ceil(CHUNK_BYTES).max(1);
        (0..pieces)
            .map(|number| {
                let start = number * CHUNK_BYTES;
                let piece = &content[start..content.len().min(start + CHUNK_BYTES)];
                let mut nonce = [0; NONCE_BYTES];
                entropy.fill(&mut nonce);
                let aad = place(owner, number, pieces);
                let sealed = cipher
                    .encrypt(&XNonce::from(nonce), Payload { msg: piece, aad: &aad })
                    .map_err(|_| self.unsealable("could not be sealed"))?;
                Ok([&nonce[..], &sealed].concat())
            })
            .collect()
    }

    /// Opens what `seal` has made.
    pub(super) fn unseal(
        &self,
        owner: &[u8; 16],
        pieces: &[Vec<u8>],
    ) -> Result<Secret<Vec<u8>>, StoreError> {
        let cipher = XChaCha20Poly1305::new(self.sealing.expose().into());
        let mut content = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let changed = || self.unsealable("was changed or sealed with another key");
            let (nonce, sealed) = piece.split_at_checked(NONCE_BYTES).ok_or_else(changed)?;
            let aad = place(owner, number, pieces.len());
            let opened = cipher
                .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: &aad })
                .map_err(|_| changed())?;
            content.extend(opened);
        }
        Ok(Secret::new(content))
    }

    fn unsealable(&self, reason: &str) -> StoreError {
        StoreError::Unreadable { noun: "sealed record", reason: format!("its content {reason}") }
    }
}

fn place(owner: &[u8; 16], number: usize, pieces: usize) -> Vec<u8> {
    let number = (number as u64).to_be_bytes();
    let pieces = (pieces as u64).to_be_bytes();
    [owner.as_slice(), &number, &pieces].concat()
}

/// Reads a key; none when there is no file.
fn read(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, StoreError> {
    let failed = |act, source| StoreError::file(act, path, source);
    let wrong = |reason| StoreError::Key { path: path.to_owned(), reason };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(wrong("does not hold a key"));
        }
        Err(error) => return Err(failed("read", error)),
    };
    let mode = fs::metadata(path).map_err(|error| failed("inspect", error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(wrong("can be read by others than its owner"));
    }
    let mut key = [0; KEY_BYTES];
    hex::decode_to_slice(text.trim(), &mut key).map_err(|_| wrong("does not hold a key"))?;
    Ok(Some(key))
}

/// Writes a key so that after a crash either the whole key is there or none.
fn create(directory: &Path, path: &Path, key: &[u8; KEY_BYTES]) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| StoreError::file("create", directory, error))?;
    let draft = path.with_extension("key.new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{}", hex::encode(key))?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| StoreError::file("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;

    fn keys(state_dir: &Path) -> Result<Keys, StoreError> {
        Keys::open_or_create(state_dir, &SeededEntropy::new(1))
    }

    #[test]
    fn the_key_outlives_the_process_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = keys(dir.path()).unwrap();
        let again = Keys::open_or_create(dir.path(), &SeededEntropy::new(2)).unwrap();
        assert!(first.created() && !again.created());
        assert_eq!(first.fingerprint(), again.fingerprint());
        let mode = fs::metadata(first.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_damaged_or_open_to_others_is_refused() {
        fn check(content: &[u8], mode: u32, expect: &str) {
            let dir = tempfile::tempdir().unwrap();
            let path = keys(dir.path()).unwrap().path().to_owned();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = keys(dir.path()).unwrap_err();
            assert!(error.to_string().ends_with(expect), "{error}");
            assert!(error.hint().unwrap().contains("0600"));
        }
        check(b"", 0o600, "does not hold a key");
        check(b"abc", 0o600, "does not hold a key");
        check(&[0xff; 64], 0o600, "does not hold a key");
        check("0".repeat(64).as_bytes(), 0o644, "can be read by others than its owner");
    }

    #[test]
    fn sealed_content_comes_back_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path()).unwrap();
        let entropy = SeededEntropy::new(3);
        let id = &[1; 16];
        for size in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1] {
            let content = vec![7; size];
            let pieces = keys.seal(id, &content, &entropy).unwrap();
            assert_eq!(keys.unseal(id, &pieces).unwrap().expose(), &content);
            assert!(keys.unseal(&[2; 16], &pieces).is_err(), "other record");
            let mut changed = pieces.clone();
            changed[0][NONCE_BYTES] ^= 1;
            assert!(keys.unseal(id, &changed).is_err(), "changed byte");
        }
        let two = keys.seal(id, &vec![7; CHUNK_BYTES + 1], &entropy).unwrap();
        assert!(keys.unseal(id, &two[..1]).is_err(), "dropped piece");
        assert!(keys.unseal(id, &[two[1].clone(), two[0].clone()]).is_err(), "swapped pieces");
    }
}
