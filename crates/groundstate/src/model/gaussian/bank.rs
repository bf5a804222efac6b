//! The features of normal pictures, and the energies fitted to them.

use half::f16;
use half::slice::HalfFloatSliceExt;
use nalgebra::{Cholesky, DMatrix};
use rayon::prelude::*;

use super::projection::Projection;
use super::{Gaussian, GaussianConfig, GaussianError, variation};
use crate::image::Image;
use crate::model::features::{CELL, Pyramid};

/// Pictures that the projection is estimated from; their cells are plenty.
const PROJECTION_PICTURES: usize = 64;
/// Pictures that the variation of whole pictures is estimated from.
const VARIATION_PICTURES: usize = 384;
/// Pictures for each direction in which whole pictures are taken to vary.
const PICTURES_PER_FACTOR: usize = 8;

/// Projected features of normal pictures, in folds, to which the energy is fitted, or to all but one
/// fold of which.
///
/// Picture i belongs to fold i mod the number of folds. Memory: k half-precision numbers for each cell of
/// each picture and of its shifted copy.
pub struct FeatureBank {
    columns: usize,
    rows: usize,
    channels: usize,
    projection: Projection,
    config: GaussianConfig,
    folds: usize,
    normal: Vec<Vec<f16>>,
    shifted: Vec<Vec<f16>>,
    /// Pictures that the variation is estimated from, and the inner products of their features.
    sample: Vec<usize>,
    products: DMatrix<f64>,
}

impl FeatureBank {
    /// Computes the features of normal pictures (all of one shape, edges multiples of [`CELL`]) and of a
    /// shifted copy of each.
    ///
    /// # Errors
    /// When a setting is out of range or there are fewer than two pictures.
    pub fn new(pictures: &[&Image], folds: usize, config: &GaussianConfig) -> Result<Self, GaussianError> {
        config.check()?;
        if pictures.len() < 2 {
            return Err(GaussianError::TooFewPictures { found: pictures.len() });
        }
        let (width, height, channels) = (pictures[0].width, pictures[0].height, pictures[0].channels);
        let (columns, rows) = (width / CELL, height / CELL);
        let pyramid = Pyramid::new(channels);
        let raw = |pixels: &[f32]| pyramid.forward(pixels, width, height);
        let kept = config.dimensions.min(pyramid.dimensions());
        let projection = {
            let sample = spread_out(pictures.len(), PROJECTION_PICTURES);
            let features: Vec<Vec<f32>> = sample.par_iter().map(|&i| raw(&pictures[i].pixels)).collect();
            Projection::principal(&features, pyramid.dimensions(), kept)
        };
        let features = |pixels: &[f32]| -> Vec<f16> {
            let values = projection.apply(&raw(pixels));
            values.into_iter().map(f16::from_f32).collect()
        };
        let normal: Vec<Vec<f16>> = pictures.par_iter().map(|picture| features(&picture.pixels)).collect();
        let shifted = match config.shift_px {
            0 => Vec::new(),
            shift => {
                let numbered = pictures.par_iter().enumerate();
                numbered.map(|(i, picture)| features(&shifted(picture, shift, i))).collect()
            }
        };
        let sample = match config.factors {
            0 => Vec::new(),
            _ => spread_out(pictures.len(), VARIATION_PICTURES),
        };
        let products = match sample.is_empty() {
            true => DMatrix::zeros(0, 0),
            false => variation::inner_products(&sample.iter().map(|&i| &normal[i][..]).collect::<Vec<_>>()),
        };
        let config = GaussianConfig { dimensions: kept, ..config.clone() };
        let folds = folds.max(1);
        Ok(Self { columns, rows, channels, projection, config, folds, normal, shifted, sample, products })
    }

