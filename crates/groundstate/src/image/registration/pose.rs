//! A turn and a shift of a square picture.

use serde::{Deserialize, Serialize};

use crate::image::{Image, Map};

/// Where the template's part lies in a picture: the point p of the template is the point
/// R(angle) p + shift of the picture, both measured from the centre in shares of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Clockwise turn in radians (the vertical axis points down).
    pub angle: f32,
    /// Shift to the right, in shares of the edge.
    pub right: f32,
    /// Shift down, in shares of the edge.
    pub down: f32,
}

/// An affine map of pixel coordinates: (x, y) → (a x + b y + c, d x + e y + f).
struct Affine([f32; 6]);

impl Pose {
    /// The template's own pose.
    pub const IDENTITY: Self = Self { angle: 0.0, right: 0.0, down: 0.0 };

    /// The point of the picture, in shares of its edges from the top left, that a point of the
    /// template is.
    pub fn place(&self, x: f32, y: f32) -> [f32; 2] {
        let (sin, cos) = self.angle.sin_cos();
        let (x, y) = (x - 0.5, y - 0.5);
        [cos * x - sin * y + self.right + 0.5, sin * x + cos * y + self.down + 0.5]
    }

    /// The picture turned and shifted so that the part lies as in the template; its border is
    /// repeated outwards.
    pub fn align(&self, picture: &Image) -> Image {
        if *self == Self::IDENTITY {
            return picture.clone();
        }
        let Image { width, height, channels, ref pixels } = *picture;
        let mut aligned = Vec::with_capacity(pixels.len());
        self.forward(width).sample(width, height, |corners, weights| {
            for c in 0..channels {
                aligned.push(mean(&pixels[c..], channels, corners, weights));
            }
        });
        Image { pixels: aligned, ..*picture }
    }

    /// As [`Pose::align`], for a map of the whole picture on any square grid.
    pub fn align_map(&self, map: &Map) -> Map {
        resample(map, &self.forward(map.width), *self == Self::IDENTITY)
    }

    /// A map of the aligned picture, brought back to the picture.
    pub fn restore_map(&self, map: &Map) -> Map {
        resample(map, &self.backward(map.width), *self == Self::IDENTITY)
    }

    fn forward(&self, edge: usize) -> Affine {
        let (sin, cos) = self.angle.sin_cos();
        let (edge, centre) = (edge as f32, (edge as f32 - 1.0) / 2.0);
        let shift = |turned: f32, by: f32| centre - turned * centre + by * edge;
        Affine([cos, -sin, shift(cos - sin, self.right), sin, cos, shift(sin + cos, self.down)])
    }

    fn backward(&self, edge: usize) -> Affine {
        let (sin, cos) = self.angle.sin_cos();
        let (right, down) = (-(cos * self.right + sin * self.down), sin * self.right - cos * self.down);
        Self { angle: -self.angle, right, down }.forward(edge)
    }
}

fn resample(map: &Map, transform: &Affine, identity: bool) -> Map {
    if identity {
        return map.clone();
    }
    let mut values = Vec::with_capacity(map.values.len());
    transform.sample(map.width, map.height, |corners, weights| {
        values.push(mean(&map.values, 1, corners, weights));
    });
    Map { values, ..*map }
}

/// Weighted mean of four of the values that are `step` apart.
fn mean(values: &[f32], step: usize, [a, b, c, d]: [usize; 4], weights: [f32; 4]) -> f32 {
    let at = |i: usize| values[i * step];
    at(a) * weights[0] + at(b) * weights[1] + at(c) * weights[2] + at(d) * weights[3]
}

impl Affine {
    /// Calls `each`, pixel by pixel, with the four pixels that the pixel's image lies between and
    /// their bilinear weights; outside, border pixels are repeated.
    fn sample(&self, width: usize, height: usize, mut each: impl FnMut([usize; 4], [f32; 4])) {
        let [a, b, c, d, e, f] = self.0;
        let (right, bottom) = ((width - 1) as f32, (height - 1) as f32);
        for y in 0..height {
            for x in 0..width {
                let (x, y) = (x as f32, y as f32);
                let from_x = (a * x + b * y + c).clamp(0.0, right);
                let from_y = (d * x + e * y + f).clamp(0.0, bottom);
                let (left, top) = (from_x as usize, from_y as usize);
                let (across, along) = (from_x - left as f32, from_y - top as f32);
                let (next, below) = (usize::from(left + 1 < width), usize::from(top + 1 < height) * width);
                let at = top * width + left;
                each(
                    [at, at + next, at + below, at + below + next],
                    [
                        (1.0 - across) * (1.0 - along),
                        across * (1.0 - along),
                        (1.0 - across) * along,
                        across * along,
                    ],
                );
            }
        }
    }
}
