use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::plain;

/// Width, height, channels: cells alone, borders that mirror more than once, edges that no vector divides.
const SHAPES: [(usize, usize, usize); 8] =
    [(4, 4, 1), (4, 8, 3), (8, 4, 2), (12, 20, 1), (36, 44, 3), (68, 32, 3), (64, 100, 1), (132, 72, 4)];

fn random(length: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..length).map(|_| rng.random_range(0.0..1.0)).collect()
}

/// Cells × features as rows × features × columns.
fn by_row(values: &[f32], columns: usize, d: usize) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        (0..d).flat_map(|f| (0..columns).map(move |x| (x, f))).map(|(x, f)| row[x * d + f]).collect()
    };
    values.chunks_exact(columns * d).flat_map(row).collect()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}, {i}: {a} {b}");
    }
}

#[test]
fn every_backend_agrees_with_the_plain_features_and_their_gradient() {
    for (width, height, channels) in SHAPES {
        let picture = random(width * height * channels, 1);
        let twin = plain::Pyramid::new(channels);
        let expected = twin.forward(&picture, width, height);
        let weights: Vec<f32> = random(expected.len(), 2).iter().map(|w| w - 0.5).collect();
        let slopes = twin.backward(&picture, width, height, &weights);
        for backend in Backend::available() {
            let what = format!("{} {width}×{height}×{channels}", backend.name());
            let pyramid = Pyramid::with_backend(width, height, channels, backend);
            let features = pyramid.forward(&picture);
            // Roots near zero stretch roundings of window sums about a thousandfold.
            assert_close(&features.by_cell(), &expected, 2e-4, &what);
            let weights = by_row(&weights, pyramid.columns(), Pyramid::dimensions(channels));
            let found = pyramid.backward(&features, &weights);
            assert_close(&found, &slopes, 5e-3, &what);
        }
    }
}

#[test]
fn a_flat_picture_has_no_slope_but_that_of_its_colour() {
    let (width, height, channels) = (32, 24, 3);
    let picture = vec![0.25; width * height * channels];
    let twin = plain::Pyramid::new(channels);
    let weights = vec![1.0; twin.forward(&picture, width, height).len()];
    for backend in Backend::available() {
        let pyramid = Pyramid::with_backend(width, height, channels, backend);
        let features = pyramid.forward(&picture);
        assert_close(&features.by_cell(), &twin.forward(&picture, width, height), 2e-3, backend.name());
        let gradient = pyramid.backward(&features, &weights);
        assert!(gradient.iter().all(|g| g.is_finite()));
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (width, height, channels) = (96, 132, 3);
    let picture = random(width * height * channels, 3);
    let pyramid = Pyramid::new(width, height, channels);
    let weights = random(pyramid.columns() * pyramid.rows() * Pyramid::dimensions(channels), 4);
    let with_threads = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(|| {
            let features = pyramid.forward(&picture);
            (features.by_cell(), pyramid.backward(&features, &weights))
        })
    };
    assert!(with_threads(1) == with_threads(3));
}
