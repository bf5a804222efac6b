//! From the weights of one scale's features to the gradient at its contrast and derivatives.

use std::ops::Range;

use super::walk::Walk;
use super::{Scale, UNITS};
use crate::buffer::Buffer;
use crate::kernels::Task;
use crate::pyramid::{DIRECTIONS, MAGNITUDE_FLOOR, Planes};
use crate::simd::Simd;

/// The gradient of Σ weights · averages and maxima at the derivatives and contrasts of a band of rows.
pub(crate) struct Backward<'a> {
    pub(crate) scale: Scale,
    pub(crate) planes: &'a Planes,
    pub(crate) rows: Range<usize>,
    /// What every average and maximum of the band weighs: rows × [`Scale::own`] × columns.
    pub(crate) weights: &'a [f32],
    /// Rows of planes: ∂/∂x, ∂/∂y, then the contrast of each channel.
    pub(crate) to: &'a mut [f32],
}

impl Task for Backward<'_> {
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

/// Lines of [`Lines::values`] before the contrasts.
const OTHERS: usize = 3;

/// The lines of one row of cells.
struct Lines {
    /// Weights of the averages, spread over their pixels.
    spread: Buffer,
    /// By row: the magnitude, the derivatives, then the contrasts, of which maxima are taken.
    values: Buffer,
    /// The highest value of each cell, and its pixel in the cell.
    best: Vec<f32>,
    at: Vec<u32>,
}

impl Backward<'_> {
    #[inline(always)]
    unsafe fn pooled<S: Simd, const POOL: usize>(self) {
        let Self { scale, planes, rows, weights, to } = self;
        let (columns, pitch, channels) = (planes.width / POOL, planes.pitch, scale.channels);
        let row_pitch = (2 + channels) * pitch;
        let mut walk = Walk::new(planes);
        let mut lines = Lines {
            spread: Buffer::zeros(scale.averaged() * pitch),
            values: Buffer::zeros(POOL * (OTHERS + channels) * pitch),
            best: vec![0.0; columns],
            at: vec![0; columns],
        };
        // SAFETY: lines hold `pitch` values, a multiple of every vector.
        unsafe { walk.start::<S>(rows.start * POOL) };
        let of_rows = weights.chunks_exact(scale.own * columns).zip(to.chunks_exact_mut(POOL * row_pitch));
        for (cell_y, (weights, to)) in rows.zip(of_rows) {
            let weights = &weights[scale.offset * columns..][..scale.count() * columns];
            let share = 1.0 / (POOL * POOL) as f32;
            let spread = lines.spread.as_mut_slice().chunks_exact_mut(pitch);
            for (line, weights) in spread.zip(weights.chunks_exact(columns)) {
                for (pixels, weight) in line.chunks_exact_mut(POOL).zip(weights) {
                    pixels.fill(weight * share);
                }
            }
            for (by, to) in to.chunks_exact_mut(row_pitch).enumerate() {
                // SAFETY: as above.
                unsafe {
                    walk.advance::<S>(cell_y * POOL + by);
                    let values = lines.values.ptr().add(by * (OTHERS + channels) * pitch);
                    of_gradient::<S>(&walk, pitch, lines.spread.ptr(), to.as_mut_ptr(), values);
                    let contrast = lines.spread.ptr().add((DIRECTIONS + 1) * pitch);
                    let to = to.as_mut_ptr().add(2 * pitch);
                    of_contrast::<S>(&walk, channels * pitch, contrast, to, values.add(OTHERS * pitch));
                }
            }
            lines.maxima::<POOL>(scale, pitch, &weights[scale.averaged() * columns..], to);
        }
    }
}

/// Sets a row of `to` to the gradient of averaged directions and magnitude at (∂/∂x, ∂/∂y), and
/// keeps magnitude and derivatives.
#[inline(always)]
unsafe fn of_gradient<S: Simd>(
    walk: &Walk,
    pitch: usize,
    weights: *const f32,
    to: *mut f32,
    values: *mut f32,
) {
    // SAFETY: lines hold `pitch` values.
    unsafe {
        for x in (0..pitch).step_by(S::LANES) {
            let weights = weights.add(x);
            let (gx, gy) = (S::load(walk.gx.ptr().add(x)), S::load(walk.gy.ptr().add(x)));
            let square = S::mul_add(gx, gx, S::mul_add(gy, gy, S::splat(MAGNITUDE_FLOOR as f32)));
            let magnitude = S::sqrt(square);
            S::store(values.add(x), magnitude);
            S::store(values.add(pitch + x), gx);
            S::store(values.add(2 * pitch + x), gy);
            let inverse = S::div(S::splat(1.0), square);
            let (mut along_x, mut along_y) = (S::splat(0.0), S::splat(0.0));
            let mut cubes = S::splat(0.0);
            for (direction, (cos, sin)) in UNITS.into_iter().enumerate() {
                // Of two opposite directions the one that the gradient points to counts.
                let projection = S::mul_add(gx, S::splat(cos), S::mul(gy, S::splat(sin)));
                let length = S::max(projection, S::sub(S::splat(0.0), projection));
                let opposite = S::load(weights.add((direction + DIRECTIONS / 2) * pitch));
                let weight = S::where_negative(projection, opposite, S::load(weights.add(direction * pitch)));
                let slope = S::mul(weight, S::mul(projection, length));
                along_x = S::mul_add(slope, S::splat(cos), along_x);
                along_y = S::mul_add(slope, S::splat(sin), along_y);
                cubes = S::mul_add(slope, projection, cubes);
            }
            // ∂(p³/m²) = (3 p² ∂p − 2 p³/m² g)/m², and ∂m = g/m.
            let three = S::mul(S::splat(3.0), inverse);
            let shrink = S::mul(S::mul(S::splat(-2.0), cubes), S::mul(inverse, inverse));
            let radial = S::add(shrink, S::div(S::load(weights.add(DIRECTIONS * pitch)), magnitude));
            S::store(to.add(x), S::mul_add(along_x, three, S::mul(radial, gx)));
            S::store(to.add(pitch + x), S::mul_add(along_y, three, S::mul(radial, gy)));
        }
    }
}

