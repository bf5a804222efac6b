//! Sound inputs that the hostile ones are made from, and images that are hostile by design.

use std::io::Cursor;
use std::sync::LazyLock;
use std::time::Instant;

use groundstate::conditions::Conditions;
use groundstate::detector::{Detector, prepare};
use groundstate::image::{Fit, Image};
use groundstate::model::{EnergyModel, FeatureBank, Form, GaussianConfig, NetworkConfig, Reference, Sight};
use groundstate::train::{Control, Gallery, MethodName, OptimiserConfig, TrainConfig, train, train_tiled};
use image::{DynamicImage, ImageFormat, RgbaImage};

const EDGE: usize = 32;

/// A configuration with a setting of every kind.
pub(crate) fn configs() -> Vec<TrainConfig> {
    MethodName::ALL
        .into_iter()
        .map(|method| TrainConfig {
            method,
            size: Some(EDGE),
            gaussian: GaussianConfig { dimensions: 4, ..Default::default() },
            network: NetworkConfig { width: 2, ..Default::default() },
            optimiser: OptimiserConfig {
                steps: Some(2),
                batch: Some(2),
                learning_rate: Some(1e-3),
                ..Default::default()
            },
            ..Default::default()
        })
        .collect()
}

/// Those of the closed form and of a network for pictures that keep their size.
fn configs_in_tiles() -> Vec<TrainConfig> {
    let in_tiles = |config: TrainConfig| TrainConfig { fit: Fit::Tile, ..config };
    configs().into_iter().take(2).map(in_tiles).collect()
}

/// Every configuration, besides these one with the settings that are absent in them.
pub(crate) fn every_config() -> Vec<TrainConfig> {
    let of_poses = configs_of_poses().map(|(config, _)| config);
    let mut all: Vec<TrainConfig> = configs().into_iter().chain(configs_in_tiles()).chain(of_poses).collect();
    all.push(cross_conformal());
    all.push(TrainConfig {
        white_level: Some(4095),
        calibration_share: 0.25,
        register: false,
        on_reference: true,
        ..configs()[3].clone()
    });
    all
}

/// The closed form with those of the folds that new pictures are compared with.
fn cross_conformal() -> TrainConfig {
    TrainConfig { cross_conformal: true, register: false, ..configs()[0].clone() }
}

/// The closed form and a network for parts that lie out of place or in any direction, the first with a
/// region of interest.
fn configs_of_poses() -> [(TrainConfig, f32); 2] {
    let [near, free] = [&configs()[0], &configs()[1]].map(TrainConfig::clone);
    let all_but_a_corner = vec![vec![[0.0, 0.2], [0.2, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]];
    [(TrainConfig { roi: all_but_a_corner, ..near }, 0.1), (free, 3.0)]
}

/// Small detectors, trained once: closed form, network, network with a noise level, the sum of two
/// energies, the sum of three, closed form with folds, closed form and network for parts in changing poses, and closed
/// form and network in tiles.
pub(crate) fn detectors() -> &'static [Detector] {
    static DETECTORS: LazyLock<Vec<Detector>> = LazyLock::new(trained);
    &DETECTORS
}

fn trained() -> Vec<Detector> {
    let scaled = |config: &TrainConfig, pictures: &[Image]| {
        train(config, pictures.to_vec(), Instant::now(), &mut |_| Control::Continue).unwrap()
    };
    let pictures: Vec<Image> = (0..8).map(picture).collect();
    let tilted = TrainConfig { on_reference: true, ..configs()[1].clone() };
    let plain = configs().into_iter().take(3).chain([tilted]);
    let as_they_are = plain.map(|config| TrainConfig { register: false, ..config });
    let mut detectors: Vec<Detector> = as_they_are.map(|config| scaled(&config, &pictures)).collect();
    let of_two = detectors.iter().find_map(|detector| match &detector.energy {
        EnergyModel::Tilted(references, networks) => {
            let reference = Reference { form: Form::Distance, ..references[0].clone() };
            let all: Vec<&Image> = pictures.iter().collect();
            let config = GaussianConfig { dimensions: 4, ..GaussianConfig::default() };
            let gaussian = FeatureBank::of_network(&networks[0], Sight::Full, &all, 1, &config)
                .unwrap()
                .fit(None)
                .unwrap();
            let density = Reference { gaussian, ..reference.clone() };
            let energy =
                EnergyModel::Tilted(vec![reference, density], [&networks[..], &networks[..]].concat());
            Some(Detector { energy, ..detector.clone() })
        }
        _ => None,
    });
    detectors.push(of_two.expect("one of them is a sum"));
    detectors.push(scaled(&cross_conformal(), &pictures));
    for (config, turn) in configs_of_poses() {
        let roi = config.roi().unwrap();
        let parts: Vec<Image> = (0..12).map(|number| part(number, turn)).collect();
        let conditions = parts.iter().map(|part| Conditions::of(part, roi.as_ref())).collect();
        let covered: Vec<Image> =
            parts.iter().map(|part| prepare(part, roi.as_ref(), &config.preprocessing())).collect();
        detectors.push(Detector { roi, conditions, ..scaled(&config, &covered) });
    }
    let gallery = Gallery { count: pictures.len(), picture: &|at| Ok(pictures[at].clone()) };
    detectors.extend(configs_in_tiles().iter().map(|config| {
        train_tiled(config, &gallery, Instant::now(), None, &mut |_| Control::Continue).unwrap().detector
    }));
    detectors
}

