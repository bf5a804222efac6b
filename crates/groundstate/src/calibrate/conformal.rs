//! Scores of normal pictures and a rate: p-values and a threshold.

use serde::{Deserialize, Serialize};

use super::CalibrateError;

/// A rate such as 0.29 is not exact in binary; p-values are multiples of 1 / (n + 1).
const ROUNDING: f64 = 1e-12;

/// Scores of normal pictures, and the share of normal pictures that may lie above the threshold.
///
/// Conformal prediction (Vovk et al. 2005): with n scores of normal pictures and a new score s,
/// p = (1 + #{scores ≥ s}) / (n + 1). For exchangeable normal pictures P(p ≤ α) ≤ α, whatever the
/// score measures, so flagging where p ≤ α flags at most a share α of them.
///
/// Cross-conformal prediction (Vovk 2015): the scores come in K folds, those of fold k from an energy made
/// without it. A new picture is scored by each of these energies, and
/// p = (1 + Σₖ #{scores of fold k ≥ sₖ}) / (n + 1). [`Conformal::bound`] says what that guarantees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conformal {
    /// Of each fold, ascending; one fold where one energy scores all.
    scores: Vec<Vec<f64>>,
    /// Stated rate α in (0, 1).
    rate: f64,
}

impl Conformal {
    /// Keeps scores that are all of one energy, and the rate.
    ///
    /// # Errors
    /// When there is no score, one is not finite, or the rate is not in (0, 1).
    pub fn new(scores: Vec<f64>, rate: f64) -> Result<Self, CalibrateError> {
        Self::of_folds(vec![scores], rate)
    }

    /// Keeps the scores of folds, each by an energy of its own, and the rate.
    ///
    /// # Errors
    /// When there is no fold or a fold has no score, a score is not finite, or the rate is not in (0, 1).
    pub fn of_folds(mut scores: Vec<Vec<f64>>, rate: f64) -> Result<Self, CalibrateError> {
        if scores.is_empty() || scores.iter().any(Vec::is_empty) {
            return Err(CalibrateError::Empty);
        }
        if let Some((index, &value)) = scores.iter().flatten().enumerate().find(|(_, s)| !s.is_finite()) {
            return Err(CalibrateError::NotFinite { index, value });
        }
        check_rate(rate)?;
        scores.iter_mut().for_each(|fold| fold.sort_by(f64::total_cmp));
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
        self.scores.iter().map(Vec::len).sum()
    }

    /// Number of folds, each with an energy of its own; 1 where one energy scores all.
    pub fn folds(&self) -> usize {
        self.scores.len()
    }

    /// The stated rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The rate that p-values are compared with: the stated one, or 1 / (n + 1) when n scores cannot give
    /// less.
    pub fn attainable_rate(&self) -> f64 {
        self.rate.max(1.0 / (self.count() + 1) as f64)
    }

    /// The least upper bound known for the probability that an exchangeable normal picture is flagged, if
    /// each fold's energy is made without that fold: α for one fold, and for K
    /// 2 (r + K − 1) / (n + K) ≤ 2 α + 2 (1 − α) (K − 1) / (n + K), where r = ⌊α (n + 1)⌋ and α is the
    /// attainable rate.
    ///
    /// The new picture's p-value pₖ among the mₖ scores of fold k alone is a conformal one, and p ≤ α is the same
    /// as Σ wₖ pₖ ≤ (r + K − 1) / (n + K) for the weights wₖ = (mₖ + 1) / (n + K). Twice a weighted mean of
    /// p-values is one, however they depend on each other (Vovk, Wang 2020, *Combining p-values via averaging*).
    pub fn bound(&self) -> f64 {
        let (n, folds) = (self.count() as f64, self.folds() as f64);
        if self.folds() == 1 {
            return self.attainable_rate();
        }
        let most = (self.attainable_rate() * (n + 1.0) * (1.0 + ROUNDING)).floor();
        (2.0 * (most + folds - 1.0) / (n + folds)).min(1.0)
    }

    /// Scores that the stated rate needs (99 for a rate of 1 %), where there are fewer.
    pub fn shortage(&self) -> Option<usize> {
        let needed = scores_needed(self.rate);
        (self.count() < needed).then_some(needed)
    }

    /// Conformal p-value in (0, 1] of a picture to which the energies of all folds give the same score: small
    /// is anomalous. A score that is no number has the least one.
    pub fn p_value(&self, score: f64) -> f64 {
        self.p_value_by(|_| score)
    }

    /// Conformal p-value in (0, 1] of a picture by its score from the energy of each fold.
    ///
    /// # Panics
    /// If there are not as many scores as folds.
    pub fn p_value_of(&self, scores: &[f64]) -> f64 {
        assert_eq!(scores.len(), self.folds(), "a picture has a score from the energy of each fold");
        self.p_value_by(|fold| scores[fold])
    }

    fn p_value_by(&self, score_of: impl Fn(usize) -> f64) -> f64 {
        let at_or_above = |(fold, scores): (usize, &Vec<f64>)| {
            let score = score_of(fold);
            if score.is_nan() { 0 } else { scores.len() - scores.partition_point(|&s| s < score) }
        };
        let at_or_above: usize = self.scores.iter().enumerate().map(at_or_above).sum();
        (1 + at_or_above) as f64 / (self.count() + 1) as f64
    }

    /// Whether a score is flagged as anomalous: its p-value is at most the attainable rate.
    pub fn flags(&self, score: f64) -> bool {
        self.flags_p_value(self.p_value(score))
    }

    /// Whether a picture of that p-value is flagged as anomalous: it is at most the attainable rate.
    pub fn flags_p_value(&self, p_value: f64) -> bool {
        p_value <= self.attainable_rate() * (1.0 + ROUNDING)
    }

