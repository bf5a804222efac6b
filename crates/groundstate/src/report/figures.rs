//! The charts of a page: ROC, score histogram, PRO, course of the training.

use askama::Template as _;

use super::chart::{Axis, Chart};
use super::number::{area, significant};
use super::{Meta, TrainingPoint};
use crate::evaluate::{Evaluation, ImageResult};
use crate::metrics::Ranking;

/// ROC curves of other scores beside the default one.
const OTHER_CURVES: usize = 3;
const BINS: usize = 36;

/// A chart with its title and key.
pub(super) struct Figure {
    pub(super) title: String,
    pub(super) svg: String,
    /// Class of a line or bar, what it stands for.
    pub(super) key: Vec<(String, String)>,
}

/// All charts that the evaluation and the training define, in page order.
pub(super) fn all(evaluation: &Evaluation, meta: &Meta) -> Result<Vec<Figure>, askama::Error> {
    let figures = [roc(evaluation)?, histogram(evaluation, meta.threshold)?, pro(evaluation)?];
    Ok(figures.into_iter().flatten().chain(courses(&meta.training)?).collect())
}

/// Loss and energy gap over the steps of a training, where they were recorded.
pub(super) fn courses(training: &[TrainingPoint]) -> Result<Vec<Figure>, askama::Error> {
    let figures = [
        course(training, "Training loss", "loss", |point| Some(point.loss))?,
        course(training, "Energy gap in training", "energy gap", |point| point.energy_gap)?,
    ];
    Ok(figures.into_iter().flatten().collect())
}

/// ROC curves of the default score and of the best others.
fn roc(evaluation: &Evaluation) -> Result<Option<Figure>, askama::Error> {
    let mut others: Vec<(&String, f64)> = evaluation
        .image_auroc
        .iter()
        .filter(|(name, _)| **name != evaluation.default_score)
        .map(|(name, auroc)| (name, auroc.value))
        .collect();
    others.sort_by(|a, b| b.1.total_cmp(&a.1));
    others.truncate(OTHER_CURVES);
    let default = evaluation.image_auroc.get_key_value(&evaluation.default_score);
    let Some((default_name, default)) = default else { return Ok(None) };

    let unit = Axis::linear(0.0, 1.0);
    let mut chart = Chart::new(
        &format!("ROC curves; the area under that of {default_name} is {}", area(default.value)),
        "false-positive rate",
        unit,
        "true-positive rate",
        unit,
    );
    chart.line("chance", [[0.0, 0.0], [1.0, 1.0]].into_iter());
    let mut key = Vec::new();
    // The default curve is drawn last and lies on top, but is named first.
    for (index, (name, value)) in others.iter().enumerate().rev() {
        let class = format!("other-{}", index + 1);
        draw_roc(&mut chart, &class, &evaluation.images, name);
        key.insert(0, (class, format!("{name} {}", area(*value))));
    }
    draw_roc(&mut chart, "default", &evaluation.images, default_name);
    key.insert(0, ("default".to_owned(), format!("{default_name} {}", area(default.value))));
    Ok(Some(Figure { title: "ROC over images".to_owned(), svg: chart.render()?, key }))
}

fn draw_roc(chart: &mut Chart, class: &str, images: &[ImageResult], score: &str) {
    let (scores, anomalous): (Vec<f64>, Vec<bool>) =
        counted(images).filter_map(|image| Some((*image.scores.get(score)?, image.anomalous))).unzip();
    // The evaluation has an AUROC of this score; a list of images cut by hand may still define none.
    if let Ok(ranking) = Ranking::new(&scores, &anomalous) {
        chart.line(class, ranking.roc_curve().into_iter());
    }
}

/// The images that verdicts and image metrics are about.
fn counted(images: &[ImageResult]) -> impl Iterator<Item = &ImageResult> {
    images.iter().filter(|image| !image.outside_roi)
}

