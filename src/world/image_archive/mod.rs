//! Reads what the engine saves of an image: the files that tell of packages, as its layers leave them. Owns
//! the limits of that, and the thread that it is done on. Face: `read`, `unpack`, `Contents`. Never writes
//! anything to the disk, and never believes an archive: one that leads out of itself is refused.

mod layer;
mod members;
#[cfg(test)]
mod tests;
mod unpack;
mod zstd;

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

use crate::base::limits::{IMAGE_ARCHIVE_PARTS_MAX, IMAGE_ARCHIVE_TIMEOUT};
use crate::world::docker::EngineError;

pub use unpack::unpack;

/// What is wanted of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The files that tell of packages, by path without a leading `/`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files that would tell of packages and could not be had: the path, and why.
    pub missed: BTreeMap<String, &'static str>,
    /// Layers that were read.
    pub layers: usize,
}

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The engine ended it.
    #[error("the engine did not save the image")]
    Engine(#[source] EngineError),
    /// It took too long.
    #[error("saving the image took longer than {} minutes", IMAGE_ARCHIVE_TIMEOUT.as_secs() / 60)]
    TooSlow,
    /// It is no archive that can be read.
    #[error("the image's archive cannot be read: {0}")]
    Broken(String),
    /// It is not what an image may be.
    #[error("the image's archive is refused: {0}")]
    Refused(String),
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Reads an archive that comes from the engine in parts.
///
/// # Errors
/// When the engine fails, it takes too long, or the archive is broken or refused.
pub async fn read(
    mut parts: BoxStream<'_, Result<Bytes, EngineError>>,
) -> Result<Contents, ArchiveError> {
    // The thread waits for nothing but parts, so that none begins before there is one.
    let first = tokio::time::timeout(IMAGE_ARCHIVE_TIMEOUT, parts.next()).await;
    let first = first.map_err(|_| ArchiveError::TooSlow)?.transpose();
    let first = first.map_err(ArchiveError::Engine)?.unwrap_or_default();
    let (sender, receiver) = mpsc::channel(IMAGE_ARCHIVE_PARTS_MAX);
    #[expect(clippy::disallowed_methods, reason = "unpacking takes a processor for a while")]
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut stream = Parts { receiver, part: first };
        let contents = unpack(&mut stream)?;
        // Until the engine is done: it would call a reader that left early a failure.
        io::copy(&mut stream, &mut io::sink())?;
        Ok(contents)
    });
    let feeding = async {
        while let Some(part) = parts.next().await {
            let part = part.map_err(ArchiveError::Engine)?;
            if sender.send(part).await.is_err() {
                break;
            }
        }
        drop(sender);
        Ok(())
    };
    let both = async {
        let fed = feeding.await;
        let unpacked = unpacking.await;
        let unpacked =
            unpacked.unwrap_or_else(|_| Err(ArchiveError::Broken("its reader failed".to_owned())));
        // That the engine failed explains why the archive has no end.
        fed.and(unpacked)
    };
    tokio::time::timeout(IMAGE_ARCHIVE_TIMEOUT, both).await.unwrap_or(Err(ArchiveError::TooSlow))
}

/// What comes in parts, as a stream that waits for the next one.
struct Parts {
    receiver: mpsc::Receiver<Bytes>,
    part: Bytes,
}

impl Read for Parts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.receiver.blocking_recv() {
                Some(part) => self.part = part,
                None => return Ok(0),
            }
        }
        let size = into.len().min(self.part.len());
        self.part.copy_to_slice(&mut into[..size]);
        Ok(size)
    }
}
