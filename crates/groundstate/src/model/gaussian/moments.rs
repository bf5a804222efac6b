//! Sums over pictures at every cell, and the covariances that they come to.

use groundstate_nn::{Backend, Strided};
use half::f16;
use rayon::prelude::*;

use super::variation::{Variation, deviation};

/// Sums of features of some pictures, about an origin, and of their products.
///
/// About the mean of all pictures no digits are lost when the mean of some is taken out.
pub(super) struct Moments {
    pub(super) count: usize,
    /// Cells × k.
    sum: Vec<f32>,
    /// Cells × k(k+1)/2: packed rows of the lower triangle.
    products: Vec<f32>,
}

/// The features of a cell in all copies: copies × k.
fn at_cell(backend: Backend, copies: &[&[f16]], origin: &[f32], cell: usize, to: &mut [f32]) {
    let k = origin.len();
    for (features, row) in copies.iter().zip(to.chunks_exact_mut(k)) {
        deviation(backend, &features[cell * k..(cell + 1) * k], origin, row);
    }
}

impl Moments {
    /// Sums over copies (cells × k each) relative to `origin`.
    pub(super) fn of(copies: &[&[f16]], origin: &[f32], k: usize) -> Self {
        let backend = Backend::detect();
        let (packed, cells) = (k * (k + 1) / 2, origin.len() / k);
        let mut sum = vec![0f32; cells * k];
        let mut products = vec![0f32; cells * packed];
        let of_cells = sum.par_chunks_exact_mut(k).zip(products.par_chunks_exact_mut(packed));
        of_cells.zip(origin.par_chunks_exact(k)).enumerate().for_each_init(
            || (vec![0f32; copies.len() * k], vec![0f32; k * k]),
            |(features, square), (cell, ((sum, products), origin))| {
                at_cell(backend, copies, origin, cell, features);
                square.fill(0.0);
                backend.add_gram(features, k, square);
                for (i, row) in square.chunks_exact(k).enumerate() {
                    products[i * (i + 1) / 2..][..=i].copy_from_slice(&row[..=i]);
                }
                for row in features.chunks_exact(k) {
                    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            },
        );
        Self { count: copies.len(), sum, products }
    }

    /// The mean of several sums' pictures, relative to the origin.
    pub(super) fn mean(parts: &[&Moments]) -> Vec<f32> {
        let count = parts.iter().map(|part| part.count).sum::<usize>() as f32;
        let mut mean = vec![0f32; parts[0].sum.len()];
        for part in parts {
            mean.iter_mut().zip(&part.sum).for_each(|(mean, sum)| *mean += sum);
        }
        mean.iter_mut().for_each(|mean| *mean /= count);
        mean
    }

    /// The covariances (cells × k(k+1)/2) of several sums' pictures, of which `mean` is the [`Moments::mean`],
    /// after their variation is taken out. `copies` are these pictures.
    pub(super) fn covariances(
        parts: &[&Moments],
        mean: &[f32],
        k: usize,
        (copies, origin, variation): (&[&[f16]], &[f32], &Variation),
    ) -> Vec<f32> {
        let packed = k * (k + 1) / 2;
        let share = 1.0 / parts.iter().map(|part| part.count).sum::<usize>() as f32;
        let explained = Explained::new(copies, origin, variation, k);
        let mut covariance = vec![0f32; parts[0].products.len()];
        covariance.par_chunks_exact_mut(packed).zip(mean.par_chunks_exact(k)).enumerate().for_each_init(
            || explained.scratch(),
            |scratch, (cell, (covariance, mean))| {
                for part in parts {
                    let products = &part.products[cell * packed..][..packed];
                    covariance.iter_mut().zip(products).for_each(|(sum, value)| *sum += value);
                }
                explained.at(cell, scratch);
                for i in 0..k {
                    let row = &mut covariance[i * (i + 1) / 2..][..=i];
                    for (j, value) in row.iter_mut().enumerate() {
                        *value = (*value - scratch.square[i * k + j] - scratch.square[j * k + i]) * share
                            - mean[i] * mean[j];
                    }
                }
            },
        );
        covariance
    }
}

/// What a variation explains of the products of deviations D at a cell.
///
/// With directions U, coordinates Z and B = D Zᵀ, (D − U Z)(D − U Z)ᵀ is D Dᵀ less M + Mᵀ, where
/// M = (B − ½ U Z Zᵀ) Uᵀ. Coordinates sum to zero, so that D may be relative to any origin.
struct Explained<'a> {
    backend: Backend,
    copies: &'a [&'a [f16]],
    origin: &'a [f32],
    k: usize,
    variation: &'a Variation,
    directions: usize,
    /// −½ Z Zᵀ.
    half: Vec<f32>,
}

struct Scratch {
    features: Vec<f32>,
    /// Uᵀ at the cell: directions × k.
    directions: Vec<f32>,
    /// B, then B − ½ U Z Zᵀ: k × directions.
    mixed: Vec<f32>,
    /// M: k × k.
    square: Vec<f32>,
}

impl<'a> Explained<'a> {
    fn new(copies: &'a [&'a [f16]], origin: &'a [f32], variation: &'a Variation, k: usize) -> Self {
        let backend = Backend::detect();
        let directions = variation.directions.len() / origin.len();
        let mut half = vec![0f32; directions * directions];
        let z = &variation.coordinates;
        if directions > 0 {
            let transposed = Strided { values: z, row: 1, column: directions };
            backend.add_product(transposed, z, directions, &mut half);
        }
        half.iter_mut().for_each(|value| *value *= -0.5);
        Self { backend, copies, origin, k, variation, directions, half }
    }

    fn scratch(&self) -> Scratch {
        let (k, count) = (self.k, self.directions);
        let features = if count == 0 { 0 } else { self.copies.len() * k };
        Scratch {
            features: vec![0.0; features],
            directions: vec![0.0; count * k],
            mixed: vec![0.0; k * count],
            square: vec![0.0; k * k],
        }
    }

    fn at(&self, cell: usize, scratch: &mut Scratch) {
        let (k, count, backend) = (self.k, self.directions, self.backend);
        if count == 0 {
            return;
        }
        let Scratch { features, directions, mixed, square } = scratch;
        at_cell(backend, self.copies, &self.origin[cell * k..(cell + 1) * k], cell, features);
        let rows = self.variation.directions.chunks_exact(self.origin.len());
        for (to, row) in directions.chunks_exact_mut(k).zip(rows) {
            to.copy_from_slice(&row[cell * k..(cell + 1) * k]);
        }
        mixed.fill(0.0);
        let deviations = Strided { values: features, row: 1, column: k };
        backend.add_product(deviations, &self.variation.coordinates, count, mixed);
        let u = Strided { values: directions, row: 1, column: k };
        backend.add_product(u, &self.half, count, mixed);
        square.fill(0.0);
        backend.add_product(Strided { values: mixed, row: count, column: 1 }, directions, k, square);
    }
}
