//! The features of normal pictures, and the energies fitted to them.

use groundstate_nn::Backend;
use half::f16;
use half::slice::HalfFloatSliceExt;
use nalgebra::DMatrix;
use rayon::prelude::*;

use super::copies::{Copies, Selection};
use super::moments::Moments;
use super::source::Source;
use super::variation::{self, Variation};
use super::{Gaussian, GaussianConfig, GaussianError, QuantisedRows};
use crate::image::Image;
use crate::model::{Batch, Learned, Sight};

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
    source: Source,
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
        check(pictures, config)?;
        let source = Source::pyramid(pictures, config.dimensions);
        Ok(Self::of_source(source, pictures, folds, config))
    }

    /// Does the same with features that are inner layers of a network; edges of the pictures are multiples of
    /// [`Sight::size_multiple`].
    ///
    /// # Errors
    /// As [`FeatureBank::new`], and when the network has no such layers.
    pub fn of_network(
        network: &Learned,
        sight: Sight,
        pictures: &[&Image],
        folds: usize,
        config: &GaussianConfig,
    ) -> Result<Self, GaussianError> {
        check(pictures, config)?;
        let source =
            Source::network(network, sight, pictures, config.dimensions).ok_or(GaussianError::Layers)?;
        Ok(Self::of_source(source, pictures, folds, config))
    }

    fn of_source(source: Source, pictures: &[&Image], folds: usize, config: &GaussianConfig) -> Self {
        let &&Image { width, height, channels, .. } = &pictures[0];
        let kept = source.dimensions();
        let config = GaussianConfig { dimensions: kept, ..config.clone() };
        let features = |picture: usize, is_shifted: bool| -> Vec<f16> {
            let picture = match is_shifted {
                true => Batch::of([&shifted(pictures[picture], config.shift_px, picture)]),
                false => Batch::of([pictures[picture]]),
            };
            let values = source.forward(&picture, false).0.remove(0);
            halves(values)
        };
        let counts = (pictures.len(), folds.max(1));
        let (columns, rows) = (width / source.cell_px(), height / source.cell_px());
        let copies = Copies::gather(counts, (columns * rows, kept), config.shift_px > 0, features);
        Self::of_copies((columns, rows, channels), source, config, copies)
    }

    fn of_copies(
        (columns, rows, channels): (usize, usize, usize),
        source: Source,
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
        Self { columns, rows, channels, source, config, copies, moments, sample, products }
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
            source: self.source.clone(),
            mean,
            variation: variation.directions,
            factor: QuantisedRows::triangles(&factor, k),
        })
    }

    /// Share of the variance of features that their position does not explain: near 0 where every place of the
    /// picture has a look of its own, 1 where all look alike.
    pub fn unexplained_share(&self) -> f64 {
        let k = self.config.dimensions;
        let within = self.moments.variance(k);
        let cells = (self.copies.origin.len() / k) as f64;
        let feature = |i: usize| self.copies.origin.iter().skip(i).step_by(k).map(|&value| f64::from(value));
        let between = |i: usize| {
            let mean = feature(i).sum::<f64>() / cells;
            feature(i).map(|value| (value - mean).powi(2)).sum::<f64>() / cells
        };
        let between = (0..k).map(between).sum::<f64>();
        if within + between > 0.0 { within / (within + between) } else { 1.0 }
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

/// In half precision; what is beyond its range comes to its ends.
fn halves(mut values: Vec<f32>) -> Vec<f16> {
    let limit = f16::MAX.to_f32();
    values.iter_mut().for_each(|value| *value = value.max(-limit).min(limit));
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(&values);
    halves
}

fn check(pictures: &[&Image], config: &GaussianConfig) -> Result<(), GaussianError> {
    config.check()?;
    match pictures.len() {
        found @ 0..2 => Err(GaussianError::TooFewPictures { found }),
        _ => Ok(()),
    }
}

/// At most `count` of the numbers below `of`, evenly spread.
pub(super) fn spread_out(of: usize, count: usize) -> Vec<usize> {
    if count == 0 { Vec::new() } else { (0..of).step_by(of.div_ceil(count)).collect() }
}

/// A copy of a picture moved by `shift` pixels, in one of four directions by its number; its border
/// is repeated.
fn shifted(picture: &Image, shift: usize, number: usize) -> Image {
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
    Image { pixels: out, ..*picture }
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
    fn position_explains_what_is_the_same_in_every_picture_and_nothing_of_noise() {
        let share = |noise: f32| {
            let pixel = |picture: usize, at: usize| {
                let random = ((picture * 1024 + at) * 7919 % 1009) as f32 / 1009.0;
                let still = (at / 7 % 5) as f32 / 5.0;
                noise * random + (1.0 - noise) * still
            };
            let picture = |n| Image {
                width: 32,
                height: 32,
                channels: 1,
                pixels: (0..1024).map(|at| pixel(n, at)).collect(),
            };
            let pictures: Vec<Image> = (0..24).map(picture).collect();
            let still = GaussianConfig { shift_px: 0, ..config() };
            FeatureBank::new(&pictures.iter().collect::<Vec<_>>(), 1, &still).unwrap().unexplained_share()
        };
        let (still, mixed, noise) = (share(0.0), share(0.3), share(1.0));
        assert!(still < 1e-6 && (0.1..0.9).contains(&mixed) && noise > 0.8, "{still} {mixed} {noise}");
    }

    #[test]
    fn a_fit_without_a_fold_is_the_fit_to_the_other_pictures() {
        let pictures = pictures(27, 32);
        let all: Vec<&Image> = pictures.iter().collect();
        let bank = FeatureBank::new(&all, 3, &config()).unwrap();
        let without = bank.fit(Some(1)).unwrap();
        assert_eq!(without.variation.values.len(), 2 * without.mean.len());
        let stay: Vec<usize> = (0..27).filter(|i| i % 3 != 1).collect();
        let cells = bank.copies.cells();
        let of = |picture: usize, shifted: bool| -> Vec<f16> {
            let position = bank.copies.position(stay[picture], shifted);
            (0..cells).flat_map(|cell| bank.copies.at(position, cell).to_vec()).collect()
        };
        let copies = Copies::gather((stay.len(), 1), (cells, bank.config.dimensions), true, of);
        let shape = (bank.columns, bank.rows, bank.channels);
        let rest = FeatureBank::of_copies(shape, bank.source, bank.config, copies).fit(None).unwrap();
        // Sums are taken about another origin.
        for (a, b) in [
            (&without.mean, &rest.mean),
            (&without.variation.scales, &rest.variation.scales),
            (&without.factor.scales, &rest.factor.scales),
        ] {
            assert_eq!(a.len(), b.len());
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-3 * (1.0 + b.abs())));
        }
        for (a, b) in [(&without.variation, &rest.variation), (&without.factor, &rest.factor)] {
            assert_eq!(a.values.len(), b.values.len());
            assert!(a.values.iter().zip(&b.values).all(|(a, b)| a.abs_diff(*b) <= 1));
        }
    }
}
