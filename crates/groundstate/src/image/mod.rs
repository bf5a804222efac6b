//! Images and maps as plain arrays of `f32`.
//!
//! Every picture of this crate is an [`Image`]: rows from the top, values in `[0, 1]`. Whatever is
//! measured per pixel (energies, gradients) is a [`Map`]; what is known per pixel is a [`Mask`].
//! [`read()`] makes an image of a file, [`Preprocessing`] makes a network input of an image and
//! brings maps back, [`overlay`] shows a map on its image.

mod error;
mod float_tiff;
mod grid;
mod jpeg_end;
mod light;
mod map;
mod mask;
mod nuisance;
mod overlay;
mod packed_tiff;
mod preprocessing;
mod read;
mod registration;
mod resample;
mod roi;
mod tone;
mod white;
mod write;

pub use error::ImageError;
pub use grid::Grid;
pub use light::Light;
pub(crate) use mask::components;
pub use mask::{Mask, read_mask};
pub use nuisance::Nuisance;
pub use overlay::{heat, outline, overlay};
pub use preprocessing::{Colour, Fit, Preprocessing};
pub use read::{MAX_DECODED_BYTES, MAX_EDGE_PX, MAX_FILE_BYTES, MAX_PIXELS, decode, read};
pub use registration::{Pose, Reach, Registration, Unexplained};
pub use roi::{Polygon, Roi, RoiError};
pub use tone::Tone;
pub use white::{Levels, white_level};
pub(crate) use write::remove_if_there;
pub use write::{jpeg_bytes, png_bytes, remove_leftovers, write_atomically, write_map, write_png};

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
