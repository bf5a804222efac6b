//! File systems as they are: full, read-only, changing while they are read, with loops, and shared.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::program::{FIXTURE, Run, command, names_in, read_json, write_parts};
use crate::{groundstate, train_gaussian};

/// Runs the program where no file may become longer than `kibibytes`: writing then fails half-way, as on
/// a full disk.
fn on_a_full_disk(kibibytes: u32, arguments: &[&Path]) -> Run {
    let limit = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$@\"");
    // `sh` counts in blocks of 512 bytes or of a kibibyte; either is small enough.
    let output = Command::new("sh")
        .args(["-c", &limit, "sh", env!("CARGO_BIN_EXE_groundstate")])
        .args(arguments)
        .output();
    output.unwrap().into()
}

#[test]
fn a_full_disk_stops_a_training_at_its_checkpoint_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.gsm");
    let options = ["-q", "--method", "contrast", "--size", "32", "--checkpoint-every", "0s", "-o"];
    let mut arguments: Vec<&Path> = vec![Path::new("train")];
    arguments.extend(options.map(Path::new));
    let data = FIXTURE.data();
    arguments.extend([model.as_path(), data.as_path()]);
    let run = on_a_full_disk(16, &arguments);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("cannot write the checkpoint"), "{}", run.stderr);
    assert_eq!(names_in(folder.path()), [""; 0]);
}

