//! Evaluations of small test sets whose metrics are known.

use std::collections::BTreeMap;

use groundstate::evaluate::{EvaluateError, Judged, evaluate};
use groundstate::image::{Map, Mask, Roi};

const SIDE: usize = 10;

/// An image whose scores are `value` ("max") and its negative ("inverse"); an anomalous one has a mask
/// over its top row, where the default map is 1 and the other map 0.
fn judged(name: &str, defect: &str, value: f64) -> Judged {
    let anomalous = defect != "good";
    let mut map = Map::filled(SIDE, SIDE, 0.0);
    let mut defective = vec![false; SIDE * SIDE];
    if anomalous {
        map.values[..SIDE].fill(1.0);
        defective[..SIDE].fill(true);
    }
    Judged {
        name: name.to_owned(),
        defect: defect.to_owned(),
        anomalous,
        scores: BTreeMap::from([("max".to_owned(), value), ("inverse".to_owned(), -value)]),
        p_value: Some(0.5),
        flagged: value >= 2.0,
        map,
        other_maps: BTreeMap::from([("energy".to_owned(), Map::filled(SIDE, SIDE, 0.25))]),
        mask: anomalous.then_some(Mask { width: SIDE, height: SIDE, defective }),
    }
}

fn test_set() -> Vec<Judged> {
    vec![
        judged("good/0.png", "good", 1.0),
        judged("good/1.png", "good", 3.0),
        judged("crack/0.png", "crack", 5.0),
        judged("crack/1.png", "crack", 2.0),
        judged("stain/0.png", "stain", 1.5),
    ]
}

#[test]
fn the_evaluation_holds_the_metrics_of_every_score_defect_and_map() {
    let evaluation = evaluate(&test_set(), "max", None).expect("a complete test set");
    // Of the six pairs, the good 3.0 beats crack 2.0 and stain 1.5.
    assert!((evaluation.image_auroc["max"].value - 4.0 / 6.0).abs() < 1e-12);
    assert!((evaluation.image_auroc["inverse"].value - 2.0 / 6.0).abs() < 1e-12);
    assert_eq!(evaluation.image_auroc_by_defect["crack"]["max"].value, 0.75);
    assert_eq!(evaluation.image_auroc_by_defect["stain"]["max"].value, 0.5);
    assert_eq!(evaluation.f1_max_threshold, Some(1.5));
    assert_eq!(evaluation.pixel_auroc, Some(1.0));
    assert_eq!(evaluation.pixel_f1_max_threshold, Some(1.0));
    assert_eq!(evaluation.maps["energy"].pixel_auroc, 0.5);
    assert_eq!(evaluation.verdicts.false_rejects, 1);
    assert_eq!(evaluation.verdicts.detected, 2);
    assert_eq!(evaluation.verdicts.by_defect["stain"].detected, 0);
    assert_eq!((evaluation.counts.normal, evaluation.counts.anomalous), (2, 3));
    assert_eq!(evaluation.images.len(), 5);
}

#[test]
fn aupimo_without_enough_normal_pixels_is_null_with_its_reason() {
    let evaluation = evaluate(&test_set(), "max", None).expect("a complete test set");
    assert_eq!(evaluation.aupimo, None);
    let reason = &evaluation.absent["aupimo"];
    assert!(reason.contains("found 200 pixels") && reason.contains("100000"), "{reason}");
    assert_eq!(evaluation.absent.len(), 1);
}

#[test]
fn an_anomalous_image_without_a_mask_is_counted_and_left_out_of_pixel_metrics_only() {
    let mut images = test_set();
    images[2].mask = None;
    images[2].map = Map::filled(SIDE, SIDE, -9.0); // would ruin the pixel metrics
    let evaluation = evaluate(&images, "max", None).expect("a complete test set");
    assert_eq!(evaluation.counts.without_mask, 1);
    assert_eq!(evaluation.pixel_auroc, Some(1.0));
    assert!((evaluation.image_auroc["max"].value - 4.0 / 6.0).abs() < 1e-12);
}

#[test]
fn without_any_mask_pixel_metrics_are_null_with_a_reason() {
    let mut images = test_set();
    images.iter_mut().for_each(|image| image.mask = None);
    let evaluation = evaluate(&images, "max", None).expect("image labels are enough");
    assert_eq!((evaluation.pixel_auroc, evaluation.aupro_30, evaluation.aupimo), (None, None, None));
    assert!(evaluation.pro_curve.is_empty() && evaluation.maps.is_empty());
    for key in ["pixel_auroc", "aupro_30", "aupro_05", "maps", "pro_curve"] {
        assert!(evaluation.absent.contains_key(key), "{key}");
    }
}

