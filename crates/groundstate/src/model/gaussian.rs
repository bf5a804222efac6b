//! The reference energy in closed form: a Gaussian of the features at every position.
//!
//! e(u, v) = ½ (φ − μ)ᵀ Σ⁻¹ (φ − μ), where φ(u, v) are the whitened [`Pyramid`] features of a cell
//! and μ(u, v), Σ(u, v) their mean and covariance over the normal pictures, the covariance shrunk
//! towards the mean covariance of all positions and towards the identity. Normalised in feature
//! space, fitted in seconds without a chain (the idea of PaDiM, Defard et al. 2021, without a
//! pretrained network).

use nalgebra::{Cholesky, DMatrix, DMatrixView, DVector, SymmetricEigen};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::features::{CELL, Pyramid};
use super::{Batch, Energy, Evaluated};
use crate::image::{Image, Map};

/// Pictures whose features the whitening is estimated from; their cells are plenty.
const WHITENING_PICTURES: usize = 64;
/// Cells that the whitening is estimated from.
const WHITENING_CELLS: usize = 30_000;
/// Pictures whose features are in memory at once.
const GROUP: usize = 16;

/// Settings of the closed-form energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianConfig {
    /// Principal components that are kept.
    pub dimensions: usize,
    /// Weight of the covariance of all positions in the covariance of each, in `[0, 1]`.
    pub pooled_weight: f64,
    /// Variance added to every whitened dimension.
    pub ridge: f64,
    /// Each picture counts once more, moved by this many pixels: parts are never placed exactly.
    pub shift_px: usize,
}

impl Default for GaussianConfig {
    fn default() -> Self {
        Self { dimensions: 64, pooled_weight: 0.5, ridge: 0.005, shift_px: 2 }
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
/// k × d, `mean` g × k, `factor` g × k(k+1)/2 (rows of the lower-triangular L⁻¹, Σ = L Lᵀ).
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
    pub(crate) factor: Vec<f32>,
}

/// Moments of the whitened features of normal pictures, in folds, from which the energy is fitted
/// to all pictures or to all but one fold.
///
/// Picture i belongs to fold i mod the number of folds. Memory does not grow with the number of
/// pictures.
pub struct FeatureBank {
    columns: usize,
    rows: usize,
    channels: usize,
    centre: Vec<f32>,
    whitening: Vec<f32>,
    config: GaussianConfig,
    folds: Vec<Moments>,
}

/// Sums over feature vectors at every cell.
#[derive(Clone)]
struct Moments {
    /// Pictures, without their shifted copies.
    pictures: usize,
    /// Feature vectors a cell.
    count: usize,
    /// Cells × k.
    sum: Vec<f32>,
    /// Cells × k(k+1)/2: packed rows of the lower triangle of Σ φ φᵀ.
    products: Vec<f32>,
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
        if self.shift_px > 64 {
            return error("shift_px", self.shift_px as f64, "at most 64 pixels");
        }
        Ok(())
    }
}

impl FeatureBank {
    /// Computes the features of normal pictures (all of one shape, edges multiples of [`CELL`]) and
    /// of a shifted copy of each.
    ///
    /// # Errors
    /// When a setting is out of range or there are fewer than two pictures.
    pub fn new(pictures: &[&Image], folds: usize, config: &GaussianConfig) -> Result<Self, GaussianError> {
        config.check()?;
        if pictures.len() < 2 {
            return Err(GaussianError::TooFewPictures { found: pictures.len() });
        }
        let (width, height, channels) = (pictures[0].width, pictures[0].height, pictures[0].channels);
        let pyramid = Pyramid::new(channels);
        let every = pictures.len().div_ceil(WHITENING_PICTURES);
        let sample: Vec<Vec<f32>> = pictures
            .par_iter()
            .step_by(every)
            .map(|picture| pyramid.forward(&picture.pixels, width, height))
            .collect();
        let dimensions = config.dimensions.min(pyramid.dimensions());
        let (centre, whitening) = whitening(&sample, pyramid.dimensions(), dimensions);
        drop(sample);
        let (columns, rows) = (width / CELL, height / CELL);
        let mut moments = vec![Moments::empty(columns * rows, dimensions); folds.max(1)];
        for (first, group) in pictures.chunks(GROUP).enumerate().map(|(g, group)| (g * GROUP, group)) {
            let features: Vec<[Vec<f32>; 2]> = group
                .par_iter()
                .enumerate()
                .map(|(i, picture)| {
                    let of =
                        |pixels: &[f32]| whiten(&pyramid.forward(pixels, width, height), &centre, &whitening);
                    [of(&picture.pixels), of(&shifted(picture, config.shift_px, first + i))]
                })
                .collect();
            for (fold, moments) in moments.iter_mut().enumerate() {
                let members = (first..).zip(&features).filter(|(i, _)| i % folds.max(1) == fold);
                let members: Vec<&[Vec<f32>; 2]> = members.map(|(_, pair)| pair).collect();
                moments.pictures += members.len();
                let copies = if config.shift_px == 0 { 1 } else { 2 };
                let vectors: Vec<&[f32]> =
                    members.iter().flat_map(|pair| pair[..copies].iter().map(|f| &f[..])).collect();
                moments.add(&vectors, dimensions);
            }
        }
        let config = GaussianConfig { dimensions, ..config.clone() };
        Ok(Self { columns, rows, channels, centre, whitening, config, folds: moments })
    }

