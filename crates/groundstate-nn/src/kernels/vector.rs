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
