//! What is made of the values of pixels once their light is taken out.
//!
//! Where differences are a matter of how much light a place gets and reflects, contrast is in proportion to brightness
//! and logarithms make it the same everywhere; where they are noise, or a pattern whose dark places have as much contrast
//! as its bright ones, logarithms only blow up what is dark. Normal pictures show which it is.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::light::weighted_median;
use super::{Image, Light};

/// What is made of the value of a pixel under the light of the mean normal picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Nothing.
    #[default]
    Linear,
    /// ln(1 + 5 v) / ln 6 of a value v, which leaves 0 and 1 where they are. Light multiplies what a surface reflects, so
    /// differences of logarithms stay what they are when it changes; those of values far below 0.2 grow in proportion,
    /// so the noise of dark places is not blown up.
    Logarithmic,
}

/// Edge in pixels of the blocks whose contrast is compared with their brightness.
const BLOCK_PX: usize = 8;
/// Added to the spread of a block: half a step of 8 bits.
const SPREAD_FLOOR: f32 = 2e-3;
/// Added to the mean of a block.
const MEAN_FLOOR: f32 = 1e-3;
/// Half-way between contrast that does not depend on brightness and contrast in proportion to it.
const LEAST_GROWTH: f32 = 0.5;
/// Where brightness or contrast varies by less than this share, it is covered, burnt out or rounding, and tells nothing.
const LEAST_VARIATION: f32 = 1e-3;

impl Tone {
    /// What is added to values before their logarithm is taken.
    const DARK: f32 = 0.2;

    /// The tone that suits normal pictures of one size: logarithmic where contrast grows with brightness, at least with its
    /// square root.
    ///
    /// Compared are blocks of 8 × 8 px at one position in different pictures, under one light: the growth is the slope of
    /// the logarithm of their spread over that of their mean, of which the median over all positions decides, so that
    /// the outline of a part that moves does not. A position counts by how much its brightness varies.
    ///
    /// # Panics
    /// If there is no picture.
    pub fn of(pictures: &[Image]) -> Self {
        let grows = contrast_growth(pictures).is_some_and(|growth| growth >= LEAST_GROWTH);
        if grows { Self::Logarithmic } else { Self::Linear }
    }

    /// Divides the gain of the light out of values, then gives each its tone.
    pub(super) fn relight(self, values: &mut [f32], gain: f32) {
        values.iter_mut().for_each(|value| *value /= gain);
        match self {
            Self::Linear => {}
            Self::Logarithmic => {
                let scale = (1.0 + 1.0 / Self::DARK).ln().recip();
                values.iter_mut().for_each(|value| *value = scale * (1.0 + *value / Self::DARK).ln());
            }
        }
    }
}

/// How fast contrast grows with brightness; nothing where they do not vary.
fn contrast_growth(pictures: &[Image]) -> Option<f32> {
    let light = Light::fit(pictures);
    let blocks: Vec<Vec<[f32; 2]>> =
        pictures.par_iter().map(|picture| blocks(picture, light.gain(picture))).collect();
    let growth = |position: usize| {
        let [means, spreads] = [0, 1].map(|k| centred(blocks.iter().map(|picture| picture[position][k])));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (of_means, of_spreads) = (product(&means, &means), product(&spreads, &spreads));
        let tells = of_means.min(of_spreads) > pictures.len() as f32 * LEAST_VARIATION.powi(2);
        tells.then(|| (product(&means, &spreads) / of_means, of_means.sqrt()))
    };
    weighted_median((0..blocks[0].len()).filter_map(growth).collect())
}

/// Values less their mean.
fn centred(values: impl ExactSizeIterator<Item = f32> + Clone) -> Vec<f32> {
    let mean = values.clone().sum::<f32>() / values.len() as f32;
    values.map(|value| value - mean).collect()
}

/// The logarithms of mean and spread of each block of a picture that is lit `gain` times as the others.
fn blocks(picture: &Image, gain: f32) -> Vec<[f32; 2]> {
    let (width, height, values) = (picture.width, picture.height, picture.channel_means());
    let across = width / BLOCK_PX;
    let corners = (0..height / BLOCK_PX).flat_map(|y| (0..across).map(move |x| (y * width + x) * BLOCK_PX));
    let block = |corner: usize| {
        let rows = (0..BLOCK_PX).map(|y| &values[corner + y * width..][..BLOCK_PX]);
        let count = (BLOCK_PX * BLOCK_PX) as f32;
        let mean = rows.clone().flatten().sum::<f32>() / count;
        let squares = rows.flatten().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
        [mean / gain + MEAN_FLOOR, squares.sqrt() / gain + SPREAD_FLOOR].map(f32::ln)
    };
    corners.map(block).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Pictures whose brightness wanders from place to place, with contrast by the brightness.
    fn pictures(contrast: impl Fn(f32) -> f32) -> Vec<Image> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let picture = |_| {
            let phase: f32 = rng.random_range(0.0..6.0);
            let value = |i: usize| {
                let brightness = 0.45 + 0.3 * ((i % 64 + i / 64) as f32 / 20.0 + phase).sin();
                brightness + contrast(brightness) * rng.random_range(-1.0..1.0f32)
            };
            Image { width: 64, height: 64, channels: 1, pixels: (0..64 * 64).map(value).collect() }
        };
        (0..12).map(picture).collect()
    }

    #[test]
    fn logarithms_suit_contrast_in_proportion_to_brightness_and_no_other() {
        assert_eq!(Tone::of(&pictures(|brightness| 0.2 * brightness)), Tone::Logarithmic);
        assert_eq!(Tone::of(&pictures(|_| 0.1)), Tone::Linear);
        assert_eq!(Tone::of(&pictures(|brightness| 0.2 * (1.0 - brightness))), Tone::Linear);
    }

    #[test]
    fn what_is_covered_has_no_say() {
        let mut covered = pictures(|brightness| 0.2 * brightness);
        for (picture, light) in covered.iter_mut().zip([0.8, 1.0, 1.25].into_iter().cycle()) {
            picture.pixels.iter_mut().for_each(|v| *v *= light);
            picture.pixels[..48 * 64].fill(0.5);
        }
        assert_eq!(Tone::of(&covered), Tone::Logarithmic);
    }

    #[test]
    fn pictures_that_tell_nothing_stay_as_they_are() {
        let flat = |edge: usize, value: f32| Image {
            width: edge,
            height: edge,
            channels: 3,
            pixels: vec![value; edge * edge * 3],
        };
        for (edge, value) in [(64, 0.5), (64, 0.0), (16, 1.0), (5, 0.3)] {
            assert_eq!(Tone::of(&vec![flat(edge, value); 7]), Tone::Linear);
        }
    }

    #[test]
    fn logarithms_are_taken_of_values_without_their_light() {
        let gain = 1.25f32;
        let lit = [0.0, 0.01, 0.2, 0.5, 1.0, 1.25f32];
        for tone in [Tone::Linear, Tone::Logarithmic] {
            let mut found = lit;
            tone.relight(&mut found, gain);
            for (found, lit) in found.into_iter().zip(lit) {
                let value = f64::from(lit / gain);
                let expected = match tone {
                    Tone::Linear => value,
                    Tone::Logarithmic => (1.0 + 5.0 * value).ln() / 6f64.ln(),
                };
                assert!((f64::from(found) - expected).abs() < 1e-6, "{tone:?}: {found} {expected}");
            }
        }
    }
}
