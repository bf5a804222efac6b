//! Metrics against scikit-learn, scipy and plain loops; `reference/make_metrics_reference.py` made
//! the numbers and specifies the generator that both sides draw their inputs from.

use groundstate::metrics::{LabelledMap, PixelRanking, Ranking, aupimo};
use serde::Deserialize;

/// Both sides compute in f64 from identical inputs; what differs is the order of the sums.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Cases {
    images: Vec<ImageCase>,
    pixels: Vec<PixelCase>,
}

#[derive(Deserialize)]
struct ImageCase {
    name: String,
    draws: ImageDraws,
    anomalous: usize,
    auroc: f64,
    low: f64,
    high: f64,
    average_precision: f64,
    f1_max: f64,
    f1_max_threshold: f64,
}

#[derive(Deserialize)]
struct ImageDraws {
    seed: u64,
    count: usize,
    share: u64,
    levels: u64,
    shift: i64,
}

#[derive(Deserialize)]
struct PixelCase {
    name: String,
    roi: bool,
    draws: PixelDraws,
    pixels: usize,
    components: usize,
    auroc: f64,
    average_precision: f64,
    f1_max: f64,
    aupro_30: f64,
    aupro_05: f64,
    aupimo: Option<f64>,
    aupimo_images: Option<usize>,
}

#[derive(Deserialize)]
struct PixelDraws {
    seed: u64,
    count: usize,
    spread: u64,
    levels: u64,
    shift: i64,
}

struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

struct Drawn {
    width: usize,
    height: usize,
    scores: Vec<f32>,
    mask: Option<Vec<bool>>,
    /// The left three quarters without the top fifth.
    inside: Vec<bool>,
}

fn draw_images(draws: &ImageDraws) -> (Vec<f64>, Vec<bool>) {
    let mut random = Draws(draws.seed);
    (0..draws.count)
        .map(|_| {
            let anomalous = random.below(100) < draws.share;
            let score = random.below(draws.levels) as i64 + if anomalous { draws.shift } else { 0 };
            (score as f64 / 1024.0, anomalous)
        })
        .unzip()
}

fn draw_maps(draws: &PixelDraws) -> Vec<Drawn> {
    let mut random = Draws(draws.seed);
    (0..draws.count)
        .map(|_| {
            let width = 20 + random.below(draws.spread) as usize;
            let height = 20 + random.below(draws.spread) as usize;
            let blobs = random.below(4);
            let mut mask = vec![false; width * height];
            for _ in 0..blobs {
                let (x, y) = (random.below(width as u64) as usize, random.below(height as u64) as usize);
                let (w, h) = (1 + random.below(9) as usize, 1 + random.below(9) as usize);
                for row in y..(y + h).min(height) {
                    mask[row * width + x..row * width + (x + w).min(width)].fill(true);
                }
            }
            let scores = mask
                .iter()
                .map(|&m| {
                    let score = random.below(draws.levels) as i64 + if m { draws.shift } else { 0 };
                    (score as f64 / 1024.0) as f32
                })
                .collect();
            let inside = |at: usize| 4 * (at % width) < 3 * width && 5 * (at / width) >= height;
            let inside = (0..width * height).map(inside).collect();
            Drawn { width, height, scores, mask: (blobs > 0).then_some(mask), inside }
        })
        .collect()
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("reference/metrics.json")).expect("the script wrote valid JSON")
}

#[track_caller]
fn assert_close(case: &str, metric: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() < TOLERANCE, "{case}: {metric} is {found}, expected {expected}");
}

#[test]
fn image_metrics_agree_with_scikit_learn() {
    for case in cases().images {
        let (scores, anomalous) = draw_images(&case.draws);
        assert_eq!(anomalous.iter().filter(|&&a| a).count(), case.anomalous, "{}", case.name);
        let ranking = Ranking::new(&scores, &anomalous).expect("both classes");
        let auroc = ranking.auroc_with_interval();
        assert_close(&case.name, "AUROC", ranking.auroc(), case.auroc);
        assert_close(&case.name, "AUROC with interval", auroc.value, case.auroc);
        assert_close(&case.name, "lower end", auroc.low, case.low);
        assert_close(&case.name, "upper end", auroc.high, case.high);
        assert_close(&case.name, "AP", ranking.average_precision(), case.average_precision);
        assert_close(&case.name, "F1-max", ranking.f1_max().value, case.f1_max);
        assert_close(&case.name, "F1-max threshold", ranking.f1_max().threshold, case.f1_max_threshold);
    }
}

#[test]
fn pixel_metrics_agree_with_scikit_learn_and_scipy() {
    for case in cases().pixels {
        let drawn = draw_maps(&case.draws);
        let maps: Vec<LabelledMap<'_>> = drawn
            .iter()
            .map(|map| LabelledMap {
                width: map.width,
                height: map.height,
                scores: &map.scores,
                mask: map.mask.as_deref(),
                inside: case.roi.then_some(&map.inside),
            })
            .collect();
        let count = |map: &LabelledMap<'_>| {
            map.inside.map_or(map.scores.len(), |inside| inside.iter().filter(|inside| **inside).count())
        };
        assert_eq!(maps.iter().map(count).sum::<usize>(), case.pixels, "{}", case.name);
        let ranking = PixelRanking::new(&maps).expect("both classes");
        assert_eq!(ranking.components(), case.components, "{}", case.name);
        assert_close(&case.name, "pixel AUROC", ranking.auroc(), case.auroc);
        assert_close(&case.name, "pixel AP", ranking.average_precision(), case.average_precision);
        assert_close(&case.name, "pixel F1-max", ranking.f1_max().value, case.f1_max);
        assert_close(&case.name, "AUPRO@0.3", ranking.aupro(0.3).expect("limit"), case.aupro_30);
        assert_close(&case.name, "AUPRO@0.05", ranking.aupro(0.05).expect("limit"), case.aupro_05);
        match case.aupimo {
            None => assert!(aupimo(&maps).is_err(), "{}", case.name),
            Some(expected) => {
                let found = aupimo(&maps).expect("enough normal pixels");
                assert_eq!(Some(found.per_image.len()), case.aupimo_images, "{}", case.name);
                assert_close(&case.name, "AUPIMO", found.mean, expected);
            }
        }
    }
}
