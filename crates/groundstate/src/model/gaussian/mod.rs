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
mod copies;
mod displacement;
mod moments;
mod projection;
mod quantised;
mod source;
#[cfg(test)]
mod tests;
mod variation;

pub use bank::FeatureBank;
pub(super) use bank::invert_factors;
pub(crate) use projection::Projection;
pub(super) use projection::Projector;
pub(crate) use quantised::QuantisedRows;
pub(crate) use source::Source;

use std::ops::Range;

use groundstate_nn::{Backend, Features, Pyramid, Quantised, lower_lengths};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Batch, CELL, Energy, Evaluated, Wanted};
use crate::image::Map;
use displacement::Displaced;

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
    /// Standard deviation of the displacement that free energies sum out, in pixels; 0 for none.
    pub displacement_px: f32,
}

impl Default for GaussianConfig {
    fn default() -> Self {
        Self {
            dimensions: 64,
            factors: 48,
            pooled_weight: 0.5,
            ridge: 0.003,
            shift_px: 2,
            displacement_px: 2.0,
        }
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
    /// The features were to be layers that the network does not have.
    #[error("the network has no layers at 1/4, 1/8 and 1/16 of the resolution")]
    Layers,
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

/// What of the Gaussian a local energy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// ½ δᵀ Σ⁻¹ δ: minus the logarithm of a Gaussian.
    #[default]
    Quadratic,
    /// √(δᵀ Σ⁻¹ δ), the Mahalanobis distance: minus the logarithm of a density with exponential tails, which
    /// leaves the other terms of a sum a say where it is large.
    Distance,
}

/// Keeps the distance differentiable at zero.
const DISTANCE_FLOOR: f32 = 1e-6;

/// Pictures whose features are kept for the way back.
const AT_ONCE: usize = 8;
/// The inverse of its root is far from the largest number.
const LEAST_RIDGE: f64 = 1e-9;

/// The fitted energy.
///
/// # Shapes
/// With g = rows × columns cells and k dimensions: `mean` g × k, `variation` g × any number × k (orthonormal directions),
/// `factor` g × the lower-triangular L⁻¹, Σ = L Lᵀ, in the order of [`lower_lengths`]. The last two are nearly all that is
/// read for a picture, and in one byte a value with a scale for each direction at a cell and each row of a factor.
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
    /// Standard deviation of the displacement that free energies sum out, in pixels.
    pub displacement_px: f32,
    pub(crate) source: Source,
    pub(crate) mean: Vec<f32>,
    pub(crate) variation: QuantisedRows,
    pub(crate) factor: QuantisedRows,
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
        if !(self.ridge >= LEAST_RIDGE && self.ridge.is_finite()) {
            return error("ridge", self.ridge, "a number of at least 1e-9");
        }
        if self.factors > 256 {
            return error("factors", self.factors as f64, "at most 256");
        }
        if self.shift_px > 64 {
            return error("shift_px", self.shift_px as f64, "at most 64 pixels");
        }
        check_displacement(self.displacement_px)
    }
}

impl Gaussian {
    /// Checks that the arrays fit together, as after loading.
    ///
    /// # Errors
    /// Names the first array of a wrong length.
    pub fn check(self) -> Result<Self, GaussianError> {
        let (k, g) = (self.dimensions, self.columns * self.rows);
        self.source.check(self.channels, k)?;
        check_positions(k, g, self.mean.len(), &self.factor)?;
        check_displacement(self.displacement_px)?;
        let rows = self.directions() * g;
        self.variation.check(["variation", "variation_scale"], rows * k, rows)?;
        Ok(self)
    }

    fn check_shape(&self, batch: &Batch) {
        assert_eq!(
            (batch.width, batch.height, batch.channels),
            (self.columns * self.cell_px(), self.rows * self.cell_px(), self.channels),
            "preprocessing gives the pictures the shape that the energy was fitted to"
        );
    }

    /// Directions in which whole pictures vary.
    pub(crate) fn directions(&self) -> usize {
        self.variation.values.len() / self.mean.len()
    }

    /// The cells of a row.
    fn cells(&self, y: usize) -> Range<usize> {
        y * self.columns..(y + 1) * self.columns
    }

    /// Edge of a cell in pixels.
    pub(super) fn cell_px(&self) -> usize {
        self.source.cell_px()
    }