/// Sets rows of `to` to the gradient of averaged magnitudes at the contrasts, and copies the contrasts.
#[inline(always)]
unsafe fn of_contrast<S: Simd>(
    walk: &Walk,
    length: usize,
    weights: *const f32,
    to: *mut f32,
    values: *mut f32,
) {
    // SAFETY: the channels' lines are side by side in all arrays.
    unsafe {
        let zero = S::splat(0.0);
        for x in (0..length).step_by(S::LANES) {
            let (contrast, weight) = (S::load(walk.contrast.ptr().add(x)), S::load(weights.add(x)));
            S::store(values.add(x), contrast);
            let positive = S::where_negative(S::sub(zero, contrast), weight, zero);
            S::store(to.add(x), S::where_negative(contrast, S::sub(zero, weight), positive));
        }
    }
}

impl Lines {
    /// Adds what the maxima weigh, each at the first pixel of its cell that has it.
    #[inline(always)]
    fn maxima<const POOL: usize>(&mut self, scale: Scale, pitch: usize, weights: &[f32], to: &mut [f32]) {
        let (columns, channels) = (self.best.len(), scale.channels);
        let (row_pitch, value_pitch) = ((2 + channels) * pitch, (OTHERS + channels) * pitch);
        let weights = |f: usize| &weights[f * columns..][..columns];
        let pixel = |cell_x: usize, at: u32| (cell_x * POOL + at as usize % POOL, at as usize / POOL);
        let values = self.values.as_slice();
        let (best, at) = (&mut self.best[..], &mut self.at[..]);
        first_maxima::<POOL, false>(values, value_pitch, best, at);
        for (cell_x, &weight) in weights(0).iter().enumerate() {
            let (x, y) = pixel(cell_x, at[cell_x]);
            let slope = weight / best[cell_x];
            for derivative in 0..2 {
                let value = values[y * value_pitch + (1 + derivative) * pitch + x];
                to[y * row_pitch + derivative * pitch + x] += value * slope;
            }
        }
        for c in 0..channels {
            let contrast = &values[(OTHERS + c) * pitch..];
            let to = &mut to[(2 + c) * pitch..];
            first_maxima::<POOL, true>(contrast, value_pitch, best, at);
            for (cell_x, &weight) in weights(1 + c).iter().enumerate() {
                let (x, y) = pixel(cell_x, at[cell_x]);
                let value = contrast[y * value_pitch + x];
                to[y * row_pitch + x] += if value == 0.0 { 0.0 } else { weight.copysign(weight * value) };
            }
            first_maxima::<POOL, false>(contrast, value_pitch, best, at);
            for (cell_x, &weight) in weights(1 + channels + c).iter().enumerate() {
                let (x, y) = pixel(cell_x, at[cell_x]);
                to[y * row_pitch + x] += weight;
            }
        }
    }
}

/// Finds the highest value, or magnitude, in every cell of `POOL` rows, `pitch` apart, and the first pixel that
/// has it, row by row through the cell.
#[inline(always)]
fn first_maxima<const POOL: usize, const MAGNITUDE: bool>(
    values: &[f32],
    pitch: usize,
    best: &mut [f32],
    at: &mut [u32],
) {
    best.fill(f32::NEG_INFINITY);
    at.fill(0);
    for y in 0..POOL {
        let row = &values[y * pitch..][..best.len() * POOL];
        for x in 0..POOL {
            let number = (y * POOL + x) as u32;
            for ((best, at), cell) in best.iter_mut().zip(&mut *at).zip(row.chunks_exact(POOL)) {
                let value = if MAGNITUDE { cell[x].abs() } else { cell[x] };
                let higher = value > *best;
                *best = if higher { value } else { *best };
                *at = if higher { number } else { *at };
            }
        }
    }
}
