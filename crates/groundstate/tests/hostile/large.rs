//! Pictures as large as any that is read, and what they cost.

use std::io::Write;
use std::path::Path;

use groundstate::detector::{Detail, Detector};
use groundstate::image::{Fit, Image, MAX_DECODED_BYTES, MAX_PIXELS, decode};

use crate::ALLOCATOR;
use crate::corpus;
use crate::fuzz::{Turn, is_thorough};

/// A sound PNG of `edge` × `edge` pixels that compresses well.
fn large_png(edge: u32, colour: png::ColorType, depth: png::BitDepth, pixel_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, edge, edge);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fastest);
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    for y in (0..edge as usize).step_by(8) {
        let row = (0..edge as usize * pixel_bytes).map(|i| (100 + (i / 64 + y / 8) % 50) as u8);
        stream.write_all(&row.collect::<Vec<u8>>().repeat(8)).unwrap();
    }
    stream.finish().unwrap();
    writer.finish().unwrap();
    bytes
}

/// The result, and the memory that it took besides what was there before, in bytes.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}

fn read(bytes: &[u8]) -> Image {
    decode(bytes, Path::new("large.png")).unwrap()
}

/// A detector of the corpus that scales its pictures, or one that does not.
fn detector(fit: Fit) -> &'static Detector {
    corpus::detectors().iter().find(|detector| detector.preprocessing.fit == fit).unwrap()
}

#[test]
fn the_largest_picture_of_the_most_bytes_a_pixel_is_decoded_within_the_stated_memory() {
    let _turn = Turn::take();
    let bytes = large_png(8192, png::ColorType::Rgba, png::BitDepth::Sixteen, 8);
    let (image, taken) = measured(|| read(&bytes));
    assert_eq!((image.width * image.height, image.channels), (MAX_PIXELS, 3));
    assert!(taken <= MAX_DECODED_BYTES, "{} MiB", taken >> 20);
}

#[test]
fn the_largest_grey_picture_is_inspected_within_the_stated_memory() {
    let _turn = Turn::take();
    let bytes = large_png(8192, png::ColorType::Grayscale, png::BitDepth::Eight, 1);
    let image = read(&bytes);
    // 256 MiB as floats. Scaling copies it once.
    let scaling = detector(Fit::Stretch);
    let (inspection, taken) = measured(|| scaling.inspect(&image));
    assert!(inspection.score.is_finite());
    assert!(taken <= 320 << 20, "{} MiB", taken >> 20);
}

#[test]
fn a_large_picture_in_tiles_takes_the_memory_of_a_few_copies_and_of_its_tiles() {
    let _turn = Turn::take();
    let detector = detector(Fit::Tile);
    let picture = |width: usize, height: usize| {
        let value = |i: usize| 0.4 + 0.2 * ((i % width / 16 + i / width / 16) % 2) as f32;
        Image { width, height, channels: 1, pixels: (0..width * height).map(value).collect() }
    };
    let of = |width, height| {
        let picture = picture(width, height);
        let (score, taken) = measured(|| {
            let prepared = [detector.prepare(&picture)];
            let inspection = detector.inspect_prepared(&prepared, Detail::Default).remove(0);
            let map = detector.map(&inspection, detector.default_map, width, height);
            f64::from(map.max()) + inspection.score
        });
        assert!(score.is_finite());
        taken as f64 / f64::from(1 << 20)
    };
    // The tiles are the same in a picture of half the edges.
    let edge = if is_thorough() { 2000 } else { 1000 };
    let (small, large) = (of(edge, edge), of(4 * edge, edge));
    let picture_mib = (4 * 4 * edge * edge) as f64 / f64::from(1 << 20);
    // Growing by three quarters of the picture costs no more than as much of four copies of it.
    assert!(large - small <= 4.0 * 0.75 * picture_mib, "{small} MiB, {large} MiB");
    let tiles_mib = 268.0;
    assert!(large <= tiles_mib + 4.0 * picture_mib, "{large} MiB");
}
