//! How a command ends: exit codes, and errors as one line.

use std::io;
use std::process::ExitCode;

use groundstate::train::TrainError;

use crate::console::Console;

/// The exit codes, for the help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    everything was done
  1    some images or categories could not be processed, the rest was
  2    nothing could be done: wrong arguments, no data, an unusable model
  3    an image was flagged (inspect --fail-on-anomaly), or there is drift (drift --fail-on-drift)
  130  interrupted before there was a result to keep";

/// Exit code of an interruption, 128 + SIGINT as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Complete,
    /// Some inputs could not be processed.
    Partial,
    /// An image was flagged or drift found, and the user asked to be told by the exit code.
    Anomalous,
}

/// The user's Ctrl-C came before there was anything to keep.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// The exit code of a command; an error is printed.
pub(crate) fn exit_code(result: anyhow::Result<Outcome>, console: &Console) -> ExitCode {
    match result {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::from(1),
        Ok(Outcome::Anomalous) => ExitCode::from(3),
        // The reader of a pipe has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            console.error(&error);
            ExitCode::from(if is_interruption(&error) { INTERRUPTED } else { 2 })
        }
    }
}

/// The error and its causes as one line. A cause that the text before it already states is left out.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let direct = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let by_json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        direct.or(by_json) == Some(io::ErrorKind::BrokenPipe)
    })
}

fn is_interruption(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.is::<Interrupted>() || matches!(cause.downcast_ref(), Some(TrainError::Stopped)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_already_stated_is_not_repeated() {
        let source = io::Error::other("disk full");
        let stated = anyhow::Error::new(source).context("cannot write x: disk full").context("cannot save");
        assert_eq!(one_line(&stated), "cannot save: cannot write x: disk full");
    }

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(one_line(&anyhow::anyhow!("first\n  | second\n")), "first | second");
    }
}
