//! Normal pictures with something wrong put in, made of normal pictures only.
//!
//! A region of random place, size, elongation and outline gets other content: a turned and scaled
//! piece of another normal picture (CutPaste and its scar, Li et al. 2021; matched to its place, as
//! seamless blending does in NSA, Schlüter et al. 2022), a local warp, a stain, a texture or a
//! blur. What is learned from is not the region but the change that it made: an invisible change
//! is no anomaly.

use std::f32::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Change of the pixel mean, in units of the pixel range, that counts as fully anomalous.
const FULL_CHANGE: f32 = 0.06;

/// A picture to corrupt and the one that foreign content comes from, both
/// `height × width × channels`.
pub(super) struct Canvas<'a> {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) source: &'a [f32],
}

/// An irregular, soft-edged ellipse.
struct Region {
    centre: (f32, f32),
    radii: (f32, f32),
    angle: f32,
    softness: f32,
    wobble: [(f32, f32); 4],
}

/// What a region is filled with.
enum Content {
    /// A piece of the source: turned, scaled, from elsewhere, with this much of the place's own mean.
    Piece { angle: f32, scale: f32, from: (f32, f32), matched: bool },
    /// The picture itself, displaced most in the middle.
    Warp { by: (f32, f32) },
    /// Brightness and colour changed.
    Stain { gain: f32, offset: [f32; 3] },
    /// Waves of random direction and length on the picture.
    Texture { waves: [(f32, f32, f32); 3], strength: f32, tint: [f32; 3] },
    /// The mean of nearby pixels.
    Blur { reach: f32 },
}

/// Corrupts `picture` in place; returns how anomalous each pixel has become, in `[0, 1]`
/// (height × width).
pub(super) fn corrupt(picture: &mut [f32], canvas: &Canvas, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let before = picture.to_vec();
    let grey = before.chunks_exact(canvas.channels).all(|p| p.iter().all(|v| *v == p[0]));
    let regions = [1, 1, 1, 2, 2, 3][rng.random_range(0..6)];
    for _ in 0..regions {
        let region = Region::draw(canvas, rng);
        let content = Content::draw(canvas, &region, grey, rng);
        fill(picture, canvas, &region, &content, rng.random_range(0.4..=1.0f32));
    }
    change(&before, picture, canvas)
}

impl Region {
    fn draw(canvas: &Canvas, rng: &mut ChaCha8Rng) -> Self {
        let edge = canvas.width.min(canvas.height) as f32;
        let centre =
            (rng.random_range(0.0..canvas.width as f32), rng.random_range(0.0..canvas.height as f32));
        let long = edge * log_uniform(0.03, 0.25, rng);
        let short = (long * log_uniform(0.08, 1.0, rng)).max(0.8);
        Self {
            centre,
            radii: (long, short),
            angle: rng.random_range(0.0..TAU),
            softness: rng.random_range(0.05..0.35),
            wobble: std::array::from_fn(|_| (rng.random_range(0.0..0.22), rng.random_range(0.0..TAU))),
        }
    }

    /// Membership in `[0, 1]` of a pixel.
    fn at(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let (sin, cos) = self.angle.sin_cos();
        let (u, v) = ((dx * cos + dy * sin) / self.radii.0, (dy * cos - dx * sin) / self.radii.1);
        let distance = (u * u + v * v).sqrt();
        if distance > 2.0 {
            return 0.0;
        }
        let around = v.atan2(u);
        let outline =
            self.wobble.iter().zip(1..).fold(1.0, |sum, (&(height, phase), wave)| {
                sum + height * (wave as f32 * around + phase).sin()
            });
        ((outline - distance) / self.softness + 0.5).clamp(0.0, 1.0)
    }

    /// The rows and columns where membership can be positive.
    fn bounds(&self, canvas: &Canvas) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let reach = 2.0 * self.radii.0 + 1.0;
        let range = |centre: f32, length: usize| {
            let first = (centre - reach).max(0.0) as usize;
            first..((centre + reach).max(0.0) as usize + 1).min(length)
        };
        (range(self.centre.1, canvas.height), range(self.centre.0, canvas.width))
    }
}