    /// Projected features less the mean picture, and what the way back takes if it is `wanted`.
    fn deviations(&self, batch: &Batch, wanted: bool) -> (Vec<Vec<f32>>, Vec<Features>) {
        let (mut deviations, features) = self.source.forward(batch, wanted);
        let row = self.columns * self.dimensions;
        for deviation in &mut deviations {
            let rows = deviation.par_chunks_mut(row).zip(self.mean.par_chunks(row));
            rows.for_each(|(row, mean)| row.iter_mut().zip(mean).for_each(|(d, m)| *d -= m));
        }
        (deviations, features)
    }

    /// Takes what varies in whole pictures out of their deviations.
    ///
    /// All that is kept of a row of cells is read once for all pictures.
    fn unvary(&self, deviations: &mut [Vec<f32>]) {
        let (k, g) = (self.dimensions, self.columns * self.rows);
        let coordinates = self.coordinates(deviations);
        let removed: Vec<f32> = coordinates.iter().map(|value| -value).collect();
        rows(deviations, self.columns * k).into_par_iter().enumerate().for_each(|(y, mut rows)| {
            let directions = self.variation.of_cells(self.cells(y), g);
            Backend::detect().add_rows(directions, k, &removed, &mut rows);
        });
    }

    /// Replaces vectors δ of all cells of pictures by L⁻¹ δ or L⁻ᵀ δ, as the `product` is, and fills in what the
    /// factors say of displaced cells.
    ///
    /// The factors are by far the largest of what is read: a row of cells is read once, for everything.
    fn multiply_factors(
        &self,
        product: fn(Backend, Quantised, usize, &mut [&mut [f32]]),
        vectors: &mut [Vec<f32>],
        displaced: &mut [Displaced],
    ) {
        let (k, g) = (self.dimensions, self.columns * self.rows);
        let mut comparisons = by_row(displaced.iter_mut().map(|picture| picture.rows(self.columns)));
        comparisons.resize_with(self.rows, Vec::new);
        let rows = rows(vectors, self.columns * k).into_par_iter().zip(comparisons);
        rows.enumerate().for_each(|(y, (mut vectors, mut comparisons))| {
            product(Backend::detect(), self.factor.of_cells(self.cells(y), g), k, &mut vectors);
            if !comparisons.is_empty() {
                self.compare(y, &mut comparisons);
            }
        });
    }

    /// The adjoint of [`Gaussian::unvary`] and of a product with the factors after it.
    fn whiten_adjoint(&self, slopes: &mut [Vec<f32>]) {
        self.multiply_factors(Backend::multiply_transposed_lower, slopes, &mut []);
        // 1 − U Uᵀ is its own adjoint.
        self.unvary(slopes);
    }

    /// Where pictures lie in the directions of variation: pictures × directions.
    fn coordinates(&self, pictures: &mut [Vec<f32>]) -> Vec<f32> {
        let (k, g) = (self.dimensions, self.columns * self.rows);
        let none = vec![0f32; pictures.len() * self.directions()];
        let of_rows: Vec<Vec<f32>> = rows(pictures, self.columns * k)
            .into_par_iter()
            .enumerate()
            .map(|(y, rows)| {
                let mut of_row = none.clone();
                let vectors: Vec<&[f32]> = rows.iter().map(|row| &**row).collect();
                let directions = self.variation.of_cells(self.cells(y), g);
                Backend::detect().add_dots(directions, k, &vectors, &mut of_row);
                of_row
            })
            .collect();
        let mut sum = none;
        for of_row in of_rows {
            sum.iter_mut().zip(of_row).for_each(|(sum, value)| *sum += value);
        }
        sum
    }

    /// Replaces local energies by distances, and y = L⁻¹ δ by what makes the adjoint that of distances.
    fn distances(&self, found: &mut Evaluated, whitened: &mut [f32]) {
        for (energy, y) in found.local.values.iter_mut().zip(whitened.chunks_exact_mut(self.dimensions)) {
            let distance = (2.0 * *energy + DISTANCE_FLOOR).sqrt();
            y.iter_mut().for_each(|y| *y /= distance);
            *energy = distance;
        }
        for energy in found.free.iter_mut().flat_map(|free| &mut free.values) {
            *energy = (2.0 * energy.max(0.0) + DISTANCE_FLOOR).sqrt();
        }
    }

    /// ½ |y|² of every cell.
    fn energies(&self, whitened: &[f32]) -> Map {
        let backend = Backend::detect();
        let mut local = Map::filled(self.columns, self.rows, 0.0);
        for (energy, y) in local.values.iter_mut().zip(whitened.chunks_exact(self.dimensions)) {
            *energy = 0.5 * backend.dot(y, y);
        }
        local
    }
}

