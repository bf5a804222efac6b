//! How whole normal pictures vary: the few principal components of all their features at once.
//!
//! Light that wanders, a part that is a little larger or turned, a background that is another one today
//! change many cells together. What such common causes explain is taken out of a picture's features
//! before its cells are judged one by one (a factor model, as in probabilistic principal component
//! analysis, Tipping & Bishop 1999).

use half::f16;
use half::slice::HalfFloatSliceExt;
use nalgebra::{DMatrix, DMatrixView, SymmetricEigen};
use rayon::prelude::*;

use super::linear::{add_scaled, dot, product};
use super::projection::descending;

/// Values of a feature array that are multiplied at once.
const BLOCK: usize = 4096;
/// Blocks whose products are in memory at once.
const BLOCKS: usize = 16;
/// Components that explain less than this share of the variation are none.
const LEAST_SHARE: f64 = 1e-9;

/// Inner products of pictures' features, pictures × pictures.
pub(super) fn inner_products(features: &[&[f16]]) -> DMatrix<f64> {
    let n = features.len();
    let mut sum = DMatrix::zeros(n, n);
    let starts: Vec<usize> = (0..features[0].len()).step_by(BLOCK).collect();
    for starts in starts.chunks(BLOCKS) {
        let products: Vec<DMatrix<f32>> = starts
            .par_iter()
            .map(|&start| {
                let block = block(features, start);
                block.transpose() * &block
            })
            .collect();
        products.into_iter().for_each(|product| sum += product.cast::<f64>());
    }
    sum
}

/// Orthonormal directions (at most `count`, each of the length of a feature array) in which pictures
/// differ most from their mean, one after another.
///
/// `products` are their [`inner_products`].
pub(super) fn directions(features: &[&[f16]], products: &DMatrix<f64>, count: usize) -> Vec<f32> {
    let n = features.len();
    let means = products.row_mean();
    let mean = means.mean();
    let centred = DMatrix::from_fn(n, n, |i, j| products[(i, j)] - means[i] - means[j] + mean);
    let least = LEAST_SHARE * centred.trace();
    let eigen = SymmetricEigen::new(centred);
    let order = descending(&eigen.eigenvalues);
    let kept: Vec<usize> =
        order.into_iter().take(count).filter(|&axis| eigen.eigenvalues[axis] > least).collect();
    // An eigenvector of centred products sums to zero, so that the mean drops out.
    let mixing = DMatrix::<f32>::from_fn(n, kept.len(), |i, j| {
        (eigen.eigenvectors[(i, kept[j])] / eigen.eigenvalues[kept[j]].sqrt()) as f32
    });
    let length = features[0].len();
    let mut out = vec![0f32; kept.len() * length];
    let starts: Vec<usize> = (0..length).step_by(BLOCK).collect();
    let blocks: Vec<Vec<f32>> = starts
        .par_iter()
        .map(|&start| product(&block(features, start).as_view(), &mixing.as_view()))
        .collect();
    for (&start, values) in starts.iter().zip(&blocks) {
        let width = BLOCK.min(length - start);
        for (j, values) in values.chunks_exact(width).enumerate() {
            out[j * length + start..][..width].copy_from_slice(values);
        }
    }
    out
}

/// Coordinates of pictures' deviations from `mean` in orthonormal directions, directions × pictures.
pub(super) fn coordinates(features: &[&[f16]], mean: &[f32], directions: &[f32]) -> DMatrix<f32> {
    let count = directions.len() / mean.len();
    let mut sum = DMatrix::zeros(count, features.len());
    let starts: Vec<usize> = (0..mean.len()).step_by(BLOCK).collect();
    for starts in starts.chunks(BLOCKS) {
        let products: Vec<DMatrix<f32>> = starts
            .par_iter()
            .map(|&start| {
                let mut block = block(features, start);
                let range = start..start + block.nrows();
                for column in block.as_mut_slice().chunks_exact_mut(range.len()) {
                    column.iter_mut().zip(&mean[range.clone()]).for_each(|(d, m)| *d -= m);
                }
                DMatrix::from_fn(count, range.len(), |j, i| directions[j * mean.len() + start + i]) * block
            })
            .collect();
        products.iter().for_each(|product| sum += product);
    }
    sum
}

/// Takes the part of `deviation` that lies in orthonormal directions out of it.
pub(super) fn remove(deviation: &mut [f32], directions: &[f32]) {
    let rows = directions.chunks_exact(deviation.len());
    let coordinates: Vec<f32> = rows.clone().map(|direction| dot(direction, deviation)).collect();
    for (direction, &coordinate) in rows.zip(&coordinates) {
        add_scaled(deviation, direction, -coordinate);
    }
}

/// One block of the features of all pictures: block × pictures.
fn block(features: &[&[f16]], start: usize) -> DMatrix<f32> {
    let width = BLOCK.min(features[0].len() - start);
    let mut out = DMatrix::zeros(width, features.len());
    for (features, column) in features.iter().zip(out.as_mut_slice().chunks_exact_mut(width)) {
        features[start..start + width].convert_to_f32_slice(column);
    }
    out
}

/// A view of the directions (count × cells · k) at one cell: k × count.
pub(super) fn at_cell(directions: &[f32], length: usize, cell: usize, k: usize) -> DMatrix<f32> {
    let rows = directions.chunks_exact(length);
    let columns: Vec<f32> =
        rows.clone().flat_map(|row| row[cell * k..(cell + 1) * k].iter().copied()).collect();
    DMatrixView::from_slice(&columns, k, rows.len()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn directions_are_orthonormal_and_those_of_the_variation() {
        let (features, known) = features();
        let features: Vec<&[f16]> = features.iter().map(Vec::as_slice).collect();
        let found = directions(&features, &inner_products(&features), 2);
        let (first, second) = found.split_at(5000);
        for (a, b, expected) in [(first, first, 1.0), (second, second, 1.0), (first, second, 0.0)] {
            assert!((dot(a, b) - expected).abs() < 1e-3, "{}", dot(a, b));
        }
        for (found, known) in [first, second].into_iter().zip(&known) {
            let cosine = dot(found, known) / dot(known, known).sqrt();
            assert!(cosine.abs() > 0.995, "{cosine}");
        }
        let mean = vec![0.0; 5000];
        let of_first = coordinates(&features, &mean, &found).column(0).into_owned();
        let values = features[0].to_f32_vec();
        for (found, direction) in of_first.iter().zip([first, second]) {
            assert!((found - dot(&values, direction)).abs() < 1e-2, "{found} {}", dot(&values, direction));
        }
        let mut removed = known[0].iter().zip(&known[1]).map(|(a, b)| a - 2.0 * b).collect::<Vec<_>>();
        let before = dot(&removed, &removed);
        remove(&mut removed, &found);
        assert!(dot(&removed, &removed) < 0.01 * before);
    }

    #[test]
    fn pictures_that_do_not_vary_have_no_directions() {
        let same = vec![f16::from_f32(0.5); 300];
        let features = vec![&same[..]; 9];
        assert!(directions(&features, &inner_products(&features), 3).is_empty());
    }
}
