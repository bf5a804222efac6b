//! How bright the light was: one gain per picture, taken out before anything looks at it.
//!
//! A picture under other light, or with another exposure, is to first order the same picture times a
//! gain. Like the pose of a part, the gain says nothing about defects: it is found against the mean
//! normal picture, as the weighted median of the ratios of their brightnesses, and divided out. A
//! place counts the more the steadier its ratio was over the normal pictures, so that a plain
//! background leads and a part of changing colour follows; a defect that has less than half of the
//! weight cannot move the median far.

use rayon::prelude::*;

use super::{Image, Map, Tone};

/// Darker places than this share of the mean brightness say little about a gain.
const DARK: f32 = 0.25;
/// Gains beyond this factor are not light but something else; they are taken out only up to it.
const LIMIT: f32 = 2.0;

/// Added to the spread of a ratio, so that no place outweighs all others.
const SPREAD_FLOOR: f32 = 1e-3;

/// A place whose ratio never spreads more than this is covered or burnt out, and tells no light.
const CONSTANT: f32 = 1e-5;

/// What gains are measured against: the mean brightness of the normal pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Light {
    template: Map,
    /// How much the ratio at a place counts; 0 where it is too dark.
    weight: Map,
}

impl Light {
    /// Edge of the template in pixels.
    pub const TEMPLATE_PX: usize = 32;

    /// Learns the mean brightness of normal pictures, which were brought to one pose, and how steady it
    /// is.
    ///
    /// # Panics
    /// If there is no picture.
    pub fn fit(pictures: &[Image]) -> Self {
        assert!(!pictures.is_empty(), "the mean of no pictures is not defined");
        let seen: Vec<Map> = pictures.par_iter().map(Self::seen).collect();
        Self::of_seen(&seen)
    }

    /// What is looked at of a picture, of any size.
    pub(crate) fn seen(picture: &Image) -> Map {
        picture.brightness(Self::TEMPLATE_PX)
    }

    /// Learns from what was [seen](Self::seen) of normal pictures, at least one.
    pub(crate) fn of_seen(seen: &[Map]) -> Self {
        let count = seen.len() as f32;
        let mut template = Map::filled(Self::TEMPLATE_PX, Self::TEMPLATE_PX, 0.0);
        for map in seen {
            template.values.iter_mut().zip(&map.values).for_each(|(to, value)| *to += value / count);
        }
        let dark = DARK * template.values.iter().sum::<f32>() / template.values.len() as f32;
        let mut weight = template.clone();
        for (i, weight) in weight.values.iter_mut().enumerate() {
            let mean = template.values[i];
            let squares = seen.iter().map(|map| (map.values[i] - mean).powi(2)).sum::<f32>() / count;
            let spread = squares.sqrt() / mean;
            let tells = mean > dark && spread > CONSTANT;
            *weight = if tells { 1.0 / (spread + SPREAD_FLOOR) } else { 0.0 };
        }
        Self { template, weight }
    }

    /// Mean brightness and weights, [`Light::TEMPLATE_PX`] square, as after loading.
    ///
    /// # Errors
    /// When one has another shape or a value that is negative or not finite, or a place without
    /// brightness has weight.
    pub fn new(template: Map, weight: Map) -> Result<Self, String> {
        let edge = Self::TEMPLATE_PX;
        for map in [&template, &weight] {
            if (map.width, map.height) != (edge, edge) {
                let (width, height) = (map.width, map.height);
                return Err(format!("the light has {width} × {height} places, expected {edge} × {edge}"));
            }
            if !map.values.iter().all(|v| v.is_finite() && *v >= 0.0) {
                return Err("the light holds a value that is negative or not finite".to_owned());
            }
        }
        if template.values.iter().zip(&weight.values).any(|(&t, &w)| w > 0.0 && t == 0.0) {
            return Err("the light gives weight to a place without brightness".to_owned());
        }
        Ok(Self { template, weight })
    }

