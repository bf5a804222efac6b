//! Rows of numbers as an energy keeps them: one byte each and a scale a row.
//!
//! Nearly all that is read for a picture are such rows, and so small they stay in the cache from picture to picture.
//! A value is off by at most 1/254 of the largest of its row, less than a covariance of some hundred pictures is.

use std::ops::Range;

use groundstate_nn::{Quantised, lower_lengths, quantise, quantise_lower};
use rayon::prelude::*;

use super::GaussianError;

/// Matrices that one task brings to bytes.
const AT_ONCE: usize = 64;

/// As many rows at every cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct QuantisedRows {
    /// All rows, one after another.
    pub(crate) values: Vec<i8>,
    /// One a row.
    pub(crate) scales: Vec<f32>,
}

impl QuantisedRows {
    /// Lower-triangular k × k matrices, given as their rows of 1, 2, … k values, in the order of [`lower_lengths`].
    pub(crate) fn triangles(matrices: &[f32], k: usize) -> Self {
        let packed = k * (k + 1) / 2;
        let ((of_values, of_rows), count) = (lower_lengths(k), matrices.len() / packed);
        let mut rows = Self { values: vec![0; count * of_values], scales: vec![0.0; count * of_rows] };
        let to = rows.values.par_chunks_exact_mut(of_values).zip(rows.scales.par_chunks_exact_mut(of_rows));
        let pairs = to.zip(matrices.par_chunks_exact(packed)).with_min_len(AT_ONCE);
        pairs.for_each(|((values, scales), matrix)| quantise_lower(matrix, k, values, scales));
        rows
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &[f32]) {
        let first = self.values.len();
        self.values.resize(first + row.len(), 0);
        self.scales.push(quantise(row, &mut self.values[first..]));
    }

    /// Adds rows of further cells.
    pub(super) fn append(&mut self, other: &Self) {
        self.values.extend_from_slice(&other.values);
        self.scales.extend_from_slice(&other.scales);
    }

    /// The rows of some of `all` cells.
    pub(crate) fn of_cells(&self, some: Range<usize>, all: usize) -> Quantised<'_> {
        let (values, scales) = (self.values.len() / all, self.scales.len() / all);
        Quantised {
            values: &self.values[some.start * values..some.end * values],
            scales: &self.scales[some.start * scales..some.end * scales],
        }
    }

    /// Checks how many values and rows there are, as after loading.
    pub(crate) fn check(
        &self,
        names: [&'static str; 2],
        values: usize,
        rows: usize,
    ) -> Result<(), GaussianError> {
        super::check_arrays(names, [self.values.len(), self.scales.len()], [values, rows])
    }
}

/// Rows of k values in single precision.
pub(super) fn dequantise(rows: Quantised, k: usize, to: &mut [f32]) {
    let rows = rows.values.chunks_exact(k).zip(rows.scales);
    for (to, (row, scale)) in to.chunks_exact_mut(k).zip(rows) {
        to.iter_mut().zip(row).for_each(|(to, &value)| *to = f32::from(value) * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_a_triangle_has_its_own_scale() {
        let matrices = [1.0, -10.0, 5.0, 100.0, 50.0, -25.0, 0.0, 2.0, 2.0, 3.0, 0.0, 0.0];
        let rows = QuantisedRows::triangles(&matrices, 3);
        let columns = [[127, -127, 127], [0, 64, 64], [0, 0, -32], [0, 127, 127], [0, 127, 0], [0, 0, 0]];
        let padded = columns.into_iter().flat_map(|[a, b, c]| [a, b, c, 0, 0, 0, 0, 0]);
        assert_eq!(rows.values, padded.collect::<Vec<i8>>());
        let expected = [1.0, 10.0, 100.0, 0.0, 2.0, 3.0].map(|largest: f32| largest / 127.0);
        let found = [&rows.scales[..3], &rows.scales[8..11]].concat();
        assert_eq!(found, expected);
        assert_eq!(rows.of_cells(1..2, 2).values, &rows.values[24..]);
        assert_eq!(rows.of_cells(1..2, 2).scales, &rows.scales[8..]);
    }
}
