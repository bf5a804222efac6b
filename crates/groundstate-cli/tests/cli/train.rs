//! `groundstate train`.

use std::fs;
use std::process::Command;

use groundstate::train::MethodName;
use serde_json::Value;

use crate::groundstate;
use crate::program::{FIXTURE, names_in, write_cut_jpeg, write_parts};

/// What `info --json` says of a model, less what differs from run to run: times and memory.
fn description(model: &std::path::Path) -> Value {
    let mut info: Value = serde_json::from_slice(&groundstate!("info", model, "--json").stdout).unwrap();
    let record = info["record"].as_object_mut().unwrap();
    record.remove("seconds").unwrap();
    record.remove("peak_memory_mib");
    for point in record["curve"].as_array_mut().unwrap() {
        point.as_object_mut().unwrap().remove("seconds");
    }
    info
}

/// The arrays of a model file.
fn tensors(model: &std::path::Path) -> Vec<u8> {
    let bytes = fs::read(model).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

#[test]
fn the_same_seed_gives_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    // The budget drives the learning rate of the learned methods, and with it the clock: here it is so
    // long that the steps alone do.
    fs::write(&config, "size = 64\nseed = 7\nbudget_seconds = 1e9\n[optimiser]\nsteps = 3\n").unwrap();
    for method in MethodName::ALL.map(|method| method.to_string()) {
        let models = ["a.gsm", "b.gsm"].map(|name| folder.path().join(name));
        for model in &models {
            let run =
                groundstate!("train", FIXTURE.data(), "-o", model, "--config", config, "--method", method);
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            assert!(run.text().starts_with(&format!("{}: {method}, trained on", model.display())));
        }
        assert_eq!(description(&models[0]), description(&models[1]));
        assert!(tensors(&models[0]) == tensors(&models[1]), "the arrays of method {method} differ");
    }
}

#[test]
fn unreadable_training_images_are_named_counted_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_parts(&data);
    fs::write(data.join("train/good/text.png"), "this is no image").unwrap();
    write_cut_jpeg(&data.join("train/good/cut.jpg"));
    let model = folder.path().join("m.gsm");
    let run = groundstate!("train", data, "-o", model, "--size", "64");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let warnings: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{}", run.stderr);
    assert!(warnings[0].contains("cut.jpg") && warnings[1].contains("text.png"), "{warnings:?}");
    assert!(run.text().contains("trained on 10 pictures"), "{}", run.text());
    assert!(run.text().contains("2 unreadable images left out"), "{}", run.text());
}

#[test]
fn a_data_set_without_a_readable_image_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.png"), "this is no image").unwrap();
    let run = groundstate!("train", folder.path(), "-o", folder.path().join("m.gsm"), "-q");
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("1 images could not be read"), "{}", run.stderr);
    assert!(run.error().contains("found 0 usable"), "{}", run.stderr);
}

#[test]
fn a_wrong_path_and_an_empty_folder_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.gsm");
    let missing = groundstate!("train", "/no/such/folder", "-o", model);
    assert_eq!(missing.code, Some(2));
    assert!(missing.error().contains("/no/such/folder, found nothing"), "{}", missing.stderr);
    let empty = groundstate!("train", folder.path(), "-o", model);
    assert_eq!(empty.code, Some(2));
    assert!(empty.error().contains("found no images in"), "{}", empty.stderr);
}

#[test]
fn a_target_that_cannot_be_written_is_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for target in [folder.path().join("missing/m.gsm"), file.join("m.gsm"), folder.path().to_owned()] {
        let run = groundstate!("train", FIXTURE.data(), "-o", target);
        assert_eq!(run.code, Some(2));
        assert!(run.error().contains("cannot write the model file"), "{}", run.stderr);
    }
    assert_eq!(names_in(folder.path()), ["file"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_model_and_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.gsm");
    fs::copy(FIXTURE.model(), &model).unwrap();
    let before = fs::read(&model).unwrap();
    // A limit on the size of files stands in for a full disk: writing fails half-way.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_groundstate")])
        .args(["train", "-q", "--size", "64", "-o"])
        .args([&model, &FIXTURE.data()])
        .output()
        .unwrap();
    let run = crate::program::Run::from(output);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("cannot write the model file"), "{}", run.stderr);
    assert_eq!(fs::read(&model).unwrap(), before);
    assert_eq!(names_in(folder.path()), ["m.gsm"]);
}

#[test]
fn options_override_the_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let (model, config) = (folder.path().join("m.gsm"), folder.path().join("c.toml"));
    fs::write(&config, "size = 64\nseed = 5\n[gaussian]\ndimensions = 16\n").unwrap();
    let run = groundstate!("train", FIXTURE.data(), "-o", model, "--config", config, "--seed", "6");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let used = &description(&model)["record"]["config"];
    assert_eq!((&used["size"], &used["seed"]), (&64.into(), &6.into()));
    assert_eq!(used["gaussian"]["dimensions"], 16);
}

#[test]
fn a_mistake_in_the_configuration_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    fs::write(&config, "seed = 5\nsizes = 64\n").unwrap();
    let run = groundstate!("train", FIXTURE.data(), "-o", folder.path().join("m"), "--config", config);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("c.toml, line 2: unknown field `sizes`"), "{}", run.stderr);
}

#[test]
fn separate_folders_do_the_work_of_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model, json) = (FIXTURE.data(), folder.path().join("m.gsm"), folder.path().join("e.json"));
    let normal = data.join("train/good");
    let run = groundstate!("train", "--normal-dir", normal, "-o", model, "--size", "64");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let run = groundstate!(
        "evaluate",
        model,
        "--normal-test-dir",
        data.join("test/good"),
        "--anomalous-dir",
        data.join("test/hole"),
        "--mask-dir",
        data.join("ground_truth/hole"),
        "--json",
        json,
        "-q",
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let counts = &crate::program::read_json(&json)["counts"];
    assert_eq!(counts, &serde_json::json!({"normal": 4, "anomalous": 1, "without_mask": 0, "failed": 0}));
}
