//! The page as a template's data.

use askama::Template;

use super::Meta;
use super::error::ReportError;
use super::figures::{self, Figure};
use super::gallery::Gallery;
use super::picture::{Card, Embedded};
use super::tables::{self, DefectRow, MapRow, ScoreRow, TileGroup, VerdictRow};
use crate::evaluate::Evaluation;

/// Everything that `templates/report.html` prints; the template escapes all texts.
#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page<'a> {
    evaluation: &'a Evaluation,
    meta: &'a Meta,
    summary: String,
    groups: Vec<TileGroup>,
    scores: Vec<ScoreRow>,
    strip_start: String,
    verdicts: [VerdictRow; 2],
    defects: Vec<DefectRow>,
    maps: Vec<MapRow>,
    figures: Vec<Figure>,
    samples: Vec<Embedded>,
    gallery: Gallery,
    /// Reasons for what is absent, each with the keys it explains.
    absent: Vec<(String, String)>,
}

impl<'a> Page<'a> {
    pub(super) fn new(
        evaluation: &'a Evaluation,
        cards: &[Card],
        meta: &'a Meta,
    ) -> Result<Self, ReportError> {
        let samples = meta
            .samples
            .iter()
            .map(|picture| Embedded::new(picture, "the model's chains"))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            evaluation,
            meta,
            summary: tables::summary(evaluation),
            groups: tables::tiles(evaluation, meta),
            scores: tables::scores(evaluation),
            strip_start: format!("{:.1}", tables::strip_start(evaluation)),
            verdicts: tables::verdicts(evaluation),
            defects: tables::defects(evaluation),
            maps: tables::maps(evaluation),
            figures: figures::all(evaluation, meta)?,
            samples,
            gallery: Gallery::new(evaluation, cards)?,
            absent: absent(evaluation),
        })
    }
}

/// Reasons of absence with the keys that share them, in alphabetical order.
fn absent(evaluation: &Evaluation) -> Vec<(String, String)> {
    let mut grouped: Vec<(String, String)> = Vec::new();
    for (key, reason) in &evaluation.absent {
        match grouped.iter_mut().find(|(_, known)| known == reason) {
            Some((keys, _)) => {
                keys.push_str(", ");
                keys.push_str(key);
            }
            None => grouped.push((key.clone(), reason.clone())),
        }
    }
    grouped
}
