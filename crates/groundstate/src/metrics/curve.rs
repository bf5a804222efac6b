//! Areas and optima of curves, from cumulative counts at decreasing thresholds.

use serde::{Deserialize, Serialize};

/// Largest distance, in either axis, between a thinned curve and the exact one.
const PLOT_TOLERANCE: f64 = 0.001;

/// How many samples of either class lie at or above a threshold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) threshold: f64,
    pub(super) positives: u64,
    pub(super) negatives: u64,
}

/// Area under the ROC curve with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Auroc {
    /// The area, in `[0, 1]`.
    pub value: f64,
    /// Lower end of the interval, in `[0, value]`.
    pub low: f64,
    /// Upper end of the interval, in `[value, 1]`.
    pub high: f64,
}

/// The best F1 and where it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct F1Max {
    /// 2PR / (P + R), in `(0, 1]`.
    pub value: f64,
    /// The highest score t at which "anomalous where score ≥ t" reaches `value`.
    pub threshold: f64,
}

/// Area under the ROC curve, tied scores counting one half.
pub(super) fn auroc(cuts: impl Iterator<Item = Cut>, positives: u64, negatives: u64) -> f64 {
    let mut before = (0, 0);
    let mut doubled: u128 = 0;
    for cut in cuts {
        let tied_positives = cut.positives - before.0;
        let tied_negatives = cut.negatives - before.1;
        let below = negatives - cut.negatives;
        doubled += u128::from(tied_positives) * u128::from(2 * below + tied_negatives);
        before = (cut.positives, cut.negatives);
    }
    doubled as f64 / (2.0 * positives as f64 * negatives as f64)
}

/// Σ (Rₖ − Rₖ₋₁) Pₖ over distinct thresholds.
pub(super) fn average_precision(cuts: impl Iterator<Item = Cut>, positives: u64) -> f64 {
    let mut before = 0;
    let mut sum = 0.0;
    for cut in cuts {
        let precision = cut.positives as f64 / (cut.positives + cut.negatives) as f64;
        sum += (cut.positives - before) as f64 * precision;
        before = cut.positives;
    }
    sum / positives as f64
}

/// The highest F1 = 2TP / (TP + FP + P), first reached from above.
pub(super) fn f1_max(cuts: impl Iterator<Item = Cut>, positives: u64) -> F1Max {
    let mut best = F1Max { value: 0.0, threshold: f64::INFINITY };
    for cut in cuts {
        let value = 2.0 * cut.positives as f64 / (cut.positives + cut.negatives + positives) as f64;
        if value > best.value {
            best = F1Max { value, threshold: cut.threshold };
        }
    }
    best
}

/// Thinned points `[false-positive rate, true-positive rate]`, from `[0, 0]` to `[1, 1]`.
pub(super) fn roc(cuts: impl Iterator<Item = Cut>, positives: u64, negatives: u64) -> Vec<[f64; 2]> {
    let rates =
        cuts.map(|cut| [cut.negatives as f64 / negatives as f64, cut.positives as f64 / positives as f64]);
    thin(std::iter::once([0.0, 0.0]).chain(rates), 1.0)
}

/// Drops points of a monotone curve that a plot `width` wide and 1 high cannot show.
///
/// A point is kept, together with the one before it, when it is a tolerance away from the last one
/// kept; corners and jumps therefore stay where they are.
pub(super) fn thin(points: impl Iterator<Item = [f64; 2]>, width: f64) -> Vec<[f64; 2]> {
    let mut kept: Vec<[f64; 2]> = Vec::new();
    let mut skipped = None;
    for point in points {
        let Some(last) = kept.last() else {
            kept.push(point);
            continue;
        };
        let far = (point[0] - last[0]).abs() >= PLOT_TOLERANCE * width
            || (point[1] - last[1]).abs() >= PLOT_TOLERANCE;
        if far {
            kept.extend(skipped.take());
            kept.push(point);
        } else {
            skipped = Some(point);
        }
    }
    kept.extend(skipped);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_corners_and_both_ends() {
        let steps = (0..=10_000).map(|i| {
            let x = f64::from(i) / 10_000.0;
            [x, if x < 0.5 { 0.0 } else { 1.0 }]
        });
        let kept = thin(steps, 1.0);
        assert!(kept.len() < 2_500, "{}", kept.len());
        assert!(kept.contains(&[0.4999, 0.0]) && kept.contains(&[0.5, 1.0]));
        assert_eq!((kept[0], kept[kept.len() - 1]), ([0.0, 0.0], [1.0, 1.0]));
    }
}
