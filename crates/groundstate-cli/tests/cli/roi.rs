//! The region of interest, from `train --roi` to every later command.

use std::fs;
use std::path::{Path, PathBuf};

use groundstate::image::{Image, read, write_png};
use groundstate::synthetic::Defect;
use serde_json::Value;

use crate::program::{FIXTURE, Run, read_json};
use crate::{groundstate, train_gaussian};

/// A white rectangle over the left half.
fn write_left_half(path: &Path) {
    let pixels = (0..32 * 32).map(|at| if at % 32 < 16 { 1.0 } else { 0.0 }).collect();
    write_png(path, &Image { width: 32, height: 32, channels: 1, pixels }).unwrap();
}

/// The fixture's good part with a checkered square at column `left`.
fn write_damaged(folder: &Path, left: usize) -> PathBuf {
    let mut image = read(&FIXTURE.good_part()).unwrap();
    for at in (0..14).flat_map(|y| (0..14).map(move |x| (y + 24) * 64 + x + left)) {
        let channels = image.channels;
        image.pixels[at * channels..][..channels].fill(if at % 2 == 0 { 1.0 } else { 0.0 });
    }
    let path = folder.join(format!("{left}.png"));
    write_png(&path, &image).unwrap();
    path
}

/// What `inspect --json` says, without the path.
fn inspected(model: &Path, image: &Path) -> Value {
    let run: Run = groundstate!("inspect", model, image, "--json");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut line: Value = serde_json::from_slice(&run.stdout).unwrap();
    line.as_object_mut().unwrap().remove("path");
    line
}

#[test]
fn what_lies_outside_counts_nowhere_and_what_lies_inside_does() {
    let folder = tempfile::tempdir().unwrap();
    let (mask, model) = (folder.path().join("roi.png"), folder.path().join("m.gsm"));
    write_left_half(&mask);
    let run = train_gaussian!(FIXTURE.data(), "-o", model, "--size", "64", "--roi", mask, "-q");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let info: Value = serde_json::from_slice(&groundstate!("info", model, "--json").stdout).unwrap();
    assert_eq!(info["roi_area"], 0.5);

    let good = inspected(&model, &FIXTURE.good_part());
    let outside = write_damaged(folder.path(), 44);
    assert_eq!(inspected(&model, &outside), good, "every score, p-value and region is the same");
    let inside = inspected(&model, &write_damaged(folder.path(), 8));
    assert!(inside["p_value"].as_f64() < good["p_value"].as_f64() && inside["flagged"] == true, "{inside}");
    for region in inside["regions"].as_array().unwrap() {
        let bounds = &region["box"];
        assert!(bounds["left"].as_u64().unwrap() + bounds["width"].as_u64().unwrap() <= 32, "{region}");
    }
    let drift = |image: &Path| groundstate!("drift", model, image, "--json", "-q").text();
    let values = |text: String| serde_json::from_str::<Value>(&text).unwrap()["course"][0]["values"].clone();
    assert_eq!(values(drift(&outside)), values(drift(&FIXTURE.good_part())));
}

#[test]
fn in_tiles_what_lies_outside_counts_nowhere_either() {
    let folder = tempfile::tempdir().unwrap();
    let (config, model) = (folder.path().join("c.toml"), folder.path().join("m.gsm"));
    let left = "roi = [[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]]";
    fs::write(&config, format!("size = 32\nfit = \"tile\"\n{left}\n[gaussian]\ndimensions = 16\n")).unwrap();
    let run = train_gaussian!(FIXTURE.data(), "-o", model, "--config", config, "-q");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let good = inspected(&model, &FIXTURE.good_part());
    assert_eq!(inspected(&model, &write_damaged(folder.path(), 44)), good);
    let inside = inspected(&model, &write_damaged(folder.path(), 8));
    assert_eq!(inside["flagged"], true, "{inside}");
    // The same part in twice as large an image: the region is at the same shares of width and height.
    let widened = |path: &Path| {
        let image = read(path).unwrap();
        let (width, channels) = (2 * image.width, image.channels);
        let pixels = (0..2 * image.height * width).flat_map(|at| {
            let from = (at / width / 2 * image.width + at % width / 2) * channels;
            image.pixels[from..from + channels].to_vec()
        });
        let wide = Image { width, height: 2 * image.height, channels, pixels: pixels.collect() };
        let path = path.with_extension("wide.png");
        write_png(&path, &wide).unwrap();
        path
    };
    let undamaged = folder.path().join("good.png");
    fs::copy(FIXTURE.good_part(), &undamaged).unwrap();
    let outside = folder.path().join("44.png");
    assert_eq!(inspected(&model, &widened(&outside)), inspected(&model, &widened(&undamaged)));
}

