//! `groundstate train`.

use std::fs;
use std::path::Path;
use std::process::Command;

use groundstate::train::MethodName;
use serde_json::Value;

use crate::program::{FIXTURE, Run, command, names_in, write_cut_jpeg, write_parts};
use crate::{groundstate, train_gaussian};

/// What `info --json` says of a model.
fn description(model: &Path) -> Value {
    serde_json::from_slice(&groundstate!("info", model, "--json").stdout).unwrap()
}

/// The arrays of a model file.
fn tensors(model: &Path) -> Vec<u8> {
    let bytes = fs::read(model).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

#[test]
fn the_same_seed_gives_the_same_file_whatever_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    fs::write(&config, "size = 32\nseed = 7\n[optimiser]\nsteps = 3\nbatch = 4\n").unwrap();
    let special =
        [(MethodName::Cd, Some("--on-reference")), (MethodName::Gaussian, Some("--cross-conformal"))];
    for (method, option) in MethodName::ALL.map(|m| (m, None)).into_iter().chain(special) {
        let files = [1, 3].map(|threads: u32| {
            let model = folder.path().join("m.gsm");
            let mut train = Command::new(env!("CARGO_BIN_EXE_groundstate"));
            train.args(["train", "--threads", &threads.to_string(), "--method", &method.to_string()]);
            train.args(option);
            train.arg(FIXTURE.data()).arg("-o").arg(&model).arg("--config").arg(&config);
            let run = Run::from(train.output().unwrap());
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            assert!(run.text().starts_with(&format!("{}: {method}, trained on", model.display())));
            fs::read(model).unwrap()
        });
        assert!(files[0] == files[1], "one thread and three give different files with method {method}");
    }
}

#[test]
fn a_time_budget_is_turned_into_steps_that_repeat_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let (config, model, again) =
        (folder.path().join("c.toml"), folder.path().join("m.gsm"), folder.path().join("again.gsm"));
    let train = |model: &Path, budget: &str| {
        let method = ["--method", "contrast", "--size", "32", "--budget", budget];
        let mut train = command();
        train.arg("train").arg(FIXTURE.data()).arg("-o").arg(model).args(method);
        train.arg("--json").arg("--config").arg(&config);
        let run = Run::from(train.output().unwrap());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        serde_json::from_str::<Value>(&run.text()).unwrap()
    };
    fs::write(&config, "[network]\nwidth = 4\n").unwrap();
    let budgeted = train(&model, "1s");
    let planned = description(&model)["record"]["config"]["optimiser"]["steps"].as_u64().unwrap();
    assert!(planned < 12_000, "1 s leaves no room for the method's own 12 000 steps");
    let seconds = budgeted["train_seconds"].as_f64().unwrap();
    assert!(seconds > 0.0, "{budgeted}");
    // A machine that has become slower since the plan ends the training at its budget, and says so.
    let steps = budgeted["steps"].as_u64().unwrap();
    assert!(steps == planned || budgeted["notes"][0].as_str().unwrap().starts_with("the budget of 1 s"));
    fs::write(&config, format!("[network]\nwidth = 4\n[optimiser]\nsteps = {planned}\n")).unwrap();
    let repeated = train(&again, "1h");
    assert_eq!(repeated["steps"], planned);
    if steps == planned {
        assert!(tensors(&model) == tensors(&again), "the arrays differ");
    }
}

#[test]
fn a_training_report_shows_the_course_the_normal_pictures_and_the_chains() {
    let folder = tempfile::tempdir().unwrap();
    let (config, model) = (folder.path().join("c.toml"), folder.path().join("m.gsm"));
    fs::write(&config, "size = 32\n[network]\nwidth = 4\n[optimiser]\nsteps = 4\nbatch = 8\n").unwrap();
    let page = |method: &str| {
        let report = folder.path().join(method);
        let run = groundstate!(
            "train",
            FIXTURE.data(),
            "-o",
            model,
            "--config",
            config,
            "--method",
            method,
            "--report",
            report
        );
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains("training.html"), "{}", run.stderr);
        fs::read_to_string(report.join("training.html")).unwrap()
    };
    // Ten pictures to train on; of the chains, of which there are eight a step, 24 are shown.
    let of_chains = page("cd");
    assert_eq!(of_chains.matches("<img src=\"data:image/png;base64,").count(), 10 + 24);
    assert!(of_chains.contains("Energy gap in training") && of_chains.contains("Samples of the chains"));
    assert!(of_chains.contains("24 shown; pixel values 0."), "the chains' statistics are missing");
    let closed_form = page("gaussian");
    assert_eq!(closed_form.matches("<img ").count(), 10);
    assert!(!closed_form.contains("Samples of the chains") && closed_form.contains("has no course"));
}

