//! Scaled weight standardisation: from stored weights to the weights that act, and gradients back.
//!
//! Runs on parameters once per load, outside the kernels. Weights are laid out `k, k, in, out`, so the
//! statistics of one output channel are taken over the rows of a `fan_in × out` matrix.

use crate::real::Real;

/// Keeps the division finite for constant weights; the value of Brock et al. 2021.
const EPSILON: f64 = 1e-4;

/// Mean and `1/√(var · fan_in + ε)` of one output channel.
fn statistics<T: Real>(weight: &[T], out: usize, channel: usize) -> (f64, f64) {
    let column = || weight.iter().skip(channel).step_by(out).map(|w| w.to_f64());
    let fan_in = (weight.len() / out) as f64;
    let mean = column().sum::<f64>() / fan_in;
    let variance = column().map(|w| (w - mean) * (w - mean)).sum::<f64>() / fan_in;
    (mean, 1.0 / (variance * fan_in + EPSILON).sqrt())
}

/// Writes `gain · (w − mean)/√(var · fan_in + ε)` into `acting`.
///
/// # Shapes
/// `weight`, `acting`: `fan_in, out`; `gain`: `out`.
pub(crate) fn standardise<T: Real>(weight: &[T], gain: &[T], acting: &mut [T]) {
    let out = gain.len();
    for (channel, &g) in gain.iter().enumerate() {
        let (mean, scale) = statistics(weight, out, channel);
        let stored = weight.iter().skip(channel).step_by(out);
        for (a, w) in acting.iter_mut().skip(channel).step_by(out).zip(stored) {
            *a = T::from_f64(g.to_f64() * scale * (w.to_f64() - mean));
        }
    }
}

/// Adds to `d_weight` and `d_gain` what the gradient `d_acting` of the acting weights implies.
///
/// With u = (w − mean)·s and s = 1/√(Σ(w − mean)² + ε): ∂/∂gain = Σ d·u and
/// ∂/∂w = gain · s · (d − mean(d) − u · Σ d·u), because Σ u = 0.
pub(crate) fn standardise_gradient<T: Real>(
    weight: &[T],
    gain: &[T],
    d_acting: &[T],
    d_weight: &mut [T],
    d_gain: &mut [T],
) {
    let out = gain.len();
    let fan_in = (weight.len() / out) as f64;
    for channel in 0..out {
        let (mean, scale) = statistics(weight, out, channel);
        let pairs = || {
            let d = d_acting.iter().skip(channel).step_by(out);
            d.zip(weight.iter().skip(channel).step_by(out))
                .map(move |(d, w)| (d.to_f64(), (w.to_f64() - mean) * scale))
        };
        let d_mean = pairs().map(|(d, _)| d).sum::<f64>() / fan_in;
        let along = pairs().map(|(d, u)| d * u).sum::<f64>();
        d_gain[channel] += T::from_f64(along);
        let factor = gain[channel].to_f64() * scale;
        for (target, (d, u)) in d_weight.iter_mut().skip(channel).step_by(out).zip(pairs()) {
            *target += T::from_f64(factor * (d - d_mean - u * along));
        }
    }
}
