//! From the gradient at contrast and derivatives of one scale to that at its pixels.

use std::ops::Range;

use super::Scale;
use super::walk::{quads, window_sum};
use crate::buffer::Buffer;
use crate::kernels::Task;
use crate::plain::plane::reflect;
use crate::pyramid::CONTRAST_RADIUS as RADIUS;
use crate::pyramid::{DIRECTIONS, Planes};
use crate::simd::Simd;

const WIDEST: usize = 16;
const WINDOW: usize = 2 * RADIUS + 1;

/// The gradient at a band of rows of the channels, as a weighted sum over their surroundings.
pub(crate) struct Adjoint<'a> {
    pub(crate) scale: Scale,
    /// What [`Backward`](super::Backward) found: ∂/∂x, ∂/∂y, contrasts.
    pub(crate) from: &'a Planes,
    /// Rows of pixels.
    pub(crate) rows: Range<usize>,
    /// As in [`Backward`](super::Backward), of all rows of cells: colour is averaged, too.
    pub(crate) weights: &'a [f32],
    /// Rows of planes, one for each channel.
    pub(crate) to: &'a mut [f32],
}

impl Task for Adjoint<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { scale, from, rows, weights, to } = self;
        let (width, pitch, channels) = (from.width, from.pitch, scale.channels);
        let mut grey = Grey::new(from);
        let mut window = Window::new(from);
        let columns = width / scale.pool;
        let share = 1.0 / (scale.pool * scale.pool) as f32;
        // SAFETY: passed on.
        unsafe { window.start::<S>(from, rows.start) };
        for (y, to) in rows.zip(to.chunks_exact_mut(channels * pitch)) {
            // SAFETY: passed on.
            unsafe { grey.row::<S>(from, y) };
            for (c, to) in to.chunks_exact_mut(pitch).enumerate() {
                // SAFETY: passed on.
                let mean = unsafe { window.row::<S>(from, c, y) };
                let feature = scale.offset + DIRECTIONS + 1 + channels + c;
                let colour = &weights[(y / scale.pool * scale.own + feature) * columns..][..columns];
                let scale_grey = 1.0 / channels as f32;
                let lines = from.row(2 + c, y).iter().zip(grey.sum.as_slice()).zip(mean);
                for (to, ((&contrast, &grey), &mean)) in to.iter_mut().zip(lines) {
                    *to = contrast - mean + grey * scale_grey;
                }
                for (pixels, &weight) in to.chunks_exact_mut(scale.pool).zip(colour) {
                    for value in pixels {
                        *value += weight * share;
                    }
                }
            }
        }
    }
}

/// The adjoint of the derivatives.
struct Grey {
    /// ∂/∂x and ∂/∂y with zeros on both sides.
    padded: Buffer,
    line: Buffer,
    sum: Buffer,
}

impl Grey {
    fn new(planes: &Planes) -> Self {
        let length = planes.pitch + 2 * WIDEST;
        Self { padded: Buffer::zeros(length), line: Buffer::zeros(length), sum: Buffer::zeros(planes.pitch) }
    }

    #[inline(always)]
    unsafe fn row<S: Simd>(&mut self, from: &Planes, y: usize) {
        self.sum.as_mut_slice().fill(0.0);
        for of in y.saturating_sub(1)..(y + 2).min(from.height) {
            let (mut of_smooth, mut of_slope) = (0.0, 0.0);
            for (by, smooth, slope) in [(-1, 1.0, -1.0), (0, 2.0, 0.0), (1, 1.0, 1.0)] {
                if reflect(of as isize + by, from.height) == y {
                    of_smooth += smooth;
                    of_slope += slope;
                }
            }
            // SAFETY: passed on.
            unsafe {
                self.add::<S>(from, 0, of, of_smooth / 8.0);
                self.add::<S>(from, 1, of, of_slope / 8.0);
            }
        }
    }

    /// Adds row `of` of a derivative, spread to its neighbours in the row.
    #[inline(always)]
    unsafe fn add<S: Simd>(&mut self, from: &Planes, derivative: usize, of: usize, factor: f32) {
        if factor == 0.0 {
            return;
        }
        let (width, pitch) = (from.width, from.pitch);
        let padded = &mut self.padded.as_mut_slice()[2..];
        padded[..width].copy_from_slice(&from.row(derivative, of)[..width]);
        let (padded, line) = (self.padded.ptr(), self.line.ptr());
        // SAFETY: `padded` and `line` reach two vectors beyond `pitch`.
        unsafe {
            let factor = S::splat(factor);
            // Behind the width, `padded` is zero.
            for x in (0..pitch + WIDEST).step_by(S::LANES) {
                let (left, right) = (S::load(padded.add(x)), S::load(padded.add(x + 2)));
                let value = match derivative {
                    0 => S::sub(left, right),
                    _ => S::mul_add(S::splat(2.0), S::load(padded.add(x + 1)), S::add(left, right)),
                };
                S::store(line.add(x), S::mul(value, factor));
            }
            let (first, last) = (*line, *line.add(width + 1));
            *line.add(1 + reflect(-1, width)) += first;
            *line.add(1 + reflect(width as isize, width)) += last;
            for x in (0..pitch).step_by(S::LANES) {
                let sum = self.sum.ptr().add(x);
                S::store(sum, S::add(S::load(sum), S::load(line.add(1 + x))));
            }
        }
    }
}

