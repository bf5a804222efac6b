//! What of the features is looked at: their principal axes, whitened.

use nalgebra::{DMatrix, DMatrixView, DVector, SymmetricEigen};

use super::linear::{dot, product};

/// Cells that the principal axes are estimated from.
const PRINCIPAL_CELLS: usize = 30_000;
/// Added to every spread: features are of order one, and pictures may all be the same.
const LEAST_SPREAD: f64 = 1e-3;

/// Features φ of length d become W (φ − c) of length k.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct Projection {
    /// c: d values.
    pub(in crate::model) centre: Vec<f32>,
    /// W: k × d.
    pub(in crate::model) matrix: Vec<f32>,
}

impl Projection {
    /// The k principal axes of features (pictures of cells × d), divided by their spread, with 5 % of
    /// the largest spread added so that noise directions are not blown up.
    pub(in crate::model) fn principal(sample: &[Vec<f32>], d: usize, k: usize) -> Self {
        let total = sample.iter().map(|features| features.len() / d).sum::<usize>();
        let every = total.div_ceil(PRINCIPAL_CELLS);
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

    /// The projected features (cells × k) of raw ones (cells × d).
    pub(super) fn apply(&self, raw: &[f32]) -> Vec<f32> {
        project(raw, &self.centre, &self.matrix)
    }
}

/// Every feature vector (cells × d) centred and multiplied by a k × d matrix.
pub(in crate::model) fn project(raw: &[f32], centre: &[f32], matrix: &[f32]) -> Vec<f32> {
    let d = centre.len();
    let k = matrix.len() / d;
    // Row-major arrays are the transposes of nalgebra's column-major ones: Φ Wᵀ is (W Φᵀ)ᵀ.
    let transposed = DMatrixView::from_slice(matrix, d, k).transpose();
    let mut out = product(&transposed.as_view(), &DMatrixView::from_slice(raw, d, raw.len() / d));
    let of_centre: Vec<f32> = matrix.chunks_exact(d).map(|axis| dot(axis, centre)).collect();
    for features in out.chunks_exact_mut(k) {
        features.iter_mut().zip(&of_centre).for_each(|(value, c)| *value -= c);
    }
    out
}

/// Indices of values, the largest first.
pub(super) fn descending(values: &DVector<f64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}
