//! The tiles and tables of a page.

use super::Meta;
use super::number::{area, duration, optional_area, share, significant};
use crate::evaluate::Evaluation;
use crate::metrics::Auroc;

/// One headline number.
pub(super) struct Tile {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) detail: String,
}

/// Headline numbers that belong together.
pub(super) struct TileGroup {
    pub(super) title: &'static str,
    pub(super) tiles: Vec<Tile>,
}

/// An AUROC with its interval, printed and as positions on a strip (0 to 100).
pub(super) struct Interval {
    pub(super) value: String,
    pub(super) low: String,
    pub(super) high: String,
    pub(super) value_at: f64,
    pub(super) low_at: f64,
    pub(super) width: f64,
}

/// One score.
pub(super) struct ScoreRow {
    pub(super) name: String,
    pub(super) is_default: bool,
    pub(super) auroc: Interval,
}

/// Images of one truth and what became of them.
pub(super) struct VerdictRow {
    pub(super) truth: &'static str,
    pub(super) passed: String,
    pub(super) flagged: String,
    /// Whether flagging these is right.
    pub(super) anomalous: bool,
}

/// One defect type.
pub(super) struct DefectRow {
    pub(super) name: String,
    pub(super) detected: String,
    pub(super) detected_percent: f64,
    pub(super) auroc: Option<Interval>,
    /// The score with the highest AUROC on this type, and that AUROC.
    pub(super) best: Option<(String, String)>,
}

/// One map.
pub(super) struct MapRow {
    pub(super) name: String,
    pub(super) is_default: bool,
    /// AUROC, AUPRO@0.30, AUPRO@0.05, average precision, F1-max.
    pub(super) values: [String; 5],
}

