//! Scaled weight standardisation by the definition (Brock et al. 2021, *Characterizing signal propagation to close the
//! performance gap in unnormalized ResNets*).

use crate::layer::STANDARDISE_EPSILON;
use crate::real::Real;

/// u = (w − mean)·s and s = 1/√(Σ(w − mean)² + ε) of one output channel, over the rows of a `fan_in × out` matrix.
fn unit<T: Real>(weight: &[T], channel: usize, out: usize) -> (Vec<T>, T) {
    let weights = || weight.iter().skip(channel).step_by(out).map(|w| w.to_f64());
    let mean = weights().sum::<f64>() / (weight.len() / out) as f64;
    let squares: f64 = weights().map(|w| (w - mean) * (w - mean)).sum();
    let scale = 1.0 / (squares + STANDARDISE_EPSILON).sqrt();
    (weights().map(|w| T::from_f64((w - mean) * scale)).collect(), T::from_f64(scale))
}

/// Writes gain · u into `acting`.
///
/// # Shapes
/// `weight`, `acting`: `fan_in, out`; `gain`: `out`.
pub(super) fn standardise<T: Real>(weight: &[T], gain: &[T], acting: &mut [T]) {
    let out = gain.len();
    for (channel, &gain) in gain.iter().enumerate() {
        let (unit, _) = unit(weight, channel, out);
        for (row, unit) in unit.into_iter().enumerate() {
            acting[row * out + channel] = gain * unit;
        }
    }
}

/// The gradients of weights and gains that the gradient `d_acting` of the acting weights implies:
/// ∂/∂gain = Σ d·u and ∂/∂w = gain · s · (d − mean(d) − u · Σ d·u), because Σ u = 0.
pub(super) fn standardise_gradient<T: Real>(weight: &[T], gain: &[T], d_acting: &[T]) -> (Vec<T>, Vec<T>) {
    let out = gain.len();
    let fan_in = T::from_f64((weight.len() / out) as f64);
    let (mut d_weight, mut d_gain) = (vec![T::ZERO; weight.len()], Vec::with_capacity(out));
    for (channel, &gain) in gain.iter().enumerate() {
        let (unit, scale) = unit(weight, channel, out);
        let d = || d_acting.iter().skip(channel).step_by(out).copied();
        let sum = |terms: &mut dyn Iterator<Item = T>| terms.fold(T::ZERO, |sum, term| sum + term);
        let mean = sum(&mut d()) / fan_in;
        let along = sum(&mut d().zip(&unit).map(|(d, &u)| d * u));
        for (row, (d, &u)) in d().zip(&unit).enumerate() {
            d_weight[row * out + channel] = gain * scale * (d - mean - u * along);
        }
        d_gain.push(along);
    }
    (d_weight, d_gain)
}
