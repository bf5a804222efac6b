//! The linear algebra of a closed-form energy: many small products, and triangular matrices in packed rows.
//!
//! A lower-triangular k × k matrix is stored as its rows, one after another: 1, 2, … k values. What is multiplied with
//! every picture is kept in one byte a value and a scale a row ([`Quantised`]): reading it is what takes the time.
//! Results depend on the backend in their last digits, and on nothing else.

use crate::kernels::Backend;
use crate::kernels::cholesky::InverseFactors;
use crate::kernels::product::Product;
use crate::kernels::quantised::{self, AddRows, Dots};
use crate::kernels::triangular::{self, MultiplyLower, NORMS, SquaredNorms, TransposedLower};
use crate::kernels::vector::{AddScaled, Dot, Widen, WidenLess};

pub use crate::kernels::product::Strided;
pub use crate::kernels::quantised::Quantised;

/// Brings a row of numbers to one byte each: the integers in [−127, 127] nearest to them divided by a scale, which it
/// returns.
///
/// # Panics
/// If the lengths differ.
pub fn quantise(row: &[f32], to: &mut [i8]) -> f32 {
    quantised::quantise(row, to)
}

/// How many values and scales a lower-triangular k × k matrix has in one byte each: its rows in panels of eight, of a
/// panel the columns up to the last that is not zero, one after another; zeros fill up the last panel.
pub fn lower_lengths(k: usize) -> (usize, usize) {
    (triangular::values(k), k.next_multiple_of(triangular::ROWS))
}

/// Brings the packed rows of a lower-triangular k × k matrix to one byte each.
///
/// # Shapes
/// `rows`: k(k+1)/2; `to` and `scales` as [`lower_lengths`] says.
///
/// # Panics
/// If a length is another.
pub fn quantise_lower(rows: &[f32], k: usize, to: &mut [i8], scales: &mut [f32]) {
    assert_eq!((rows.len(), (to.len(), scales.len())), (k * (k + 1) / 2, lower_lengths(k)));
    triangular::quantise_lower(rows, k, to, scales);
}

impl Backend {
    /// Adds a · b to `to`.
    ///
    /// # Shapes
    /// `a`: rows × depth, `b`: depth × `columns`, `to`: rows × `columns`.
    ///
    /// # Panics
    /// If the shapes do not fit together, or `a` is too short for its strides.
    pub fn add_product(self, a: Strided, b: &[f32], columns: usize, to: &mut [f32]) {
        self.run(Product { a, b, columns, to, lower: false });
    }

    /// Adds xᵀ x to the lower triangle of `to`; what lies above the diagonal is undefined.
    ///
    /// # Shapes
    /// `x`: any number of rows of k values, `to`: k × k.
    ///
    /// # Panics
    /// If a length is no multiple of k.
    pub fn add_gram(self, x: &[f32], k: usize, to: &mut [f32]) {
        self.run(Product { a: Strided { values: x, row: 1, column: k }, b: x, columns: k, to, lower: true });
    }

    /// Replaces vectors x of cells by L x, each cell with its own lower-triangular L.
    ///
    /// # Shapes
    /// `lower`: a matrix of [`lower_lengths`] for each cell; `x`: any number of arrays of cells × k.
    ///
    /// # Panics
    /// If an array is too short.
    pub fn multiply_lower(self, lower: Quantised, k: usize, x: &mut [&mut [f32]]) {
        self.run(MultiplyLower { lower, k, x });
    }

    /// As [`Backend::multiply_lower`], with Lᵀ.
    ///
    /// # Panics
    /// As there.
    pub fn multiply_transposed_lower(self, lower: Quantised, k: usize, x: &mut [&mut [f32]]) {
        self.run(TransposedLower { lower, k, x });
    }

    /// |L x|² of eight vectors x, for one lower-triangular L.
    ///
    /// # Shapes
    /// `lower`: as [`lower_lengths`] says; `x`: 8 × k.
    ///
    /// # Panics
    /// If `lower` has another length.
    pub fn squared_norms(self, lower: Quantised, x: &[f32]) -> [f32; NORMS] {
        self.run(SquaredNorms { lower, x })
    }

    /// Replaces every packed lower triangle of a symmetric A by packed rows of L⁻¹, where `own` · A + `shared` =
    /// L Lᵀ (in f64). Returns whether all of these were positive definite; what is left of others is no number.
    ///
    /// # Shapes
    /// `matrices`: any number × k(k+1)/2, `shared`: k(k+1)/2.
    ///
    /// # Panics
    /// If a length is another.
    pub fn inverse_factors(self, matrices: &mut [f32], k: usize, own: f64, shared: &[f64]) -> bool {
        assert_eq!(shared.len(), k * (k + 1) / 2);
        assert!(matrices.len().is_multiple_of(shared.len()), "matrices are complete");
        self.run(InverseFactors { matrices, k, own, shared })
    }

