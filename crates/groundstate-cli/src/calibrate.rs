//! `groundstate calibrate`: thresholds from new images of normal parts, without training.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result};
use groundstate::artifact;
use groundstate::calibrate::{Basis, Calibration};
use groundstate::conditions::Conditions;
use groundstate::detector::{Detail, Detector};

use crate::arguments::RateArguments;
use crate::console::Console;
use crate::inputs::{self, Input};
use crate::outcome::Outcome;
use crate::pipeline::{Beside, Inspected, inspect_all};
use crate::progress;
use crate::promise::{percent, shortages};
use crate::train::check_target;

/// Set a model's thresholds by new images of normal parts, without training
///
/// The images must not be among those that the model was trained on. Then both rates hold: a new part
/// that is like them is rejected, or shows a region, with at most the stated probability. The
/// calibration before stays in the model file; `groundstate info` shows it. What a cross-conformal one
/// compared with is no longer needed and leaves the file.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Images of normal parts, folders (searched with their sub-folders) and patterns
    #[arg(value_name = "NORMALS", required = true)]
    normals: Vec<PathBuf>,
    /// The model file to write [default: MODEL]
    #[arg(short, long, value_name = "MODEL")]
    output: Option<PathBuf>,
    #[command(flatten)]
    rates: RateArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Outcome> {
    let Arguments { model, normals, output, rates } = arguments;
    let output = output.unwrap_or_else(|| model.clone());
    let mut detector = rates.apply(artifact::load(&model)?)?;
    check_target("the model file", &output)?;
    let inputs = inputs::expand(&normals, console);
    let normal = inspect_normals(&detector, &inputs, console)?;
    anyhow::ensure!(!normal.scores.is_empty(), "none of the {} images could be read", inputs.len());
    let failed = inputs.len() - normal.scores.len();
    detector.calibration = detector
        .calibration
        .replaced(normal.scores, normal.peaks, Basis::HeldOut)
        .context("cannot calibrate on these images")?;
    detector.folds.clear();
    detector.conditions = normal.conditions;
    shortages(&detector.calibration).into_iter().flatten().for_each(|shortage| console.note(shortage));
    artifact::save(&detector, &output)?;
    writeln!(stdout(), "{}: {}", output.display(), summary(&detector.calibration, normal.flagged))?;
    Ok(if failed == 0 { Outcome::Complete } else { Outcome::Partial })
}

/// What the detector says of normal parts.
#[derive(Default)]
struct Normal {
    scores: Vec<f64>,
    peaks: Vec<f64>,
    /// How many of them the calibration before flags.
    flagged: usize,
    conditions: Vec<Conditions>,
}

/// Inspects the images that can be read; the others are reported.
fn inspect_normals(detector: &Detector, inputs: &[Input], console: &Console) -> Result<Normal> {
    let bar = progress::images(console, "inspecting", inputs.len());
    let mut normal = Normal::default();
    inspect_all(detector, inputs, Input::read, (Detail::Default, Beside::Conditions), |group| {
        bar.inc(group.len() as u64);
        for (_, inspected) in group {
            match inspected {
                Ok(Inspected { inspection, conditions, .. }) => {
                    normal.scores.push(inspection.score);
                    normal.flagged += usize::from(inspection.flagged);
                    normal.peaks.push(detector.peak(&inspection));
                    normal.conditions.extend(conditions);
                }
                Err(error) => bar.suspend(|| console.error(&error)),
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(normal)
}

/// One line on the thresholds, and on what those before made of the same images.
fn summary(calibration: &Calibration, before: usize) -> String {
    let Calibration { image, map, .. } = calibration;
    format!(
        "calibrated on {} images; flagged above {:.4} ({}), regions above {:.4} ({}); \
         the calibration before flagged {before} of them",
        image.count(),
        image.threshold(),
        percent(image.attainable_rate()),
        map.threshold(),
        percent(map.attainable_rate()),
    )
}
