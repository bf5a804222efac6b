//! The features of normal pictures, and the energies fitted to them.

use groundstate_nn::{Backend, Pyramid};
use half::f16;
use half::slice::HalfFloatSliceExt;
use nalgebra::DMatrix;
use rayon::prelude::*;

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
/// each picture and of its shifted copy, and k(k+1)/2 + k numbers for each cell of each fold.
pub struct FeatureBank {
    columns: usize,
    rows: usize,
    channels: usize,
    projection: Projection,
    config: GaussianConfig,
    copies: Copies,
}

/// Features of normal pictures and of their shifted copies.
struct Copies {
    normal: Vec<Vec<f16>>,
    shifted: Vec<Vec<f16>>,
    /// The mean of all.
    origin: Vec<f32>,
    /// Sums over the folds.
    folds: Vec<Moments>,
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
        let projector = Projector::new(&projection.centre, &projection.matrix);
        let features = |pixels: &[f32]| -> Vec<f16> {
            let values = projector.apply(&pyramid.forward(pixels));
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(&values);
            halves
        };
        let normal: Vec<Vec<f16>> = pictures.par_iter().map(|picture| features(&picture.pixels)).collect();
        let shifted = match config.shift_px {
            0 => Vec::new(),
            shift => {
                let numbered = pictures.par_iter().enumerate();
                numbered.map(|(i, picture)| features(&shifted(picture, shift, i))).collect()
            }
        };
        let config = GaussianConfig { dimensions: kept, ..config.clone() };
        let copies = Copies::new(normal, shifted, folds.max(1), &config);
        Ok(Self { columns: pyramid.columns(), rows: pyramid.rows(), channels, projection, config, copies })
    }

    /// Fits the energy to all pictures, or to all but those of one fold.
    ///
    /// # Errors
    /// When fewer than two pictures are left.
    pub fn fit(&self, without_fold: Option<usize>) -> Result<Gaussian, GaussianError> {
        let k = self.config.dimensions;
        let copies = &self.copies;
        let found = copies.staying(without_fold).count();
        if found < 2 {
            return Err(GaussianError::TooFewPictures { found });
        }
        let features = copies.features(without_fold);
        let parts: Vec<&Moments> = copies
            .folds
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != without_fold)
            .map(|(_, f)| f)
            .collect();
        let mut mean = Moments::mean(&parts);
        let variation = copies.variation(without_fold, self.config.factors);
        let mut factor = Moments::covariances(&parts, &mean, k, (&features, &copies.origin, &variation));
        let pooled = pooled(&factor, k * (k + 1) / 2);
        invert_factors(&mut factor, &pooled, &self.config);
        mean.iter_mut().zip(&copies.origin).for_each(|(mean, origin)| *mean += origin);
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
}

impl Copies {
    fn new(normal: Vec<Vec<f16>>, shifted: Vec<Vec<f16>>, folds: usize, config: &GaussianConfig) -> Self {
        let k = config.dimensions;
        let sample = match config.factors {
            0 => Vec::new(),
            _ => spread_out(normal.len(), VARIATION_PICTURES),
        };
        let products = match sample.is_empty() {
            true => DMatrix::zeros(0, 0),
            false => variation::inner_products(&sample.iter().map(|&i| &normal[i][..]).collect::<Vec<_>>()),
        };
        let of = |stays: &dyn Fn(usize) -> bool| -> Vec<&[f16]> {
            let both = [&normal, &shifted].into_iter().flat_map(|copies| copies.iter().enumerate());
            both.filter(|(i, _)| stays(*i)).map(|(_, features)| &features[..]).collect()
        };
        let origin = mean_of(&of(&|_| true), k);
        let folds = (0..folds).map(|fold| Moments::of(&of(&|i| i % folds == fold), &origin, k)).collect();
        Self { normal, shifted, origin, folds, sample, products }
    }

    /// Pictures that are not in a fold.
    fn staying(&self, without_fold: Option<usize>) -> impl Iterator<Item = usize> {
        let folds = self.folds.len();
        (0..self.normal.len()).filter(move |i| Some(i % folds) != without_fold)
    }

    /// Their features, then those of their shifted copies.
    fn features(&self, without_fold: Option<usize>) -> Vec<&[f16]> {
        let both = [&self.normal, &self.shifted].into_iter().filter(|copies| !copies.is_empty());
        both.flat_map(|copies| self.staying(without_fold).map(|i| &copies[i][..])).collect()
    }

    fn variation(&self, without_fold: Option<usize>, most: usize) -> Variation {
        // Where a picture is among those that stay.
        let mut among = vec![None; self.normal.len()];
        self.staying(without_fold).enumerate().for_each(|(at, picture)| among[picture] = Some(at));
        let kept: Vec<usize> = (0..self.sample.len()).filter(|&i| among[self.sample[i]].is_some()).collect();
        let count = most.min(kept.len() / PICTURES_PER_FACTOR);
        if count == 0 {
            return Variation::none();
        }
        let sample: Vec<usize> = kept.iter().filter_map(|&i| among[self.sample[i]]).collect();
        let products = DMatrix::from_fn(kept.len(), kept.len(), |i, j| self.products[(kept[i], kept[j])]);
        Variation::of(&self.features(without_fold), &self.origin, (&sample, &products), count)
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

fn mean_of(copies: &[&[f16]], k: usize) -> Vec<f32> {
    let mut mean = vec![0f32; copies[0].len()];
    mean.par_chunks_mut(64 * k).enumerate().for_each(|(block, mean)| {
        let mut values = vec![0f32; mean.len()];
        for features in copies {
            features[block * 64 * k..][..mean.len()].convert_to_f32_slice(&mut values);
            mean.iter_mut().zip(&values).for_each(|(m, v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m /= copies.len() as f32);
    });
    mean
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
        let of = |copies: &[Vec<f16>]| stay.iter().map(|&i| copies[i].clone()).collect::<Vec<_>>();
        let copies = Copies::new(of(&bank.copies.normal), of(&bank.copies.shifted), 1, &bank.config);
        let rest = FeatureBank { copies, ..bank }.fit(None).unwrap();
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