/// The rows (`length` values) of several pictures, row by row.
fn rows(pictures: &mut [Vec<f32>], length: usize) -> Vec<Vec<&mut [f32]>> {
    by_row(pictures.iter_mut().map(|picture| picture.chunks_exact_mut(length)))
}

/// What several pictures have of each row.
fn by_row<R>(pictures: impl Iterator<Item = impl Iterator<Item = R>>) -> Vec<Vec<R>> {
    let mut rows: Vec<Vec<R>> = Vec::new();
    for picture in pictures {
        for (y, row) in picture.enumerate() {
            match rows.get_mut(y) {
                Some(of_row) => of_row.push(row),
                None => rows.push(vec![row]),
            }
        }
    }
    rows
}

fn check_displacement(displacement_px: f32) -> Result<(), GaussianError> {
    match displacement_px {
        0.0..=64.0 => Ok(()),
        found => Err(GaussianError::Setting {
            setting: "displacement_px",
            found: found.into(),
            expected: "at most 64 pixels",
        }),
    }
}

/// Checks the lengths of `centre` and `whitening` of k dimensions.
pub(super) fn check_projection(channels: usize, k: usize, found: [usize; 2]) -> Result<(), GaussianError> {
    let d = Pyramid::dimensions(channels);
    if k == 0 || k > d {
        return Err(GaussianError::Array { name: "whitening", found: k, expected: d });
    }
    check_arrays(["centre", "whitening"], found, [d, k * d])
}

/// Checks the lengths of `mean` and `factor` of k dimensions at some positions.
pub(super) fn check_positions(
    k: usize,
    positions: usize,
    mean: usize,
    factor: &QuantisedRows,
) -> Result<(), GaussianError> {
    check_arrays(["mean"], [mean], [positions * k])?;
    let (values, scales) = lower_lengths(k);
    factor.check(["factor", "factor_scale"], positions * values, positions * scales)
}

fn check_arrays<const N: usize>(
    names: [&'static str; N],
    found: [usize; N],
    expected: [usize; N],
) -> Result<(), GaussianError> {
    for ((name, found), expected) in names.into_iter().zip(found).zip(expected) {
        if found != expected {
            return Err(GaussianError::Array { name, found, expected });
        }
    }
    Ok(())
}

impl Gaussian {
    /// As [`Energy::evaluate`], with local energies of a form.
    pub(super) fn evaluate_as(&self, form: Form, batch: &Batch, wanted: Wanted) -> Vec<Evaluated> {
        self.check_shape(batch);
        batch
            .parts(AT_ONCE)
            .flat_map(|some| {
                let (mut deviations, features) = self.deviations(&some, wanted.gradient);
                let seen = if wanted.free { deviations.clone() } else { Vec::new() };
                self.unvary(&mut deviations);
                let mut displaced: Vec<Displaced> = seen
                    .into_iter()
                    .zip(&deviations)
                    .map(|(seen, left)| self.displaced(seen, left))
                    .collect();
                self.multiply_factors(Backend::multiply_lower, &mut deviations, &mut displaced);
                let mut whitened = deviations;
                let local = whitened.par_iter().map(|whitened| self.energies(whitened));
                let mut found: Vec<Evaluated> =
                    local.map(|local| Evaluated { local, free: None, gradient: None }).collect();
                for (found, displaced) in found.iter_mut().zip(&displaced) {
                    found.free = Some(self.free_energies(displaced, &found.local));
                }
                if form == Form::Distance {
                    found.par_iter_mut().zip(&mut whitened).for_each(|(found, y)| self.distances(found, y));
                }
                if wanted.gradient {
                    // The slope of ½ |L⁻¹ δ|² is L⁻ᵀ y.
                    self.whiten_adjoint(&mut whitened);
                    let gradients = self.source.pull_back(&some, &features, &whitened);
                    found.iter_mut().zip(gradients).for_each(|(found, of)| found.gradient = Some(of));
                }
                found
            })
            .collect()
    }
}

impl Energy for Gaussian {
    fn stride(&self) -> usize {
        self.cell_px()
    }

    fn evaluate(&self, batch: &Batch, wanted: Wanted) -> Vec<Evaluated> {
        self.evaluate_as(Form::Quadratic, batch, wanted)
    }
}
