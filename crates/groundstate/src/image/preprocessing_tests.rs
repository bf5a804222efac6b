use super::*;
use proptest::prelude::*;

fn flat(width: usize, height: usize, channels: usize, value: f32) -> Image {
    Image { width, height, channels, pixels: vec![value; width * height * channels] }
}

/// Centre of mass of a map in its own pixels, pixel centres at half-integers.
fn centre(width: usize, values: &[f32]) -> (f64, f64) {
    let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
    for (i, &v) in values.iter().enumerate() {
        let v = f64::from(v);
        sum += v;
        x += v * ((i % width) as f64 + 0.5);
        y += v * ((i / width) as f64 + 0.5);
    }
    (x / sum, y / sum)
}

#[test]
fn restoring_undoes_the_geometry_of_applying() {
    for fit in [Fit::Stretch, Fit::Pad] {
        for (width, height) in [(200, 90), (90, 200), (64, 64), (31, 17), (300, 299)] {
            let settings = Preprocessing { size: 64, fit, colour: Colour::Grey, ..Default::default() };
            // A bright square far enough from the border that its blurred image stays inside.
            let mut image = flat(width, height, 1, 0.0);
            let (x0, y0, edge) = (width / 2 + width / 8, height / 4, width.min(height) / 6);
            for y in y0..y0 + edge {
                for x in x0..x0 + edge {
                    image.pixels[y * width + x] = 1.0;
                }
            }
            let input = settings.apply(&image);
            let map = Map { width: 64, height: 64, values: input.pixels };
            let back = settings.restore(&map, width, height);
            assert_eq!((back.width, back.height), (width, height));
            let (x, y) = centre(width, &back.values);
            let half = edge as f64 / 2.0;
            // Sampling a reduced map keeps a mark's place to a fraction of an input pixel.
            let tolerance = 0.3 * (width.max(height) as f64 / 64.0).max(1.0);
            assert!((x - (x0 as f64 + half)).abs() < tolerance, "{fit:?} {width}×{height}: x = {x}");
            assert!((y - (y0 as f64 + half)).abs() < tolerance, "{fit:?} {width}×{height}: y = {y}");
        }
    }
}

#[test]
fn a_coarse_map_is_restored_to_the_same_place() {
    let settings = Preprocessing { size: 64, fit: Fit::Pad, colour: Colour::Rgb, ..Default::default() };
    let ramp = |edge: usize| {
        let values = (0..edge * edge).map(|i| ((i % edge) as f32 + 0.5) / edge as f32).collect();
        Map { width: edge, height: edge, values }
    };
    let (fine, coarse) = (settings.restore(&ramp(64), 120, 60), settings.restore(&ramp(16), 120, 60));
    for y in 0..60 {
        for x in 8..112 {
            // Both maps are the same linear function of the place.
            assert!((fine.values[y * 120 + x] - coarse.values[y * 120 + x]).abs() < 1e-5);
        }
    }
}

#[test]
fn padding_repeats_the_border_and_keeps_the_aspect_ratio() {
    let mut image = flat(100, 50, 1, 0.5);
    image.pixels[..100].fill(0.25);
    image.pixels[49 * 100..].fill(1.0);
    let settings = Preprocessing { size: 100, fit: Fit::Pad, colour: Colour::Grey, ..Default::default() };
    let input = settings.apply(&image);
    // 100 × 50 fills the width; the rows above and below repeat the first and the last one.
    assert!(input.pixels[..26 * 100].iter().all(|&v| v == 0.25));
    assert!(input.pixels[26 * 100..74 * 100].iter().all(|&v| v == 0.5));
    assert!(input.pixels[74 * 100..].iter().all(|&v| v == 1.0));
}

#[test]
fn an_image_of_the_input_size_is_left_alone() {
    let pixels = (0..32 * 32 * 3).map(|i| (i % 251) as f32 / 250.0).collect();
    let image = Image { width: 32, height: 32, channels: 3, pixels };
    for fit in [Fit::Stretch, Fit::Pad] {
        let settings = Preprocessing { size: 32, fit, colour: Colour::Rgb, ..Default::default() };
        assert_eq!(settings.apply(&image), image);
        let map = Map { width: 32, height: 32, values: image.pixels[..1024].to_vec() };
        assert_eq!(settings.restore(&map, 32, 32), map);
    }
}

#[test]
fn fine_texture_averages_instead_of_aliasing() {
    let pixels = (0..256 * 256).map(|i| ((i % 256 + i / 256) % 2) as f32).collect();
    let board = Image { width: 256, height: 256, channels: 1, pixels };
    let settings = Preprocessing { size: 32, fit: Fit::Stretch, colour: Colour::Grey, ..Default::default() };
    for (i, v) in settings.apply(&board).pixels.iter().enumerate() {
        let inside = (1..31).contains(&(i % 32)) && (1..31).contains(&(i / 32));
        assert!(!inside || (v - 0.5).abs() < 1e-3, "pixel {i} is {v}");
    }
}

