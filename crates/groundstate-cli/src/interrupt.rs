//! Ctrl-C: once to stop and keep what there is, twice to quit.

use std::io::{Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::outcome::{INTERRUPTED, Interrupted};

/// Whether the user has asked to stop.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over Ctrl-C, once in a process; the first one prints `what_happens`.
    pub(crate) fn listen(what_happens: &'static str) -> anyhow::Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&requested);
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(INTERRUPTED));
            }
            let _ = writeln!(stderr(), "\n{what_happens}; press Ctrl-C again to quit at once");
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(Self(requested))
    }

    /// Whether to stop.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// For work that leaves nothing behind when it is cut short.
    ///
    /// # Errors
    /// The user has asked to stop.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.requested() { Err(Interrupted) } else { Ok(()) }
    }
}
