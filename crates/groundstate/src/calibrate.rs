//! From scores of normal pictures that were not trained on to p-values and thresholds.
//!
//! Conformal prediction (Vovk et al. 2005): with n calibration scores of normal pictures and a new
//! score s, p = (1 + #{calibration scores ≥ s}) / (n + 1). For exchangeable normal pictures
//! P(p ≤ α) ≤ α, whatever the energy, so flagging where p ≤ α rejects at most a share α of them.

use serde::{Deserialize, Serialize};

/// The false-reject rate that verdicts keep unless the user states another.
pub const DEFAULT_FALSE_REJECT_RATE: f64 = 0.01;

/// Scores of held-out normal pictures and the rate at which good parts may be rejected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Scores of held-out normal pictures, ascending.
    scores: Vec<f64>,
    /// Stated false-reject rate α in (0, 1).
    false_reject_rate: f64,
}

/// Why scores cannot calibrate.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum CalibrateError {
    /// There is nothing to calibrate on.
    #[error("found no calibration scores, expected the scores of held-out normal pictures")]
    Empty,
    /// The energy is broken.
    #[error("calibration score {index} is {value}, expected a finite number")]
    NotFinite {
        /// Its index.
        index: usize,
        /// The score.
        value: f64,
    },
    /// The rate is no probability.
    #[error("the false-reject rate is {0}, expected a number between 0 and 1, such as 0.01")]
    Rate(f64),
}

impl Calibration {
    /// Keeps the scores, with the default false-reject rate.
    ///
    /// # Errors
    /// When there is no score or one is not finite.
    pub fn new(mut scores: Vec<f64>) -> Result<Self, CalibrateError> {
        if scores.is_empty() {
            return Err(CalibrateError::Empty);
        }
        if let Some((index, &value)) = scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
            return Err(CalibrateError::NotFinite { index, value });
        }
        scores.sort_by(f64::total_cmp);
        Ok(Self { scores, false_reject_rate: DEFAULT_FALSE_REJECT_RATE })
    }

    /// The same scores with another false-reject rate.
    ///
    /// # Errors
    /// When the rate is not in (0, 1).
    pub fn with_false_reject_rate(mut self, rate: f64) -> Result<Self, CalibrateError> {
        if !(rate > 0.0 && rate < 1.0) {
            return Err(CalibrateError::Rate(rate));
        }
        self.false_reject_rate = rate;
        Ok(self)
    }

    /// Number of calibration scores.
    pub fn count(&self) -> usize {
        self.scores.len()
    }

    /// The stated false-reject rate.
    pub fn false_reject_rate(&self) -> f64 {
        self.false_reject_rate
    }

    /// The rate that the verdict keeps: the stated one, or 1 / (n + 1) when n scores cannot promise
    /// less (a rate of 1 % needs 99 of them).
    pub fn attainable_rate(&self) -> f64 {
        self.false_reject_rate.max(1.0 / (self.count() + 1) as f64)
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
    /// As [`Calibration::new`] and [`Calibration::with_false_reject_rate`].
    pub fn check(self) -> Result<Self, CalibrateError> {
        Self::new(self.scores)?.with_false_reject_rate(self.false_reject_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    #[test]
    fn p_values_count_the_scores_at_or_above() {
        let calibration = Calibration::new(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(calibration.p_value(0.5), 1.0);
        assert_eq!(calibration.p_value(2.0), 0.75);
        assert_eq!(calibration.p_value(9.0), 0.25);
        assert_eq!(calibration.p_value(f64::NAN), 0.25);
    }

    #[test]
    fn a_rate_below_what_the_count_can_promise_becomes_the_least_attainable() {
        let calibration = Calibration::new((0..19).map(f64::from).collect()).unwrap();
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
                let calibration = Calibration::new(scores).unwrap().with_false_reject_rate(rate).unwrap();
                calibration.flags(rng.random::<f64>())
            })
            .count();
        // Exactly floor(0.1 · 25) / 25 = 0.08; four standard deviations of the binomial.
        let expected = 0.08 * f64::from(trials);
        assert!((rejected as f64 - expected).abs() < 4.0 * (expected * 0.92).sqrt(), "{rejected}");
    }

    #[test]
    fn impossible_input_is_refused() {
        assert_eq!(Calibration::new(vec![]).unwrap_err(), CalibrateError::Empty);
        assert!(matches!(
            Calibration::new(vec![1.0, f64::NAN]),
            Err(CalibrateError::NotFinite { index: 1, .. })
        ));
        let rate = Calibration::new(vec![1.0]).unwrap().with_false_reject_rate(1.5);
        assert_eq!(rate.unwrap_err(), CalibrateError::Rate(1.5));
    }
}
