//! The HTML page of an evaluation: which pictures it shows and what it says of the model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use groundstate::detector::{CurvePoint, Detector};
use groundstate::evaluate::Judged;
use groundstate::image::{Image, Mask, jpeg_bytes, outline, read};
use groundstate::report::{Card, DEFAULT_CARDS, Meta, Picture, TrainingPoint, choose, write};
use rayon::prelude::*;

use crate::arguments::Source;
use crate::evaluate::{Evaluated, write_json};
use crate::info::input_text;
use crate::overlay;
use crate::promise::{self, percent};

/// Longer edge of a picture on the page.
const PICTURE_PX: usize = 256;
const JPEG_QUALITY: u8 = 85;
/// Colour of the outline of a ground-truth mask: bright, and none of the heat map's.
const OUTLINE: [f32; 3] = [0.1, 1.0, 0.6];

/// Writes `index.html` and `evaluation.json` into `folder`, which is made if missing, and returns the
/// path of the page.
pub(crate) fn write_report(
    folder: &Path,
    subtitle: &str,
    detector: &Detector,
    source: &Source,
    evaluated: &Evaluated,
) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let cards = choose(&evaluated.evaluation, DEFAULT_CARDS)
        .into_par_iter()
        .map(|at| card(detector, &evaluated.paths[at], &evaluated.judged[at]))
        .collect::<Result<Vec<Card>>>()?;
    let meta = meta(&source.dataset.name, subtitle, detector);
    let page = write(folder, &evaluated.evaluation, &cards, &meta)?;
    write_json(&folder.join("evaluation.json"), &evaluated.evaluation)?;
    Ok(page)
}

fn meta(title: &str, subtitle: &str, detector: &Detector) -> Meta {
    let (record, calibration) = (&detector.record, &detector.calibration.image);
    let fact = |what: &str, value: String| (what.to_owned(), value);
    let mut facts = vec![
        fact("Method", record.method.clone()),
        fact("Input", input_text(&detector.preprocessing)),
        fact("Seed", record.config["seed"].to_string()),
        fact("Pictures", format!("{} to train, {} to calibrate", record.pictures, calibration.count())),
        fact("False-reject rate", format!("{} stated", percent(calibration.rate()))),
        fact("Calibration", promise::basis(&detector.calibration)),
    ];
    let [shortage, _] = promise::shortages(&detector.calibration);
    facts.extend(shortage.map(|shortage| fact("Attainable rate", shortage)));
    facts.extend(record.notes.iter().map(|note| fact("Note", note.clone())));
    Meta {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        producer: concat!("Groundstate ", env!("CARGO_PKG_VERSION")).to_owned(),
        facts,
        // With folds there is no one score above which an image is flagged.
        threshold: Some(calibration.threshold()).filter(|t| t.is_finite() && detector.folds.is_empty()),
        training: course(&record.curve),
        samples: Vec::new(),
    }
}

/// The course of a training as a page draws it.
pub(crate) fn course(curve: &[CurvePoint]) -> Vec<TrainingPoint> {
    let point = |point: &CurvePoint| TrainingPoint {
        step: point.step,
        loss: point.loss,
        energy_gap: point.energy_gap,
    };
    curve.iter().map(point).collect()
}

/// The image, with its mask outlined if it has one, and the heat map over it.
fn card(detector: &Detector, path: &Path, judged: &Judged) -> Result<Card> {
    let image = read(path)?.thumbnail(PICTURE_PX);
    let exposed = detector.preprocessing.expose(&image);
    let mut pictures = vec![picture("image", &exposed)?];
    if let Some(mask) = &judged.mask {
        pictures.push(picture(
            "ground truth",
            &outline(&exposed, &reduce(mask, image.width, image.height), OUTLINE, 1),
        )?);
    }
    pictures.push(picture("anomaly map", &overlay::draw(detector, &image, &judged.map))?);
    Ok(Card { name: judged.name.clone(), pictures })
}

fn picture(label: &str, image: &Image) -> Result<Picture> {
    Ok(Picture { label: label.to_owned(), bytes: jpeg_bytes(image, JPEG_QUALITY)? })
}

/// The mask on a coarser grid, where a pixel is defective if any of those it covers is: the smallest
/// defect stays visible.
fn reduce(mask: &Mask, width: usize, height: usize) -> Mask {
    let mut reduced = Mask::empty(width, height);
    for (at, _) in mask.defective.iter().enumerate().filter(|(_, defective)| **defective) {
        let (x, y) = (at % mask.width, at / mask.width);
        reduced.defective[y * height / mask.height * width + x * width / mask.width] = true;
    }
    reduced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_defective_pixel_survives_reduction() {
        let mut mask = Mask::empty(50, 50);
        mask.defective[25 * 50 + 25] = true;
        let reduced = reduce(&mask, 5, 5);
        assert_eq!(reduced.defective.iter().position(|&defective| defective), Some(12));
        assert_eq!(reduced.area(), 1.0 / 25.0);
    }
}
