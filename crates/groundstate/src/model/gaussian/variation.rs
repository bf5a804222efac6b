//! How whole normal pictures vary: the few principal components of all their features at once.
//!
//! Light that wanders, a part that is a little larger or turned, a background that is another one today
//! change many cells together. What such common causes explain is taken out of a picture's features
//! before its cells are judged one by one (a factor model, as in probabilistic principal component
//! analysis, Tipping & Bishop 1999).

use std::ops::Range;

use groundstate_nn::{Backend, Strided};
use half::slice::HalfFloatSliceExt;
use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

use super::copies::{Copies, Selection};
use super::projection::descending;
use super::quantised::QuantisedRows;

/// Cells that one task works on.
const CELLS: usize = 64;
/// Blocks whose products are in memory at once.
const BLOCKS: usize = 16;
/// Components that explain less than this share of the variation are none.
const LEAST_SHARE: f64 = 1e-9;

/// Inner products of the features of copies at some positions, pictures × pictures.
pub(super) fn inner_products(copies: &Copies, positions: &[usize]) -> DMatrix<f64> {
    let n = positions.len();
    let mut sum = DMatrix::zeros(n, n);
    let blocks: Vec<usize> = (0..copies.cells()).step_by(CELLS).collect();
    for blocks in blocks.chunks(BLOCKS) {
        let products: Vec<DMatrix<f32>> = blocks
            .par_iter()
            .map(|&first| {
                let block = block(copies, positions, first);
                block.transpose() * &block
            })
            .collect();
        products.into_iter().for_each(|product| sum += product.cast::<f64>());
    }
    sum
}

/// What varies in whole pictures.
pub(super) struct Variation {
    /// Orthonormal directions of the length of a feature array: cells × directions × k.
    pub(super) directions: QuantisedRows,
    /// Coordinates of every copy's deviation from the mean, copies × directions; they sum to zero.
    pub(super) coordinates: Vec<f32>,
}

impl Variation {
    /// No directions.
    pub(super) fn none() -> Self {
        Self { directions: QuantisedRows::default(), coordinates: Vec::new() }
    }

    /// At most `count` directions in which the pictures of a sample differ most from their mean, and the
    /// coordinates of all copies.
    ///
    /// `sample` are the numbers of the sample's pictures among the copies, `products` their
    /// [`inner_products`].
    pub(super) fn of(
        copies: &Selection,
        (sample, products): (&[usize], &DMatrix<f64>),
        count: usize,
    ) -> Self {
        let (mixing, count) = mixing(products, count);
        if count == 0 {
            return Self::none();
        }
        let (length, k) = (copies.length(), copies.k());
        let starts: Vec<usize> = (0..length / k).step_by(CELLS).collect();
        let blocks: Vec<(QuantisedRows, Vec<f32>)> = starts
            .par_iter()
            .map(|&start| {
                let cells = start..(start + CELLS).min(length / k);
                let (directions, coordinates) =
                    directions_and_coordinates(copies, cells, sample, &mixing, count);
                (by_direction(&directions, k, count), coordinates)
            })
            .collect();
        let mut directions = QuantisedRows::default();
        let mut coordinates = vec![0f32; copies.count() * count];
        for (of_cells, of_coordinates) in &blocks {
            directions.append(of_cells);
            coordinates.iter_mut().zip(of_coordinates).for_each(|(sum, value)| *sum += value);
        }
        centre(&mut coordinates, count);
        Self { directions, coordinates }
    }
}

/// How directions are mixed of a sample's pictures (pictures × directions), and how many there are.
fn mixing(products: &DMatrix<f64>, count: usize) -> (Vec<f32>, usize) {
    let n = products.nrows();
    let means = products.row_mean();
    let mean = means.mean();
    let centred = DMatrix::from_fn(n, n, |i, j| products[(i, j)] - means[i] - means[j] + mean);
    let least = LEAST_SHARE * centred.trace();
    let eigen = SymmetricEigen::new(centred);
    let order = descending(&eigen.eigenvalues);
    let kept: Vec<usize> =
        order.into_iter().take(count).filter(|&axis| eigen.eigenvalues[axis] > least).collect();
    // An eigenvector of centred products sums to zero, so that the mean, or any origin, drops out.
    let of = |i: usize, axis: usize| (eigen.eigenvectors[(i, axis)] / eigen.eigenvalues[axis].sqrt()) as f32;
    (
        (0..n).flat_map(|i| kept.iter().map(move |&axis| (i, axis))).map(|(i, axis)| of(i, axis)).collect(),
        kept.len(),
    )
}

/// The directions at some cells (values × directions) and what these add to the coordinates of the copies.
fn directions_and_coordinates(
    copies: &Selection,
    cells: Range<usize>,
    sample: &[usize],
    mixing: &[f32],
    count: usize,
) -> (Vec<f32>, Vec<f32>) {
    let (backend, k) = (Backend::detect(), copies.k());
    let mut directions = vec![0f32; cells.len() * k * count];
    let mut coordinates = vec![0f32; copies.count() * count];
    let mut values = vec![0f32; copies.count() * k];
    let mut of_sample = vec![0f32; sample.len() * k];
    for (cell, directions) in cells.zip(directions.chunks_exact_mut(k * count)) {
        copies.deviations(backend, cell, &mut values);
        for (&copy, row) in sample.iter().zip(of_sample.chunks_exact_mut(k)) {
            row.copy_from_slice(&values[copy * k..][..k]);
        }
        backend.add_product(Strided { values: &of_sample, row: 1, column: k }, mixing, count, directions);
        let copies = Strided { values: &values, row: k, column: 1 };
        backend.add_product(copies, directions, count, &mut coordinates);
    }
    (directions, coordinates)
}

