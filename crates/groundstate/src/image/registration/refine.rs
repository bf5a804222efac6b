//! Gauss–Newton refinement of a pose.

use nalgebra::{Matrix3, Vector3};

use super::Pose;
use crate::image::Map;

const STEPS: usize = 12;
/// Steps below this, in shares of the edge, are noise.
const SMALL: f32 = 2e-4;
/// Damping, as a share of the diagonal.
const DAMPING: f32 = 1e-3;
/// Differences beyond this many root mean squares count linearly (Huber): a defect must not pull
/// the pose.
const HUBER: f32 = 2.0;

/// Brings pictures to one template by small steps.
#[derive(Clone, Debug)]
pub(super) struct Refiner {
    template: Map,
}

impl Refiner {
    pub(super) fn new(template: &Map) -> Self {
        Self { template: template.clone() }
    }

    /// The refined pose and the mean squared difference there, which is never more than at the start.
    pub(super) fn refine(&self, picture: &Map, start: Pose) -> (Pose, f64) {
        let (mut pose, mut aligned) = (start, start.align_map(picture));
        let mut cost = self.cost(&aligned);
        for _ in 0..STEPS {
            let Some(step) = self.step(&aligned, pose) else { break };
            let moved =
                Pose { angle: pose.angle + step[0], right: pose.right + step[1], down: pose.down + step[2] };
            let tried = moved.align_map(picture);
            let new_cost = self.cost(&tried);
            if new_cost >= cost {
                break;
            }
            (pose, aligned, cost) = (moved, tried, new_cost);
            if step.amax() < SMALL {
                break;
            }
        }
        (pose, cost)
    }

    /// The Gauss–Newton step (angle, right, down) at an aligned picture.
    fn step(&self, aligned: &Map, pose: Pose) -> Option<Vector3<f32>> {
        let (width, height) = (aligned.width, aligned.height);
        let (sin, cos) = pose.angle.sin_cos();
        let edge = width as f32;
        let limit = self.limit(aligned);
        // The lower triangle of the normal matrix, row by row, and the right-hand side.
        let (mut normal, mut pull) = ([0f32; 6], [0f32; 3]);
        for y in 1..height - 1 {
            for x in 1..width - 1 {
                let at = y * width + x;
                let value = |i: usize| aligned.values[i];
                // Slopes along the template's axes per edge; then those along the picture's.
                let along_x = (value(at + 1) - value(at - 1)) * 0.5 * edge;
                let along_y = (value(at + width) - value(at - width)) * 0.5 * edge;
                let (right, down) = (cos * along_x - sin * along_y, sin * along_x + cos * along_y);
                let px = (x as f32 - (edge - 1.0) / 2.0) / edge;
                let py = (y as f32 - (height as f32 - 1.0) / 2.0) / edge;
                // d(R p)/d(angle) in the template's axes is (−p_y, p_x).
                let turn = along_y * px - along_x * py;
                let difference = value(at) - self.template.values[at];
                let weight = if difference.abs() > limit { limit / difference.abs() } else { 1.0 };
                normal[0] += turn * turn * weight;
                normal[1] += right * turn * weight;
                normal[2] += right * right * weight;
                normal[3] += down * turn * weight;
                normal[4] += down * right * weight;
                normal[5] += down * down * weight;
                let pulls = difference * weight;
                pull[0] += turn * pulls;
                pull[1] += right * pulls;
                pull[2] += down * pulls;
            }
        }
        let [a, b, c, d, e, f] = normal;
        let mut normal = Matrix3::new(a, b, d, b, c, e, d, e, f);
        for i in 0..3 {
            normal[(i, i)] = normal[(i, i)] * (1.0 + DAMPING) + f32::MIN_POSITIVE;
        }
        let pull = Vector3::from(pull);
        let step = -(normal.cholesky()?.solve(&pull));
        // No step turns or shifts by more than a tenth: the slopes do not see that far.
        let longest = step.amax();
        (longest.is_finite()).then(|| if longest > 0.1 { step * (0.1 / longest) } else { step })
    }

    fn limit(&self, aligned: &Map) -> f32 {
        let squares = aligned.values.iter().zip(&self.template.values).map(|(a, t)| (a - t).powi(2));
        HUBER * (squares.sum::<f32>() / aligned.values.len() as f32).sqrt() + f32::MIN_POSITIVE
    }

    fn cost(&self, aligned: &Map) -> f64 {
        let differences = aligned.values.iter().zip(&self.template.values);
        let sum: f64 = differences.map(|(a, t)| f64::from(a - t).powi(2)).sum();
        sum / aligned.values.len() as f64
    }
}