    /// The highest calibration score that is not flagged: scores above it are anomalous. With several folds, if
    /// the energies of all of them give that score.
    pub fn threshold(&self) -> f64 {
        let unflagged = |fold: &Vec<f64>| {
            fold.partition_point(|&score| !self.flags(score)).checked_sub(1).map(|last| fold[last])
        };
        self.scores.iter().filter_map(unflagged).fold(f64::NEG_INFINITY, f64::max)
    }

    /// All scores, ascending within each fold.
    pub fn scores(&self) -> impl Iterator<Item = f64> {
        self.scores.iter().flatten().copied()
    }

    /// Numbers of scores in the folds.
    pub(crate) fn fold_counts(&self) -> Vec<usize> {
        self.scores.iter().map(Vec::len).collect()
    }

    /// Restores the invariants after loading.
    ///
    /// # Errors
    /// As [`Conformal::of_folds`].
    pub fn check(self) -> Result<Self, CalibrateError> {
        Self::of_folds(self.scores, self.rate)
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
    ((1.0 / rate) * (1.0 - ROUNDING)).ceil() as usize - 1
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
    fn a_picture_is_compared_with_each_fold_by_the_score_of_that_folds_energy() {
        // Counts by hand: of fold 1, 2.0 and 3.0 are at or above 2.0; of fold 2, none is above 30; of fold 3, both.
        let folds = vec![vec![3.0, 1.0, 2.0], vec![10.0, 20.0], vec![200.0, 100.0]];
        let calibration = Conformal::of_folds(folds, 0.25).unwrap();
        assert_eq!((calibration.count(), calibration.folds()), (7, 3));
        assert_eq!(calibration.p_value_of(&[2.0, 30.0, 0.0]), 5.0 / 8.0);
        assert_eq!(calibration.p_value_of(&[4.0, 30.0, 150.0]), 2.0 / 8.0);
        assert_eq!(calibration.p_value_of(&[f64::NAN; 3]), 1.0 / 8.0);
        assert!(calibration.flags_p_value(2.0 / 8.0) && !calibration.flags_p_value(3.0 / 8.0));
        // A score that all energies give: one of seven is at or above 200, two at or above 100.
        assert_eq!((calibration.p_value(200.0), calibration.p_value(100.0)), (2.0 / 8.0, 3.0 / 8.0));
        assert_eq!(calibration.threshold(), 100.0);
    }

    #[test]
    fn one_fold_is_conformal_prediction() {
        let scores: Vec<f64> = (0..30).map(|i| f64::from(i * 7 % 30)).collect();
        let one = Conformal::new(scores.clone(), 0.1).unwrap();
        let three = (0..3).map(|k| scores.iter().copied().skip(k).step_by(3).collect()).collect();
        let three = Conformal::of_folds(three, 0.1).unwrap();
        for score in (-1..31).map(f64::from) {
            assert_eq!(one.p_value(score), three.p_value(score), "{score}");
        }
        assert_eq!(one.threshold(), three.threshold());
        assert_eq!(one.bound(), 0.1);
    }

    #[test]
    fn the_bound_is_that_of_the_mean_of_the_folds_p_values() {
        let bound = |count: usize, folds: usize, rate: f64| {
            let scores = (0..folds).map(|fold| vec![0.0; (count + folds - 1 - fold) / folds]).collect();
            Conformal::of_folds(scores, rate).unwrap().bound()
        };
        // 2 · 0.05 + 2 · 0.95 · 2 / 102 (Vovk 2015; Gasparin, Ramdas 2025), as 0.05 · 100 is whole.
        assert!((bound(99, 3, 0.05) - (0.1 + 3.8 / 102.0)).abs() < 1e-12);
        // 1 % of 20 pictures becomes 1 of 21: 2 (1 + 2) / 23.
        assert!((bound(20, 3, 0.01) - 6.0 / 23.0).abs() < 1e-12);
        assert!(bound(20, 3, 0.9) == 1.0 && bound(100_000, 3, 0.01) < 0.0201);
    }

    #[test]
    fn folds_that_agree_keep_the_rate_and_the_least_kind_ones_keep_the_bound() {
        // Where a new picture is among the scores of two folds: in both at the same place, or, where it is high,
        // the higher in one the lower in the other, so that the mean is just low enough (Vovk, Wang 2020).
        let mut rng = StdRng::seed_from_u64(8);
        let (trials, size, rate, reach) = (4000, 400, 0.1, 0.18);
        let mut share = |agree: bool| {
            let flagged = (0..trials).filter(|_| {
                let mut fold = || (0..size).map(|_| rng.random::<f64>()).collect::<Vec<f64>>();
                let calibration = Conformal::of_folds(vec![fold(), fold()], rate).unwrap();
                let p: f64 = rng.random();
                let other = if agree || p > reach { p } else { reach - p };
                calibration.flags_p_value(calibration.p_value_of(&[1.0 - p, 1.0 - other]))
            });
            flagged.count() as f64 / f64::from(trials)
        };
        let (agree, unkind) = (share(true), share(false));
        let bound = Conformal::of_folds(vec![vec![0.0; size]; 2], rate).unwrap().bound();
        // Four standard deviations of the binomial.
        assert!((agree - rate).abs() < 0.02, "{agree}");
        assert!(unkind > rate + 0.02 && unkind < bound, "{unkind} of at most {bound}");
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
        for folds in [vec![], vec![vec![1.0], vec![]]] {
            assert_eq!(Conformal::of_folds(folds, 0.1).unwrap_err(), CalibrateError::Empty);
        }
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