/// Waves that differ from picture to picture.
pub(crate) fn picture(number: usize) -> Image {
    let pixels = (0..EDGE * EDGE * 3).map(|i| {
        let (x, y) = (i / 3 % EDGE, i / 3 / EDGE);
        0.5 + 0.2 * ((x + number) as f32 / 3.0).sin() + 0.1 * ((y * (2 + number)) as f32 / 5.0).cos()
    });
    Image { width: EDGE, height: EDGE, channels: 3, pixels: pixels.collect() }
}

/// A dark wedge with a bright head on grey ground, out of place and turned by up to `turn` radians.
pub(crate) fn part(number: usize, turn: f32) -> Image {
    let swing = |step: f32| (step * (number as f32 + 1.0)).sin();
    let (sin, cos) = (turn * swing(2.1)).sin_cos();
    let (right, down) = (0.08 * swing(1.3), 0.08 * swing(3.7));
    let value = |i: usize| {
        let centred = |p: usize| (p as f32 + 0.5) / EDGE as f32 - 0.5;
        let (x, y) = (centred(i % EDGE) - right, centred(i / EDGE) - down);
        let (x, y) = (cos * x + sin * y, cos * y - sin * x);
        match () {
            () if (x - 0.25).hypot(y) < 0.12 => 0.9,
            () if (-0.3..0.25).contains(&x) && y.abs() < 0.08 + 0.08 * (x + 0.3) => 0.1,
            () => 0.5,
        }
    };
    let pixels = (0..EDGE * EDGE).flat_map(|i| [value(i); 3]).collect();
    Image { width: EDGE, height: EDGE, channels: 3, pixels }
}

/// Tiny pictures in every format and kind of sample that is read.
pub(crate) fn images() -> Vec<Vec<u8>> {
    let rgba = RgbaImage::from_fn(12, 9, |x, y| image::Rgba([(x * 20) as u8, (y * 25) as u8, 99, 200]));
    let rgba = DynamicImage::from(rgba);
    let mut files = Vec::new();
    let kinds = [
        rgba.to_luma8().into(),
        rgba.to_rgb8().into(),
        rgba.clone(),
        rgba.to_luma16().into(),
        rgba.to_luma_alpha8().into(),
        rgba.to_rgba16().into(),
        rgba.to_rgb32f().into(),
    ];
    for format in
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::WebP]
    {
        for kind in &kinds {
            let kind: &DynamicImage = kind;
            let mut bytes = Cursor::new(Vec::new());
            // Not every format has every kind.
            if kind.write_to(&mut bytes, format).is_ok() {
                files.push(bytes.into_inner());
            }
        }
    }
    files.push(palette_png());
    files.push(grey_float_tiff());
    files.extend([packed_tiff(12, 1, false), packed_tiff(10, 3, true), packed_tiff(14, 1, true)]);
    files
}

fn palette_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Four);
    encoder.set_palette(vec![7; 48]);
    encoder.add_ztxt_chunk("Comment".into(), "a text that is compressed".into()).unwrap();
    encoder.write_header().unwrap().write_image_data(&[0x12; 8]).unwrap();
    bytes
}

fn grey_float_tiff() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    encoder.write_image::<tiff::encoder::colortype::Gray32Float>(6, 5, &[0.5; 30]).unwrap();
    bytes.into_inner()
}

/// 4 × 2 pixels of `bits` bits a sample without gaps, each row in a strip of its own (TIFF 6.0).
pub(crate) fn packed_tiff(bits: u32, channels: u32, big_endian: bool) -> Vec<u8> {
    let short = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
    let long = |v: u32| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
    let row = (4 * channels * bits).div_ceil(8);
    let (offsets, lengths) = (8 + 2 * row, 8 + 2 * row + 8);
    let photometric = if channels == 3 { 2 } else { 1 };
    // Tag, count and value, or where two of them are.
    let entries: [(u16, u32, u32); 9] = [
        (256, 1, 4),
        (257, 1, 2),
        (258, 1, bits),
        (259, 1, 1),
        (262, 1, photometric),
        (273, 2, offsets),
        (277, 1, channels),
        (278, 1, 1),
        (279, 2, lengths),
    ];
    let mut bytes = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    bytes.extend(long(lengths + 8));
    bytes.extend((0..2 * row).map(|i| (37 * i) as u8));
    bytes.extend([8, 8 + row, row, row].into_iter().flat_map(long));
    bytes.extend(short(entries.len() as u16));
    for (tag, count, value) in entries {
        bytes.extend(short(tag).into_iter().chain(short(4)).chain(long(count)).chain(long(value)));
    }
    bytes.extend([0; 4]);
    bytes
}

/// A PNG that announces a size and holds less than a kilobyte.
pub(crate) fn announced_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::new(&mut bytes, width, height).write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &[0; 900]).unwrap();
    drop(writer);
    bytes
}

/// A PNG of one pixel whose comment unpacks to 64 MiB.
pub(crate) fn text_bomb() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.add_ztxt_chunk("Comment".into(), "x".repeat(64 << 20)).unwrap();
    encoder.write_header().unwrap().write_image_data(&[1]).unwrap();
    bytes
}
