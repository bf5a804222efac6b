//! The features of normal pictures, and the energies fitted to them.

use groundstate_nn::{Backend, Pyramid};
use half::f16;
use half::slice::HalfFloatSliceExt;
use nalgebra::DMatrix;
use rayon::prelude::*;

use super::copies::{Copies, Selection};
use super::moments::Moments;
use super::projection::{self, Projection, Projector};
use super::variation::{self, Variation};
use super::{Gaussian, GaussianConfig, GaussianError};
use crate::image::Image;

/// Pictures that the projection is estimated from; their cells are plenty.
const PROJECTION_PICTURES: usize = 64;
/// Pictures that the variation of whole pictures is estimated from.
const VARIATION_PICTURES: usize = 384;
/// Pictures for each direction in which whole pictures are taken to vary.
const PICTURES_PER_FACTOR: usize = 8;
/// Covariances that one task averages or inverts.
const POOLED_AT_ONCE: usize = 64;

/// Projected features of normal pictures, in folds, to which the energy is fitted, or to all but one
/// fold of which.
///
/// Picture i belongs to fold i mod the number of folds. Memory: k half-precision numbers for each cell of
/// each picture and of its shifted copy, and k(k+1)/2 + k numbers for each cell.
pub struct FeatureBank {
    columns: usize,
    rows: usize,
    channels: usize,
    projection: Projection,
    config: GaussianConfig,
    copies: Copies,
    /// Sums over all copies.
    moments: Moments,
    /// Pictures that the variation is estimated from, and the inner products of their features.
    sample: Vec<usize>,
    products: DMatrix<f64>,
}

impl FeatureBank {
    /// Computes the features of normal pictures (all of one shape, edges multiples of
    /// [`CELL`](crate::model::CELL)) and of a shifted copy of each.
    ///
    /// # Errors
    /// When a setting is out of range or there are fewer than two pictures.
    pub fn new(pictures: &[&Image], folds: usize, config: &GaussianConfig) -> Result<Self, GaussianError> {
        config.check()?;
        if pictures.len() < 2 {
            return Err(GaussianError::TooFewPictures { found: pictures.len() });
        }
        let (width, height, channels) = (pictures[0].width, pictures[0].height, pictures[0].channels);
        let pyramid = Pyramid::new(width, height, channels);
        let kept = config.dimensions.min(Pyramid::dimensions(channels));
        let projection = projection(&pyramid, pictures, kept);
        let config = GaussianConfig { dimensions: kept, ..config.clone() };
        let projector = Projector::new(&projection.centre, &projection.matrix);
        let features = |picture: usize, is_shifted: bool| -> Vec<f16> {
            let picture_pixels = &pictures[picture].pixels;
            let values = projector.apply(&match is_shifted {
                true => pyramid.forward(&shifted(pictures[picture], config.shift_px, picture)),
                false => pyramid.forward(picture_pixels),
            });
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(&values);
            halves
        };
        let counts = (pictures.len(), folds.max(1));
        let shape = (pyramid.columns() * pyramid.rows(), kept);
        let copies = Copies::gather(counts, shape, config.shift_px > 0, features);
        drop(projector);
        Ok(Self::of_copies((pyramid.columns(), pyramid.rows(), channels), projection, config, copies))
    }

    fn of_copies(
        (columns, rows, channels): (usize, usize, usize),
        projection: Projection,
        config: GaussianConfig,
        copies: Copies,
    ) -> Self {
        let sample = match config.factors {
            0 => Vec::new(),
            _ => spread_out(copies.pictures(), VARIATION_PICTURES),
        };
        let products = match sample.is_empty() {
            true => DMatrix::zeros(0, 0),
            false => {
                let positions: Vec<usize> = sample.iter().map(|&i| copies.position(i, false)).collect();
                variation::inner_products(&copies, &positions)
            }
        };
        let moments = Moments::of(&copies.of_folds(|_| true));
        Self { columns, rows, channels, projection, config, copies, moments, sample, products }
    }

    /// Fits the energy to all pictures, or to all but those of one fold.
    ///
    /// # Errors
    /// When fewer than two pictures are left.
    pub fn fit(&self, without_fold: Option<usize>) -> Result<Gaussian, GaussianError> {
        let k = self.config.dimensions;
        let found =
            (0..self.copies.pictures()).filter(|i| Some(i % self.copies.folds()) != without_fold).count();
        if found < 2 {
            return Err(GaussianError::TooFewPictures { found });
        }
        let copies = self.copies.of_folds(|fold| Some(fold) != without_fold);
        // One fold is summed again, which takes less memory than to keep the sums of all folds.
        let moments = match without_fold {
            None => self.moments.clone(),
            Some(fold) => self.moments.without(Moments::of(&self.copies.of_folds(|f| f == fold))),
        };
        let variation = self.variation(&copies);
        let (mut mean, mut factor) = moments.finish(&copies, &variation);
        let pooled = pooled(&factor, k * (k + 1) / 2);
        invert_factors(&mut factor, &pooled, &self.config);
        mean.iter_mut().zip(&self.copies.origin).for_each(|(mean, origin)| *mean += origin);
        Ok(Gaussian {
            columns: self.columns,
            rows: self.rows,
            channels: self.channels,
            dimensions: k,
            displacement_px: self.config.displacement_px,
            centre: self.projection.centre.clone(),
            whitening: self.projection.matrix.clone(),
            mean,
            variation: variation.directions,
            factor,
        })
    }

