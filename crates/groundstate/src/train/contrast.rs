//! Method `contrast`: normal pictures against corrupted ones.
//!
//! Local energies are the logits of a location being corrupted: logistic regression between two
//! samples, whose logit is the logarithm of their density ratio (noise-contrastive estimation,
//! Gutmann & Hyvärinen 2010), here location by location. Optionally the negatives are moved by a
//! few Langevin steps from their corruption towards lower energy first, inside the corruption only.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::corrupt::{Canvas, corrupt};
use super::objective::{Objective, StepReport};
use super::student::Student;
use crate::model::NetworkConfig;
use crate::sampler::{Langevin, LangevinConfig};

/// Share of the pictures of a batch that are left as they are.
const CLEAN_SHARE: f64 = 0.2;

/// Settings of method `contrast`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastConfig {
    /// Edge in pixels of the window of a picture that a step sees; a multiple of 32.
    pub window_px: usize,
    /// Langevin steps that refine each corruption; none when absent.
    pub refine: Option<LangevinConfig>,
}

impl Default for ContrastConfig {
    fn default() -> Self {
        Self { window_px: 128, refine: None }
    }
}

pub(super) struct Contrast {
    refine: Option<Langevin>,
}

impl Contrast {
    pub(super) fn new(config: &ContrastConfig) -> Result<Self, TrainError> {
        if config.window_px == 0 || !config.window_px.is_multiple_of(NetworkConfig::SIZE_MULTIPLE) {
            return Err(TrainError::Setting {
                setting: "contrast.window_px",
                found: config.window_px.to_string(),
                expected: "a multiple of 32 pixels",
            });
        }
        Ok(Self { refine: config.refine.clone().map(LangevinConfig::check).transpose()? })
    }

    /// Corrupts most pictures; returns all and their labels by pixel.
    fn corrupted(normal: &[f32], student: &Student, rng: &mut ChaCha8Rng) -> (Vec<f32>, Vec<f32>) {
        let length = student.picture_len();
        let (height, width, channels) = student.picture_shape();
        let count = normal.len() / length;
        let draws: Vec<(u64, usize, bool)> = (0..count)
            .map(|_| (rng.random(), rng.random_range(0..count), rng.random_bool(CLEAN_SHARE)))
            .collect();
        let mut pictures = normal.to_vec();
        let labels: Vec<Vec<f32>> = pictures
            .par_chunks_exact_mut(length)
            .zip(&draws)
            .map(|(picture, &(seed, other, clean))| {
                if clean {
                    return vec![0.0; height * width];
                }
                let source = &normal[other * length..(other + 1) * length];
                let canvas = Canvas { height, width, channels, source };
                corrupt(picture, &canvas, &mut ChaCha8Rng::seed_from_u64(seed))
            })
            .collect();
        (pictures, labels.concat())
    }
}

impl Objective for Contrast {
    fn pictures_at_once(&self, batch: usize) -> usize {
        batch
    }

    fn step(&mut self, normal: &[f32], student: &mut Student, rng: &mut ChaCha8Rng) -> StepReport {
        let (mut pictures, labels) = Self::corrupted(normal, student, rng);
        if let Some(langevin) = &self.refine {
            refine(langevin, &mut pictures, &labels, student, rng);
        }
        let targets = pool(&labels, student);
        let local = student.energies(&pictures, &[]);
        let anomalous: f64 = targets.iter().map(|&t| f64::from(t)).sum();
        let normal = targets.len() as f64 - anomalous;
        let (up, down) = (0.5 / anomalous.max(1.0), 0.5 / normal.max(1.0));
        let (mut loss, mut high, mut low) = (0.0, 0.0, 0.0);
        let weights: Vec<f32> = local
            .iter()
            .zip(&targets)
            .map(|(&e, &t)| {
                let (e, t) = (f64::from(e), f64::from(t));
                loss += up * t * softplus(-e) + down * (1.0 - t) * softplus(e);
                high += 2.0 * up * t * e;
                low += 2.0 * down * (1.0 - t) * e;
                let p = 1.0 / (1.0 + (-e).exp());
                (down * (1.0 - t) * p - up * t * (1.0 - p)) as f32
            })
            .collect();
        student.collect(&weights);
        StepReport { loss, energy_gap: Some(high - low) }
    }
}

/// Moves the corrupted parts of `negative` towards lower energy.
fn refine(
    langevin: &Langevin,
    negative: &mut [f32],
    labels: &[f32],
    student: &mut Student,
    rng: &mut ChaCha8Rng,
) {
    let (_, _, channels) = student.picture_shape();
    let weights = vec![1.0; negative.len() / student.picture_len()];
    let start = negative.to_vec();
    langevin.run(
        negative,
        1.0,
        |x, slope| slope.copy_from_slice(&student.input_gradient(x, &[], &weights)),
        rng,
    );
    for (i, (x, &start)) in negative.iter_mut().zip(&start).enumerate() {
        *x = start + labels[i / channels] * (*x - start);
    }
}

/// Mean label of the pixels of every location of the student's grid.
fn pool(labels: &[f32], student: &Student) -> Vec<f32> {
    let (height, width, _) = student.picture_shape();
    let stride = student.stride();
    let columns = width / stride;
    let scale = 1.0 / (stride * stride) as f32;
    let mut targets = vec![0f32; labels.len() / (height * width) * student.cells()];
    for (picture, cells) in labels.chunks_exact(height * width).zip(targets.chunks_exact_mut(student.cells()))
    {
        for (i, &label) in picture.iter().enumerate() {
            cells[(i / width / stride) * columns + i % width / stride] += label * scale;
        }
    }
    targets
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