impl Content {
    /// Draws a content; grey pictures get no colour.
    fn draw(canvas: &Canvas, region: &Region, grey: bool, rng: &mut ChaCha8Rng) -> Self {
        let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        let mut tint: [f32; 3] = std::array::from_fn(|_| rng.random_range(-0.12..0.12));
        if grey {
            tint = [tint[0]; 3];
        }
        match rng.random_range(0..10) {
            0..=4 => Self::Piece {
                angle: rng.random_range(0.0..TAU),
                scale: log_uniform(0.6, 1.6, rng),
                from: (
                    rng.random_range(0.0..canvas.width as f32),
                    rng.random_range(0.0..canvas.height as f32),
                ),
                matched: rng.random_bool(0.4),
            },
            5 => {
                let (angle, reach) =
                    (rng.random_range(0.0..TAU), region.radii.0 * rng.random_range(0.2..0.6));
                Self::Warp { by: (reach * angle.cos(), reach * angle.sin()) }
            }
            6 | 7 => {
                let common = sign * rng.random_range(0.04..0.35);
                Self::Stain { gain: rng.random_range(0.6..1.3), offset: tint.map(|t| common + 0.5 * t) }
            }
            8 => Self::Texture {
                waves: std::array::from_fn(|_| {
                    let (angle, length) = (rng.random_range(0.0..TAU), log_uniform(2.5, 16.0, rng));
                    (TAU / length * angle.cos(), TAU / length * angle.sin(), rng.random_range(0.0..TAU))
                }),
                strength: rng.random_range(0.05..0.3),
                tint,
            },
            _ => Self::Blur { reach: rng.random_range(1.5..5.0) },
        }
    }
}

/// Blends the content into the region.
fn fill(picture: &mut [f32], canvas: &Canvas, region: &Region, content: &Content, opacity: f32) {
    let before = picture.to_vec();
    let (rows, columns) = region.bounds(canvas);
    let channels = canvas.channels;
    let mut values = Vec::new();
    let mut difference = [0f32; 3];
    let mut weight = 0f32;
    for y in rows.clone() {
        for x in columns.clone() {
            let inside = region.at(x as f32, y as f32);
            if inside > 0.0 {
                let new = render(&before, canvas, region, content, x as f32, y as f32);
                let at = (y * canvas.width + x) * channels;
                for c in 0..channels {
                    difference[c] += inside * (before[at + c] - new[c]);
                }
                weight += inside;
                values.push((at, inside, new));
            }
        }
    }
    let matched = matches!(content, Content::Piece { matched: true, .. });
    let shift = difference.map(|d| if matched && weight > 0.0 { d / weight } else { 0.0 });
    for (at, inside, new) in values {
        let alpha = opacity * inside;
        for c in 0..channels {
            let value = &mut picture[at + c];
            *value = (*value + alpha * (new[c] + shift[c] - *value)).clamp(0.0, 1.0);
        }
    }
}

/// The content at a pixel; channels beyond the picture's stay 0.
fn render(before: &[f32], canvas: &Canvas, region: &Region, content: &Content, x: f32, y: f32) -> [f32; 3] {
    let here = || sample(before, canvas, x, y);
    let (dx, dy) = (x - region.centre.0, y - region.centre.1);
    match *content {
        Content::Piece { angle, scale, from, .. } => {
            let (sin, cos) = angle.sin_cos();
            let (u, v) = (scale * (dx * cos + dy * sin), scale * (dy * cos - dx * sin));
            sample(canvas.source, canvas, from.0 + u, from.1 + v)
        }
        Content::Warp { by } => {
            let strength = region.at(x, y);
            sample(before, canvas, x + by.0 * strength, y + by.1 * strength)
        }
        Content::Stain { gain, offset } => {
            let here = here();
            std::array::from_fn(|c| gain * (here[c] - 0.5) + 0.5 + offset[c])
        }
        Content::Texture { waves, strength, tint } => {
            let height: f32 = waves.iter().map(|&(kx, ky, phase)| (kx * x + ky * y + phase).sin()).sum();
            let here = here();
            std::array::from_fn(|c| here[c] + strength * height / 1.7 + tint[c])
        }
        Content::Blur { reach } => {
            let mut sum = [0f32; 3];
            for (u, v) in [
                (-1., -1.),
                (0., -1.),
                (1., -1.),
                (-1., 0.),
                (0., 0.),
                (1., 0.),
                (-1., 1.),
                (0., 1.),
                (1., 1.),
            ] {
                let near = sample(before, canvas, x + reach * u, y + reach * v);
                (0..3).for_each(|c| sum[c] += near[c] / 9.0);
            }
            sum
        }
    }
}

