//! Batches of normal pictures, drawn and varied.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::OptimiserConfig;
use crate::image::Image;

/// `count` windows of normal pictures, of `edge` pixels a side or the whole picture where that is no larger,
/// each varied a little in light and place.
pub(super) fn draw(
    pictures: &[&Image],
    count: usize,
    edge: usize,
    settings: &OptimiserConfig,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let mut batch = Vec::new();
    for _ in 0..count {
        let picture = pictures[rng.random_range(0..pictures.len())];
        let limit = settings.shift_px as i32;
        let shift = (rng.random_range(-limit..=limit), rng.random_range(-limit..=limit));
        let gain = 1.0 + settings.contrast_jitter * rng.random_range(-1.0..=1.0f32);
        let offset = settings.brightness_jitter * rng.random_range(-1.0..=1.0f32);
        let first = batch.len();
        let mut start = |length: usize| rng.random_range(0..=length.saturating_sub(edge));
        let at = (start(picture.width), start(picture.height));
        push_window(&mut batch, picture, at, edge, shift);
        for value in &mut batch[first..] {
            *value = ((*value - 0.5) * gain + 0.5 + offset).clamp(0.0, 1.0);
        }
    }
    batch
}

/// Appends a window of a picture that is moved by whole pixels; its border is repeated.
fn push_window(
    batch: &mut Vec<f32>,
    picture: &Image,
    (left, top): (usize, usize),
    edge: usize,
    (right, down): (i32, i32),
) {
    let Image { width, height, channels, ref pixels } = *picture;
    let end = width.min(left.saturating_add(edge));
    // The columns whose pixels come from inside the picture; to both sides of them the border is repeated.
    let first = (right.max(0) as usize).clamp(left, end);
    let behind = width.saturating_add_signed(right as isize).clamp(first, end);
    for y in top..height.min(top.saturating_add(edge)) {
        let from = (y as isize - down as isize).clamp(0, height as isize - 1) as usize;
        let row = &pixels[from * width * channels..][..width * channels];
        let column = |x: usize| channels * x.saturating_add_signed(-(right as isize));
        for _ in left..first {
            batch.extend_from_slice(&row[..channels]);
        }
        if first < behind {
            batch.extend_from_slice(&row[column(first)..column(behind)]);
        }
        for _ in behind..end {
            batch.extend_from_slice(&row[(width - 1) * channels..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn windows_are_cut_from_anywhere_in_the_picture_and_keep_their_rows() {
        let pixels = (0..20 * 12).map(|i| (i % 20) as f32 / 40.0 + (i / 20) as f32 / 48.0).collect();
        let picture = Image { width: 20, height: 12, channels: 1, pixels };
        let still = OptimiserConfig {
            brightness_jitter: 0.0,
            contrast_jitter: 0.0,
            shift_px: 0,
            ..OptimiserConfig::default()
        };
        let batch = draw(&[&picture], 200, 8, &still, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(batch.len(), 200 * 64);
        let mut corners: Vec<usize> = Vec::new();
        for window in batch.chunks_exact(64) {
            let corner = picture.pixels.iter().position(|p| (p - window[0]).abs() < 1e-6);
            let corner = corner.expect("a window begins with a pixel of the picture");
            let inside = |i: usize| picture.pixels[corner + i / 8 * 20 + i % 8];
            assert!((0..64).all(|i| (window[i] - inside(i)).abs() < 1e-6));
            corners.push(corner);
        }
        corners.sort_unstable();
        corners.dedup();
        // Of 13 × 5 places, few are not drawn.
        assert!(corners.len() > 50, "{}", corners.len());
        assert_eq!(draw(&[&picture], 1, 32, &still, &mut ChaCha8Rng::seed_from_u64(1)).len(), 240);
    }

    #[test]
    fn a_window_that_is_moved_repeats_the_border() {
        let pixels = (0..5 * 4 * 3).map(|i| i as f32).collect();
        let picture = Image { width: 5, height: 4, channels: 3, pixels };
        for (left, top, edge) in [(0, 0, usize::MAX), (1, 1, 3), (2, 0, 2)] {
            for (right, down) in [(0, 0), (2, -1), (-1, 2), (-9, 9), (9, -9)] {
                let mut window = Vec::new();
                push_window(&mut window, &picture, (left, top), edge, (right, down));
                let columns = left..5.min(left.saturating_add(edge));
                let mut expected = Vec::new();
                for y in top..4.min(top.saturating_add(edge)) {
                    for x in columns.clone() {
                        let (x, y) = (x as i32 - right, y as i32 - down);
                        let at = (y.clamp(0, 3) * 5 + x.clamp(0, 4)) as usize * 3;
                        expected.extend_from_slice(&picture.pixels[at..at + 3]);
                    }
                }
                assert_eq!(window, expected, "at {left}, {top}, moved by {right}, {down}");
            }
        }
    }
}
