//! What maps and scores are made of: an evaluated picture without its pixels.

use crate::image::Map;
use crate::model::Evaluated;

/// Edge in pixels of the blocks on which the gradient map is kept.
pub(super) const GRADIENT_BLOCK: usize = 4;
/// Blur of the squared gradient in blocks (4 px each) before the logarithm.
pub(super) const GRADIENT_BLUR: f32 = 1.0;

/// What is kept of an energy's answer to one picture: some hundredth of its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Local energies on the energy's own grid.
    pub(super) local: Map,
    /// What the gradient at the pixels comes to, if it was computed.
    pub(super) gradient: Option<GradientReading>,
}

/// A gradient at the pixels, summarised.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GradientReading {
    /// Sum over channels of the squared gradient, averaged over blocks and blurred.
    pub(super) squared: Map,
    /// Mean absolute value.
    pub(super) mean_absolute: f64,
    /// Root mean square.
    pub(super) root_mean_square: f64,
}

impl Reading {
    /// Local energies alone.
    pub fn of_energies(local: Map) -> Self {
        Self { local, gradient: None }
    }

    /// Local energies and gradient of a picture of `width` × `height` pixels.
    pub fn with_gradient(evaluated: Evaluated, width: usize, height: usize) -> Self {
        let gradient = &evaluated.gradient;
        let count = gradient.len() as f64;
        let sum = |of: fn(f64) -> f64| gradient.iter().map(|&g| of(f64::from(g))).sum::<f64>();
        let gradient = GradientReading {
            squared: squared_gradient(gradient, width, height),
            mean_absolute: sum(f64::abs) / count,
            root_mean_square: (sum(|g| g * g) / count).sqrt(),
        };
        Self { local: evaluated.local, gradient: Some(gradient) }
    }

    /// The squared gradient on its blocks.
    ///
    /// # Panics
    /// Without gradient.
    pub(super) fn squared_gradient(&self) -> &Map {
        &self.gradient.as_ref().expect("statistics are taken of readings with gradient").squared
    }
}

/// Sum over channels of the squared gradient, averaged over blocks and blurred.
fn squared_gradient(gradient: &[f32], width: usize, height: usize) -> Map {
    let channels = gradient.len() / (width * height);
    let (columns, rows) = (width.div_ceil(GRADIENT_BLOCK), height.div_ceil(GRADIENT_BLOCK));
    let mut map = Map::filled(columns, rows, 0.0);
    for (y, row) in gradient.chunks_exact(width * channels).enumerate() {
        let sums = &mut map.values[y / GRADIENT_BLOCK * columns..][..columns];
        for (sum, block) in sums.iter_mut().zip(row.chunks(GRADIENT_BLOCK * channels)) {
            *sum += block.iter().map(|g| g * g).sum::<f32>();
        }
    }
    let scale = 1.0 / (GRADIENT_BLOCK * GRADIENT_BLOCK) as f32;
    map.values.iter_mut().for_each(|v| *v *= scale);
    map.gaussian_blur(GRADIENT_BLUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_gradient_has_its_square_everywhere() {
        let evaluated = Evaluated { local: Map::filled(3, 2, 1.0), gradient: vec![-0.5; 12 * 8 * 3] };
        let reading = Reading::with_gradient(evaluated, 12, 8);
        assert_eq!((reading.squared_gradient().width, reading.squared_gradient().height), (3, 2));
        assert!(reading.squared_gradient().values.iter().all(|v| (v - 0.75).abs() < 1e-6));
        let gradient = reading.gradient.unwrap();
        assert_eq!((gradient.mean_absolute, gradient.root_mean_square), (0.5, 0.5));
    }
}
