//! `groundstate drift`: whether images in the order they were taken still look like the normal ones.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use groundstate::artifact;
use groundstate::calibrate::Basis;
use groundstate::detector::{Detail, Detector, watched};
use groundstate::drift::{Alarm, DEFAULT_FALSE_ALARM_RATE, Moment, Watch};
use groundstate::report::{Course, DriftPage, write_drift};
use serde::Serialize;

use crate::console::Console;
use crate::inputs::{self, Input};
use crate::outcome::Outcome;
use crate::pipeline::{Beside, Inspected, inspect_all};
use crate::progress;
use crate::promise::percent;
use crate::train::check_target;

/// Tell whether the camera, the light or the parts have changed
///
/// Looks at good parts in the order they were taken (that of the arguments; folders are sorted by name)
/// and bets against the score, brightness, contrast and sharpness being exchangeable with those of the
/// normal images of the model. The probability of ever raising an alarm while nothing changes is at
/// most the stated rate, however many images there are. Defective parts are a change, too.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Images, folders (searched with their sub-folders) and patterns such as 'parts/*.png'
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Probability of ever raising an alarm while nothing changes
    #[arg(long, value_name = "RATE", default_value_t = DEFAULT_FALSE_ALARM_RATE)]
    false_alarm_rate: f64,
    /// Decides how ties in rank are broken
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write an HTML page with the evidence, image by image
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON; docs/json.md lists the keys
    #[arg(long)]
    json: bool,
    /// Exit with code 3 if there is drift
    #[arg(long)]
    fail_on_drift: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Outcome> {
    let detector = artifact::load(&arguments.model)?;
    if let Some(path) = &arguments.plot {
        check_target("the page", path)?;
    }
    let watch = detector.watch(arguments.false_alarm_rate, arguments.seed)?;
    let in_part = match detector.calibration.basis {
        Basis::HeldOut => None,
        Basis::CrossFitted => Some("cross-fitted"),
        Basis::CrossConformal => Some("cross-conformal"),
    };
    if let Some(basis) = in_part {
        console.note(format_args!(
            "scores are compared among these images only, as the calibration is {basis}; \
             `groundstate calibrate` with new normal images changes that"
        ));
    }
    let inputs = inputs::expand(&arguments.paths, console);
    let findings = Findings::of(&detector, watch, &inputs, console)?;
    anyhow::ensure!(!findings.images.is_empty(), "none of the {} images could be read", inputs.len());
    if let Some(path) = &arguments.plot {
        write_drift(path, &findings.page(&arguments.model, arguments.false_alarm_rate))?;
    }
    if arguments.json {
        serde_json::to_writer_pretty(stdout().lock(), &findings.json(arguments.false_alarm_rate))?;
        writeln!(stdout())?;
    } else {
        writeln!(stdout(), "{}", findings.summary())?;
    }
    Ok(match (findings.alarm.is_some() && arguments.fail_on_drift, findings.failed > 0) {
        (true, _) => Outcome::Anomalous,
        (false, true) => Outcome::Partial,
        (false, false) => Outcome::Complete,
    })
}

/// What was seen of all images, in order.
struct Findings<'a> {
    /// What is watched.
    names: Vec<String>,
    log10_limit: f64,
    images: Vec<Seen<'a>>,
    moments: Vec<Moment>,
    alarm: Option<Alarm>,
    /// Images that could not be read.
    failed: usize,
}

struct Seen<'a> {
    path: &'a Path,
    values: Vec<f64>,
}

impl<'a> Findings<'a> {
    fn of(detector: &Detector, mut watch: Watch, inputs: &'a [Input], console: &Console) -> Result<Self> {
        let bar = progress::images(console, "inspecting", inputs.len());
        let (mut images, mut moments, mut failed) = (Vec::new(), Vec::new(), 0);
        inspect_all(detector, inputs, Input::read, (Detail::Default, Beside::Conditions), |group| {
            bar.inc(group.len() as u64);
            for (input, inspected) in group {
                match inspected {
                    Ok(Inspected { inspection, conditions, .. }) => {
                        let conditions = conditions.expect("conditions were asked for");
                        let values = watched(&inspection, &conditions).to_vec();
                        let moment = watch.push(&values).with_context(|| input.path.display().to_string())?;
                        moments.push(moment);
                        images.push(Seen { path: &input.path, values });
                    }
                    Err(error) => {
                        failed += 1;
                        bar.suspend(|| console.error(&error));
                    }
                }
            }
            Ok(())
        })?;
        bar.finish_and_clear();
        let log10_limit = watch.log10_limit();
        let alarm = Alarm::first(&moments, log10_limit);
        let names = watch.names().map(str::to_owned).collect();
        Ok(Self { names, log10_limit, images, moments, alarm, failed })
    }

