//! What the user reads besides results: warnings, notes and errors, on stderr.
//!
//! A closed stderr is no reason to stop working, so failures to write there are passed over.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};

use crate::outcome;

/// Where messages go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// Whether to print errors only.
    pub(crate) quiet: bool,
}

impl Console {
    /// Whether progress may be drawn.
    pub(crate) fn is_terminal(&self) -> bool {
        stderr().is_terminal()
    }

    /// Something went wrong.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let _ = writeln!(stderr(), "error: {}", outcome::one_line(error));
    }

    /// Something may not be what the user meant.
    pub(crate) fn warn(&self, message: impl Display) {
        self.say(format_args!("warning: {message}"));
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, message: impl Display) {
        self.say(format_args!("note: {message}"));
    }

    /// A plain line.
    pub(crate) fn say(&self, message: impl Display) {
        if !self.quiet {
            let _ = writeln!(stderr(), "{message}");
        }
    }
}
