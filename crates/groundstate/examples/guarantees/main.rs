//! Measures on real normal images what `docs/guarantees.md` quotes. Prints Markdown tables; run it with `--release`.
//!
//! ROOT holds data sets in the layout of MVTec AD.
//!
//! - `guarantees ROOT [TRAININGS]`: in each, the closed form (method `gaussian`) is trained several times
//!   (3 unless told otherwise) on a random half of the normal training images and scores the other half;
//!   everything else is drawn from these scores.
//! - `guarantees product ROOT [TRAININGS [STEPS]]`: method `product` on random halves, each network with so many steps.
//! - `guarantees small ROOT [SPLITS [IMAGES [FIRST]]]`: cross-conformal and cross-fitted calibration of few images, in
//!   random splits numbered from FIRST on.

mod small_sets;

use std::path::{Path, PathBuf};
use std::time::Instant;

use groundstate::calibrate::{Basis, Conformal};
use groundstate::conditions::Conditions;
use groundstate::dataset::{Dataset, Label, categories, load_all};
use groundstate::detector::{Detail, Detector, prepare, watched};
use groundstate::drift::Watch;
use groundstate::image::{Image, Map};
use groundstate::train::{Control, MethodName, TrainConfig, train};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

pub(crate) const RATES: [f64; 3] = [0.1, 0.05, 0.01];
/// Calibration images of a random split: the least that 1 % needs.
const CALIBRATION: usize = 99;
/// Random splits, each with one new image.
const SPLITS: usize = 20_000;
/// Streams of images drawn for each statement on drift.
const STREAMS: u64 = 200;
/// Images of a stream without change.
const STEADY: usize = 10_000;
/// Images that a drift is measured from, and images before a change.
const REFERENCE: usize = 100;
/// Images after a change, at most.
const CHANGED: usize = 300;

pub(crate) type AnyError = Box<dyn std::error::Error>;

/// What the detector and the camera say of one image.
#[derive(Clone, Copy)]
struct Seen {
    /// As [`watched`].
    values: [f64; 4],
    peak: f64,
}

/// A detector trained on half of the normal images, and what it says of the other half.
struct Half {
    detector: Detector,
    paths: Vec<PathBuf>,
    held_out: Vec<Seen>,
}

struct Category {
    name: String,
    halves: Vec<Half>,
    /// Normal test images, as the first detector sees them.
    test_good: Vec<Seen>,
    /// Held-out images of the first half after each of [`CHANGES`].
    changed: Vec<Vec<Seen>>,
}

/// A change of the pictures, with its name.
type Change = (&'static str, fn(&Image) -> Image);

const CHANGES: [Change; 5] = [
    ("brightness −13 of 255", |image| each_value(image, |v| v - 13.0 / 255.0)),
    ("brightness −5 of 255", |image| each_value(image, |v| v - 5.0 / 255.0)),
    ("contrast × 0.9", |image| each_value(image, |v| 0.5 + 0.9 * (v - 0.5))),
    ("blur of σ 1 px", |image| blurred(image, 1.0)),
    ("moved right by 2 % of the width", |image| moved(image, image.width / 50)),
];

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Err("usage: guarantees [product|small] ROOT [NUMBER]".into()),
        ["small", root, ref numbers @ ..] => {
            let splits = numbers.first().map_or(Ok(20), |n| n.parse())?;
            let images = numbers.get(1).map(|n| n.parse()).transpose()?;
            let first = numbers.get(2).map_or(Ok(0), |n| n.parse())?;
            small_sets::measure(Path::new(root), splits, images, first)
        }
        ["product", root, ref numbers @ ..] => {
            let trainings = numbers.first().map_or(Ok(1), |n| n.parse())?;
            let steps = numbers.get(1).map_or(Ok(2000), |n| n.parse())?;
            let mut product = TrainConfig { budget_seconds: 1e6, ..TrainConfig::default() };
            (product.method, product.optimiser.steps) = (MethodName::Product, Some(steps));
            cross_fitted(&measured(Path::new(root), trainings, &product)?);
            Ok(())
        }
        [root, ref numbers @ ..] => {
            let trainings = numbers.first().map_or(Ok(3), |n| n.parse())?;
            closed_form(&measured(Path::new(root), trainings, &gaussian())?)
        }
    }
}

pub(crate) fn gaussian() -> TrainConfig {
    TrainConfig { method: MethodName::Gaussian, ..TrainConfig::default() }
}

fn measured(root: &Path, trainings: usize, config: &TrainConfig) -> Result<Vec<Category>, AnyError> {
    categories(root)?.iter().map(|path| measure(path, trainings, config)).collect()
}

