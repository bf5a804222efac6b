//! Scaled weight standardisation: from stored weights to the weights that act, and gradients back.
//!
//! Runs on parameters once per load, outside the kernels. Weights are laid out `k, k, in, out`, so the
//! statistics of one output channel are taken over the rows of a `fan_in × out` matrix. Channels are worked
//! on in groups, so that rows are read in order.

use crate::real::Real;

/// Keeps the division finite for constant weights; the value of Brock et al. 2021.
const EPSILON: f64 = 1e-4;
/// Channels in a group.
const GROUP: usize = 16;

/// One number per channel of a group.
type Group = [f64; GROUP];

/// Per channel of a group: the mean, and 1/√(var · fan_in + ε).
struct Statistics {
    mean: Group,
    scale: Group,
}

/// The channels from `first` on of each row of a matrix; channels beyond the last are 0.
fn rows<T: Real>(matrix: &[T], out: usize, first: usize) -> impl Iterator<Item = Group> {
    matrix.chunks_exact(out).map(move |row| group(&row[first..]))
}

fn group<T: Real>(values: &[T]) -> Group {
    let mut group = [0.0; GROUP];
    // The whole group has a length known to the compiler, which makes vectors of it.
    if let Some(values) = values.first_chunk::<GROUP>() {
        group.iter_mut().zip(values).for_each(|(g, v)| *g = v.to_f64());
    } else {
        group.iter_mut().zip(values).for_each(|(g, v)| *g = v.to_f64());
    }
    group
}

fn statistics<T: Real>(weight: &[T], out: usize, first: usize) -> Statistics {
    let fan_in = (weight.len() / out) as f64;
    let mut mean = [0.0; GROUP];
    for row in rows(weight, out, first) {
        mean.iter_mut().zip(row).for_each(|(m, w)| *m += w);
    }
    mean.iter_mut().for_each(|m| *m /= fan_in);
    let mut squares = [0.0; GROUP];
    for row in rows(weight, out, first) {
        for ((s, w), m) in squares.iter_mut().zip(row).zip(mean) {
            *s += (w - m) * (w - m);
        }
    }
    Statistics { mean, scale: squares.map(|s| 1.0 / (s + EPSILON).sqrt()) }
}

/// Writes `gain · (w − mean)/√(var · fan_in + ε)` into `acting`.
///
/// # Shapes
/// `weight`, `acting`: `fan_in, out`; `gain`: `out`.
pub(crate) fn standardise<T: Real>(weight: &[T], gain: &[T], acting: &mut [T]) {
    let out = gain.len();
    for first in (0..out).step_by(GROUP) {
        let Statistics { mean, mut scale } = statistics(weight, out, first);
        scale.iter_mut().zip(group(&gain[first..])).for_each(|(s, g)| *s *= g);
        for (row, acting) in rows(weight, out, first).zip(acting.chunks_exact_mut(out)) {
            let mut values = row;
            for ((v, m), s) in values.iter_mut().zip(mean).zip(scale) {
                *v = s * (*v - m);
            }
            acting[first..].iter_mut().zip(values).for_each(|(a, v)| *a = T::from_f64(v));
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
    for first in (0..out).step_by(GROUP) {
        let Statistics { mean, scale } = statistics(weight, out, first);
        let (mut d_mean, mut along) = ([0.0; GROUP], [0.0; GROUP]);
        for (d, w) in rows(d_acting, out, first).zip(rows(weight, out, first)) {
            for i in 0..GROUP {
                d_mean[i] += d[i] / fan_in;
                along[i] += d[i] * (w[i] - mean[i]) * scale[i];
            }
        }
        d_gain[first..].iter_mut().zip(along).for_each(|(target, a)| *target += T::from_f64(a));
        let gain = group(&gain[first..]);
        let given = rows(d_acting, out, first).zip(rows(weight, out, first));
        for (target, (d, w)) in d_weight.chunks_exact_mut(out).zip(given) {
            let mut values = d;
            for i in 0..GROUP {
                let u = (w[i] - mean[i]) * scale[i];
                values[i] = gain[i] * scale[i] * (d[i] - d_mean[i] - u * along[i]);
            }
            target[first..].iter_mut().zip(values).for_each(|(t, v)| *t += T::from_f64(v));
        }
    }
}
