//! `groundstate train`: from images of normal parts to a model file.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use groundstate::artifact;
use groundstate::conditions::Conditions;
use groundstate::dataset::{Loaded, load_all};
use groundstate::detector::{Detector, prepare};
use groundstate::image::{Image, Levels, Preprocessing, Roi, remove_leftovers, white_level};
use groundstate::train::{
    Checkpoints, Completed, Control, Exhibit, Gallery, MethodName, TrainConfig, TrainError, train_tiled,
    train_with_checkpoints,
};

use crate::arguments::{DataArguments, Source, Training, TrainingArguments};
use crate::console::Console;
use crate::cost::Cost;
use crate::interrupt::Interrupt;
use crate::outcome::Outcome;
use crate::progress::{self, TrainingProgress};
use crate::promise;
use crate::train_report::write_training_report;

/// Images that are read between two looks at Ctrl-C.
const READING_CHUNK: usize = 32;
/// Images this many times larger than what the model sees of them are shrunk too much for small defects.
const MUCH_LARGER: usize = 6;
/// What the first Ctrl-C does.
pub(crate) fn stop_message(method: MethodName) -> &'static str {
    match method {
        MethodName::Gaussian => "stopping; nothing is kept of a closed form that is not complete",
        _ => "stopping and keeping what was learned so far",
    }
}

/// Train a model on images of normal parts
///
/// Ctrl-C stops the training and keeps the model as it is then; `gaussian`, which takes seconds, keeps
/// nothing. A learned method is saved now and then to MODEL.checkpoint: killed, it goes on with --resume
/// and ends in the same model, bit for bit. Images that cannot be read are left out with a warning.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    /// The model file to write
    #[arg(short, long, value_name = "MODEL")]
    output: PathBuf,
    /// Write DIR/training.html: the course of the training, the normal pictures as the energy sees them,
    /// and samples of its chains where the method has chains
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print a JSON object about the training; docs/json.md lists the keys
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    training: TrainingArguments,
    /// Go on with a killed training from MODEL.checkpoint, or begin where there is none
    #[arg(long, help_heading = "Training")]
    resume: bool,
    /// Least time between two checkpoints
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = humantime::parse_duration,
        help_heading = "Training"
    )]
    checkpoint_every: Duration,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let training = arguments.training.resolve()?;
    check_target("the model file", &arguments.output)?;
    let checkpoints = checkpoints(&arguments.output, arguments.resume, arguments.checkpoint_every, console)?;
    let source = arguments.data.resolve()?;
    let interrupt = Interrupt::listen(stop_message(training.config.method))?;
    let trained = train_dataset(&source, &training, Some(&checkpoints), &interrupt, console)?;
    artifact::save(&trained.detector, &arguments.output)?;
    if let Some(folder) = &arguments.report {
        let page = write_training_report(folder, &source.dataset.name, &trained)?;
        console.say(format_args!("report: {}", page.display()));
    }
    checkpoints.remove().with_context(|| format!("cannot remove {}", checkpoints.path.display()))?;
    if arguments.json {
        writeln!(stdout(), "{}", trained.as_json())?;
    } else {
        writeln!(stdout(), "{}: {}", arguments.output.display(), trained.summary())?;
    }
    Ok(Outcome::Complete)
}

/// The checkpoint beside a model file.
pub(crate) fn checkpoint_path(model: &Path) -> PathBuf {
    let mut path = model.as_os_str().to_owned();
    path.push(".checkpoint");
    path.into()
}

/// Where the training is saved; fails if that would overwrite an unfinished one.
fn checkpoints(
    model: &Path,
    resume: bool,
    every: Duration,
    console: &Console,
) -> anyhow::Result<Checkpoints> {
    let path = checkpoint_path(model);
    match (path.exists(), resume) {
        (true, true) => console.note(format_args!("going on with the training in {}", path.display())),
        (false, true) => console.note(format_args!("there is no {}, the training begins", path.display())),
        (true, false) => anyhow::bail!(
            "{} holds an unfinished training; go on with it with --resume, or remove it",
            path.display()
        ),
        (false, false) => {}
    }
    Ok(Checkpoints { path, every, resume })
}

/// A detector with what happened on the way.
pub(crate) struct TrainedModel {
    /// The detector.
    pub(crate) detector: Detector,
    /// Images that could not be read.
    pub(crate) left_out: usize,
    /// What it took.
    pub(crate) cost: Cost,
    /// What a report shows.
    pub(crate) exhibit: Exhibit,
}