    /// Fits the energy to all pictures, or to all but those of one fold.
    ///
    /// # Errors
    /// When fewer than two pictures are left.
    pub fn fit(&self, without_fold: Option<usize>) -> Result<Gaussian, GaussianError> {
        let k = self.config.dimensions;
        let cells = self.columns * self.rows;
        let mut all = Moments::empty(cells, k);
        for (_, fold) in self.folds.iter().enumerate().filter(|(i, _)| Some(*i) != without_fold) {
            all.merge(fold);
        }
        if all.pictures < 2 {
            return Err(GaussianError::TooFewPictures { found: all.pictures });
        }
        let packed = k * (k + 1) / 2;
        let scale = 1.0 / all.count as f32;
        all.sum.iter_mut().for_each(|v| *v *= scale);
        let Moments { sum: mean, products: mut covariance, .. } = all;
        covariance.par_chunks_exact_mut(packed).zip(mean.par_chunks_exact(k)).for_each(|(products, mean)| {
            for i in 0..k {
                for (value, &m) in products[i * (i + 1) / 2..][..=i].iter_mut().zip(mean) {
                    *value = *value * scale - mean[i] * m;
                }
            }
        });
        let mut pooled = vec![0f64; packed];
        for covariance in covariance.chunks_exact(packed) {
            for (sum, &value) in pooled.iter_mut().zip(covariance) {
                *sum += f64::from(value) / cells as f64;
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
            centre: self.centre.clone(),
            whitening: self.whitening.clone(),
            mean,
            factor: covariance,
        })
    }
}

impl Moments {
    fn empty(cells: usize, k: usize) -> Self {
        let (sum, products) = (vec![0.0; cells * k], vec![0.0; cells * k * (k + 1) / 2]);
        Self { pictures: 0, count: 0, sum, products }
    }

    /// Adds the feature vectors (cells × k) of pictures.
    fn add(&mut self, pictures: &[&[f32]], k: usize) {
        self.count += pictures.len();
        let cells = self.sum.par_chunks_exact_mut(k).zip(self.products.par_chunks_exact_mut(k * (k + 1) / 2));
        cells.enumerate().for_each(|(cell, (sum, products))| {
            for features in pictures {
                let features = &features[cell * k..(cell + 1) * k];
                add_scaled(sum, features, 1.0);
                for (i, &value) in features.iter().enumerate() {
                    add_scaled(&mut products[i * (i + 1) / 2..][..=i], &features[..=i], value);
                }
            }
        });
    }

    fn merge(&mut self, other: &Self) {
        self.pictures += other.pictures;
        self.count += other.count;
        add_scaled(&mut self.sum, &other.sum, 1.0);
        add_scaled(&mut self.products, &other.products, 1.0);
    }
}

