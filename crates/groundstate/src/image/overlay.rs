//! A map shown on its image.

use colorgrad::Gradient;

use super::{Image, Map, Mask};

/// How much of the picture the strongest colour covers.
const MAX_OPACITY: f32 = 0.85;

/// Draws `map` over `image` as heat, from transparent at `range.0` to nearly opaque at `range.1`.
///
/// Colours are those of matplotlib's `inferno`, whose lightness grows evenly with the value; the
/// picture below is shown in grey so that no colour of the part can be taken for heat. A map of
/// another size is resized to the image. Values outside the range, and ranges that are empty or not
/// finite, count as their nearest end; NaN counts as the lower end.
///
/// # Shapes
/// Returns the image's width and height with 3 channels.
pub fn overlay(image: &Image, map: &Map, range: (f32, f32)) -> Image {
    let map = map.resize_bilinear(image.width, image.height);
    let colours = ramp();
    let mut pixels = Vec::with_capacity(image.width * image.height * 3);
    for (pixel, &value) in image.pixels.chunks_exact(image.channels).zip(&map.values) {
        let position = position(value, range);
        let opacity = MAX_OPACITY * position.powf(0.8);
        let grey = pixel.iter().sum::<f32>() / pixel.len() as f32;
        let colour = colours[(position * 255.0).round() as usize];
        pixels.extend(colour.map(|c| grey + opacity * (c - grey)));
    }
    Image { width: image.width, height: image.height, channels: 3, pixels }
}

/// The image in colour with a line of `thickness_px` around what `mask` marks, which itself stays
/// uncovered.
///
/// # Panics
/// If the mask has another size than the image.
pub fn outline(image: &Image, mask: &Mask, colour: [f32; 3], thickness_px: usize) -> Image {
    let (width, height) = (image.width, image.height);
    assert_eq!((mask.width, mask.height), (width, height));
    let marked = |x: usize, y: usize| mask.defective[y * width + x];
    let around = |at: usize, reach: usize, edge: usize| at.saturating_sub(reach)..=(at + reach).min(edge - 1);
    let mut pixels: Vec<f32> = image
        .pixels
        .chunks_exact(image.channels)
        .flat_map(|pixel| if let [r, g, b] = *pixel { [r, g, b] } else { [pixel[0]; 3] })
        .collect();
    for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).filter(|&(x, y)| marked(x, y)) {
        let inner = around(y, 1, height).all(|y| around(x, 1, width).all(|x| marked(x, y)));
        if inner {
            continue;
        }
        for y in around(y, thickness_px, height) {
            for x in around(x, thickness_px, width).filter(|&x| !marked(x, y)) {
                pixels[(y * width + x) * 3..][..3].copy_from_slice(&colour);
            }
        }
    }
    Image { width, height, channels: 3, pixels }
}

/// Draws `map` alone in the colours of [`overlay`].
///
/// # Shapes
/// Returns the map's width and height with 3 channels.
pub fn heat(map: &Map, range: (f32, f32)) -> Image {
    let colours = ramp();
    let colour = |&v: &f32| colours[(position(v, range) * 255.0).round() as usize];
    let pixels = map.values.iter().flat_map(colour).collect();
    Image { width: map.width, height: map.height, channels: 3, pixels }
}

/// Where `value` lies between the ends of `range`, in `[0, 1]`.
fn position(value: f32, (low, high): (f32, f32)) -> f32 {
    let position = (value - low) / (high - low);
    if position.is_nan() || value <= low { 0.0 } else { position.clamp(0.0, 1.0) }
}

fn ramp() -> [[f32; 3]; 256] {
    let gradient = colorgrad::preset::inferno();
    std::array::from_fn(|i| {
        let colour = gradient.at(i as f32 / 255.0);
        [colour.r, colour.g, colour.b].map(|c| c.clamp(0.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize) -> Image {
        let pixels = (0..width * height).map(|i| i as f32 / (width * height) as f32).collect();
        Image { width, height, channels: 1, pixels }
    }

    #[test]
    fn a_map_at_the_low_end_leaves_a_grey_image_as_it_is() {
        let image = grey(7, 5);
        let shown = overlay(&image, &Map::filled(7, 5, 2.0), (2.0, 9.0));
        let expected: Vec<f32> = image.pixels.iter().flat_map(|&v| [v; 3]).collect();
        assert_eq!(shown.pixels, expected);
    }

    #[test]
    fn a_higher_value_hides_more_of_the_image() {
        // The same value over black and over white: the remaining difference is what shines through.
        let black = Image { width: 1, height: 1, channels: 1, pixels: vec![0.0] };
        let white = Image { width: 1, height: 1, channels: 1, pixels: vec![1.0] };
        let through = |value: f32| {
            let map = Map::filled(1, 1, value);
            overlay(&white, &map, (0.0, 1.0)).pixels[0] - overlay(&black, &map, (0.0, 1.0)).pixels[0]
        };
        let seen: Vec<f32> = (0..=20).map(|i| through(i as f32 / 20.0)).collect();
        assert!(seen.windows(2).all(|pair| pair[1] < pair[0]), "{seen:?}");
        assert!((seen[20] - (1.0 - MAX_OPACITY)).abs() < 1e-6);
    }

    #[test]
    fn the_lightness_of_the_colours_grows_with_the_value() {
        let ramp = Map { width: 64, height: 1, values: (0..64).map(|i| i as f32).collect() };
        let drawn = heat(&ramp, (0.0, 63.0));
        let luma = |p: &[f32]| 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2];
        let lightness: Vec<f32> = drawn.pixels.chunks_exact(3).map(luma).collect();
        assert!(lightness.windows(2).all(|pair| pair[1] > pair[0]));
    }

    #[test]
    fn values_and_ranges_that_are_not_numbers_still_give_colours() {
        let image = grey(3, 2);
        let mut map = Map::filled(3, 2, f32::NAN);
        map.values[1] = f32::INFINITY;
        for range in [(0.0, 1.0), (1.0, 1.0), (f32::NAN, 1.0), (f32::NEG_INFINITY, f32::INFINITY)] {
            let shown = overlay(&image, &map, range);
            assert!(shown.pixels.iter().all(|v| (0.0..=1.0).contains(v)), "{range:?}");
        }
    }

    #[test]
    fn an_outline_rings_a_pixel_and_leaves_it_visible() {
        let image = grey(7, 7);
        let mut mask = Mask::empty(7, 7);
        mask.defective[3 * 7 + 3] = true;
        for (thickness, ring) in [(1, 8), (2, 24)] {
            let drawn = outline(&image, &mask, [0.0, 1.0, 0.0], thickness);
            let is_line: Vec<bool> = drawn.pixels.chunks_exact(3).map(|p| p == [0.0, 1.0, 0.0]).collect();
            assert_eq!(is_line.iter().filter(|line| **line).count(), ring);
            assert!(!is_line[3 * 7 + 3]);
        }
    }
}
