//! The reference energy in closed form: a Gaussian of the features at every position.
//!
//! e(u, v) = ½ δᵀ Σ⁻¹ δ, where δ(u, v) is how the features of a cell deviate from what is normal there:
//!
//! 1. The [`Pyramid`] features are projected to their principal axes (`projection`).
//! 2. The mean picture is subtracted, and what varies in whole pictures is taken out (`variation`).
//! 3. Σ(u, v) is the covariance of what is left at the position over the normal pictures, shrunk towards
//!    the mean covariance of all positions and towards the identity.
//!
//! Normalised in feature space, fitted in seconds without a chain (the idea of PaDiM, Defard et al. 2021,
//! without a pretrained network).

mod bank;
mod linear;
mod projection;
#[cfg(test)]
mod tests;
mod variation;

pub use bank::FeatureBank;
pub(super) use bank::invert_factor;
pub(super) use linear::{add_scaled, add_transposed_lower, dot, multiply_lower, product};
pub(super) use projection::{Projection, project};

use nalgebra::DMatrixView;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::features::{CELL, Pyramid};
use super::{Batch, Energy, Evaluated};
use crate::image::Map;

/// Settings of the closed-form energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianConfig {
    /// Principal components that are kept.
    pub dimensions: usize,
    /// Directions in which whole pictures are taken to vary: at most this many, and at most one for
    /// eight pictures.
    pub factors: usize,
    /// Weight of the covariance of all positions in the covariance of each, in `[0, 1]`.
    pub pooled_weight: f64,
    /// Variance added to every whitened dimension.
    pub ridge: f64,
    /// Each picture counts once more, moved by this many pixels: parts are never placed exactly.
    pub shift_px: usize,
}

impl Default for GaussianConfig {
    fn default() -> Self {
        Self { dimensions: 64, factors: 24, pooled_weight: 0.5, ridge: 0.005, shift_px: 2 }
    }
}

/// Why a Gaussian energy cannot be fitted or loaded.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum GaussianError {
    /// A mean and a covariance need several pictures.
    #[error("found {found} normal pictures, expected at least 2 to fit a covariance")]
    TooFewPictures {
        /// Pictures given.
        found: usize,
    },
    /// A setting is out of range.
    #[error("gaussian.{setting} is {found}, expected {expected}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        found: f64,
        /// Its range.
        expected: &'static str,
    },
    /// Stored arrays do not fit together.
    #[error("array {name} of the reference energy has {found} values, expected {expected}")]
    Array {
        /// Name of the array in the model file.
        name: &'static str,
        /// Values found.
        found: usize,
        /// Values expected.
        expected: usize,
    },
}

/// The fitted energy.
///
/// # Shapes
/// With g = rows × columns cells, d features a cell and k kept dimensions: `centre` d, `whitening`
/// k × d, `mean` g × k, `variation` any number × g × k (orthonormal), `factor` g × k(k+1)/2 (rows of the
/// lower-triangular L⁻¹, Σ = L Lᵀ).
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    /// Cells across.
    pub columns: usize,
    /// Cells down.
    pub rows: usize,
    /// Channels of the pictures.
    pub channels: usize,
    /// Kept dimensions k.
    pub dimensions: usize,
    pub(crate) centre: Vec<f32>,
    pub(crate) whitening: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    pub(crate) variation: Vec<f32>,
    pub(crate) factor: Vec<f32>,
}

impl GaussianConfig {
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn check(&self) -> Result<(), GaussianError> {
        let error = |setting, found, expected| Err(GaussianError::Setting { setting, found, expected });
        if self.dimensions == 0 {
            return error("dimensions", 0.0, "at least 1");
        }
        if !(0.0..=1.0).contains(&self.pooled_weight) {
            return error("pooled_weight", self.pooled_weight, "a number in [0, 1]");
        }
        if !(self.ridge > 0.0 && self.ridge.is_finite()) {
            return error("ridge", self.ridge, "a positive number");
        }
        if self.factors > 256 {
            return error("factors", self.factors as f64, "at most 256");
        }
        if self.shift_px > 64 {
            return error("shift_px", self.shift_px as f64, "at most 64 pixels");
        }
        Ok(())
    }
}