#[test]
fn an_evaluation_counts_what_lies_inside() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (mask, model, json) = (path("roi.png"), path("m.gsm"), path("e.json"));
    write_left_half(&mask);
    let run = train_gaussian!(FIXTURE.data(), "-o", model, "--size", "32", "--roi", mask, "-q");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let run = groundstate!("evaluate", model, FIXTURE.data(), "--json", json, "--report", path("r"), "-q");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let found = read_json(&json);
    assert!(found["resolution"].as_str().unwrap().ends_with("inside the region of interest"), "{found}");
    let mut outside = 0;
    for image in found["images"].as_array().unwrap() {
        // test/hole/000.png has its mask in ground_truth/hole/000_mask.png.
        let name = image["name"].as_str().unwrap();
        let truth = name.replace("test", "ground_truth").replace(".png", "_mask.png");
        let is_outside = image["anomalous"] == true && {
            let truth = read(&FIXTURE.data().join(truth)).unwrap();
            let mut left = truth.pixels.iter().enumerate().filter(|(at, _)| at % 64 < 32);
            left.all(|(_, &value)| value == 0.0)
        };
        assert_eq!(image["outside_roi"], is_outside, "{name}");
        outside += u64::from(is_outside);
    }
    let counts = &found["counts"];
    assert!(outside > 0 && counts["outside_roi"] == outside, "{counts}");
    assert_eq!(counts["anomalous"].as_u64().unwrap() + outside, Defect::ALL.len() as u64);
    assert!(run.text().contains(&format!("{outside} with a defect outside the region of interest")));
    assert!(fs::read_to_string(path("r/index.html")).unwrap().contains("outside the region of interest"));
}

#[test]
fn polygons_in_the_configuration_are_a_region_too_and_bad_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (config, model) = (folder.path().join("c.toml"), folder.path().join("m.gsm"));
    let train = |roi: &str| {
        fs::write(&config, format!("size = 64\nroi = {roi}\n")).unwrap();
        train_gaussian!(FIXTURE.data(), "-o", model, "--config", config, "-q")
    };
    let run = train("[[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]]");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let outside = write_damaged(folder.path(), 44);
    assert_eq!(inspected(&model, &outside), inspected(&model, &FIXTURE.good_part()));
    let run = train("[[[0.0, 0.0], [40.0, 0.0], [0.5, 1.0]]]");
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("polygon 0") && run.error().contains("(40, 0)"), "{}", run.stderr);

    let black = folder.path().join("black.png");
    write_png(&black, &Image { width: 8, height: 8, channels: 1, pixels: vec![0.0; 64] }).unwrap();
    let run = train_gaussian!(FIXTURE.data(), "-o", model, "--roi", black);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("black.png") && run.error().contains("holds no pixel"), "{}", run.stderr);
}

#[test]
fn parts_are_brought_to_one_pose_under_a_region_of_interest_too() {
    let folder = tempfile::tempdir().unwrap();
    let (config, model) = (folder.path().join("c.toml"), folder.path().join("m.gsm"));
    let left = "roi = [[[0.0, 0.0], [0.65, 0.0], [0.65, 1.0], [0.0, 1.0]]]";
    fs::write(&config, format!("size = 64\n{left}\n")).unwrap();
    let run = train_gaussian!(FIXTURE.data(), "-o", model, "--config", config, "-q");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let info: Value = serde_json::from_slice(&groundstate!("info", model, "--json").stdout).unwrap();
    assert_eq!(info["registration"], "near", "flanges lie a little out of place");
    let good = inspected(&model, &FIXTURE.good_part());
    let outside = write_damaged(folder.path(), 46);
    assert_eq!(inspected(&model, &outside), good, "the pose is found by what counts alone");
    let inside = inspected(&model, &write_damaged(folder.path(), 20));
    assert_eq!(inside["flagged"], true, "{inside}");
    let peak = &inside["regions"][0]["peak_at"];
    let near = |axis: &str, from: u64| (from..from + 14).contains(&peak[axis].as_u64().unwrap());
    assert!(near("x", 20) && near("y", 24), "the map is brought back to the image: {inside}");
}
