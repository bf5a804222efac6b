//! Plain arrays: what every processor can run, and, with one lane, the ends of rows in every backend.

use super::Simd;

/// `N` lanes of ordinary arithmetic. Fused multiply-add is used only where it is part of the build target:
/// elsewhere it would be a library call.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const N: usize>;

const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// The vector of [`Portable`], aligned so that the compiler keeps it in registers.
#[derive(Clone, Copy)]
#[repr(align(16))]
pub(crate) struct Lanes<const N: usize>([f32; N]);

/// A number in half precision by its bits.
#[inline(always)]
fn single(half: u16) -> f32 {
    // The exponent's bias is 15 in the one, 127 in the other; numbers below the least normal one come out right, too.
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let half = u32::from(half);
    let sign = (half & 0x8000) << 16;
    let magnitude = f32::from_bits((half & 0x7fff) << 13) * REBIAS;
    f32::from_bits(magnitude.to_bits() | sign)
}

#[inline(always)]
fn zip<const N: usize>(a: Lanes<N>, b: Lanes<N>, f: impl Fn(f32, f32) -> f32) -> Lanes<N> {
    let mut out = a;
    for i in 0..N {
        out.0[i] = f(a.0[i], b.0[i]);
    }
    out
}

impl<const N: usize> Simd for Portable<N> {
    const LANES: usize = N;
    type V = Lanes<N>;
    type Narrow = Self;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Lanes<N> {
        Lanes([value; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Lanes<N> {
        // SAFETY: the caller answers for `N` readable values.
        Lanes(unsafe { from.cast::<[f32; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Lanes<N> {
        // SAFETY: the caller answers for `N` readable values.
        Lanes(unsafe { from.cast::<[u16; N]>().read_unaligned() }.map(single))
    }
    #[inline(always)]
    unsafe fn load_byte(from: *const i8) -> Lanes<N> {
        // SAFETY: the caller answers for `N` readable values.
        Lanes(unsafe { from.cast::<[i8; N]>().read_unaligned() }.map(f32::from))
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Lanes<N>) {
        // SAFETY: the caller answers for `N` writable values.
        unsafe { to.cast::<[f32; N]>().write_unaligned(value.0) }
    }
    #[inline(always)]
    unsafe fn add(a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: Lanes<N>, b: Lanes<N>, c: Lanes<N>) -> Lanes<N> {
        let mut out = c;
        for i in 0..N {
            out.0[i] = if FUSED { a.0[i].mul_add(b.0[i], c.0[i]) } else { a.0[i] * b.0[i] + c.0[i] };
        }
        out
    }
    #[inline(always)]
    unsafe fn sqrt(a: Lanes<N>) -> Lanes<N> {
        zip(a, a, |a, _| a.sqrt())
    }
    #[inline(always)]
    unsafe fn sum(a: Lanes<N>) -> f32 {
        let mut sum = a.0[0];
        for value in &a.0[1..] {
            sum += value;
        }
        sum
    }
    #[inline(always)]
    unsafe fn max(a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(a: Lanes<N>) -> Lanes<N> {
        // Adding and taking away 1.5 · 2²³ rounds |a| < 2²² to even, without a library call.
        const MAGIC: f32 = 12_582_912.0;
        zip(a, a, |a, _| (a + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn power_of_two(n: Lanes<N>) -> Lanes<N> {
        zip(n, n, |n, _| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn where_negative(z: Lanes<N>, a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
        let mut out = b;
        for i in 0..N {
            out.0[i] = if z.0[i] < 0.0 { a.0[i] } else { b.0[i] };
        }
        out
    }
}