impl Gaussian {
    /// Checks that the arrays fit together, as after loading.
    ///
    /// # Errors
    /// Names the first array of a wrong length.
    pub fn check(self) -> Result<Self, GaussianError> {
        let (k, g) = (self.dimensions, self.columns * self.rows);
        let lengths = [&self.centre, &self.whitening, &self.mean, &self.factor].map(Vec::len);
        check_lengths(self.channels, k, g, lengths)?;
        if !self.variation.len().is_multiple_of(g * k) {
            return Err(GaussianError::Array {
                name: "variation",
                found: self.variation.len(),
                expected: g * k,
            });
        }
        Ok(self)
    }

    fn check_shape(&self, batch: &Batch) {
        assert_eq!(
            (batch.width, batch.height, batch.channels),
            (self.columns * CELL, self.rows * CELL, self.channels),
            "preprocessing gives the pictures the shape that the energy was fitted to"
        );
    }

    /// y = L⁻¹ δ of every cell (cells × k) from its projected features.
    fn whitened(&self, mut features: Vec<f32>) -> Vec<f32> {
        let (k, packed) = (self.dimensions, self.dimensions * (self.dimensions + 1) / 2);
        features.iter_mut().zip(&self.mean).for_each(|(d, m)| *d -= m);
        variation::remove(&mut features, &self.variation);
        for (d, factor) in features.chunks_exact_mut(k).zip(self.factor.chunks_exact(packed)) {
            multiply_lower(factor, d);
        }
        features
    }

    /// The local energies of one picture, and y of every cell.
    fn forward(&self, picture: &[f32]) -> (Map, Vec<f32>) {
        let pyramid = Pyramid::new(self.channels);
        let raw = pyramid.forward(picture, self.columns * CELL, self.rows * CELL);
        let whitened = self.whitened(project(&raw, &self.centre, &self.whitening));
        let mut local = Map::filled(self.columns, self.rows, 0.0);
        for (energy, y) in local.values.iter_mut().zip(whitened.chunks_exact(self.dimensions)) {
            *energy = 0.5 * dot(y, y);
        }
        (local, whitened)
    }

    fn backward(&self, picture: &[f32], whitened: &[f32]) -> Vec<f32> {
        let pyramid = Pyramid::new(self.channels);
        let (k, d) = (self.dimensions, pyramid.dimensions());
        let packed = k * (k + 1) / 2;
        let mut slopes = vec![0f32; whitened.len()];
        for ((y, factor), slope) in
            whitened.chunks_exact(k).zip(self.factor.chunks_exact(packed)).zip(slopes.chunks_exact_mut(k))
        {
            add_transposed_lower(factor, y, slope);
        }
        variation::remove(&mut slopes, &self.variation);
        let whitening = DMatrixView::from_slice(&self.whitening, d, k);
        let weights = product(&whitening, &DMatrixView::from_slice(&slopes, k, slopes.len() / k));
        pyramid.backward(picture, self.columns * CELL, self.rows * CELL, &weights)
    }
}

/// Checks the lengths of `centre`, `whitening`, `mean` and `factor` of k dimensions at some positions.
pub(super) fn check_lengths(
    channels: usize,
    k: usize,
    positions: usize,
    [centre, whitening, mean, factor]: [usize; 4],
) -> Result<(), GaussianError> {
    let d = Pyramid::new(channels).dimensions();
    if k == 0 || k > d {
        return Err(GaussianError::Array { name: "whitening", found: k, expected: d });
    }
    for (name, found, expected) in [
        ("centre", centre, d),
        ("whitening", whitening, k * d),
        ("mean", mean, positions * k),
        ("factor", factor, positions * k * (k + 1) / 2),
    ] {
        if found != expected {
            return Err(GaussianError::Array { name, found, expected });
        }
    }
    Ok(())
}

impl Energy for Gaussian {
    fn stride(&self) -> usize {
        CELL
    }

    fn local_energies(&self, batch: &Batch) -> Vec<Map> {
        self.check_shape(batch);
        batch.values.par_chunks_exact(batch.picture_len()).map(|picture| self.forward(picture).0).collect()
    }

    fn evaluate(&self, batch: &Batch) -> Vec<Evaluated> {
        self.check_shape(batch);
        batch
            .values
            .par_chunks_exact(batch.picture_len())
            .map(|picture| {
                let (local, whitened) = self.forward(picture);
                Evaluated { local, gradient: self.backward(picture, &whitened) }
            })
            .collect()
    }
}
