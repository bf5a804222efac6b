//! `groundstate benchmark`: train and evaluate on every category of a data set.
//!
//! Each category is trained and evaluated by processes of their own, this program's `train` and
//! `evaluate`: the peak memory of a process says nothing about the categories before it, and a
//! category that fails takes nothing along.

mod summary;

use std::fs::File;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use groundstate::dataset::categories;
use groundstate::evaluate::Evaluation;

use crate::arguments::{Globals, RateArguments, Training, TrainingArguments};
use crate::console::Console;
use crate::evaluate::write_json;
use crate::interrupt::Interrupt;
use crate::outcome::{Interrupted, Outcome};
use crate::train::checkpoint_path;
use summary::{Rows, Summary};

/// Train and evaluate on every category of a data set
///
/// Prints one row for each category and their mean. A category that fails is reported and the rest
/// goes on. Ctrl-C ends the benchmark after the category at hand.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A folder of data sets in the layout of MVTec AD, or one data set
    #[arg(value_name = "ROOT")]
    root: PathBuf,
    /// Write all evaluations and their mean as JSON; docs/json.md lists the keys
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report on each category into a sub-folder of this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Keep the models in this folder, as CATEGORY.gsm
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Measure the energy map and the gradient map besides the default map; takes more memory and time
    #[arg(long)]
    all_maps: bool,
    #[command(flatten)]
    training: TrainingArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, globals: &Globals, console: &Console) -> Result<Outcome> {
    let training = arguments.training.resolve()?;
    let categories = categories(&arguments.root)?;
    let workplace =
        Workplace::new(&training, globals, arguments.models, arguments.report, arguments.all_maps)?;
    let interrupt = Interrupt::listen("finishing the category at hand")?;
    let rows = Rows::new(&categories);
    let mut summary = Summary::default();
    let mut out = stdout();
    writeln!(out, "{}", rows.head())?;
    for (at, category) in categories.iter().enumerate() {
        if interrupt.requested() {
            break;
        }
        let name = name(category);
        console.say(format_args!("{name} ({} of {})", at + 1, categories.len()));
        match workplace.run_category(category, &name) {
            Ok(evaluation) => {
                writeln!(out, "{}", rows.row(&name, &evaluation))?;
                summary.add(name, evaluation);
            }
            Err(error) => {
                let error = error.context(name.clone());
                console.error(&error);
                summary.add_failure(name, &error);
            }
        }
        // Kept up to date, so that what is done is not lost if the machine goes down.
        if let Some(path) = &arguments.json {
            write_json(path, &summary.as_json())?;
        }
    }
    if summary.is_empty() {
        return if interrupt.requested() {
            Err(Interrupted.into())
        } else {
            anyhow::bail!("every category failed")
        };
    }
    writeln!(out, "{}", rows.mean(&summary))?;
    let complete = summary.len() == categories.len();
    Ok(if complete { Outcome::Complete } else { Outcome::Partial })
}

/// What the child processes are started with.
struct Workplace {
    program: PathBuf,
    /// Models and configuration, removed at the end.
    temporary: tempfile::TempDir,
    options: Vec<std::ffi::OsString>,
    rates: RateArguments,
    roi_mask: Option<PathBuf>,
    models: Option<PathBuf>,
    report: Option<PathBuf>,
    all_maps: bool,
}

impl Workplace {
    fn new(
        training: &Training,
        globals: &Globals,
        models: Option<PathBuf>,
        report: Option<PathBuf>,
        all_maps: bool,
    ) -> Result<Self> {
        let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
        let config =
            toml::to_string(&training.config).context("cannot pass the training configuration on")?;
        std::fs::write(temporary.path().join("config.toml"), config)
            .context("cannot write to the temporary folder")?;
        if let Some(folder) = &models {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let mut options: Vec<std::ffi::OsString> = Vec::new();
        if globals.quiet {
            options.push("--quiet".into());
        }
        if let Some(threads) = globals.threads {
            options.extend(["--threads".into(), threads.to_string().into()]);
        }
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let Training { rates, roi_mask, .. } = training;
        Ok(Self {
            program,
            temporary,
            options,
            rates: *rates,
            roi_mask: roi_mask.clone(),
            models,
            report,
            all_maps,
        })
    }

    /// Trains and evaluates on one category.
    fn run_category(&self, category: &Path, name: &str) -> Result<Evaluation> {
        let temporary = self.temporary.path();
        let folder = self.models.as_deref().unwrap_or(temporary);
        let (model, json) = (folder.join(format!("{name}.gsm")), temporary.join("evaluation.json"));
        let training = temporary.join("training.json");
        // A benchmark that was killed left it; this one measures a training from its beginning.
        let _ = std::fs::remove_file(checkpoint_path(&model));
        let mut train = self.command("train");
        train.arg(category).arg("--json").arg("--output").arg(&model);
        train.stdout(File::create(&training).context("cannot write to the temporary folder")?);
        train.arg("--config").arg(temporary.join("config.toml"));
        train.args(self.rates.options());
        if let Some(mask) = &self.roi_mask {
            train.arg("--roi").arg(mask);
        }
        finish(train, "training")?;
        let mut evaluate = self.command("evaluate");
        evaluate.arg(&model).arg(category).arg("--json").arg(&json).arg("--training").arg(&training);
        if let Some(folder) = &self.report {
            evaluate.arg("--report").arg(folder.join(name));
        }
        if self.all_maps {
            evaluate.arg("--all-maps");
        }
        finish(evaluate, "evaluation")?;
        let text = std::fs::read(&json).context("cannot read what the evaluation wrote")?;
        serde_json::from_slice(&text).context("cannot read what the evaluation wrote")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).args(&self.options).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// Waits for a child, which prints its own errors. One that left some images out has done its work.
fn finish(mut command: Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start the {what}"))?;
    anyhow::ensure!(matches!(status.code(), Some(0 | 1)), "the {what} failed ({status})");
    Ok(())
}

fn name(category: &Path) -> String {
    let absolute = std::fs::canonicalize(category).unwrap_or_else(|_| category.to_owned());
    absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned()
}
