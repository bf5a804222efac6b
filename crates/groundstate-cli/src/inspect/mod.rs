//! `groundstate inspect`: score, p-value, verdict and heat map of each image.

mod inputs;
mod map_files;
mod output;

use std::path::PathBuf;

use anyhow::Result;
use groundstate::artifact;
use groundstate::detector::Detector;
use groundstate::image::{read, write_png};
use rayon::prelude::*;

use crate::arguments::with_rate;
use crate::console::Console;
use crate::outcome::Outcome;
use crate::overlay;
use crate::pipeline::{Inspected, Pixels, inspect_all};
use inputs::Input;
use map_files::MapFiles;
use output::{Finding, Format, Output};

/// Inspect images: score, p-value, verdict and heat map of each
///
/// Results are printed in the order given. A file that cannot be read is reported and the rest goes
/// on: as a line on stderr, with --json as an object with "error", with --csv in the column "error".
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Images, folders (searched with their sub-folders) and patterns such as 'parts/*.png'
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Write each image with its heat map drawn over it into this folder, as PNG
    #[arg(long, value_name = "DIR")]
    maps: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with a header
    #[arg(long)]
    csv: bool,
    /// Flag images so that at most this share of normal parts is rejected [default: the model's]
    #[arg(long, value_name = "RATE")]
    false_reject_rate: Option<f64>,
    /// Exit with code 3 if an image is flagged
    #[arg(long)]
    fail_on_anomaly: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Outcome> {
    let detector = with_rate(artifact::load(&arguments.model)?, arguments.false_reject_rate)?;
    let inputs = inputs::expand(&arguments.paths, console);
    let map_files = arguments.maps.as_deref().map(|folder| MapFiles::create(folder, &inputs)).transpose()?;
    let format = match (arguments.json, arguments.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Text,
    };
    let mut output = Output::start(format, *console)?;
    let pixels = if map_files.is_some() { Pixels::Keep } else { Pixels::Drop };
    let (mut failed, mut flagged) = (false, false);
    let read = |input: &Input| match &input.problem {
        Some(problem) => Err(anyhow::anyhow!("{problem}")),
        None => Ok(read(&input.path)?),
    };
    inspect_all(&detector, &inputs, read, pixels, |group| {
        let findings: Vec<Finding> = group
            .into_par_iter()
            .map(|(input, inspected)| finding(&detector, input, inspected, map_files.as_ref()))
            .collect();
        for finding in &findings {
            failed |= finding.result.is_err();
            flagged |= finding.result.as_ref().is_ok_and(|result| result.inspection.flagged);
            output.write(finding)?;
        }
        output.flush()
    })?;
    Ok(match (flagged && arguments.fail_on_anomaly, failed) {
        (true, _) => Outcome::Anomalous,
        (false, true) => Outcome::Partial,
        (false, false) => Outcome::Complete,
    })
}

/// Draws the map, if wanted, and keeps what is printed.
fn finding<'a>(
    detector: &Detector,
    input: &'a Input,
    inspected: Result<Inspected>,
    map_files: Option<&MapFiles>,
) -> Finding<'a> {
    let finished = inspected.and_then(|inspected| {
        let map = match (map_files, &inspected.image) {
            (Some(files), Some(image)) => {
                let Inspected { inspection, width, height, .. } = &inspected;
                let map = detector.map(inspection, detector.default_map, *width, *height);
                let path = files.path_of(input);
                write_png(&path, &overlay::draw(detector, image, &map))?;
                Some(path)
            }
            _ => None,
        };
        let Inspected { width, height, inspection, .. } = inspected;
        Ok(output::Result { width, height, inspection, map })
    });
    Finding { path: &input.path, result: finished }
}
