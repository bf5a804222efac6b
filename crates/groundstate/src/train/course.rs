//! What the loss did: running means for progress, block means for the record.

use serde::{Deserialize, Serialize};

use super::objective::StepReport;
use super::{Progress, Stage};
use crate::detector::CurvePoint;

/// Weight of the newest value in the running means that progress shows.
const RUNNING_SHARE: f64 = 0.02;
/// Points of the course of training that are kept.
const CURVE_POINTS: u64 = 200;

/// The course of training: running means for progress, block means for the record.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Course {
    pub(super) points: Vec<CurvePoint>,
    every: u64,
    block: Vec<StepReport>,
    loss: Option<f64>,
    gap: Option<f64>,
}

impl Course {
    pub(super) fn new(steps: u64) -> Self {
        Self {
            points: Vec::new(),
            every: steps.div_ceil(CURVE_POINTS),
            block: Vec::new(),
            loss: None,
            gap: None,
        }
    }

    /// Takes a step in; one that is not finite belongs to no mean.
    pub(super) fn add(&mut self, step: u64, report: StepReport) {
        if !(report.loss.is_finite() && report.energy_gap.is_none_or(f64::is_finite)) {
            return;
        }
        let blend =
            |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + RUNNING_SHARE * (new - old)));
        self.loss = blend(self.loss, report.loss);
        if let Some(gap) = report.energy_gap {
            self.gap = blend(self.gap, gap);
        }
        self.block.push(report);
        if self.block.len() as u64 >= self.every {
            let n = self.block.len() as f64;
            let gaps: Option<Vec<f64>> = self.block.iter().map(|r| r.energy_gap).collect();
            self.points.push(CurvePoint {
                step,
                loss: self.block.iter().map(|r| r.loss).sum::<f64>() / n,
                energy_gap: gaps.map(|gaps| gaps.iter().sum::<f64>() / n),
            });
            self.block.clear();
        }
    }

    /// Where a training is that took `step` of `steps` steps, the last ones at this speed.
    pub(super) fn progress(&self, step: u64, steps: u64, seconds: f64, images_per_second: f64) -> Progress {
        Progress {
            stage: Stage::Learn,
            seconds,
            step,
            done: Some(step as f64 / steps as f64),
            loss: self.loss,
            energy_gap: self.gap,
            images_per_second: Some(images_per_second),
        }
    }
}
