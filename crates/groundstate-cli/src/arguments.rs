//! Arguments that several commands share, as typed, and what they resolve to.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use groundstate::calibrate::check_rate;
use groundstate::dataset::{Dataset, Folders};
use groundstate::detector::Detector;
use groundstate::image::{Colour, Fit, Roi, read_mask};
use groundstate::train::{MethodName, TrainConfig};

use crate::console::Console;
use crate::promise;

/// Options of every command.
#[derive(Args)]
pub(crate) struct Globals {
    /// Threads to work with [default: one for each processor]
    #[arg(long, global = true, value_name = "N", help_heading = "Global options")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Print results and errors only: no progress, warnings or notes
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

impl Globals {
    /// Sets up the threads that all parallel work shares.
    pub(crate) fn start_threads(&self) -> anyhow::Result<()> {
        let threads = self.threads.map_or(0, NonZeroUsize::get);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")
    }
}

/// Where the images are.
#[derive(Args)]
pub(crate) struct DataArguments {
    /// Data set: train/good, test/good, test/DEFECT and ground_truth/DEFECT as in MVTec AD; to train,
    /// any folder of normal images will do
    #[arg(
        value_name = "DATA",
        required_unless_present_any = ["normal_dir", "anomalous_dir"],
        conflicts_with_all = ["normal_dir", "normal_test_dir", "anomalous_dir", "mask_dir"]
    )]
    data: Option<PathBuf>,
    /// Folder of normal images for training, instead of DATA; may be given several times
    #[arg(long, value_name = "DIR", help_heading = "Separate folders")]
    normal_dir: Vec<PathBuf>,
    /// Folder of normal images for testing; without one, a share of --normal-dir is held out
    #[arg(long, value_name = "DIR", help_heading = "Separate folders")]
    normal_test_dir: Vec<PathBuf>,
    /// Folder of anomalous images for testing; may be given several times
    #[arg(long, value_name = "DIR", help_heading = "Separate folders")]
    anomalous_dir: Vec<PathBuf>,
    /// Folder of masks, named like their image with or without `_mask`
    #[arg(long, value_name = "DIR", help_heading = "Separate folders")]
    mask_dir: Option<PathBuf>,
    /// Share of --normal-dir that is held out for testing where there are anomalous images but no
    /// --normal-test-dir
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, help_heading = "Separate folders")]
    test_share: f64,
    /// Decides which images are held out; give the same to `train` and `evaluate`
    #[arg(long, value_name = "SEED", default_value_t = 0, help_heading = "Separate folders")]
    split_seed: u64,
}

/// The images that a command works on.
pub(crate) struct Source {
    /// The folder that names of images are relative to, where there is one.
    pub(crate) root: Option<PathBuf>,
    /// The images.
    pub(crate) dataset: Dataset,
}

impl Source {
    /// The data set in `root`.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        Ok(Self { root: Some(root.to_owned()), dataset: Dataset::open(root)? })
    }
}

impl DataArguments {
    /// Finds the images.
    pub(crate) fn resolve(self) -> anyhow::Result<Source> {
        if let Some(root) = &self.data {
            return Source::open(root);
        }
        let folders = Folders {
            normal: self.normal_dir,
            normal_test: self.normal_test_dir,
            anomalous: self.anomalous_dir,
            mask: self.mask_dir,
            test_share: self.test_share,
            seed: self.split_seed,
        };
        Ok(Source { root: None, dataset: Dataset::from_folders(&folders)? })
    }
}

