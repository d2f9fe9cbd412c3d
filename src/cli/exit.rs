//! Says how `wharf` ends. Owns the one table of exit codes. Face: `Exit`, `CliError`. Never gives
//! one number two meanings: scripts branch on them.

use std::fmt::{self, Write as _};

use crate::base::Diagnostic;
use crate::domain::runs::Outcome;

/// How a command ended. From 64 on the numbers are those of sysexits(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Success,
    /// The run failed; something that was looked at is not as it should be.
    Failed,
    /// `plan` found something to do; `policy` could not judge.
    Changes,
    /// The run did a part of its work.
    Partial,
    /// The run was refused.
    Blocked,
    /// The run was cancelled.
    Cancelled,
    /// The command line is wrong.
    Usage,
    /// A file that was given is wrong.
    Data,
    /// What was named does not exist.
    NotFound,
    /// The agent does not answer.
    Unreachable,
    /// `wharf` or the agent made a mistake.
    Internal,
    /// A file of the system cannot be used.
    SystemFile,
    /// The agent or its engine cannot do it now.
    Unavailable,
    /// The agent refuses this user.
    Denied,
    /// The agent's configuration is wrong.
    Configuration,
    /// Interrupted by Ctrl-C.
    Interrupted,
    /// What a command in a container ended with: `exec` passes it on.
    Command(u8),
}

impl Exit {
    /// All of them, by number.
    pub const ALL: &'static [Self] = &[
        Self::Success,
        Self::Failed,
        Self::Changes,
        Self::Partial,
        Self::Blocked,
        Self::Cancelled,
        Self::Usage,
        Self::Data,
        Self::NotFound,
        Self::Unreachable,
        Self::Internal,
        Self::SystemFile,
        Self::Unavailable,
        Self::Denied,
        Self::Configuration,
        Self::Interrupted,
    ];

    /// The number and what it means, for people.
    pub const fn row(self) -> (u8, &'static str) {
        match self {
            Self::Success => (0, "done, or nothing to do"),
            Self::Failed => {
                (1, "the run failed, or `doctor`, `policy` or `audit verify` found a fault")
            }
            Self::Changes => (2, "`plan` found something to do; `policy` could not judge"),
            Self::Partial => (3, "the run did a part of its work"),
            Self::Blocked => (4, "the run was refused"),
            Self::Cancelled => (5, "the run was cancelled"),
            Self::Usage => (64, "the command line is wrong"),
            Self::Data => (65, "a compose file or another input is wrong"),
            Self::NotFound => (66, "the file, project or run does not exist"),
            Self::Unreachable => (69, "the agent does not answer"),
            Self::Internal => (70, "wharf or the agent made a mistake"),
            Self::SystemFile => (74, "a file cannot be read or written"),
            Self::Unavailable => (75, "the agent or the engine cannot do it now; try again"),
            Self::Denied => (77, "the agent refuses this user"),
            Self::Configuration => (78, "the agent's configuration is wrong"),
            Self::Interrupted => (130, "interrupted; a run that was started goes on"),
            Self::Command(code) => (code, "what the command ended with"),
        }
    }

    /// The number.
    pub const fn code(self) -> u8 {
        self.row().0
    }

    /// The table, as `--help` and the manual show it.
    pub fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            let (code, meaning) = exit.row();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {code:>3}  {meaning}");
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// How a command ends whose run ended so.
    pub const fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pending | Outcome::Succeeded => Self::Success,
            Outcome::PartiallySucceeded => Self::Partial,
            Outcome::Failed => Self::Failed,
            Outcome::Blocked => Self::Blocked,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

/// Why a command could not do its work: what happened, and what to do.
#[derive(Debug)]
pub struct CliError {
    /// How `wharf` ends.
    pub exit: Exit,
    /// What happened: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Problems with the user's files, each with its place.
    pub diagnostics: Vec<Diagnostic>,
    /// Further lines: problems as the agent renders them, or failures of a run.
    pub details: Vec<String>,
}

impl CliError {
    /// A failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            diagnostics: Vec::new(),
            details: Vec::new(),
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Problems with the user's files.
    pub fn diagnostics(exit: Exit, message: impl Into<String>, found: Vec<Diagnostic>) -> Self {
        Self { diagnostics: found, ..Self::new(exit, message) }
    }

    /// The same, with further lines.
    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// The error for programs.
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "error": {
                "exit_code": self.exit.code(),
                "message": self.message,
                "hint": self.hint,
                "diagnostics": self.diagnostics,
                "details": self.details,
            }
        })
        .to_string()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wharf: {}", self.message)?;
        for diagnostic in &self.diagnostics {
            write!(f, "\n{diagnostic}")?;
        }
        for detail in &self.details {
            write!(f, "\n{detail}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  help: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_meaning_and_the_table_is_sorted() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert!(codes.is_sorted_by(|left, right| left < right), "{codes:?}");
    }

    #[test]
    fn promised_numbers_stay() {
        let promised =
            [(Exit::Success, 0), (Exit::Changes, 2), (Exit::Usage, 64), (Exit::Unreachable, 69)];
        for (exit, code) in promised {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
