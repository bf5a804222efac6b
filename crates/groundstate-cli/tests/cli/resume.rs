//! A killed training goes on where it was saved.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use groundstate::train::MethodName;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tempfile::TempDir;

use crate::groundstate;
use crate::program::{FIXTURE, Run, command, names_in};

/// A short training with a model file of its own.
struct Training {
    folder: TempDir,
    method: MethodName,
    seed: u64,
}

impl Training {
    fn new(method: MethodName) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            "size = 32\nregister = false",
            "[network]\nwidth = 4",
            "[optimiser]\nsteps = 60\nbatch = 4",
            "[cd]\nbuffer = 32\nlangevin.steps = 5\n",
        ];
        fs::write(folder.path().join("c.toml"), settings.join("\n")).unwrap();
        Self { folder, method, seed: 7 }
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("m.gsm")
    }

    fn checkpoint(&self) -> PathBuf {
        self.folder.path().join("m.gsm.checkpoint")
    }

    /// The program, saving after every step.
    fn command(&self, data: &Path) -> Command {
        let mut train = command();
        train.arg("train").arg(data).arg("-o").arg(self.model()).args(["-q", "--checkpoint-every", "0s"]);
        train.arg("--config").arg(self.folder.path().join("c.toml"));
        train.args(["--method", &self.method.to_string(), "--seed", &self.seed.to_string()]);
        train
    }

    fn run(&self, options: &[&str]) -> Run {
        self.command(&FIXTURE.data()).args(options).output().unwrap().into()
    }

    /// Starts, and kills after `delay`; `None` if the training ended before.
    fn run_and_kill(&self, options: &[&str], delay: Duration) -> Option<()> {
        let mut train = self.command(&FIXTURE.data());
        let mut child = train.args(options).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        sleep(delay);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (!output.status.success()).then_some(())
    }
}

/// How often each method is killed; GROUNDSTATE_KILLS asks for more.
fn kills() -> usize {
    std::env::var("GROUNDSTATE_KILLS").map_or(2, |text| text.parse().expect("GROUNDSTATE_KILLS is a number"))
}

#[test]
fn a_training_killed_again_and_again_ends_in_the_same_file() {
    let mut rng = StdRng::seed_from_u64(std::process::id().into());
    for method in [MethodName::Contrast, MethodName::Dsm, MethodName::Cd, MethodName::Product] {
        let whole = Training::new(method);
        assert_eq!(whole.run(&[]).code, Some(0));
        let expected = fs::read(whole.model()).unwrap();
        let (mut killed, mut went_on) = (0, 0);
        // An early kill tells little: at least one is to come after a checkpoint.
        while killed < kills() || (went_on == 0 && killed < 100) {
            let training = Training::new(method);
            // Killed until it is through: later and later, lest a slow machine never gets there.
            let mut patience = 200;
            while training
                .run_and_kill(&["--resume"], Duration::from_millis(rng.random_range(0..patience)))
                .is_some()
            {
                killed += 1;
                went_on += u32::from(training.checkpoint().exists());
                patience += patience / 2;
            }
            assert!(fs::read(training.model()).unwrap() == expected, "method {method} ends elsewhere");
            assert_eq!(names_in(training.folder.path()), ["c.toml", "m.gsm"]);
        }
        assert!(went_on > 0, "no kill of method {method} came after its first checkpoint");
    }
}

/// A training of which there is a checkpoint.
fn interrupted() -> Training {
    let training = Training::new(MethodName::Contrast);
    let mut child = training.command(&FIXTURE.data()).stdout(Stdio::null()).spawn().unwrap();
    while !training.checkpoint().exists() {
        assert!(child.try_wait().unwrap().is_none(), "the training ended without a checkpoint");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    training
}

#[test]
fn a_resumed_training_keeps_its_plan_and_counts_the_time_before_against_its_budget() {
    let training = Training::new(MethodName::Contrast);
    let config = training.folder.path().join("c.toml");
    let settings =
        "size = 32\nregister = false\nbudget_seconds = 3.0\n[network]\nwidth = 4\n[optimiser]\nbatch = 4\n";
    fs::write(&config, settings).unwrap();
    let mut child = training.command(&FIXTURE.data()).stdout(Stdio::null()).spawn().unwrap();
    while !training.checkpoint().exists() {
        assert!(child.try_wait().unwrap().is_none(), "the training ended without a checkpoint");
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(700));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(training.run(&["--resume"]).code, Some(0));
    let record = |model: &Path| -> Value {
        let info = groundstate!("info", model, "--json");
        serde_json::from_slice::<Value>(&info.stdout).unwrap()["record"].clone()
    };
    let resumed = record(&training.model());
    let (steps, planned) = (&resumed["steps"], &resumed["config"]["optimiser"]["steps"]);
    let resumed_model = fs::read(training.model()).unwrap();
    // A machine that has become slower ends the training at its budget, and says so.
    let note = resumed["notes"][0].as_str().unwrap_or_default();
    assert!(steps == planned || note.starts_with("the budget of 3 s ended training"), "{resumed}");
    if steps == planned {
        fs::write(&config, format!("{settings}steps = {planned}\n").replace("3.0", "3600.0")).unwrap();
        assert_eq!(training.run(&[]).code, Some(0));
        assert_eq!(record(&training.model())["curve"], resumed["curve"]);
        assert!(arrays(&fs::read(training.model()).unwrap()) == arrays(&resumed_model), "the arrays differ");
    }
}

/// The arrays of a model file.
fn arrays(file: &[u8]) -> &[u8] {
    let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    &file[8 + header..]
}

#[test]
fn an_unfinished_training_is_not_overwritten_by_accident() {
    let training = interrupted();
    let before = fs::read(training.checkpoint()).unwrap();
    let run = training.run(&[]);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("m.gsm.checkpoint holds an unfinished training"), "{}", run.stderr);
    assert!(fs::read(training.checkpoint()).unwrap() == before);
}

#[test]
fn another_configuration_and_other_pictures_are_refused() {
    let mut training = interrupted();
    training.seed = 8;
    let run = training.run(&["--resume"]);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("of another training: seed is 7 there and 8 here"), "{}", run.stderr);
    training.seed = 7;
    let more = Run::from(training.command(&FIXTURE.data().join("test")).arg("--resume").output().unwrap());
    assert_eq!(more.code, Some(2), "{}", more.stderr);
    assert!(more.error().contains("the training pictures are not the same"), "{}", more.stderr);
    assert_eq!(training.run(&["--resume"]).code, Some(0));
}

#[test]
fn a_damaged_checkpoint_is_refused_wherever_a_bit_has_flipped() {
    let training = interrupted();
    let sound = fs::read(training.checkpoint()).unwrap();
    for at in [0, 30, 60, 100, sound.len() / 2, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(training.checkpoint(), &damaged).unwrap();
        let run = training.run(&["--resume"]);
        assert_eq!(run.code, Some(2), "byte {at}");
        assert!(run.error().contains("no checkpoint of this program, or a damaged one"), "{}", run.stderr);
    }
    fs::write(training.checkpoint(), &sound[..sound.len() / 2]).unwrap();
    assert_eq!(training.run(&["--resume"]).code, Some(2));
}
