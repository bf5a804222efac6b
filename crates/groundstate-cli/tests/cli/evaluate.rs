//! `groundstate evaluate`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::groundstate;
use crate::program::{FIXTURE, names_in, read_json, write_parts};

/// Fails unless the keys that others rely on are there, with values that can be; those of the training
/// are `null` in an evaluation that was not told of it.
pub(crate) fn check_keys(evaluation: &Value) {
    let default = evaluation["default_score"].as_str().unwrap();
    let auroc = &evaluation["image_auroc"][default];
    let of = |key: &str| auroc[key].as_f64().unwrap();
    assert!(0.0 <= of("low") && of("low") <= of("value") && of("value") <= of("high") && of("high") <= 1.0);
    for key in
        ["f1_max", "average_precision", "pixel_auroc", "pixel_average_precision", "aupro_30", "aupro_05"]
    {
        let value = evaluation[key].as_f64().unwrap_or_else(|| panic!("{key} is {}", evaluation[key]));
        assert!((0.0..=1.0).contains(&value), "{key} is {value}");
    }
    assert!(evaluation["images_per_second"].as_f64().unwrap() > 0.0);
    for key in ["train_seconds", "peak_memory_mib"] {
        assert!(evaluation[key].is_null() || evaluation[key].as_f64().unwrap() > 0.0, "{key}");
    }
}

#[test]
fn the_json_has_its_keys_and_each_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("e.json");
    let run = groundstate!("evaluate", FIXTURE.model(), FIXTURE.data(), "--json", json, "--all-maps");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let evaluation = read_json(&json);
    check_keys(&evaluation);
    assert_eq!(evaluation["images"].as_array().unwrap().len(), 10);
    assert_eq!(evaluation["images"][0]["name"], "test/chipped_edge/000.png");
    assert!(evaluation["maps"].as_object().unwrap().contains_key("gradient_z"));
    let documentation = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    let documentation = fs::read_to_string(documentation).unwrap();
    for key in
        evaluation.as_object().unwrap().keys().chain(evaluation["images"][0].as_object().unwrap().keys())
    {
        assert!(documentation.contains(&format!("`{key}`")), "docs/json.md does not mention `{key}`");
    }
    let default = format!("{} (default)", evaluation["default_score"].as_str().unwrap());
    assert!(run.text().contains(&default), "{}", run.text());
}

#[test]
fn a_report_is_one_page_with_its_numbers_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("deep/report");
    let run = groundstate!("evaluate", FIXTURE.model(), FIXTURE.data(), "--report", report, "-q");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(names_in(&report), ["evaluation.json", "index.html"]);
    check_keys(&read_json(&report.join("evaluation.json")));
    let page = fs::read_to_string(report.join("index.html")).unwrap();
    assert!(page.contains("data:image/jpeg;base64,") && page.contains("ground truth"));
}

#[test]
fn images_and_masks_that_cannot_be_used_are_reported_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, json) = (folder.path().join("data"), folder.path().join("e.json"));
    write_parts(&data);
    fs::write(data.join("test/good/000.png"), "this is no image").unwrap();
    let mask = groundstate::image::Image { width: 9, height: 9, channels: 1, pixels: vec![1.0; 81] };
    groundstate::image::write_png(&data.join("ground_truth/hole/000_mask.png"), &mask).unwrap();
    let run = groundstate!("evaluate", FIXTURE.model(), data, "--json", json, "-q");
    assert_eq!(run.code, Some(1));
    let errors: Vec<&str> = run.stderr.lines().collect();
    let [image, mask] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(image.contains("good/000.png") && mask.contains("9 × 9"), "{errors:?}");
    let counts = &read_json(&json)["counts"];
    let expected =
        serde_json::json!({"normal": 3, "anomalous": 6, "without_mask": 1, "outside_roi": 0, "failed": 1});
    assert_eq!(counts, &expected);
}

#[test]
fn a_data_set_without_test_images_is_an_error() {
    let run = groundstate!("evaluate", FIXTURE.model(), FIXTURE.data().join("train/good"));
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("at least one of each"), "{}", run.stderr);
}