#[test]
fn normal_images_alone_give_no_auroc_and_no_threshold() {
    let images = &test_set()[..2];
    let evaluation = evaluate(images, "max", None).expect("false rejects can still be counted");
    assert!(evaluation.image_auroc.is_empty() && evaluation.image_auroc_by_defect.is_empty());
    assert_eq!((evaluation.f1_max, evaluation.f1_max_threshold), (None, None));
    assert!(evaluation.absent["image_auroc"].contains("2 normal and 0 anomalous images"));
    assert_eq!(evaluation.verdicts.false_rejects, 1);
}

/// The left half of every image.
fn left_half() -> Roi {
    Roi::from_polygons(&[vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]], 8).expect("half of all cells")
}

/// Gives an image another size and a defect in the columns of `defect`; the map is the column over the
/// width, but 0.3 in the defect.
fn resize(image: &mut Judged, (width, height): (usize, usize), defect: std::ops::Range<usize>) {
    let is_defective = |at: usize| defect.contains(&(at % width));
    let value = |at: usize| if is_defective(at) { 0.3 } else { (at % width) as f32 / width as f32 };
    let values = (0..width * height).map(value).collect();
    image.map = Map { width, height, values };
    image.other_maps.clear();
    let defective = (0..width * height).map(is_defective).collect();
    image.mask = image.anomalous.then_some(Mask { width, height, defective });
}

/// What the left half of an image would have been as an image.
fn left_of(image: &Judged) -> Judged {
    let (width, height) = (image.map.width, image.map.height);
    let places: Vec<usize> = (0..width * height).filter(|at| at % width < width / 2).collect();
    let values = places.iter().map(|&at| image.map.values[at]).collect();
    let cut = |mask: &Mask| places.iter().map(|&at| mask.defective[at]).collect();
    let mask = image.mask.as_ref().map(|mask| Mask { width: width / 2, height, defective: cut(mask) });
    Judged { map: Map { width: width / 2, height, values }, mask, ..image.clone() }
}

#[test]
fn with_a_region_of_interest_pixel_metrics_are_those_of_what_is_inside() {
    let mut images = test_set();
    // Sizes differ; one defect lies inside, one partly, one outside.
    let shapes = [((400, 300), 0..0), ((20, 4), 0..0), ((20, 6), 2..5), ((8, 8), 3..6), ((40, 5), 30..35)];
    for (image, (size, defect)) in images.iter_mut().zip(shapes) {
        resize(image, size, defect);
    }
    let found = evaluate(&images, "max", Some(&left_half())).expect("a complete test set");
    let cut: Vec<Judged> = images.iter().map(left_of).collect();
    let expected = evaluate(&cut, "max", None).expect("a complete test set");
    assert!(expected.pixel_auroc.is_some_and(|area| area > 0.5 && area < 0.9));
    let metrics = |of: &groundstate::evaluate::Evaluation| {
        [
            of.pixel_auroc,
            of.pixel_average_precision,
            of.pixel_f1_max,
            of.pixel_f1_max_threshold,
            of.aupro_30,
            of.aupro_05,
        ]
    };
    assert_eq!((metrics(&found), &found.pro_curve), (metrics(&expected), &expected.pro_curve));
    let whole = evaluate(&images, "max", None).expect("a complete test set");
    assert_ne!(whole.pixel_auroc, found.pixel_auroc);
    assert!(found.resolution.ends_with("inside the region of interest"));
    // 400 × 300 normal pixels suffice for AUPIMO, half of them do not.
    assert!(whole.aupimo.is_some() && found.absent["aupimo"].contains("found 60040 pixels"));
}