/// The rows that directions have at some cells, of which `values` are cells × k × directions.
fn by_direction(values: &[f32], k: usize, count: usize) -> QuantisedRows {
    let mut rows = QuantisedRows::default();
    let mut row = Vec::with_capacity(k);
    for cell in values.chunks_exact(k * count) {
        for j in 0..count {
            row.clear();
            row.extend(cell[j..].iter().step_by(count));
            rows.push(&row);
        }
    }
    rows
}

/// Subtracts the mean row.
fn centre(rows: &mut [f32], count: usize) {
    let mut mean = vec![0f64; count];
    for row in rows.chunks_exact(count) {
        mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let n = (rows.len() / count) as f64;
    for row in rows.chunks_exact_mut(count) {
        row.iter_mut().zip(&mean).for_each(|(value, sum)| *value -= (sum / n) as f32);
    }
}

/// One block of the features of copies at some positions: values × pictures.
fn block(copies: &Copies, positions: &[usize], first: usize) -> DMatrix<f32> {
    let (k, backend) = (copies.k, Backend::detect());
    let cells = first..(first + CELLS).min(copies.cells());
    let mut out = DMatrix::zeros(cells.len() * k, positions.len());
    for (&position, column) in positions.iter().zip(out.as_mut_slice().chunks_exact_mut(cells.len() * k)) {
        for (cell, to) in cells.clone().zip(column.chunks_exact_mut(k)) {
            backend.widen(copies.at(position, cell).reinterpret_cast(), to);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::quantised::dequantise;
    use super::*;

    /// Values at a cell.
    const K: usize = 50;

    /// Twelve "pictures" that vary in two known directions of 5000 values, the first by more.
    fn features() -> (Vec<Vec<f16>>, [Vec<f32>; 2]) {
        let direction =
            |step: f32| -> Vec<f32> { (0..5000).map(|i| (step * i as f32).sin() / 50.0).collect() };
        let directions = [direction(0.3), direction(0.7)];
        let picture = |n: usize| {
            let (a, b) = (20.0 * (n as f32).cos(), 5.0 * (2.0 * n as f32).sin());
            (0..5000).map(|i| f16::from_f32(1.0 + a * directions[0][i] + b * directions[1][i])).collect()
        };
        ((0..12).map(picture).collect(), directions)
    }

    /// Copies of pictures in one fold.
    fn copies(features: &[Vec<f16>]) -> Copies {
        let shape = (features[0].len() / K, K);
        Copies::gather((features.len(), 1), shape, false, |picture, _| features[picture].clone())
    }

    #[test]
    fn directions_are_orthonormal_and_those_of_the_variation() {
        let (features, known) = features();
        let copies = copies(&features);
        let all: Vec<usize> = (0..features.len()).collect();
        let products = inner_products(&copies, &all);
        let Variation { directions, coordinates: of_copies } =
            Variation::of(&copies.of_folds(|_| true), (&all, &products), 2);
        let backend = Backend::detect();
        let mut singles = vec![0.0; directions.values.len()];
        dequantise(directions.of_cells(0..1, 1), K, &mut singles);
        let direction = |j: usize| singles.chunks_exact(K).skip(j).step_by(2).flatten().copied();
        let [first, second] = [0, 1].map(|j| direction(j).collect::<Vec<f32>>());
        let (first, second) = (&first[..], &second[..]);
        for (a, b, expected) in [(first, first, 1.0), (second, second, 1.0), (first, second, 0.0)] {
            assert!((backend.dot(a, b) - expected).abs() < 1e-3, "{}", backend.dot(a, b));
        }
        for (found, known) in [first, second].into_iter().zip(&known) {
            let cosine = backend.dot(found, known) / backend.dot(known, known).sqrt();
            assert!(cosine.abs() > 0.995, "{cosine}");
        }
        let mut mean = vec![0f32; 5000];
        for picture in &features {
            mean.iter_mut().zip(picture.to_f32_vec()).for_each(|(m, v)| *m += v / features.len() as f32);
        }
        let mut deviation = features[0].to_f32_vec();
        deviation.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
        for (found, direction) in of_copies.iter().zip([first, second]) {
            let expected = backend.dot(&deviation, direction);
            assert!((found - expected).abs() < 1e-2, "{found} {expected}");
        }
        let mut removed = known[0].iter().zip(&known[1]).map(|(a, b)| a - 2.0 * b).collect::<Vec<_>>();
        let before = backend.dot(&removed, &removed);
        let all = directions.of_cells(0..1, 1);
        let mut of_removed = [0.0; 2];
        backend.add_dots(all, K, &[&removed], &mut of_removed);
        backend.add_rows(all, K, &of_removed.map(|value| -value), &mut [&mut removed]);
        assert!(backend.dot(&removed, &removed) < 0.01 * before);
    }

    #[test]
    fn pictures_that_do_not_vary_have_no_directions() {
        let copies = copies(&vec![vec![f16::from_f32(0.5); 300]; 9]);
        let all: Vec<usize> = (0..9).collect();
        let products = inner_products(&copies, &all);
        let found = Variation::of(&copies.of_folds(|_| true), (&all, &products), 3);
        assert!(found.directions.values.is_empty());
    }
}