impl TrainedModel {
    /// One line on what was trained.
    pub(crate) fn summary(&self) -> String {
        let (record, calibration) = (&self.detector.record, &self.detector.calibration);
        let mut line = format!(
            "{}, trained on {} pictures, calibrated on {}, in {:.1} s",
            record.method,
            record.pictures,
            calibration.image.count(),
            self.cost.train_seconds
        );
        if record.steps > 0 {
            line += &format!(" and {} steps", record.steps);
        }
        if self.left_out > 0 {
            line += &format!("; {} unreadable images left out", self.left_out);
        }
        match record.notes.len() {
            0 => {}
            1 => line += "; 1 note",
            several => line += &format!("; {several} notes"),
        }
        line
    }

    /// The same for programs.
    fn as_json(&self) -> serde_json::Value {
        let record = &self.detector.record;
        serde_json::json!({
            "method": record.method,
            "pictures": record.pictures,
            "held_out": record.held_out,
            "left_out": self.left_out,
            "steps": record.steps,
            "train_seconds": self.cost.train_seconds,
            "peak_memory_mib": self.cost.peak_memory_mib,
            "notes": record.notes,
        })
    }
}

/// Trains on the normal images of a data set.
pub(crate) fn train_dataset(
    source: &Source,
    training: &Training,
    checkpoints: Option<&Checkpoints>,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<TrainedModel> {
    let start = Instant::now();
    let dataset = &source.dataset;
    dataset.require_train()?;
    dataset.warnings.iter().for_each(|warning| console.warn(warning));
    let roi = training.roi()?;
    let mut config = training.config.clone();
    let read = |config: &TrainConfig| {
        let preprocessing = config.preprocessing();
        load(&dataset.train, interrupt, console, |image| Prepared::of(image, roi.as_ref(), &preprocessing))
    };
    let mut loaded = read(&config)?;
    if config.white_level.is_none() {
        let white = white_level(loaded.images.iter().map(|(_, prepared)| prepared.levels));
        config.white_level = Some(white);
        // Known only now, and rarely another than the whole range.
        if white != Preprocessing::default().white_level {
            loaded = read(&config)?;
        }
    }
    for (_, error) in &loaded.failures {
        console.warn(format_args!("{error}; left out"));
    }
    let left_out = loaded.failures.len();
    let paths: Vec<&PathBuf> = loaded.images.iter().map(|(at, _)| &dataset.train[*at]).collect();
    let prepared = || loaded.images.iter().map(|(_, prepared)| prepared);
    let conditions = prepared().map(|prepared| prepared.conditions).collect();
    let edge_px = prepared().map(|prepared| prepared.edge_px).max();
    let pictures: Vec<Image> =
        loaded.images.into_iter().filter_map(|(_, prepared)| prepared.picture).collect();
    let mut progress = TrainingProgress::new(console);
    let mut observer = |moment: &_| {
        progress.show(moment);
        if interrupt.requested() { Control::Stop } else { Control::Continue }
    };
    let preprocessing = config.preprocessing();
    let trained = if preprocessing.is_tiled() {
        let picture =
            |at: usize| Ok(prepare(&groundstate::image::read(paths[at])?, roi.as_ref(), &preprocessing));
        let gallery = Gallery { count: paths.len(), picture: &picture };
        train_tiled(&config, &gallery, start, checkpoints, &mut observer)
    } else {
        train_with_checkpoints(&config, pictures, start, checkpoints, &mut observer)
    };
    progress.finish();
    let Completed { detector, exhibit } = trained.map_err(|error| explain(error, left_out))?;
    let mut detector = Detector { roi, conditions, ..detector };
    let cost = Cost::since(start);
    if left_out > 0 {
        detector.record.notes.push(format!("{left_out} unreadable images were left out"));
    }
    if training.config.white_level.is_none() {
        detector.record.notes.extend(white_level_note(detector.preprocessing.white_level));
    }
    detector.record.notes.extend(edge_px.and_then(|edge_px| shrinkage_note(&preprocessing, edge_px)));
    detector.record.notes.iter().for_each(|note| console.note(note));
    let detector = training.rates.apply(detector)?;
    let shortages = promise::shortages(&detector.calibration);
    let bound = promise::bound(&detector.calibration);
    shortages.into_iter().flatten().chain(bound).for_each(|promise| console.note(promise));
    Ok(TrainedModel { detector, left_out, cost, exhibit })
}

/// What is kept of a normal image.
struct Prepared {
    levels: Levels,
    conditions: Conditions,
    /// The longer edge.
    edge_px: usize,
    /// The image as the energy takes it; absent where it keeps its size and is read again.
    picture: Option<Image>,
}

impl Prepared {
    fn of(image: &Image, roi: Option<&Roi>, preprocessing: &Preprocessing) -> Self {
        Self {
            levels: Levels::of(image),
            conditions: Conditions::of(image, roi),
            edge_px: image.width.max(image.height),
            picture: (!preprocessing.is_tiled()).then(|| prepare(image, roi, preprocessing)),
        }
    }
}

/// What to know of a white level that the images decided.
fn white_level_note(white: u16) -> Option<String> {
    let full = Preprocessing::default().white_level;
    let bits = 16 - white.leading_zeros();
    (white != full).then(|| {
        format!(
            "no normal image has a value above {white} of {full}, so they are taken for those of a camera \
             of {bits} bits: {white} is white (--white-level {full} for the whole range)"
        )
    })
}

/// What to know of images that are much larger than what the model sees of them.
fn shrinkage_note(preprocessing: &Preprocessing, edge_px: usize) -> Option<String> {
    let size = preprocessing.size;
    (!preprocessing.is_tiled() && edge_px >= MUCH_LARGER * size).then(|| {
        format!(
            "images of up to {edge_px} px are shrunk to {size} px, where a defect of a few pixels vanishes; \
             --fit tile keeps their size"
        )
    })
}

/// Fails before the work, not after it, if `what` could not be written to `path`; removes what a
/// killed process left half-written beside it.
pub(crate) fn check_target(what: &str, path: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {what} {}", path.display());
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => anyhow::bail!("{}: it is a folder", cannot()),
        // The file is replaced by renaming, which must not happen to a device.
        Ok(found) if !found.is_file() => anyhow::bail!("{}: it is a device or pipe", cannot()),
        _ => {}
    }
    let name = path.file_name().with_context(|| format!("{}: the name of a file is missing", cannot()))?;
    let mut probe = std::ffi::OsString::from(".");
    probe.push(name);
    probe.push(format!(".{}.probe", std::process::id()));
    let probe = path.with_file_name(probe);
    fs::File::create_new(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .and_then(|()| remove_leftovers(path))
        .with_context(cannot)
}

/// Reads and prepares all images, with a bar.
fn load<T: Send>(
    paths: &[PathBuf],
    interrupt: &Interrupt,
    console: &Console,
    prepare: impl Fn(&Image) -> T + Sync,
) -> anyhow::Result<Loaded<T>> {
    let bar = progress::images(console, "reading", paths.len());
    let mut loaded = Loaded { images: Vec::new(), failures: Vec::new() };
    for (chunk, paths) in paths.chunks(READING_CHUNK).enumerate() {
        interrupt.check()?;
        let read = load_all(paths, &prepare);
        let first = chunk * READING_CHUNK;
        loaded.images.extend(read.images.into_iter().map(|(at, image)| (first + at, image)));
        loaded.failures.extend(read.failures.into_iter().map(|(at, error)| (first + at, error)));
        bar.inc(paths.len() as u64);
    }
    bar.finish_and_clear();
    Ok(loaded)
}

fn explain(error: TrainError, left_out: usize) -> anyhow::Error {
    let too_few = matches!(error, TrainError::TooFewPictures { .. });
    let error = anyhow::Error::new(error);
    if too_few && left_out > 0 {
        return error.context(format!("{left_out} images could not be read"));
    }
    error
}

#[cfg(test)]
mod tests {
    use groundstate::image::Fit;

    use super::*;

    #[test]
    fn images_much_larger_than_what_the_model_sees_get_advice() {
        let shrunk = Preprocessing::default();
        assert_eq!(shrinkage_note(&shrunk, 6 * 256 - 1), None);
        assert!(shrinkage_note(&shrunk, 8000).unwrap().contains("8000 px are shrunk to 256 px"));
        assert_eq!(shrinkage_note(&Preprocessing { fit: Fit::Tile, ..shrunk }, 8000), None);
    }

    #[test]
    fn the_bits_of_a_camera_are_named() {
        assert!(white_level_note(1023).unwrap().contains("a camera of 10 bits: 1023 is white"));
        assert!(white_level_note(16_383).unwrap().contains("a camera of 14 bits"));
        assert_eq!(white_level_note(u16::MAX), None);
    }
}
