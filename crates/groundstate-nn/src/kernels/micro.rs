//! The innermost loop of everything: a block of outputs kept in registers.

use crate::simd::Simd;

/// Values of a cache line.
pub(super) const LINE: usize = 16;

/// Asks for values that will be read or written soon.
///
/// # Safety
/// As [`Simd`]; a hint touches nothing, wherever it points.
#[inline(always)]
pub(super) unsafe fn prefetch<S: Simd>(from: *const f32, values: usize) {
    for line in (0..values).step_by(LINE) {
        // SAFETY: the caller's contract.
        unsafe { S::prefetch(from.wrapping_add(line)) }
    }
}

/// Sums of `rows` products with `NV` vectors of weights.
///
/// For each of `MR` rows: Σ over `runs` runs of `run_len` consecutive values (runs `run_stride` apart) of
/// value · weight vector. The order of summation does not depend on `MR`, `NV` or the row's place, so a
/// row's result is the same in every block.
///
/// Weights that lie `AHEAD` values further on are asked for meanwhile, unless it is 0.
///
/// # Safety
/// As [`Simd`]; each row pointer is readable at every offset, `weights` for
/// `runs · run_len · NV · LANES` values.
#[inline(always)]
pub(super) unsafe fn micro<S: Simd, const MR: usize, const NV: usize, const AHEAD: usize>(
    rows: &[*const f32; MR],
    runs: usize,
    run_stride: usize,
    run_len: usize,
    weights: *const f32,
) -> [[S::V; NV]; MR] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sums = [[S::splat(0.0); NV]; MR];
        let mut weights = weights;
        for run in 0..runs {
            let mut x = *rows;
            for pointer in &mut x {
                *pointer = pointer.add(run * run_stride);
            }
            for k in 0..run_len {
                if AHEAD > 0 {
                    prefetch::<S>(weights.wrapping_add(AHEAD), NV * S::LANES);
                }
                let mut w = [S::splat(0.0); NV];
                for (v, w) in w.iter_mut().enumerate() {
                    *w = S::load(weights.add(v * S::LANES));
                }
                for (sums, x) in sums.iter_mut().zip(&x) {
                    let value = S::splat(*x.add(k));
                    for (sum, &w) in sums.iter_mut().zip(&w) {
                        *sum = S::mul_add(value, w, *sum);
                    }
                }
                weights = weights.add(NV * S::LANES);
            }
        }
        sums
    }
}