#[test]
fn a_defect_outside_the_region_of_interest_counts_in_no_verdict_and_no_image_metric() {
    let mut images = test_set();
    resize(&mut images[2], (20, 6), 2..5);
    resize(&mut images[3], (20, 6), 8..12);
    resize(&mut images[4], (20, 6), 10..20);
    images.iter_mut().for_each(|image| image.other_maps.clear());
    let found = evaluate(&images, "max", Some(&left_half())).expect("a complete test set");
    let without = evaluate(&images[..4], "max", Some(&left_half())).expect("a complete test set");
    assert_eq!((found.counts.anomalous, found.counts.outside_roi), (2, 1));
    assert_eq!((without.counts.anomalous, without.counts.outside_roi), (2, 0));
    assert_eq!(found.verdicts, without.verdicts);
    assert!(!found.verdicts.by_defect.contains_key("stain"));
    assert_eq!(found.image_auroc, without.image_auroc);
    assert_eq!((found.average_precision, found.f1_max), (without.average_precision, without.f1_max));
    let outside: Vec<bool> = found.images.iter().map(|image| image.outside_roi).collect();
    assert_eq!(outside, [false, false, false, false, true]);
    // An anomalous image without a mask may have its defect anywhere: it counts.
    images[4].mask = None;
    let unknown = evaluate(&images, "max", Some(&left_half())).expect("a complete test set");
    assert_eq!(
        (unknown.counts.anomalous, unknown.counts.without_mask, unknown.counts.outside_roi),
        (3, 1, 0)
    );
}

#[test]
fn an_evaluation_survives_json() {
    let evaluation = evaluate(&test_set(), "max", None).expect("a complete test set");
    let text = serde_json::to_string(&evaluation).expect("plain data");
    let back = serde_json::from_str(&text).expect("what was written");
    assert_eq!(evaluation, back);
}

#[test]
fn the_json_keys_stay_as_they_are() {
    let evaluation = evaluate(&test_set(), "max", None).expect("a complete test set");
    let value = serde_json::to_value(&evaluation).expect("plain data");
    let keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = [
        "absent",
        "aupimo",
        "aupro_05",
        "aupro_30",
        "average_precision",
        "counts",
        "default_score",
        "f1_max",
        "f1_max_threshold",
        "image_auroc",
        "image_auroc_by_defect",
        "images",
        "images_per_second",
        "maps",
        "peak_memory_mib",
        "pixel_auroc",
        "pixel_average_precision",
        "pixel_f1_max",
        "pixel_f1_max_threshold",
        "pro_curve",
        "resolution",
        "train_seconds",
        "verdicts",
    ];
    assert_eq!(keys, expected);
    assert!(value["image_auroc"]["max"]["low"].is_f64());
    assert!(value["aupimo"].is_null());
}

/// Changes one image of the test set and returns the refusal.
fn refusal(change: impl Fn(&mut Vec<Judged>)) -> EvaluateError {
    let mut images = test_set();
    change(&mut images);
    evaluate(&images, "max", None).expect_err("the change makes the test set invalid")
}

#[test]
fn refusals_name_the_image() {
    let said = |change: &dyn Fn(&mut Vec<Judged>)| refusal(change).to_string();
    assert_eq!(said(&|i| i.clear()), "no test image was inspected; at least one is needed");
    assert_eq!(
        said(&|i| i[1].name = "good/0.png".to_owned()),
        "good/0.png: the name occurs twice among the test images"
    );
    assert_eq!(
        said(&|i| *i[3].scores.get_mut("max").expect("the default score") = f64::NAN),
        "crack/1.png: the score `max` is NaN; expected a finite number"
    );
    assert_eq!(
        said(&|i| i[3].scores.retain(|score, _| score != "max")),
        "crack/1.png: has the scores inverse; the first image has inverse, max"
    );
    assert_eq!(said(&|i| i[4].other_maps.clear()), "stain/0.png: has the maps ; the first image has energy");
    assert_eq!(
        said(&|i| i[2].map.values[23] = f32::INFINITY),
        "crack/0.png: the default map holds inf at row 2, column 3; expected a finite number"
    );
    assert_eq!(
        said(&|i| drop(i[2].other_maps.insert("energy".to_owned(), Map::filled(3, 2, 0.0)))),
        "crack/0.png: the energy map is 3 × 2 with 6 values; expected 10 × 10"
    );
    assert_eq!(
        said(&|i| i[2].mask = Some(Mask { width: 20, height: 5, defective: vec![true; 100] })),
        "crack/0.png: the mask is 20 × 5 with 100 values; the map is 10 × 10"
    );
    assert_eq!(
        said(&|i| i[0].mask = Some(Mask { width: 10, height: 10, defective: vec![true; 100] })),
        "good/0.png: labelled normal, but its mask marks a defect"
    );
    assert_eq!(
        evaluate(&test_set(), "mean", None).expect_err("unknown").to_string(),
        "there is no score `mean`; the images have: inverse, max"
    );
}
