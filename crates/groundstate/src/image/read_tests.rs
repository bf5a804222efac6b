//! Files are made here with the encoders of the `image`, `png` and `tiff` crates.

use super::*;
use ::image::{
    DynamicImage, ExtendedColorType, GrayAlphaImage, GrayImage, ImageBuffer, ImageEncoder, Luma, LumaA, Rgb,
    RgbImage, Rgba, RgbaImage, codecs::tiff::TiffEncoder,
};
use proptest::prelude::*;
use std::path::PathBuf;

const FORMATS: [(ImageFormat, &str); 5] = [
    (ImageFormat::Png, "PNG"),
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::Tiff, "TIFF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::WebP, "WebP"),
];

fn name() -> PathBuf {
    PathBuf::from("part.png")
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Smooth, so that JPEG keeps it, and without symmetry, so that a rotation shows.
fn rgb() -> DynamicImage {
    RgbImage::from_fn(40, 24, |x, y| Rgb([(x * 6) as u8, (y * 10) as u8, ((x + y) * 2) as u8])).into()
}

fn message(bytes: &[u8]) -> String {
    decode(bytes, &name()).unwrap_err().to_string()
}

#[test]
fn every_format_gives_the_same_picture_whatever_the_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let expected = from_decoded(rgb());
    for (format, _) in FORMATS {
        let path = folder.path().join("called.dat");
        fs::write(&path, encoded(&rgb(), format)).unwrap();
        let image = read(&path).unwrap();
        assert_eq!((image.width, image.height, image.channels), (40, 24, 3));
        let tolerance = if format == ImageFormat::Jpeg { 16.0 / 255.0 } else { 0.0 };
        for (a, b) in image.pixels.iter().zip(&expected.pixels) {
            assert!((a - b).abs() <= tolerance, "{format:?}: {a} instead of {b}");
        }
    }
}