    fn variation(&self, copies: &Selection) -> Variation {
        let rank = |&i: &usize| copies.rank(self.copies.position(self.sample[i], false));
        let kept: Vec<usize> = (0..self.sample.len()).filter(|i| rank(i).is_some()).collect();
        let count = self.config.factors.min(kept.len() / PICTURES_PER_FACTOR);
        if count == 0 {
            return Variation::none();
        }
        let sample: Vec<usize> = kept.iter().filter_map(rank).collect();
        let products = DMatrix::from_fn(kept.len(), kept.len(), |i, j| self.products[(kept[i], kept[j])]);
        Variation::of(copies, (&sample, &products), count)
    }
}

/// The principal axes of cells all over some of the pictures.
fn projection(pyramid: &Pyramid, pictures: &[&Image], kept: usize) -> Projection {
    let d = Pyramid::dimensions(pictures[0].channels);
    let cells = pyramid.columns() * pyramid.rows();
    let sample = spread_out(pictures.len(), PROJECTION_PICTURES);
    let every = projection::every(sample.len(), cells);
    let features = |(number, &picture): (usize, &usize)| -> Vec<f32> {
        let features = pyramid.forward(&pictures[picture].pixels).by_cell();
        let first = (number * cells).next_multiple_of(every) - number * cells;
        features.chunks_exact(d).skip(first).step_by(every).flatten().copied().collect()
    };
    let features: Vec<Vec<f32>> = sample.par_iter().enumerate().map(features).collect();
    Projection::principal(&features, d, kept)
}

/// At most `count` of the numbers below `of`, evenly spread.
fn spread_out(of: usize, count: usize) -> Vec<usize> {
    if count == 0 { Vec::new() } else { (0..of).step_by(of.div_ceil(count)).collect() }
}

/// A copy of a picture moved by `shift` pixels, in one of four directions by its number; its border
/// is repeated.
fn shifted(picture: &Image, shift: usize, number: usize) -> Vec<f32> {
    let Image { width, height, channels, ref pixels } = *picture;
    let (right, down) = [(1, 0), (0, 1), (-1, 0), (0, -1)][number % 4];
    let source = |at: usize, step: isize, length: usize| {
        (at as isize - step * shift as isize).clamp(0, length as isize - 1) as usize
    };
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..height {
        let row = source(y, down, height) * width;
        for x in 0..width {
            let at = (row + source(x, right, width)) * channels;
            out.extend_from_slice(&pixels[at..at + channels]);
        }
    }
    out
}

/// The mean of covariances (any number × `packed`).
fn pooled(covariances: &[f32], packed: usize) -> Vec<f64> {
    let sums: Vec<Vec<f64>> = covariances
        .par_chunks(POOLED_AT_ONCE * packed)
        .map(|covariances| {
            let mut sum = vec![0f64; packed];
            for covariance in covariances.chunks_exact(packed) {
                sum.iter_mut().zip(covariance).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            sum
        })
        .collect();
    let share = 1.0 / (covariances.len() / packed) as f64;
    (0..packed).map(|at| sums.iter().map(|sum| sum[at]).sum::<f64>() * share).collect()
}

/// Replaces packed covariances by packed rows of L⁻¹, where the shrunk covariance is Σ = L Lᵀ.
pub(in crate::model) fn invert_factors(covariances: &mut [f32], pooled: &[f64], config: &GaussianConfig) {
    let k = config.dimensions;
    let mut shared: Vec<f64> = pooled.iter().map(|value| config.pooled_weight * value).collect();
    for i in 0..k {
        shared[i * (i + 3) / 2] += config.ridge;
    }
    covariances.par_chunks_mut(POOLED_AT_ONCE * shared.len()).for_each(|covariances| {
        let own = 1.0 - config.pooled_weight;
        let definite = Backend::detect().inverse_factors(covariances, k, own, &shared);
        assert!(definite, "a covariance with a positive ridge is positive definite");
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, pictures};
    use super::*;

    #[test]
    fn a_fit_without_a_fold_is_the_fit_to_the_other_pictures() {
        let pictures = pictures(27, 32);
        let all: Vec<&Image> = pictures.iter().collect();
        let bank = FeatureBank::new(&all, 3, &config()).unwrap();
        let without = bank.fit(Some(1)).unwrap();
        assert_eq!(without.variation.len(), 2 * without.mean.len());
        let stay: Vec<usize> = (0..27).filter(|i| i % 3 != 1).collect();
        let cells = bank.copies.cells();
        let of = |picture: usize, shifted: bool| -> Vec<f16> {
            let position = bank.copies.position(stay[picture], shifted);
            (0..cells).flat_map(|cell| bank.copies.at(position, cell).to_vec()).collect()
        };
        let copies = Copies::gather((stay.len(), 1), (cells, bank.config.dimensions), true, of);
        let shape = (bank.columns, bank.rows, bank.channels);
        let rest = FeatureBank::of_copies(shape, bank.projection, bank.config, copies).fit(None).unwrap();
        // Sums are taken about another origin.
        for (a, b) in [
            (&without.mean, &rest.mean),
            (&without.variation, &rest.variation),
            (&without.factor, &rest.factor),
        ] {
            assert_eq!(a.len(), b.len());
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + b.abs())));
        }
    }
}
