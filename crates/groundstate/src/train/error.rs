//! Why a training fails.

use groundstate_nn::{NetworkError, OptimiserError};

use super::checkpoint::CheckpointError;
use crate::calibrate::CalibrateError;
use crate::image::{ImageError, RoiError};
use crate::model::GaussianError;
use crate::sampler::LangevinError;
use crate::score::StatisticsError;

/// Why a training fails.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// There is too little to learn from.
    #[error("found {found} usable normal pictures, expected at least {expected}")]
    TooFewPictures {
        /// Pictures given.
        found: usize,
        /// The least that the method can do with.
        expected: usize,
    },
    /// A setting is out of range.
    #[error("{setting} is {found}, expected {expected}")]
    Setting {
        /// Name of the setting as in the configuration file.
        setting: &'static str,
        /// Its value.
        found: String,
        /// Its range.
        expected: &'static str,
    },
    /// Stopped by the user before there was an energy to keep.
    #[error("training was stopped before there was a model to keep")]
    Stopped,
    /// The closed-form energy cannot be fitted.
    #[error(transparent)]
    Gaussian(#[from] GaussianError),
    /// The network cannot be built or run.
    #[error("network: {0}")]
    Network(#[from] NetworkError),
    /// An optimiser setting is out of range.
    #[error("optimiser: {0}")]
    Optimiser(#[from] OptimiserError),
    /// A chain setting is out of range.
    #[error(transparent)]
    Langevin(#[from] LangevinError),
    /// Preprocessing settings are out of range.
    #[error(transparent)]
    Preprocessing(#[from] ImageError),
    /// The region of interest is none.
    #[error(transparent)]
    Roi(#[from] RoiError),
    /// The training cannot be saved, or cannot go on from what was saved.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The trained energy is broken.
    #[error("the trained energy cannot be used: {0}")]
    Statistics(#[from] StatisticsError),
    /// The trained energy is broken.
    #[error("the trained energy cannot be calibrated: {0}")]
    Calibrate(#[from] CalibrateError),
}
