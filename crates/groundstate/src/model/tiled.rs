//! The reference energy in closed form for pictures of any size, evaluated tile by tile.
//!
//! e(u, v) = ½ (φ − μ)ᵀ Σ⁻¹ (φ − μ) on the features of [`super::Gaussian`], but a large picture has too
//! many cells for a mean and a covariance at each: cells share those of a *position*, one of at most
//! 64 × 64 blocks in shares of the picture's width and height. The covariance of a position, of many
//! cells of few pictures, is shrunk towards that of all positions.

use groundstate_nn::{Backend, Features, Pyramid};
use rayon::prelude::*;

use super::gaussian::{
    Projection, Projector, QuantisedRows, check_positions, check_projection, invert_factors,
};
use super::{Batch, CELL, Cut, Energy, Evaluated, GaussianConfig, GaussianError, Wanted};
use crate::image::{Grid, Map};

/// Most positions that a mean and a covariance are kept for: 64 × 64.
pub(crate) const MAX_POSITIONS: usize = 4096;

/// Pixels around a tile that its energies and their gradients at the pixels depend on: contrast looks 8
/// blocks of 4 px around a cell, whose neighbours count, too; a gradient looks twice as far.
pub(crate) const MARGIN_PX: usize = 96;

/// Where a window lies in its picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// First column and row.
    pub(crate) left: usize,
    pub(crate) top: usize,
    /// Size of the whole picture.
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The fitted energy.
///
/// # Shapes
/// With p positions, d features a cell and k kept dimensions: `centre` d, `whitening` k × d, `mean`
/// p × k, `factor` p × the lower-triangular L⁻¹, Σ = L Lᵀ, as in [`super::Gaussian`].
#[derive(Clone, Debug, PartialEq)]
pub struct TiledGaussian {
    /// Positions that share a mean and a covariance.
    pub(crate) positions: Grid,
    /// Channels of the pictures.
    pub(crate) channels: usize,
    /// Kept dimensions k.
    pub(crate) dimensions: usize,
    pub(crate) centre: Vec<f32>,
    pub(crate) whitening: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    pub(crate) factor: QuantisedRows,
}

/// Moments of whitened features by position, in folds, from which the energy is fitted.
pub(crate) struct TiledBank {
    positions: Grid,
    channels: usize,
    config: GaussianConfig,
    centre: Vec<f32>,
    whitening: Vec<f32>,
    folds: Vec<Moments>,
}

#[derive(Clone)]
struct Moments {
    /// Feature vectors at every position.
    count: Vec<f32>,
    /// Positions × k.
    sum: Vec<f32>,
    /// Positions × k(k+1)/2: packed rows of the lower triangle of Σ φ φᵀ.
    products: Vec<f32>,
}

impl Place {
    /// The cells of a window of `columns` × `rows` cells that begin inside the picture, each with its
    /// number in the window and its position.
    fn cells(&self, columns: usize, rows: usize, positions: Grid) -> impl Iterator<Item = (usize, usize)> {
        let Self { left, top, width, height } = *self;
        let cells = Grid { columns: width.div_ceil(CELL), rows: height.div_ceil(CELL) };
        (0..columns * rows).filter_map(move |at| {
            let (x, y) = (left / CELL + at % columns, top / CELL + at / columns);
            (x < cells.columns && y < cells.rows).then(|| (at, positions.of_cell(x, y, cells)))
        })
    }
}

impl TiledBank {
    /// Learns the whitening from sampled feature vectors (each a multiple of d long).
    ///
    /// # Errors
    /// When a setting is out of range.
    pub(crate) fn new(
        sample: &[Vec<f32>],
        positions: Grid,
        channels: usize,
        folds: usize,
        config: &GaussianConfig,
    ) -> Result<Self, GaussianError> {
        config.check()?;
        let d = Pyramid::dimensions(channels);
        let k = config.dimensions.min(d);
        let Projection { centre, matrix: whitening } = Projection::principal(sample, d, k);
        let config = GaussianConfig { dimensions: k, ..config.clone() };
        let folds = vec![Moments::empty(positions.len(), k); folds];
        Ok(Self { positions, channels, config, centre, whitening, folds })
    }

    /// Features of a window.
    pub(crate) fn features(batch: &Batch) -> Features {
        Pyramid::new(batch.width, batch.height, batch.channels).forward(&batch.values)
    }

    /// Adds the cells that are kept of tiles of a picture of `fold`.
    pub(crate) fn add(&mut self, fold: usize, tiles: &[Cut]) {
        let k = self.config.dimensions;
        let packed = k * (k + 1) / 2;
        let backend = Backend::detect();
        let projector = Projector::new(&self.centre, &self.whitening);
        let whitened = |cut: &Cut| projector.apply(&Self::features(&cut.batch));
        let features: Vec<Vec<f32>> = tiles.par_iter().map(whitened).collect();
        // Which cells belong to which position, so that positions can be summed side by side.
        let mut members: Vec<Vec<&[f32]>> = vec![Vec::new(); self.positions.len()];
        for (Cut { tile, place, batch }, features) in tiles.iter().zip(&features) {
            let columns = batch.width / CELL;
            for (at, position) in place.cells(columns, batch.height / CELL, self.positions) {
                let (x, y) = (place.left + at % columns * CELL, place.top + at / columns * CELL);
                if (tile.first.0..tile.end.0).contains(&x) && (tile.first.1..tile.end.1).contains(&y) {
                    members[position].push(&features[at * k..][..k]);
                }
            }
        }
        let Moments { count, sum, products } = &mut self.folds[fold];
        let sums = sum.par_chunks_exact_mut(k).zip(products.par_chunks_exact_mut(packed));
        count.par_iter_mut().zip(sums).zip(&members).for_each(|((count, (sum, products)), members)| {
            *count += members.len() as f32;
            for features in members {
                backend.add_scaled(sum, features, 1.0);
                for (i, &value) in features.iter().enumerate() {
                    backend.add_scaled(&mut products[i * (i + 1) / 2..][..=i], &features[..=i], value);
                }
            }
        });
    }