/// The adjoint of the mean over a window.
struct Window {
    /// Sums over the rows of the window around the last row, a line for each channel.
    sums: Buffer,
    padded: Buffer,
    quads: Buffer,
    full: Buffer,
    mean: Buffer,
}

impl Window {
    fn new(planes: &Planes) -> Self {
        let length = planes.pitch + 2 * RADIUS;
        let lines = length + 2 * RADIUS + 2 * WIDEST;
        Self {
            sums: Buffer::zeros((planes.count - 2) * planes.pitch),
            padded: Buffer::zeros(lines),
            quads: Buffer::zeros(lines),
            full: Buffer::zeros(length),
            mean: Buffer::zeros(planes.pitch),
        }
    }

    /// Prepares for row `y` to be the next.
    #[inline(always)]
    unsafe fn start<S: Simd>(&mut self, from: &Planes, y: usize) {
        self.sums.as_mut_slice().fill(0.0);
        let before = y as isize - 1;
        for c in 0..from.count - 2 {
            // SAFETY: passed on.
            unsafe { add_rows::<S>(from, 2 + c, before, self.sums.ptr().add(c * from.pitch)) };
        }
    }

    /// The row of channel `c` that follows.
    #[inline(always)]
    unsafe fn row<S: Simd>(&mut self, from: &Planes, c: usize, y: usize) -> &[f32] {
        let (width, pitch, height) = (from.width, from.pitch, from.height as isize);
        let (radius, row) = (RADIUS as isize, y as isize);
        let (padded, sums) = (self.padded.ptr(), self.sums.ptr());
        // SAFETY: `padded` begins 2 · RADIUS before the line, and all reach far enough behind it.
        unsafe {
            let sums = sums.add(c * pitch);
            let line = padded.add(2 * RADIUS);
            if row + radius < height {
                add_row::<S>(from.row(2 + c, y + RADIUS), 1.0, sums);
            }
            if row > radius {
                add_row::<S>(from.row(2 + c, y - RADIUS - 1), -1.0, sums);
            }
            std::ptr::copy_nonoverlapping(sums, line, pitch);
            // Windows around rows beyond the border are found in this row, too.
            for beyond in 0..2 * radius {
                let middle = if beyond < radius { beyond - radius } else { height + beyond - radius };
                if reflect(middle, from.height) == y {
                    add_rows::<S>(from, 2 + c, middle, line);
                }
            }
            self.padded.as_mut_slice()[2 * RADIUS + width..].fill(0.0);
            let full = self.full.ptr();
            quads::<S>(padded, self.quads.ptr(), pitch + 2 * RADIUS);
            for x in (0..pitch + 2 * RADIUS).step_by(S::LANES) {
                let sum = window_sum::<S>(padded, self.quads.ptr(), x);
                S::store(full.add(x), S::mul(sum, S::splat(1.0 / (WINDOW * WINDOW) as f32)));
            }
        }
        let (mean, full) = (self.mean.as_mut_slice(), self.full.as_slice());
        mean[..width].copy_from_slice(&full[RADIUS..][..width]);
        for i in 0..RADIUS {
            mean[reflect(i as isize - radius, width)] += full[i];
            mean[reflect((width + i) as isize, width)] += full[RADIUS + width + i];
        }
        mean
    }
}

/// Adds the rows of the window around row `middle`, as far as there are any.
#[inline(always)]
unsafe fn add_rows<S: Simd>(from: &Planes, plane: usize, middle: isize, to: *mut f32) {
    let radius = RADIUS as isize;
    for of in (middle - radius).max(0)..(middle + radius + 1).min(from.height as isize) {
        // SAFETY: passed on.
        unsafe { add_row::<S>(from.row(plane, of as usize), 1.0, to) };
    }
}

/// Adds a row times `factor`.
#[inline(always)]
unsafe fn add_row<S: Simd>(row: &[f32], factor: f32, to: *mut f32) {
    // SAFETY: rows are padded to whole vectors, and so is `to`.
    unsafe {
        for x in (0..row.len()).step_by(S::LANES) {
            let sum = S::mul_add(S::load(row.as_ptr().add(x)), S::splat(factor), S::load(to.add(x)));
            S::store(to.add(x), sum);
        }
    }
}
