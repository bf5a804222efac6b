//! Sums over pictures at every cell, and the covariances that they come to.

use groundstate_nn::{Backend, Strided};
use rayon::prelude::*;

use super::copies::Selection;
use super::quantised::dequantise;
use super::variation::Variation;

/// Sums of features of some pictures, about an origin, and of their products.
///
/// About the mean of all pictures no digits are lost when the mean of some is taken out.
#[derive(Clone)]
pub(super) struct Moments {
    count: usize,
    /// Cells × k.
    sum: Vec<f32>,
    /// Cells × k(k+1)/2: packed rows of the lower triangle.
    products: Vec<f32>,
}

impl Moments {
    /// Sums over copies.
    pub(super) fn of(copies: &Selection) -> Self {
        let backend = Backend::detect();
        let k = copies.k();
        let packed = k * (k + 1) / 2;
        let mut sum = vec![0f32; copies.length()];
        let mut products = vec![0f32; copies.length() / k * packed];
        let of_cells = sum.par_chunks_exact_mut(k).zip(products.par_chunks_exact_mut(packed));
        of_cells.enumerate().for_each_init(
            || (vec![0f32; copies.count() * k], vec![0f32; k * k]),
            |(features, square), (cell, (sum, products))| {
                copies.deviations(backend, cell, features);
                square.fill(0.0);
                backend.add_gram(features, k, square);
                for (i, row) in square.chunks_exact(k).enumerate() {
                    products[i * (i + 1) / 2..][..=i].copy_from_slice(&row[..=i]);
                }
                features.chunks_exact(k).for_each(|row| backend.add_scaled(sum, row, 1.0));
            },
        );
        Self { count: copies.count(), sum, products }
    }

    /// The variance of the `k` features of a cell about the origin, the mean over cells of their sum.
    pub(super) fn variance(&self, k: usize) -> f64 {
        let diagonal = |products: &[f32]| (0..k).map(|i| f64::from(products[i * (i + 3) / 2])).sum::<f64>();
        let cells = self.products.chunks_exact(k * (k + 1) / 2);
        let count = (cells.len() * self.count) as f64;
        cells.map(diagonal).sum::<f64>() / count
    }

    /// The sums without those of some of the copies.
    pub(super) fn without(&self, mut part: Moments) -> Moments {
        part.count = self.count - part.count;
        for (all, part) in [(&self.sum, &mut part.sum), (&self.products, &mut part.products)] {
            part.iter_mut().zip(all).for_each(|(part, all)| *part = all - *part);
        }
        part
    }

    /// The mean and the covariances (cells × k(k+1)/2) of the copies that these are the sums of, relative to the
    /// origin, after their variation is taken out.
    pub(super) fn finish(self, copies: &Selection, variation: &Variation) -> (Vec<f32>, Vec<f32>) {
        let Self { count, sum: mut mean, products: mut covariance } = self;
        assert_eq!(count, copies.count(), "these are the copies' sums");
        let k = copies.k();
        let packed = k * (k + 1) / 2;
        let share = 1.0 / count as f32;
        mean.iter_mut().for_each(|value| *value *= share);
        let explained = Explained::new(copies, variation);
        covariance.par_chunks_exact_mut(packed).zip(mean.par_chunks_exact(k)).enumerate().for_each_init(
            || explained.scratch(),
            |scratch, (cell, (covariance, mean))| {
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
        (mean, covariance)
    }
}

/// What a variation explains of the products of deviations D at a cell.
///
/// With directions U, coordinates Z and B = D Zᵀ, (D − U Z)(D − U Z)ᵀ is D Dᵀ less M + Mᵀ, where
/// M = (B − ½ U Z Zᵀ) Uᵀ. Coordinates sum to zero, so that D may be relative to any origin.
struct Explained<'a> {
    backend: Backend,
    copies: &'a Selection<'a>,
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
    fn new(copies: &'a Selection<'a>, variation: &'a Variation) -> Self {
        let backend = Backend::detect();
        let directions = variation.directions.values.len() / copies.length();
        let mut half = vec![0f32; directions * directions];
        let z = &variation.coordinates;
        if directions > 0 {
            let transposed = Strided { values: z, row: 1, column: directions };
            backend.add_product(transposed, z, directions, &mut half);
        }
        half.iter_mut().for_each(|value| *value *= -0.5);
        Self { backend, copies, variation, directions, half }
    }

    fn scratch(&self) -> Scratch {
        let (k, count) = (self.copies.k(), self.directions);
        let features = if count == 0 { 0 } else { self.copies.count() * k };
        Scratch {
            features: vec![0.0; features],
            directions: vec![0.0; count * k],
            mixed: vec![0.0; k * count],
            square: vec![0.0; k * k],
        }
    }

    fn at(&self, cell: usize, scratch: &mut Scratch) {
        let (k, count, backend) = (self.copies.k(), self.directions, self.backend);
        if count == 0 {
            return;
        }
        let Scratch { features, directions, mixed, square } = scratch;
        self.copies.deviations(backend, cell, features);
        let cells = self.copies.length() / k;
        dequantise(self.variation.directions.of_cells(cell..cell + 1, cells), k, directions);
        mixed.fill(0.0);
        let deviations = Strided { values: features, row: 1, column: k };
        backend.add_product(deviations, &self.variation.coordinates, count, mixed);
        let u = Strided { values: directions, row: 1, column: k };
        backend.add_product(u, &self.half, count, mixed);
        square.fill(0.0);
        backend.add_product(Strided { values: mixed, row: count, column: 1 }, directions, k, square);
    }
}
