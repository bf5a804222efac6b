//! Products with lower-triangular matrices of numbers in one byte each.
//!
//! A matrix is kept as panels of [`ROWS`] rows, and a panel as its columns up to the last that is not zero, one after
//! another: every vector is whole, and a product reads from the first byte to the last.

use super::Task;
use super::quantised::{Quantised, quantise};
use crate::simd::Simd;

/// Rows of a panel: the lanes of a narrow vector. The last panel is filled up with zeros.
pub(crate) const ROWS: usize = 8;
/// Vectors that a matrix is multiplied with at once.
const VECTORS: usize = 2;
/// Sums that do not wait for one another: each over every fourth column.
const APART: usize = 4;
/// Vectors whose norms are taken at once.
pub(crate) const NORMS: usize = 8;

/// Replaces vectors x of cells by L x, each cell with its own L.
pub(crate) struct MultiplyLower<'a, 'b> {
    /// For each cell L.
    pub(crate) lower: Quantised<'a>,
    pub(crate) k: usize,
    /// Any number of arrays: cells × k.
    pub(crate) x: &'a mut [&'b mut [f32]],
}

/// Replaces vectors y of cells by Lᵀ y.
pub(crate) struct TransposedLower<'a, 'b> {
    pub(crate) lower: Quantised<'a>,
    pub(crate) k: usize,
    pub(crate) x: &'a mut [&'b mut [f32]],
}

/// |L x|² of [`NORMS`] vectors, for one L.
pub(crate) struct SquaredNorms<'a> {
    pub(crate) lower: Quantised<'a>,
    /// Vectors × k.
    pub(crate) x: &'a [f32],
}

/// Values of a k × k matrix.
pub(crate) fn values(k: usize) -> usize {
    (0..k.div_ceil(ROWS)).map(|panel| ROWS * columns(panel, k)).sum()
}

/// Columns of a panel.
#[inline(always)]
fn columns(panel: usize, k: usize) -> usize {
    ((panel + 1) * ROWS).min(k)
}

/// Where a panel begins.
#[inline(always)]
fn start(panel: usize) -> usize {
    ROWS * ROWS * (panel * (panel + 1) / 2)
}

/// Brings the rows of a k × k matrix (1, 2, … k values) to bytes and one scale each.
pub(crate) fn quantise_lower(rows: &[f32], k: usize, to: &mut [i8], scales: &mut [f32]) {
    to.fill(0);
    scales.fill(0.0);
    let mut bytes = vec![0; k];
    for (i, scale) in scales.iter_mut().enumerate().take(k) {
        let row = &rows[i * (i + 1) / 2..][..=i];
        *scale = quantise(row, &mut bytes[..=i]);
        let to = to[start(i / ROWS) + i % ROWS..].iter_mut().step_by(ROWS);
        to.zip(&bytes[..=i]).for_each(|(to, &byte)| *to = byte);
    }
}

impl<'a> Quantised<'a> {
    /// The k × k matrix of each cell.
    fn matrices(self, k: usize) -> impl Iterator<Item = Self> {
        let (values, rows) = (values(k), k.next_multiple_of(ROWS));
        assert_eq!(self.values.len() * rows, self.scales.len() * values, "every row has a scale");
        let matrices = self.values.chunks_exact(values).zip(self.scales.chunks_exact(rows));
        matrices.map(|(values, scales)| Self { values, scales })
    }
}

impl Task for MultiplyLower<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { lower, k, x } = self;
        let mut copies = vec![0f32; VECTORS * k];
        for (cell, lower) in lower.matrices(k).enumerate() {
            let cell = cell * k..(cell + 1) * k;
            for vectors in x.chunks_mut(VECTORS) {
                for (copy, vector) in copies.chunks_exact_mut(k).zip(&*vectors) {
                    copy.copy_from_slice(&vector[cell.clone()]);
                }
                // SAFETY: passed on.
                unsafe {
                    if let [only] = vectors {
                        multiply::<S::Narrow, 1>(lower, &copies, [&mut only[cell.clone()]]);
                    } else if let [one, other] = vectors {
                        let to = [&mut one[cell.clone()], &mut other[cell.clone()]];
                        multiply::<S::Narrow, VECTORS>(lower, &copies, to);
                    }
                }
            }
        }
    }
}

/// Sets `N` vectors to L x, where each x is of their length.
#[inline(always)]
unsafe fn multiply<S: Simd, const N: usize>(lower: Quantised, x: &[f32], mut to: [&mut [f32]; N]) {
    let k = to[0].len();
    for (panel, scales) in lower.scales.chunks_exact(ROWS).enumerate() {
        let rows = panel * ROWS..((panel + 1) * ROWS).min(k);
        let columns = columns(panel, k);
        let values = &lower.values[start(panel)..][..ROWS * columns];
        // SAFETY: whole panels, and `N` vectors of at least so many columns.
        unsafe {
            let sums = panel_product::<S, N, APART>(values, &x[..(N - 1) * k + columns], k);
            for (sum, to) in sums.into_iter().zip(&mut to) {
                let mut products = [0.0; ROWS];
                S::store(products.as_mut_ptr(), S::mul(sum, S::load(scales.as_ptr())));
                to[rows.clone()].copy_from_slice(&products[..rows.len()]);
            }
        }
    }
}

