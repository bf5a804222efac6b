//! How a picture was taken, in three numbers, whatever it shows.
//!
//! A detector may forgive a change of light and so not see it; these numbers do. They come from the
//! image as it was read, inside the region of interest, before anything is resized or corrected.

use crate::image::{Image, Roi};

/// Names of the numbers, in the order of [`Conditions::values`].
pub const CONDITION_NAMES: [&str; 3] = ["brightness", "contrast", "sharpness"];

/// Brightness, contrast and sharpness of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Mean luma (ITU-R BT.601), in `[0, 1]`.
    pub brightness: f32,
    /// Standard deviation of the luma.
    pub contrast: f32,
    /// Mean absolute difference of neighbouring pixels' luma, divided by the contrast: it falls when a
    /// picture is blurred and does not change with exposure.
    pub sharpness: f32,
}

impl Conditions {
    /// Measures a picture as it was read, inside `roi` if there is one.
    pub fn of(picture: &Image, roi: Option<&Roi>) -> Self {
        let luma: Vec<f32> = match picture.channels {
            3 => picture.pixels.chunks_exact(3).map(|p| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]).collect(),
            _ => picture.pixels.clone(),
        };
        let (width, height) = (picture.width, picture.height);
        let inside = roi.map(|roi| roi.of_size(width, height));
        let counts = |at: usize| inside.as_ref().is_none_or(|inside| inside[at]);
        let (mut pixels, mut sum, mut squares) = (0usize, 0.0f64, 0.0f64);
        let (mut pairs, mut differences) = (0usize, 0.0f64);
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                if !counts(at) {
                    continue;
                }
                let value = f64::from(luma[at]);
                (pixels, sum, squares) = (pixels + 1, sum + value, squares + value * value);
                let neighbours = [(x + 1 < width).then_some(at + 1), (y + 1 < height).then_some(at + width)];
                for next in neighbours.into_iter().flatten().filter(|&next| counts(next)) {
                    pairs += 1;
                    differences += (value - f64::from(luma[next])).abs();
                }
            }
        }
        let brightness = sum / pixels.max(1) as f64;
        let contrast = (squares / pixels.max(1) as f64 - brightness * brightness).max(0.0).sqrt();
        let difference = differences / pairs.max(1) as f64;
        // Below a thousandth of a grey level there is only rounding.
        let sharpness = if contrast < 4e-6 { 0.0 } else { difference / contrast };
        Self { brightness: brightness as f32, contrast: contrast as f32, sharpness: sharpness as f32 }
    }

    /// The numbers in the order of [`CONDITION_NAMES`].
    pub fn values(&self) -> [f32; 3] {
        [self.brightness, self.contrast, self.sharpness]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripes(low: f32, high: f32) -> Image {
        let pixels = (0..64).map(|i| if i % 8 / 2 % 2 == 0 { low } else { high }).collect();
        Image { width: 8, height: 8, channels: 1, pixels }
    }

    #[test]
    fn stripes_have_the_conditions_that_arithmetic_gives() {
        let Conditions { brightness, contrast, sharpness } = Conditions::of(&stripes(0.2, 0.6), None);
        assert!((brightness - 0.4).abs() < 1e-6 && (contrast - 0.2).abs() < 1e-6);
        // 3 of 7 horizontal pairs a row differ by 0.4, no vertical pair: 8·3·0.4 / (56 + 56) / 0.2.
        assert!((sharpness - 24.0 * 0.4 / 112.0 / 0.2).abs() < 1e-6, "{sharpness}");
    }

    #[test]
    fn exposure_changes_brightness_and_contrast_but_not_sharpness() {
        let (before, after) =
            (Conditions::of(&stripes(0.2, 0.6), None), Conditions::of(&stripes(0.1, 0.3), None));
        assert!((after.brightness - 0.5 * before.brightness).abs() < 1e-6);
        assert!((after.contrast - 0.5 * before.contrast).abs() < 1e-6);
        assert!((after.sharpness - before.sharpness).abs() < 1e-5);
    }

    #[test]
    fn a_uniform_picture_has_no_contrast_and_no_sharpness() {
        let flat = Conditions::of(&Image { width: 9, height: 7, channels: 3, pixels: vec![0.3; 189] }, None);
        assert!((flat.brightness - 0.3).abs() < 1e-6);
        assert_eq!((flat.contrast < 4e-4, flat.sharpness), (true, 0.0));
    }

    #[test]
    fn what_is_outside_the_region_of_interest_does_not_count() {
        let left = vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
        let roi = Roi::from_polygons(&[left], 8).unwrap();
        let mut picture = stripes(0.2, 0.6);
        let before = Conditions::of(&picture, Some(&roi));
        (0..64).filter(|i| i % 8 >= 4).for_each(|i| picture.pixels[i] = 1.0);
        assert_eq!(Conditions::of(&picture, Some(&roi)), before);
        assert_ne!(Conditions::of(&picture, None), Conditions::of(&stripes(0.2, 0.6), None));
    }
}