/// How to train.
#[derive(Args)]
pub(crate) struct TrainingArguments {
    /// Training method [default: product]
    #[arg(long, value_name = "METHOD", value_parser = method_parser(), help_heading = "Training")]
    method: Option<MethodName>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "N", help_heading = "Training")]
    seed: Option<u64>,
    /// Time that training may take, such as 90s, 10m or 1h [default: 10m; for demo 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Training")]
    budget: Option<Duration>,
    /// Edge of the square picture that the model sees, or of a tile, in pixels [default: the method's]
    #[arg(long, value_name = "PIXELS", help_heading = "Training")]
    size: Option<usize>,
    /// How images become what the model sees [default: stretch]
    #[arg(long, value_enum, help_heading = "Training")]
    fit: Option<FitName>,
    /// Channels that the model sees [default: rgb]
    #[arg(long, value_enum, help_heading = "Training")]
    colour: Option<ColourName>,
    /// What counts as white, as a number of 16 bits, 1 to 65535, in training and later; brighter values are
    /// cut off [default: 1023, 4095 or 16383 if the normal images, 16-bit files of a camera of fewer bits,
    /// never exceed it; else 65535]
    #[arg(long, value_name = "LEVEL", help_heading = "Training")]
    white_level: Option<u16>,
    /// Train a learned method on top of the closed-form energy: E = E₀ + E_θ
    #[arg(long, help_heading = "Training")]
    on_reference: bool,
    /// Training configuration in TOML; the options above override it
    #[arg(long, value_name = "FILE.toml", help_heading = "Training")]
    config: Option<PathBuf>,
    /// Mask image whose pixels that are not black are the region of interest: nothing else counts, in
    /// training or later; stretched to the size of each image [default: the polygons in the
    /// configuration, or everything]
    #[arg(long, value_name = "MASK", help_heading = "Training")]
    roi: Option<PathBuf>,
    /// Share of the normal images that training does not see and that calibrate the model instead, so
    /// that its rates hold exactly [default: 0, calibrate by cross-fitting]
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    calibration_share: Option<f64>,
    /// Train once more without each of three folds of the normal images, and compare new images with each
    /// fold by that training: rates with a bound (docs/guarantees.md) although all images are trained on.
    /// Takes four times the time and the file; method gaussian only
    #[arg(long, help_heading = "Training")]
    cross_conformal: bool,
    #[command(flatten)]
    rates: RateArguments,
}

/// How many normal parts may be taken for anomalous ones.
#[derive(Args, Clone, Copy, Default)]
#[command(next_help_heading = "Rates")]
pub(crate) struct RateArguments {
    /// Share of normal parts that may be rejected, such as 0.01 [default: the model's; 0.01 in a new one]
    #[arg(long, value_name = "RATE")]
    false_reject_rate: Option<f64>,
    /// Share of normal parts that may show a region [default: the model's; 0.05 in a new one]
    #[arg(long, value_name = "RATE")]
    pixel_false_alarm_rate: Option<f64>,
}

impl RateArguments {
    /// Fails unless the rates that are stated are shares.
    fn check(self) -> anyhow::Result<()> {
        for (name, rate) in
            [("false-reject", self.false_reject_rate), ("pixel false-alarm", self.pixel_false_alarm_rate)]
        {
            if let Some(rate) = rate {
                check_rate(rate).with_context(|| format!("the {name} rate cannot be used"))?;
            }
        }
        Ok(())
    }

    /// The same detector with the rates that are stated.
    pub(crate) fn apply(self, mut detector: Detector) -> anyhow::Result<Detector> {
        self.check()?;
        let calibration = detector.calibration;
        detector.calibration = calibration.with_rates(self.false_reject_rate, self.pixel_false_alarm_rate)?;
        Ok(detector)
    }

    /// What to type for the same rates.
    pub(crate) fn options(self) -> Vec<String> {
        let of = |name: &str, rate: Option<f64>| rate.map(|rate| format!("{name}={rate}"));
        [
            of("--false-reject-rate", self.false_reject_rate),
            of("--pixel-false-alarm-rate", self.pixel_false_alarm_rate),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Warns where the stated rates are less than the detector's calibration attains.
    pub(crate) fn warn_of_shortage(self, detector: &Detector, console: &Console) {
        let [of_image, of_map] = promise::shortages(&detector.calibration);
        let stated = [
            of_image.filter(|_| self.false_reject_rate.is_some()),
            of_map.filter(|_| self.pixel_false_alarm_rate.is_some()),
        ];
        stated.into_iter().flatten().for_each(|shortage| console.warn(shortage));
    }
}

/// How to train, checked.
#[derive(Clone)]
pub(crate) struct Training {
    /// Every setting of the method.
    pub(crate) config: TrainConfig,
    /// The mask that stands for the polygons of the configuration.
    pub(crate) roi_mask: Option<PathBuf>,
    /// The rates that thresholds keep, where the user states them.
    pub(crate) rates: RateArguments,
}

impl Training {
    /// What part of an image counts, where not all of it does.
    pub(crate) fn roi(&self) -> anyhow::Result<Option<Roi>> {
        let Some(path) = &self.roi_mask else { return Ok(self.config.roi()?) };
        let roi = Roi::from_mask(&read_mask(path)?, self.config.preprocessing().roi_edge());
        Ok(Some(roi.with_context(|| format!("cannot use {}", path.display()))?))
    }
}

impl TrainingArguments {
    /// The same arguments, with a budget if none was asked for.
    pub(crate) fn with_default_budget(mut self, budget: Duration) -> Self {
        if self.config.is_none() {
            self.budget = self.budget.or(Some(budget));
        }
        self
    }

    /// Puts defaults, configuration file and options together, the later the stronger.
    pub(crate) fn resolve(self) -> anyhow::Result<Training> {
        let mut config = self.config.as_deref().map(read_config).transpose()?.unwrap_or_default();
        let Self { method, seed, budget, size, fit, colour, white_level, on_reference, .. } = self;
        config.method = method.unwrap_or(config.method);
        config.seed = seed.unwrap_or(config.seed);
        config.budget_seconds = budget.map_or(config.budget_seconds, |budget| budget.as_secs_f64());
        config.size = size.or(config.size);
        config.fit = fit.map_or(config.fit, Fit::from);
        config.colour = colour.map_or(config.colour, Colour::from);
        config.white_level = white_level.or(config.white_level);
        config.on_reference |= on_reference;
        config.calibration_share = self.calibration_share.unwrap_or(config.calibration_share);
        config.cross_conformal |= self.cross_conformal;
        let config = config.check().context("cannot train with these settings")?;
        self.rates.check()?;
        let training = Training { config, roi_mask: self.roi, rates: self.rates };
        training.roi()?;
        Ok(training)
    }
}

fn read_config(path: &Path) -> anyhow::Result<TrainConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_config(&text, path)
}

fn parse_config(text: &str, path: &Path) -> anyhow::Result<TrainConfig> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(before).filter(|&byte| byte == b'\n').count();
        anyhow::anyhow!("{}, line {line}: {}", path.display(), error.message())
    })
}

