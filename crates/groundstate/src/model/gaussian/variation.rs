//! How whole normal pictures vary: the few principal components of all their features at once.
//!
//! Light that wanders, a part that is a little larger or turned, a background that is another one today
//! change many cells together. What such common causes explain is taken out of a picture's features
//! before its cells are judged one by one (a factor model, as in probabilistic principal component
//! analysis, Tipping & Bishop 1999).

use groundstate_nn::{Backend, Strided};
use half::f16;
use half::slice::HalfFloatSliceExt;
use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

use super::projection::descending;

/// Values of a feature array that one task works on.
const BLOCK: usize = 4096;
/// Values that it converts at once: of many pictures, they stay in the cache.
const STRIP: usize = 256;
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

/// What varies in whole pictures.
pub(super) struct Variation {
    /// Orthonormal directions, each of the length of a feature array, one after another.
    pub(super) directions: Vec<f32>,
    /// Coordinates of every copy's deviation from the mean, copies × directions; they sum to zero.
    pub(super) coordinates: Vec<f32>,
}

impl Variation {
    /// No directions.
    pub(super) fn none() -> Self {
        Self { directions: Vec::new(), coordinates: Vec::new() }
    }

    /// At most `count` directions in which the pictures of a sample differ most from their mean, and the
    /// coordinates of all copies.
    ///
    /// `sample` are the numbers of the sample's pictures among the copies, `products` their
    /// [`inner_products`]; features are taken relative to `origin`.
    pub(super) fn of(
        copies: &[&[f16]],
        origin: &[f32],
        (sample, products): (&[usize], &DMatrix<f64>),
        count: usize,
    ) -> Self {
        let (mixing, count) = mixing(products, count);
        if count == 0 {
            return Self::none();
        }
        let length = origin.len();
        let starts: Vec<usize> = (0..length).step_by(BLOCK).collect();
        let blocks: Vec<(Vec<f32>, Vec<f32>)> = starts
            .par_iter()
            .map(|&start| {
                let range = start..(start + BLOCK).min(length);
                directions_and_coordinates(copies, &origin[range.clone()], start, sample, &mixing, count)
            })
            .collect();
        let mut directions = vec![0f32; count * length];
        let mut coordinates = vec![0f32; copies.len() * count];
        for (&start, (of_directions, of_coordinates)) in starts.iter().zip(&blocks) {
            for (i, row) in of_directions.chunks_exact(count).enumerate() {
                for (j, &value) in row.iter().enumerate() {
                    directions[j * length + start + i] = value;
                }
            }
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

/// One block of the directions (values × directions) and what it adds to the coordinates of the copies.
fn directions_and_coordinates(
    copies: &[&[f16]],
    origin: &[f32],
    start: usize,
    sample: &[usize],
    mixing: &[f32],
    count: usize,
) -> (Vec<f32>, Vec<f32>) {
    let backend = Backend::detect();
    let mut directions = vec![0f32; origin.len() * count];
    let mut coordinates = vec![0f32; copies.len() * count];
    let mut values = vec![0f32; copies.len() * STRIP];
    let mut of_sample = vec![0f32; sample.len() * STRIP];
    for (strip, directions) in directions.chunks_mut(STRIP * count).enumerate() {
        let width = directions.len() / count;
        let first = strip * STRIP;
        for (copy, row) in copies.iter().zip(values.chunks_exact_mut(width)) {
            deviation(backend, &copy[start + first..][..width], &origin[first..], row);
        }
        for (&copy, row) in sample.iter().zip(of_sample.chunks_exact_mut(width)) {
            row.copy_from_slice(&values[copy * width..][..width]);
        }
        let pictures = Strided { values: &of_sample, row: 1, column: width };
        backend.add_product(pictures, mixing, count, directions);
        let copies = Strided { values: &values, row: width, column: 1 };
        backend.add_product(copies, directions, count, &mut coordinates);
    }
    (directions, coordinates)
}

/// Features relative to an origin.
pub(super) fn deviation(backend: Backend, features: &[f16], origin: &[f32], to: &mut [f32]) {
    backend.widen(features.reinterpret_cast(), origin, to);
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

/// Coordinates in orthonormal directions of what pictures have from `start` on: pictures × directions.
pub(super) fn coordinates(
    directions: &[f32],
    length: usize,
    start: usize,
    pictures: &[&mut [f32]],
) -> Vec<f32> {
    let backend = Backend::detect();
    let count = directions.len() / length;
    let mut out = vec![0f32; pictures.len() * count];
    for (f, direction) in directions.chunks_exact(length).enumerate() {
        for (p, picture) in pictures.iter().enumerate() {
            out[p * count + f] = backend.dot(&direction[start..][..picture.len()], picture);
        }
    }
    out
}

/// Takes what lies in orthonormal directions, at `coordinates` (pictures × directions), out of what pictures have
/// from `start` on.
pub(super) fn remove(
    directions: &[f32],
    length: usize,
    start: usize,
    coordinates: &[f32],
    pictures: &mut [&mut [f32]],
) {
    let backend = Backend::detect();
    let count = directions.len() / length;
    for (f, direction) in directions.chunks_exact(length).enumerate() {
        for (p, picture) in pictures.iter_mut().enumerate() {
            backend.add_scaled(picture, &direction[start..][..picture.len()], -coordinates[p * count + f]);
        }
    }
}

/// One block of the features of all pictures: block × pictures.
fn block(features: &[&[f16]], start: usize) -> DMatrix<f32> {
    let width = BLOCK.min(features[0].len() - start);
    let (backend, origin) = (Backend::detect(), vec![0.0; width]);
    let mut out = DMatrix::zeros(width, features.len());
    for (features, column) in features.iter().zip(out.as_mut_slice().chunks_exact_mut(width)) {
        deviation(backend, &features[start..start + width], &origin, column);
    }
    out
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
        let products = inner_products(&features);
        let origin = vec![0.9; 5000];
        let all: Vec<usize> = (0..features.len()).collect();
        let Variation { directions, coordinates: of_copies } =
            Variation::of(&features, &origin, (&all, &products), 2);
        let backend = Backend::detect();
        let (first, second) = directions.split_at(5000);
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
        let of_removed = coordinates(&directions, 5000, 0, &[&mut removed]);
        remove(&directions, 5000, 0, &of_removed, &mut [&mut removed]);
        assert!(backend.dot(&removed, &removed) < 0.01 * before);
    }

    #[test]
    fn pictures_that_do_not_vary_have_no_directions() {
        let same = vec![f16::from_f32(0.5); 300];
        let features = vec![&same[..]; 9];
        let all: Vec<usize> = (0..9).collect();
        let products = inner_products(&features);
        let found = Variation::of(&features, &[0.5; 300], (&all, &products), 3);
        assert!(found.directions.is_empty());
    }
}
