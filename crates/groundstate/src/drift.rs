//! Whether pictures in the order they were taken still look like those of the calibration.
//!
//! Each number that is watched (the image score, brightness, …) is tested by a conformal test
//! martingale (Vovk, Nouretdinov, Gammerman 2003, *Testing exchangeability on-line*). A new number's
//! p-value is its smoothed rank among the reference and all numbers before it, which makes p-values
//! independent and uniform on [0, 1] while all of them are exchangeable. A gambler bets against that
//! with a *jumper* (Vovk et al. 2021, *Retrain or not retrain: conformal test martingales for
//! change-point detection*): its capital is spread over bets fₖ with ∫ fₖ = 1, each multiplied by fₖ(p),
//! and a hundredth of it is spread anew before every picture, so that it forgets. The capital is a
//! martingale that starts at 1; Ville's inequality bounds the probability that it *ever* reaches c by
//! 1 / c, so it may be looked at after every picture.
//!
//! With K numbers watched, each gambler is paid 1 / K, and drift is reported when one of them reaches
//! 1 / δ: by the union bound P(ever a false alarm) ≤ δ however the numbers depend on each other. The
//! average of the K capitals would not do, as each is a martingale only with respect to its own past
//! (Choe, Ramdas 2024, *Combining evidence across filtrations*).

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Probability of ever raising a false alarm, unless the user states another.
pub const DEFAULT_FALSE_ALARM_RATE: f64 = 0.01;

/// Share of the capital that is spread anew before every picture.
const JUMP: f64 = 0.01;
/// Bets on p-values, each with integral 1 over [0, 1]: none, and weakly and strongly on low p-values
/// (numbers rise) and on high ones (numbers fall).
const BETS: [fn(f64) -> f64; 5] =
    [|_| 1.0, |p| 2.0 * (1.0 - p), |p| 2.0 * p, |p| 0.5 / p.sqrt(), |p| 0.5 / (1.0 - p).sqrt()];
/// p-values are kept this far from 0 and 1, where a bet pays without limit.
const MARGIN: f64 = 1e-9;

/// Why a watch cannot begin or go on.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DriftError {
    /// The rate is no probability.
    #[error("the false-alarm rate is {0}, expected a number between 0 and 1, such as 0.01")]
    Rate(f64),
    /// There is nothing to watch.
    #[error("found no number to watch, expected at least one")]
    Nothing,
    /// A number that cannot be ranked.
    #[error("{name} is {value}, expected a finite number")]
    NotFinite {
        /// What is watched.
        name: String,
        /// Its value.
        value: f64,
    },
}

/// Watches numbers of pictures that come one after the other.
#[derive(Clone, Debug)]
pub struct Watch {
    gamblers: Vec<Gambler>,
    rng: ChaCha8Rng,
    /// Logarithm of the capital at which drift is reported.
    limit: f64,
}

/// What the watch says after a picture, for each number in the order of the watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Smoothed conformal p-values, uniform while nothing changes; low where a number is high.
    pub p_values: Vec<f64>,
    /// Common logarithms of the evidence against "nothing has changed"; drift is reported from
    /// [`Watch::log10_limit`] on.
    pub log10_evidence: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Gambler {
    name: String,
    /// The reference and all numbers seen, ascending.
    seen: Vec<f64>,
    /// Shares of the capital on each bet; they sum to 1.
    shares: [f64; BETS.len()],
    /// Natural logarithm of the capital.
    log_capital: f64,
}

impl Watch {
    /// Begins to watch numbers, given by name and reference: values that are exchangeable with those to
    /// come while nothing changes, or none at all, in which case only changes among those to come are
    /// found. `false_alarm_rate` is δ, `seed` decides how ties in rank are broken.
    ///
    /// # Errors
    /// When there is nothing to watch, the rate is not in (0, 1), or a value is not finite.
    pub fn new(
        references: impl IntoIterator<Item = (String, Vec<f64>)>,
        false_alarm_rate: f64,
        seed: u64,
    ) -> Result<Self, DriftError> {
        if !(false_alarm_rate > 0.0 && false_alarm_rate < 1.0) {
            return Err(DriftError::Rate(false_alarm_rate));
        }
        let gamblers: Vec<Gambler> =
            references.into_iter().map(|(name, seen)| Gambler::new(name, seen)).collect::<Result<_, _>>()?;
        if gamblers.is_empty() {
            return Err(DriftError::Nothing);
        }
        let limit = (gamblers.len() as f64 / false_alarm_rate).ln();
        Ok(Self { gamblers, rng: ChaCha8Rng::seed_from_u64(seed), limit })
    }

