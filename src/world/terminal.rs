//! The terminal of who runs a command. Owns its modes. Face: `Hushed`, `Raw`, `size`. Never leaves a
//! terminal as it made it: each mode ends with its guard.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal that does not show what is typed, for as long as this lives.
#[derive(Debug)]
pub struct Hushed(Termios);

impl Hushed {
    /// Hushes the terminal at standard input.
    ///
    /// # Errors
    /// When there is none.
    pub fn stdin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hushed = before.clone();
        hushed.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hushed)?;
        Ok(Self(before))
    }
}

impl Drop for Hushed {
    fn drop(&mut self) {
        // Nobody can be told here.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// A terminal that passes every key on as it is pressed, for as long as this lives.
#[derive(Debug)]
pub struct Raw(Termios);

impl Raw {
    /// Puts the terminal at standard input into this mode.
    ///
    /// # Errors
    /// When there is none.
    pub fn stdin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Columns and rows of the terminal at standard output; none when there is no terminal.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