    /// Fits the energy to all pictures, or to all but those of one fold.
    pub(crate) fn fit(&self, without_fold: Option<usize>) -> TiledGaussian {
        let k = self.config.dimensions;
        let backend = Backend::detect();
        let mut all = Moments::empty(self.positions.len(), k);
        for (_, fold) in self.folds.iter().enumerate().filter(|(i, _)| Some(*i) != without_fold) {
            backend.add_scaled(&mut all.count, &fold.count, 1.0);
            backend.add_scaled(&mut all.sum, &fold.sum, 1.0);
            backend.add_scaled(&mut all.products, &fold.products, 1.0);
        }
        let packed = k * (k + 1) / 2;
        let Moments { count, sum: mut mean, products: mut covariance } = all;
        mean.par_chunks_exact_mut(k).zip(covariance.par_chunks_exact_mut(packed)).zip(&count).for_each(
            |((mean, covariance), &count)| {
                let scale = 1.0 / count.max(1.0);
                mean.iter_mut().for_each(|v| *v *= scale);
                for i in 0..k {
                    for (value, &m) in covariance[i * (i + 1) / 2..][..=i].iter_mut().zip(&*mean) {
                        *value = *value * scale - mean[i] * m;
                    }
                }
            },
        );
        let total: f64 = count.iter().map(|&c| f64::from(c)).sum::<f64>().max(1.0);
        let mut pooled = vec![0f64; packed];
        for (covariance, &count) in covariance.chunks_exact(packed).zip(&count) {
            for (sum, &value) in pooled.iter_mut().zip(covariance) {
                *sum += f64::from(value) * f64::from(count) / total;
            }
        }
        invert_factors(&mut covariance, &pooled, &self.config);
        TiledGaussian {
            positions: self.positions,
            channels: self.channels,
            dimensions: k,
            centre: self.centre.clone(),
            whitening: self.whitening.clone(),
            mean,
            factor: QuantisedRows::triangles(&covariance, k),
        }
    }
}

impl Moments {
    fn empty(positions: usize, k: usize) -> Self {
        let (sum, products) = (vec![0.0; positions * k], vec![0.0; positions * k * (k + 1) / 2]);
        Self { count: vec![0.0; positions], sum, products }
    }
}

impl TiledGaussian {
    /// Columns and rows of positions that share a mean and a covariance.
    pub fn positions(&self) -> (usize, usize) {
        (self.positions.columns, self.positions.rows)
    }

    /// Dimensions that are kept of the features.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Checks that the arrays fit together, as after loading.
    ///
    /// # Errors
    /// Names the first array of a wrong length.
    pub(crate) fn check(self) -> Result<Self, GaussianError> {
        let k = self.dimensions;
        check_projection(self.channels, k, [self.centre.len(), self.whitening.len()])?;
        check_positions(k, self.positions.len(), self.mean.len(), &self.factor)?;
        Ok(self)
    }

    /// Local energies of the window at `place`, the only picture of `batch`, and their gradient at its
    /// pixels if `gradient` is set. Cells outside the picture have no energy.
    pub(crate) fn window(&self, batch: &Batch, place: &Place, gradient: bool) -> (Map, Option<Vec<f32>>) {
        let (columns, rows) = (batch.width / CELL, batch.height / CELL);
        let k = self.dimensions;
        let backend = Backend::detect();
        let projector = Projector::new(&self.centre, &self.whitening);
        let features = TiledBank::features(batch);
        let mut deviation = projector.apply(&features);
        let mut local = Map::filled(columns, rows, 0.0);
        let mut slopes = vec![0f32; if gradient { deviation.len() } else { 0 }];
        for (at, position) in place.cells(columns, rows, self.positions) {
            let d = &mut deviation[at * k..][..k];
            let factor = self.factor.of_cells(position..position + 1, self.positions.len());
            d.iter_mut().zip(&self.mean[position * k..]).for_each(|(d, &m)| *d -= m);
            backend.multiply_lower(factor, k, &mut [d]);
            local.values[at] = 0.5 * backend.dot(d, d);
            if gradient {
                let slope = &mut slopes[at * k..][..k];
                slope.copy_from_slice(d);
                backend.multiply_transposed_lower(factor, k, &mut [slope]);
            }
        }
        let gradient =
            gradient.then(|| features.pyramid().backward(&features, &projector.adjoint(&slopes, columns)));
        (local, gradient)
    }
}

impl Energy for TiledGaussian {
    fn stride(&self) -> usize {
        CELL
    }

    fn evaluate(&self, batch: &Batch, wanted: Wanted) -> Vec<Evaluated> {
        let place = Place { left: 0, top: 0, width: batch.width, height: batch.height };
        let picture = |values: &[f32]| Batch { count: 1, values: values.to_vec(), ..*batch };
        let pictures = batch.values.par_chunks_exact(batch.picture_len());
        let evaluated = pictures.map(|values| {
            let (local, gradient) = self.window(&picture(values), &place, wanted.gradient);
            Evaluated { free: wanted.free.then(|| local.clone()), local, gradient }
        });
        evaluated.collect()
    }
}