    /// Names of what is watched.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.gamblers.iter().map(|gambler| gambler.name.as_str())
    }

    /// Common logarithm of the evidence from which on drift is reported: log₁₀(1 / δ).
    pub fn log10_limit(&self) -> f64 {
        self.log10_evidence(self.limit)
    }

    /// Takes the numbers of the next picture.
    ///
    /// # Errors
    /// When one is not finite; nothing has then changed.
    ///
    /// # Panics
    /// If there are not as many as are watched.
    pub fn push(&mut self, values: &[f64]) -> Result<Moment, DriftError> {
        assert_eq!(values.len(), self.gamblers.len());
        for (gambler, &value) in self.gamblers.iter().zip(values) {
            check_finite(&gambler.name, value)?;
        }
        let p_values =
            self.gamblers.iter_mut().zip(values).map(|(g, &value)| g.bet(value, &mut self.rng)).collect();
        let evidence = self.gamblers.iter().map(|gambler| self.log10_evidence(gambler.log_capital));
        Ok(Moment { p_values, log10_evidence: evidence.collect() })
    }

    /// Each gambler is paid an equal share of one unit.
    fn log10_evidence(&self, log_capital: f64) -> f64 {
        (log_capital - (self.gamblers.len() as f64).ln()) / std::f64::consts::LN_10
    }
}

impl Gambler {
    fn new(name: String, mut seen: Vec<f64>) -> Result<Self, DriftError> {
        seen.iter().try_for_each(|&value| check_finite(&name, value))?;
        seen.sort_by(f64::total_cmp);
        Ok(Self { name, seen, shares: [1.0 / BETS.len() as f64; BETS.len()], log_capital: 0.0 })
    }

    /// Ranks a number, bets on its p-value, and remembers it.
    fn bet(&mut self, value: f64, rng: &mut impl Rng) -> f64 {
        let below = self.seen.partition_point(|&seen| seen < value);
        let equal = self.seen[below..].partition_point(|&seen| seen <= value);
        self.seen.insert(below, value);
        let above = self.seen.len() - below - equal - 1;
        let p = (above as f64 + rng.random::<f64>() * (equal + 1) as f64) / self.seen.len() as f64;
        let p = p.clamp(MARGIN, 1.0 - MARGIN);
        for (share, bet) in self.shares.iter_mut().zip(BETS) {
            *share = ((1.0 - JUMP) * *share + JUMP / BETS.len() as f64) * bet(p);
        }
        let gain: f64 = self.shares.iter().sum();
        self.shares.iter_mut().for_each(|share| *share /= gain);
        self.log_capital += gain.ln();
        p
    }
}

fn check_finite(name: &str, value: f64) -> Result<(), DriftError> {
    if value.is_finite() { Ok(()) } else { Err(DriftError::NotFinite { name: name.to_owned(), value }) }
}

/// Where drift was found in a sequence of moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Which number raised it.
    pub watched: usize,
    /// After which picture.
    pub at: usize,
    /// From which picture on, as far as can be told.
    pub since: usize,
}