/// Shares of normal images (upwards) and anomalous images (downwards) by default score.
fn histogram(evaluation: &Evaluation, threshold: Option<f64>) -> Result<Option<Figure>, askama::Error> {
    let of = |anomalous: bool| -> Vec<f64> {
        let images = counted(&evaluation.images).filter(|image| image.anomalous == anomalous);
        images.filter_map(|image| image.scores.get(&evaluation.default_score).copied()).collect()
    };
    let (normal, anomalous) = (of(false), of(true));
    let marked = threshold.filter(|t| t.is_finite());
    let values = || normal.iter().chain(&anomalous).copied().filter(|v| v.is_finite()).chain(marked);
    let (low, high) =
        values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return Ok(None);
    }
    let x = Axis::fitting(low, high);
    let bins = |scores: &[f64]| {
        let mut counts = [0_usize; BINS];
        for &score in scores.iter().filter(|score| score.is_finite()) {
            counts[((x.position(score) * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        counts
    };
    let classes = [("normal", &normal, 1.0), ("anomalous", &anomalous, -1.0)];
    let highest =
        |scores: &[f64]| bins(scores).into_iter().max().unwrap_or(0) as f64 / scores.len().max(1) as f64;
    let reach = |scores: &[f64]| 1.05 * (100.0 * highest(scores)).max(1.0);
    let y = Axis::linear(-reach(&anomalous), reach(&normal));
    let scale = if x.is_logarithmic() { " (logarithmic)" } else { "" };
    let mut chart = Chart::new(
        "Histogram of the default score: normal images above the axis, anomalous ones below",
        &format!("{}{scale}", evaluation.default_score),
        x,
        "% of the class",
        y,
    )
    .mirrored();
    for (class, scores, direction) in classes {
        for (bin, count) in bins(scores).into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let edge = |bin: usize| x.value(bin as f64 / BINS as f64);
            let (from, to) = (edge(bin), edge(bin + 1));
            let share = 100.0 * count as f64 / scores.len() as f64;
            let title =
                format!("{count} of {} {class}: {} to {}", scores.len(), significant(from), significant(to));
            chart.bar(class, from, to, direction * share, title);
        }
    }
    let mut key: Vec<(String, String)> = classes
        .map(|(class, scores, _)| (class.to_owned(), format!("{} {class} images", scores.len())))
        .into();
    if let Some(threshold) = marked {
        chart.mark(threshold, "threshold");
        key.push(("mark".to_owned(), format!("flagged above {}", significant(threshold))));
    }
    Ok(Some(Figure { title: "Scores of normal and anomalous images".to_owned(), svg: chart.render()?, key }))
}

/// PRO against the false-positive rate, as far as the evaluation kept it.
fn pro(evaluation: &Evaluation) -> Result<Option<Figure>, askama::Error> {
    let Some(last) = evaluation.pro_curve.last() else { return Ok(None) };
    let mut chart = Chart::new(
        "Per-region overlap against the false-positive rate of pixels",
        "false-positive rate of pixels",
        Axis::linear(0.0, last[0]),
        "per-region overlap",
        Axis::linear(0.0, 1.0),
    );
    chart.line("default", evaluation.pro_curve.iter().copied());
    let key = [("AUPRO@0.30", evaluation.aupro_30), ("AUPRO@0.05", evaluation.aupro_05)]
        .into_iter()
        .filter_map(|(name, value)| Some(("default".to_owned(), format!("{name} {}", area(value?)))))
        .collect();
    Ok(Some(Figure { title: "Per-region overlap".to_owned(), svg: chart.render()?, key }))
}

/// One quantity of the training over its steps; `None` where it was not recorded at least twice.
fn course(
    training: &[TrainingPoint],
    title: &'static str,
    label: &str,
    quantity: impl Fn(&TrainingPoint) -> Option<f64>,
) -> Result<Option<Figure>, askama::Error> {
    let points: Vec<[f64; 2]> = training
        .iter()
        .filter_map(|point| Some([point.step as f64, quantity(point)?]))
        .filter(|point| point.iter().all(|value| value.is_finite()))
        .collect();
    if points.len() < 2 {
        return Ok(None);
    }
    let range = |of: fn(&[f64; 2]) -> f64| {
        points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
    };
    let ((start, end), (low, high)) = (range(|p| p[0]), range(|p| p[1]));
    let mut chart = Chart::new(
        &format!(
            "{title} over the steps, from {} to {}",
            significant(points[0][1]),
            significant(points[points.len() - 1][1])
        ),
        "step",
        Axis::linear(start, end),
        label,
        Axis::linear(low.min(0.0), high),
    );
    chart.line("default", points.into_iter());
    Ok(Some(Figure { title: title.to_owned(), svg: chart.render()?, key: Vec::new() }))
}
