//! Products with lower-triangular matrices in packed rows.

use super::Task;
use crate::simd::Simd;

/// Most lanes of a vector.
const WIDEST: usize = 16;

/// Replaces vectors x of cells by L x, each cell with its own L.
pub(crate) struct MultiplyLower<'a, 'b> {
    /// For each cell the rows of L, one after another: 1, 2, … k values.
    pub(crate) packed: &'a [f32],
    pub(crate) k: usize,
    /// Any number of arrays: cells × k.
    pub(crate) x: &'a mut [&'b mut [f32]],
}

/// Sets vectors of cells to Lᵀ y.
pub(crate) struct TransposedLower<'a, 'b> {
    pub(crate) packed: &'a [f32],
    pub(crate) k: usize,
    pub(crate) x: &'a mut [&'b mut [f32]],
}

/// Vectors that [`SquaredNorms`] takes at once.
pub(crate) const VECTORS: usize = 8;
/// Rows that it takes at once.
const ROWS: usize = 8;

/// |L x|² of [`VECTORS`] vectors.
pub(crate) struct SquaredNorms<'a> {
    pub(crate) packed: &'a [f32],
    /// k × vectors.
    pub(crate) x: &'a [[f32; VECTORS]],
}

/// Ones up to a lane, zeros from there: [`WIDEST`] of each.
static STEPS: [f32; 2 * WIDEST] = {
    let mut steps = [0.0; 2 * WIDEST];
    let mut i = 0;
    while i < WIDEST {
        steps[i] = 1.0;
        i += 1;
    }
    steps
};

/// A vector whose first `count` lanes are 1 and the others 0.
#[inline(always)]
unsafe fn first<S: Simd>(count: usize) -> S::V {
    // SAFETY: at most a vector of ones and one of zeros.
    unsafe { S::load(STEPS.as_ptr().add(WIDEST - count)) }
}

impl Task for MultiplyLower<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { packed, k, x } = self;
        let guarded = whole_rows::<S>(k);
        let mut padded = vec![0f32; k.next_multiple_of(WIDEST)];
        for (cell, packed) in packed.chunks_exact(k * (k + 1) / 2).enumerate() {
            for x in &mut *x {
                let x = &mut x[cell * k..(cell + 1) * k];
                padded[..k].copy_from_slice(x);
                for (i, to) in x.iter_mut().enumerate().take(guarded) {
                    // SAFETY: the row's vectors end inside `packed`, and `padded` is whole vectors.
                    *to = unsafe { dot::<S>(packed.as_ptr().add(i * (i + 1) / 2), padded.as_ptr(), i + 1) };
                }
                for (i, to) in x.iter_mut().enumerate().skip(guarded) {
                    *to = 0.0;
                    for (l, value) in packed[i * (i + 1) / 2..][..=i].iter().zip(&padded) {
                        *to += l * value;
                    }
                }
            }
        }
    }
}

impl Task for TransposedLower<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { packed, k, x } = self;
        let guarded = whole_rows::<S>(k);
        let mut padded = vec![0f32; k.next_multiple_of(WIDEST)];
        for (cell, packed) in packed.chunks_exact(k * (k + 1) / 2).enumerate() {
            for x in &mut *x {
                let x = &mut x[cell * k..(cell + 1) * k];
                for block in (0..k).step_by(S::LANES) {
                    // SAFETY: the rows' vectors end inside `packed`, and `padded` is whole vectors.
                    unsafe {
                        let sum = column_sums::<S>(packed.as_ptr(), x, block, guarded);
                        S::store(padded.as_mut_ptr().add(block), sum);
                    }
                }
                for (i, &value) in x.iter().enumerate().skip(guarded) {
                    for (to, &l) in padded.iter_mut().zip(&packed[i * (i + 1) / 2..][..=i]) {
                        *to += l * value;
                    }
                }
                x.copy_from_slice(&padded[..k]);
            }
        }
    }
}

