//! eˣ, the sigmoid and the activations on vectors.

use super::Simd;
use crate::layer::{Activation, LEAKY_SLOPE};

/// eˣ to about 1 ulp for |x| ≤ 87.3, saturating beyond (Cephes `expf`: range reduction by ln 2 in two
/// parts, then a polynomial of degree 5). Not a number gives a finite value: callers multiply by x.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: passed on to the caller.
    unsafe {
        let x = S::min(S::max(x, S::splat(-87.3)), S::splat(87.3));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::mul_add(n, S::splat(-355.0 / 512.0), x);
        let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = S::mul_add(p, r, S::splat(c));
        }
        let y = S::add(S::mul_add(p, S::mul(r, r), r), S::splat(1.0));
        S::mul(y, S::power_of_two(n))
    }
}

/// 1/(1 + e⁻ᶻ).
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn sigmoid<S: Simd>(z: S::V) -> S::V {
    // SAFETY: passed on to the caller.
    unsafe { S::div(S::splat(1.0), S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), z)))) }
}

/// Hands over the index of each z with f, f′ and f″ there; unused ones are optimised away.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd, const N: usize>(
    activation: Activation,
    z: [S::V; N],
    mut hand_over: impl FnMut(usize, S::V, S::V, S::V),
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let one = S::splat(1.0);
        match activation {
            Activation::Identity => {
                for (i, z) in z.into_iter().enumerate() {
                    hand_over(i, z, one, S::splat(0.0));
                }
            }
            Activation::Silu => {
                for (i, z) in z.into_iter().enumerate() {
                    let s = sigmoid::<S>(z);
                    let a = S::mul(z, s);
                    let rest = S::sub(one, s);
                    let slope = S::mul_add(a, rest, s);
                    let two = S::splat(2.0);
                    let bend = S::mul_add(z, S::sub(one, S::mul(two, s)), two);
                    hand_over(i, a, slope, S::mul(S::mul(s, rest), bend));
                }
            }
            Activation::LeakyRelu => {
                for (i, z) in z.into_iter().enumerate() {
                    let slope = S::where_negative(z, S::splat(LEAKY_SLOPE), one);
                    hand_over(i, S::mul(z, slope), slope, S::splat(0.0));
                }
            }
        }
    }
}