    /// Fits the energy to all pictures, or to all but those of one fold.
    ///
    /// # Errors
    /// When fewer than two pictures are left.
    pub fn fit(&self, without_fold: Option<usize>) -> Result<Gaussian, GaussianError> {
        let k = self.config.dimensions;
        let stays = |picture: usize| Some(picture % self.folds) != without_fold;
        let found = (0..self.normal.len()).filter(|&i| stays(i)).count();
        if found < 2 {
            return Err(GaussianError::TooFewPictures { found });
        }
        let copies: Vec<&[f16]> = [&self.normal, &self.shifted]
            .into_iter()
            .flat_map(|copies| copies.iter().enumerate().filter(|(i, _)| stays(*i)).map(|(_, f)| &f[..]))
            .collect();
        let mean = mean_of(&copies, k);
        let variation = self.variation(stays);
        let coordinates = variation::coordinates(&copies, &mean, &variation);
        let packed = k * (k + 1) / 2;
        let mut covariance = vec![0f32; self.columns * self.rows * packed];
        covariance.par_chunks_exact_mut(packed).zip(mean.par_chunks_exact(k)).enumerate().for_each(
            |(cell, (covariance, cell_mean))| {
                let mut deviations = DMatrix::<f32>::zeros(k, copies.len());
                for (features, column) in copies.iter().zip(deviations.as_mut_slice().chunks_exact_mut(k)) {
                    features[cell * k..(cell + 1) * k].convert_to_f32_slice(column);
                    column.iter_mut().zip(cell_mean).for_each(|(d, m)| *d -= m);
                }
                if !variation.is_empty() {
                    deviations -= variation::at_cell(&variation, mean.len(), cell, k) * &coordinates;
                }
                let products = &deviations * deviations.transpose();
                for i in 0..k {
                    for j in 0..=i {
                        covariance[i * (i + 1) / 2 + j] = products[(i, j)] / copies.len() as f32;
                    }
                }
            },
        );
        let mut pooled = vec![0f64; packed];
        for covariance in covariance.chunks_exact(packed) {
            for (sum, &value) in pooled.iter_mut().zip(covariance) {
                *sum += f64::from(value) / (self.columns * self.rows) as f64;
            }
        }
        covariance
            .par_chunks_exact_mut(packed)
            .for_each(|covariance| invert_factor(covariance, &pooled, &self.config));
        Ok(Gaussian {
            columns: self.columns,
            rows: self.rows,
            channels: self.channels,
            dimensions: k,
            centre: self.projection.centre.clone(),
            whitening: self.projection.matrix.clone(),
            mean,
            variation,
            factor: covariance,
        })
    }

    fn variation(&self, stays: impl Fn(usize) -> bool) -> Vec<f32> {
        let kept: Vec<usize> = (0..self.sample.len()).filter(|&i| stays(self.sample[i])).collect();
        let count = self.config.factors.min(kept.len() / PICTURES_PER_FACTOR);
        if count == 0 {
            return Vec::new();
        }
        let features: Vec<&[f16]> = kept.iter().map(|&i| &self.normal[self.sample[i]][..]).collect();
        let products = DMatrix::from_fn(kept.len(), kept.len(), |i, j| self.products[(kept[i], kept[j])]);
        variation::directions(&features, &products, count)
    }
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

/// Replaces a packed covariance by packed rows of L⁻¹, where the shrunk covariance is Σ = L Lᵀ.
pub(in crate::model) fn invert_factor(covariance: &mut [f32], pooled: &[f64], config: &GaussianConfig) {
    let k = config.dimensions;
    let at = |i: usize, j: usize| if i >= j { i * (i + 1) / 2 + j } else { j * (j + 1) / 2 + i };
    let shrunk = DMatrix::<f64>::from_fn(k, k, |i, j| {
        let own = f64::from(covariance[at(i, j)]);
        let ridge = if i == j { config.ridge } else { 0.0 };
        (1.0 - config.pooled_weight) * own + config.pooled_weight * pooled[at(i, j)] + ridge
    });
    let factor = Cholesky::new(shrunk).expect("a covariance with a positive ridge is positive definite");
    let mut inverse = DMatrix::<f64>::identity(k, k);
    factor.l_dirty().solve_lower_triangular_mut(&mut inverse);
    for i in 0..k {
        for j in 0..=i {
            covariance[at(i, j)] = inverse[(i, j)] as f32;
        }
    }
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
        let rest = FeatureBank {
            folds: 1,
            normal: of(&bank.normal),
            shifted: of(&bank.shifted),
            sample: (0..stay.len()).collect(),
            products: DMatrix::from_fn(stay.len(), stay.len(), |i, j| bank.products[(stay[i], stay[j])]),
            ..bank
        };
        assert_eq!(without, rest.fit(None).unwrap());
    }
}
