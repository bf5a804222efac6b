//! What every ranking metric must satisfy, whatever the scores.

use groundstate::metrics::{LabelledMap, PixelRanking, Ranking};
use proptest::prelude::*;

/// Scores on a coarse grid, so that ties are common, with at least one image of either class.
fn labelled_scores() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
    proptest::collection::vec((-20_i32..20, any::<bool>()), 2..60)
        .prop_map(|drawn| drawn.into_iter().map(|(score, label)| (f64::from(score) / 4.0, label)).unzip())
        .prop_filter("both classes", |(_, labels): &(Vec<f64>, Vec<bool>)| {
            labels.iter().any(|&l| l) && labels.iter().any(|&l| !l)
        })
}

fn ranking(scores: &[f64], anomalous: &[bool]) -> Ranking {
    Ranking::new(scores, anomalous).expect("both classes are present")
}

proptest! {
    #[test]
    fn auroc_is_the_share_of_pairs_in_the_right_order((scores, anomalous) in labelled_scores()) {
        let of = |wanted| {
            scores.iter().zip(&anomalous).filter(move |(_, a)| **a == wanted).map(|(s, _)| *s)
        };
        let pairs: Vec<f64> = of(true)
            .flat_map(|p| of(false).map(move |n| if p > n { 1.0 } else if p == n { 0.5 } else { 0.0 }))
            .collect();
        let expected = pairs.iter().sum::<f64>() / pairs.len() as f64;
        prop_assert!((ranking(&scores, &anomalous).auroc() - expected).abs() < 1e-12);
    }

    #[test]
    fn every_metric_ignores_increasing_maps((scores, anomalous) in labelled_scores()) {
        let mapped: Vec<f64> = scores.iter().map(|s| 1e6 * (s.exp() + s)).collect();
        let (plain, mapped) = (ranking(&scores, &anomalous), ranking(&mapped, &anomalous));
        prop_assert_eq!(plain.auroc_with_interval(), mapped.auroc_with_interval());
        prop_assert_eq!(plain.average_precision(), mapped.average_precision());
        prop_assert_eq!(plain.f1_max().value, mapped.f1_max().value);
        prop_assert_eq!(plain.roc_curve(), mapped.roc_curve());
    }

    #[test]
    fn the_order_of_the_images_does_not_matter(
        ((scores, anomalous), shift) in (labelled_scores(), 0_usize..60)
    ) {
        let shift = shift % scores.len();
        let (mut turned_scores, mut turned_labels) = (scores.clone(), anomalous.clone());
        turned_scores.rotate_left(shift);
        turned_labels.rotate_left(shift);
        let (plain, turned) = (ranking(&scores, &anomalous), ranking(&turned_scores, &turned_labels));
        prop_assert_eq!(plain.auroc_with_interval(), turned.auroc_with_interval());
        prop_assert_eq!(plain.average_precision(), turned.average_precision());
        prop_assert_eq!(plain.f1_max(), turned.f1_max());
    }

    #[test]
    fn flipping_the_labels_mirrors_the_auroc_and_its_interval((scores, anomalous) in labelled_scores()) {
        let flipped: Vec<bool> = anomalous.iter().map(|a| !a).collect();
        let plain = ranking(&scores, &anomalous).auroc_with_interval();
        let mirror = ranking(&scores, &flipped).auroc_with_interval();
        prop_assert!((plain.value - (1.0 - mirror.value)).abs() < 1e-12);
        prop_assert!((plain.low - (1.0 - mirror.high)).abs() < 1e-9, "{:?} {:?}", plain, mirror);
        prop_assert!((plain.high - (1.0 - mirror.low)).abs() < 1e-9, "{:?} {:?}", plain, mirror);
    }

    #[test]
    fn the_interval_holds_its_value_and_has_a_width((scores, anomalous) in labelled_scores()) {
        let auroc = ranking(&scores, &anomalous).auroc_with_interval();
        prop_assert!(0.0 <= auroc.low && auroc.high <= 1.0, "{:?}", auroc);
        prop_assert!(auroc.low <= auroc.value && auroc.value <= auroc.high, "{:?}", auroc);
        prop_assert!(auroc.high - auroc.low > 1e-3, "{:?}", auroc);
    }

    #[test]
    fn the_f1_threshold_applied_with_at_least_attains_f1_max((scores, anomalous) in labelled_scores()) {
        let best = ranking(&scores, &anomalous).f1_max();
        let f1_at = |threshold: f64| {
            let flagged: Vec<bool> = scores.iter().map(|&s| s >= threshold).collect();
            let hits = flagged.iter().zip(&anomalous).filter(|(f, a)| **f && **a).count() as f64;
            let flagged = flagged.iter().filter(|f| **f).count() as f64;
            let positives = anomalous.iter().filter(|a| **a).count() as f64;
            2.0 * hits / (flagged + positives)
        };
        prop_assert!((f1_at(best.threshold) - best.value).abs() < 1e-12);
        for &threshold in &scores {
            prop_assert!(f1_at(threshold) <= best.value + 1e-12);
        }
    }

    #[test]
    fn pixel_metrics_of_one_row_agree_with_image_metrics((scores, anomalous) in labelled_scores()) {
        let narrow: Vec<f32> = scores.iter().map(|&s| s as f32).collect();
        let map = LabelledMap { width: scores.len(), height: 1, scores: &narrow, mask: Some(&anomalous), inside: None };
        let (images, pixels) = (ranking(&scores, &anomalous), PixelRanking::new(&[map]).expect("classes"));
        prop_assert_eq!(images.auroc(), pixels.auroc());
        prop_assert_eq!(images.average_precision(), pixels.average_precision());
        prop_assert_eq!(images.f1_max(), pixels.f1_max());
    }

    #[test]
    fn aupro_lies_between_zero_and_one_and_ends_its_curve_at_the_limit(
        ((scores, anomalous), limit) in (labelled_scores(), 0.01_f64..1.0)
    ) {
        let narrow: Vec<f32> = scores.iter().map(|&s| s as f32).collect();
        let map = LabelledMap { width: scores.len(), height: 1, scores: &narrow, mask: Some(&anomalous), inside: None };
        let pixels = PixelRanking::new(&[map]).expect("both classes");
        let area = pixels.aupro(limit).expect("limit");
        prop_assert!((0.0..=1.0).contains(&area), "{}", area);
        let curve = pixels.pro_curve(limit).expect("limit");
        prop_assert_eq!(curve[0], [0.0, 0.0]);
        prop_assert_eq!(curve[curve.len() - 1][0], limit);
        for pair in curve.windows(2) {
            prop_assert!(pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]);
        }
    }
}
