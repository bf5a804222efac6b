//! Dot products, scaled sums and half precision of vectors.

use super::Task;
use crate::simd::{Portable, Simd};

/// What is left of a row.
type One = Portable<1>;

/// Σ a · b.
pub(crate) struct Dot<'a> {
    pub(crate) a: &'a [f32],
    pub(crate) b: &'a [f32],
}

/// Adds `factor` · `from` to `to`.
pub(crate) struct AddScaled<'a> {
    pub(crate) to: &'a mut [f32],
    pub(crate) from: &'a [f32],
    pub(crate) factor: f32,
}

/// Sets numbers to finite half-precision ones.
pub(crate) struct Widen<'a> {
    pub(crate) halves: &'a [u16],
    pub(crate) to: &'a mut [f32],
}

/// Sets rows to finite half-precision numbers less `origin`, which is as long as a row.
pub(crate) struct WidenLess<'a> {
    pub(crate) halves: &'a [u16],
    pub(crate) origin: &'a [f32],
    pub(crate) to: &'a mut [f32],
}

impl Task for Widen<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { halves, to } = self;
        assert_eq!(halves.len(), to.len(), "there is a number for each");
        let whole = to.len() / S::LANES * S::LANES;
        // SAFETY: whole vectors, then single values, inside the slices.
        unsafe {
            for at in (0..whole).step_by(S::LANES) {
                S::store(to.as_mut_ptr().add(at), S::load_half(halves.as_ptr().add(at)));
            }
            for at in whole..to.len() {
                One::store(to.as_mut_ptr().add(at), One::load_half(halves.as_ptr().add(at)));
            }
        }
    }
}

impl Task for WidenLess<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { halves, origin, to } = self;
        // SAFETY: passed on.
        unsafe { Widen { halves, to: &mut *to }.run::<S>() };
        for to in to.chunks_mut(origin.len()) {
            to.iter_mut().zip(origin).for_each(|(to, origin)| *to -= origin);
        }
    }
}

impl Task for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let Self { a, b } = self;
        assert_eq!(a.len(), b.len(), "vectors of a dot product are equally long");
        let whole = a.len() / (4 * S::LANES) * (4 * S::LANES);
        // SAFETY: the caller's contract.
        let mut sums = unsafe { [S::splat(0.0); 4] };
        let mut tail = 0.0;
        // SAFETY: whole vectors inside the slices.
        unsafe {
            for x in (0..whole).step_by(4 * S::LANES) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let at = x + i * S::LANES;
                    *sum = S::mul_add(S::load(a.as_ptr().add(at)), S::load(b.as_ptr().add(at)), *sum);
                }
            }
            for (a, b) in a[whole..].iter().zip(&b[whole..]) {
                tail += a * b;
            }
            tail + S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])))
        }
    }
}

/// A part of equally long rows, some distance apart.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// All rows.
    pub values: &'a [f32],
    /// Values from one row to the next.
    pub pitch: usize,
    /// The first column of the part.
    pub first: usize,
}

impl Rows<'_> {
    fn count(&self) -> usize {
        self.values.len().checked_div(self.pitch).unwrap_or(0)
    }

    /// The start of a row of which `length` values are wanted.
    #[inline(always)]
    fn row(&self, row: usize, length: usize) -> *const f32 {
        self.values[row * self.pitch + self.first..][..length].as_ptr()
    }
}

/// Rows whose products with a vector are taken at once.
const AT_ONCE: usize = 4;

/// Σ row · vector of every vector and row: vectors × rows.
pub(crate) struct Dots<'a, 'b> {
    pub(crate) rows: Rows<'a>,
    pub(crate) vectors: &'a [&'b [f32]],
    pub(crate) to: &'a mut [f32],
}

/// Adds to every vector the rows, times `factors` (vectors × rows).
pub(crate) struct AddRows<'a, 'b> {
    pub(crate) rows: Rows<'a>,
    pub(crate) factors: &'a [f32],
    pub(crate) vectors: &'a mut [&'b mut [f32]],
}

