//! `groundstate inspect`.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::groundstate;
use crate::program::{FIXTURE, Run, command, names_in, write_cut_jpeg};

fn json_lines(run: &Run) -> Vec<Value> {
    run.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn bad_files_are_reported_in_place_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (text, cut) = (folder.path().join("text.png"), folder.path().join("cut.jpg"));
    fs::write(&text, "this is no image").unwrap();
    write_cut_jpeg(&cut);
    let missing = folder.path().join("missing.png");
    let good = FIXTURE.good_part();
    let run = groundstate!("inspect", FIXTURE.model(), text, good, cut, missing, good, "--json");
    assert_eq!(run.code, Some(1));
    let errors: Vec<Option<String>> =
        json_lines(&run).iter().map(|line| line["error"].as_str().map(str::to_owned)).collect();
    let [Some(text), None, Some(cut), Some(missing), None] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(text.contains("expected a PNG"), "{text}");
    assert!(cut.contains("cut off"), "{cut}");
    assert!(missing.contains("missing.png"), "{missing}");

    let run = groundstate!("inspect", FIXTURE.model(), folder.path(), good);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 2, "{}", run.stderr);
    assert_eq!(run.text().lines().count(), 1);
}

#[test]
fn folders_and_patterns_are_expanded_in_the_order_given() {
    let test = FIXTURE.data().join("test");
    let pattern = test.join("good/00[01].png");
    let run = groundstate!("inspect", FIXTURE.model(), test.join("hole"), pattern, "--json");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = json_lines(&run);
    let paths: Vec<&str> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    let expected = ["hole/000.png", "good/000.png", "good/001.png"].map(|path| test.join(path));
    assert_eq!(paths, expected.each_ref().map(|path| path.to_str().unwrap()));
    for line in &lines {
        assert!(line["scores"]["energy"].as_f64().unwrap().is_finite());
        assert_eq!((&line["width"], &line["height"]), (&64.into(), &64.into()));
        let p_value = line["p_value"].as_f64().unwrap();
        assert!(p_value > 0.0 && p_value <= 1.0);
    }
}

#[test]
fn all_scores_adds_those_of_the_gradient_and_changes_no_other() {
    let image = FIXTURE.data().join("test/hole/000.png");
    let some = json_lines(&groundstate!("inspect", FIXTURE.model(), &image, "--json")).remove(0);
    let all =
        json_lines(&groundstate!("inspect", FIXTURE.model(), &image, "--json", "--all-scores")).remove(0);
    let count = |line: &Value| line["scores"].as_object().unwrap().len();
    assert_eq!((count(&some), count(&all)), (7, 16));
    for (name, score) in some["scores"].as_object().unwrap() {
        assert_eq!(*score, all["scores"][name], "{name}");
    }
    for key in ["score", "p_value", "flagged", "regions"] {
        assert_eq!(some[key], all[key], "{key}");
    }
}

#[test]
fn a_folder_of_many_images_is_scored_like_each_alone() {
    let test = FIXTURE.data().join("test");
    let together = json_lines(&groundstate!("inspect", FIXTURE.model(), test, "--json"));
    assert_eq!(together.len(), 10);
    for line in together {
        let alone = groundstate!("inspect", FIXTURE.model(), line["path"].as_str().unwrap(), "--json");
        assert_eq!(json_lines(&alone), [line]);
    }
}

#[test]
fn images_of_other_sizes_get_maps_of_their_own_size() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.png");
    let pixels = (0..150 * 90).map(|i| (i % 150) as f32 / 150.0).collect();
    let image = groundstate::image::Image { width: 150, height: 90, channels: 1, pixels };
    groundstate::image::write_png(&large, &image).unwrap();
    let maps = folder.path().join("maps");
    let (model, hole) = (FIXTURE.model(), FIXTURE.data().join("test"));
    let run = groundstate!("inspect", model, large, hole, "--maps", maps, "--csv");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let drawn = groundstate::image::read(&maps.join("large_map.png")).unwrap();
    assert_eq!((drawn.width, drawn.height, drawn.channels), (150, 90, 3));
    assert_eq!(names_in(&maps.join("good")).len(), 4);
    let text = run.text();
    assert_eq!(text.lines().next(), Some("path,score,p_value,flagged,regions,area_px,map,error"));
    assert!(text.lines().nth(1).unwrap().ends_with("large_map.png,"), "{text}");
}

