//! `groundstate calibrate`, and what train, inspect and info say of rates.

use std::fs;
use std::path::Path;

use groundstate::synthetic::{Config, write_dataset};
use serde_json::Value;

use crate::program::{FIXTURE, Run, command, write_cut_jpeg};
use crate::{groundstate, train_gaussian};

fn calibration(model: &Path) -> Value {
    let info: Value = serde_json::from_slice(&groundstate!("info", model, "--json").stdout).unwrap();
    info["calibration"].clone()
}

/// Good parts that the fixture's model was not trained on.
fn write_normals(folder: &Path, count: usize) {
    let config = Config { size_px: 64, train: count, test_good: 1, per_defect: 1, seed: 77 };
    write_dataset(folder, &config).unwrap();
}

#[test]
fn new_normal_parts_set_both_thresholds_and_the_old_ones_stay_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("new.gsm"));
    write_normals(&data, 30);
    let normals = data.join("train/good");
    let rates = ["--false-reject-rate", "0.1", "--pixel-false-alarm-rate", "0.01"];
    let (before, old) = (calibration(&FIXTURE.model()), FIXTURE.model());
    let run = groundstate!("calibrate", old, normals, "-o", model, rates[0], rates[1], rates[2], rates[3]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.text().contains("calibrated on 30 images"), "{}", run.text());
    // 10 % needs 9 images, 1 % for regions needs 99.
    assert_eq!(run.stderr.matches("needs").count(), 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("a pixel false-alarm rate of 1 % needs 99 calibration images; 30 can promise")
    );

    let after = calibration(&model);
    assert_eq!((&after["basis"], &after["count"]), (&"held_out".into(), &30.into()));
    assert_eq!(after["false_reject_rate"], 0.1);
    let past = &after["past"][0];
    assert_eq!((&past["basis"], &past["count"]), (&"cross_fitted".into(), &before["count"]));
    assert_eq!(past["pixel_threshold"], before["pixel_threshold"]);
    let text = groundstate!("info", model).text();
    assert!(text.contains("30 pictures, held out") && text.contains("calibrated before"), "{text}");

    // The images that calibrated it: three of thirty lie at or above the highest 10 % but one.
    let verdicts = groundstate!("inspect", model, normals).text();
    assert_eq!(verdicts.lines().filter(|line| line.starts_with("anomalous")).count(), 2, "{verdicts}");
    assert!(!verdicts.contains("  region  "), "none exceeds the highest of them: {verdicts}");
}

#[test]
fn without_an_output_the_model_is_replaced_and_its_history_grows() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("m.gsm"));
    write_normals(&data, 5);
    write_cut_jpeg(&data.join("train/good/cut.jpg"));
    fs::copy(FIXTURE.model(), &model).unwrap();
    for past in 1..3 {
        let run = groundstate!("calibrate", model, data.join("train/good"));
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.stderr.contains("cut.jpg"), "{}", run.stderr);
        assert_eq!(calibration(&model)["past"].as_array().unwrap().len(), past);
        assert_eq!(calibration(&model)["count"], 5);
    }
}

#[test]
fn a_calibration_without_an_image_or_with_an_impossible_rate_leaves_the_model_alone() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.gsm");
    fs::copy(FIXTURE.model(), &model).unwrap();
    let before = fs::read(&model).unwrap();
    let missing = groundstate!("calibrate", model, folder.path().join("none.png"));
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("none of the 1 images could be read"), "{}", missing.stderr);
    let good = FIXTURE.good_part();
    let rate = groundstate!("calibrate", model, good, "--pixel-false-alarm-rate", "1.5");
    assert_eq!(rate.code, Some(2));
    assert!(
        rate.error().contains("pixel false-alarm rate") && rate.error().contains("1.5"),
        "{}",
        rate.stderr
    );
    assert_eq!(fs::read(&model).unwrap(), before);
}

#[test]
fn a_rate_that_few_images_cannot_promise_is_named_where_it_is_stated() {
    let expected = "warning: a false-reject rate of 1 % needs 99 calibration images; 10 can promise 9.091 %";
    let good = FIXTURE.good_part();
    let stated = groundstate!("inspect", FIXTURE.model(), good, "--false-reject-rate", "0.01");
    assert!(stated.stderr.contains(expected), "{}", stated.stderr);
    let silent = groundstate!("inspect", FIXTURE.model(), good);
    assert_eq!(silent.stderr, "");
    let info = groundstate!("info", FIXTURE.model()).text();
    assert!(info.contains("9.091 % is the least that 10 pictures can promise"), "{info}");
}

#[test]
fn a_calibration_share_is_not_trained_on_and_holds_the_rates() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.gsm");
    let data = FIXTURE.data();
    let run = train_gaussian!(data, "-o", model, "--size", "64", "--calibration-share", "0.4");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.text().contains("trained on 6 pictures, calibrated on 4"), "{}", run.text());
    assert!(run.stderr.contains("4 can promise 20 %"), "{}", run.stderr);
    let calibration = calibration(&model);
    assert_eq!((&calibration["basis"], &calibration["past"]), (&"held_out".into(), &Value::Array(vec![])));
}

