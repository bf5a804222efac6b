//! The linear algebra of a closed-form energy: many small products, and triangular matrices in packed rows.
//!
//! A lower-triangular k × k matrix is stored as its rows, one after another: 1, 2, … k values. Results depend on
//! the backend in their last digits, and on nothing else.

use crate::kernels::Backend;
use crate::kernels::cholesky::InverseFactors;
use crate::kernels::product::Product;
use crate::kernels::triangular::{MultiplyLower, SquaredNorms, TransposedLower, VECTORS};
use crate::kernels::vector::{AddRows, AddScaled, Dot, Dots, Widen, WidenLess};

pub use crate::kernels::product::Strided;
pub use crate::kernels::vector::Rows;

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
    /// `packed`: cells × k(k+1)/2; `x`: any number of arrays of cells × k.
    ///
    /// # Panics
    /// If an array is too short.
    pub fn multiply_lower(self, packed: &[f32], k: usize, x: &mut [&mut [f32]]) {
        self.run(MultiplyLower { packed, k, x });
    }

    /// As [`Backend::multiply_lower`], with Lᵀ.
    ///
    /// # Panics
    /// As there.
    pub fn multiply_transposed_lower(self, packed: &[f32], k: usize, x: &mut [&mut [f32]]) {
        self.run(TransposedLower { packed, k, x });
    }

    /// |L x|² of eight vectors x, for one lower-triangular L.
    ///
    /// # Shapes
    /// `packed`: k(k+1)/2; `x`: k × 8, the vectors side by side.
    ///
    /// # Panics
    /// If `packed` has another length.
    pub fn squared_norms(self, packed: &[f32], x: &[[f32; VECTORS]]) -> [f32; VECTORS] {
        self.run(SquaredNorms { packed, x })
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

    /// Sets `to` (vectors × rows) to the products of every vector with every row.
    ///
    /// # Panics
    /// If a vector is longer than what the rows have, or `to` has another length.
    pub fn dots(self, rows: Rows, vectors: &[&[f32]], to: &mut [f32]) {
        self.run(Dots { rows, vectors, to });
    }

    /// Adds to every vector the rows, times `factors` (vectors × rows).
    ///
    /// # Panics
    /// If a vector is longer than what the rows have, or `factors` has another length.
    pub fn add_rows(self, rows: Rows, factors: &[f32], vectors: &mut [&mut [f32]]) {
        self.run(AddRows { rows, factors, vectors });
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
                let packed = random(cells * k * (k + 1) / 2, 5);
                let (x, y) = (random(cells * k, 6), random(cells * k, 7));
                let at = |cell: usize, i: usize, j: usize| {
                    if j > i { 0.0 } else { f64::from(packed[cell * k * (k + 1) / 2 + i * (i + 1) / 2 + j]) }
                };
                let plain = |x: &[f32], of: &dyn Fn(usize, usize, usize) -> f64| -> Vec<f64> {
                    (0..cells * k)
                        .map(|n| (0..k).map(|j| of(n / k, n % k, j) * f64::from(x[n / k * k + j])).sum())
                        .collect()
                };
                let what = format!("{} {k}", backend.name());
                let (mut found, mut other) = (x.clone(), y.clone());
                backend.multiply_lower(&packed, k, &mut [&mut found, &mut other]);
                assert_close(&found, &plain(&x, &at), 1e-5, &what);
                assert_close(&other, &plain(&y, &at), 1e-5, &what);
                let (mut found, mut other) = (x.clone(), y.clone());
                backend.multiply_transposed_lower(&packed, k, &mut [&mut found, &mut other]);
                assert_close(&found, &plain(&x, &|cell, i, j| at(cell, j, i)), 1e-5, &what);
                assert_close(&other, &plain(&y, &|cell, i, j| at(cell, j, i)), 1e-5, &what);
            }
        }
    }

    #[test]
    fn squared_norms_are_those_of_the_triangular_products() {
        for backend in Backend::available() {
            for k in SIZES {
                let packed = random(k * (k + 1) / 2, 11);
                let x: Vec<[f32; 8]> =
                    random(8 * k, 12).chunks_exact(8).map(|v| v.try_into().unwrap()).collect();
                let expected: Vec<f64> = (0..8)
                    .map(|lane| {
                        let mut vector: Vec<f32> = x.iter().map(|row| row[lane]).collect();
                        Backend::Portable.multiply_lower(&packed, k, &mut [&mut vector]);
                        vector.iter().map(|&v| f64::from(v).powi(2)).sum()
                    })
                    .collect();
                assert_close(&backend.squared_norms(&packed, &x), &expected, 1e-5, backend.name());
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
            for (rows, length, pitch, first) in
                [(1, 5, 9, 2), (4, 16, 16, 0), (7, 35, 40, 3), (24, 64, 70, 6)]
            {
                let values = random(rows * pitch, 13);
                let row = |r: usize| &values[r * pitch + first..][..length];
                let vectors = random(3 * length, 14);
                let mut parts = vectors.clone();
                let mut parts: Vec<&mut [f32]> = parts.chunks_exact_mut(length).collect();
                let mut found = vec![0.0; 3 * rows];
                let all = Rows { values: &values, pitch, first };
                backend.dots(all, &vectors.chunks_exact(length).collect::<Vec<_>>(), &mut found);
                for (at, found) in found.iter().enumerate() {
                    let vector = &vectors[at / rows * length..][..length];
                    let of = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                    let expected: f64 = row(at % rows).iter().zip(vector).map(of).sum();
                    assert_close(&[*found], &[expected], 1e-5, backend.name());
                }
                backend.add_rows(all, &found, &mut parts);
                for (p, part) in parts.iter().enumerate() {
                    let expected: Vec<f64> = (0..length)
                        .map(|x| {
                            let of = |r: usize| f64::from(found[p * rows + r]) * f64::from(row(r)[x]);
                            f64::from(vectors[p * length + x]) + (0..rows).map(of).sum::<f64>()
                        })
                        .collect();
                    assert_close(part, &expected, 1e-4, backend.name());
                }
            }
        }
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