    /// The mean brightness of normal pictures.
    pub fn template(&self) -> &Map {
        &self.template
    }

    /// How much each place counts.
    pub fn weight(&self) -> &Map {
        &self.weight
    }

    /// How much brighter the picture is than the mean normal one, as a factor; 1 for pictures with
    /// nothing to measure.
    pub fn gain(&self, picture: &Image) -> f32 {
        let places = self
            .template
            .values
            .iter()
            .zip(&self.weight.values)
            .zip(picture.brightness(Self::TEMPLATE_PX).values);
        let ratios = places.filter(|((_, w), _)| **w > 0.0).map(|((t, &w), value)| (value / t, w)).collect();
        weighted_median(ratios).map_or(1.0, |ratio| ratio.clamp(1.0 / LIMIT, LIMIT))
    }

    /// The picture under the light of the mean normal one, with a tone. Values may exceed 1.
    #[must_use]
    pub fn normalise(&self, mut picture: Image, tone: Tone) -> Image {
        let gain = self.gain(&picture);
        tone.relight(&mut picture.pixels, gain);
        picture
    }
}

/// The least value at which half of the weight lies at it or below; nothing of nothing.
pub(super) fn weighted_median(mut values: Vec<(f32, f32)>) -> Option<f32> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<f32>() / 2.0;
    let mut below = 0.0;
    let median = values.iter().find(|(_, weight)| {
        below += weight;
        below >= half
    });
    median.map(|&(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(gain: f32, defect: bool) -> Image {
        let value = |i: usize| {
            let part = if (i % 64) / 16 == 1 { 0.8 } else { 0.4 };
            let hidden = defect && i / 64 < 20;
            gain * if hidden { 0.05 } else { part }
        };
        Image { width: 64, height: 64, channels: 1, pixels: (0..64 * 64).map(value).collect() }
    }

    #[test]
    fn a_darker_picture_becomes_the_same_picture() {
        let light = Light::fit(&[picture(1.01, false), picture(0.99, false)]);
        assert!((light.gain(&picture(0.8, false)) - 0.8).abs() < 1e-4);
        let normalised = light.normalise(picture(0.8, false), Tone::Linear);
        let expected = picture(1.0, false).pixels;
        assert!(normalised.pixels.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn a_defect_of_a_third_of_the_picture_moves_the_gain_little() {
        let light = Light::fit(&[picture(1.01, false), picture(0.99, false)]);
        assert!((light.gain(&picture(1.1, true)) - 1.1).abs() < 0.01);
    }

    #[test]
    fn places_that_change_by_themselves_do_not_lead() {
        // Three quarters of the place flicker; the steady quarter tells the light.
        let flickering = |number: usize, gain: f32| {
            let value = |i: usize| match (i % 64) / 16 {
                1 => 0.8 + 1e-3 * (number % 2) as f32,
                column => 0.3 + 0.05 * ((number + column) % 5) as f32,
            };
            Image { pixels: (0..64 * 64).map(|i| gain * value(i)).collect(), ..picture(1.0, false) }
        };
        let pictures: Vec<Image> = (0..10).map(|n| flickering(n, 1.0)).collect();
        let light = Light::fit(&pictures);
        for number in 0..5 {
            assert!((light.gain(&flickering(number, 0.9)) - 0.9).abs() < 1e-3);
        }
    }

    #[test]
    fn black_pictures_and_absurd_gains_are_survived() {
        let black = picture(0.0, false);
        assert_eq!(Light::fit(std::slice::from_ref(&black)).gain(&picture(1.0, false)), 1.0);
        let light = Light::fit(&[picture(1.01, false), picture(0.99, false)]);
        assert_eq!(light.gain(&black), 1.0 / LIMIT);
        assert!(Light::new(Map::filled(8, 8, 1.0), Map::filled(8, 8, 1.0)).unwrap_err().contains("8 × 8"));
    }
}
