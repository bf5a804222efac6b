//! `groundstate demo`: made-up parts → data set, model, evaluation and report.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use groundstate::artifact;
use groundstate::synthetic::{self, write_dataset};

use crate::arguments::{Source, TrainingArguments};
use crate::console::Console;
use crate::evaluate::evaluate_dataset;
use crate::interrupt::Interrupt;
use crate::outcome::Outcome;
use crate::report::write_report;
use crate::table;
use crate::train::{check_target, stop_message, train_dataset};

/// Time that a learned method gets unless told otherwise, so that the demo takes less than a minute.
const BUDGET: Duration = Duration::from_secs(30);

/// Make pictures of parts, train on them, and write a report
///
/// Writes the pictures to DIR/data, the model to DIR/model.gsm, the report to DIR/index.html
/// and its numbers to DIR/evaluation.json. The parts are made up: the numbers say that the program
/// works, not how well it does on real parts.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder to write to
    #[arg(short, long, value_name = "DIR", default_value = "groundstate-demo")]
    output: PathBuf,
    /// Edge of the made-up pictures, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 256)]
    picture_size: usize,
    /// Made-up normal pictures to train on
    #[arg(long, value_name = "N", default_value_t = 60)]
    pictures: usize,
    #[command(flatten)]
    training: TrainingArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Outcome> {
    let start = Instant::now();
    let training = arguments.training.with_default_budget(BUDGET).resolve()?;
    let Arguments { output, picture_size, pictures, .. } = arguments;
    let config = synthetic::Config {
        size_px: picture_size,
        train: pictures,
        seed: training.config.seed,
        ..synthetic::Config::default()
    };
    config.check()?;
    let (data, model) = (output.join("data"), output.join("model.gsm"));
    std::fs::create_dir_all(&output)
        .with_context(|| format!("cannot make the folder {}", output.display()))?;
    check_target("the model file", &model)?;
    let interrupt = Interrupt::listen(stop_message(training.config.method))?;
    console.say(format_args!("making pictures in {}", data.display()));
    let dataset = write_dataset(&data, &config)?;
    let source = Source { root: Some(data), dataset };
    let trained = train_dataset(&source, &training, None, &interrupt, console)?;
    artifact::save(&trained.detector, &model)?;
    let evaluated = evaluate_dataset(&trained.detector, &source, Some(trained.cost), true, console)?;
    let page = write_report(&output, &trained.summary(), &trained.detector, &source, &evaluated)?;
    let mut out = stdout();
    writeln!(out, "{}", table::evaluation("made-up flanges", &evaluated.evaluation))?;
    writeln!(out, "model:   {}", model.display())?;
    writeln!(out, "numbers: {}", output.join("evaluation.json").display())?;
    writeln!(out, "report:  {}", page.display())?;
    writeln!(out, "done in {:.1} s; open the report in a browser", start.elapsed().as_secs_f64())?;
    Ok(evaluated.outcome())
}
