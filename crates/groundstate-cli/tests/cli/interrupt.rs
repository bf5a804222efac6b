//! Ctrl-C, which reaches a program as SIGINT.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use groundstate::train::MethodName;

use crate::groundstate;
use crate::program::{FIXTURE, command, names_in, write_parts};

/// A method that takes its time.
fn learned_method() -> String {
    let learned = MethodName::ALL.into_iter().find(|method| *method != MethodName::Gaussian);
    learned.expect("there is a learned method").to_string()
}

fn start(command: &mut Command) -> (Child, impl Iterator<Item = String>) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

#[test]
fn ctrl_c_during_training_keeps_a_model_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.gsm");
    let mut train = command();
    train.arg("train").arg(FIXTURE.data()).args(["--size", "32", "--budget", "50s"]);
    train.args(["--method", &learned_method(), "-o"]).arg(&model);
    let (mut child, mut lines) = start(&mut train);
    assert!(lines.any(|line| line.starts_with("learning")));
    interrupt(&child);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("note: training was stopped")), "{rest:?}");
    assert_eq!(groundstate!("inspect", model, FIXTURE.good_part()).code, Some(0));
}

#[test]
fn ctrl_c_at_any_time_leaves_a_whole_model_of_the_closed_form_or_nothing() {
    const MOMENTS: u32 = 8;
    let mut nothing = 0;
    let mut usual = None;
    for moment in (0..=MOMENTS).rev() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.gsm");
        let mut train = command();
        train
            .arg("train")
            .arg(FIXTURE.data())
            .args(["--method", "gaussian", "--size", "64", "-o"])
            .arg(&model);
        let began = Instant::now();
        let (mut child, lines) = start(&mut train);
        // The first is left alone and tells how long it takes; the others are interrupted ever earlier.
        if let Some(usual) = usual {
            sleep(moment * usual / MOMENTS);
            interrupt(&child);
        }
        let lines: Vec<String> = lines.collect();
        let status = child.wait().unwrap();
        if status.code() == Some(0) {
            assert_eq!(names_in(folder.path()), ["m.gsm"]);
            assert_eq!(groundstate!("info", model).code, Some(0));
            usual.get_or_insert(began.elapsed());
        } else {
            // Before the program listens the system ends it, which shells call 130 as well.
            assert!(status.code() == Some(130) || status.signal() == Some(2), "{status}: {lines:?}");
            let says_so = || lines.iter().any(|line| line.contains("nothing is kept"));
            assert!(status.code().is_none() || says_so(), "{lines:?}");
            assert_eq!(names_in(folder.path()), [""; 0]);
            nothing += 1;
        }
    }
    assert!(nothing > 0, "no interruption came in time");
}

#[test]
fn a_second_ctrl_c_quits_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    write_parts(&root.join("only"));
    let mut benchmark = command();
    benchmark.arg("benchmark").arg(&root).args(["--size", "32", "--budget", "2s"]);
    benchmark.args(["--method", &learned_method()]);
    let (mut child, mut lines) = start(&mut benchmark);
    assert!(lines.any(|line| line.starts_with("learning")));
    interrupt(&child);
    assert!(lines.any(|line| line.contains("press Ctrl-C again")));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // The category at hand has a process of its own, which ends by itself.
    lines.for_each(drop);
}
