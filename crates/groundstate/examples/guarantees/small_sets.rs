//! Few normal images: how often new ones, and defective ones, are flagged by a cross-conformal calibration and by a
//! cross-fitted one of the same images.

use std::path::{Path, PathBuf};
use std::time::Instant;

use groundstate::calibrate::Conformal;
use groundstate::dataset::{Dataset, Label, categories};
use groundstate::detector::{Detail, Detector, Inspection};
use groundstate::image::Image;
use groundstate::train::{Control, TrainConfig, train};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{AnyError, RATES, gaussian, prepared};

/// Normal images trained on and calibrated with.
const SIZES: [usize; 3] = [20, 40, 100];
/// New normal images of each split, and defective ones, at most.
const NEW: usize = 60;
const DEFECTIVE: usize = 30;

/// What a split is asked for; each with the share of images of which it is so, by rate and calibration.
const QUESTIONS: [&str; 3] = ["good rejected", "good shows a region", "defective rejected"];

/// Shares by rate, cross-conformal and cross-fitted.
type Shares = [[f64; 2]; RATES.len()];

/// Prints the table of every data set below `root`, of all sizes or one, over `splits` from the one numbered
/// `first` on.
pub(crate) fn measure(root: &Path, splits: usize, only: Option<usize>, first: usize) -> Result<(), AnyError> {
    println!(
        "### Few images: cross-conformal / cross-fitted calibration, {splits} random splits of {NEW} new images\n\n\
         | category | calibrated on | what | 10 % stated | 5 % stated | 1 % stated |\n|---|---|---|---|---|---|"
    );
    for path in categories(root)? {
        let dataset = Dataset::open(&path)?;
        let defective = dataset.test.iter().filter(|sample| sample.label != Label::Normal);
        let mut defective: Vec<PathBuf> = defective.map(|sample| sample.path.clone()).collect();
        defective.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
        defective.truncate(DEFECTIVE);
        let defective = prepared(&defective, &gaussian());
        for size in SIZES.into_iter().filter(|&size| only.is_none_or(|only| size == only)) {
            let start = Instant::now();
            let found: Vec<[Shares; QUESTIONS.len()]> = (first..first + splits)
                .map(|seed| split(&dataset.train, &defective, size, seed as u64))
                .collect::<Result<_, _>>()?;
            for (question, what) in QUESTIONS.iter().enumerate() {
                let cells = (0..RATES.len()).map(|rate| match attained(RATES[rate], size) {
                    true => {
                        let of = |basis: usize| found.iter().map(move |split| split[question][rate][basis]);
                        format!("{} / {}", mean(of(0)), mean(of(1)))
                    }
                    false => "–".to_owned(),
                });
                let cells: Vec<String> = cells.collect();
                println!("| {} | {size} | {what} | {} |", dataset.name, cells.join(" | "));
            }
            eprintln!("{} of {size}: {:.0} s, {found:?}", dataset.name, start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Whether so many images can give the rate, or nearly so.
fn attained(rate: f64, images: usize) -> bool {
    (images + 1) as f64 * rate > 0.99
}

/// Trains both ways on a random part of the images and inspects others.
fn split(
    normal: &[PathBuf],
    defective: &[Image],
    size: usize,
    seed: u64,
) -> Result<[Shares; QUESTIONS.len()], AnyError> {
    let mut paths = normal.to_vec();
    paths.shuffle(&mut ChaCha8Rng::seed_from_u64(1000 + seed));
    let new: Vec<PathBuf> = paths.split_off(size).into_iter().take(NEW).collect();
    let (pictures, new) = (prepared(&paths, &gaussian()), prepared(&new, &gaussian()));
    let trained = |cross_conformal: bool| {
        let config = TrainConfig { cross_conformal, ..gaussian() };
        train(&config, pictures.clone(), Instant::now(), &mut |_| Control::Continue)
    };
    let (folds, plain) = (trained(true)?, trained(false)?);
    let (good, bad) = (inspect(&folds, &new), inspect(&folds, defective));
    // Scores and maps are the same of both.
    let by_score = |i: &Inspection, rate: f64| {
        let [of_folds, of_all] = [&folds, &plain].map(|d| with(&d.calibration.image, rate));
        [of_folds.flags_p_value(i.p_value), of_all.flags(i.score)]
    };
    let by_peak = |i: &Inspection, rate: f64| {
        let [of_folds, of_all] = [&folds, &plain].map(|d| with(&d.calibration.map, rate));
        let peaks: Vec<f64> = i.folds.iter().map(|finding| finding.peak).collect();
        let peak = folds.peak(i);
        let shows = of_folds.flags_p_value(of_folds.p_value_of(&peaks)) && peak > of_folds.threshold();
        [shows, of_all.flags(peak)]
    };
    Ok([shares(&good, by_score), shares(&good, by_peak), shares(&bad, by_score)])
}

fn with(calibration: &Conformal, rate: f64) -> Conformal {
    calibration.clone().with_rate(rate).expect("the rates are shares")
}

fn inspect(detector: &Detector, pictures: &[Image]) -> Vec<Inspection> {
    pictures.chunks(16).flat_map(|chunk| detector.inspect_prepared(chunk, Detail::Default)).collect()
}

fn shares(inspections: &[Inspection], is: impl Fn(&Inspection, f64) -> [bool; 2]) -> Shares {
    RATES.map(|rate| {
        let flagged: Vec<[bool; 2]> = inspections.iter().map(|i| is(i, rate)).collect();
        [0, 1].map(|basis| flagged.iter().filter(|f| f[basis]).count() as f64 / inspections.len() as f64)
    })
}

/// The mean over splits and its standard error, in percent.
fn mean(shares: impl Iterator<Item = f64>) -> String {
    let shares: Vec<f64> = shares.collect();
    let n = shares.len() as f64;
    let mean = shares.iter().sum::<f64>() / n;
    let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    format!("{:.1} ± {:.1} %", 100.0 * mean, 100.0 * (variance / n).sqrt())
}
