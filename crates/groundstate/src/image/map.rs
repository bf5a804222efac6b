//! What scoring does with maps: blur, resize, maximum.

use super::Map;
use super::resample::{Rectangle, bilinear};

impl Map {
    /// A map with every value equal to `value`.
    pub fn filled(width: usize, height: usize, value: f32) -> Self {
        Self { width, height, values: vec![value; width * height] }
    }

    /// The largest value; −∞ if every value is NaN.
    pub fn max(&self) -> f32 {
        self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// Resamples to `width` × `height` (each at least 1) with pixel centres at half-integers, so
    /// that neither map is shifted against the other.
    ///
    /// Enlarging interpolates; reducing takes samples without a low-pass filter.
    #[must_use]
    pub fn resize_bilinear(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let whole = Rectangle { left: 0.0, top: 0.0, width: self.width as f64, height: self.height as f64 };
        bilinear(self, whole, width, height)
    }

    /// Convolves with a Gaussian of standard deviation `sigma_px`, cut off at 4 σ.
    ///
    /// The border is mirrored with the edge pixel repeated (c b a | a b c), which keeps the mean.
    /// A `sigma_px` that is not finite and positive leaves the map as it is.
    #[must_use]
    pub fn gaussian_blur(&self, sigma_px: f32) -> Self {
        if !(sigma_px.is_finite() && sigma_px > 0.0) {
            return self.clone();
        }
        let rows = blur_rows(self, &gaussian_kernel(sigma_px, self.width));
        blur_columns(&rows, &gaussian_kernel(sigma_px, self.height))
    }
}

/// Weights at −radius..=radius that sum to 1, for an axis of `len` pixels.
fn gaussian_kernel(sigma: f32, len: usize) -> Vec<f32> {
    // Mirrored, the axis has period 2 len. At σ = 2 len the wrapped Gaussian is flat to
    // exp(−2π² (σ / 2 len)²) = 3e-9, so a wider one changes nothing.
    let sigma = f64::from(sigma).min(2.0 * len as f64);
    let radius = (4.0 * sigma).ceil() as usize;
    let offset = |i: usize| (i as f64 - radius as f64) / sigma;
    let weights: Vec<f64> = (0..=2 * radius).map(|i| (-0.5 * offset(i).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / sum) as f32).collect()
}

/// The index that `position` falls on when the axis of length `len` is mirrored at both ends.
fn mirrored(position: isize, len: usize) -> usize {
    let period = 2 * len as isize;
    let at = position.rem_euclid(period) as usize;
    if at < len { at } else { 2 * len - 1 - at }
}

fn blur_rows(map: &Map, kernel: &[f32]) -> Map {
    let radius = kernel.len() / 2;
    let mut values = vec![0.0_f32; map.values.len()];
    let sources: Vec<usize> =
        (0..map.width + 2 * radius).map(|i| mirrored(i as isize - radius as isize, map.width)).collect();
    let mut padded = vec![0.0_f32; sources.len()];
    for (row, out) in map.values.chunks_exact(map.width).zip(values.chunks_exact_mut(map.width)) {
        for (value, &source) in padded.iter_mut().zip(&sources) {
            *value = row[source];
        }
        // Tap by tap over the whole row: the inner loop is a plain multiply-add over slices.
        for (tap, &weight) in kernel.iter().enumerate() {
            for (sum, &value) in out.iter_mut().zip(&padded[tap..]) {
                *sum += weight * value;
            }
        }
    }
    Map { values, ..*map }
}

fn blur_columns(map: &Map, kernel: &[f32]) -> Map {
    let radius = kernel.len() as isize / 2;
    let mut values = vec![0.0_f32; map.values.len()];
    for (y, out) in values.chunks_exact_mut(map.width).enumerate() {
        for (tap, &weight) in kernel.iter().enumerate() {
            let source = mirrored(y as isize + tap as isize - radius, map.height);
            for (sum, &value) in out.iter_mut().zip(&map.values[source * map.width..]) {
                *sum += weight * value;
            }
        }
    }
    Map { values, ..*map }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_map() -> impl Strategy<Value = Map> {
        (1_usize..20, 1_usize..20).prop_flat_map(|(width, height)| {
            prop::collection::vec(-5.0_f32..5.0, width * height).prop_map(move |values| Map {
                width,
                height,
                values,
            })
        })
    }

    fn mean(map: &Map) -> f64 {
        map.values.iter().map(|&v| f64::from(v)).sum::<f64>() / map.values.len() as f64
    }

    /// The double sum of the definition, without separation or padding.
    fn plain_blur(map: &Map, sigma: f64) -> Vec<f64> {
        let radius = (4.0 * sigma).ceil() as isize;
        let weight = |d: isize| (-0.5 * (d as f64 / sigma).powi(2)).exp();
        let norm: f64 = (-radius..=radius).map(weight).sum::<f64>().powi(2);
        let mut out = Vec::new();
        for y in 0..map.height as isize {
            for x in 0..map.width as isize {
                let mut sum = 0.0;
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let at = mirrored(y + dy, map.height) * map.width + mirrored(x + dx, map.width);
                        sum += weight(dx) * weight(dy) * f64::from(map.values[at]);
                    }
                }
                out.push(sum / norm);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn blurring_keeps_the_mean(map in any_map(), sigma in 0.2_f32..6.0) {
            // Mirroring makes the row sums of the convolution matrix its column sums.
            prop_assert!((mean(&map.gaussian_blur(sigma)) - mean(&map)).abs() < 1e-5);
        }

        #[test]
        fn blurring_equals_the_double_sum_of_its_definition(map in any_map(), sigma in 0.3_f32..3.0) {
            let fast = map.gaussian_blur(sigma);
            for (a, b) in fast.values.iter().zip(plain_blur(&map, f64::from(sigma))) {
                prop_assert!((f64::from(*a) - b).abs() < 1e-4);
            }
        }

        #[test]
        fn resizing_stays_within_the_range_of_the_values(map in any_map(), w in 1_usize..40, h in 1_usize..40) {
            let min = map.values.iter().copied().fold(f32::INFINITY, f32::min);
            let resized = map.resize_bilinear(w, h);
            prop_assert_eq!(resized.values.len(), w * h);
            prop_assert!(resized.values.iter().all(|&v| v >= min - 1e-5 && v <= map.max() + 1e-5));
        }
    }

    #[test]
    fn two_blurs_are_one_blur_with_added_variances() {
        let mut map = Map::filled(65, 65, 0.0);
        map.values[32 * 65 + 32] = 1.0;
        let twice = map.gaussian_blur(3.0).gaussian_blur(4.0);
        let once = map.gaussian_blur(5.0);
        // Both kernels are cut at 4 σ, where the Gaussian is e⁻⁸ = 3e-4 of its peak of 6e-3.
        for (a, b) in twice.values.iter().zip(&once.values) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn resizing_a_linear_ramp_keeps_it_linear_away_from_the_border() {
        let ramp = Map { width: 8, height: 1, values: (0..8).map(|x| x as f32 + 0.5).collect() };
        let wide = ramp.resize_bilinear(32, 1);
        for x in 2..30 {
            assert!((wide.values[x] - (x as f32 + 0.5) / 4.0).abs() < 1e-5);
        }
    }

    #[test]
    fn an_absurd_blur_leaves_the_mean_or_the_map() {
        let map = Map { width: 3, height: 2, values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        for sigma in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(map.gaussian_blur(sigma), map);
        }
        for value in map.gaussian_blur(1e30).values {
            // Cutting the kernel off at 4 σ leaves a step of exp(−8) = 3e-4 of its height.
            assert!((value - 3.5).abs() < 1e-3);
        }
    }
}
