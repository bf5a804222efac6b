//! Times the closed form on made-up pictures of 256 × 256 pixels: what it takes to fit it and to score one.
//!
//! `cargo run --release -p groundstate --example closed_form [PICTURES]`

use std::time::Instant;

use groundstate::image::Image;
use groundstate::model::{Batch, Energy, FeatureBank, Gaussian, GaussianConfig, Wanted};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const EDGE: usize = 256;
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

fn main() {
    let count = std::env::args().nth(1).map_or(209, |n| n.parse().expect("PICTURES is a number"));
    let pictures: Vec<Image> = (0..count).map(picture).collect();
    let all: Vec<&Image> = pictures.iter().collect();
    let one = Batch::of([&picture(count)]);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can start");
        pool.install(|| {
            let start = Instant::now();
            let bank = FeatureBank::new(&all, 3, &GaussianConfig::default()).expect("enough pictures");
            let features_s = start.elapsed().as_secs_f64();
            let fits: Vec<Gaussian> = [Some(0), Some(1), Some(2), None]
                .map(|without| bank.fit(without).expect("enough pictures"))
                .into();
            let fit_s = start.elapsed().as_secs_f64();
            let energy = &fits[3];
            let energies_ms = median_ms(|| drop(energy.local_energies(&one)));
            let free_ms = median_ms(|| drop(energy.evaluate(&one, Wanted { free: true, gradient: false })));
            let all_ms = median_ms(|| drop(energy.evaluate(&one, Wanted::ALL)));
            println!(
                "{threads} threads: features of {count} pictures {features_s:.2} s, with 3 folds and the whole \
                 {fit_s:.2} s; one picture {energies_ms:.2} ms, with free energies {free_ms:.2} ms, with gradient, \
                 too, {all_ms:.2} ms"
            );
        });
    }
}