#[test]
fn sixteen_bits_are_kept() {
    let grey = ImageBuffer::<Luma<u16>, _>::from_fn(9, 2, |x, y| Luma([(x * 7001 + y) as u16]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let image = decode(&encoded(&DynamicImage::ImageLuma16(grey.clone()), format), &name()).unwrap();
        assert_eq!(image.channels, 1);
        // Neighbouring 16-bit levels are 256 times closer than 8-bit ones.
        let levels: Vec<u16> = image.pixels.iter().map(|v| (v * 65_535.0).round() as u16).collect();
        assert_eq!(levels, *grey.as_raw());
    }
}

/// A TIFF of `width` × 2 pixels whose samples, `bits` each, are packed row by row.
fn packed_tiff(width: usize, channels: usize, bits: usize, big_endian: bool, samples: &[u32]) -> Vec<u8> {
    let pack = |row: &[u32]| {
        let bit = |i: usize| row[i / bits] >> (bits - 1 - i % bits) & 1 == 1;
        let byte =
            |start| (start..start + 8).fold(0, |sum, i| sum << 1 | u8::from(i < row.len() * bits && bit(i)));
        (0..row.len() * bits).step_by(8).map(byte).collect::<Vec<u8>>()
    };
    let data: Vec<u8> = samples.chunks_exact(width * channels).flat_map(pack).collect();
    let photometric = if channels == 3 { 2 } else { 1 };
    // Width, height, bits, compression, photometric, strip offset, samples, rows, strip bytes (TIFF 6.0).
    let entries: [(u16, usize); 9] = [
        (256, width),
        (257, samples.len() / channels / width),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, channels),
        (278, samples.len()),
        (279, data.len()),
    ];
    let short = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
    let long = |v: usize| if big_endian { (v as u32).to_be_bytes() } else { (v as u32).to_le_bytes() };
    let mut bytes = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    bytes.extend(long(8 + data.len()));
    bytes.extend(&data);
    bytes.extend(short(entries.len() as u16));
    for (tag, value) in entries {
        bytes.extend(short(tag));
        bytes.extend(short(4));
        bytes.extend(long(1));
        bytes.extend(long(value));
    }
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn packed_samples_of_any_number_of_bits_keep_every_level() {
    for (bits, channels, width, big_endian) in [
        (10, 1, 5, false),
        (12, 1, 5, false),
        (12, 1, 5, true),
        (14, 1, 3, true),
        (10, 3, 3, false),
        (12, 3, 3, true),
        (16, 1, 4, true),
        (4, 1, 3, false),
    ] {
        let highest = (1u32 << bits) - 1;
        let count = 2 * width * channels;
        let samples: Vec<u32> = (0..count as u32).map(|i| (i * 2654 + i * i) & highest).collect();
        let image = decode(&packed_tiff(width, channels, bits, big_endian, &samples), &name()).unwrap();
        assert_eq!((image.width, image.height, image.channels), (width, 2, channels));
        let found: Vec<u32> = image.pixels.iter().map(|v| (v * highest as f32).round() as u32).collect();
        assert_eq!(found, samples, "{bits} bits, {channels} channels, big-endian: {big_endian}");
    }
}

#[test]
fn packed_samples_that_end_early_are_an_error() {
    let whole = packed_tiff(5, 1, 12, false, &[4095; 10]);
    assert_eq!(decode(&whole, &name()).unwrap().pixels, [1.0; 10]);
    let mut moved = whole;
    // The strip offset, the sixth of nine entries of 12 bytes, points behind the end.
    let at = moved.len() - 4 - 4 * 12 + 8;
    moved[at..at + 4].copy_from_slice(&60_000_u32.to_le_bytes());
    assert!(message(&moved).contains("the TIFF data is cut off"), "{}", message(&moved));
}

#[test]
fn packed_samples_that_are_compressed_are_refused_with_advice() {
    let mut packed = packed_tiff(5, 1, 12, false, &[4095; 10]);
    let at = packed.len() - 4 - 6 * 12 + 8;
    packed[at..at + 4].copy_from_slice(&5_u32.to_le_bytes());
    assert!(message(&packed).contains("save it as 8- or 16-bit grey or RGB"), "{}", message(&packed));
}

#[test]
fn a_png_that_states_its_significant_bits_is_read_as_it_is_written() {
    // PNG asks writers to scale 12 bits up to the whole range and to note in sBIT that there were 12;
    // others write the numbers as they are, which the white level of the model takes care of.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::sBIT, &[12]).unwrap();
    writer.write_image_data(&[0x0F, 0xFF, 0xFF, 0xFF]).unwrap();
    writer.finish().unwrap();
    assert_eq!(decode(&bytes, &name()).unwrap().pixels, [4095.0 / 65_535.0, 1.0]);
}

#[test]
fn a_colour_profile_changes_nothing() {
    let with_profile = |profile: Option<&[u8]>| {
        let mut bytes = Vec::new();
        let mut encoder = ::image::codecs::png::PngEncoder::new(&mut bytes);
        if let Some(profile) = profile {
            encoder.set_icc_profile(profile.to_vec()).unwrap();
        }
        encoder.write_image(rgb().as_bytes(), 40, 24, ExtendedColorType::Rgb8).unwrap();
        bytes
    };
    let (plain, tagged) = (with_profile(None), with_profile(Some(b"any bytes: it is not looked at")));
    assert!(tagged.windows(4).any(|w| w == b"iCCP"));
    assert_eq!(decode(&tagged, &name()).unwrap(), decode(&plain, &name()).unwrap());
}

#[test]
fn alpha_is_composited_over_black() {
    let rgba = RgbaImage::from_fn(2, 1, |x, _| Rgba([200, 100, 50, if x == 0 { 255 } else { 51 }]));
    let image = decode(&encoded(&rgba.into(), ImageFormat::Png), &name()).unwrap();
    let opaque = [200.0 / 255.0, 100.0 / 255.0, 50.0 / 255.0];
    for (i, colour) in opaque.iter().enumerate() {
        assert!((image.pixels[i] - colour).abs() < 1e-6);
        assert!((image.pixels[3 + i] - colour * 0.2).abs() < 1e-6);
    }
    let grey = GrayAlphaImage::from_pixel(1, 1, LumaA([255, 51]));
    let image = decode(&encoded(&grey.into(), ImageFormat::Png), &name()).unwrap();
    assert_eq!(image.channels, 1);
    assert!((image.pixels[0] - 0.2).abs() < 1e-6);
}

#[test]
fn a_palette_is_resolved_into_its_colours() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![0_u8, 51, 102, 255, 204, 153]);
    encoder.write_header().unwrap().write_image_data(&[1, 0]).unwrap();
    let image = decode(&bytes, &name()).unwrap();
    assert_eq!(image.pixels, [255.0, 204.0, 153.0, 0.0, 51.0, 102.0].map(|v: f32| v / 255.0));
}

fn float_rgb_tiff(values: &[f32; 6]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
    let mut bytes = Cursor::new(Vec::new());
    TiffEncoder::new(&mut bytes).write_image(&raw, 2, 1, ExtendedColorType::Rgb32F).unwrap();
    bytes.into_inner()
}

