//! Image scores in order of decreasing anomaly.

use super::curve::{self, Auroc, Cut, F1Max};
use super::error::MetricsError;
use super::interval;

/// One score per image, sorted, with both classes present.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Scores with "is anomalous", from the highest score down.
    sorted: Vec<(f64, bool)>,
    anomalous: u64,
    normal: u64,
}

impl Ranking {
    /// Sorts `scores`; `anomalous[i]` is the label of `scores[i]`.
    ///
    /// # Errors
    /// Different lengths, a score that is not finite, or fewer than one image of either class.
    pub fn new(scores: &[f64], anomalous: &[bool]) -> Result<Self, MetricsError> {
        if scores.len() != anomalous.len() {
            return Err(MetricsError::Lengths { scores: scores.len(), labels: anomalous.len() });
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(MetricsError::Score { index, score: scores[index] });
        }
        let positives = anomalous.iter().filter(|&&label| label).count() as u64;
        let negatives = anomalous.len() as u64 - positives;
        if positives == 0 || negatives == 0 {
            return Err(MetricsError::OneClass { unit: "images", normal: negatives, anomalous: positives });
        }
        let mut sorted: Vec<(f64, bool)> = scores.iter().copied().zip(anomalous.iter().copied()).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(Self { sorted, anomalous: positives, normal: negatives })
    }

    /// P(an anomalous image scores higher than a normal one) + ½ P(both score the same), in `[0, 1]`.
    pub fn auroc(&self) -> f64 {
        curve::auroc(self.cuts(), self.anomalous, self.normal)
    }

    /// AUROC with a 95 % interval over images.
    ///
    /// The interval is DeLong's (DeLong, DeLong, Clarke-Pearson 1988) on the logit scale, which keeps
    /// it inside `[0, 1]` and, near 1, honest where the symmetric one is too short. Where DeLong's
    /// variance is zero (perfect separation, all scores tied) or undefined (one image in a class), it
    /// is Newcombe's score-type interval (Newcombe 2006, method 5), which stays informative there: a
    /// perfect AUROC on few images gets a wide interval and not a width of zero.
    pub fn auroc_with_interval(&self) -> Auroc {
        let value = self.auroc();
        let variance = interval::delong_variance(self.cuts(), self.anomalous, self.normal);
        let (low, high) = match variance {
            // A variance of rounding errors only is zero: the smallest real one is of order 1 / n³.
            Some(variance) if variance > 1e-24 => interval::logit(value, variance),
            _ => interval::newcombe(value, self.anomalous, self.normal),
        };
        Auroc { value, low, high }
    }

    /// Step-wise area under precision against recall: Σ (Rₖ − Rₖ₋₁) Pₖ over distinct thresholds, in
    /// `(0, 1]`, without interpolation.
    pub fn average_precision(&self) -> f64 {
        curve::average_precision(self.cuts(), self.anomalous)
    }

    /// The highest F1 over all thresholds, predicting anomalous where score ≥ threshold.
    pub fn f1_max(&self) -> F1Max {
        curve::f1_max(self.cuts(), self.anomalous)
    }

    /// Points `[false-positive rate, true-positive rate]` from `[0, 0]` to `[1, 1]`, thinned for
    /// plotting: no point of the exact curve is further than 0.001 from the drawn one in either rate.
    pub fn roc_curve(&self) -> Vec<[f64; 2]> {
        curve::roc(self.cuts(), self.anomalous, self.normal)
    }

    /// Cumulative counts at every distinct score, from the highest down.
    fn cuts(&self) -> impl Iterator<Item = Cut> + '_ {
        let mut positives = 0;
        let mut negatives = 0;
        // `==` and not `total_cmp`, so that −0 ties with 0.
        self.sorted.chunk_by(|a, b| a.0 == b.0).map(move |tied| {
            let hits = tied.iter().filter(|(_, label)| *label).count() as u64;
            positives += hits;
            negatives += tied.len() as u64 - hits;
            Cut { threshold: tied[0].0, positives, negatives }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half() {
        let ranking = Ranking::new(&[0.5, 0.5, 0.5], &[true, false, false]).expect("both classes");
        assert_eq!(ranking.auroc(), 0.5);
        let signed_zeros = Ranking::new(&[0.0, -0.0], &[true, false]).expect("both classes");
        assert_eq!(signed_zeros.auroc(), 0.5);
    }

    #[test]
    fn one_class_is_refused_and_not_scored() {
        assert_eq!(
            Ranking::new(&[1.0, 2.0], &[false, false]).map(|_| ()),
            Err(MetricsError::OneClass { unit: "images", normal: 2, anomalous: 0 })
        );
        assert_eq!(
            Ranking::new(&[], &[]).map(|_| ()),
            Err(MetricsError::OneClass { unit: "images", normal: 0, anomalous: 0 })
        );
    }

    #[test]
    fn a_nan_is_named_and_not_sorted() {
        let error = Ranking::new(&[1.0, f64::NAN], &[false, true]).map(|_| ()).expect_err("NaN");
        assert!(matches!(error, MetricsError::Score { index: 1, .. }));
        assert_eq!(error.to_string(), "score 1 is NaN; expected a finite number");
    }

    #[test]
    fn large_raw_scores_keep_their_order() {
        // Peers squash scores outside [0, 1] through a sigmoid, after which these all tie.
        let ranking = Ranking::new(&[100.0, 200.0, 300.0, 400.0], &[false, false, true, true]);
        assert_eq!(ranking.expect("both classes").auroc(), 1.0);
    }

    #[test]
    fn a_perfect_ranking_of_few_images_has_a_wide_interval() {
        let few = Ranking::new(&[1.0, 2.0, 3.0, 4.0], &[false, false, true, true]).expect("both classes");
        let many_scores: Vec<f64> = (0..400).map(f64::from).collect();
        let many_labels: Vec<bool> = (0..400).map(|i| i >= 200).collect();
        let many = Ranking::new(&many_scores, &many_labels).expect("both classes").auroc_with_interval();
        let few = few.auroc_with_interval();
        assert_eq!((few.value, few.high), (1.0, 1.0));
        assert!(few.low < 0.6, "{few:?}");
        assert!(many.low > 0.97 && many.low < 1.0, "{many:?}");
    }
}
