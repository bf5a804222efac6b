//! Vectors of f32 behind one small trait, so that each kernel is written once.
//!
//! Kernels are `#[inline(always)]` and generic over [`Simd`]; the entry points in
//! [`kernels`](crate::kernels) carry the `#[target_feature]` that the implementation needs, and only there
//! do the instructions exist.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod exp;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use exp::activate;
pub(crate) use portable::Portable;

/// A vector type and its operations, lane by lane.
///
/// # Safety
/// Every function must only be called, after inlining, from code compiled for and running on a processor
/// that has the implementation's instructions. Pointers need no alignment.
pub(crate) trait Simd: Copy + 'static {
    /// Values in a vector.
    const LANES: usize;
    /// The vector.
    type V: Copy;
    /// A narrower vector for what is left of a row, or the same where there is none; its instructions come
    /// with those of the wider one.
    type Narrow: Simd;

    /// `value` in every lane.
    unsafe fn splat(value: f32) -> Self::V;
    /// Reads `LANES` values.
    unsafe fn load(from: *const f32) -> Self::V;
    /// Reads `LANES` values in half precision by their bits; those that are no finite numbers are undefined.
    unsafe fn load_half(from: *const u16) -> Self::V;
    /// Reads `LANES` integers of one byte.
    unsafe fn load_byte(from: *const i8) -> Self::V;
    /// Writes `LANES` values.
    unsafe fn store(to: *mut f32, value: Self::V);
    /// Asks for the cache line of `at`, which need not be readable, if the processor takes such hints.
    #[inline(always)]
    unsafe fn prefetch(_at: *const f32) {}
    /// a + b.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a − b.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// a · b.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a / b.
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, in one rounding where the processor can.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// √a.
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// The sum of all lanes, in an order of the implementation's own.
    unsafe fn sum(a: Self::V) -> f32;
    /// The larger; `b` where either is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where either is not a number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, halves to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// 2ⁿ for integral n in [−126, 127].
    unsafe fn power_of_two(n: Self::V) -> Self::V;
    /// `a` where z < 0, else `b`.
    unsafe fn where_negative(z: Self::V, a: Self::V, b: Self::V) -> Self::V;
}
