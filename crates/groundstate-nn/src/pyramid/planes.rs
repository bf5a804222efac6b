//! A picture at one scale: its channels and their mean, row by row.

use rayon::prelude::*;
use rayon::slice::ChunksMut;

use crate::buffer::Buffer;
use crate::kernels::Task;
use crate::simd::Simd;

/// Values that rows of planes are padded to a multiple of: the widest vector.
const WIDEST: usize = 16;

/// Planes of one size whose rows lie side by side: row, plane, column. Columns beyond the width are
/// finite and mean nothing.
pub(crate) struct Planes {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Number of planes.
    pub(crate) count: usize,
    /// Values from one plane to the next in a row.
    pub(crate) pitch: usize,
    values: Buffer,
}

/// Values from one plane of a row to the next.
fn pitch(width: usize) -> usize {
    width.next_multiple_of(WIDEST)
}

impl Planes {
    /// `count` planes of zeros.
    pub(crate) fn zeros(width: usize, height: usize, count: usize) -> Self {
        let pitch = pitch(width);
        Self { width, height, count, pitch, values: Buffer::zeros(height * count * pitch) }
    }

    /// Values from one row to the next.
    pub(crate) fn row_pitch(&self) -> usize {
        self.count * self.pitch
    }

    /// A row of one plane; readable for whole vectors.
    pub(crate) fn row(&self, plane: usize, y: usize) -> &[f32] {
        &self.values.as_slice()[(y * self.count + plane) * self.pitch..][..self.pitch]
    }

    /// Bands of so many rows.
    pub(crate) fn bands_mut(&mut self, rows: usize) -> ChunksMut<'_, f32> {
        let row = self.row_pitch();
        self.rows_mut().par_chunks_mut(rows * row)
    }

    /// All rows, to be shared out.
    pub(crate) fn rows_mut(&mut self) -> &mut [f32] {
        self.values.as_mut_slice()
    }
}

/// A band of rows of a picture (rows × width × channels) at all scales.
pub(crate) struct Split<'a> {
    pub(crate) picture: &'a [f32],
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// At each scale rows of planes: one for each channel, then their mean.
    pub(crate) to: [&'a mut [f32]; 3],
}

impl Task for Split<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { picture, width, channels, to: [whole, half, quarter] } = self;
        let pitches = [width, width / 2, width / 4].map(pitch);
        // SAFETY: passed on.
        unsafe {
            take_apart::<S>(picture, width, channels, pitches[0], whole);
            halve::<S>(whole, [pitches[0], pitches[1]], width / 2, channels, half);
            halve::<S>(half, [pitches[1], pitches[2]], width / 4, channels, quarter);
        }
    }
}

/// Takes rows of a picture apart: a plane for each channel, then their mean.
#[inline(always)]
unsafe fn take_apart<S: Simd>(picture: &[f32], width: usize, channels: usize, pitch: usize, to: &mut [f32]) {
    let rows = to.chunks_exact_mut(pitch * (channels + 1));
    for (row, values) in rows.zip(picture.chunks_exact(width * channels)) {
        match channels {
            1 => row[..width].copy_from_slice(values),
            3 => {
                let (red, rest) = row.split_at_mut(pitch);
                let (green, blue) = rest.split_at_mut(pitch);
                let colours = red.iter_mut().zip(green).zip(blue);
                for (((red, green), blue), value) in colours.zip(values.chunks_exact(3)) {
                    (*red, *green, *blue) = (value[0], value[1], value[2]);
                }
            }
            _ => {
                for (c, plane) in row.chunks_exact_mut(pitch).take(channels).enumerate() {
                    let values = values.iter().skip(c).step_by(channels);
                    for (to, &value) in plane.iter_mut().zip(values) {
                        *to = value;
                    }
                }
            }
        }
        // SAFETY: passed on.
        unsafe { average::<S>(row, pitch) };
    }
}

/// Sets rows of planes to the means of 2 × 2 values of planes of twice their size, which are `pitches` wide in memory.
#[inline(always)]
unsafe fn halve<S: Simd>(from: &[f32], pitches: [usize; 2], width: usize, channels: usize, to: &mut [f32]) {
    let [large, small] = pitches;
    let rows = to.chunks_exact_mut((channels + 1) * small);
    for (row, from) in rows.zip(from.chunks_exact(2 * (channels + 1) * large)) {
        let (upper, lower) = from.split_at((channels + 1) * large);
        let planes = upper.chunks_exact(large).zip(lower.chunks_exact(large));
        for ((upper, lower), line) in planes.zip(row.chunks_exact_mut(small)).take(channels) {
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for (to, (upper, lower)) in line[..width].iter_mut().zip(pairs) {
                *to = 0.25 * ((upper[0] + upper[1]) + (lower[0] + lower[1]));
            }
        }
        // SAFETY: passed on.
        unsafe { average::<S>(row, small) };
    }
}

/// Sets the last plane of a row to the mean of the others.
#[inline(always)]
unsafe fn average<S: Simd>(row: &mut [f32], pitch: usize) {
    let channels = row.len() / pitch - 1;
    // SAFETY: `pitch` is a multiple of every vector.
    unsafe {
        let row = row.as_mut_ptr();
        let share = S::splat(1.0 / channels as f32);
        for x in (0..pitch).step_by(S::LANES) {
            let mut sum = S::load(row.add(x));
            for c in 1..channels {
                sum = S::add(sum, S::load(row.add(c * pitch + x)));
            }
            S::store(row.add(channels * pitch + x), S::mul(sum, share));
        }
    }
}

/// A band of rows of the gradient at a picture from those at its scales.
pub(crate) struct Join<'a> {
    pub(crate) of_scales: &'a [Planes],
    /// The first row.
    pub(crate) first: usize,
    /// Rows × width × channels.
    pub(crate) to: &'a mut [f32],
}

impl Task for Join<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [whole, half, quarter] = self.of_scales else { panic!("a pyramid has three scales") };
        let (width, channels) = (whole.width, whole.count);
        let mut line = vec![0.0; width];
        for (by, row) in self.to.chunks_exact_mut(width * channels).enumerate() {
            let y = self.first + by;
            for c in 0..channels {
                let (whole, half, quarter) = (whole.row(c, y), half.row(c, y / 2), quarter.row(c, y / 4));
                let coarse = half.chunks_exact(2).zip(quarter);
                for ((to, whole), (half, quarter)) in
                    line.chunks_exact_mut(4).zip(whole.chunks_exact(4)).zip(coarse)
                {
                    // Each is one of 4 or 16 pixels that a coarser one is the mean of.
                    let quarter = quarter * 0.0625;
                    for i in 0..4 {
                        to[i] = whole[i] + half[i / 2] * 0.25 + quarter;
                    }
                }
                for (pixel, &value) in row.chunks_exact_mut(channels).zip(&line) {
                    pixel[c] = value;
                }
            }
        }
    }
}