impl Gaussian {
    /// Checks that the arrays fit together, as after loading.
    ///
    /// # Errors
    /// Names the first array of a wrong length.
    pub fn check(self) -> Result<Self, GaussianError> {
        let (d, k, g) = (Pyramid::new(self.channels).dimensions(), self.dimensions, self.columns * self.rows);
        if k == 0 || k > d {
            return Err(GaussianError::Array { name: "whitening", found: k, expected: d });
        }
        for (name, found, expected) in [
            ("centre", self.centre.len(), d),
            ("whitening", self.whitening.len(), k * d),
            ("mean", self.mean.len(), g * k),
            ("factor", self.factor.len(), g * k * (k + 1) / 2),
        ] {
            if found != expected {
                return Err(GaussianError::Array { name, found, expected });
            }
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

    /// The local energies of one picture, and y = L⁻¹ (φ − μ) of every cell.
    fn forward(&self, picture: &[f32]) -> (Map, Vec<f32>) {
        let pyramid = Pyramid::new(self.channels);
        let raw = pyramid.forward(picture, self.columns * CELL, self.rows * CELL);
        let mut deviation = whiten(&raw, &self.centre, &self.whitening);
        let (k, packed) = (self.dimensions, self.dimensions * (self.dimensions + 1) / 2);
        let mut local = Map::filled(self.columns, self.rows, 0.0);
        let cells = deviation.chunks_exact_mut(k).zip(self.mean.chunks_exact(k));
        for ((energy, (d, mean)), factor) in
            local.values.iter_mut().zip(cells).zip(self.factor.chunks_exact(packed))
        {
            for (d, &m) in d.iter_mut().zip(mean) {
                *d -= m;
            }
            // Downwards, so that the entries a row reads have not been replaced yet.
            for row in (0..k).rev() {
                d[row] = dot(&factor[row * (row + 1) / 2..][..=row], &d[..=row]);
            }
            *energy = 0.5 * dot(d, d);
        }
        (local, deviation)
    }

    fn backward(&self, picture: &[f32], whitened: &[f32]) -> Vec<f32> {
        let pyramid = Pyramid::new(self.channels);
        let (k, d) = (self.dimensions, pyramid.dimensions());
        let packed = k * (k + 1) / 2;
        let mut slopes = vec![0f32; whitened.len()];
        for ((y, factor), slope) in
            whitened.chunks_exact(k).zip(self.factor.chunks_exact(packed)).zip(slopes.chunks_exact_mut(k))
        {
            for row in 0..k {
                add_scaled(&mut slope[..=row], &factor[row * (row + 1) / 2..][..=row], y[row]);
            }
        }
        let whitening = DMatrixView::from_slice(&self.whitening, d, k);
        let weights = product(&whitening, &DMatrixView::from_slice(&slopes, k, slopes.len() / k));
        pyramid.backward(picture, self.columns * CELL, self.rows * CELL, &weights)
    }
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

/// Centre and whitening matrix (k × d) of feature vectors: principal axes divided by their spread,
/// with 5 % of the largest spread added so that noise directions are not blown up.
fn whitening(sample: &[Vec<f32>], d: usize, k: usize) -> (Vec<f32>, Vec<f32>) {
    let total = sample.iter().map(|features| features.len() / d).sum::<usize>();
    let every = total.div_ceil(WHITENING_CELLS);
    let rows: Vec<&[f32]> =
        sample.iter().flat_map(|features| features.chunks_exact(d)).step_by(every).collect();
    let mut centre = DVector::<f64>::zeros(d);
    for row in &rows {
        for (c, &value) in centre.iter_mut().zip(*row) {
            *c += f64::from(value) / rows.len() as f64;
        }
    }
    let deviations = DMatrix::<f64>::from_fn(d, rows.len(), |i, j| f64::from(rows[j][i]) - centre[i]);
    let covariance = &deviations * deviations.transpose() / rows.len() as f64;
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let spread = |axis: usize| eigen.eigenvalues[axis].max(0.0).sqrt();
    let floor = 0.05 * spread(order[0]) + f64::MIN_POSITIVE.sqrt();
    let matrix = order[..k]
        .iter()
        .flat_map(|&axis| {
            let scale = 1.0 / (spread(axis) + floor);
            eigen.eigenvectors.column(axis).iter().map(move |v| (v * scale) as f32).collect::<Vec<f32>>()
        })
        .collect();
    (centre.iter().map(|&v| v as f32).collect(), matrix)
}

/// Every feature vector (cells × d) centred and multiplied by the whitening matrix (k × d).
fn whiten(raw: &[f32], centre: &[f32], whitening: &[f32]) -> Vec<f32> {
    let d = centre.len();
    let k = whitening.len() / d;
    // Row-major arrays are the transposes of nalgebra's column-major ones: Φ Wᵀ is (W Φᵀ)ᵀ.
    let transposed = DMatrixView::from_slice(whitening, d, k).transpose();
    let mut out = product(&transposed.as_view(), &DMatrixView::from_slice(raw, d, raw.len() / d));
    let of_centre: Vec<f32> = whitening.chunks_exact(d).map(|axis| dot(axis, centre)).collect();
    for features in out.chunks_exact_mut(k) {
        features.iter_mut().zip(&of_centre).for_each(|(value, c)| *value -= c);
    }
    out
}

/// Values of a matrix product, column-major.
fn product(a: &DMatrixView<f32>, b: &DMatrixView<f32>) -> Vec<f32> {
    let product: DMatrix<f32> = a * b;
    product.data.into()
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
fn invert_factor(covariance: &mut [f32], pooled: &[f64], config: &GaussianConfig) {
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

/// Dot product in eight independent sums, so that it vectorises; the order is fixed.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + tail
}

fn add_scaled(to: &mut [f32], from: &[f32], factor: f32) {
    for (to, &value) in to.iter_mut().zip(from) {
        *to += value * factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn pictures(count: usize, edge: usize) -> Vec<Image> {
        let mut rng = StdRng::seed_from_u64(7);
        (0..count)
            .map(|_| Image {
                width: edge,
                height: edge,
                channels: 1,
                pixels: (0..edge * edge)
                    .map(|i| 0.3 + 0.2 * ((i % edge) as f32 / 5.0).sin() + 0.1 * rng.random::<f32>())
                    .collect(),
            })
            .collect()
    }

    fn config() -> GaussianConfig {
        GaussianConfig { dimensions: 12, ..Default::default() }
    }

    fn fitted(pictures: &[Image], config: &GaussianConfig) -> Gaussian {
        let pictures: Vec<&Image> = pictures.iter().collect();
        FeatureBank::new(&pictures, 1, config).unwrap().fit(None).unwrap()
    }

    #[test]
    fn a_fit_without_a_fold_is_the_fit_to_the_other_pictures() {
        let pictures = pictures(9, 32);
        let all: Vec<&Image> = pictures.iter().collect();
        let bank = FeatureBank::new(&all, 3, &config()).unwrap();
        let mut without = bank.fit(Some(1)).unwrap();
        let (first, third) = (bank.folds[0].clone(), bank.folds[2].clone());
        let rest = FeatureBank { folds: vec![first, third], ..bank };
        let expected = rest.fit(None).unwrap();
        without.centre = expected.centre.clone();
        assert_eq!(without, expected);
        assert_eq!(rest.folds.iter().map(|fold| fold.pictures).sum::<usize>(), 6);
    }

    #[test]
    fn mean_local_energy_of_the_training_pictures_is_half_the_trace() {
        // With no shrinkage, Σ over pictures of (φ−μ)ᵀ Σ⁻¹ (φ−μ) / n is the number of dimensions.
        let pictures = pictures(60, 32);
        let config = GaussianConfig { pooled_weight: 0.0, ridge: 1e-9, shift_px: 0, ..config() };
        let gaussian = fitted(&pictures, &config);
        let local = gaussian.local_energies(&Batch::of(&pictures));
        for cell in 0..64 {
            let mean: f32 = local.iter().map(|map| map.values[cell]).sum::<f32>() / 60.0;
            // Sums of products that are not centred keep about three digits of a variance in f32.
            assert!((mean - 6.0).abs() < 3e-2, "{mean}");
        }
    }

    #[test]
    fn a_disturbed_cell_has_the_highest_energy_and_gradient() {
        let pictures = pictures(30, 64);
        let gaussian = fitted(&pictures, &config());
        let mut odd = pictures[0].clone();
        for y in 40..48 {
            for x in 16..24 {
                odd.pixels[y * 64 + x] = if (x + y) % 2 == 0 { 1.0 } else { 0.0 };
            }
        }
        let found = &gaussian.evaluate(&Batch::of([&odd]))[0];
        let peak = (0..256).max_by(|&a, &b| found.local.values[a].total_cmp(&found.local.values[b])).unwrap();
        assert!((4..6).contains(&(peak % 16)) && (10..12).contains(&(peak / 16)), "{peak}");
        // Features reach three cells far: most of the squared gradient lies in 24 × 24 of 64 × 64 pixels.
        let squared = |i: usize| f64::from(found.gradient[i]).powi(2);
        let near = |i: &usize| (8..32).contains(&(i % 64)) && (32..56).contains(&(i / 64));
        let share =
            (0..64 * 64).filter(near).map(squared).sum::<f64>() / (0..64 * 64).map(squared).sum::<f64>();
        assert!(share > 0.5, "{share}");
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let pictures = pictures(20, 32);
        let gaussian = fitted(&pictures[1..], &config());
        let gradient = gaussian.evaluate(&Batch::of([&pictures[0]])).remove(0).gradient;
        let energy = |picture: &Image| -> f64 {
            gaussian.local_energies(&Batch::of([picture]))[0].values.iter().map(|&v| f64::from(v)).sum()
        };
        // Along the gradient itself, where single precision leaves enough digits.
        let norm: f64 = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        let step = 1e-2 / norm.max(1.0);
        let moved = |sign: f64| {
            let mut picture = pictures[0].clone();
            for (p, &g) in picture.pixels.iter_mut().zip(&gradient) {
                *p += (sign * step * f64::from(g) / norm) as f32;
            }
            energy(&picture)
        };
        let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        assert!((slope / norm - 1.0).abs() < 0.02, "{slope} {norm}");
    }

    #[test]
    fn a_picture_does_not_depend_on_its_batch() {
        let pictures = pictures(8, 32);
        let gaussian = fitted(&pictures, &config());
        let together = gaussian.evaluate(&Batch::of(&pictures));
        assert_eq!(together[3], gaussian.evaluate(&Batch::of([&pictures[3]]))[0]);
    }

    #[test]
    fn one_picture_is_too_few() {
        let error = FeatureBank::new(&[&pictures(1, 32)[0]], 1, &config()).err().unwrap();
        assert_eq!(error, GaussianError::TooFewPictures { found: 1 });
    }
}
