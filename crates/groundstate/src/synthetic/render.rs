//! The photograph: light, surface, lens and sensor.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::flange::Flange;
use super::noise::{Noise, ramp};
use super::outline::length;
use crate::image::{Image, Map};

/// What differs between two photographs of good parts: pose, light and texture.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// Middle of the part and its outer radius, as shares of the picture's edge.
    centre: [f32; 2],
    radius: f32,
    /// Sine and cosine of the part's rotation.
    rotation: [f32; 2],
    /// Unit vector towards the lamp: x right, y down, z towards the camera.
    lamp: [f32; 3],
    exposure: f32,
    /// Relative change of brightness across the picture, along x and y.
    slope: [f32; 2],
    /// Strength of the turning marks.
    brushing: f32,
    marks: Noise,
    patina: Noise,
    mat: Noise,
}

impl Scene {
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        let turn: f32 = rng.random_range(-0.035..0.035);
        let azimuth: f32 = rng.random_range(-2.32..-2.12);
        let elevation: f32 = rng.random_range(0.86..0.94);
        Self {
            centre: [0, 1].map(|_| 0.5 + rng.random_range(-0.008..0.008)),
            radius: 0.42 * rng.random_range(0.995..1.005),
            rotation: [turn.sin(), turn.cos()],
            lamp: [azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()],
            exposure: rng.random_range(0.93..1.07),
            slope: [0, 1].map(|_| rng.random_range(-0.06..0.06)),
            brushing: rng.random_range(0.7..1.2),
            marks: Noise::new(rng),
            patina: Noise::new(rng),
            mat: Noise::new(rng),
        }
    }

    /// The picture of `flange` before the sensor adds its noise; red, green and blue in `[0, 1]`.
    pub(super) fn expose(&self, flange: &Flange, size: usize) -> [Map; 3] {
        let px = 1.0 / (self.radius * size as f32);
        let places: Vec<[f32; 2]> = (0..size * size).map(|i| self.offset(i % size, i / size, size)).collect();
        let heights: Vec<f32> = places.iter().map(|&p| flange.height(self.turned(p))).collect();
        let mut channels = [(); 3].map(|()| Map::filled(size, size, 0.0));
        for (i, &place) in places.iter().enumerate() {
            let (x, y) = (i % size, i / size);
            let along =
                |low: usize, high: usize, steps: usize| (heights[high] - heights[low]) / (steps as f32 * px);
            let (left, right) = (x.saturating_sub(1), (x + 1).min(size - 1));
            let (up, down) = (y.saturating_sub(1), (y + 1).min(size - 1));
            let gradient = [
                along(y * size + left, y * size + right, right - left),
                along(up * size + x, down * size + x, down - up),
            ];
            let colour = self.colour(flange, place, gradient, px);
            let across = [x, y].map(|v| (v as f32 + 0.5) / size as f32 - 0.5);
            let vignette = 1.0 - 0.22 * (across[0].powi(2) + across[1].powi(2));
            let light =
                self.exposure * vignette * (1.0 + across[0] * self.slope[0] + across[1] * self.slope[1]);
            for (channel, value) in channels.iter_mut().zip(colour) {
                channel.values[i] = film_curve(value * light);
            }
        }
        // The lens: about half a pixel at 256 px, in proportion at other sizes.
        channels.map(|channel| channel.gaussian_blur(0.55 * (size as f32 / 256.0).max(0.7)))
    }

    /// Place of a pixel's centre in outer radii from the part's middle, along the picture's axes.
    fn offset(&self, x: usize, y: usize, size: usize) -> [f32; 2] {
        let at = |v: usize, axis: usize| ((v as f32 + 0.5) / size as f32 - self.centre[axis]) / self.radius;
        [at(x, 0), at(y, 1)]
    }

    /// The same place along the part's axes.
    fn turned(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [sin, cos] = self.rotation;
        [cos * x + sin * y, cos * y - sin * x]
    }

    fn colour(&self, flange: &Flange, place: [f32; 2], gradient: [f32; 2], px: f32) -> [f32; 3] {
        let p = self.turned(place);
        let metal = ramp(-0.6 * px, 0.6 * px, flange.metal_distance(p));
        let below = if metal < 1.0 { self.ground(flange, place, px) } else { [0.0; 3] };
        let surface = if metal > 0.0 { self.metal(flange, place, gradient, px) } else { [0.0; 3] };
        let mut colour: [f32; 3] = std::array::from_fn(|k| below[k] + metal * (surface[k] - below[k]));
        if !flange.damage.debris.is_empty() {
            let towards_lamp = [place[0] + 0.022 * self.lamp[0], place[1] + 0.022 * self.lamp[1]];
            let shadow = flange.damage.shadow(self.turned(towards_lamp), 2.0 * px);
            colour = colour.map(|v| v * (1.0 - shadow));
            if let Some((top, cover)) = flange.damage.on_top(p, 1.4 * px) {
                colour = std::array::from_fn(|k| colour[k] + cover * (top[k] - colour[k]));
            }
        }
        colour
    }

    /// Turned steel: diffuse light, and the two wings of light that concentric marks throw.
    fn metal(&self, flange: &Flange, place: [f32; 2], gradient: [f32; 2], px: f32) -> [f32; 3] {
        let p = self.turned(place);
        let r = length(place);
        let turns = p[1].atan2(p[0]) / std::f32::consts::TAU;
        // Marks of the tool: fine over the radius, long around it.
        let fine =
            self.marks.around(r * 62.0, turns, 9) + 0.6 * self.marks.around(r * 31.0 + 200.0, turns, 17);
        let grain = self.marks.at(place[0] * 55.0 + 300.0, place[1] * 55.0);
        let patina = self.patina.fractal(place[0] * 3.0, place[1] * 3.0);
        let texture = 1.0 + self.brushing * (0.045 * fine + 0.018 * grain) + 0.03 * patina;

        let steepness = (gradient[0].powi(2) + gradient[1].powi(2) + 1.0).sqrt();
        let normal = [-gradient[0] / steepness, -gradient[1] / steepness, 1.0 / steepness];
        let facing: f32 = normal.iter().zip(self.lamp).map(|(n, l)| n * l).sum();
        let diffuse = facing.max(0.0) / self.lamp[2];
        // Half-way between lamp and camera; light spreads across the marks, not along them.
        let half = [self.lamp[0], self.lamp[1], self.lamp[2] + 1.0];
        let half_length = (half[0].powi(2) + half[1].powi(2) + half[2].powi(2)).sqrt();
        let along_marks = (place[0] * half[1] - place[1] * half[0]) / (r.max(1e-3) * half_length);
        // Jitter of the marks' direction breaks the wings up into rays.
        let along_marks = along_marks + 0.03 * self.patina.around(r * 9.0, turns, 60);
        let wings = (1.0 - along_marks * along_marks).powi(22);
        let glint = ramp(0.93, 1.0, facing.max(0.0)) * 0.25;

        let distance = flange.edge_distance(p);
        // Edges catch less of the room's light.
        let occlusion = 0.86 + 0.14 * ramp(0.0, 0.06, distance);
        let broken = 1.0 - ramp(0.0, 3.0 * px, flange.damage.break_distance(p));
        let light = occlusion * (0.16 + 0.38 * diffuse + 0.34 * wings * diffuse) + glint;
        let tint = flange.damage.tint(p);
        let steel = [0.985, 1.0, 1.02];
        std::array::from_fn(|k| (light * texture + 0.12 * broken) * steel[k] * tint[k])
    }

    /// The mat below the part, in the part's shadow and at the bottom of its holes.
    fn ground(&self, flange: &Flange, place: [f32; 2], px: f32) -> [f32; 3] {
        let weave = self.mat.fractal(place[0] * 38.0, place[1] * 38.0);
        let slow = self.mat.at(place[0] * 2.2 + 90.0, place[1] * 2.2);
        let base = 0.155 * (1.0 + 0.20 * weave + 0.06 * slow);
        // The part blocks the lamp where the way towards it meets metal.
        let blocked = |reach: f32| {
            let towards = [place[0] + reach * self.lamp[0], place[1] + reach * self.lamp[1]];
            ramp(-0.035 - px, 0.035, flange.metal_distance(self.turned(towards)))
        };
        let shadow = 0.5 * blocked(0.06) + 0.3 * blocked(0.12);
        let r = length(place);
        let depth = if r < 1.0 { 0.72 } else { 1.0 - 0.30 * (-(r - 1.0) / 0.05).exp() };
        [0.86, 0.98, 1.16].map(|k| k * base * depth * (1.0 - shadow))
    }
}

/// Linear light to stored values: a gentle shoulder instead of clipping at white.
fn film_curve(light: f32) -> f32 {
    let bright = (light - 0.7).max(0.0);
    (light.min(0.7) + bright / (1.0 + 2.2 * bright)).clamp(0.0, 1.0)
}

/// Adds shot and read noise and joins the channels.
pub(super) fn develop(channels: &[Map; 3], rng: &mut impl Rng) -> Image {
    let (width, height) = (channels[0].width, channels[0].height);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for i in 0..width * height {
        for channel in channels {
            let value = channel.values[i];
            let normal: f32 = StandardNormal.sample(rng);
            let deviation = (0.004_f32.powi(2) + 0.00012 * value).sqrt();
            pixels.push((value + deviation * normal).clamp(0.0, 1.0));
        }
    }
    Image { width, height, channels: 3, pixels }
}
