//! Contrast and gradient of a picture, one row after another.

use crate::buffer::Buffer;
use crate::plain::plane::reflect;
use crate::pyramid::CONTRAST_RADIUS as RADIUS;
use crate::pyramid::Planes;
use crate::simd::Simd;

const WINDOW: usize = 2 * RADIUS + 1;
const WIDEST: usize = 16;

/// What a walk over rows keeps: a few lines, so that nothing of the size of a plane is written.
pub(super) struct Walk<'a> {
    planes: &'a Planes,
    channels: usize,
    /// Sums over the window's rows, a line for each channel, [`RADIUS`] columns wider on both sides.
    sums: Buffer,
    padded: usize,
    quads: Buffer,
    /// (1, 2, 1) and (−1, 0, 1) over three rows, one column wider on both sides.
    smooth: Buffer,
    slope: Buffer,
    /// Where the columns beyond both ends are found.
    left: [usize; RADIUS],
    right: [usize; RADIUS],
    /// Difference from the mean of the window, a line for each channel.
    pub(super) contrast: Buffer,
    /// Derivatives of the channels' mean, in units of value per pixel.
    pub(super) gx: Buffer,
    pub(super) gy: Buffer,
}

impl<'a> Walk<'a> {
    pub(super) fn new(planes: &'a Planes) -> Self {
        let (width, pitch, channels) = (planes.width, planes.pitch, planes.count - 1);
        // The last vectors of a line of quads read up to here.
        let padded = pitch + 2 * RADIUS + 2 * WIDEST;
        let beyond = |by: isize| reflect(by, width);
        Self {
            planes,
            channels,
            sums: Buffer::zeros(channels * padded),
            padded,
            quads: Buffer::zeros(padded),
            smooth: Buffer::zeros(pitch + WIDEST),
            slope: Buffer::zeros(pitch + WIDEST),
            left: std::array::from_fn(|i| beyond(i as isize - RADIUS as isize)),
            right: std::array::from_fn(|i| beyond((width + i) as isize)),
            contrast: Buffer::zeros(channels * pitch),
            gx: Buffer::zeros(pitch),
            gy: Buffer::zeros(pitch),
        }
    }

    fn row(&self, plane: usize, y: isize) -> *const f32 {
        self.planes.row(plane, reflect(y, self.planes.height)).as_ptr()
    }

