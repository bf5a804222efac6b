//! `groundstate benchmark`.

use std::fs;

use crate::evaluate::check_keys;
use crate::groundstate;
use crate::program::{names_in, read_json, write_parts};

#[test]
fn a_category_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    for category in ["first", "second"] {
        write_parts(&root.join(category));
    }
    for sub_folder in ["broken/train/good", "broken/test/good"] {
        fs::create_dir_all(root.join(sub_folder)).unwrap();
        fs::write(root.join(sub_folder).join("text.png"), "this is no image").unwrap();
    }
    let (json, report) = (folder.path().join("b.json"), folder.path().join("reports"));
    let models = folder.path().join("models");
    let run = groundstate!(
        "benchmark",
        root,
        "--json",
        json,
        "--report",
        report,
        "--models",
        models,
        "--method",
        "gaussian",
        "--size",
        "32",
        "-q",
    );
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.lines().any(|line| line.starts_with("error: broken: the training failed")));
    let rows: Vec<String> = run.text().lines().map(|line| line.split(' ').next().unwrap().into()).collect();
    assert_eq!(rows, ["category", "first", "second", "mean"]);

    let found = read_json(&json);
    let [first, second] = ["first", "second"].map(|name| &found["categories"][name]);
    check_keys(first);
    check_keys(second);
    let mean = |key: &str| (first[key].as_f64().unwrap() + second[key].as_f64().unwrap()) / 2.0;
    for key in ["pixel_auroc", "aupro_30", "f1_max", "train_seconds"] {
        assert!((found["mean"][key].as_f64().unwrap() - mean(key)).abs() < 1e-9, "{key}");
    }
    assert_eq!(found["mean"]["image_auroc"]["energy"]["value"], first["image_auroc"]["energy"]["value"]);
    assert!(found["failed"]["broken"].is_string());
    assert!(first["train_seconds"].as_f64().unwrap() > 0.0);
    if cfg!(target_os = "linux") {
        assert!(first["peak_memory_mib"].as_f64().unwrap() > 1.0);
    }
    assert_eq!(names_in(&report), ["first", "second"]);
    assert_eq!(names_in(&models), ["first.gsm", "second.gsm"]);
}

#[test]
fn a_folder_without_categories_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let run = groundstate!("benchmark", folder.path());
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("found no data set"), "{}", run.stderr);
}