/// The rows of a panel, before they are scaled, times `N` vectors, `pitch` values apart.
#[inline(always)]
unsafe fn panel_product<S: Simd, const N: usize, const APART: usize>(
    values: &[i8],
    x: &[f32],
    pitch: usize,
) -> [S::V; N] {
    const { assert!(S::LANES == ROWS) }
    let columns = values.len() / ROWS;
    let whole = columns / APART * APART;
    // SAFETY: vectors inside the panel, and values inside those of `x`.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; APART];
        for first in (0..whole).step_by(APART) {
            for (apart, sums) in sums.iter_mut().enumerate() {
                add_column::<S, N>(values, x, pitch, first + apart, sums);
            }
        }
        for column in whole..columns {
            add_column::<S, N>(values, x, pitch, column, &mut sums[0]);
        }
        let mut total = sums[0];
        for sums in &sums[1..] {
            for (total, &sum) in total.iter_mut().zip(sums) {
                *total = S::add(*total, sum);
            }
        }
        total
    }
}

/// Adds one column of a panel times what `N` vectors have there.
#[inline(always)]
unsafe fn add_column<S: Simd, const N: usize>(
    values: &[i8],
    x: &[f32],
    pitch: usize,
    column: usize,
    sums: &mut [S::V; N],
) {
    // SAFETY: the caller's contract.
    unsafe {
        let values = S::load_byte(values.as_ptr().add(column * ROWS));
        for (n, sum) in sums.iter_mut().enumerate() {
            *sum = S::mul_add(values, S::splat(*x.as_ptr().add(n * pitch + column)), *sum);
        }
    }
}

impl Task for TransposedLower<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { lower, k, x } = self;
        let mut scaled = vec![0f32; k.next_multiple_of(ROWS)];
        for (cell, lower) in lower.matrices(k).enumerate() {
            for x in &mut *x {
                let x = &mut x[cell * k..(cell + 1) * k];
                for ((scaled, y), scale) in scaled.iter_mut().zip(&*x).zip(lower.scales) {
                    *scaled = y * scale;
                }
                for (panel, x) in x.chunks_mut(ROWS).enumerate() {
                    // SAFETY: passed on.
                    unsafe {
                        if x.len() == ROWS {
                            add_rows::<S::Narrow, ROWS>(lower.values, k, &scaled, panel, 0, x);
                        } else {
                            for column in 0..x.len() {
                                add_rows::<S::Narrow, 1>(lower.values, k, &scaled, panel, column, x);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Sets `N` values of Lᵀ y, those from `column` of the columns that begin with the rows of panel `first`.
#[inline(always)]
unsafe fn add_rows<S: Simd, const N: usize>(
    values: &[i8],
    k: usize,
    y: &[f32],
    first: usize,
    column: usize,
    to: &mut [f32],
) {
    let at = first * ROWS + column;
    // SAFETY: vectors inside the slices.
    unsafe {
        let mut sums = [S::splat(0.0); N];
        for (panel, y) in y.chunks_exact(ROWS).enumerate().skip(first) {
            let values = &values[start(panel)..][..ROWS * columns(panel, k)];
            let (columns, y) = (values[at * ROWS..][..N * ROWS].as_ptr(), S::load(y.as_ptr()));
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = S::mul_add(S::load_byte(columns.add(n * ROWS)), y, *sum);
            }
        }
        for (to, sum) in to[column..][..N].iter_mut().zip(sums) {
            *to = S::sum(sum);
        }
    }
}

impl Task for SquaredNorms<'_> {
    type Output = [f32; NORMS];

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [f32; NORMS] {
        let Self { lower, x } = self;
        let k = x.len() / NORMS;
        assert_eq!((lower.values.len(), lower.scales.len()), (values(k), k.next_multiple_of(ROWS)));
        // SAFETY: as in `multiply`.
        unsafe { squared_norms::<S::Narrow>(lower, x, k) }
    }
}

#[inline(always)]
unsafe fn squared_norms<S: Simd>(lower: Quantised, x: &[f32], k: usize) -> [f32; NORMS] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut squares = [S::splat(0.0); NORMS];
        for (panel, scales) in lower.scales.chunks_exact(ROWS).enumerate() {
            let values = &lower.values[start(panel)..][..ROWS * columns(panel, k)];
            let scales = S::load(scales.as_ptr());
            for (square, sum) in squares.iter_mut().zip(panel_product::<S, NORMS, 1>(values, x, k)) {
                let product = S::mul(sum, scales);
                *square = S::mul_add(product, product, *square);
            }
        }
        let mut norms = [0.0; NORMS];
        for (norm, square) in norms.iter_mut().zip(squares) {
            *norm = S::sum(square);
        }
        norms
    }
}
