//! Ground truth per pixel.

use std::path::Path;

use ::image::{GrayImage, ImageFormat, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};

use super::{ImageError, read::decode_with_format, read::read_bytes};

/// Which pixels are defective, row-major (height × width).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// `height * width` flags, `true` where the part is defective.
    pub defective: Vec<bool>,
}

/// Numbers the 8-connected components of the `marked` pixels (row-major) from 1; the others are 0.
///
/// # Panics
/// If there are not `width` × `height` of them.
pub(crate) fn components(width: usize, height: usize, marked: impl Iterator<Item = bool>) -> Vec<u32> {
    let flags: Vec<u8> = marked.map(u8::from).collect();
    if let [flag] = flags[..] {
        return vec![flag.into()]; // imageproc panics on a picture of one pixel
    }
    let edge = |px: usize| u32::try_from(px).expect("pictures are read below 2^32 px an edge");
    let picture =
        GrayImage::from_raw(edge(width), edge(height), flags).expect("there are width × height pixels");
    connected_components(&picture, Connectivity::Eight, Luma([0])).into_raw()
}

impl Mask {
    /// The mask of a normal image.
    pub fn empty(width: usize, height: usize) -> Self {
        Self { width, height, defective: vec![false; width * height] }
    }

    /// Share of defective pixels in `[0, 1]`.
    pub fn area(&self) -> f64 {
        self.defective.iter().filter(|&&d| d).count() as f64 / self.defective.len() as f64
    }

    /// Resamples to `width` × `height` (each at least 1): every pixel takes the value found at its
    /// centre, so areas keep their share but details below one pixel may vanish.
    #[must_use]
    pub fn resize_nearest(&self, width: usize, height: usize) -> Self {
        // The centre of pixel i of n lies at (2i + 1) / 2n of the edge.
        let source = |i: usize, n: usize, input: usize| (2 * i + 1) * input / (2 * n);
        let columns: Vec<usize> = (0..width).map(|x| source(x, width, self.width)).collect();
        let defective = (0..height)
            .flat_map(|y| {
                let row = source(y, height, self.height) * self.width;
                columns.iter().map(move |&x| self.defective[row + x])
            })
            .collect();
        Self { width, height, defective }
    }
}

/// Reads a mask from any file that [`read()`](super::read()) accepts.
///
/// In a lossless format every pixel that is not black is defective: masks are stored as 0/255, as
/// 0/1 or with one value per kind of defect, and all of them mean the same here. JPEG and WebP
/// surround what was black with small values, so there a pixel counts from half the full range on.
///
/// # Errors
/// As [`read()`](super::read()).
pub fn read_mask(path: &Path) -> Result<Mask, ImageError> {
    let (image, format) = decode_with_format(&read_bytes(path)?, path)?;
    let lossy = matches!(format, ImageFormat::Jpeg | ImageFormat::WebP);
    let is_defective = |&v: &f32| if lossy { v >= 0.5 } else { v > 0.0 };
    let defective = image.pixels.chunks_exact(image.channels).map(|p| p.iter().any(is_defective)).collect();
    Ok(Mask { width: image.width, height: image.height, defective })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::{GrayImage, Luma, Rgb, RgbImage};

    #[test]
    fn masks_of_zero_and_one_mean_the_same_as_masks_of_zero_and_255() {
        let folder = tempfile::tempdir().unwrap();
        let mut masks = Vec::new();
        for value in [1_u8, 2, 255] {
            let path = folder.path().join(format!("{value}.png"));
            GrayImage::from_fn(6, 4, |x, _| Luma([if x > 2 { value } else { 0 }])).save(&path).unwrap();
            masks.push(read_mask(&path).unwrap());
        }
        assert!((masks[0].area() - 0.5).abs() < 1e-12);
        assert!(masks.iter().all(|m| *m == masks[0]));
    }

    #[test]
    fn one_coloured_sample_is_enough_in_an_rgb_mask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        RgbImage::from_fn(2, 1, |x, _| Rgb([0, 0, x as u8])).save(&path).unwrap();
        assert_eq!(read_mask(&path).unwrap().defective, [false, true]);
    }

    #[test]
    fn jpeg_noise_around_a_defect_is_not_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jpg");
        let inside = |x: u32, y: u32| (10..30).contains(&x) && (12..27).contains(&y);
        GrayImage::from_fn(40, 40, |x, y| Luma([if inside(x, y) { 255 } else { 0 }])).save(&path).unwrap();
        let mask = read_mask(&path).unwrap();
        for y in 0..40 {
            for x in 0..40 {
                assert_eq!(mask.defective[y * 40 + x], inside(x as u32, y as u32), "at ({x}, {y})");
            }
        }
    }

    #[test]
    fn enlarging_a_mask_by_a_whole_factor_repeats_its_pixels() {
        let mask = Mask { width: 3, height: 1, defective: vec![true, false, true] };
        let large = mask.resize_nearest(6, 2);
        assert_eq!(large.defective[..6], [true, true, false, false, true, true]);
        assert_eq!(large.defective[6..], large.defective[..6]);
        assert_eq!(large.resize_nearest(3, 1), mask);
    }
}
