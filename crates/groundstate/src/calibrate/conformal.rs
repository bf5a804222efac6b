//! Scores of normal pictures and a rate: p-values and a threshold.

use serde::{Deserialize, Serialize};

use super::CalibrateError;

/// Scores of normal pictures, and the share of normal pictures that may lie above the threshold.
///
/// Conformal prediction (Vovk et al. 2005): with n scores of normal pictures and a new score s,
/// p = (1 + #{scores ≥ s}) / (n + 1). For exchangeable normal pictures P(p ≤ α) ≤ α, whatever the
/// score measures, so flagging where p ≤ α flags at most a share α of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conformal {
    /// Ascending.
    scores: Vec<f64>,
    /// Stated rate α in (0, 1).
    rate: f64,
}

impl Conformal {
    /// Keeps the scores and the rate.
    ///
    /// # Errors
    /// When there is no score, one is not finite, or the rate is not in (0, 1).
    pub fn new(mut scores: Vec<f64>, rate: f64) -> Result<Self, CalibrateError> {
        if scores.is_empty() {
            return Err(CalibrateError::Empty);
        }
        if let Some((index, &value)) = scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
            return Err(CalibrateError::NotFinite { index, value });
        }
        check_rate(rate)?;
        scores.sort_by(f64::total_cmp);
        Ok(Self { scores, rate })
    }

    /// The same scores with another rate.
    ///
    /// # Errors
    /// When the rate is not in (0, 1).
    pub fn with_rate(mut self, rate: f64) -> Result<Self, CalibrateError> {
        check_rate(rate)?;
        self.rate = rate;
        Ok(self)
    }

    /// Number of calibration scores.
    pub fn count(&self) -> usize {
        self.scores.len()
    }

    /// The stated rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The rate that is kept: the stated one, or 1 / (n + 1) when n scores cannot promise less.
    pub fn attainable_rate(&self) -> f64 {
        self.rate.max(1.0 / (self.count() + 1) as f64)
    }

    /// Scores that the stated rate needs (99 for a rate of 1 %), where there are fewer.
    pub fn shortage(&self) -> Option<usize> {
        let needed = scores_needed(self.rate);
        (self.count() < needed).then_some(needed)
    }

    /// Conformal p-value in (0, 1] of a score: small is anomalous. A score that is no number has the
    /// least one.
    pub fn p_value(&self, score: f64) -> f64 {
        let below = if score.is_nan() { self.count() } else { self.scores.partition_point(|&s| s < score) };
        (1 + self.count() - below) as f64 / (self.count() + 1) as f64
    }

    /// Whether a score is flagged as anomalous: its p-value is at most the attainable rate.
    pub fn flags(&self, score: f64) -> bool {
        // A rate such as 0.29 is not exact in binary; p-values are multiples of 1 / (n + 1).
        self.p_value(score) <= self.attainable_rate() * (1.0 + 1e-12)
    }

    /// The highest calibration score that is not flagged: scores above it are anomalous.
    pub fn threshold(&self) -> f64 {
        let last = self.scores.iter().rposition(|&s| !self.flags(s));
        last.map_or(f64::NEG_INFINITY, |i| self.scores[i])
    }

    /// Scores in ascending order.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// Restores the invariants after loading.
    ///
    /// # Errors
    /// As [`Conformal::new`].
    pub fn check(self) -> Result<Self, CalibrateError> {
        Self::new(self.scores, self.rate)
    }
}

/// Fails unless `rate` is a share of normal pictures that can be promised.
///
/// # Errors
/// When it is not in (0, 1).
pub fn check_rate(rate: f64) -> Result<(), CalibrateError> {
    if rate > 0.0 && rate < 1.0 { Ok(()) } else { Err(CalibrateError::Rate(rate)) }
}

/// The least n with 1 / (n + 1) ≤ `rate`.
pub fn scores_needed(rate: f64) -> usize {
    // 1 / 0.01 is 100 to the last digit, 1 / 0.07 · 0.07 is not 1.
    ((1.0 / rate) * (1.0 - 1e-12)).ceil() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    #[test]
    fn p_values_count_the_scores_at_or_above() {
        let calibration = Conformal::new(vec![3.0, 1.0, 2.0], 0.5).unwrap();
        assert_eq!(calibration.p_value(0.5), 1.0);
        assert_eq!(calibration.p_value(2.0), 0.75);
        assert_eq!(calibration.p_value(9.0), 0.25);
        assert_eq!(calibration.p_value(f64::NAN), 0.25);
    }

    #[test]
    fn a_rate_below_what_the_count_can_promise_becomes_the_least_attainable() {
        let calibration = Conformal::new((0..19).map(f64::from).collect(), 0.01).unwrap();
        assert_eq!(calibration.attainable_rate(), 0.05);
        assert!(calibration.flags(18.5) && !calibration.flags(18.0));
        assert_eq!(calibration.threshold(), 18.0);
    }

    #[test]
    fn exchangeable_normals_are_rejected_at_no_more_than_the_stated_rate() {
        let mut rng = StdRng::seed_from_u64(5);
        let (trials, rate) = (20_000, 0.1);
        let rejected = (0..trials)
            .filter(|_| {
                let scores: Vec<f64> = (0..24).map(|_| rng.random::<f64>()).collect();
                let calibration = Conformal::new(scores, rate).unwrap();
                calibration.flags(rng.random::<f64>())
            })
            .count();
        // Exactly floor(0.1 · 25) / 25 = 0.08; four standard deviations of the binomial.
        let expected = 0.08 * f64::from(trials);
        assert!((rejected as f64 - expected).abs() < 4.0 * (expected * 0.92).sqrt(), "{rejected}");
    }

    #[test]
    fn a_score_is_flagged_exactly_above_the_threshold() {
        let calibration = Conformal::new(vec![1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 8.0], 0.3).unwrap();
        for score in (0..20).map(|i| f64::from(i) / 2.0) {
            assert_eq!(calibration.flags(score), score > calibration.threshold(), "{score}");
        }
    }

    #[test]
    fn the_scores_that_a_rate_needs_attain_it_and_one_less_do_not() {
        for rate in [0.5, 0.1, 0.07, 0.05, 1.0 / 3.0, 0.01, 0.001] {
            let with = |count| Conformal::new(vec![0.0; count], rate).unwrap();
            let needed = scores_needed(rate);
            assert!(with(needed).attainable_rate() <= rate * (1.0 + 1e-12), "{rate}");
            assert_eq!(with(needed).shortage(), None);
            if needed > 1 {
                assert!(with(needed - 1).attainable_rate() > rate, "{rate}");
                assert_eq!(with(needed - 1).shortage(), Some(needed));
            }
        }
        assert_eq!((scores_needed(0.01), scores_needed(0.1), scores_needed(0.05)), (99, 9, 19));
    }

    #[test]
    fn impossible_input_is_refused() {
        assert_eq!(Conformal::new(vec![], 0.1).unwrap_err(), CalibrateError::Empty);
        assert!(matches!(
            Conformal::new(vec![1.0, f64::NAN], 0.1),
            Err(CalibrateError::NotFinite { index: 1, .. })
        ));
        for rate in [0.0, 1.0, 1.5, -0.1] {
            assert_eq!(Conformal::new(vec![1.0], rate).unwrap_err(), CalibrateError::Rate(rate));
        }
        assert!(Conformal::new(vec![1.0], f64::NAN).is_err());
    }
}
