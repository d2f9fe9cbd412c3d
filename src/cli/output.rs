//! Prints. Owns the two streams, the two formats and tables. Face: `Output`, `Table`. Never panics
//! on a closed pipe: whoever reads has seen enough, and `wharf` ends quietly.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use serde::Serialize;

use super::exit::{CliError, Exit};
use super::grammar::Format;
use super::sarif::{self, Level};
use crate::base::Timestamp;
use crate::base::time::between;

/// Where results and errors go.
pub(super) struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// How results are printed.
    pub format: Format,
    /// Whether a person looks at the results as they come.
    pub is_terminal: bool,
    /// Whether the reader of the results is gone.
    is_closed: bool,
}

impl Output {
    /// The process's own streams.
    pub(super) fn process(format: Format) -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            format,
            is_terminal: io::stdout().is_terminal(),
            is_closed: false,
        }
    }

    /// Whether results are for programs.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether results are findings for code hosts and editors.
    pub(super) fn is_sarif(&self) -> bool {
        self.format == Format::Sarif
    }

    /// Prints text.
    ///
    /// # Errors
    /// When the reader is gone (the command ends quietly) or the text cannot be written.
    pub(super) fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// Prints what is text only as a whole.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = self.out.write_all(bytes).and_then(|()| self.out.flush());
        written.map_err(|error| {
            self.is_closed = error.kind() == io::ErrorKind::BrokenPipe;
            CliError::new(Exit::SystemFile, format!("cannot write the result: {error}"))
        })
    }

    /// Prints a line.
    pub(super) fn line(&mut self, line: impl AsRef<str>) -> Result<(), CliError> {
        self.text(&format!("{}\n", line.as_ref()))
    }

    /// Prints a value as JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(|error| {
            CliError::new(Exit::Internal, format!("the result has no JSON form: {error}"))
        })?;
        self.line(text)
    }

    /// Says something beside the result.
    pub(super) fn note(&mut self, note: impl AsRef<str>) {
        // Nobody has to hear it.
        let _ = writeln!(self.err, "{}", note.as_ref());
    }

    /// Says why the command did not do its work, and gives the code it ends with.
    pub(super) fn fail(&mut self, error: &CliError) -> Exit {
        if self.is_closed {
            return Exit::Success;
        }
        if self.is_sarif() && !error.diagnostics.is_empty() {
            let found = error.diagnostics.iter().map(|found| (Level::Error, found.clone()));
            let log = sarif::log(&found.collect::<Vec<_>>());
            if self.json(&log).is_ok() {
                return error.exit;
            }
        }
        let text = if self.is_json() { error.to_json() } else { error.to_string() };
        // There is nobody left to tell.
        let _ = writeln!(self.err, "{text}");
        error.exit
    }
}

/// Columns that line up.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The table as lines.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `3.2s`, `1m12s`, `2h5m`, `3d`: as exact as a person wants it.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago something was, or a dash.
pub(super) fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| "-".to_owned(), |then| format!("{} ago", duration(between(then, now))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_blanks() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["shop-web-1".to_owned(), "running".to_owned()]);
        table.row(["größe".to_owned(), String::new()]);
        assert_eq!(table.render(), "NAME        STATE\nshop-web-1  running\ngröße\n");
    }

    #[test]
    fn durations_are_as_exact_as_a_person_wants_them() {
        let check = |millis, expect| assert_eq!(duration(Duration::from_millis(millis)), expect);
        check(320, "0.3s");
        check(59_900, "59s");
        check(72_000, "1m12s");
        check(7_500_000, "2h5m");
        check(3 * 86_400_000, "3d");
    }
}
