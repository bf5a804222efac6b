//! `groundstate info`: what a model file holds.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use groundstate::artifact::{self, FORMAT_VERSION};
use groundstate::calibrate::{Basis, Conformal, PastCalibration};
use groundstate::detector::Detector;
use groundstate::image::{Preprocessing, Reach, Registration, Roi, Tone};
use groundstate::model::{Energy, EnergyModel};
use serde_json::{Value, json};

use crate::outcome::Outcome;
use crate::promise::{basis, percent};

/// Show what a model file holds
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Print JSON; docs/json.md lists the keys
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    let detector = artifact::load(&arguments.model)?;
    if arguments.json {
        writeln!(stdout(), "{:#}", as_json(&detector))?;
    } else {
        write!(stdout(), "{}", as_text(&detector))?;
    }
    Ok(Outcome::Complete)
}

fn as_json(detector: &Detector) -> Value {
    let calibration = &detector.calibration;
    json!({
        "format_version": FORMAT_VERSION,
        "method": detector.record.method,
        "preprocessing": detector.preprocessing,
        "roi_area": detector.roi.as_ref().map(Roi::area),
        "registration": detector.nuisance.registration.as_ref().map(Registration::reach),
        "energy": energy(&detector.energy),
        "default_score": detector.default_score,
        "default_map": detector.default_map,
        "calibration": {
            "basis": calibration.basis,
            "count": calibration.image.count(),
            "folds": detector.folds.len(),
            "false_reject_rate": calibration.image.rate(),
            "attainable_rate": calibration.image.attainable_rate(),
            "bound": calibration.bound(&calibration.image),
            "threshold": finite(calibration.image.threshold()).filter(|_| detector.folds.is_empty()),
            "pixel_false_alarm_rate": calibration.map.rate(),
            "pixel_attainable_rate": calibration.map.attainable_rate(),
            "pixel_bound": calibration.bound(&calibration.map),
            "pixel_threshold": finite(calibration.map.threshold()),
            "past": calibration.past,
        },
        "record": detector.record,
    })
}

fn finite(threshold: f64) -> Option<f64> {
    Some(threshold).filter(|threshold| threshold.is_finite())
}

/// The terms of an energy and their sizes.
fn energy(model: &EnergyModel) -> Value {
    let references = model.references().iter().map(|reference| {
        let gaussian = &reference.gaussian;
        let (columns, rows, dimensions) = (gaussian.columns, gaussian.rows, gaussian.dimensions);
        // A mean and a triangular covariance factor at every position.
        let parameters = columns * rows * (dimensions + dimensions * (dimensions + 1) / 2);
        json!({ "columns": columns, "rows": rows, "dimensions": dimensions, "parameters": parameters })
    });
    let learned = model.networks().first().map(|learned| {
        json!({
            "networks": model.networks().len(),
            "layers": learned.network.nodes().len(),
            "parameters": learned.parameters.count(),
            "noise_level": learned.noise_level,
        })
    });
    let tiled = match model {
        EnergyModel::Tiled(tiled) => {
            let ((columns, rows), dimensions) = (tiled.positions(), tiled.dimensions());
            let parameters = columns * rows * (dimensions + dimensions * (dimensions + 1) / 2);
            json!({ "columns": columns, "rows": rows, "dimensions": dimensions, "parameters": parameters })
        }
        _ => Value::Null,
    };
    let mut references = references.collect::<Vec<Value>>().into_iter();
    json!({
        "stride_px": model.stride(),
        "reference": references.next(),
        "densities": references.collect::<Vec<Value>>(),
        "learned": learned,
        "tiled": tiled,
    })
}

