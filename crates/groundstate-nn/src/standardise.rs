//! Scaled weight standardisation: from stored weights to the weights that act, and gradients back.
//!
//! Weights are laid out `k, k, in, out`, so the statistics of one output channel are taken over the rows of a
//! `fan_in × out` matrix. Channels are worked on in groups, so that rows are read in order; threads share a matrix
//! by its groups.

use crate::real::Real;

/// Keeps the division finite for constant weights; the value of Brock et al. 2021.
const EPSILON: f64 = 1e-4;
/// Channels in a group.
pub(crate) const GROUP: usize = 16;

/// One number per channel of a group.
type Numbers = [f64; GROUP];

/// Per channel of a group: the mean, and 1/√(var · fan_in + ε).
struct Statistics {
    mean: Numbers,
    scale: Numbers,
}

/// The channels of a row from `at` on; channels beyond `count` are 0.
#[inline(always)]
fn read<T: Real>(matrix: &[T], at: usize, count: usize) -> Numbers {
    let mut numbers = [0.0; GROUP];
    // The whole group has a length known to the compiler, which makes vectors of it.
    if count == GROUP {
        let values: &[T; GROUP] = matrix[at..].first_chunk().expect("a whole group");
        for i in 0..GROUP {
            numbers[i] = values[i].to_f64();
        }
    } else {
        for i in 0..count {
            numbers[i] = matrix[at + i].to_f64();
        }
    }
    numbers
}

#[inline(always)]
fn statistics<T: Real>(weight: &[T], out: usize, first: usize) -> Statistics {
    let (fan_in, count) = (weight.len() / out, GROUP.min(out - first));
    let mut mean = [0.0; GROUP];
    for row in 0..fan_in {
        let w = read(weight, row * out + first, count);
        for i in 0..GROUP {
            mean[i] += w[i];
        }
    }
    for m in &mut mean {
        *m /= fan_in as f64;
    }
    let mut squares = [0.0; GROUP];
    for row in 0..fan_in {
        let w = read(weight, row * out + first, count);
        for i in 0..GROUP {
            squares[i] += (w[i] - mean[i]) * (w[i] - mean[i]);
        }
    }
    let mut scale = [0.0; GROUP];
    for i in 0..GROUP {
        scale[i] = 1.0 / (squares[i] + EPSILON).sqrt();
    }
    Statistics { mean, scale }
}

/// Writes `gain · (w − mean)/√(var · fan_in + ε)` into `acting`, for the group of channels from `first` on.
///
/// # Shapes
/// `weight`, `acting`: `fan_in, out`; `gain`: `out`.
///
/// # Safety
/// `acting` is writable, and no other thread touches these channels of it.
#[inline(always)]
pub(crate) unsafe fn standardise_group<T: Real>(weight: &[T], gain: &[T], first: usize, acting: *mut T) {
    let out = gain.len();
    let count = GROUP.min(out - first);
    let Statistics { mean, mut scale } = statistics(weight, out, first);
    let gain = read(gain, first, count);
    for i in 0..GROUP {
        scale[i] *= gain[i];
    }
    for row in 0..weight.len() / out {
        let at = row * out + first;
        let w = read(weight, at, count);
        for i in 0..count {
            // SAFETY: the caller's contract.
            unsafe { *acting.add(at + i) = T::from_f64(scale[i] * (w[i] - mean[i])) }
        }
    }
}

/// Adds to `d_weight` and `d_gain` what the gradient `d_acting` of the acting weights implies, for the group of
/// channels from `first` on.
///
/// With u = (w − mean)·s and s = 1/√(Σ(w − mean)² + ε): ∂/∂gain = Σ d·u and
/// ∂/∂w = gain · s · (d − mean(d) − u · Σ d·u), because Σ u = 0.
///
/// # Safety
/// `d_weight` and `d_gain` are readable and writable, and no other thread touches these channels of them.
#[inline(always)]
pub(crate) unsafe fn standardise_gradient_group<T: Real>(
    (weight, gain): (&[T], &[T]),
    d_acting: &[T],
    first: usize,
    d_weight: *mut T,
    d_gain: *mut T,
) {
    let out = gain.len();
    let (fan_in, count) = (weight.len() / out, GROUP.min(out - first));
    let Statistics { mean, scale } = statistics(weight, out, first);
    let (mut d_mean, mut along) = ([0.0; GROUP], [0.0; GROUP]);
    for row in 0..fan_in {
        let at = row * out + first;
        let (d, w) = (read(d_acting, at, count), read(weight, at, count));
        for i in 0..GROUP {
            d_mean[i] += d[i];
            along[i] += d[i] * ((w[i] - mean[i]) * scale[i]);
        }
    }
    let gain = read(gain, first, count);
    for i in 0..count {
        d_mean[i] /= fan_in as f64;
        // SAFETY: the caller's contract.
        unsafe { *d_gain.add(first + i) += T::from_f64(along[i]) }
    }
    for row in 0..fan_in {
        let at = row * out + first;
        let (d, w) = (read(d_acting, at, count), read(weight, at, count));
        for i in 0..count {
            let u = (w[i] - mean[i]) * scale[i];
            let value = gain[i] * scale[i] * (d[i] - d_mean[i] - u * along[i]);
            // SAFETY: the caller's contract.
            unsafe { *d_weight.add(at + i) += T::from_f64(value) }
        }
    }
}

/// [`standardise_group`] for all channels.
pub(crate) fn standardise<T: Real>(weight: &[T], gain: &[T], acting: &mut [T]) {
    assert_eq!(weight.len(), acting.len(), "as many weights act as are stored");
    for first in (0..gain.len()).step_by(GROUP) {
        // SAFETY: lengths as above, and exclusive.
        unsafe { standardise_group(weight, gain, first, acting.as_mut_ptr()) }
    }
}

/// [`standardise_gradient_group`] for all channels.
pub(crate) fn standardise_gradient<T: Real>(
    weight: &[T],
    gain: &[T],
    d_acting: &[T],
    d_weight: &mut [T],
    d_gain: &mut [T],
) {
    assert_eq!((weight.len(), gain.len()), (d_weight.len(), d_gain.len()), "gradients of the same form");
    for first in (0..gain.len()).step_by(GROUP) {
        let (d_weight, d_gain) = (d_weight.as_mut_ptr(), d_gain.as_mut_ptr());
        // SAFETY: lengths as above, and exclusive.
        unsafe { standardise_gradient_group((weight, gain), d_acting, first, d_weight, d_gain) }
    }
}
