//! Speed at the size of a large test set. Run by hand, two cores suffice:
//! `cargo test --release -p groundstate --test metrics_scale -- --ignored --nocapture`

use std::time::Instant;

use groundstate::metrics::{LabelledMap, PixelRanking, aupimo};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
#[ignore = "takes 1 GiB of memory; speed is measured in release"]
fn forty_million_pixels_are_ranked_in_seconds() {
    const WIDTH: usize = 400;
    const HEIGHT: usize = 250;
    let mask: Vec<bool> =
        (0..WIDTH * HEIGHT).map(|i| (100..140).contains(&(i / WIDTH)) && i % WIDTH < 60).collect();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let scores: Vec<Vec<f32>> = (0..400)
        .map(|image| {
            let lift = if image % 2 == 0 { 0.5 } else { 0.0 };
            mask.iter().map(|&m| random.random::<f32>() + if m { lift } else { 0.0 }).collect()
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
            inside: None,
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
    // A uniform draw plus ½ beats another draw with probability 1 − ½ (½)². The standard error over
    // the 480,000 defective pixels is below 4e-4.
    let expected = 0.875;
    assert!((values[0] - expected).abs() < 1e-3, "{} {expected}", values[0]);
    assert!(seconds < 20.0, "{seconds} s");
}