/// Left end of the strips on which intervals are drawn: the tenth below the lowest interval.
pub(super) fn strip_start(evaluation: &Evaluation) -> f64 {
    let all = evaluation
        .image_auroc
        .values()
        .chain(evaluation.image_auroc_by_defect.values().filter_map(|of| of.get(&evaluation.default_score)));
    let lowest = all.map(|auroc| auroc.low).fold(0.9, f64::min);
    ((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.9)
}

impl Interval {
    fn new(auroc: &Auroc, start: f64) -> Self {
        let at = |value: f64| ((value - start) / (1.0 - start) * 100.0).clamp(0.0, 100.0);
        Self {
            value: area(auroc.value),
            low: area(auroc.low),
            high: area(auroc.high),
            value_at: at(auroc.value),
            low_at: at(auroc.low),
            width: at(auroc.high) - at(auroc.low),
        }
    }
}

/// "The detector flagged …": the page in one sentence.
pub(super) fn summary(evaluation: &Evaluation) -> String {
    let (counts, verdicts) = (evaluation.counts, &evaluation.verdicts);
    let failed = match counts.failed {
        0 => String::new(),
        1 => " 1 file could not be inspected.".to_owned(),
        n => format!(" {n} files could not be inspected."),
    };
    let outside = match counts.outside_roi {
        0 => String::new(),
        1 => " The defect of 1 image lies outside the region of interest; it does not count.".to_owned(),
        n => format!(" The defects of {n} images lie outside the region of interest; they do not count."),
    };
    format!(
        "Found {} defective images and rejected {} good ones.{outside}{failed}",
        share(verdicts.detected, counts.anomalous),
        share(verdicts.false_rejects, counts.normal),
    )
}

pub(super) fn tiles(evaluation: &Evaluation, meta: &Meta) -> Vec<TileGroup> {
    let tile = |label, value: String, detail: &str| Tile { label, value, detail: detail.to_owned() };
    let auroc = evaluation.image_auroc.get(&evaluation.default_score);
    let interval = auroc.map_or_else(
        || "not defined".to_owned(),
        |auroc| format!("95 % interval {} – {}", area(auroc.low), area(auroc.high)),
    );
    let threshold = |value: Option<f64>| {
        value.map_or_else(|| "not defined".to_owned(), |t| format!("at {}", significant(t)))
    };
    let images = vec![
        tile("Image AUROC", optional_area(auroc.map(|auroc| auroc.value)), &interval),
        tile("Average precision", optional_area(evaluation.average_precision), "over images"),
        tile("F1-max", optional_area(evaluation.f1_max), &threshold(evaluation.f1_max_threshold)),
    ];
    let pixels = vec![
        tile("Pixel AUROC", optional_area(evaluation.pixel_auroc), "default map"),
        tile("AUPRO", optional_area(evaluation.aupro_30), "up to FPR 0.30"),
        tile("AUPRO", optional_area(evaluation.aupro_05), "up to FPR 0.05"),
        tile("AUPIMO", optional_area(evaluation.aupimo), "FPR 1e-5 to 1e-4"),
    ];
    let mut groups = vec![
        TileGroup { title: "Detection", tiles: images },
        TileGroup { title: "Localization", tiles: pixels },
    ];
    let mut cost = Vec::new();
    if let Some(seconds) = evaluation.train_seconds {
        cost.push(tile("Training", duration(seconds), "wall time"));
    }
    if let Some(mebibytes) = evaluation.peak_memory_mib {
        cost.push(tile("Peak memory", format!("{mebibytes:.0} MiB"), "of the training"));
    }
    if let Some(rate) = evaluation.images_per_second {
        cost.push(tile("Throughput", format!("{rate:.1} / s"), "images inspected"));
    }
    if let Some(value) = meta.threshold {
        cost.push(tile("Threshold", significant(value), "flagged above"));
    }
    if !cost.is_empty() {
        groups.push(TileGroup { title: "Operation", tiles: cost });
    }
    groups
}

/// Good and defective images against passed and flagged ones.
pub(super) fn verdicts(evaluation: &Evaluation) -> [VerdictRow; 2] {
    let row = |truth, images: usize, flagged, anomalous| VerdictRow {
        truth,
        passed: share(images.saturating_sub(flagged), images),
        flagged: share(flagged, images),
        anomalous,
    };
    [
        row("good", evaluation.counts.normal, evaluation.verdicts.false_rejects, false),
        row("defective", evaluation.counts.anomalous, evaluation.verdicts.detected, true),
    ]
}

/// Scores, the highest AUROC first.
pub(super) fn scores(evaluation: &Evaluation) -> Vec<ScoreRow> {
    let start = strip_start(evaluation);
    let mut scores: Vec<(&String, &Auroc)> = evaluation.image_auroc.iter().collect();
    scores.sort_by(|a, b| b.1.value.total_cmp(&a.1.value));
    scores
        .into_iter()
        .map(|(name, auroc)| ScoreRow {
            name: name.clone(),
            is_default: *name == evaluation.default_score,
            auroc: Interval::new(auroc, start),
        })
        .collect()
}

/// Defect types in alphabetical order.
pub(super) fn defects(evaluation: &Evaluation) -> Vec<DefectRow> {
    let start = strip_start(evaluation);
    let rows = evaluation.verdicts.by_defect.iter().map(|(name, verdicts)| {
        let aurocs = evaluation.image_auroc_by_defect.get(name);
        let best = aurocs.and_then(|of| of.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value)));
        DefectRow {
            name: name.clone(),
            detected: share(verdicts.detected, verdicts.images),
            detected_percent: 100.0 * verdicts.detected as f64 / verdicts.images.max(1) as f64,
            auroc: aurocs
                .and_then(|of| of.get(&evaluation.default_score))
                .map(|auroc| Interval::new(auroc, start)),
            best: best.map(|(score, auroc)| (score.clone(), area(auroc.value))),
        }
    });
    rows.collect()
}

/// The default map, then the others.
pub(super) fn maps(evaluation: &Evaluation) -> Vec<MapRow> {
    if evaluation.pixel_auroc.is_none() {
        return Vec::new();
    }
    let default = MapRow {
        name: "default".to_owned(),
        is_default: true,
        values: [
            evaluation.pixel_auroc,
            evaluation.aupro_30,
            evaluation.aupro_05,
            evaluation.pixel_average_precision,
            evaluation.pixel_f1_max,
        ]
        .map(optional_area),
    };
    let others = evaluation.maps.iter().map(|(name, map)| MapRow {
        name: name.clone(),
        is_default: false,
        values: [map.pixel_auroc, map.aupro_30, map.aupro_05, map.pixel_average_precision, map.pixel_f1_max]
            .map(area),
    });
    std::iter::once(default).chain(others).collect()
}