fn method_parser() -> impl TypedValueParser<Value = MethodName> {
    PossibleValuesParser::new(MethodName::ALL.map(|method| method.to_string()))
        .try_map(|name| name.parse::<MethodName>())
}

#[derive(Clone, Copy, ValueEnum)]
enum FitName {
    /// Each axis is scaled on its own.
    Stretch,
    /// The aspect ratio is kept and border pixels are repeated outwards.
    Pad,
    /// Images keep their size and are worked through in tiles: for large images with small defects.
    Tile,
}

impl From<FitName> for Fit {
    fn from(name: FitName) -> Self {
        match name {
            FitName::Stretch => Self::Stretch,
            FitName::Pad => Self::Pad,
            FitName::Tile => Self::Tile,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum ColourName {
    /// Three channels.
    Rgb,
    /// One channel, the luma.
    Grey,
}

impl From<ColourName> for Colour {
    fn from(name: ColourName) -> Self {
        match name {
            ColourName::Rgb => Self::Rgb,
            ColourName::Grey => Self::Grey,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::fuzz;

    const PIECES: [&str; 16] = [
        "=",
        "[",
        "]",
        "\"",
        "'",
        "\n",
        "#",
        ".",
        "-1",
        "1e999",
        "nan",
        "inf",
        "18446744073709551616",
        "{",
        "true",
        "é",
    ];

    /// The defaults, and settings that are absent in them.
    fn sound() -> [String; 2] {
        let full = TrainConfig {
            size: Some(64),
            fit: Fit::Tile,
            white_level: Some(4095),
            roi: vec![vec![[0.0, 0.5], [0.5, 0.0], [1.0, 1.0]]],
            ..Default::default()
        };
        [TrainConfig::default(), full].map(|config| toml::to_string(&config).unwrap())
    }

    #[test]
    fn a_damaged_configuration_file_is_read_or_refused() {
        let sound = sound();
        fuzz::run(|rng| {
            let mut text = sound[rng.random_range(0..sound.len())].clone();
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let from = rng.random_range(0..places.len());
            let to = (from + rng.random_range(0..8)).min(places.len() - 1);
            text.replace_range(places[from]..places[to], PIECES[rng.random_range(0..PIECES.len())]);
            match parse_config(&text, Path::new("c.toml")) {
                Ok(config) => match config.check() {
                    Ok(config) => {
                        let written = toml::to_string(&config).unwrap();
                        assert_eq!(parse_config(&written, Path::new("c.toml")).unwrap(), config, "{text}");
                        true
                    }
                    Err(error) => {
                        assert_eq!(error.to_string().lines().count(), 1, "{error}");
                        false
                    }
                },
                Err(error) => {
                    assert!(error.to_string().starts_with("c.toml, line "), "{error}");
                    false
                }
            }
        });
    }
}
