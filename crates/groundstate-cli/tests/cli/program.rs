//! Running the program, and the data it runs on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use groundstate::synthetic::{Config, write_dataset};
use serde_json::Value;
use tempfile::TempDir;

/// What a run of the program left.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The only line on stderr, which must be an error.
    pub(crate) fn error(&self) -> &str {
        let mut lines = self.stderr.lines();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            panic!("expected one line, found {:?}", self.stderr)
        };
        line.strip_prefix("error: ").unwrap_or_else(|| panic!("expected an error, found {line:?}"))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// The program, not yet started.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groundstate"));
    command.args(["--threads", "2"]).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    command().args(arguments).output().expect("the program starts").into()
}

/// [`run`] with arguments of different types.
#[macro_export]
macro_rules! groundstate {
    ($($argument:expr),* $(,)?) => {
        $crate::program::run([$(std::ffi::OsStr::new(&$argument)),*])
    };
}

/// Runs `groundstate train` with the method that takes least time, and more arguments.
#[macro_export]
macro_rules! train_gaussian {
    ($($argument:expr),* $(,)?) => {
        $crate::groundstate!("train", "--method", "gaussian", $($argument),*)
    };
}

/// A data set of small parts and a model trained on it, made once and only read.
pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("flanges")
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.folder.path().join("flanges.gsm")
    }

    /// A good part that was not trained on.
    pub(crate) fn good_part(&self) -> PathBuf {
        self.data().join("test/good/000.png")
    }
}

pub(crate) static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let fixture = Fixture { folder: tempfile::tempdir().unwrap() };
    write_parts(&fixture.data());
    let trained = train_gaussian!(fixture.data(), "-o", fixture.model(), "--size", "64", "-q");
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    fixture
});

/// Ten parts to train on, four good ones and one with each defect to test with.
pub(crate) fn write_parts(folder: &Path) {
    let config = Config { size_px: 64, train: 10, test_good: 4, per_defect: 1, seed: 3 };
    write_dataset(folder, &config).unwrap();
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Names of everything in a folder, sorted.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A JPEG that ends in the middle.
pub(crate) fn write_cut_jpeg(path: &Path) {
    let image = groundstate::image::read(&FIXTURE.good_part()).unwrap();
    let bytes = groundstate::image::jpeg_bytes(&image, 90).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}