fn closed_form(found: &[Category]) -> Result<(), AnyError> {
    held_out(found);
    cross_fitted(found);
    test_images(found);
    steady(found)?;
    changes(found)?;
    Ok(())
}

fn measure(path: &Path, trainings: usize, config: &TrainConfig) -> Result<Category, AnyError> {
    let dataset = Dataset::open(path)?;
    let start = Instant::now();
    let halves: Vec<Half> =
        (0..trainings).map(|seed| half(&dataset.train, seed as u64, config)).collect::<Result<_, _>>()?;
    let first = halves.first().ok_or("expected at least one training")?;
    let good = dataset.test.iter().filter(|sample| sample.label == Label::Normal);
    let good: Vec<PathBuf> = good.map(|sample| sample.path.clone()).collect();
    let test_good = see(&first.detector, &good, Image::clone);
    let changed = CHANGES.iter().map(|(_, change)| see(&first.detector, &first.paths, change)).collect();
    eprintln!("{}: {} trainings in {:.0} s", dataset.name, trainings, start.elapsed().as_secs_f64());
    Ok(Category { name: dataset.name, halves, test_good, changed })
}

fn half(normal: &[PathBuf], seed: u64, config: &TrainConfig) -> Result<Half, AnyError> {
    let mut paths = normal.to_vec();
    paths.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let held_out = paths.split_off(normal.len() / 2);
    let start = Instant::now();
    let config = TrainConfig { seed, ..config.clone() };
    let detector = train(&config, prepared(&paths, &config), start, &mut |_| Control::Continue)?;
    let (networks, steps) = (detector.energy.networks().len(), detector.record.steps);
    eprintln!("seed {seed}: {networks} networks, {steps} steps; {:?}", detector.record.notes);
    let seen = see(&detector, &held_out, Image::clone);
    Ok(Half { detector, paths: held_out, held_out: seen })
}

/// Images as the energy takes them.
pub(crate) fn prepared(paths: &[PathBuf], config: &TrainConfig) -> Vec<Image> {
    let preprocessing = config.preprocessing();
    let loaded = load_all(paths, |image| prepare(image, None, &preprocessing));
    loaded.images.into_iter().map(|(_, picture)| picture).collect()
}

/// Inspects images after a change.
fn see(detector: &Detector, paths: &[PathBuf], change: impl Fn(&Image) -> Image + Sync) -> Vec<Seen> {
    let loaded = load_all(paths, |image| {
        let image = change(image);
        (Conditions::of(&image, None), detector.prepare(&image))
    });
    let (conditions, pictures): (Vec<Conditions>, Vec<Image>) =
        loaded.images.into_iter().map(|(_, seen)| seen).unzip();
    let inspections = pictures.chunks(16).flat_map(|chunk| detector.inspect_prepared(chunk, Detail::Default));
    let seen = inspections
        .zip(conditions)
        .map(|(i, conditions)| Seen { values: watched(&i, &conditions), peak: detector.peak(&i) });
    seen.collect()
}

fn score(seen: &Seen) -> f64 {
    seen.values[0]
}

fn peak(seen: &Seen) -> f64 {
    seen.peak
}

/// Random splits of held-out images into calibration images and one new image.
fn held_out(found: &[Category]) {
    println!(
        "### Held out: {CALIBRATION} calibration images and one new normal image, {SPLITS} random splits\n\n\
         | category | images | what | 10 % stated | 5 % stated | 1 % stated |\n|---|---|---|---|---|---|"
    );
    for Category { name, halves, .. } in found {
        for (what, of) in [("rejected", score as fn(&Seen) -> f64), ("shows a region", peak)] {
            let rates = RATES.map(|rate| {
                let mut rng = ChaCha8Rng::seed_from_u64(7);
                let flagged = (0..SPLITS).filter(|split| {
                    let mut scores: Vec<f64> = halves[split % halves.len()].held_out.iter().map(of).collect();
                    let (drawn, _) = scores.partial_shuffle(&mut rng, CALIBRATION + 1);
                    let (&mut new, calibration) = drawn.split_first_mut().expect("a split has an image");
                    calibrated(calibration, rate).flags(new)
                });
                with_interval(flagged.count(), SPLITS)
            });
            let images = halves[0].held_out.len();
            println!("| {name} | {images} | {what} | {} | {} | {} |", rates[0], rates[1], rates[2]);
        }
    }
    println!();
}

