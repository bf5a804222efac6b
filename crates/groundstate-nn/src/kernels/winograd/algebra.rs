//! The transforms of Winograd's minimal filtering, F(4, 3) and F(4, 2).
//!
//! One dimension: y = Aᵀ[(G g) ⊙ (Bᵀ d)] gives 4 outputs of a filter of 3 (or 2) taps from 6 (or 5) inputs;
//! two dimensions apply it to rows, then to columns (Lavin & Gray 2016, §4). The matrices come from the
//! points 0, ±1, ±2, ∞, and 0, ±1, 2, ∞ for two taps. Arrays are of the larger size; the rest is unused.

use crate::simd::Simd;

/// Output pixels along a tile's side.
pub(crate) const STEP: usize = 4;

/// One choice of filter size.
///
/// # Safety
/// All functions as [`Simd`].
pub(super) trait Algebra {
    /// Inputs along a tile's side: [`STEP`] + taps − 1.
    const SIDE: usize;
    /// Filter taps along a side.
    const TAPS: usize;

    /// Bᵀ d.
    unsafe fn input<S: Simd>(d: [S::V; 6]) -> [S::V; 6];
    /// G g.
    unsafe fn weight<S: Simd>(g: [S::V; 3]) -> [S::V; 6];
    /// Aᵀ m.
    unsafe fn output<S: Simd>(m: [S::V; 6]) -> [S::V; 4];
    /// A y: the transpose of `output`.
    unsafe fn output_gradient<S: Simd>(y: [S::V; 4]) -> [S::V; 6];
    /// Gᵀ u: the transpose of `weight`.
    unsafe fn weight_gradient<S: Simd>(u: [S::V; 6]) -> [S::V; 3];
}

/// F(4, 3).
pub(super) struct Three;

impl Algebra for Three {
    const SIDE: usize = 6;
    const TAPS: usize = 3;

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: the caller's contract.
        unsafe {
            let a = S::mul_add(d[2], S::splat(-4.0), d[4]);
            let b = S::mul_add(d[1], S::splat(-4.0), d[3]);
            let even = S::sub(d[4], d[2]);
            let odd = S::mul(S::splat(2.0), S::sub(d[3], d[1]));
            [
                S::mul_add(d[0], S::splat(4.0), S::mul_add(d[2], S::splat(-5.0), d[4])),
                S::add(a, b),
                S::sub(a, b),
                S::add(even, odd),
                S::sub(even, odd),
                S::mul_add(d[1], S::splat(4.0), S::mul_add(d[3], S::splat(-5.0), d[5])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn weight<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: the caller's contract.
        unsafe {
            let outer = S::mul(S::add(g[0], g[2]), S::splat(-1.0 / 6.0));
            let middle = S::mul(g[1], S::splat(-1.0 / 6.0));
            let even = S::mul_add(g[0], S::splat(1.0 / 24.0), S::mul(g[2], S::splat(1.0 / 6.0)));
            let odd = S::mul(g[1], S::splat(1.0 / 12.0));
            [
                S::mul(g[0], S::splat(0.25)),
                S::add(outer, middle),
                S::sub(outer, middle),
                S::add(even, odd),
                S::sub(even, odd),
                g[2],
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: the caller's contract.
        unsafe {
            let (s, d) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (p, q) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            [
                S::add(m[0], S::add(s, p)),
                S::mul_add(q, S::splat(2.0), d),
                S::mul_add(p, S::splat(4.0), s),
                S::add(S::mul_add(q, S::splat(8.0), d), m[5]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output_gradient<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
        // SAFETY: the caller's contract.
        unsafe {
            let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
            let wide = S::mul_add(y[2], S::splat(4.0), y[0]);
            let steep = S::mul(S::splat(2.0), S::mul_add(y[3], S::splat(4.0), y[1]));
            [y[0], S::add(even, odd), S::sub(even, odd), S::add(wide, steep), S::sub(wide, steep), y[3]]
        }
    }

    #[inline(always)]
    unsafe fn weight_gradient<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: the caller's contract.
        unsafe {
            let (s, d) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
            let (p, q) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
            let s = S::mul(s, S::splat(-1.0 / 6.0));
            let d = S::mul(d, S::splat(-1.0 / 6.0));
            [
                S::mul_add(u[0], S::splat(0.25), S::mul_add(p, S::splat(1.0 / 24.0), s)),
                S::mul_add(q, S::splat(1.0 / 12.0), d),
                S::add(S::mul_add(p, S::splat(1.0 / 6.0), s), u[5]),
            ]
        }
    }
}

/// F(4, 2).
pub(super) struct Two;

impl Algebra for Two {
    const SIDE: usize = 5;
    const TAPS: usize = 2;

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
        // SAFETY: the caller's contract.
        unsafe {
            let odd = S::sub(d[3], d[1]);
            let fall = S::sub(d[1], d[2]);
            [
                S::mul_add(S::sub(d[0], d[2]), S::splat(2.0), odd),
                S::sub(S::sub(d[3], d[2]), S::mul(S::splat(2.0), d[1])),
                S::mul_add(fall, S::splat(2.0), S::sub(d[3], d[2])),
                odd,
                S::sub(S::sub(d[4], d[2]), S::mul(S::splat(2.0), odd)),
                S::splat(0.0),
            ]
        }
    }

    #[inline(always)]
    unsafe fn weight<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
        // SAFETY: the caller's contract.
        unsafe {
            [
                S::mul(g[0], S::splat(0.5)),
                S::mul(S::add(g[0], g[1]), S::splat(-0.5)),
                S::mul(S::sub(g[1], g[0]), S::splat(1.0 / 6.0)),
                S::mul_add(g[0], S::splat(1.0 / 6.0), S::mul(g[1], S::splat(1.0 / 3.0))),
                g[1],
                S::splat(0.0),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
        // SAFETY: the caller's contract.
        unsafe {
            let (s, d) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            [
                S::add(m[0], S::add(s, m[3])),
                S::mul_add(m[3], S::splat(2.0), d),
                S::mul_add(m[3], S::splat(4.0), s),
                S::add(S::mul_add(m[3], S::splat(8.0), d), m[4]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output_gradient<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
        // SAFETY: the caller's contract.
        unsafe {
            let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
            let wide = S::mul_add(y[2], S::splat(4.0), y[0]);
            let steep = S::mul_add(y[3], S::splat(4.0), y[1]);
            [
                y[0],
                S::add(even, odd),
                S::sub(even, odd),
                S::mul_add(steep, S::splat(2.0), wide),
                y[3],
                S::splat(0.0),
            ]
        }
    }

    #[inline(always)]
    unsafe fn weight_gradient<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
        // SAFETY: the caller's contract.
        unsafe {
            let half = S::mul_add(u[0], S::splat(0.5), S::mul(u[1], S::splat(-0.5)));
            let sixth = S::mul(S::sub(u[3], u[2]), S::splat(1.0 / 6.0));
            let third = S::mul_add(u[3], S::splat(1.0 / 3.0), u[4]);
            let rest = S::mul_add(u[1], S::splat(-0.5), S::mul(u[2], S::splat(1.0 / 6.0)));
            [S::add(half, sixth), S::add(rest, third), S::splat(0.0)]
        }
    }
}