impl Task for Dots<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, vectors, to } = self;
        let count = rows.count();
        assert_eq!(to.len(), vectors.len() * count);
        for first in (0..count).step_by(AT_ONCE) {
            for (p, vector) in vectors.iter().enumerate() {
                let to = &mut to[p * count + first..(p + 1) * count];
                // SAFETY: passed on.
                unsafe {
                    if to.len() >= AT_ONCE {
                        dots::<S, AT_ONCE>(rows, first, vector, to);
                    } else {
                        for (by, to) in to.chunks_exact_mut(1).enumerate() {
                            dots::<S, 1>(rows, first + by, vector, to);
                        }
                    }
                }
            }
        }
    }
}

/// Products of `N` rows with a vector.
#[inline(always)]
unsafe fn dots<S: Simd, const N: usize>(rows: Rows, first: usize, vector: &[f32], to: &mut [f32]) {
    let length = vector.len();
    let whole = length / S::LANES * S::LANES;
    let mut from = [std::ptr::null(); N];
    for (by, from) in from.iter_mut().enumerate() {
        *from = rows.row(first + by, length);
    }
    // SAFETY: vectors inside the slices.
    unsafe {
        let mut sums = [S::splat(0.0); N];
        for x in (0..whole).step_by(S::LANES) {
            let value = S::load(vector.as_ptr().add(x));
            for (sum, from) in sums.iter_mut().zip(&from) {
                *sum = S::mul_add(S::load(from.add(x)), value, *sum);
            }
        }
        for ((to, sum), from) in to.iter_mut().zip(sums).zip(from) {
            let mut tail = 0.0;
            for (x, value) in vector.iter().enumerate().skip(whole) {
                tail += value * *from.add(x);
            }
            *to = S::sum(sum) + tail;
        }
    }
}

impl Task for AddRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, factors, vectors } = self;
        let count = rows.count();
        assert_eq!(factors.len(), vectors.len() * count);
        for first in (0..count).step_by(AT_ONCE) {
            for (p, vector) in vectors.iter_mut().enumerate() {
                let factors = &factors[p * count + first..(p + 1) * count];
                // SAFETY: passed on.
                unsafe {
                    if factors.len() >= AT_ONCE {
                        add_rows::<S, AT_ONCE>(rows, first, factors, vector);
                    } else {
                        for (by, factor) in factors.chunks_exact(1).enumerate() {
                            add_rows::<S, 1>(rows, first + by, factor, vector);
                        }
                    }
                }
            }
        }
    }
}

/// Adds `N` rows.
#[inline(always)]
unsafe fn add_rows<S: Simd, const N: usize>(rows: Rows, first: usize, factors: &[f32], vector: &mut [f32]) {
    let length = vector.len();
    let whole = length / S::LANES * S::LANES;
    let mut from = [std::ptr::null(); N];
    for (by, from) in from.iter_mut().enumerate() {
        *from = rows.row(first + by, length);
    }
    // SAFETY: vectors inside the slices.
    unsafe {
        let mut scales = [S::splat(0.0); N];
        for (scale, &factor) in scales.iter_mut().zip(factors) {
            *scale = S::splat(factor);
        }
        for x in (0..whole).step_by(S::LANES) {
            let to = vector.as_mut_ptr().add(x);
            let mut sum = S::load(to);
            for (&scale, from) in scales.iter().zip(&from) {
                sum = S::mul_add(S::load(from.add(x)), scale, sum);
            }
            S::store(to, sum);
        }
        for (x, value) in vector.iter_mut().enumerate().skip(whole) {
            for (factor, from) in factors.iter().zip(&from) {
                *value += factor * *from.add(x);
            }
        }
    }
}

impl Task for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { to, from, factor } = self;
        assert_eq!(to.len(), from.len(), "vectors of a sum are equally long");
        let whole = to.len() / S::LANES * S::LANES;
        // SAFETY: vectors inside the slices.
        unsafe {
            add::<S>(to, from, factor, 0..whole);
            add::<Portable<1>>(to, from, factor, whole..to.len());
        }
    }
}

#[inline(always)]
unsafe fn add<S: Simd>(to: &mut [f32], from: &[f32], factor: f32, range: std::ops::Range<usize>) {
    // SAFETY: the caller's contract.
    unsafe {
        let factor = S::splat(factor);
        for x in range.step_by(S::LANES) {
            let to = to.as_mut_ptr().add(x);
            S::store(to, S::mul_add(S::load(from.as_ptr().add(x)), factor, S::load(to)));
        }
    }
}
