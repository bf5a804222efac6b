//! The evaluations of many categories: one row each, and their mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use groundstate::evaluate::Evaluation;
use serde_json::{Map, Value, json};

use super::name;
use crate::outcome::one_line;

/// Image scores that have a column besides the default one: the energy itself and a fixed reading of
/// the gradient map. A best of several would be chosen with the test labels.
const SCORES: [&str; 2] = ["energy", "gradient_z_top"];

/// A column: its head, where its number comes from, and the number of decimals.
type Column = (&'static str, fn(&Evaluation) -> Option<f64>, usize);

const COLUMNS: [Column; 11] = [
    ("AUROC", |e| auroc(e, &e.default_score), 4),
    (SCORES[0], |e| auroc(e, SCORES[0]), 4),
    (SCORES[1], |e| auroc(e, SCORES[1]), 4),
    ("F1-max", |e| e.f1_max, 4),
    ("pixel AUROC", |e| e.pixel_auroc, 4),
    ("AUPRO 30 %", |e| e.aupro_30, 4),
    ("AUPRO 5 %", |e| e.aupro_05, 4),
    ("images", |e| Some((e.counts.normal + e.counts.anomalous) as f64), 0),
    ("train s", |e| e.train_seconds, 1),
    ("peak MiB", |e| e.peak_memory_mib, 0),
    ("inspect ms", |e| e.images_per_second.map(|rate| 1000.0 / rate), 1),
];

fn auroc(evaluation: &Evaluation, score: &str) -> Option<f64> {
    evaluation.image_auroc.get(score).map(|auroc| auroc.value)
}

/// Rows of one width, so that each can be printed as soon as it is known.
pub(super) struct Rows {
    name_width: usize,
}

impl Rows {
    pub(super) fn new(categories: &[PathBuf]) -> Self {
        let widths = categories.iter().map(|category| name(category).chars().count());
        Self { name_width: widths.chain(["category".len()]).max().unwrap_or(0) }
    }

    pub(super) fn head(&self) -> String {
        self.line("category", COLUMNS.map(|(head, ..)| head.to_owned()))
    }

    pub(super) fn row(&self, name: &str, evaluation: &Evaluation) -> String {
        self.line(name, COLUMNS.map(|(_, of, decimals)| number(of(evaluation), decimals)))
    }

    pub(super) fn mean(&self, summary: &Summary) -> String {
        let evaluations = || summary.evaluations.values();
        self.line("mean", COLUMNS.map(|(_, of, decimals)| number(mean(evaluations().map(of)), decimals)))
    }

    fn line(&self, name: &str, cells: [String; COLUMNS.len()]) -> String {
        let width = self.name_width;
        let cells = COLUMNS.iter().zip(cells).map(|((head, ..), cell)| {
            let width = head.chars().count().max(6);
            format!("  {cell:>width$}")
        });
        format!("{name:<width$}{}", cells.collect::<String>())
    }
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Mean of the values that are there; `None` without any.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let known: Vec<f64> = values.flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// What became of the categories so far.
#[derive(Default)]
pub(super) struct Summary {
    evaluations: BTreeMap<String, Evaluation>,
    failed: BTreeMap<String, String>,
}

impl Summary {
    pub(super) fn add(&mut self, name: String, evaluation: Evaluation) {
        self.evaluations.insert(name, evaluation);
    }

    pub(super) fn add_failure(&mut self, name: String, error: &anyhow::Error) {
        self.failed.insert(name, one_line(error));
    }

    pub(super) fn len(&self) -> usize {
        self.evaluations.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.evaluations.is_empty()
    }

    /// The evaluations under `categories`, the mean of every number in them under `mean`, and the
    /// reasons of those that failed under `failed`.
    pub(super) fn as_json(&self) -> Value {
        json!({ "categories": self.evaluations, "mean": self.mean(), "failed": self.failed })
    }

    /// Means under the keys of an evaluation: of each headline number over the categories that have
    /// it, and of the AUROC of each image score.
    fn mean(&self) -> Map<String, Value> {
        let whole: Vec<Map<String, Value>> = self.evaluations.values().filter_map(as_object).collect();
        let keys = whole.iter().flat_map(Map::iter).filter(|(_, value)| value.is_f64());
        let keys: Vec<String> = keys.map(|(key, _)| key.clone()).collect();
        let mut means: Map<String, Value> = keys
            .into_iter()
            // A threshold is in the units of its own model.
            .filter(|key| !key.ends_with("threshold"))
            .map(|key| (key.clone(), json!(mean(whole.iter().map(|object| object[&key].as_f64())))))
            .collect();
        let mut aurocs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (score, auroc) in self.evaluations.values().flat_map(|evaluation| &evaluation.image_auroc) {
            aurocs.entry(score).or_default().push(auroc.value);
        }
        let aurocs: Map<String, Value> = aurocs
            .into_iter()
            .map(|(score, values)| (score.to_owned(), json!({ "value": mean(values.into_iter().map(Some)) })))
            .collect();
        means.insert("image_auroc".to_owned(), Value::Object(aurocs));
        let defaults: BTreeSet<&String> = self.evaluations.values().map(|e| &e.default_score).collect();
        if let [default] = Vec::from_iter(defaults)[..] {
            means.insert("default_score".to_owned(), json!(default));
        }
        means
    }
}

fn as_object(evaluation: &Evaluation) -> Option<Map<String, Value>> {
    match serde_json::to_value(evaluation) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}
