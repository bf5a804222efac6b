//! Irregular outlines: blobs and strokes, as signed distances (positive inside, about exact near the edge).

use rand::{Rng, RngExt};

use super::noise::Noise;

/// A closed outline around a centre, round on the whole and ragged in detail.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    centre: [f32; 2],
    radius: f32,
    /// Unit vector along the longer axis, and how much longer it is.
    axis: [f32; 2],
    stretch: f32,
    /// Relative amplitude of the raggedness.
    ragged: f32,
    noise: Noise,
}

impl Blob {
    pub(super) fn new(centre: [f32; 2], radius: f32, ragged: f32, rng: &mut impl Rng) -> Self {
        let angle: f32 = rng.random_range(0.0..std::f32::consts::TAU);
        let stretch = rng.random_range(1.0..1.7);
        Self { centre, radius, axis: [angle.cos(), angle.sin()], stretch, ragged, noise: Noise::new(rng) }
    }

    /// Turns the longer axis to `angle` and sets the stretch.
    pub(super) fn stretched(mut self, angle: f32, stretch: f32) -> Self {
        (self.axis, self.stretch) = ([angle.cos(), angle.sin()], stretch);
        self
    }

    /// Distance to the outline, positive inside.
    pub(super) fn inside(&self, p: [f32; 2]) -> f32 {
        let d = [p[0] - self.centre[0], p[1] - self.centre[1]];
        let along = (d[0] * self.axis[0] + d[1] * self.axis[1]) / self.stretch;
        let across = d[1] * self.axis[0] - d[0] * self.axis[1];
        let r = length([along, across]);
        // Far away the outline does not matter, and most pixels are far away.
        if r > 2.0 * self.radius {
            return self.radius - r;
        }
        let turns = across.atan2(along) / std::f32::consts::TAU;
        let coarse = self.noise.around(0.3, turns, 5);
        let fine = self.noise.around(7.3, turns, 13);
        self.radius * (1.0 + self.ragged * (0.7 * coarse + 0.3 * fine)) - r
    }
}

/// A curve of constant width.
#[derive(Clone, Debug)]
pub(super) struct Stroke {
    points: Vec<[f32; 2]>,
    half_width: f32,
    /// Circle around all points, to skip far pixels.
    centre: [f32; 2],
    reach: f32,
}

impl Stroke {
    /// A quadratic Bézier curve from `ends[0]` to `ends[1]`, drawn towards `control`.
    pub(super) fn curve(ends: [[f32; 2]; 2], control: [f32; 2], half_width: f32) -> Self {
        const PIECES: usize = 14;
        let at = |i: usize| {
            let t = i as f32 / PIECES as f32;
            let (a, b, c) = ((1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t);
            [0, 1].map(|k: usize| a * ends[0][k] + b * control[k] + c * ends[1][k])
        };
        let points: Vec<[f32; 2]> = (0..=PIECES).map(at).collect();
        let centre = points[PIECES / 2];
        let reach = points.iter().map(|p| distance(*p, centre)).fold(0.0, f32::max);
        Self { points, half_width, centre, reach }
    }

    /// Distance to the outline, positive inside, and the place along the curve in `[0, 1]`.
    pub(super) fn inside(&self, p: [f32; 2]) -> (f32, f32) {
        let bound = distance(p, self.centre) - self.reach;
        if bound > 8.0 * self.half_width {
            return (self.half_width - bound, 0.0);
        }
        let (mut nearest, mut place) = (f32::INFINITY, 0.0);
        for (i, ends) in self.points.windows(2).enumerate() {
            let (a, b) = (ends[0], ends[1]);
            let (along, to) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
            let square = along[0] * along[0] + along[1] * along[1];
            let t = ((to[0] * along[0] + to[1] * along[1]) / square.max(1e-12)).clamp(0.0, 1.0);
            let d = length([to[0] - t * along[0], to[1] - t * along[1]]);
            if d < nearest {
                (nearest, place) = (d, (i as f32 + t) / (self.points.len() - 1) as f32);
            }
        }
        (self.half_width - nearest, place)
    }
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    length([a[0] - b[0], a[1] - b[1]])
}

/// Euclidean length. Values here are near 1, so the care of `hypot`, at ten times the time, is not
/// needed.
pub(super) fn length([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y).sqrt()
}
