//! Images and maps as plain arrays of `f32`.
//!
//! Every picture of this crate is an [`Image`]: rows from the top, values in `[0, 1]`. Whatever is
//! measured per pixel (energies, gradients, masks as numbers) is a [`Map`].

/// A picture in memory.
///
/// `pixels` is row-major with interleaved channels (height × width × channels); 1 channel is grey,
/// 3 channels are red, green, blue as the file encodes them (no gamma is removed). Values lie in
/// `[0, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `height * width * channels` values in `[0, 1]`.
    pub pixels: Vec<f32>,
}

/// One number per pixel, row-major (height × width).
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// `height * width` values.
    pub values: Vec<f32>,
}

impl Map {
    /// A map with every value equal to `value`.
    pub fn filled(width: usize, height: usize, value: f32) -> Self {
        Self { width, height, values: vec![value; width * height] }
    }
}