    /// Σ a · b.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        self.run(Dot { a, b })
    }

    /// Sets `to` to numbers in half precision, given by their bits. Infinities and what is no number are undefined.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn widen(self, halves: &[u16], to: &mut [f32]) {
        self.run(Widen { halves, to });
    }

    /// As [`Backend::widen`], with `origin` taken off every row of its length.
    ///
    /// # Panics
    /// If `halves` and `to` differ in length, or `origin` is empty.
    pub fn widen_less(self, halves: &[u16], origin: &[f32], to: &mut [f32]) {
        self.run(WidenLess { halves, origin, to });
    }

    /// Adds the products of vectors with rows, each the sum over all cells, to `to`.
    ///
    /// # Shapes
    /// `rows`: cells × any number, of k values each; `vectors`: each cells × k; `to`: vectors × rows of a cell.
    ///
    /// # Panics
    /// If the shapes do not fit together.
    pub fn add_dots(self, rows: Quantised, k: usize, vectors: &[&[f32]], to: &mut [f32]) {
        self.run(Dots { rows, k, vectors, to });
    }

    /// Adds to every vector the rows, times `factors`.
    ///
    /// # Shapes
    /// As in [`Backend::add_dots`]; `factors`: vectors × rows of a cell.
    ///
    /// # Panics
    /// As there.
    pub fn add_rows(self, rows: Quantised, k: usize, factors: &[f32], vectors: &mut [&mut [f32]]) {
        self.run(AddRows { rows, k, factors, vectors });
    }

    /// Adds `factor` · `from`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add_scaled(self, to: &mut [f32], from: &[f32], factor: f32) {
        self.run(AddScaled { to, from, factor });
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// No multiple of a vector, one below and above it, and whole ones.
    const SIZES: [usize; 9] = [1, 2, 7, 8, 12, 15, 17, 33, 64];

    fn random(length: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..length).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Random rows of numbers in [−1, 1], in one byte each.
    fn random_rows(rows: usize, values: usize, seed: u64) -> (Vec<i8>, Vec<f32>) {
        let bytes = random(values, seed).into_iter().map(|value| (127.0 * value).round() as i8);
        let scales = random(rows, seed + 100).into_iter().map(|value| value / 127.0);
        (bytes.collect(), scales.collect())
    }

    /// Random lower-triangular matrices in one byte a value, and the rows that these stand for, in f64.
    fn random_lower(count: usize, k: usize, seed: u64) -> (Vec<i8>, Vec<f32>, Vec<f64>) {
        let (values, rows) = lower_lengths(k);
        let (mut bytes, mut scales) = (vec![1; count * values], vec![1.0; count * rows]);
        let packed = k * (k + 1) / 2;
        let mut matrices = Vec::new();
        let to = bytes.chunks_exact_mut(values).zip(scales.chunks_exact_mut(rows));
        for (matrix, (to, scales)) in random(count * packed, seed).chunks_exact(packed).zip(to) {
            quantise_lower(matrix, k, to, scales);
            for i in 0..k {
                let row = &matrix[i * (i + 1) / 2..][..=i];
                let mut bytes = vec![0; row.len()];
                assert_eq!(quantise(row, &mut bytes), scales[i]);
                matrices.extend(bytes.iter().map(|&byte| f64::from(byte) * f64::from(scales[i])));
            }
        }
        (bytes, scales, matrices)
    }

    fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
        assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((f64::from(*a) - b).abs() <= tolerance * (1.0 + b.abs()), "{what}, {i}: {a} {b}");
        }
    }

    #[test]
    fn products_are_the_plain_ones() {
        for backend in Backend::available() {
            for (rows, depth, columns) in [(1, 1, 1), (5, 3, 24), (7, 9, 33), (13, 40, 64), (6, 2, 11)] {
                let what = format!("{} {rows}×{depth}×{columns}", backend.name());
                let (a, b, before) =
                    (random(rows * depth, 1), random(depth * columns, 2), random(rows * columns, 3));
                let expected: Vec<f64> = (0..rows * columns)
                    .map(|at| {
                        let (i, j) = (at / columns, at % columns);
                        let of = |p| f64::from(a[i + p * rows]) * f64::from(b[p * columns + j]);
                        f64::from(before[at]) + (0..depth).map(of).sum::<f64>()
                    })
                    .collect();
                let mut found = before;
                backend.add_product(Strided { values: &a, row: 1, column: rows }, &b, columns, &mut found);
                assert_close(&found, &expected, 1e-5, &what);
            }
        }
    }

    #[test]
    fn a_gram_matrix_holds_all_inner_products() {
        for backend in Backend::available() {
            for k in SIZES {
                let x = random(19 * k, 4);
                let mut found = vec![0.0; k * k];
                backend.add_gram(&x, k, &mut found);
                for i in 0..k {
                    for j in 0..=i {
                        let of = |row: &[f32]| f64::from(row[i]) * f64::from(row[j]);
                        let expected: f64 = x.chunks_exact(k).map(of).sum();
                        assert_close(&[found[i * k + j]], &[expected], 1e-5, &format!("{k}: {i}, {j}"));
                    }
                }
            }
        }
    }

    #[test]
    fn triangular_products_are_the_plain_ones() {
        let cells = 3;
        for backend in Backend::available() {
            for k in SIZES {
                let (values, scales, matrices) = random_lower(cells, k, 5);
                let packed = Quantised { values: &values, scales: &scales };
                let at = |cell: usize, i: usize, j: usize| {
                    let row = cell * k * (k + 1) / 2 + i * (i + 1) / 2;
                    if j > i { 0.0 } else { matrices[row + j] }
                };
                let plain = |x: &[f32], of: &dyn Fn(usize, usize, usize) -> f64| -> Vec<f64> {
                    (0..cells * k)
                        .map(|n| (0..k).map(|j| of(n / k, n % k, j) * f64::from(x[n / k * k + j])).sum())
                        .collect()
                };
                for count in [1, 2, 5] {
                    let what = format!("{} {k}, {count}", backend.name());
                    let vectors: Vec<Vec<f32>> = (0..count).map(|n| random(cells * k, 20 + n)).collect();
                    let mut found = vectors.clone();
                    let mut slices: Vec<&mut [f32]> = found.iter_mut().map(|v| &mut v[..]).collect();
                    backend.multiply_lower(packed, k, &mut slices);
                    for (found, x) in found.iter().zip(&vectors) {
                        assert_close(found, &plain(x, &at), 1e-5, &what);
                    }
                    let mut found = vectors.clone();
                    let mut slices: Vec<&mut [f32]> = found.iter_mut().map(|v| &mut v[..]).collect();
                    backend.multiply_transposed_lower(packed, k, &mut slices);
                    for (found, x) in found.iter().zip(&vectors) {
                        assert_close(found, &plain(x, &|cell, i, j| at(cell, j, i)), 1e-5, &what);
                    }
                }
            }
        }
    }

    #[test]
    fn squared_norms_are_those_of_the_triangular_products() {
        for backend in Backend::available() {
            for k in SIZES {
                let (values, scales, _) = random_lower(1, k, 11);
                let lower = Quantised { values: &values, scales: &scales };
                let x = random(8 * k, 12);
                let expected: Vec<f64> = x
                    .chunks_exact(k)
                    .map(|x| {
                        let mut vector = x.to_vec();
                        Backend::Portable.multiply_lower(lower, k, &mut [&mut vector]);
                        vector.iter().map(|&v| f64::from(v).powi(2)).sum()
                    })
                    .collect();
                assert_close(&backend.squared_norms(lower, &x), &expected, 1e-5, backend.name());
            }
        }
    }

    #[test]
    fn an_inverse_factor_whitens_its_matrix() {
        for backend in Backend::available() {
            for (k, count) in [(1, 3), (5, 8), (12, 9), (33, 17)] {
                let packed = k * (k + 1) / 2;
                let samples = random(count * 2 * k * k, 8);
                let mut covariances = Vec::new();
                for x in samples.chunks_exact(2 * k * k) {
                    let mut gram = vec![0.0; k * k];
                    backend.add_gram(x, k, &mut gram);
                    covariances.extend((0..k).flat_map(|i| gram[i * k..=i * k + i].to_vec()));
                }
                let shared: Vec<f64> =
                    (0..k).flat_map(|i| (0..=i).map(move |j| if i == j { 0.1 } else { 0.0 })).collect();
                let mut inverse = covariances.clone();
                assert!(backend.inverse_factors(&mut inverse, k, 0.5, &shared));
                // L⁻¹ Σ L⁻ᵀ is the identity.
                for (a, x) in covariances.chunks_exact(packed).zip(inverse.chunks_exact(packed)) {
                    let at = |m: &[f32], i: usize, j: usize| f64::from(m[i * (i + 1) / 2 + j]);
                    let sigma = |i: usize, j: usize| {
                        let diagonal = if i == j { 0.1 } else { 0.0 };
                        0.5 * at(a, i.max(j), i.min(j)) + diagonal
                    };
                    for i in 0..k {
                        for j in 0..=i {
                            let sum: f64 = (0..=i)
                                .flat_map(|p| (0..=j).map(move |q| (p, q)))
                                .map(|(p, q)| at(x, i, p) * sigma(p, q) * at(x, j, q))
                                .sum();
                            let expected = if i == j { 1.0 } else { 0.0 };
                            assert!((sum - expected).abs() < 1e-4, "{} {k}: {i}, {j}: {sum}", backend.name());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_with_rows_and_sums_of_rows_are_the_plain_ones() {
        for backend in Backend::available() {
            for (cells, rows, k) in [(1, 1, 5), (3, 4, 16), (2, 7, 35), (5, 24, 64)] {
                let (values, scales) = random_rows(cells * rows, cells * rows * k, 13);
                let all = Quantised { values: &values, scales: &scales };
                let row = |cell: usize, r: usize, at: usize| {
                    let row = cell * rows + r;
                    f64::from(values[row * k + at]) * f64::from(scales[row])
                };
                let vectors = random(3 * cells * k, 14);
                let before = random(3 * rows, 15);
                let mut found = before.clone();
                backend.add_dots(all, k, &vectors.chunks_exact(cells * k).collect::<Vec<_>>(), &mut found);
                for (at, (found, before)) in found.iter().zip(&before).enumerate() {
                    let vector = vectors[at / rows * cells * k..][..cells * k].iter().enumerate();
                    let of = |(x, value): (usize, &f32)| f64::from(*value) * row(x / k, at % rows, x % k);
                    let expected = f64::from(*before) + vector.map(of).sum::<f64>();
                    assert_close(&[*found], &[expected], 1e-5, backend.name());
                }
                let mut sums = vectors.clone();
                let mut parts: Vec<&mut [f32]> = sums.chunks_exact_mut(cells * k).collect();
                backend.add_rows(all, k, &found, &mut parts);
                let expected = vectors.iter().enumerate().map(|(x, &value)| {
                    let (vector, cell, at) = (x / (cells * k), x / k % cells, x % k);
                    let of = |r: usize| f64::from(found[vector * rows + r]) * row(cell, r, at);
                    f64::from(value) + (0..rows).map(of).sum::<f64>()
                });
                assert_close(&sums, &expected.collect::<Vec<_>>(), 1e-4, backend.name());
            }
        }
    }

    #[test]
    fn a_quantised_row_is_off_by_half_a_step_at_most() {
        for length in [1, 7, 64] {
            let row = random(length, 16);
            let mut bytes = vec![0; length];
            let scale = quantise(&row, &mut bytes);
            let found: Vec<f32> = bytes.iter().map(|&byte| byte.into()).collect();
            let largest = row.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert!((127.0 * scale - largest).abs() < 1e-6 * largest && scale > 0.0);
            assert!(
                row.iter().zip(&found).all(|(value, found)| (value - scale * found).abs() < 0.501 * scale)
            );
        }
        let mut bytes = [1; 3];
        assert_eq!(quantise(&[0.0; 3], &mut bytes), 0.0);
        assert_eq!(bytes, [0; 3]);
    }

    #[test]
    fn every_finite_half_is_widened_exactly() {
        // Sign, exponent and fraction, as IEEE 754 has them.
        let value = |bits: u16| {
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
            let magnitude = match exponent {
                0 => fraction * 2f32.powi(-24),
                _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
            };
            if bits >> 15 == 1 { -magnitude } else { magnitude }
        };
        let halves: Vec<u16> = (0..=u16::MAX).filter(|bits| bits >> 10 & 31 < 31).collect();
        for backend in Backend::available() {
            let mut found = vec![0.0; halves.len()];
            backend.widen(&halves, &mut found);
            assert!(halves.iter().zip(&found).all(|(&bits, &found)| value(bits) == found));
            backend.widen_less(&halves[..5], &[1.0, 2.0], &mut found[..5]);
            let expected = [1.0, 2.0, 1.0, 2.0, 1.0].iter().zip(&halves).map(|(o, &h)| value(h) - o);
            assert!(expected.eq(found[..5].iter().copied()));
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_told() {
        for backend in Backend::available() {
            let mut matrices = vec![1.0; 2 * 3];
            matrices[5] = -2.0;
            assert!(!backend.inverse_factors(&mut matrices, 2, 1.0, &[0.5, 0.0, 0.5]));
        }
    }

    #[test]
    fn dots_and_scaled_sums_are_the_plain_ones() {
        for backend in Backend::available() {
            for length in [0, 1, 15, 16, 63, 200] {
                let (a, b) = (random(length, 9), random(length, 10));
                let expected: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                assert_close(&[backend.dot(&a, &b)], &[expected], 1e-5, backend.name());
                let sums: Vec<f64> =
                    a.iter().zip(&b).map(|(&a, &b)| f64::from(a) - 3.0 * f64::from(b)).collect();
                let mut found = a;
                backend.add_scaled(&mut found, &b, -3.0);
                assert_close(&found, &sums, 1e-5, backend.name());
            }
        }
    }
}