#[test]
fn floats_are_clamped_and_must_be_numbers() {
    let image = decode(&float_rgb_tiff(&[0.25, -1.0, 7.5, 0.0, 1.0, 0.5]), &name()).unwrap();
    assert_eq!(image.pixels, [0.25, 0.0, 1.0, 0.0, 1.0, 0.5]);
    let text = message(&float_rgb_tiff(&[0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]));
    assert!(text.contains("NaN at pixel (1, 0)"), "{text}");
}

#[test]
fn an_exif_orientation_turns_the_picture() {
    let upright = encoded(&rgb(), ImageFormat::Jpeg);
    // Orientation 6: the first row of the file is the right side of the picture (EXIF 2.3, 4.6.4).
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut turned = upright[..2].to_vec();
    turned.extend([0xFF, 0xE1]);
    turned.extend(u16::try_from(exif.len() + 2).unwrap().to_be_bytes());
    turned.extend(exif);
    turned.extend(&upright[2..]);
    let (plain, turned) = (decode(&upright, &name()).unwrap(), decode(&turned, &name()).unwrap());
    assert_eq!((turned.width, turned.height), (24, 40));
    for y in 0..24 {
        for x in 0..40 {
            let at = (x * 24 + 23 - y) * 3;
            assert_eq!(turned.pixels[at..at + 3], plain.pixels[(y * 40 + x) * 3..][..3]);
        }
    }
}

#[test]
fn a_cut_off_file_is_an_error_or_complete() {
    for (format, format_name) in FORMATS {
        let bytes = encoded(&rgb(), format);
        let whole = decode(&bytes, &name()).unwrap();
        for length in 0..bytes.len() {
            if let Ok(image) = decode(&bytes[..length], &name()) {
                assert_eq!(image, whole, "{format_name} cut off at {length} of {}", bytes.len());
            }
        }
        let text = message(&bytes[..bytes.len() * 3 / 4]);
        assert!(text.contains(format_name) && text.contains("part.png"), "{text}");
    }
}

#[test]
fn an_image_bomb_is_refused_before_memory_is_taken() {
    let mut png_bomb = Vec::new();
    for (width, height) in [(30_000, 30_000), (40_000, 1)] {
        png_bomb.clear();
        let mut writer = png::Encoder::new(&mut png_bomb, width, height).write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, &[0; 64]).unwrap();
        drop(writer);
        let error = decode(&png_bomb, &name()).unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
    }
    // A BMP header states its size in plain bytes: 30,000 × 30,000.
    let mut bmp = encoded(&rgb(), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&30_000_i32.to_le_bytes());
    bmp[22..26].copy_from_slice(&30_000_i32.to_le_bytes());
    let error = decode(&bmp, &name()).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
}

#[test]
fn what_is_no_image_is_described() {
    assert!(message(b"").contains("found an empty file"));
    let text = message(b"<html>\nnot found</html>");
    assert!(text.contains("expected a PNG, JPEG, TIFF, BMP or WebP image"), "{text}");
    assert!(text.contains(r#"found text beginning with "<html>\nnot found</html>""#), "{text}");
    assert!(message(b"GIF89a\x01\0\x01\0").contains("found image/gif data"));
    assert!(message(&[0, 1, 2, 0xFE]).contains("found 4 bytes beginning with 00 01 02 fe"));
}

#[test]
fn a_path_that_is_no_file_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = read(folder.path()).unwrap_err().to_string();
    assert!(text.contains("found a folder"), "{text}");
    let text = read(&folder.path().join("gone.png")).unwrap_err().to_string();
    assert!(text.contains("cannot read") && text.contains("gone.png"), "{text}");
}

#[test]
fn one_bit_images_become_black_and_white() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header().unwrap().write_image_data(&[0b1010_0001]).unwrap();
    assert_eq!(decode(&bytes, &name()).unwrap().pixels, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damaged_files_never_panic(kind in 0_usize..5, at in 0.0_f64..1.0, byte: u8, cut in 0.0_f64..1.5) {
        let small = GrayImage::from_fn(12, 9, |x, y| Luma([(x * 20 + y) as u8]));
        let rgb = DynamicImage::from(small).to_rgb8().into();
        let mut bytes = encoded(&rgb, FORMATS[kind].0);
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] = byte;
        bytes.truncate((cut * bytes.len() as f64) as usize);
        if let Ok(image) = decode(&bytes, &name()) {
            prop_assert_eq!(image.pixels.len(), image.width * image.height * image.channels);
            prop_assert!(image.pixels.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}
