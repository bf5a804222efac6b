//! Image scores: one number per picture, several ways.

use std::collections::BTreeMap;

use super::{Maps, Reading, fused};
use crate::image::Map;

/// Share of a map's positions that a `top` score averages.
const TOP_SHARE: f64 = 0.005;

/// Image scores by name; higher is more anomalous. Names are those of [`SCORE_NAMES`].
pub type Scores = BTreeMap<String, f64>;

/// Every image score and what it is, in the order of the documentation.
pub const SCORE_NAMES: [(&str, &str); 16] = [
    ("energy", "E: mean of the local energies"),
    ("energy_max", "highest stabilised local energy"),
    ("energy_top", "mean of the highest 0.5 % of the energy map"),
    ("energy_lse", "log-mean-exp of the local energies"),
    ("energy_z_max", "highest normalised local energy"),
    ("energy_z_top", "mean of the highest 0.5 % of the normalised energy map"),
    ("energy_moderated_top", "mean of the highest 0.5 % of the energy map, normalised by half"),
    ("gradient_l1", "mean absolute gradient"),
    ("gradient_l2", "root mean square of the gradient"),
    ("gradient_max", "highest value of the gradient map"),
    ("gradient_top", "mean of the highest 0.5 % of the gradient map"),
    ("gradient_z_mean", "mean of the normalised gradient map"),
    ("gradient_z_max", "highest value of the normalised gradient map"),
    ("gradient_z_top", "mean of the highest 0.5 % of the normalised gradient map"),
    ("fused_z_max", "highest value of the sum of both normalised maps"),
    ("fused_z_top", "mean of the highest 0.5 % of the sum of both normalised maps"),
];

/// Scores that are made of local energies alone; they come first in [`SCORE_NAMES`].
const OF_ENERGIES: usize = 7;

/// Whether an image score takes the gradient at the pixels and not the local energies alone.
pub fn needs_gradient(score: &str) -> bool {
    SCORE_NAMES[OF_ENERGIES..].iter().any(|(name, _)| *name == score)
}

impl Maps {
    /// The image scores of the picture that these maps belong to: all of them if its gradient was read,
    /// else those of local energies.
    pub fn scores(&self, reading: &Reading) -> Scores {
        let local = &reading.local.values;
        let mut values = vec![
            mean(local.iter().map(|&e| f64::from(e))),
            highest(&self.energy),
            top(&self.energy),
            log_mean_exp(local),
            highest(&self.energy_z),
            top(&self.energy_z),
            top(&self.energy_moderated),
        ];
        if let (Some(gradient), Some(maps)) = (&reading.gradient, &self.gradient) {
            let (energy_z, gradient_z) = (&self.energy_z, &maps.z);
            // On the finer of both grids.
            let (width, height) =
                (energy_z.width.max(gradient_z.width), energy_z.height.max(gradient_z.height));
            let fused = fused(energy_z, gradient_z, width, height);
            values.extend([
                gradient.mean_absolute,
                gradient.root_mean_square,
                highest(&maps.log),
                top(&maps.log),
                mean(gradient_z.values.iter().map(|&v| f64::from(v))),
                highest(gradient_z),
                top(gradient_z),
                highest(&fused),
                top(&fused),
            ]);
        }
        SCORE_NAMES.iter().zip(values).map(|((name, _), value)| ((*name).to_owned(), value)).collect()
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    values.sum::<f64>() / count as f64
}

fn highest(map: &Map) -> f64 {
    f64::from(map.values.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// Mean of the highest 0.5 % of the values, at least one.
fn top(map: &Map) -> f64 {
    let count = ((map.values.len() as f64 * TOP_SHARE).round() as usize).clamp(1, map.values.len());
    let mut values = map.values.clone();
    values.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    values[..count].sort_unstable_by(f32::total_cmp);
    mean(values[..count].iter().map(|&v| f64::from(v)))
}

fn log_mean_exp(values: &[f32]) -> f64 {
    let peak = f64::from(values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    peak + mean(values.iter().map(|&v| (f64::from(v) - peak).exp())).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_is_the_mean_of_the_highest_two_hundredth() {
        let map = Map { width: 20, height: 20, values: (0..400).map(|i| ((i * 37) % 400) as f32).collect() };
        assert_eq!(top(&map), 398.5);
        assert_eq!(top(&Map::filled(2, 2, 3.0)), 3.0);
    }

    #[test]
    fn log_mean_exp_of_equal_values_is_that_value() {
        assert!((log_mean_exp(&[1000.0; 5]) - 1000.0).abs() < 1e-9);
    }
}
