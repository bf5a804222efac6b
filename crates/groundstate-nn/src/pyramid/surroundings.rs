//! The mean of a cell's 3 × 3 surroundings, mirrored at the border, and its adjoint.

use crate::kernels::Task;
use crate::plain::plane::reflect;
use crate::pyramid::ROOT_FLOOR;
use crate::simd::Simd;

const NINTH: f32 = 1.0 / 9.0;

/// A row of cells with the means of their surroundings.
pub(crate) struct Around<'a> {
    /// All rows: rows × features × columns.
    pub(crate) own: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) y: usize,
    /// Twice the features × columns: own ones, then means.
    pub(crate) to: &'a mut [f32],
}

impl Task for Around<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { own, columns, rows, y, to } = self;
        let length = own.len() / rows;
        assert_eq!(to.len(), 2 * length, "a row holds own features and means");
        let row = |by: isize| &own[reflect(y as isize + by, rows) * length..][..length];
        let (of_cell, around) = to.split_at_mut(length);
        of_cell.copy_from_slice(row(0));
        let mut line = vec![0.0; columns + 2];
        let lines = row(-1).chunks_exact(columns).zip(row(0).chunks_exact(columns));
        let lines = lines.zip(row(1).chunks_exact(columns));
        for (to, ((above, here), below)) in around.chunks_exact_mut(columns).zip(lines) {
            for (sum, ((above, here), below)) in line[1..].iter_mut().zip(above.iter().zip(here).zip(below)) {
                *sum = (above + here + below) * NINTH;
            }
            line[0] = line[1 + reflect(-1, columns)];
            line[columns + 1] = line[1 + reflect(columns as isize, columns)];
            for (to, sums) in to.iter_mut().zip(line.windows(3)) {
                *to = sums[0] + sums[1] + sums[2];
            }
        }
    }
}

/// What the averages and maxima of a row of cells weigh, given what their roots and the means of those weigh.
pub(crate) struct Gathered<'a> {
    /// All rows, as [`Around`] gives them.
    pub(crate) weights: &'a [f32],
    /// The row's signed roots.
    pub(crate) roots: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) y: usize,
    /// Features × columns.
    pub(crate) to: &'a mut [f32],
}

impl Task for Gathered<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { weights, roots, columns, rows, y, to } = self;
        let length = to.len();
        let row = |of: usize| weights[2 * of * length..][..2 * length].split_at(length);
        // In how many of the three rows around each neighbour this one is found.
        let times = |of: usize| (-1..=1).filter(|by| reflect(of as isize + by, rows) == y).count() as f32;
        let (own, here) = row(y);
        let (above, below) = (y.saturating_sub(1), (y + 1).min(rows - 1));
        let of_above = if y > 0 { times(above) * NINTH } else { 0.0 };
        let of_below = if y + 1 < rows { times(below) * NINTH } else { 0.0 };
        let of_here = times(y) * NINTH;
        let (above, below) = (row(above).1, row(below).1);
        // Zeros on both sides.
        let mut line = vec![0.0; columns + 2];
        let floor = (ROOT_FLOOR as f32).sqrt();
        for (f, to) in to.chunks_exact_mut(columns).enumerate() {
            let at = f * columns..(f + 1) * columns;
            let rows = above[at.clone()].iter().zip(&here[at.clone()]).zip(&below[at.clone()]);
            for (sum, ((above, here), below)) in line[1..].iter_mut().zip(rows) {
                *sum = above * of_above + here * of_here + below * of_below;
            }
            for (to, sums) in to.iter_mut().zip(line.windows(3)) {
                *to = sums[0] + sums[1] + sums[2];
            }
            // The mirrored cells beyond both ends.
            to[reflect(-1, columns)] += line[1];
            to[reflect(columns as isize, columns)] += line[columns];
            for ((to, own), root) in to.iter_mut().zip(&own[at.clone()]).zip(&roots[at]) {
                *to = (*to + own) * (0.5 / (root.abs() + floor));
            }
        }
    }
}
