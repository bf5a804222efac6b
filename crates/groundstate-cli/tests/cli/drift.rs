//! `groundstate drift`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use groundstate::image::{read, write_png};
use groundstate::synthetic::{Config, write_dataset};
use serde_json::Value;
use tempfile::TempDir;

use crate::groundstate;
use crate::program::{FIXTURE, write_cut_jpeg};

/// Forty good parts in a row, the same with less light from the 21st on, and a model calibrated on
/// forty others.
struct Line {
    folder: TempDir,
}

impl Line {
    fn model(&self) -> PathBuf {
        self.folder.path().join("m.gsm")
    }

    fn steady(&self) -> PathBuf {
        self.folder.path().join("parts/train/good")
    }

    fn darkened(&self) -> PathBuf {
        self.folder.path().join("darkened")
    }
}

static LINE: LazyLock<Line> = LazyLock::new(|| {
    let line = Line { folder: tempfile::tempdir().unwrap() };
    let normals = line.folder.path().join("normals");
    let parts = |seed| Config { size_px: 64, train: 40, test_good: 1, per_defect: 1, seed };
    write_dataset(&normals, &parts(21)).unwrap();
    write_dataset(&line.folder.path().join("parts"), &parts(22)).unwrap();
    let run = groundstate!("calibrate", FIXTURE.model(), normals.join("train/good"), "-o", line.model());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    fs::create_dir(line.darkened()).unwrap();
    for (number, name) in crate::program::names_in(&line.steady()).iter().enumerate() {
        let mut image = read(&line.steady().join(name)).unwrap();
        if number >= 20 {
            image.pixels.iter_mut().for_each(|value| *value *= 0.8);
        }
        write_png(&line.darkened().join(name), &image).unwrap();
    }
    line
});

fn json(arguments: &[&Path]) -> Value {
    let mut all = vec![Path::new("drift"), Path::new("--json")];
    all.extend(arguments);
    let run = crate::program::run(all);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn steady_parts_raise_no_alarm() {
    let run = groundstate!("drift", LINE.model(), LINE.steady(), "--fail-on-drift");
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.text().starts_with("no drift in 40 images: evidence up to "), "{}", run.text());
}

#[test]
fn less_light_is_found_dated_and_shown() {
    let page = LINE.folder.path().join("drift.html");
    let run = groundstate!("drift", LINE.model(), LINE.darkened(), "--plot", page, "--fail-on-drift");
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let found = json(&[&LINE.model(), &LINE.darkened()]);
    let drift = &found["drift"];
    let image = |key: &str| drift[key]["image"].as_u64().unwrap();
    assert!(image("at") > 20 && image("at") <= 35, "{drift}");
    assert!((15..=25).contains(&image("since")), "{drift}");
    // Dark parts look anomalous; brightness, contrast and sharpness fall.
    let has_risen = drift["mean_since"].as_f64() > drift["mean_before"].as_f64();
    assert_eq!(has_risen, drift["watched"] == "score", "{drift}");
    assert_eq!(drift["direction"] == "risen", has_risen, "{drift}");
    let course = found["course"].as_array().unwrap();
    assert_eq!((course.len(), found["failed"].as_u64()), (40, Some(0)));
    let at = &course[image("at") as usize - 1];
    assert_eq!(at["path"], drift["at"]["path"]);
    let watched = drift["watched"].as_str().unwrap();
    assert!(at["log10_evidence"][watched].as_f64().unwrap() >= found["log10_limit"].as_f64().unwrap());
    for (number, step) in course.iter().enumerate() {
        let p_value = step["p_values"]["brightness"].as_f64().unwrap();
        assert!(p_value > 0.0 && p_value < 1.0, "image {number}: {p_value}");
    }
    let html = fs::read_to_string(page).unwrap();
    assert_eq!(html.matches("<svg").count(), 5, "evidence and four numbers");
    assert!(html.contains("brightness") && html.contains(&format!("image {} of 40", image("at"))));
    assert!(!html.contains("http://") && !html.contains("https://"), "the page loads nothing");
}

#[test]
fn a_model_without_new_calibration_says_what_it_compares() {
    let run = groundstate!("drift", FIXTURE.model(), LINE.steady());
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.contains("scores are compared among these images only"), "{}", run.stderr);
}

#[test]
fn bad_files_and_rates_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.jpg");
    write_cut_jpeg(&cut);
    let run = groundstate!("drift", LINE.model(), FIXTURE.good_part(), cut);
    assert_eq!(run.code, Some(1));
    assert!(run.error().contains("cut off"), "{}", run.stderr);
    assert!(run.text().starts_with("no drift in 1 images"), "{}", run.text());
    let run = groundstate!("drift", LINE.model(), FIXTURE.good_part(), "--false-alarm-rate", "0");
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("false-alarm rate is 0"), "{}", run.stderr);
    assert_eq!(groundstate!("drift", LINE.model(), cut).code, Some(2));
}
