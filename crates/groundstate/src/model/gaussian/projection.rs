//! What of the features is looked at: their principal axes, whitened.

use groundstate_nn::{Backend, Features, Strided};
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rayon::prelude::*;

/// Cells that the principal axes are estimated from.
const PRINCIPAL_CELLS: usize = 30_000;
/// Added to every spread: features are of order one, and pictures may all be the same.
const LEAST_SPREAD: f64 = 1e-3;

/// Features φ of length d become W (φ − c) of length k.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Projection {
    /// c: d values.
    pub(crate) centre: Vec<f32>,
    /// W: k × d.
    pub(crate) matrix: Vec<f32>,
}

impl Projection {
    /// The k principal axes of features (pictures of cells × d), divided by their spread, with 5 % of
    /// the largest spread added so that noise directions are not blown up.
    pub(in crate::model) fn principal(sample: &[Vec<f32>], d: usize, k: usize) -> Self {
        let total = sample.iter().map(|features| features.len() / d).sum::<usize>();
        let every = every(total, 1);
        let rows: Vec<&[f32]> =
            sample.iter().flat_map(|features| features.chunks_exact(d)).step_by(every).collect();
        let mut centre = DVector::<f64>::zeros(d);
        for row in &rows {
            for (c, &value) in centre.iter_mut().zip(*row) {
                *c += f64::from(value) / rows.len() as f64;
            }
        }
        let deviations = DMatrix::<f32>::from_fn(d, rows.len(), |i, j| rows[j][i] - centre[i] as f32);
        let eigen =
            SymmetricEigen::new((&deviations * deviations.transpose()).cast::<f64>() / rows.len() as f64);
        let order = descending(&eigen.eigenvalues);
        let spread = |axis: usize| eigen.eigenvalues[axis].max(0.0).sqrt();
        let floor = 0.05 * spread(order[0]) + LEAST_SPREAD;
        let axis = |&axis: &usize| {
            let scale = 1.0 / (spread(axis) + floor);
            eigen.eigenvectors.column(axis).iter().map(|v| (v * scale) as f32).collect::<Vec<f32>>()
        };
        let matrix = order[..k].iter().flat_map(axis).collect();
        Self { centre: centre.iter().map(|&c| c as f32).collect(), matrix }
    }
}

/// A projection as pictures go through it.
pub(in crate::model) struct Projector<'a> {
    backend: Backend,
    d: usize,
    k: usize,
    matrix: &'a [f32],
    /// Wᵀ: d × k.
    transposed: Vec<f32>,
    /// −W c.
    offset: Vec<f32>,
}

impl<'a> Projector<'a> {
    pub(in crate::model) fn new(centre: &[f32], matrix: &'a [f32]) -> Self {
        let backend = Backend::detect();
        let d = centre.len();
        let k = matrix.len() / d;
        let transposed = (0..d * k).map(|at| matrix[at % k * d + at / k]).collect();
        let offset = matrix.chunks_exact(d).map(|axis| -backend.dot(axis, centre)).collect();
        Self { backend, d, k, matrix, transposed, offset }
    }

    /// W (φ − c) of every cell: cells × k.
    pub(in crate::model) fn apply(&self, features: &Features) -> Vec<f32> {
        let (columns, rows) = (features.pyramid().columns(), features.pyramid().rows());
        let mut out = vec![0.0; columns * rows * self.k];
        out.par_chunks_exact_mut(columns * self.k).enumerate().for_each_init(
            || vec![0.0; self.d * columns],
            |row, (y, out)| {
                features.row(y, row);
                out.chunks_exact_mut(self.k).for_each(|cell| cell.copy_from_slice(&self.offset));
                let cells = Strided { values: row, row: 1, column: columns };
                self.backend.add_product(cells, &self.transposed, self.k, out);
            },
        );
        out
    }

    /// Wᵀ s of rows of `columns` cells (cells × k): rows × d × columns, as [`Pyramid::backward`] takes it.
    ///
    /// [`Pyramid::backward`]: groundstate_nn::Pyramid::backward
    pub(in crate::model) fn adjoint(&self, slopes: &[f32], columns: usize) -> Vec<f32> {
        let axes = Strided { values: self.matrix, row: 1, column: self.d };
        let mut out = vec![0.0; slopes.len() / self.k * self.d];
        let rows = out.par_chunks_exact_mut(columns * self.d).zip(slopes.par_chunks_exact(columns * self.k));
        rows.for_each_init(
            || vec![0.0; columns * self.k],
            |transposed, (out, slopes)| {
                for (x, slope) in slopes.chunks_exact(self.k).enumerate() {
                    for (j, &value) in slope.iter().enumerate() {
                        transposed[j * columns + x] = value;
                    }
                }
                self.backend.add_product(axes, transposed, columns, out);
            },
        );
        out
    }
}

/// At most about 30,000 of the cells of `pictures` pictures of `cells` cells, evenly spread: every how many.
pub(super) fn every(pictures: usize, cells: usize) -> usize {
    (pictures * cells).div_ceil(PRINCIPAL_CELLS)
}

/// Indices of values, the largest first.
pub(super) fn descending(values: &DVector<f64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}