/// Bilinear sample; outside, the border is repeated.
fn sample(picture: &[f32], canvas: &Canvas, x: f32, y: f32) -> [f32; 3] {
    let x = x.clamp(0.0, (canvas.width - 1) as f32);
    let y = y.clamp(0.0, (canvas.height - 1) as f32);
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(canvas.width - 1), (top + 1).min(canvas.height - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let at = |x: usize, y: usize, c: usize| picture[(y * canvas.width + x) * canvas.channels + c];
    let mut out = [0f32; 3];
    for (c, out) in out.iter_mut().enumerate().take(canvas.channels) {
        let above = at(left, top, c) * (1.0 - fx) + at(right, top, c) * fx;
        let below = at(left, bottom, c) * (1.0 - fx) + at(right, bottom, c) * fx;
        *out = above * (1.0 - fy) + below * fy;
    }
    out
}

/// How much each pixel and its neighbours have changed, saturating at [`FULL_CHANGE`].
fn change(before: &[f32], after: &[f32], canvas: &Canvas) -> Vec<f32> {
    let (width, height, channels) = (canvas.width, canvas.height, canvas.channels);
    let pairs = before.chunks_exact(channels).zip(after.chunks_exact(channels));
    let difference: Vec<f32> = pairs
        .map(|(b, a)| b.iter().zip(a).map(|(b, a)| (a - b).abs()).sum::<f32>() / channels as f32)
        .collect();
    let across: Vec<f32> = difference.chunks_exact(width).flat_map(means_of_neighbours).collect();
    let rows: Vec<&[f32]> = across.chunks_exact(width).collect();
    let both = (0..height).flat_map(|y| {
        let near = &rows[y.saturating_sub(1)..(y + 2).min(height)];
        (0..width).map(move |x| near.iter().map(|row| row[x]).sum::<f32>() / near.len() as f32)
    });
    both.map(|d| (d / FULL_CHANGE).min(1.0)).collect()
}

/// The mean of each value and those beside it.
fn means_of_neighbours(row: &[f32]) -> impl Iterator<Item = f32> {
    (0..row.len()).map(|x| {
        let near = &row[x.saturating_sub(1)..(x + 2).min(row.len())];
        near.iter().sum::<f32>() / near.len() as f32
    })
}

fn log_uniform(low: f32, high: f32, rng: &mut ChaCha8Rng) -> f32 {
    (rng.random_range(low.ln()..high.ln())).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn ramp(edge: usize, channels: usize) -> Vec<f32> {
        let at = |i: usize| (i / channels % edge) as f32 / edge as f32;
        (0..edge * edge * channels).map(at).collect()
    }

    #[test]
    fn pixels_far_from_any_change_are_labelled_normal_and_unchanged() {
        let (picture, source) = (ramp(64, 3), vec![0.9f32; 64 * 64 * 3]);
        let canvas = Canvas { height: 64, width: 64, channels: 3, source: &source };
        for seed in 0..50 {
            let mut corrupted = picture.clone();
            let label = corrupt(&mut corrupted, &canvas, &mut ChaCha8Rng::seed_from_u64(seed));
            assert!(corrupted.iter().all(|v| (0.0..=1.0).contains(v)));
            for (i, &label) in label.iter().enumerate() {
                assert!((0.0..=1.0).contains(&label));
                if label == 0.0 {
                    assert_eq!(corrupted[3 * i..3 * i + 3], picture[3 * i..3 * i + 3]);
                }
            }
        }
    }

    #[test]
    fn most_corruptions_of_a_picture_with_structure_are_visible() {
        let (picture, source) = (ramp(64, 1), vec![0.9f32; 64 * 64]);
        let canvas = Canvas { height: 64, width: 64, channels: 1, source: &source };
        let visible = (0..100)
            .filter(|&seed| {
                let label = corrupt(&mut picture.clone(), &canvas, &mut ChaCha8Rng::seed_from_u64(seed));
                label.iter().any(|&l| l > 0.5)
            })
            .count();
        assert!(visible > 70, "{visible}");
    }

    #[test]
    fn an_unchanged_picture_has_no_anomaly() {
        let picture = ramp(16, 1);
        let canvas = Canvas { height: 16, width: 16, channels: 1, source: &picture };
        assert!(change(&picture, &picture, &canvas).iter().all(|&l| l == 0.0));
    }
}
