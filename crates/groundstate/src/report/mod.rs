//! An evaluation → one self-contained HTML page.
//!
//! [`write()`] makes `index.html` with everything inside: style, charts as SVG, pictures as data URLs.
//! The page asks for nothing from any network, reads without JavaScript (which only sorts and
//! filters), follows the reader's dark or light setting and prints. Pictures arrive encoded
//! ([`Card`]), so the report does not know how overlays are drawn; [`choose`] says which images are
//! worth drawing.

mod chart;
mod drift;
mod error;
mod figures;
mod gallery;
mod number;
mod page;
mod picture;
mod tables;
mod training;

use std::fs;
use std::path::{Path, PathBuf};

use askama::Template as _;

pub use drift::{Course, DriftPage, write_drift};
pub use error::ReportError;
pub use gallery::choose;
pub use picture::{Card, Picture};
pub use training::{TrainingPage, write_training};

use crate::evaluate::Evaluation;
use crate::image::write_atomically;

/// How many images a gallery shows when nothing else is asked for.
pub const DEFAULT_CARDS: usize = 60;

/// What the page says besides the evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Headline, for example the name of the data set.
    pub title: String,
    /// One line below it, for example the model file and its digest.
    pub subtitle: String,
    /// Program and version, for the foot of the page.
    pub producer: String,
    /// Further facts in the order they are shown: what is said, and its value.
    pub facts: Vec<(String, String)>,
    /// The threshold of the default score that verdicts rest on (flagged where score > threshold).
    pub threshold: Option<f64>,
    /// The course of the training; empty where none was recorded.
    pub training: Vec<TrainingPoint>,
    /// Samples of the model's chains; empty where there are none.
    pub samples: Vec<Picture>,
}

/// One moment of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingPoint {
    /// Optimiser steps so far.
    pub step: u64,
    /// Training loss.
    pub loss: f64,
    /// Mean energy of negatives minus mean energy of normal images, for methods that have negatives.
    pub energy_gap: Option<f64>,
}

/// Writes `index.html` into `dir` (made if missing) and returns its path.
///
/// `cards` are pictures of images of the evaluation, the most telling first ([`choose`]); those that
/// would take the page beyond about 15 MB are left out, and the page says how many are shown. The
/// page replaces an older one only when it is complete.
///
/// # Errors
/// A card of an image that the evaluation does not have, a picture that is neither PNG nor JPEG, an
/// evaluation whose images lack its default score, or a file that cannot be written.
pub fn write(
    dir: &Path,
    evaluation: &Evaluation,
    cards: &[Card],
    meta: &Meta,
) -> Result<PathBuf, ReportError> {
    let html = render(evaluation, cards, meta)?;
    let target = dir.join("index.html");
    let failed = |source| ReportError::Write { path: target.clone(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    write_atomically(&target, html.as_bytes()).map_err(failed)?;
    Ok(target)
}

/// The page that [`write()`] writes.
///
/// # Errors
/// As [`write()`], without those of files.
pub fn render(evaluation: &Evaluation, cards: &[Card], meta: &Meta) -> Result<String, ReportError> {
    Ok(page::Page::new(evaluation, cards, meta)?.render()?)
}
