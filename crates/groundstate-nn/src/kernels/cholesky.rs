//! Inverse Cholesky factors of many small matrices, one in each lane.

use super::Task;
use crate::simd::Simd;

/// Matrices at once.
const LANES: usize = 8;
type Lanes = [f64; LANES];

/// Replaces packed lower triangles of A by packed rows of L⁻¹, where `own` · A + `shared` = L Lᵀ.
pub(crate) struct InverseFactors<'a> {
    /// Any number of matrices of k(k+1)/2 values.
    pub(crate) matrices: &'a mut [f32],
    pub(crate) k: usize,
    pub(crate) own: f64,
    /// k(k+1)/2 values.
    pub(crate) shared: &'a [f64],
}

impl Task for InverseFactors<'_> {
    /// Whether all matrices were positive definite.
    type Output = bool;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> bool {
        let Self { matrices, k, own, shared } = self;
        let packed = shared.len();
        let mut lanes: Vec<Lanes> = vec![[0.0; LANES]; packed];
        let mut definite = true;
        for matrices in matrices.chunks_mut(LANES * packed) {
            let count = matrices.len() / packed;
            for (at, (lanes, shared)) in lanes.iter_mut().zip(shared).enumerate() {
                for (lane, value) in lanes.iter_mut().enumerate() {
                    // Lanes without a matrix repeat the last.
                    *value = own * f64::from(matrices[lane.min(count - 1) * packed + at]) + shared;
                }
            }
            definite &= factorise(&mut lanes, k);
            invert(&mut lanes, k);
            for (at, lanes) in lanes.iter().enumerate() {
                for (lane, value) in lanes.iter().enumerate().take(count) {
                    matrices[lane * packed + at] = *value as f32;
                }
            }
        }
        definite
    }
}

/// The Cholesky factor, with the inverses of its diagonal on its diagonal.
#[inline(always)]
fn factorise(a: &mut [Lanes], k: usize) -> bool {
    let mut definite = true;
    for i in 0..k {
        let (above, row) = a.split_at_mut(i * (i + 1) / 2);
        for j in 0..i {
            let other = &above[j * (j + 1) / 2..][..=j];
            let mut sum = row[j];
            for (a, b) in row[..j].iter().zip(other) {
                for lane in 0..LANES {
                    sum[lane] -= a[lane] * b[lane];
                }
            }
            for lane in 0..LANES {
                row[j][lane] = sum[lane] * other[j][lane];
            }
        }
        let mut sum = row[i];
        for a in &row[..i] {
            for lane in 0..LANES {
                sum[lane] -= a[lane] * a[lane];
            }
        }
        for lane in 0..LANES {
            definite &= sum[lane] > 0.0;
            row[i][lane] = 1.0 / sum[lane].sqrt();
        }
    }
    definite
}

/// Inverts what [`factorise`] leaves, row by row: X_ij = −X_ii Σ L_ip X_pj over j ≤ p < i.
#[inline(always)]
fn invert(a: &mut [Lanes], k: usize) {
    for i in 0..k {
        let (above, row) = a.split_at_mut(i * (i + 1) / 2);
        let diagonal = row[i];
        for j in 0..i {
            let mut sum = [0.0; LANES];
            let mut at = j * (j + 1) / 2 + j;
            for (p, factor) in row[..i].iter().enumerate().skip(j) {
                let value = &above[at];
                for lane in 0..LANES {
                    sum[lane] += factor[lane] * value[lane];
                }
                at += p + 1;
            }
            // The entries that other columns need lie behind this one.
            for lane in 0..LANES {
                row[j][lane] = -sum[lane] * diagonal[lane];
            }
        }
    }
}
