//! Times the closed form on pictures of 256 × 256 pixels: what it takes to fit it and to score one.
//!
//! `cargo run --release -p groundstate --example closed_form [COUNT|FOLDER]`: so many made-up pictures (209 unless
//! told) or the files in a folder, which are decoded and scaled.

use std::path::PathBuf;
use std::time::Instant;

use groundstate::dataset::load_all;
use groundstate::image::{Image, Preprocessing};
use groundstate::model::{Batch, Energy, FeatureBank, GaussianConfig, Wanted};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const EDGE: usize = 256;
/// Folds that are left out in turn.
const FOLDS: usize = 3;
/// Calls of which the median is shown.
const CALLS: usize = 51;

/// Smooth shapes that vary a little from picture to picture, and noise.
fn picture(number: usize) -> Image {
    let mut rng = StdRng::seed_from_u64(number as u64);
    let phase = rng.random_range(-0.2..0.2f32);
    let pixels = (0..EDGE * EDGE * 3).map(|i| {
        let (x, y, c) = (i / 3 % EDGE, i / 3 / EDGE, i % 3);
        let shape = (x as f32 / 11.0 + phase).sin() * (y as f32 / (13.0 + c as f32)).cos();
        0.5 + 0.3 * shape + rng.random_range(-0.05..0.05)
    });
    Image { width: EDGE, height: EDGE, channels: 3, pixels: pixels.collect() }
}

/// The median time of a call, in ms.
fn median_ms(mut call: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..CALLS).map(time).collect();
    times.sort_by(f64::total_cmp);
    times[CALLS / 2]
}

/// Made-up pictures, or the files in a folder as the energy takes them.
fn pictures(source: &str) -> Vec<Image> {
    if let Ok(count) = source.parse() {
        return (0..count).map(picture).collect();
    }
    let entries = std::fs::read_dir(source).expect("the argument is a number or a folder of pictures");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    let preprocessing = Preprocessing { size: EDGE, ..Preprocessing::default() };
    let loaded = load_all(&paths, |image| preprocessing.apply(image));
    assert!(loaded.failures.is_empty(), "every file is a picture");
    loaded.images.into_iter().map(|(_, image)| image).collect()
}

fn main() {
    let source = std::env::args().nth(1).unwrap_or_else(|| "209".to_owned());
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can start");
        pool.install(|| {
            let start = Instant::now();
            let pictures = pictures(&source);
            let made_s = start.elapsed().as_secs_f64();
            let all: Vec<&Image> = pictures.iter().collect();
            let bank = FeatureBank::new(&all, FOLDS, &GaussianConfig::default()).expect("enough pictures");
            let energy = bank.fit(None).expect("enough pictures");
            let fit_s = start.elapsed().as_secs_f64() - made_s;
            for fold in 0..FOLDS {
                bank.fit(Some(fold)).expect("enough pictures");
            }
            let folds_s = start.elapsed().as_secs_f64() - made_s - fit_s;
            let one = Batch::of([&pictures[0]]);
            let energies_ms = median_ms(|| drop(energy.local_energies(&one)));
            let free_ms = median_ms(|| drop(energy.evaluate(&one, Wanted { free: true, gradient: false })));
            let all_ms = median_ms(|| drop(energy.evaluate(&one, Wanted::ALL)));
            println!(
                "{threads} threads: {} pictures made or decoded in {made_s:.2} s, fitted in {fit_s:.2} s, without \
                 each of {FOLDS} folds in {folds_s:.2} s more; one picture {energies_ms:.2} ms, with free energies \
                 {free_ms:.2} ms, with gradient, too, {all_ms:.2} ms",
                pictures.len()
            );
        });
    }
}
