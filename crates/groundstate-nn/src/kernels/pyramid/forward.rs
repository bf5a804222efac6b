//! From one scale of a picture to its features of a band of cells.

use std::ops::Range;

use super::walk::Walk;
use super::{Scale, UNITS};
use crate::buffer::Buffer;
use crate::kernels::Task;
use crate::pyramid::{DIRECTIONS, MAGNITUDE_FLOOR, Planes, ROOT_FLOOR};
use crate::simd::Simd;

/// The features of rows of cells: averages and maxima, as signed roots.
pub(crate) struct Forward<'a> {
    pub(crate) scale: Scale,
    pub(crate) planes: &'a Planes,
    pub(crate) rows: Range<usize>,
    /// Rows × [`Scale::own`] × columns, of which this scale's features are written.
    pub(crate) to: &'a mut [f32],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: passed on.
        unsafe {
            match self.scale.pool {
                4 => self.pooled::<S, 4>(),
                2 => self.pooled::<S, 2>(),
                _ => self.pooled::<S, 1>(),
            }
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    unsafe fn pooled<S: Simd, const POOL: usize>(self) {
        let Self { scale, planes, rows, to } = self;
        let (columns, pitch) = (planes.width / POOL, planes.pitch);
        let mut walk = Walk::new(planes);
        let mut lines = Buffer::zeros(scale.count() * pitch);
        let mut cells = Buffer::zeros(columns);
        // SAFETY: lines hold `pitch` values, a multiple of every vector; `cells` has room behind its end.
        unsafe { walk.start::<S>(rows.start * POOL) };
        for (cell_y, to) in rows.zip(to.chunks_exact_mut(scale.own * columns)) {
            let (sums, peaks) = lines.as_mut_slice().split_at_mut(scale.averaged() * pitch);
            sums.fill(0.0);
            peaks.fill(f32::NEG_INFINITY);
            for y in cell_y * POOL..(cell_y + 1) * POOL {
                // SAFETY: as above.
                unsafe {
                    walk.advance::<S>(y);
                    add_gradient::<S>(scale, &walk, pitch, lines.ptr());
                    for c in 0..scale.channels {
                        add_channel::<S>(scale, c, planes.row(c, y), &walk, lines.ptr());
                    }
                }
            }
            let lines = lines.as_slice().chunks_exact(pitch).enumerate();
            for ((f, line), to) in lines.zip(to[scale.offset * columns..].chunks_exact_mut(columns)) {
                if f < scale.averaged() {
                    average::<POOL>(line, cells.as_mut_slice());
                } else {
                    highest::<POOL>(line, cells.as_mut_slice());
                }
                // SAFETY: as above.
                unsafe { signed_root::<S>(cells.ptr(), columns) };
                to.copy_from_slice(cells.as_slice());
            }
        }
    }
}

/// Sets each value to the average of a cell, of which `line` has the sums of `POOL` columns.
#[inline(always)]
fn average<const POOL: usize>(line: &[f32], to: &mut [f32]) {
    let share = 1.0 / (POOL * POOL) as f32;
    for (to, columns) in to.iter_mut().zip(line.chunks_exact(POOL)) {
        let mut sum = columns[0];
        for &value in &columns[1..] {
            sum += value;
        }
        *to = sum * share;
    }
}

/// Sets each value to the highest of a cell, of which `line` has the highest of `POOL` columns.
#[inline(always)]
fn highest<const POOL: usize>(line: &[f32], to: &mut [f32]) {
    for (to, columns) in to.iter_mut().zip(line.chunks_exact(POOL)) {
        let mut highest = columns[0];
        for &value in &columns[1..] {
            highest = if value > highest { value } else { highest };
        }
        *to = highest;
    }
}

/// Adds a row's gradient to the lines: eight rectified directions and the magnitude to be averaged, the
/// magnitude to be maximised.
///
/// Direction k takes max(0, cos(angle − 2πk/8))³ of the magnitude; cos³ · m = (projection)³ / m².
#[inline(always)]
unsafe fn add_gradient<S: Simd>(scale: Scale, walk: &Walk, pitch: usize, lines: *mut f32) {
    // SAFETY: lines hold `pitch` values.
    unsafe {
        let zero = S::splat(0.0);
        for x in (0..pitch).step_by(S::LANES) {
            let lines = lines.add(x);
            let (gx, gy) = (S::load(walk.gx.ptr().add(x)), S::load(walk.gy.ptr().add(x)));
            let square = S::mul_add(gx, gx, S::mul_add(gy, gy, S::splat(MAGNITUDE_FLOOR as f32)));
            let magnitude = S::sqrt(square);
            let inverse = S::div(S::splat(1.0), square);
            add::<S>(lines.add(DIRECTIONS * pitch), magnitude);
            raise::<S>(lines.add(scale.averaged() * pitch), magnitude);
            for (direction, (cos, sin)) in UNITS.into_iter().enumerate() {
                let projection = S::mul_add(gx, S::splat(cos), S::mul(gy, S::splat(sin)));
                let cubed = S::mul(S::mul(projection, inverse), S::mul(projection, projection));
                add::<S>(lines.add(direction * pitch), S::max(cubed, zero));
                let opposite = lines.add((direction + DIRECTIONS / 2) * pitch);
                add::<S>(opposite, S::max(S::sub(zero, cubed), zero));
            }
        }
    }
}

/// Adds a row's contrast and colour of one channel to the lines.
#[inline(always)]
unsafe fn add_channel<S: Simd>(scale: Scale, c: usize, colour: &[f32], walk: &Walk, lines: *mut f32) {
    let pitch = colour.len();
    let averaged = DIRECTIONS + 1 + c;
    let peak = scale.averaged() + 1 + c;
    // SAFETY: lines hold `pitch` values.
    unsafe {
        let contrast = walk.contrast.ptr().add(c * pitch);
        for x in (0..pitch).step_by(S::LANES) {
            let lines = lines.add(x);
            let contrast = S::load(contrast.add(x));
            let magnitude = S::max(contrast, S::sub(S::splat(0.0), contrast));
            add::<S>(lines.add(averaged * pitch), magnitude);
            add::<S>(lines.add((averaged + scale.channels) * pitch), S::load(colour.as_ptr().add(x)));
            raise::<S>(lines.add(peak * pitch), magnitude);
            raise::<S>(lines.add((peak + scale.channels) * pitch), contrast);
        }
    }
}

#[inline(always)]
unsafe fn add<S: Simd>(to: *mut f32, value: S::V) {
    // SAFETY: the caller's lines hold the vector.
    unsafe { S::store(to, S::add(S::load(to), value)) }
}

#[inline(always)]
unsafe fn raise<S: Simd>(to: *mut f32, value: S::V) {
    // SAFETY: as above.
    unsafe { S::store(to, S::max(S::load(to), value)) }
}

/// Replaces values by their signed square roots.
#[inline(always)]
unsafe fn signed_root<S: Simd>(values: *mut f32, count: usize) {
    let floor = ROOT_FLOOR as f32;
    // SAFETY: buffers are good for one more vector.
    unsafe {
        for x in (0..count).step_by(S::LANES) {
            let value = S::load(values.add(x));
            let magnitude = S::max(value, S::sub(S::splat(0.0), value));
            let root = S::sub(S::sqrt(S::add(magnitude, S::splat(floor))), S::splat(floor.sqrt()));
            S::store(values.add(x), S::where_negative(value, S::sub(S::splat(0.0), root), root));
        }
    }
}