impl Alarm {
    /// The first alarm among `moments`, those of a [`Watch`] since its beginning.
    pub fn first(moments: &[Moment], log10_limit: f64) -> Option<Self> {
        let crosses = |moment: &Moment| moment.log10_evidence.iter().position(|&e| e >= log10_limit);
        let (at, watched) = moments.iter().enumerate().find_map(|(at, m)| Some((at, crosses(m)?)))?;
        // Where a shift of the mean p-value explains the pictures up to the alarm best: the gain in log
        // likelihood over "no shift" is proportional to the squared sum over the count (Page 1957).
        let (mut sum, mut best, mut since) = (0.0, 0.0, at);
        for (count, begin) in (0..=at).rev().enumerate() {
            sum += moments[begin].p_values[watched] - 0.5;
            let gain: f64 = sum * sum / (count + 1) as f64;
            if gain > best {
                (best, since) = (gain, begin);
            }
        }
        Some(Self { watched, at, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniform(rng: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
        (0..count).map(|_| rng.random::<f64>()).collect()
    }

    fn watch(reference: Vec<f64>, rate: f64, seed: u64) -> Watch {
        Watch::new([("score".to_owned(), reference)], rate, seed).unwrap()
    }

    #[test]
    fn every_bet_has_integral_one() {
        for bet in BETS {
            // With p = sin²(πt / 2) the integrand stays bounded where a bet does not.
            let steps = 100_000;
            let integral: f64 = (0..steps)
                .map(|i| std::f64::consts::FRAC_PI_2 * (f64::from(i) + 0.5) / f64::from(steps))
                .map(|t| bet(t.sin().powi(2)) * 2.0 * t.sin() * t.cos())
                .sum::<f64>()
                * std::f64::consts::FRAC_PI_2
                / f64::from(steps);
            assert!((integral - 1.0).abs() < 1e-6, "{integral}");
        }
    }

    #[test]
    fn p_values_of_exchangeable_numbers_are_uniform_even_with_ties() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut tenths = [0usize; 10];
        for seed in 0..400 {
            let coarse = |rng: &mut ChaCha8Rng| (rng.random::<f64>() * 4.0).floor();
            let mut watch = watch((0..7).map(|_| coarse(&mut rng)).collect(), 0.1, seed);
            for _ in 0..25 {
                let p = watch.push(&[coarse(&mut rng)]).unwrap().p_values[0];
                tenths[(p * 10.0) as usize] += 1;
            }
        }
        // χ² with 9 degrees of freedom exceeds 27.9 with a probability of 1e-3.
        let expected = 1000.0;
        let chi: f64 = tenths.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
        assert!(chi < 27.9, "{tenths:?}");
    }

    #[test]
    fn without_change_the_share_of_runs_that_ever_alarm_keeps_the_stated_rate() {
        // Ville's inequality with 3 numbers that depend on each other, watched over 300 pictures.
        let (runs, rate) = (600, 0.1);
        let mut alarms = 0;
        for seed in 0..runs {
            let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
            let of = |base: &[f64], k: usize| base.iter().map(|v| v.powi(k as i32 + 1)).collect::<Vec<_>>();
            let base = uniform(&mut rng, 40);
            let references = (0..3).map(|k| (k.to_string(), of(&base, k)));
            let mut watch = Watch::new(references, rate, seed).unwrap();
            let limit = watch.log10_limit();
            alarms += u32::from((0..300).any(|_| {
                let value: f64 = rng.random();
                let moment = watch.push(&[value, value.powi(2), value.powi(3)]).unwrap();
                moment.log10_evidence.iter().any(|&e| e >= limit)
            }));
        }
        // Three standard deviations above the rate.
        let most = rate * runs as f64 + 3.0 * (rate * (1.0 - rate) * runs as f64).sqrt();
        assert!(f64::from(alarms) <= most, "{alarms} of {runs}");
    }

    #[test]
    fn the_capital_has_mean_one() {
        let runs = 40_000;
        let mean: f64 = (0..runs)
            .map(|seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let mut watch = watch(uniform(&mut rng, 5), 0.1, seed + 1_000_000);
                for _ in 0..4 {
                    let value = rng.random();
                    watch.push(&[value]).unwrap();
                }
                watch.gamblers[0].log_capital.exp()
            })
            .sum::<f64>()
            / runs as f64;
        // A capital after four bets spreads by less than 2; five standard errors.
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn a_rise_a_fall_and_a_return_are_found_and_dated() {
        for (shift, seed) in [(0.7, 1), (-0.7, 2)] {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut watch = watch(uniform(&mut rng, 100), 0.01, 0);
            let values = uniform(&mut rng, 200)
                .into_iter()
                .chain(uniform(&mut rng, 60).into_iter().map(|v| v + shift));
            let moments: Vec<Moment> = values.map(|v| watch.push(&[v]).unwrap()).collect();
            let alarm = Alarm::first(&moments, watch.log10_limit()).unwrap();
            assert!((200..230).contains(&alarm.at), "{alarm:?}");
            assert!((190..=alarm.at).contains(&alarm.since), "{alarm:?}");
        }
    }

    #[test]
    fn a_watch_without_reference_finds_changes_among_what_it_sees() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut watch = watch(Vec::new(), 0.05, 0);
        let values = uniform(&mut rng, 100).into_iter().chain([2.0; 30]);
        let moments: Vec<Moment> = values.map(|v| watch.push(&[v]).unwrap()).collect();
        let alarm = Alarm::first(&moments, watch.log10_limit()).unwrap();
        assert!((100..115).contains(&alarm.at), "{alarm:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_evidence() {
        let run = |seed| {
            let mut watch = watch(vec![0.0; 10], 0.05, seed);
            (0..20).map(|i| watch.push(&[f64::from(i % 2)]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(run(4), run(4));
        assert_ne!(run(4), run(5));
    }

    #[test]
    fn impossible_input_is_refused() {
        let begin = |values, rate| Watch::new([("score".to_owned(), values)], rate, 0).err();
        assert_eq!(begin(vec![], 1.0), Some(DriftError::Rate(1.0)));
        assert!(matches!(begin(vec![f64::NAN], 0.1), Some(DriftError::NotFinite { .. })));
        assert_eq!(Watch::new([], 0.1, 0).err(), Some(DriftError::Nothing));
        let mut watch = watch(vec![1.0], 0.1, 0);
        let error = watch.push(&[f64::INFINITY]).unwrap_err();
        assert_eq!(error, DriftError::NotFinite { name: "score".to_owned(), value: f64::INFINITY });
        assert_eq!(watch.gamblers[0].seen, [1.0]);
    }
}
