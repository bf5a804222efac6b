//! `groundstate evaluate`: metrics of a model on a labelled test set.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use groundstate::artifact;
use groundstate::dataset::{Label, Sample};
use groundstate::detector::{Detail, Detector};
use groundstate::evaluate::{Evaluation, Judged, evaluate};
use groundstate::image::{Mask, read, write_atomically};
use groundstate::score::MapKind;
use rayon::prelude::*;
use serde::Serialize;

use crate::arguments::{DataArguments, RateArguments, Source};
use crate::console::Console;
use crate::cost::Cost;
use crate::outcome::Outcome;
use crate::pipeline::{Beside, Inspected, inspect_all};
use crate::report::write_report;
use crate::{progress, table};

/// Measure a model on a labelled test set
///
/// Prints a table. Masks and maps are compared at the resolution of each image, inside the model's region
/// of interest if it has one. Images per second
/// counts reading, preparing, scoring and the map at the image's own resolution, not the metrics.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Write the evaluation as JSON; docs/json.md lists the keys
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write an HTML page with charts and pictures into this folder, and evaluation.json beside it
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Measure the energy map and the gradient map besides the default map; takes more memory and time
    #[arg(long)]
    all_maps: bool,
    /// What `train --json` printed, for the evaluation to say what training took
    #[arg(long, value_name = "FILE")]
    training: Option<PathBuf>,
    #[command(flatten)]
    rates: RateArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Outcome> {
    let detector = arguments.rates.apply(artifact::load(&arguments.model)?)?;
    arguments.rates.warn_of_shortage(&detector, console);
    let cost = arguments.training.as_deref().map(Cost::read).transpose()?;
    let source = arguments.data.resolve()?;
    let evaluated = evaluate_dataset(&detector, &source, cost, arguments.all_maps, console)?;
    if let Some(path) = &arguments.json {
        write_json(path, &evaluated.evaluation)?;
    }
    if let Some(folder) = &arguments.report {
        let subtitle = arguments.model.display().to_string();
        let page = write_report(folder, &subtitle, &detector, &source, &evaluated)?;
        console.say(format_args!("report: {}", page.display()));
    }
    write!(stdout(), "{}", table::evaluation(&source.dataset.name, &evaluated.evaluation))?;
    Ok(evaluated.outcome())
}

/// An evaluation with what it was made of.
pub(crate) struct Evaluated {
    /// The metrics, with costs.
    pub(crate) evaluation: Evaluation,
    /// The images in the order of [`Evaluation::images`], with maps and masks.
    pub(crate) judged: Vec<Judged>,
    /// The files in the same order.
    pub(crate) paths: Vec<PathBuf>,
    /// Whether a mask could not be used.
    bad_masks: bool,
}

impl Evaluated {
    /// Whether anything was left out.
    pub(crate) fn outcome(&self) -> Outcome {
        let complete = self.evaluation.counts.failed == 0 && !self.bad_masks;
        if complete { Outcome::Complete } else { Outcome::Partial }
    }
}

/// Inspects all test images and measures how well the detector tells them apart.
///
/// An image that cannot be read is reported and counted; so is a mask, whose image then counts as one
/// without a mask.
pub(crate) fn evaluate_dataset(
    detector: &Detector,
    source: &Source,
    cost: Option<Cost>,
    all_maps: bool,
    console: &Console,
) -> Result<Evaluated> {
    let dataset = &source.dataset;
    dataset.require_test()?;
    dataset.warnings.iter().for_each(|warning| console.warn(warning));
    let start = Instant::now();
    let inspected = inspect_samples(detector, source, all_maps, console)?;
    let seconds = start.elapsed().as_secs_f64();
    let (samples, mut judged): (Vec<&Sample>, Vec<Judged>) = inspected.into_iter().unzip();
    let masks: Vec<Result<Option<Mask>>> =
        samples.par_iter().zip(&judged).map(|(sample, judged)| read_mask(sample, judged)).collect();
    let mut bad_masks = false;
    for (judged, mask) in judged.iter_mut().zip(masks) {
        judged.mask = mask.unwrap_or_else(|error| {
            console.error(&error);
            bad_masks = true;
            None
        });
    }
    let mut evaluation = evaluate(&judged, &detector.default_score, detector.roi.as_ref())?;
    evaluation.counts.failed = dataset.test.len() - judged.len();
    evaluation.train_seconds = cost.map(|cost| cost.train_seconds);
    evaluation.peak_memory_mib = cost.and_then(|cost| cost.peak_memory_mib);
    evaluation.images_per_second = Some(judged.len() as f64 / seconds);
    let paths = samples.into_iter().map(|sample| sample.path.clone()).collect();
    Ok(Evaluated { evaluation, judged, paths, bad_masks })
}

/// Writes `value` as JSON; an older file is replaced as a whole.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_atomically(path, &text).with_context(|| format!("cannot write {}", path.display()))
}

/// What the detector says of every test image that can be read, still without masks.
fn inspect_samples<'a>(
    detector: &Detector,
    source: &'a Source,
    all_maps: bool,
    console: &Console,
) -> Result<Vec<(&'a Sample, Judged)>> {
    let samples = &source.dataset.test;
    let bar = progress::images(console, "inspecting", samples.len());
    let mut judged = Vec::with_capacity(samples.len());
    let read = |sample: &Sample| Ok(read(&sample.path)?);
    inspect_all(detector, samples, read, (Detail::Everything, Beside::Nothing), |group| {
        bar.inc(group.len() as u64);
        let group: Vec<_> = group
            .into_par_iter()
            .map(|(sample, inspected)| {
                let name = name(sample, source);
                inspected.map(|inspected| (sample, judge(detector, sample, name, inspected, all_maps)))
            })
            .collect();
        for result in group {
            match result {
                Ok(of_sample) => judged.push(of_sample),
                Err(error) => bar.suspend(|| console.error(&error)),
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(judged)
}

/// One inspection with its maps at the resolution of the image.
fn judge(detector: &Detector, sample: &Sample, name: String, inspected: Inspected, all_maps: bool) -> Judged {
    let Inspected { width, height, inspection, .. } = inspected;
    let map = |kind| detector.map(&inspection, kind, width, height);
    let others = MapKind::ALL.into_iter().filter(|&kind| all_maps && kind != detector.default_map);
    Judged {
        name,
        defect: sample.defect.clone(),
        anomalous: sample.label == Label::Anomalous,
        p_value: Some(inspection.p_value),
        flagged: inspection.flagged,
        map: map(detector.default_map),
        other_maps: others.map(|kind| (kind.name().to_owned(), map(kind))).collect(),
        mask: None,
        scores: inspection.scores,
    }
}

/// The ground truth of an anomalous image, where there is one.
fn read_mask(sample: &Sample, judged: &Judged) -> Result<Option<Mask>> {
    if !judged.anomalous {
        return Ok(None);
    }
    Ok(sample.load_mask(judged.map.width, judged.map.height)?)
}

/// The path of an image relative to its data set, with `/` between folders on every system.
fn name(sample: &Sample, source: &Source) -> String {
    let root = source.root.as_deref().unwrap_or(Path::new(""));
    let relative = sample.path.strip_prefix(root).unwrap_or(&sample.path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