#[test]
fn an_image_that_is_far_from_normal_is_flagged_and_can_fail_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("odd.png");
    let pixels = (0..64 * 64).map(|i| ((i / 7) % 2) as f32).collect();
    let image = groundstate::image::Image { width: 64, height: 64, channels: 1, pixels };
    groundstate::image::write_png(&odd, &image).unwrap();
    let run = groundstate!("inspect", FIXTURE.model(), odd);
    assert_eq!(run.code, Some(0));
    assert!(run.text().starts_with("anomalous"), "{}", run.text());
    assert_eq!(groundstate!("inspect", FIXTURE.model(), odd, "--fail-on-anomaly").code, Some(3));
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_unicode_are_kept_byte_for_byte() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"part-\xff.png"));
    fs::copy(FIXTURE.good_part(), &odd).unwrap();
    let maps = folder.path().join("maps");
    let run = groundstate!("inspect", FIXTURE.model(), odd, "--maps", maps);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.ends_with(b"part-\xff.png\n"));
    assert!(maps.join(std::ffi::OsStr::from_bytes(b"part-\xff_map.png")).is_file());
    let run = groundstate!("inspect", FIXTURE.model(), folder.path().join("maps"), odd, "--json");
    assert_eq!((run.code, json_lines(&run).len()), (Some(0), 2));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    for format in ["--quiet", "--json", "--csv"] {
        let mut child = command()
            .arg("inspect")
            .args([FIXTURE.model(), FIXTURE.data().join("test")])
            .arg(format)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(stderr, "");
    }
}

/// A part with a bright square of `edge` pixels in its middle.
fn write_part_with_square(path: &std::path::Path, edge: usize) {
    let mut image = groundstate::image::read(&FIXTURE.good_part()).unwrap();
    let (width, channels) = (image.width, image.channels);
    let inside = |at: usize| (32 - edge / 2..32 + edge / 2).contains(&at);
    for (at, pixel) in image.pixels.chunks_exact_mut(channels).enumerate() {
        if inside(at % width) && inside(at / width) {
            pixel.fill(if at % 2 == 0 { 1.0 } else { 0.0 });
        }
    }
    groundstate::image::write_png(path, &image).unwrap();
}

#[test]
fn a_defect_becomes_a_region_in_every_format_and_an_outline_in_the_overlay() {
    let folder = tempfile::tempdir().unwrap();
    let (odd, maps) = (folder.path().join("odd.png"), folder.path().join("maps"));
    let table = folder.path().join("regions.csv");
    write_part_with_square(&odd, 12);
    let run = groundstate!(
        "inspect",
        FIXTURE.model(),
        odd,
        FIXTURE.good_part(),
        "--json",
        "--maps",
        maps,
        "--regions",
        table
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = json_lines(&run);
    let regions = lines[0]["regions"].as_array().unwrap();
    let region = &regions[0];
    for axis in ["x", "y"] {
        assert!((20.0..44.0).contains(&region["centroid"][axis].as_f64().unwrap()), "{region}");
        assert!((20..44).contains(&region["peak_at"][axis].as_u64().unwrap()), "{region}");
    }
    assert!(region["area_px"].as_u64().unwrap() > 20, "{region}");
    let text = fs::read_to_string(&table).unwrap();
    assert_eq!(text.lines().count(), 1 + regions.len() + lines[1]["regions"].as_array().unwrap().len());
    let peak = region["peak"].as_f64().unwrap() as f32;
    assert!(text.lines().nth(1).unwrap().contains(&peak.to_string()), "{text}");

    let drawn = groundstate::image::read(&maps.join("odd_map.png")).unwrap();
    let outlined = drawn.pixels.chunks_exact(3).filter(|p| p[2] > 0.99 && p[0] < 0.21).count();
    assert!(outlined > 10, "{outlined} pixels of outline");

    let run = groundstate!("inspect", FIXTURE.model(), odd);
    assert!(run.text().lines().nth(1).unwrap().starts_with("  region  "), "{}", run.text());
    let run = groundstate!("inspect", FIXTURE.model(), odd, "--min-region-area", "5000", "--csv");
    assert!(run.text().contains(",true,0,0,,"), "{}", run.text());
}
