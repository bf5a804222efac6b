//! `groundstate inspect`: score, p-value, verdict and heat map of each image.

mod map_files;
mod output;
mod region_table;

use std::path::PathBuf;

use anyhow::Result;
use groundstate::artifact;
use groundstate::detector::{Detail, Detector};
use groundstate::image::write_png;
use rayon::prelude::*;

use crate::arguments::RateArguments;
use crate::console::Console;
use crate::inputs::{self, Input};
use crate::outcome::Outcome;
use crate::overlay;
use crate::pipeline::{Beside, Inspected, inspect_all};
use crate::promise;
use map_files::MapFiles;
use output::{Finding, Format, Output};
use region_table::RegionTable;

/// Inspect images: score, p-value, verdict, regions and heat map of each
///
/// Regions are where the map is above its own threshold, which at most a stated share of normal parts
/// exceeds anywhere. They are measured in pixels of the image.
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
    /// Write each image with its heat map and the outlines of its regions into this folder, as PNG
    #[arg(long, value_name = "DIR")]
    maps: Option<PathBuf>,
    /// Write the regions of all images into this file, as CSV with one row a region
    #[arg(long, value_name = "FILE")]
    regions: Option<PathBuf>,
    /// Leave regions of fewer pixels out
    #[arg(long, value_name = "PIXELS", default_value_t = 1)]
    min_region_area: usize,
    /// Compute every image score, not only the default one and those that come with it
    #[arg(long)]
    all_scores: bool,
    /// Print one JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with a header
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    rates: RateArguments,
    /// Exit with code 3 if an image is flagged
    #[arg(long)]
    fail_on_anomaly: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Outcome> {
    let detector = arguments.rates.apply(artifact::load(&arguments.model)?)?;
    arguments.rates.warn_of_shortage(&detector, console);
    promise::bound(&detector.calibration).iter().for_each(|bound| console.note(bound));
    let inputs = inputs::expand(&arguments.paths, console);
    let map_files = arguments.maps.as_deref().map(|folder| MapFiles::create(folder, &inputs)).transpose()?;
    let format = match (arguments.json, arguments.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Text,
    };
    let mut output = Output::start(format, *console)?;
    let beside = if map_files.is_some() { Beside::Pixels } else { Beside::Nothing };
    let detail = if arguments.all_scores { Detail::Everything } else { Detail::Default };
    let min_area_px = arguments.min_region_area;
    let mut region_table = arguments.regions.map(RegionTable::start).transpose()?;
    let (mut failed, mut flagged) = (false, false);
    inspect_all(&detector, &inputs, Input::read, (detail, beside), |group| {
        let findings: Vec<Finding> = group
            .into_par_iter()
            .map(|(input, inspected)| Finding {
                path: &input.path,
                result: inspected.and_then(|inspected| {
                    finish(&detector, input, inspected, min_area_px, map_files.as_ref())
                }),
            })
            .collect();
        for finding in &findings {
            failed |= finding.result.is_err();
            flagged |= finding.result.as_ref().is_ok_and(|result| result.inspection.flagged);
            output.write(finding)?;
            if let Some(table) = &mut region_table {
                table.add(finding)?;
            }
        }
        output.flush()
    })?;
    if let Some(table) = region_table {
        table.finish()?;
    }
    Ok(match (flagged && arguments.fail_on_anomaly, failed) {
        (true, _) => Outcome::Anomalous,
        (false, true) => Outcome::Partial,
        (false, false) => Outcome::Complete,
    })
}

/// Finds the regions, draws the map, if wanted, and keeps what is printed.
fn finish(
    detector: &Detector,
    input: &Input,
    inspected: Inspected,
    min_area_px: usize,
    map_files: Option<&MapFiles>,
) -> Result<output::Result> {
    let Inspected { image, width, height, inspection, .. } = inspected;
    let segmentation = detector.segment(&inspection, width, height, min_area_px);
    let map = match (map_files, &image) {
        (Some(files), Some(image)) => {
            let map = detector.map(&inspection, detector.default_map, width, height);
            let path = files.path_of(input);
            write_png(&path, &overlay::draw_with_regions(detector, image, &map, &segmentation))?;
            Some(path)
        }
        _ => None,
    };
    Ok(output::Result { width, height, inspection, regions: segmentation.regions, map })
}