#[test]
fn maps_that_do_not_fit_on_the_disk_are_reported_for_each_image() {
    let folder = tempfile::tempdir().unwrap();
    let maps = folder.path().join("maps");
    let (model, good) = (FIXTURE.model(), FIXTURE.data().join("test/good"));
    let arguments = [Path::new("inspect"), &model, &good, Path::new("--maps"), &maps];
    let run = on_a_full_disk(1, &arguments);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.stderr.lines().filter(|line| line.contains("cannot write")).count(), 4, "{}", run.stderr);
    assert_eq!(names_in(&maps), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    for format in ["--quiet", "--json", "--csv"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut inspect = command();
        inspect.arg("inspect").arg(FIXTURE.model()).arg(FIXTURE.good_part()).arg(format).stdout(full);
        let run = Run::from(inspect.output().unwrap());
        assert_eq!(run.code, Some(2), "{format}");
        assert!(run.error().contains("No space left on device"), "{}", run.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_target_is_refused_before_the_work_and_named() {
    // Nothing can be made in /proc, not even by the superuser.
    let train = train_gaussian!(FIXTURE.data(), "-o", "/proc/m.gsm");
    assert_eq!(train.code, Some(2));
    assert!(train.error().contains("cannot write the model file /proc/m.gsm"), "{}", train.stderr);
    let maps = groundstate!("inspect", FIXTURE.model(), FIXTURE.good_part(), "--maps", "/proc/maps");
    assert_eq!((maps.code, maps.text().as_str()), (Some(2), ""));
    assert!(maps.error().contains("cannot make the folder /proc/maps"), "{}", maps.stderr);
    for option in ["--json", "--report"] {
        let run = groundstate!("evaluate", FIXTURE.model(), FIXTURE.data(), option, "/proc/e", "-q");
        assert_eq!(run.code, Some(2));
        assert!(run.error().contains("/proc/e"), "{}", run.stderr);
    }
}

#[test]
fn links_in_circles_and_to_nothing_are_named_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::copy(FIXTURE.good_part(), path("good.png")).unwrap();
    symlink(folder.path(), path("all-again")).unwrap();
    symlink("circle.png", path("circle.png")).unwrap();
    symlink("gone.png", path("nothing.png")).unwrap();
    let run = groundstate!("inspect", FIXTURE.model(), folder.path());
    assert_eq!(run.code, Some(1));
    assert_eq!(run.text().lines().count(), 1, "{}", run.text());
    let errors: Vec<&str> = run.stderr.lines().collect();
    let [circle, nothing] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(circle.contains("circle.png") && circle.contains("symbolic links"), "{circle}");
    assert!(nothing.contains("nothing.png") && nothing.contains("No such file"), "{nothing}");
    let model = groundstate!("info", path("circle.png"));
    assert_eq!(model.code, Some(2));
    assert!(model.error().contains("cannot read the model file"), "{}", model.stderr);
}

#[test]
fn files_that_vanish_or_shrink_while_they_are_read_are_named_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(FIXTURE.good_part()).unwrap();
    let names: Vec<_> = (0..300).map(|n| folder.path().join(format!("{n:03}.png"))).collect();
    names.iter().for_each(|name| fs::write(name, &bytes).unwrap());
    let mut inspect = command();
    inspect.arg("inspect").arg(FIXTURE.model()).arg(folder.path());
    let child = inspect.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    // From the last to the first, so that the program meets them on its way.
    for (n, name) in names.iter().enumerate().rev() {
        if n % 2 == 0 {
            fs::remove_file(name).unwrap();
        } else {
            fs::write(name, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    let run = Run::from(child.unwrap().wait_with_output().unwrap());
    let (good, bad) = (run.text().lines().count(), run.stderr.lines().count());
    assert!(run.stderr.lines().all(|line| line.starts_with("error: cannot read ")), "{}", run.stderr);
    assert_eq!(run.code, Some(i32::from(bad > 0)));
    assert!(good + bad <= names.len(), "{good} and {bad}");
}

#[test]
fn two_processes_that_write_one_model_leave_one_of_the_two() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    fs::write(
        &config,
        "size = 32\nregister = false\n[network]\nwidth = 4\n[optimiser]\nsteps = 20\nbatch = 4\n",
    )
    .unwrap();
    let train = |model: &Path, method: &str, seed: &str| {
        let mut train = command();
        train.arg("train").arg(FIXTURE.data()).arg("-o").arg(model).arg("--config").arg(&config);
        train.args(["-q", "--method", method, "--seed", seed, "--checkpoint-every", "0s"]);
        train
    };
    for method in ["gaussian", "contrast"] {
        let expected = ["1", "2"].map(|seed| {
            let model = folder.path().join("alone.gsm");
            assert_eq!(Run::from(train(&model, method, seed).output().unwrap()).code, Some(0));
            let bytes = fs::read(&model).unwrap();
            fs::remove_file(model).unwrap();
            bytes
        });
        for _ in 0..2 {
            let model = folder.path().join("shared.gsm");
            let [first, second] = ["1", "2"].map(|seed| {
                let mut train = train(&model, method, seed);
                train.stdout(Stdio::piped()).stderr(Stdio::piped());
                train.spawn().unwrap()
            });
            let runs: [Output; 2] = [first, second].map(|child| child.wait_with_output().unwrap());
            for run in runs.map(Run::from) {
                // One that sees the other's checkpoint leaves it alone.
                assert!(
                    run.code == Some(0) || run.error().contains("holds an unfinished training"),
                    "{}",
                    run.stderr
                );
            }
            let found = fs::read(&model).unwrap();
            assert!(expected.contains(&found), "a model that neither {method} training wrote");
            assert_eq!(names_in(folder.path()), ["c.toml", "shared.gsm"]);
            fs::remove_file(model).unwrap();
        }
    }
}

#[test]
fn two_processes_that_write_one_report_and_the_same_maps_leave_whole_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (report, maps, json) = (path("report"), path("maps"), path("e.json"));
    let both = |start: &dyn Fn() -> Command| {
        let children = [start(), start()]
            .map(|mut command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        for child in children {
            let run = Run::from(child.wait_with_output().unwrap());
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
    };
    both(&|| {
        let mut evaluate = command();
        evaluate.arg("evaluate").arg(FIXTURE.model()).arg(FIXTURE.data()).arg("-q");
        evaluate.arg("--json").arg(&json).arg("--report").arg(&report);
        evaluate
    });
    both(&|| {
        let mut inspect = command();
        inspect.arg("inspect").arg(FIXTURE.model()).arg(FIXTURE.data().join("test/good"));
        inspect.arg("--maps").arg(&maps);
        inspect
    });
    assert_eq!(names_in(folder.path()), ["e.json", "maps", "report"]);
    assert_eq!(names_in(&report), ["evaluation.json", "index.html"]);
    for file in [&json, &report.join("evaluation.json")] {
        assert_eq!(read_json(file)["counts"]["normal"], 4);
    }
    assert!(fs::read_to_string(report.join("index.html")).unwrap().trim_end().ends_with("</html>"));
    assert_eq!(names_in(&maps), ["000_map.png", "001_map.png", "002_map.png", "003_map.png"]);
    for name in names_in(&maps) {
        groundstate::image::read(&maps.join(name)).unwrap();
    }
}

#[test]
fn a_folder_whose_name_is_not_unicode_is_a_data_set_like_any_other() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join(std::ffi::OsStr::from_bytes(b"parts-\xff"));
    if fs::create_dir(&data).is_err() {
        // Some file systems take Unicode only.
        return;
    }
    write_parts(&data);
    let model = folder.path().join(std::ffi::OsStr::from_bytes(b"m-\xfe.gsm"));
    let train = train_gaussian!(data, "-o", model, "--size", "32");
    assert_eq!(train.code, Some(0), "{}", train.stderr);
    let report = folder.path().join(std::ffi::OsStr::from_bytes(b"r-\xfd"));
    let evaluate = groundstate!("evaluate", model, data, "--report", report, "-q");
    assert_eq!(evaluate.code, Some(0), "{}", evaluate.stderr);
    assert_eq!(names_in(&report), ["evaluation.json", "index.html"]);
}

/// A PNG of 100,000 × 100,000 pixels in less than a hundred bytes.
const BOMB: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x02\x00\x00\x00'0\x9c\x9f\x00\x00\x00\x08IDAT\x00\x00\x00\x00\x00\x00\x00\x00\xeeH]\x87";

#[test]
fn an_image_bomb_costs_an_error_and_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = folder.path().join("bomb.png");
    fs::write(&bomb, BOMB).unwrap();
    // The pixels would take 28 GiB; the program gets one, threads and code included.
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 1048576; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_groundstate"),
            "--threads",
            "2",
        ])
        .arg("inspect")
        .args([FIXTURE.model(), bomb, FIXTURE.good_part()])
        .output();
    let run = Run::from(output.unwrap());
    assert_eq!((run.code, run.text().lines().count()), (Some(1), 1), "{}", run.stderr);
    assert!(run.error().starts_with("refused to read "), "{}", run.stderr);
}
