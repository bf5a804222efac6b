//! Pictures that keep their size and are worked through in tiles.

use std::time::Instant;

use groundstate::artifact;
use groundstate::detector::{Detail, Detector, prepare};
use groundstate::image::{Colour, Fit, Image, Map};
use groundstate::model::NetworkConfig;
use groundstate::score::MapKind;
use groundstate::train::{Control, Gallery, MethodName, OptimiserConfig, TrainConfig, train, train_tiled};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A rolled plate, grey: streaks along it, shading across it, grain, and its own light.
fn plate(width: usize, height: usize, number: u64) -> Image {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let light = rng.random_range(0.9..1.1f32);
    let streaks: Vec<f32> = (0..height).map(|_| 0.03 * rng.random_range(-1.0..1.0f32)).collect();
    let pixels = (0..width * height).map(|i| {
        let (x, y) = ((i % width) as f32 / width as f32, i / width);
        light * (0.45 + 0.1 * (3.0 * x).sin() + streaks[y] + 0.02 * rng.random_range(-1.0..1.0f32))
    });
    Image { width, height, channels: 1, pixels: pixels.collect() }
}

/// A round pit of `diameter` pixels, darker by a tenth of the range, its centre at `at`.
fn with_pit(mut picture: Image, at: (usize, usize), diameter: usize) -> Image {
    let radius = diameter as f32 / 2.0;
    for y in at.1 - diameter..at.1 + diameter {
        for x in at.0 - diameter..at.0 + diameter {
            let (dx, dy) = (x as f32 - at.0 as f32, y as f32 - at.1 as f32);
            if dx * dx + dy * dy <= radius * radius {
                picture.pixels[y * picture.width + x] -= 0.1;
            }
        }
    }
    picture
}

fn config(method: MethodName, fit: Fit) -> TrainConfig {
    TrainConfig {
        method,
        fit,
        colour: Colour::Grey,
        budget_seconds: 1e6,
        // How far a network looks depends on its depth, what it costs on its width.
        network: NetworkConfig { width: 8, ..Default::default() },
        optimiser: OptimiserConfig { steps: Some(3), batch: Some(2), ..Default::default() },
        ..Default::default()
    }
}

/// Trains on plates 0, 1, … of one size.
fn trained(config: &TrainConfig, count: usize, (width, height): (usize, usize)) -> Detector {
    let picture = |at: usize| Ok(prepare(&plate(width, height, at as u64), None, &config.preprocessing()));
    let mut observer = |_: &_| Control::Continue;
    if config.fit == Fit::Tile {
        let gallery = Gallery { count, picture: &picture };
        return train_tiled(config, &gallery, Instant::now(), None, &mut observer).unwrap().detector;
    }
    let pictures = (0..count).map(picture).collect::<Result<_, groundstate::image::ImageError>>().unwrap();
    train(config, pictures, Instant::now(), &mut observer).unwrap()
}

/// The greatest and the mean difference of two maps, in units of the spread of the first.
fn difference(a: &Map, b: &Map) -> (f32, f32) {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let centre = mean(&a.values);
    let spread = mean(&a.values.iter().map(|v| (v - centre).powi(2)).collect::<Vec<f32>>()).sqrt();
    let differences: Vec<f32> = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs() / spread).collect();
    (differences.iter().copied().fold(0.0, f32::max), mean(&differences))
}

/// Compares tiles of 512 px with one tile for the whole of a picture.
fn assert_independent_of_tiling(method: MethodName) {
    let config = TrainConfig { size: Some(64), ..config(method, Fit::Tile) };
    let small = trained(&config, 6, (300, 200));
    let mut large = small.clone();
    large.preprocessing.size = 2048;
    let picture = with_pit(plate(1403, 745, 9), (512, 511), 8);
    let (a, b) = (small.inspect(&picture), large.inspect(&picture));
    for kind in MapKind::ALL {
        let (whole, tiled) = (large.map(&b, kind, 1403, 745), small.map(&a, kind, 1403, 745));
        let (greatest, mean) = difference(&whole, &tiled);
        // Local energies differ by rounding. So do gradients of the closed form, where features near zero
        // amplify it; those of networks reach a little beyond the margin.
        let limit =
            if matches!(kind, MapKind::Energy | MapKind::EnergyZ) { (1e-3, 1e-4) } else { (0.5, 0.02) };
        assert!(greatest < limit.0 && mean < limit.1, "{method}, {kind:?}: {greatest} {mean}");
    }
    for (name, a) in &a.scores {
        let change = (a - b.scores[name]).abs() / b.scores[name].abs().max(1.0);
        assert!(change < 2e-3, "{method}, {name}: {change}");
    }
}

#[test]
fn maps_and_scores_do_not_depend_on_the_tiling() {
    MethodName::ALL.into_iter().for_each(assert_independent_of_tiling);
}

#[test]
fn a_pit_of_6_px_is_found_in_tiles_and_lost_in_a_shrunk_picture() {
    // Shrinking takes a sixteenth of the width and a quarter of the height.
    let size = (1500, 375);
    let places = [(283, 113), (1350, 330)];
    let verdicts = |fit: Fit| {
        let config = TrainConfig { size: Some(96), ..config(MethodName::Gaussian, fit) };
        let detector = trained(&config, 5, size);
        places.map(|at| {
            let picture = with_pit(plate(size.0, size.1, 100), at, 6);
            let picture = detector.prepare(&picture);
            let inspection = detector.inspect_prepared(&[picture], Detail::Default).remove(0);
            let regions = detector.segment(&inspection, size.0, size.1, 1).regions;
            let found = regions.first().is_some_and(|region| {
                let (x, y) = (region.peak_at.x.abs_diff(at.0), region.peak_at.y.abs_diff(at.1));
                x < 16 && y < 16
            });
            (inspection.p_value, found)
        })
    };
    let (tiled, shrunk) = (verdicts(Fit::Tile), verdicts(Fit::Stretch));
    // The least p-value that 5 pictures can give.
    assert!(tiled.iter().all(|(p, found)| *found && *p <= 1.0 / 6.0), "{tiled:?}");
    assert!(shrunk.iter().all(|(p, found)| !found && *p > 0.2), "{shrunk:?}");
}

#[test]
fn pictures_of_other_sizes_are_inspected_and_the_file_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gsm");
    for method in MethodName::ALL {
        let config = TrainConfig { size: Some(64), ..config(method, Fit::Tile) };
        let detector = trained(&config, 6, (200, 150));
        artifact::save(&detector, &path).unwrap();
        let loaded = artifact::load(&path).unwrap();
        for (width, height) in [(200, 150), (1, 1), (33, 700), (601, 40)] {
            let picture = plate(width, height, 50);
            let (before, after) = (detector.inspect(&picture), loaded.inspect(&picture));
            assert_eq!(before.scores, after.scores, "{method}, {width} × {height}");
            assert!(before.scores.values().all(|score| score.is_finite()), "{method}, {width} × {height}");
            let map = loaded.map(&after, loaded.default_map, width, height);
            assert_eq!((map.width, map.height), (width, height));
            assert!(f64::from(map.max()) <= loaded.peak(&after));
        }
    }
}
