//! `groundstate demo`.

use crate::evaluate::check_keys;
use crate::groundstate;
use crate::program::{Run, command, names_in, read_json};

#[test]
fn the_demo_writes_pictures_model_report_and_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("demo");
    let mut demo = command();
    demo.args([
        "demo",
        "--picture-size",
        "64",
        "--size",
        "32",
        "--pictures",
        "10",
        "--method",
        "gaussian",
        "-o",
    ]);
    let run = Run::from(demo.arg(&output).output().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(names_in(&output), ["data", "evaluation.json", "index.html", "model.gsm"]);
    check_keys(&read_json(&output.join("evaluation.json")));
    assert!(run.text().contains(output.join("index.html").to_str().unwrap()), "{}", run.text());
    let inspected = groundstate!("inspect", output.join("model.gsm"), output.join("data/test"));
    let verdicts = inspected.text().lines().filter(|line| !line.starts_with("  region")).count();
    assert_eq!((inspected.code, verdicts), (Some(0), 68));
}
