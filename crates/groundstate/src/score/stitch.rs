//! The reading of a picture that was evaluated tile by tile.

use super::reading::{GRADIENT_BLOCK, GRADIENT_BLUR, GradientReading, Reading};
use crate::image::Map;
use crate::model::Wanted;

/// What the tiles of one picture have said so far.
pub(crate) struct Stitch {
    width: usize,
    height: usize,
    stride: usize,
    channels: usize,
    local: Map,
    free: bool,
    squared: Option<Map>,
    sum_absolute: f64,
    sum_squared: f64,
}

/// A window's local energies and, if it was computed, its gradient.
pub(crate) struct Window {
    /// First column and row in pixels of the picture.
    pub(crate) at: (usize, usize),
    /// Columns in pixels.
    pub(crate) width: usize,
    /// Local energies on their grid.
    pub(crate) local: Map,
    /// Gradient at its pixels.
    pub(crate) gradient: Option<Vec<f32>>,
}

impl Stitch {
    /// A picture of `width` × `height` pixels, `channels` values of the gradient each, before its first
    /// tile; the grid of local energies has `stride` pixels a step.
    pub(crate) fn new(width: usize, height: usize, channels: usize, stride: usize, wanted: Wanted) -> Self {
        let blank = |step: usize| Map::filled(width.div_ceil(step), height.div_ceil(step), 0.0);
        Self {
            width,
            height,
            stride,
            channels,
            local: blank(stride),
            free: wanted.free,
            squared: wanted.gradient.then(|| blank(GRADIENT_BLOCK)),
            sum_absolute: 0.0,
            sum_squared: 0.0,
        }
    }

    /// Adds what is kept of a window: columns and rows from `first` up to `end`, in pixels of the picture.
    pub(crate) fn add(&mut self, window: &Window, first: (usize, usize), end: (usize, usize)) {
        let stride = self.stride;
        let cells = |from: usize, to: usize| from / stride..to.div_ceil(stride);
        for y in cells(first.1, end.1) {
            let from = (y - window.at.1 / stride) * window.local.width;
            for x in cells(first.0, end.0) {
                self.local.values[y * self.local.width + x] =
                    window.local.values[from + x - window.at.0 / stride];
            }
        }
        let (Some(squared), Some(gradient)) = (&mut self.squared, &window.gradient) else { return };
        for y in first.1..end.1 {
            let row = &gradient[(y - window.at.1) * window.width * self.channels..];
            let sums = &mut squared.values[y / GRADIENT_BLOCK * squared.width..][..squared.width];
            for x in first.0..end.0 {
                let pixel = &row[(x - window.at.0) * self.channels..][..self.channels];
                let square = pixel.iter().map(|g| g * g).sum::<f32>();
                sums[x / GRADIENT_BLOCK] += square;
                self.sum_squared += f64::from(square);
                self.sum_absolute += pixel.iter().map(|g| f64::from(g.abs())).sum::<f64>();
            }
        }
    }

    /// The reading of the whole picture.
    pub(crate) fn finish(self) -> Reading {
        let count = (self.width * self.height * self.channels) as f64;
        let gradient = self.squared.map(|mut squared| {
            let scale = 1.0 / (GRADIENT_BLOCK * GRADIENT_BLOCK) as f32;
            squared.values.iter_mut().for_each(|v| *v *= scale);
            GradientReading {
                squared: squared.gaussian_blur(GRADIENT_BLUR),
                mean_absolute: self.sum_absolute / count,
                root_mean_square: (self.sum_squared / count).sqrt(),
            }
        });
        // Energies of pictures that keep their size know no displacements.
        Reading { free: self.free.then(|| self.local.clone()), local: self.local, gradient }
    }
}