impl Task for SquaredNorms<'_> {
    type Output = [f32; VECTORS];

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [f32; VECTORS] {
        let Self { packed, x } = self;
        let k = x.len();
        assert_eq!(packed.len(), k * (k + 1) / 2);
        let mut out = [0.0; VECTORS];
        // SAFETY: rows and vectors inside the arrays; a narrow vector is one of `x`.
        unsafe {
            const { assert!(S::Narrow::LANES == VECTORS) }
            let mut sum = S::Narrow::splat(0.0);
            let mut i = 0;
            // Several rows at once, whose sums do not wait for one another.
            while i + ROWS <= k {
                sum = add_squares::<S::Narrow, ROWS>(packed.as_ptr(), i, x, sum);
                i += ROWS;
            }
            while i < k {
                sum = add_squares::<S::Narrow, 1>(packed.as_ptr(), i, x, sum);
                i += 1;
            }
            S::Narrow::store(out.as_mut_ptr(), sum);
        }
        out
    }
}

/// Adds the squares of `ROWS` rows of L x, from row i on.
#[inline(always)]
unsafe fn add_squares<S: Simd, const ROWS: usize>(
    packed: *const f32,
    i: usize,
    x: &[[f32; VECTORS]],
    sum: S::V,
) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sums = [S::splat(0.0); ROWS];
        for (j, x) in x.iter().enumerate().take(i + 1) {
            let x = S::load(x.as_ptr());
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = S::mul_add(S::splat(*row(packed, i + r, j)), x, *sum);
            }
        }
        let mut total = sum;
        for (r, sum) in sums.iter_mut().enumerate() {
            for (j, x) in x.iter().enumerate().take(i + r + 1).skip(i + 1) {
                *sum = S::mul_add(S::splat(*row(packed, i + r, j)), S::load(x.as_ptr()), *sum);
            }
            total = S::mul_add(*sum, *sum, total);
        }
        total
    }
}

/// Rows of packed k × k matrices of which whole vectors can be read without leaving the matrix; at the end of
/// the others is less than one vector.
#[inline(always)]
fn whole_rows<S: Simd>(k: usize) -> usize {
    let mut rows = k;
    while rows > 0 && rows * (rows - 1) / 2 + rows.next_multiple_of(S::LANES) > k * (k + 1) / 2 {
        rows -= 1;
    }
    rows
}

/// Σ a · b over `count` values; both are read to the end of the last vector.
#[inline(always)]
unsafe fn dot<S: Simd>(a: *const f32, b: *const f32, count: usize) -> f32 {
    // SAFETY: the caller's contract.
    unsafe {
        let last = (count - 1) / S::LANES * S::LANES;
        let mut sum = S::splat(0.0);
        for j in (0..last).step_by(S::LANES) {
            sum = S::mul_add(S::load(a.add(j)), S::load(b.add(j)), sum);
        }
        let end = S::mul(S::load(b.add(last)), first::<S>(count - last));
        S::sum(S::mul_add(S::load(a.add(last)), end, sum))
    }
}

/// Columns from `block` of Lᵀ y, of the first `rows` rows of L.
#[inline(always)]
unsafe fn column_sums<S: Simd>(packed: *const f32, y: &[f32], block: usize, rows: usize) -> S::V {
    // SAFETY: the caller's contract.
    unsafe {
        let [mut a, mut b, mut c, mut d] = [S::splat(0.0); 4];
        let mut i = block;
        while i < (block + S::LANES).min(rows) {
            let values = S::mul(S::load(row(packed, i, block)), first::<S>(i + 1 - block));
            d = S::mul_add(values, S::splat(y[i]), d);
            i += 1;
        }
        while i + 4 <= rows {
            a = S::mul_add(S::load(row(packed, i, block)), S::splat(y[i]), a);
            b = S::mul_add(S::load(row(packed, i + 1, block)), S::splat(y[i + 1]), b);
            c = S::mul_add(S::load(row(packed, i + 2, block)), S::splat(y[i + 2]), c);
            d = S::mul_add(S::load(row(packed, i + 3, block)), S::splat(y[i + 3]), d);
            i += 4;
        }
        while i < rows {
            a = S::mul_add(S::load(row(packed, i, block)), S::splat(y[i]), a);
            i += 1;
        }
        S::add(S::add(a, b), S::add(c, d))
    }
}

/// Row i of packed rows, from `column` on.
#[inline(always)]
unsafe fn row(packed: *const f32, i: usize, column: usize) -> *const f32 {
    // SAFETY: the caller's contract.
    unsafe { packed.add(i * (i + 1) / 2 + column) }
}
