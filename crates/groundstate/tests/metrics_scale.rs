//! Speed at the size of a large test set. Run by hand, two cores suffice:
//! `cargo test --release -p groundstate --test metrics_scale -- --ignored --nocapture`

use std::time::Instant;

use groundstate::metrics::{LabelledMap, PixelRanking, aupimo};

#[test]
#[ignore = "takes 1 GiB of memory; speed is measured in release"]
fn forty_million_pixels_are_ranked_in_seconds() {
    const WIDTH: usize = 400;
    const HEIGHT: usize = 250;
    let mask: Vec<bool> =
        (0..WIDTH * HEIGHT).map(|i| (100..140).contains(&(i / WIDTH)) && i % WIDTH < 60).collect();
    let mut state = 1_u64;
    let scores: Vec<Vec<f32>> = (0..400)
        .map(|_| {
            let mut draw = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as f32
            };
            mask.iter().map(|&m| draw() + if m { 1e9 } else { 0.0 }).collect()
        })
        .collect();
    let maps: Vec<LabelledMap<'_>> = scores
        .iter()
        .enumerate()
        .map(|(i, scores)| LabelledMap {
            width: WIDTH,
            height: HEIGHT,
            scores,
            mask: (i % 2 == 0).then_some(mask.as_slice()),
        })
        .collect();

    let started = Instant::now();
    let ranking = PixelRanking::new(&maps).expect("both classes");
    println!("sort {:.2} s", started.elapsed().as_secs_f64());
    assert_eq!(ranking.components(), 200);
    let values = [
        ranking.auroc(),
        ranking.average_precision(),
        ranking.f1_max().value,
        ranking.aupro(0.3).expect("limit"),
        ranking.aupro(0.05).expect("limit"),
    ];
    println!("AUROC, AP, F1-max, AUPRO {values:?} after {:.2} s", started.elapsed().as_secs_f64());
    let pimo = aupimo(&maps).expect("enough normal pixels").mean;
    let seconds = started.elapsed().as_secs_f64();
    println!("AUPIMO {pimo} after {seconds:.2} s");
    // A draw below 2³¹ ≈ 2.147e9 beats another by 1e9 with probability 1 − ½ (1 − 1e9 / 2³¹)².
    let expected = 1.0 - 0.5 * (1.0 - 1e9 / 2_f64.powi(31)).powi(2);
    assert!((values[0] - expected).abs() < 1e-3, "{} {expected}", values[0]);
    assert!(seconds < 20.0, "{seconds} s");
}