fn as_text(detector: &Detector) -> String {
    let (record, calibration) = (&detector.record, &detector.calibration);
    let preprocessing = &detector.preprocessing;
    let mut text = String::new();
    let mut line = |what: &str, value: String| text += &format!("{what:<18}{value}\n");
    line("method", record.method.clone());
    line("format", FORMAT_VERSION.to_string());
    line("input", input_text(preprocessing));
    if preprocessing.white_level != Preprocessing::default().white_level {
        line("white level", format!("{} of 65535; brighter values are cut off", preprocessing.white_level));
    }
    if let Some(roi) = &detector.roi {
        line("region", format!("{} of each image counts", percent(roi.area())));
    }
    if let Some(registration) = &detector.nuisance.registration {
        line("parts", reach_text(registration.reach()).to_owned());
    }
    line("energy", energy_text(&detector.energy));
    line("default score", detector.default_score.clone());
    line("default map", detector.default_map.name().to_owned());
    line("pictures", format!("{} trained on", record.pictures));
    line("training", training_text(detector));
    line("calibration", format!("{} pictures, {}", calibration.image.count(), basis(calibration)));
    line("verdict", threshold_text("flagged", &calibration.image));
    line("regions", threshold_text("shown", &calibration.map));
    calibration.past.iter().rev().for_each(|past| line("calibrated before", past_text(past)));
    record.notes.iter().for_each(|note| line("note", note.clone()));
    text
}

fn energy_text(model: &EnergyModel) -> String {
    let references = model.references().iter().map(|reference| {
        let gaussian = &reference.gaussian;
        format!(
            "Gaussian of {} features at {} × {} positions",
            gaussian.dimensions, gaussian.columns, gaussian.rows
        )
    });
    let learned = model.networks().iter().map(|learned| {
        let level = learned.noise_level.map_or_else(String::new, |level| format!(", read at noise {level}"));
        format!("network of {} parameters{level}", learned.parameters.count())
    });
    let tiled = match model {
        EnergyModel::Tiled(tiled) => {
            let (columns, rows) = tiled.positions();
            Some(format!("Gaussian of {} features at {columns} × {rows} positions", tiled.dimensions()))
        }
        _ => None,
    };
    let terms: Vec<String> = references.chain(learned).chain(tiled).collect();
    terms.join(" + ")
}

/// What the energy is given of an image.
pub(crate) fn input_text(preprocessing: &Preprocessing) -> String {
    let (size, channels) = (preprocessing.size, preprocessing.channels());
    let shape = match preprocessing.is_tiled() {
        true => format!("images of any size in tiles of {size} px, {channels} channels"),
        false => format!("{size} × {size} px, {channels} channels"),
    };
    match preprocessing.tone {
        Tone::Linear => shape,
        Tone::Logarithmic => format!("{shape}, logarithms of values"),
    }
}

fn training_text(detector: &Detector) -> String {
    let record = &detector.record;
    match record.steps {
        0 => "closed form".to_owned(),
        steps => format!("{steps} steps"),
    }
}

fn threshold_text(what: &str, calibration: &Conformal) -> String {
    let (stated, threshold) = (percent(calibration.rate()), calibration.threshold());
    let (attainable, count) = (percent(calibration.attainable_rate()), calibration.count());
    if calibration.folds() > 1 {
        return format!(
            "{what} where p is at most {attainable} by the energies of the folds: about that share of normal parts \
             or fewer, at most {} by proof",
            percent(calibration.bound())
        );
    }
    let text = format!("{what} above {threshold:.4}, for at most {stated} of normal parts");
    match calibration.shortage() {
        None => text,
        Some(_) => format!("{text} ({attainable} is the least that {count} pictures can promise)"),
    }
}

fn past_text(past: &PastCalibration) -> String {
    let above =
        |threshold: Option<f64>| threshold.map_or_else(|| "any".to_owned(), |value| format!("{value:.4}"));
    format!(
        "{} pictures, {}; verdict {} ({}), regions {} ({})",
        past.count,
        match past.basis {
            Basis::HeldOut => "held out",
            Basis::CrossFitted => "cross-fitted",
            Basis::CrossConformal => "cross-conformal",
        },
        above(past.threshold),
        percent(past.false_reject_rate),
        above(past.pixel_threshold),
        percent(past.pixel_false_alarm_rate),
    )
}

fn reach_text(reach: Reach) -> &'static str {
    match reach {
        Reach::Near => "brought to one pose; each lies near it",
        Reach::Free => "brought to one pose; each may lie anywhere, in any direction",
    }
}
