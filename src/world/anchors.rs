//! Puts checkpoints of the audit log where the host cannot take them back. Owns the file and the
//! message. Face: `Anchor`, `FileAnchor`, `WebhookAnchor`. Never says in an error where a message went:
//! an address may hold a secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::notify::{Message, Notify};
use crate::base::limits::AUDIT_ANCHOR_TIMEOUT;
use crate::base::{Digest, Secret};
use crate::domain::audit::seal::Checkpoint;

/// A place outside of the host.
pub trait Anchor: Send + Sync {
    /// What it is called in logs and metrics.
    fn name(&self) -> &str;

    /// What tells it from every other place, without giving it away.
    fn place(&self) -> String;

    /// Puts checkpoints there. What was put twice does no harm.
    ///
    /// # Errors
    /// When it is not known that all of them are there.
    fn put(&self, checkpoints: Vec<Checkpoint>) -> BoxFuture<'_, Result<(), NotAnchored>>;
}

/// Why checkpoints are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnchored(pub String);

/// Appends to a file, such as one on a share of another machine.
#[derive(Debug, Clone)]
pub struct FileAnchor {
    path: PathBuf,
    name: String,
}

impl FileAnchor {
    /// Of the file at this path, made when it is not there.
    pub fn new(path: PathBuf) -> Self {
        let name = format!("file {}", path.display());
        Self { path, name }
    }
}

impl Anchor for FileAnchor {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        format!("file:{}", Digest::of(self.path.as_os_str().as_encoded_bytes()))
    }

    fn put(&self, checkpoints: Vec<Checkpoint>) -> BoxFuture<'_, Result<(), NotAnchored>> {
        let path = self.path.clone();
        async move {
            let append = move || -> io::Result<()> {
                let mut lines = Vec::new();
                for checkpoint in &checkpoints {
                    serde_json::to_writer(&mut lines, checkpoint)?;
                    lines.push(b'\n');
                }
                let mut options = OpenOptions::new();
                let mut file: File = options.append(true).create(true).mode(0o640).open(&path)?;
                file.write_all(&lines)?;
                file.sync_all()
            };
            #[expect(clippy::disallowed_methods, reason = "the disk is waited for on a thread")]
            let done = tokio::task::spawn_blocking(append);
            // A share that hangs keeps its thread, and nobody else.
            match tokio::time::timeout(AUDIT_ANCHOR_TIMEOUT, done).await {
                Ok(done) => done
                    .map_err(io::Error::other)
                    .flatten()
                    .map_err(|error| NotAnchored(format!("the file cannot be written: {error}"))),
                Err(_) => Err(NotAnchored("the file was not written in time".to_owned())),
            }
        }
        .boxed()
    }
}

/// Sends messages to an HTTP address.
#[derive(Clone)]
pub struct WebhookAnchor {
    url: Secret<String>,
    name: String,
    notify: Arc<dyn Notify>,
}

impl WebhookAnchor {
    /// At this address.
    pub fn new(url: Secret<String>, notify: Arc<dyn Notify>) -> Self {
        let mut digits = Digest::of(url.expose().as_bytes()).to_string();
        digits.truncate(8);
        Self { url, name: format!("webhook {digits}"), notify }
    }
}

impl Anchor for WebhookAnchor {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        format!("webhook:{}", Digest::of(self.url.expose().as_bytes()))
    }

    fn put(&self, checkpoints: Vec<Checkpoint>) -> BoxFuture<'_, Result<(), NotAnchored>> {
        let body = serde_json::json!({ "checkpoints": checkpoints }).to_string();
        let message = Message {
            url: self.url.clone(),
            headers: Vec::new(),
            body: body.into(),
            timeout: AUDIT_ANCHOR_TIMEOUT,
        };
        async move {
            let sent = self.notify.send(message).await;
            sent.map(drop).map_err(|failure| NotAnchored(failure.error))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::base::ids::HostId;
    use crate::domain::audit::seal::{Sealed, SigningKey};
    use crate::world::notify::{FakeNotify, Scripted};

    fn checkpoints(until: u64) -> Vec<Checkpoint> {
        let key = SigningKey::from_seed(&Secret::new([1; 32])).unwrap();
        let sealed = |seq| Sealed {
            host_id: HostId::from_u128(9),
            after: seq - 1,
            seq,
            hash: Digest::of(b"hash"),
            at: Timestamp::UNIX_EPOCH,
        };
        (1..=until).map(|seq| key.checkpoint(sealed(seq)).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_gets_a_line_for_each_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("anchors");
        let all = checkpoints(3);
        FileAnchor::new(path.clone()).put(all[..2].to_vec()).await.unwrap();
        FileAnchor::new(path.clone()).put(all[2..].to_vec()).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read = text.lines().map(|line| serde_json::from_str(line).unwrap());
        assert_eq!(read.collect::<Vec<Checkpoint>>(), all);
        let nowhere = FileAnchor::new(dir.path().join("no").join("anchors"));
        assert!(nowhere.put(all).await.unwrap_err().0.contains("cannot be written"));
    }

    #[tokio::test]
    async fn a_message_holds_the_checkpoints_and_no_error_its_address() {
        let away = Scripted::answers(503);
        let notify = Arc::new(FakeNotify::scripted([Scripted::answers(204), away]));
        let url = "https://anchors.example.org/secret";
        let anchor = WebhookAnchor::new(Secret::new(url.to_owned()), Arc::clone(&notify) as _);
        anchor.put(checkpoints(2)).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&notify.got()[0].body).unwrap();
        assert_eq!(body["checkpoints"], serde_json::json!(checkpoints(2)));
        let error = anchor.put(checkpoints(1)).await.unwrap_err();
        let told = format!("{error} {} {}", anchor.name(), anchor.place());
        assert!(error.0.contains("503") && !told.contains("secret"), "{told}");
    }
}
