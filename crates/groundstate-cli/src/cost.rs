//! What a training took. A model file does not hold it: the same training gives the same file.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use groundstate::train::peak_memory_mib;
use serde::{Deserialize, Serialize};

/// What a training took; docs/json.md lists the keys.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Wall time, reading the images included.
    pub(crate) train_seconds: f64,
    /// Highest resident memory of the process that trained, where the system tells.
    pub(crate) peak_memory_mib: Option<f64>,
}

impl Cost {
    /// Of a training in this process that began at `start` and has just ended.
    pub(crate) fn since(start: Instant) -> Self {
        Self { train_seconds: start.elapsed().as_secs_f64(), peak_memory_mib: peak_memory_mib() }
    }

    /// Of the training whose `train --json` is in a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what train --json prints", path.display()))
    }
}