    /// Prepares for row `y` to be the next.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn start<S: Simd>(&mut self, y: usize) {
        self.sums.as_mut_slice().fill(0.0);
        for c in 0..self.channels {
            for by in 0..WINDOW {
                let from = self.row(c, (y + by) as isize - RADIUS as isize);
                // SAFETY: rows are readable for `pitch` values, lines of sums writable behind their margin.
                unsafe {
                    let to = self.sums.ptr().add(c * self.padded + RADIUS);
                    for x in (0..self.planes.pitch).step_by(S::LANES) {
                        S::store(to.add(x), S::add(S::load(to.add(x)), S::load(from.add(x))));
                    }
                }
            }
        }
    }

    /// Computes contrast and gradient of row `y`, and prepares for the next.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn advance<S: Simd>(&mut self, y: usize) {
        // SAFETY: passed on.
        unsafe {
            self.gradient::<S>(y as isize);
            for c in 0..self.channels {
                self.contrast::<S>(c, y as isize);
            }
        }
    }

    #[inline(always)]
    unsafe fn gradient<S: Simd>(&mut self, y: isize) {
        let (width, pitch, grey) = (self.planes.width, self.planes.pitch, self.channels);
        let [above, here, below] = [-1, 0, 1].map(|by| self.row(grey, y + by));
        let (smooth, slope) = (self.smooth.ptr(), self.slope.ptr());
        // SAFETY: rows and lines hold `pitch` values, the padded ones a vector more.
        unsafe {
            for x in (0..pitch).step_by(S::LANES) {
                let (a, b) = (S::load(above.add(x)), S::load(below.add(x)));
                let sum = S::mul_add(S::splat(2.0), S::load(here.add(x)), S::add(a, b));
                S::store(smooth.add(x + 1), sum);
                S::store(slope.add(x + 1), S::sub(b, a));
            }
            for line in [smooth, slope] {
                *line = *line.add(1 + reflect(-1, width));
                *line.add(width + 1) = *line.add(1 + reflect(width as isize, width));
            }
            let eighth = S::splat(0.125);
            for x in (0..pitch).step_by(S::LANES) {
                let dx = S::sub(S::load(smooth.add(x + 2)), S::load(smooth.add(x)));
                let outer = S::add(S::load(slope.add(x)), S::load(slope.add(x + 2)));
                let dy = S::mul_add(S::splat(2.0), S::load(slope.add(x + 1)), outer);
                S::store(self.gx.ptr().add(x), S::mul(dx, eighth));
                S::store(self.gy.ptr().add(x), S::mul(dy, eighth));
            }
        }
    }

    #[inline(always)]
    unsafe fn contrast<S: Simd>(&mut self, c: usize, y: isize) {
        let (width, pitch) = (self.planes.width, self.planes.pitch);
        let here = self.row(c, y);
        let (entering, leaving) = (self.row(c, y + RADIUS as isize + 1), self.row(c, y - RADIUS as isize));
        // SAFETY: rows and lines hold `pitch` values; sums and quads reach `2 · RADIUS` and two vectors further.
        unsafe {
            let sums = self.sums.ptr().add(c * self.padded);
            for (i, (&left, &right)) in self.left.iter().zip(&self.right).enumerate() {
                *sums.add(i) = *sums.add(RADIUS + left);
                *sums.add(RADIUS + width + i) = *sums.add(RADIUS + right);
            }
            let to = self.contrast.ptr().add(c * pitch);
            let scale = S::splat(-1.0 / (WINDOW * WINDOW) as f32);
            quads::<S>(sums, self.quads.ptr(), pitch);
            for x in (0..pitch).step_by(S::LANES) {
                let sum = window_sum::<S>(sums, self.quads.ptr(), x);
                S::store(to.add(x), S::mul_add(sum, scale, S::load(here.add(x))));
            }
            let sums = sums.add(RADIUS);
            for x in (0..pitch).step_by(S::LANES) {
                let sum = S::add(S::load(sums.add(x)), S::load(entering.add(x)));
                S::store(sums.add(x), S::sub(sum, S::load(leaving.add(x))));
            }
        }
    }
}

/// Sets `to` to the sums of four values of `line` from every place on.
///
/// # Safety
/// As [`Simd`]; both are good for `length` + 2 · [`RADIUS`] + 2 · [`WIDEST`] values, `length` is a multiple of
/// [`WIDEST`].
#[inline(always)]
pub(super) unsafe fn quads<S: Simd>(line: *const f32, to: *mut f32, length: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        for x in (0..length + WIDEST).step_by(S::LANES) {
            let line = line.add(x);
            let pairs = S::add(S::load(line), S::load(line.add(1)));
            S::store(to.add(x), S::add(pairs, S::add(S::load(line.add(2)), S::load(line.add(3)))));
        }
    }
}

/// Sums of 17 values of `line` from x on, given its [`quads`].
///
/// # Safety
/// As [`quads`], for x below its length.
#[inline(always)]
pub(super) unsafe fn window_sum<S: Simd>(line: *const f32, quads: *const f32, x: usize) -> S::V {
    const { assert!(WINDOW == 17, "four quads and one") }
    // SAFETY: the caller's contract.
    unsafe {
        let quads = quads.add(x);
        let eight = S::add(S::load(quads), S::load(quads.add(4)));
        let sixteen = S::add(eight, S::add(S::load(quads.add(8)), S::load(quads.add(12))));
        S::add(sixteen, S::load(line.add(x + 16)))
    }
}
