//! The wire form of a command that is executed in a container: frames in both directions. Owns their
//! shape. Face: `Frame`, `Frames`, `ExecNew`, `ExecSize`, `ExecEnded`. Never keeps more than one frame.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::keyed::keyed;
use crate::base::limits::EXEC_FRAME_BYTES_MAX;
use crate::operations::exec::ExecSpec;

/// The media type of both bodies.
pub const EXEC_MEDIA_TYPE: &str = "application/vnd.wharf.exec";

/// Bytes before a frame's content: its kind, and how much follows.
const HEAD_BYTES: usize = 5;

keyed! {
    /// What a frame holds; its first byte.
    pub enum FrameKind: "kind of frame" {
        /// From the client, first: what is to be executed, as JSON.
        Spec = "s",
        /// From the client: bytes for standard input.
        Input = "i",
        /// From the client: no more of them.
        InputEnds = "e",
        /// From the client: the terminal's size, as JSON.
        Resize = "r",
        /// From the agent: bytes of standard output.
        Output = "o",
        /// From the agent: bytes of standard error.
        Error = "2",
        /// From the agent, last: the command ended, as JSON.
        Ended = "x",
        /// From the agent, last: the session broke off; a problem document.
        Failed = "f",
    }
}

/// One frame: a letter, four bytes with the length of the content (the highest first), the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it holds.
    pub kind: FrameKind,
    /// The content.
    pub content: Bytes,
}

impl Frame {
    /// A frame with this content.
    pub fn new(kind: FrameKind, content: impl Into<Bytes>) -> Self {
        Self { kind, content: content.into() }
    }

    /// A frame with a JSON content.
    pub fn json(kind: FrameKind, content: &impl Serialize) -> Self {
        // Only types of this API are sent, which always have a JSON form.
        Self::new(kind, serde_json::to_vec(content).unwrap_or_default())
    }

    /// As it is sent; a content that is too long for one frame becomes several.
    pub fn encode(&self) -> Bytes {
        let pieces = self.content.len().div_ceil(EXEC_FRAME_BYTES_MAX).max(1);
        let mut bytes = BytesMut::with_capacity(self.content.len() + HEAD_BYTES * pieces);
        for number in 0..pieces {
            let start = number * EXEC_FRAME_BYTES_MAX;
            let end = self.content.len().min(start + EXEC_FRAME_BYTES_MAX);
            let piece = &self.content[start..end];
            bytes.put_slice(self.kind.key().as_bytes());
            bytes.put_u32(u32::try_from(piece.len()).unwrap_or(u32::MAX));
            bytes.put_slice(piece);
        }
        bytes.freeze()
    }
}

/// Bytes that are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There is no such kind.
    #[error("a frame begins with a byte that names no kind")]
    Kind,
    /// It is too long.
    #[error("a frame has at most {EXEC_FRAME_BYTES_MAX} bytes")]
    TooLong,
}

/// Puts frames together from the pieces in which they come.
#[derive(Debug, Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next whole frame, if it has come.
    ///
    /// # Errors
    /// When what came is none.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.0.get(..HEAD_BYTES) else { return Ok(None) };
        let letter = char::from(head[0]).to_string();
        let kind: FrameKind = letter.parse().map_err(|_| FrameError::Kind)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > EXEC_FRAME_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        if self.0.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        self.0.advance(HEAD_BYTES);
        Ok(Some(Frame { kind, content: self.0.split_to(length).freeze() }))
    }
}

/// What is to be executed: the content of the first frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecNew {
    /// The service in one of whose containers it is executed.
    pub service: String,
    /// Which of them, from 1.
    #[serde(default = "first")]
    pub number: u32,
    /// The program and its arguments. Only the program's name is recorded.
    pub command: Vec<String>,
    /// As whom, instead of the container's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In which folder, instead of the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Variables beside the container's.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// With a terminal of this size; without one, standard output and standard error come apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<ExecSize>,
}

const fn first() -> u32 {
    1
}

impl From<ExecNew> for ExecSpec {
    fn from(new: ExecNew) -> Self {
        Self {
            command: new.command,
            user: new.user,
            working_dir: new.working_dir,
            environment: new.environment,
            terminal: new.terminal.map(|size| (size.columns, size.rows)),
        }
    }
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// That a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecEnded {
    /// What it ended with.
    pub exit_code: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for part in bytes.chunks(piece) {
            frames.push(part);
            while let Some(frame) = frames.take()? {
                found.push(frame);
            }
        }
        Ok(found)
    }

    #[test]
    fn frames_come_together_however_they_are_cut() {
        let sent = [
            Frame::json(FrameKind::Resize, &ExecSize { columns: 80, rows: 24 }),
            Frame::new(FrameKind::Input, &b"a\0\n"[..]),
            Frame::new(FrameKind::InputEnds, Bytes::new()),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
        for piece in 1..=bytes.len() {
            assert_eq!(all(&bytes, piece).unwrap(), sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_long_comes_in_several_frames_and_what_is_longer_is_refused() {
        let content = vec![7; EXEC_FRAME_BYTES_MAX + 1];
        let bytes = Frame::new(FrameKind::Output, content.clone()).encode();
        let found = all(&bytes, 4096).unwrap();
        assert_eq!(found.len(), 2);
        let joined: Vec<u8> = found.iter().flat_map(|frame| frame.content.clone()).collect();
        assert_eq!(joined, content);
        assert_eq!(all(b"i\xff\xff\xff\xff", 5), Err(FrameError::TooLong));
        assert_eq!(all(b"{\"a\":", 5), Err(FrameError::Kind));
    }
}
