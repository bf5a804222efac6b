//! What turns gradients into better parameters: step rule, rate schedule, weight average.

mod adamw;
mod average;
mod schedule;

pub use adamw::{AdamW, AdamWSettings};
pub use average::WeightAverage;
pub use schedule::Schedule;

use thiserror::Error;

/// A setting out of range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{setting} is {found}, expected {expected}")]
pub struct OptimiserError {
    /// Name of the setting.
    pub setting: &'static str,
    /// Its value.
    pub found: f64,
    /// The range it must lie in.
    pub expected: &'static str,
}

/// Refuses a value for which `fits` is false.
fn check(
    setting: &'static str,
    found: f64,
    fits: bool,
    expected: &'static str,
) -> Result<(), OptimiserError> {
    if fits { Ok(()) } else { Err(OptimiserError { setting, found, expected }) }
}
