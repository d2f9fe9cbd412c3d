//! Finds out which commit a project's files are from. Owns the question to git, with its limits.
//! Face: `source_of`. Never fails a command: without a repository, or without git, nothing is said.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::api::wire::SourceView;

/// Longest wait for git: a large tree on a slow disk is not worth more.
const GIT_WAIT_MAX: Duration = Duration::from_secs(3);
/// Most of git's answer that is read; whoever has more changes than this has changes.
const GIT_ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The commit that the folder's repository is at, and whether anything in it differs.
pub(super) fn source_of(directory: &Path) -> Option<SourceView> {
    directory.ancestors().find(|above| above.join(".git").exists())?;
    let mut child = Command::new("git")
        // Nothing that a repository configures is run for a question.
        .args(["-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch"])
        .current_dir(directory)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let out = child.stdout.take()?;
    let (answer, answered) = mpsc::sync_channel(1);
    let reader = thread::Builder::new().name("git".to_owned()).spawn(move || {
        let mut text = Vec::new();
        let read = out.take(GIT_ANSWER_BYTES_MAX).read_to_end(&mut text);
        // Nobody waits any more when git took too long.
        let _ = answer.send(read.map(|_| text));
    });
    let text = answered.recv_timeout(GIT_WAIT_MAX);
    // It has said what is wanted, or takes too long. It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
    let _ = reader.ok()?.join();
    read_status(&String::from_utf8_lossy(&text.ok()?.ok()?))
}

/// Reads what `git status --porcelain=v2 --branch` says.
fn read_status(text: &str) -> Option<SourceView> {
    let commit = text.lines().find_map(|line| line.strip_prefix("# branch.oid "))?;
    let is_clean = text.lines().all(|line| line.starts_with('#'));
    SourceView::new(commit, is_clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_the_commit_and_whether_anything_differs() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let clean = format!("# branch.oid {commit}\n# branch.head main\n");
        assert_eq!(read_status(&clean), SourceView::new(commit, true));
        let changed = format!("{clean}1 .M N... 100644 100644 100644 a b compose.yaml\n");
        assert_eq!(read_status(&changed), SourceView::new(commit, false));
        let untracked = format!("{clean}? new.yaml\n");
        assert_eq!(read_status(&untracked), SourceView::new(commit, false));
        assert_eq!(read_status("# branch.oid (initial)\n"), None);
        assert_eq!(read_status(""), None);
    }

    #[test]
    fn a_folder_without_a_repository_says_nothing() {
        assert_eq!(source_of(Path::new("/")), None);
    }
}
