//! The few vector and matrix operations that the closed form is made of.

use nalgebra::{DMatrix, DMatrixView};

/// Values of a matrix product, column-major.
pub(in crate::model) fn product(a: &DMatrixView<f32>, b: &DMatrixView<f32>) -> Vec<f32> {
    let product: DMatrix<f32> = a * b;
    product.data.into()
}

/// Dot product in eight independent sums, so that it vectorises; the order is fixed.
pub(in crate::model) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Adds `factor` · `from`.
pub(in crate::model) fn add_scaled(to: &mut [f32], from: &[f32], factor: f32) {
    for (to, &value) in to.iter_mut().zip(from) {
        *to += value * factor;
    }
}

/// Replaces x by L x, where L is lower-triangular in packed rows.
pub(in crate::model) fn multiply_lower(packed: &[f32], x: &mut [f32]) {
    // Downwards, so that the entries a row reads have not been replaced yet.
    for row in (0..x.len()).rev() {
        x[row] = dot(&packed[row * (row + 1) / 2..][..=row], &x[..=row]);
    }
}

/// Adds Lᵀ y to x, where L is lower-triangular in packed rows.
pub(in crate::model) fn add_transposed_lower(packed: &[f32], y: &[f32], x: &mut [f32]) {
    for (row, &value) in y.iter().enumerate() {
        add_scaled(&mut x[..=row], &packed[row * (row + 1) / 2..][..=row], value);
    }
}