    /// What changed, when, and how sure that is, in a line.
    fn summary(&self) -> String {
        let count = self.images.len();
        let limit = power(self.log10_limit);
        let Some(Alarm { watched, at, since }) = self.alarm else {
            let strongest = self.moments.iter().flat_map(|m| &m.log10_evidence).copied();
            let strongest = power(strongest.fold(f64::NEG_INFINITY, f64::max));
            return format!("no drift in {count} images: evidence up to {strongest}, reported from {limit}");
        };
        let (before, after) = self.means(watched, at, since);
        let before = before.map_or_else(String::new, |mean| format!(" ({mean:.4} before)"));
        format!(
            "drift at {} (image {} of {count}): {} has {} to {after:.4} on average{before} since about {} \
             (image {}); evidence {}, reported from {limit}",
            self.images[at].path.display(),
            at + 1,
            self.names[watched],
            self.direction(watched, at, since),
            self.images[since].path.display(),
            since + 1,
            power(self.moments[at].log10_evidence[watched]),
        )
    }

    /// Low p-values are high numbers.
    fn direction(&self, watched: usize, at: usize, since: usize) -> &'static str {
        let p_values = self.moments[since..=at].iter().map(|moment| moment.p_values[watched]);
        let mean = p_values.sum::<f64>() / (at - since + 1) as f64;
        if mean < 0.5 { "risen" } else { "fallen" }
    }

    /// Mean of a number before the change, if there are images before, and from there to the alarm.
    fn means(&self, watched: usize, at: usize, since: usize) -> (Option<f64>, f64) {
        let mean = |images: &[Seen]| {
            images.iter().map(|image| image.values[watched]).sum::<f64>() / images.len() as f64
        };
        ((since > 0).then(|| mean(&self.images[..since])), mean(&self.images[since..=at]))
    }

    fn json(&self, false_alarm_rate: f64) -> Report<'_> {
        let place = |at: usize| Place { image: at + 1, path: self.images[at].path.to_string_lossy().into() };
        let drift = self.alarm.map(|Alarm { watched, at, since }| {
            let (mean_before, mean_since) = self.means(watched, at, since);
            Drift {
                watched: &self.names[watched],
                direction: self.direction(watched, at, since),
                at: place(at),
                since: place(since),
                mean_before,
                mean_since,
            }
        });
        let by_name =
            |values: &[f64]| self.names.iter().map(String::as_str).zip(values.iter().copied()).collect();
        let course = self.images.iter().zip(&self.moments).map(|(image, moment)| Step {
            path: image.path.to_string_lossy().into(),
            values: by_name(&image.values),
            p_values: by_name(&moment.p_values),
            log10_evidence: by_name(&moment.log10_evidence),
        });
        Report {
            images: self.images.len(),
            failed: self.failed,
            false_alarm_rate,
            log10_limit: self.log10_limit,
            drift,
            course: course.collect(),
        }
    }

    fn page(&self, model: &Path, false_alarm_rate: f64) -> DriftPage {
        let watched = self.names.iter().enumerate().map(|(k, name)| Course {
            name: name.clone(),
            values: self.images.iter().map(|image| image.values[k]).collect(),
            log10_evidence: self.moments.iter().map(|moment| moment.log10_evidence[k]).collect(),
        });
        let fact = |what: &str, value: String| (what.to_owned(), value);
        DriftPage {
            title: model.display().to_string(),
            summary: self.summary(),
            producer: concat!("Groundstate ", env!("CARGO_PKG_VERSION")).to_owned(),
            facts: vec![
                fact("Images", self.images.len().to_string()),
                fact("Probability of ever a false alarm", format!("at most {}", percent(false_alarm_rate))),
            ],
            watched: watched.collect(),
            log10_limit: self.log10_limit,
            since: self.alarm.map(|alarm| alarm.since),
        }
    }
}

/// A power of ten for readers: 0.80, 130, 10^9.
fn power(log10: f64) -> String {
    match log10 {
        large if large >= 6.0 => format!("10^{large:.0}"),
        some if some >= 1.0 => format!("{:.0}", 10f64.powf(some)),
        little => format!("{:.2}", 10f64.powf(little)),
    }
}

/// The JSON; docs/json.md lists the keys.
#[derive(Serialize)]
struct Report<'a> {
    images: usize,
    failed: usize,
    false_alarm_rate: f64,
    log10_limit: f64,
    drift: Option<Drift<'a>>,
    course: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Drift<'a> {
    watched: &'a str,
    direction: &'static str,
    at: Place,
    since: Place,
    mean_before: Option<f64>,
    mean_since: f64,
}

#[derive(Serialize)]
struct Place {
    /// Counted from 1.
    image: usize,
    path: String,
}

#[derive(Serialize)]
struct Step<'a> {
    path: String,
    values: BTreeMap<&'a str, f64>,
    p_values: BTreeMap<&'a str, f64>,
    log10_evidence: BTreeMap<&'a str, f64>,
}

#[cfg(test)]
mod tests {
    use super::power;

    #[test]
    fn powers_read_as_numbers_until_they_are_large() {
        let logarithms: [f64; 4] = [0.5f64.log10(), 2.0, 130f64.log10(), 9.2];
        assert_eq!(logarithms.map(power), ["0.50", "100", "130", "10^9"]);
    }
}