/// The fixture's images, cross-conformally.
fn train_cross_conformal(model: &Path, options: &[&str]) -> Run {
    let mut train = command();
    train.args(["train", "--method", "gaussian", "--size", "64", "--cross-conformal"]);
    train.arg(FIXTURE.data()).arg("-o").arg(model).args(options);
    Run::from(train.output().unwrap())
}

#[test]
fn a_cross_conformal_model_states_its_bound_wherever_rates_are_stated() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.gsm");
    let rates = ["--false-reject-rate", "0.1", "--pixel-false-alarm-rate", "0.2"];
    let run = train_cross_conformal(&model, &rates);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.text().contains("trained on 10 pictures, calibrated on 10"), "{}", run.text());
    // 10 % of 11 is 1 and 20 % is 2: 2 · (1 + 2) / 13 and 2 · (2 + 2) / 13.
    let promise = "cross-conformal: of good parts like those trained on about 10 % or fewer are rejected, at most \
                   46.154 % by proof; about 20 % or fewer show a region, at most 61.538 % by proof";
    assert!(run.stderr.contains(promise), "{}", run.stderr);
    let inspected = groundstate!("inspect", model, FIXTURE.good_part());
    assert_eq!(inspected.stderr, format!("note: {promise}\n"));
    assert_eq!(groundstate!("inspect", "-q", model, FIXTURE.good_part()).stderr, "");
    let info = groundstate!("info", model).text();
    assert!(info.contains("10 pictures, cross-conformal in 3 folds: the rates hold in practice"), "{info}");
    assert!(info.contains("flagged where p is at most 10 % by the energies of the folds"), "{info}");
    assert!(
        info.contains("at most 46.154 % by proof") && info.contains("at most 61.538 % by proof"),
        "{info}"
    );
    let calibration = calibration(&model);
    assert_eq!((&calibration["basis"], &calibration["folds"]), (&"cross_conformal".into(), &3.into()));
    assert_eq!((&calibration["threshold"], &calibration["bound"]), (&Value::Null, &(6.0 / 13.0).into()));
    let few = groundstate!("inspect", model, FIXTURE.good_part(), "--false-reject-rate", "0.01");
    assert!(few.stderr.contains("needs 99 calibration images; 10 can give 9.091 %"), "{}", few.stderr);
    let drift = groundstate!("drift", model, FIXTURE.data().join("test/good"));
    assert!(drift.stderr.contains("among these images only, as the calibration is cross-conformal"));
}

#[test]
fn a_defect_is_flagged_by_all_folds_and_a_new_calibration_drops_them() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (folder.path().join("data"), folder.path().join("m.gsm"));
    let run = train_cross_conformal(&model, &["-q"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let inspect = |path: &Path| -> Value {
        serde_json::from_slice(&groundstate!("inspect", model, path, "--json").stdout).unwrap()
    };
    let (good, bad) = (inspect(&FIXTURE.good_part()), inspect(&FIXTURE.data().join("test/hole/000.png")));
    assert!(bad["p_value"] == 1.0 / 11.0 && bad["flagged"] == true && bad["regions"][0].is_object(), "{bad}");
    // The score is that of the energy of all images, as without folds.
    let plain = groundstate!("inspect", FIXTURE.model(), FIXTURE.good_part(), "--json");
    assert_eq!(good["score"], serde_json::from_slice::<Value>(&plain.stdout).unwrap()["score"]);

    let size = |model: &Path| fs::metadata(model).unwrap().len();
    let before = size(&model);
    write_normals(&data, 9);
    let run = groundstate!("calibrate", model, data.join("train/good"), "--false-reject-rate", "0.1");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(3 * size(&model) < before, "{} of {before} bytes", size(&model));
    let after = calibration(&model);
    assert_eq!((&after["basis"], &after["folds"]), (&"held_out".into(), &0.into()));
    assert_eq!((&after["past"][0]["basis"], &after["bound"]), (&"cross_conformal".into(), &0.1.into()));
    assert!(!groundstate!("inspect", model, FIXTURE.good_part()).stderr.contains("cross-conformal"));
}

#[test]
fn what_cannot_be_cross_conformal_says_what_can() {
    let model = Path::new("unwritten.gsm");
    let product = groundstate!("train", FIXTURE.data(), "-o", model, "--cross-conformal");
    assert_eq!(product.code, Some(2));
    let expected = "cross_conformal is set, expected method gaussian; with any other, calibration_share or \
                    `groundstate calibrate` with new images makes the rates hold";
    assert!(product.error().contains(expected), "{}", product.stderr);
    let tiled = train_cross_conformal(model, &["--fit", "tile"]);
    assert!(tiled.error().contains("expected pictures that are scaled to one size"), "{}", tiled.stderr);
    let both = train_cross_conformal(model, &["--calibration-share", "0.4"]);
    assert!(both.error().contains("expected calibration_share to be 0"), "{}", both.stderr);
}