#[test]
fn unreadable_training_images_are_named_counted_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_parts(&data);
    fs::write(data.join("train/good/text.png"), "this is no image").unwrap();
    write_cut_jpeg(&data.join("train/good/cut.jpg"));
    let model = folder.path().join("m.gsm");
    let run = train_gaussian!(data, "-o", model, "--size", "64");
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
        let run = train_gaussian!(FIXTURE.data(), "-o", target);
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
        .args(["train", "-q", "--method", "gaussian", "--size", "64", "-o"])
        .args([&model, &FIXTURE.data()])
        .output()
        .unwrap();
    let run = Run::from(output);
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
    let run = train_gaussian!(FIXTURE.data(), "-o", model, "--config", config, "--seed", "6");
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
    let run = train_gaussian!(FIXTURE.data(), "-o", folder.path().join("m"), "--config", config);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("c.toml, line 2: unknown field `sizes`"), "{}", run.stderr);
}

#[test]
fn separate_folders_do_the_work_of_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model, json) = (FIXTURE.data(), folder.path().join("m.gsm"), folder.path().join("e.json"));
    let normal = data.join("train/good");
    let run = train_gaussian!("--normal-dir", normal, "-o", model, "--size", "64");
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
    let expected =
        serde_json::json!({"normal": 4, "anomalous": 1, "without_mask": 0, "outside_roi": 0, "failed": 0});
    assert_eq!(counts, &expected);
}

#[test]
fn large_images_get_advice_and_tiles_take_them_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (model, config) = (folder.path().join("m.gsm"), folder.path().join("c.toml"));
    fs::write(&config, "colour = \"grey\"\n[gaussian]\ndimensions = 16\n[optimiser]\nsteps = 2\nbatch = 2\n")
        .unwrap();
    let train = |options: &[&str]| {
        let mut train = command();
        train
            .arg("train")
            .arg(FIXTURE.data())
            .arg("-o")
            .arg(&model)
            .arg("--config")
            .arg(&config)
            .args(options);
        Run::from(train.output().unwrap())
    };
    // The fixture's images have 64 px.
    let run = train(&["--method", "gaussian", "--size", "16"]);
    assert!(!run.stderr.contains("--fit tile"), "{}", run.stderr);
    let run = train(&["--size", "32", "--fit", "tile", "--calibration-share", "0.4"]);
    assert_eq!((run.code, run.stderr.contains("--fit tile")), (Some(0), false), "{}", run.stderr);
    assert_eq!(description(&model)["calibration"]["basis"], "held_out");
    for method in MethodName::ALL {
        let run = train(&["--size", "32", "--fit", "tile", "--method", &method.to_string()]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let info = description(&model);
        assert_eq!(info["preprocessing"]["fit"], "tile");
        let closed = matches!(method, MethodName::Gaussian | MethodName::Product);
        assert_eq!(info["energy"]["tiled"].is_null(), !closed);
        assert!(
            groundstate!("info", model).text().contains("images of any size in tiles of 32 px, 1 channels")
        );
        let run = groundstate!(
            "inspect",
            model,
            FIXTURE.good_part(),
            "--json",
            "--maps",
            folder.path().join("maps")
        );
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let run = groundstate!("evaluate", model, FIXTURE.data(), "--all-maps", "-q");
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
    let run = train(&["--size", "32", "--fit", "tile", "--method", "cd", "--on-reference"]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.error().contains("no reference energy where pictures are worked through in tiles"),
        "{}",
        run.stderr
    );
}