#[test]
fn grey_is_luma_and_a_grey_image_has_three_equal_channels() {
    let red = Image { width: 1, height: 1, channels: 3, pixels: vec![1.0, 0.0, 0.0] };
    let grey = Preprocessing { size: 16, fit: Fit::Stretch, colour: Colour::Grey, ..Default::default() };
    assert!(grey.apply(&red).pixels.iter().all(|v| (v - 0.299).abs() < 1e-6));
    let rgb = Preprocessing { colour: Colour::Rgb, ..grey };
    let input = rgb.apply(&flat(5, 4, 1, 0.75));
    assert_eq!((input.channels, rgb.channels()), (3, 3));
    assert!(input.pixels.iter().all(|v| (v - 0.75).abs() < 1e-6));
}

#[test]
fn a_tile_is_cut_without_its_light_and_with_its_tone() {
    let pixels = vec![0.2, 0.4, 0.6, 0.1, 0.5, 1.0];
    let image = Image { width: 2, height: 1, channels: 3, pixels };
    for colour in [Colour::Grey, Colour::Rgb] {
        let linear = Preprocessing { size: 16, fit: Fit::Tile, colour, ..Default::default() };
        let toned = Preprocessing { tone: Tone::Logarithmic, ..linear };
        let values = linear.window(&image, (0, 0), (3, 2), 1.0).pixels;
        let found = toned.window(&image, (0, 0), (3, 2), 0.5);
        assert_eq!((found.width, found.height, found.channels), (3, 2, toned.channels()));
        for (found, value) in found.pixels.iter().zip(values) {
            let expected = f64::from(1.0 + 5.0 * value / 0.5).ln() / 6f64.ln();
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn differences_below_8_bits_survive_scaling() {
    let settings = Preprocessing { size: 16, fit: Fit::Stretch, colour: Colour::Grey, ..Default::default() };
    let (a, b) = (0.5, 0.5 + 1.0 / 65_535.0);
    let step = settings.apply(&flat(40, 40, 1, b)).pixels[0] - settings.apply(&flat(40, 40, 1, a)).pixels[0];
    // One rounding of values near .5 is 2⁻²⁴.
    assert!((step - (b - a)).abs() < 3e-7, "{step}");
}

#[test]
fn sizes_out_of_range_are_refused() {
    for size in [0, 15, 4097] {
        let text = Preprocessing { size, ..Default::default() }.check().unwrap_err().to_string();
        assert_eq!(text, format!("input size is {size} px, expected 16 to 4096"));
    }
    assert_eq!(Preprocessing::default().check().unwrap(), Preprocessing::default());
}

#[test]
fn settings_survive_json_and_unknown_keys_do_not() {
    let settings = Preprocessing { size: 128, fit: Fit::Pad, colour: Colour::Grey, ..Default::default() };
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(json, r#"{"size":128,"fit":"pad","colour":"grey","white_level":65535,"tone":"linear"}"#);
    assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), settings);
    assert_eq!(serde_json::from_str::<Preprocessing>("{}").unwrap(), Preprocessing::default());
    assert!(serde_json::from_str::<Preprocessing>(r#"{"color":"grey"}"#).is_err());
}

proptest! {
    #[test]
    fn any_size_can_be_prepared_and_restored(
        width in 1_usize..300, height in 1_usize..300, channels in 0_usize..2, pad: bool, grey: bool,
    ) {
        let channels = 1 + 2 * channels;
        let settings = Preprocessing {
            size: 48,
            fit: if pad { Fit::Pad } else { Fit::Stretch },
            colour: if grey { Colour::Grey } else { Colour::Rgb },
            ..Default::default()
        };
        let input = settings.apply(&flat(width, height, channels, 0.625));
        prop_assert_eq!((input.width, input.height, input.channels), (48, 48, settings.channels()));
        prop_assert!(input.pixels.iter().all(|v| (v - 0.625).abs() < 1e-6));
        let map = settings.restore(&Map::filled(48, 48, 3.0), width, height);
        prop_assert_eq!((map.width, map.height), (width, height));
        prop_assert!(map.values.iter().all(|v| (v - 3.0).abs() < 1e-6));
    }
}

#[test]
fn a_thumbnail_keeps_shape_and_mean_and_never_enlarges() {
    let pixels = (0..400 * 100).map(|i| (i % 400) as f32 / 399.0).collect();
    let image = Image { width: 400, height: 100, channels: 1, pixels };
    let small = image.thumbnail(64);
    assert_eq!((small.width, small.height), (64, 16));
    let mean = |image: &Image| image.pixels.iter().sum::<f32>() / image.pixels.len() as f32;
    assert!((mean(&small) - mean(&image)).abs() < 1e-3);
    assert_eq!(image.thumbnail(400), image);
}
