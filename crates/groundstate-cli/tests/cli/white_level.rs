//! Files of 16 bits that hold the 12 of a camera, from `train` to `inspect`.

use std::fs;
use std::path::{Path, PathBuf};

use groundstate::image::{Image, read};
use serde_json::Value;

use crate::program::{FIXTURE, names_in};
use crate::{groundstate, train_gaussian};

/// Writes the first channel of an image as a grey PNG of 16 bits whose white is `white`.
fn write_grey16(path: &Path, image: &Image, white: u16) {
    let number = |v: f32| (v * f32::from(white)).round() as u16;
    let first = image.pixels.iter().step_by(image.channels);
    let bytes: Vec<u8> = first.flat_map(|&v| number(v).to_be_bytes()).collect();
    let file = fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, image.width as u32, image.height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
}

/// The fixture's good parts as a camera whose white is `white` writes them.
fn write_normals(folder: &Path, white: u16) -> PathBuf {
    let (from, to) = (FIXTURE.data().join("train/good"), folder.join(format!("normal-{white}")));
    fs::create_dir(&to).unwrap();
    for name in names_in(&from) {
        write_grey16(&to.join(&name), &read(&from.join(&name)).unwrap(), white);
    }
    to
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn pictures_of_12_bits_in_16_are_told_by_all_normal_ones_and_lose_no_range() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let good = read(&FIXTURE.good_part()).unwrap();
    let mut found = Vec::new();
    for white in [4095, 65_535] {
        let (model, picture) = (path("m.gsm"), path("good.png"));
        let run = train_gaussian!(write_normals(folder.path(), white), "-o", model, "--size", "64");
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(
            run.stderr.contains("a camera of 12 bits: 4095 is white"),
            white == 4095,
            "{}",
            run.stderr
        );
        let info = json(&groundstate!("info", model, "--json").stdout);
        assert_eq!(info["preprocessing"]["white_level"], white);
        assert_eq!(
            groundstate!("info", model).text().contains("white level       4095 of 65535"),
            white == 4095
        );
        write_grey16(&picture, &good, white);
        found.push(json(&groundstate!("inspect", model, picture, "--json").stdout));
    }
    let score = |of: &Value| of["score"].as_f64().unwrap();
    // Both see the same picture up to the rounding of 12 bits, an eighth of a thousandth of the range.
    assert!((score(&found[0]) - score(&found[1])).abs() < 0.05 * score(&found[1]).abs(), "{found:?}");
    assert_eq!(found[0]["flagged"], found[1]["flagged"]);
}

#[test]
fn what_is_brighter_than_white_is_cut_off_and_a_stated_level_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let normals = write_normals(folder.path(), 4095);
    let train = |level: &str| {
        let model = path(&format!("{level}.gsm"));
        let run = train_gaussian!(normals, "-o", model, "--size", "64", "--white-level", level, "-q");
        (run, model)
    };
    let (run, model) = train("4000");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let inspected = |highest: f32| {
        let mut image = read(&FIXTURE.good_part()).unwrap();
        image.pixels.iter_mut().for_each(|v| *v = v.min(highest / 65_535.0));
        write_grey16(&path("part.png"), &image, 65_535);
        let run = groundstate!("inspect", model, path("part.png"), "--json");
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        json(&run.stdout)["scores"].clone()
    };
    assert_eq!(inspected(4000.0), inspected(60_000.0));
    assert_ne!(inspected(4000.0), inspected(3000.0));
    let (run, _) = train("0");
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("white_level is 0, expected a number from 1 to 65535"), "{}", run.stderr);
}
