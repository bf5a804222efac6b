//! Products with rows of numbers in one byte each.

use super::Task;
use crate::simd::{Portable, Simd};

/// What is left of a row.
type One = Portable<1>;

/// Rows whose products with a vector are taken at once.
const AT_ONCE: usize = 4;

/// Rows of numbers in one byte each: those of a row are `values` times its scale.
#[derive(Clone, Copy, Debug)]
pub struct Quantised<'a> {
    /// The rows, one after another.
    pub values: &'a [i8],
    /// One number a row.
    pub scales: &'a [f32],
}

/// Sets `to` to the integers in [−127, 127] nearest to a row's values divided by a scale, which it returns.
pub(crate) fn quantise(row: &[f32], to: &mut [i8]) -> f32 {
    assert_eq!(row.len(), to.len(), "there is a byte for each number");
    let largest = row.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    to.iter_mut().zip(row).for_each(|(to, value)| *to = (value * inverse).round() as i8);
    scale
}

/// Adds Σ row · vector over all cells, of every vector and row of a cell, to `to`: vectors × rows.
pub(crate) struct Dots<'a, 'b> {
    /// Cells × rows × k.
    pub(crate) rows: Quantised<'a>,
    pub(crate) k: usize,
    /// Each cells × k.
    pub(crate) vectors: &'a [&'b [f32]],
    pub(crate) to: &'a mut [f32],
}

/// Adds to every vector the rows of each of its cells, times `factors` (vectors × rows).
pub(crate) struct AddRows<'a, 'b> {
    /// Cells × rows × k.
    pub(crate) rows: Quantised<'a>,
    pub(crate) k: usize,
    pub(crate) factors: &'a [f32],
    /// Each cells × k.
    pub(crate) vectors: &'a mut [&'b mut [f32]],
}

impl<'a> Quantised<'a> {
    /// The `count` rows of each cell, of `k` values; no cells where there are no rows.
    fn cells(self, count: usize, k: usize) -> impl Iterator<Item = Self> {
        assert_eq!(self.values.len(), self.scales.len() * k, "every row has a scale");
        let cells = self.values.chunks_exact((count * k).max(1)).zip(self.scales.chunks_exact(count.max(1)));
        cells.map(|(values, scales)| Self { values, scales })
    }
}

/// Where groups of rows begin and how many these have: [`AT_ONCE`], then one each.
#[inline(always)]
fn groups(count: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = count / AT_ONCE * AT_ONCE;
    (0..whole).step_by(AT_ONCE).map(|first| (first, AT_ONCE)).chain((whole..count).map(|first| (first, 1)))
}

impl Task for Dots<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, k, vectors, to } = self;
        let count = to.len() / vectors.len().max(1);
        assert_eq!(to.len(), vectors.len() * count);
        for (cell, rows) in rows.cells(count, k).enumerate() {
            for (vector, to) in vectors.iter().zip(to.chunks_exact_mut(count)) {
                let x = &vector[cell * k..(cell + 1) * k];
                for (first, rows_at_once) in groups(count) {
                    // SAFETY: passed on.
                    unsafe {
                        match rows_at_once {
                            AT_ONCE => add_dots::<S, AT_ONCE>(rows, first, x, to),
                            _ => add_dots::<S, 1>(rows, first, x, to),
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of `N` rows of one cell with x.
#[inline(always)]
unsafe fn add_dots<S: Simd, const N: usize>(rows: Quantised, first: usize, x: &[f32], to: &mut [f32]) {
    let k = x.len();
    let whole = k / S::LANES * S::LANES;
    let values = rows.values[first * k..][..N * k].as_ptr();
    // SAFETY: whole vectors, then single values, of rows that were sliced above.
    unsafe {
        let mut sums = [S::splat(0.0); N];
        for at in (0..whole).step_by(S::LANES) {
            let value = S::load(x.as_ptr().add(at));
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = S::mul_add(S::load_byte(values.add(r * k + at)), value, *sum);
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            let mut tail = 0.0;
            for (at, value) in x.iter().enumerate().skip(whole) {
                tail += value * f32::from(*values.add(r * k + at));
            }
            to[first + r] += rows.scales[first + r] * (S::sum(sum) + tail);
        }
    }
}

impl Task for AddRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, k, factors, vectors } = self;
        let count = factors.len() / vectors.len().max(1);
        assert_eq!(factors.len(), vectors.len() * count);
        for (cell, rows) in rows.cells(count, k).enumerate() {
            for (vector, factors) in vectors.iter_mut().zip(factors.chunks_exact(count)) {
                let x = &mut vector[cell * k..(cell + 1) * k];
                for (first, rows_at_once) in groups(count) {
                    // SAFETY: passed on.
                    unsafe {
                        match rows_at_once {
                            AT_ONCE => add_rows::<S, AT_ONCE>(rows, first, factors, x),
                            _ => add_rows::<S, 1>(rows, first, factors, x),
                        }
                    }
                }
            }
        }
    }
}

/// Adds `N` rows of one cell, times their factors, to x.
#[inline(always)]
unsafe fn add_rows<S: Simd, const N: usize>(rows: Quantised, first: usize, factors: &[f32], x: &mut [f32]) {
    let k = x.len();
    let whole = k / S::LANES * S::LANES;
    let values = rows.values[first * k..][..N * k].as_ptr();
    let mut scaled = [0f32; N];
    for (r, scaled) in scaled.iter_mut().enumerate() {
        *scaled = factors[first + r] * rows.scales[first + r];
    }
    // SAFETY: as above.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            add_scaled::<S, N>(values.add(at), k, &scaled, x.as_mut_ptr().add(at));
        }
        for at in whole..k {
            add_scaled::<One, N>(values.add(at), k, &scaled, x.as_mut_ptr().add(at));
        }
    }
}

/// Adds one vector of `N` rows.
#[inline(always)]
unsafe fn add_scaled<S: Simd, const N: usize>(values: *const i8, k: usize, factors: &[f32; N], to: *mut f32) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut sum = S::load(to);
        for (r, &factor) in factors.iter().enumerate() {
            sum = S::mul_add(S::load_byte(values.add(r * k)), S::splat(factor), sum);
        }
        S::store(to, sum);
    }
}
