//! Batches of normal pictures, drawn and varied.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::OptimiserConfig;
use crate::image::Image;

/// `count` normal pictures, each varied a little in light and place.
pub(super) fn draw(
    pictures: &[&Image],
    count: usize,
    settings: &OptimiserConfig,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let mut batch = Vec::with_capacity(count * pictures[0].pixels.len());
    for _ in 0..count {
        let picture = pictures[rng.random_range(0..pictures.len())];
        let limit = settings.shift_px as i32;
        let shift = (rng.random_range(-limit..=limit), rng.random_range(-limit..=limit));
        let gain = 1.0 + settings.contrast_jitter * rng.random_range(-1.0..=1.0f32);
        let offset = settings.brightness_jitter * rng.random_range(-1.0..=1.0f32);
        let first = batch.len();
        push_shifted(&mut batch, picture, shift);
        for value in &mut batch[first..] {
            *value = ((*value - 0.5) * gain + 0.5 + offset).clamp(0.0, 1.0);
        }
    }
    batch
}

/// Appends a picture moved by whole pixels; its border is repeated.
fn push_shifted(batch: &mut Vec<f32>, picture: &Image, (right, down): (i32, i32)) {
    let Image { width, height, channels, ref pixels } = *picture;
    for y in 0..height {
        let from_y = (y as isize - down as isize).clamp(0, height as isize - 1) as usize;
        for x in 0..width {
            let from_x = (x as isize - right as isize).clamp(0, width as isize - 1) as usize;
            let at = (from_y * width + from_x) * channels;
            batch.extend_from_slice(&pixels[at..at + channels]);
        }
    }
}
