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
    /// Local free energies on the same grid, if they were computed.
    pub(super) free: Option<Map>,
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
    /// Keeps what was evaluated of a picture of `width` × `height` pixels.
    pub fn new(evaluated: Evaluated, width: usize, height: usize) -> Self {
        let Evaluated { local, free, gradient } = evaluated;
        Self {
            local,
            free,
            gradient: gradient.map(|gradient| GradientReading::new(&gradient, width, height)),
        }
    }

    /// The squared gradient on its blocks.
    ///
    /// # Panics
    /// Without gradient.
    pub(super) fn squared_gradient(&self) -> &Map {
        &self.gradient.as_ref().expect("statistics are taken of readings with gradient").squared
    }
}

impl GradientReading {
    fn new(gradient: &[f32], width: usize, height: usize) -> Self {
        let count = gradient.len() as f64;
        let sum = |of: fn(f64) -> f64| gradient.iter().map(|&g| of(f64::from(g))).sum::<f64>();
        Self {
            squared: squared_gradient(gradient, width, height),
            mean_absolute: sum(f64::abs) / count,
            root_mean_square: (sum(|g| g * g) / count).sqrt(),
        }
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
        let gradient = Some(vec![-0.5; 12 * 8 * 3]);
        let evaluated = Evaluated { local: Map::filled(3, 2, 1.0), free: None, gradient };
        let reading = Reading::new(evaluated, 12, 8);
        assert_eq!((reading.squared_gradient().width, reading.squared_gradient().height), (3, 2));
        assert!(reading.squared_gradient().values.iter().all(|v| (v - 0.75).abs() < 1e-6));
        let gradient = reading.gradient.unwrap();
        assert_eq!((gradient.mean_absolute, gradient.root_mean_square), (0.5, 0.5));
    }
}
