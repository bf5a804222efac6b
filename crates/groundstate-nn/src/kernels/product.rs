//! Products of small matrices, without packing: the right factor has its rows in one piece.

use super::Task;
use crate::simd::{Portable, Simd};

/// A left factor of a product: any array that is read with two strides.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    /// The array.
    pub values: &'a [f32],
    /// Values from one row to the next.
    pub row: usize,
    /// Values from one column to the next.
    pub column: usize,
}

/// Adds a product a · b to a matrix, or to its lower triangle and some values above it.
///
/// The order of summation depends on nothing but the depth.
pub(crate) struct Product<'a> {
    /// rows × depth.
    pub(crate) a: Strided<'a>,
    /// depth × columns.
    pub(crate) b: &'a [f32],
    pub(crate) columns: usize,
    /// Rows × columns.
    pub(crate) to: &'a mut [f32],
    /// Leaves what lies above the diagonal undefined.
    pub(crate) lower: bool,
}

impl Task for Product<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { a, b, columns, to, lower } = self;
        if columns == 0 || b.is_empty() || to.is_empty() {
            return;
        }
        let (rows, depth) = (to.len() / columns, b.len() / columns);
        assert_eq!((b.len(), to.len()), (depth * columns, rows * columns));
        assert!(a.values.len() > (rows - 1) * a.row + (depth - 1) * a.column);
        let mut column = 0;
        while column < columns {
            let left = columns - column;
            let first = if lower { column } else { 0 };
            let block = Block { a, b, rows, depth, columns, column, first };
            // SAFETY: the arrays are as long as was checked, and blocks stay inside them.
            unsafe {
                let to = to.as_mut_ptr();
                column += if left >= 2 * S::LANES {
                    block.rows::<S, 2>(to)
                } else if left >= S::LANES {
                    block.rows::<S, 1>(to)
                } else if left >= S::Narrow::LANES {
                    block.rows::<S::Narrow, 1>(to)
                } else {
                    block.rows::<Portable<1>, 1>(to)
                };
            }
        }
    }
}

/// All rows of some columns.
struct Block<'a> {
    a: Strided<'a>,
    b: &'a [f32],
    rows: usize,
    depth: usize,
    columns: usize,
    column: usize,
    first: usize,
}

impl Block<'_> {
    /// Adds `NV` vectors of columns; returns how many columns.
    #[inline(always)]
    unsafe fn rows<S: Simd, const NV: usize>(&self, to: *mut f32) -> usize {
        // SAFETY: passed on.
        unsafe {
            let mut row = self.first;
            while row + 6 <= self.rows {
                self.add::<S, NV, 6>(row, to);
                row += 6;
            }
            while row < self.rows {
                self.add::<S, NV, 1>(row, to);
                row += 1;
            }
        }
        NV * S::LANES
    }

    #[inline(always)]
    unsafe fn add<S: Simd, const NV: usize, const MR: usize>(&self, row: usize, to: *mut f32) {
        // SAFETY: passed on.
        unsafe {
            let mut sums = [[S::splat(0.0); NV]; MR];
            let mut a = self.a.values.as_ptr().add(row * self.a.row);
            let mut b = self.b.as_ptr().add(self.column);
            for _ in 0..self.depth {
                let mut of_b = [S::splat(0.0); NV];
                for (v, of_b) in of_b.iter_mut().enumerate() {
                    *of_b = S::load(b.add(v * S::LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = S::splat(*a.add(r * self.a.row));
                    for (sum, &of_b) in sums.iter_mut().zip(&of_b) {
                        *sum = S::mul_add(value, of_b, *sum);
                    }
                }
                a = a.wrapping_add(self.a.column);
                b = b.wrapping_add(self.columns);
            }
            for (r, sums) in sums.iter().enumerate() {
                let to = to.add((row + r) * self.columns + self.column);
                for (v, &sum) in sums.iter().enumerate() {
                    let to = to.add(v * S::LANES);
                    S::store(to, S::add(S::load(to), sum));
                }
            }
        }
    }
}
