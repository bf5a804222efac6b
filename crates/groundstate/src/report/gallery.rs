//! Which images a page shows, and in what order.

use std::collections::BTreeMap;

use super::error::ReportError;
use super::number::{p_value, significant};
use super::picture::{Card, Embedded};
use crate::evaluate::{Evaluation, ImageResult};

/// Bytes of embedded pictures beyond which cards are left out, so that a page stays near 15 MB.
const PICTURE_BUDGET: usize = 14_000_000;

/// Cards of one kind.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) cards: Vec<ShownCard>,
    /// Images of this kind in the evaluation, shown or not.
    pub(super) total: usize,
}

/// One image as the page shows it.
pub(super) struct ShownCard {
    pub(super) name: String,
    pub(super) defect: String,
    pub(super) score: String,
    pub(super) p_value: Option<String>,
    pub(super) flagged: bool,
    pub(super) right: bool,
    pub(super) pictures: Vec<Embedded>,
}

/// The gallery of a page.
pub(super) struct Gallery {
    pub(super) sections: Vec<Section>,
    pub(super) shown: usize,
}

/// Positions, in [`Evaluation::images`], of at most `limit` images worth showing, the most telling
/// first: misjudged ones (at most two thirds), good and defective in turn, the worst mistake of either
/// first; then rightly judged ones, defect types and good images in turn, the clearest of each first.
/// Images whose defect lies outside the region of interest are neither.
pub fn choose(evaluation: &Evaluation, limit: usize) -> Vec<usize> {
    let positions = |keep: &dyn Fn(&ImageResult) -> bool| -> Vec<usize> {
        let images = evaluation.images.iter().enumerate();
        images.filter(|(_, image)| !image.outside_roi && keep(image)).map(|(position, _)| position).collect()
    };
    let sorted = |mut chosen: Vec<usize>, highest_first: bool| {
        let score = |position: usize| default_score(evaluation, &evaluation.images[position]).unwrap_or(0.0);
        chosen.sort_by(|&a, &b| {
            let (a, b) = if highest_first { (b, a) } else { (a, b) };
            score(a).total_cmp(&score(b))
        });
        chosen
    };
    let false_rejects = sorted(positions(&|image| !image.anomalous && image.flagged), true);
    let missed = sorted(positions(&|image| image.anomalous && !image.flagged), false);
    let mut by_kind: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for position in positions(&|image| image.anomalous && image.flagged) {
        by_kind.entry(&evaluation.images[position].defect).or_default().push(position);
    }
    let mut rest: Vec<Vec<usize>> = by_kind.into_values().map(|kind| sorted(kind, true)).collect();
    rest.push(sorted(positions(&|image| !image.anomalous && !image.flagged), false));

    let rest = in_turn(&rest);
    let most_mistakes = (limit * 2 / 3).max(limit.saturating_sub(rest.len()));
    let mut chosen = in_turn(&[false_rejects, missed]);
    chosen.truncate(most_mistakes);
    chosen.extend(rest);
    chosen.truncate(limit);
    chosen
}

/// The first of each list, then the second of each, and so on.
fn in_turn(lists: &[Vec<usize>]) -> Vec<usize> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|rank| lists.iter().filter_map(move |list| list.get(rank).copied())).collect()
}

fn default_score(evaluation: &Evaluation, image: &ImageResult) -> Result<f64, ReportError> {
    image.scores.get(&evaluation.default_score).copied().ok_or_else(|| ReportError::DefaultScore {
        name: image.name.clone(),
        score: evaluation.default_score.clone(),
    })
}

impl Gallery {
    /// Sorts the cards into what was misjudged and what was not, within the budget of pictures.
    pub(super) fn new(evaluation: &Evaluation, cards: &[Card]) -> Result<Self, ReportError> {
        let by_name: BTreeMap<&str, &ImageResult> =
            evaluation.images.iter().map(|image| (image.name.as_str(), image)).collect();
        let mut shown: Vec<(f64, &ImageResult, ShownCard)> = Vec::new();
        let mut embedded_bytes = 0;
        for card in cards {
            let image = *by_name
                .get(card.name.as_str())
                .ok_or_else(|| ReportError::UnknownCard { name: card.name.clone() })?;
            let pictures = card
                .pictures
                .iter()
                .map(|picture| Embedded::new(picture, &card.name))
                .collect::<Result<Vec<_>, _>>()?;
            embedded_bytes += pictures.iter().map(|picture| picture.source.len()).sum::<usize>();
            if embedded_bytes > PICTURE_BUDGET {
                break;
            }
            let score = default_score(evaluation, image)?;
            let shown_card = ShownCard {
                name: image.name.clone(),
                defect: image.defect.clone(),
                score: significant(score),
                p_value: image.p_value.map(p_value),
                flagged: image.flagged,
                right: image.judged_rightly(),
                pictures,
            };
            shown.push((score, image, shown_card));
        }
        let count = shown.len();
        shown.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut sections = vec![
            Section::new("Good parts rejected", "highest score first", evaluation, false, true),
            Section::new("Defects missed", "lowest score first", evaluation, true, false),
            Section::new("Defects found", "highest score first", evaluation, true, true),
            Section::new("Good parts passed", "lowest score first", evaluation, false, false),
        ];
        for (_, image, card) in shown {
            let index = match (image.anomalous, image.flagged) {
                (false, true) => 0,
                (true, false) => 1,
                (true, true) => 2,
                (false, false) => 3,
            };
            sections[index].cards.push(card);
        }
        sections[1].cards.reverse();
        sections[3].cards.reverse();
        Ok(Self { sections, shown: count })
    }
}

impl Section {
    fn new(
        title: &'static str,
        note: &'static str,
        evaluation: &Evaluation,
        anomalous: bool,
        flagged: bool,
    ) -> Self {
        let of_kind = |image: &&ImageResult| {
            !image.outside_roi && (image.anomalous, image.flagged) == (anomalous, flagged)
        };
        let total = evaluation.images.iter().filter(of_kind).count();
        Self { title, note, cards: Vec::new(), total }
    }
}