/// The other half against the cross-fitted calibration of the half that was trained on.
fn cross_fitted(found: &[Category]) {
    println!(
        "### Cross-fitted: new normal images that were not trained on, each training its own random half\n\n\
         | category | calibrated on | new | trainings | what | 10 % stated | 5 % stated | 1 % stated |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for Category { name, halves, .. } in found {
        for (what, of, is_map) in
            [("rejected", score as fn(&Seen) -> f64, false), ("shows a region", peak, true)]
        {
            let rates = RATES.map(|rate| {
                let shares: Vec<f64> = halves
                    .iter()
                    .map(|half| {
                        let calibration = &half.detector.calibration;
                        assert_eq!(calibration.basis, Basis::CrossFitted);
                        let scores = if is_map { &calibration.map } else { &calibration.image };
                        let scores = scores.clone().with_rate(rate).expect("the rates are shares");
                        share(&half.held_out, |seen| scores.flags(of(seen)))
                    })
                    .collect();
                let (low, high) =
                    shares.iter().fold((1.0, 0.0), |(l, h), &s| (f64::min(l, s), f64::max(h, s)));
                let mean = shares.iter().sum::<f64>() / shares.len() as f64;
                format!("{:.1} % ({:.1}–{:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
            });
            let (trained, new) = (halves[0].detector.calibration.image.count(), halves[0].held_out.len());
            let [ten, five, one] = rates;
            let trainings = halves.len();
            println!("| {name} | {trained} | {new} | {trainings} | {what} | {ten} | {five} | {one} |");
        }
    }
    println!();
}

/// Normal test images, which may have been taken under other conditions.
fn test_images(found: &[Category]) {
    println!(
        "### Normal test images against held-out training images, and whether `drift` tells them apart\n\n\
         | category | test images | rejected at 10 % | 5 % | 1 % | streams with an alarm | median image |\n\
         |---|---|---|---|---|---|---|"
    );
    for Category { name, halves, test_good, .. } in found {
        let reference = &halves[0].held_out;
        let scores: Vec<f64> = reference.iter().map(score).collect();
        let rejected = RATES.map(|rate| {
            let calibration = calibrated(&scores, rate);
            format!("{:.0} %", 100.0 * share(test_good, |seen| calibration.flags(score(seen))))
        });
        let delays = over_streams(|rng, seed| {
            let mut stream = test_good.clone();
            stream.shuffle(rng);
            first_alarm(reference, stream.into_iter(), 0.01, seed)
        });
        let [ten, five, one] = rejected;
        let (found, median, _) = quantiles(&delays, "–");
        let count = test_good.len();
        println!("| {name} | {count} | {ten} | {five} | {one} | {found} | {median} |");
    }
    println!();
}

/// Streams without change: independent draws from one set of images, as are the reference.
fn steady(found: &[Category]) -> Result<(), AnyError> {
    println!(
        "### Drift: streams of {STEADY} images without change that ever raise an alarm, of {STREAMS}\n\n\
         | category | at most 5 % stated | at most 1 % stated |\n|---|---|---|"
    );
    for Category { name, halves, .. } in found {
        let pool = &halves[0].held_out;
        let highest: Vec<f64> = (0..STREAMS)
            .into_par_iter()
            .map(|seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let reference = draw(pool, REFERENCE, &mut rng);
                let mut watch = watch(&reference, 0.01, seed);
                (0..STEADY)
                    .map(|_| evidence(&mut watch, &pool[rng.random_range(0..pool.len())]))
                    .fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
        let alarms = |rate: f64| highest.iter().filter(|&&log10| log10 >= -rate.log10()).count();
        let [five, one] = [0.05, 0.01].map(|rate| with_interval(alarms(rate), STREAMS as usize));
        println!("| {name} | {five} | {one} |");
    }
    println!();
    Ok(())
}

/// Images after a change until the alarm.
fn changes(found: &[Category]) -> Result<(), AnyError> {
    println!(
        "### Drift: images after a change until the alarm, median and 9 of 10 streams\n\n\
         {REFERENCE} reference images, {REFERENCE} unchanged ones before the change, at most 1 % false alarms, \
         {STREAMS} streams;\n“>{CHANGED}”: later or never.\n"
    );
    let names: Vec<&str> = found.iter().map(|category| category.name.as_str()).collect();
    println!("| change | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (at, (change, _)) in CHANGES.iter().enumerate() {
        let cells = found.iter().map(|Category { halves, changed, .. }| {
            let (pool, changed) = (&halves[0].held_out, &changed[at]);
            let delays = over_streams(|rng, seed| {
                let reference = draw(pool, REFERENCE, rng);
                let stream = draw(pool, REFERENCE, rng).into_iter().chain(draw(changed, CHANGED, rng));
                // An alarm before the change is a false one; it is counted as never.
                first_alarm(&reference, stream, 0.01, seed)?
                    .checked_sub(REFERENCE)
                    .filter(|&images| images > 0)
            });
            let (_, median, most) = quantiles(&delays, &format!(">{CHANGED}"));
            format!("{median}, {most}")
        });
        println!("| {change} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}

/// The image of a stream, counted from 1, at which drift is reported.
fn first_alarm(
    reference: &[Seen],
    stream: impl Iterator<Item = Seen>,
    rate: f64,
    seed: u64,
) -> Option<usize> {
    let mut watch = watch(reference, rate, seed);
    let limit = watch.log10_limit();
    stream.into_iter().position(|seen| evidence(&mut watch, &seen) >= limit).map(|at| at + 1)
}

fn watch(reference: &[Seen], rate: f64, seed: u64) -> Watch {
    let names = ["score", "brightness", "contrast", "sharpness"];
    let of = |k: usize| reference.iter().map(|seen| seen.values[k]).collect();
    let references = names.iter().enumerate().map(|(k, name)| ((*name).to_owned(), of(k)));
    Watch::new(references, rate, seed).expect("scores are finite")
}

/// The strongest evidence after one more image.
fn evidence(watch: &mut Watch, seen: &Seen) -> f64 {
    let moment = watch.push(&seen.values).expect("scores are finite");
    moment.log10_evidence.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

fn over_streams(stream: impl Fn(&mut ChaCha8Rng, u64) -> Option<usize> + Sync) -> Vec<Option<usize>> {
    (0..STREAMS).into_par_iter().map(|seed| stream(&mut ChaCha8Rng::seed_from_u64(seed), seed)).collect()
}

/// Share of streams with an alarm, and after how many images half and nine tenths of all have one.
fn quantiles(delays: &[Option<usize>], otherwise: &str) -> (String, String, String) {
    let mut found: Vec<usize> = delays.iter().flatten().copied().collect();
    found.sort_unstable();
    let after = |share: f64| {
        let at = (share * delays.len() as f64).ceil() as usize - 1;
        found.get(at).map_or_else(|| otherwise.to_owned(), ToString::to_string)
    };
    (format!("{:.0} %", 100.0 * found.len() as f64 / delays.len() as f64), after(0.5), after(0.9))
}

fn draw(pool: &[Seen], count: usize, rng: &mut ChaCha8Rng) -> Vec<Seen> {
    (0..count).map(|_| pool[rng.random_range(0..pool.len())]).collect()
}

fn calibrated(scores: &[f64], rate: f64) -> Conformal {
    Conformal::new(scores.to_vec(), rate).expect("scores are finite")
}

fn share(seen: &[Seen], is: impl Fn(&Seen) -> bool) -> f64 {
    seen.iter().filter(|seen| is(seen)).count() as f64 / seen.len() as f64
}

/// A share with its 95 % interval (Wilson 1927).
fn with_interval(hits: usize, trials: usize) -> String {
    let (n, z) = (trials as f64, 1.96f64);
    let share = hits as f64 / n;
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let reach = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let percent = |share: f64| 100.0 * share.max(0.0);
    format!("{:.2} % ({:.2}–{:.2})", percent(share), percent(centre - reach), percent(centre + reach))
}

fn each_value(image: &Image, change: impl Fn(f32) -> f32) -> Image {
    let pixels = image.pixels.iter().map(|&value| change(value).clamp(0.0, 1.0)).collect();
    Image { pixels, ..*image }
}

fn blurred(image: &Image, sigma_px: f32) -> Image {
    let Image { width, height, channels, .. } = *image;
    let mut pixels = vec![0.0; image.pixels.len()];
    for channel in 0..channels {
        let values = image.pixels.iter().skip(channel).step_by(channels).copied().collect();
        let map = Map { width, height, values }.gaussian_blur(sigma_px);
        pixels.iter_mut().skip(channel).step_by(channels).zip(map.values).for_each(|(to, from)| *to = from);
    }
    Image { pixels, ..*image }
}

/// The image moved to the right, its left border repeated.
fn moved(image: &Image, by: usize) -> Image {
    let Image { width, channels, .. } = *image;
    let from = |at: usize| at / width * width + (at % width).saturating_sub(by);
    let count = image.pixels.len() / channels;
    let pixels =
        (0..count).flat_map(|at| &image.pixels[from(at) * channels..][..channels]).copied().collect();
    Image { pixels, ..*image }
}
