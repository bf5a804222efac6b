//! Grey TIFF with 32-bit floating-point samples, which the `image` crate neither reads nor writes.

use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::{ColorType, TiffError, TiffResult};

use super::{Image, Map};

/// Reads the first page if it is grey with 32-bit floats; `None` for every other TIFF.
///
/// Values are returned as stored, not yet clamped.
pub(super) fn read(bytes: &[u8], max_pixels: usize) -> TiffResult<Option<Image>> {
    let mut decoder = Decoder::new(Cursor::new(bytes))?;
    if decoder.colortype()? != ColorType::Gray(32) {
        return Ok(None);
    }
    let (width, height) = decoder.dimensions()?;
    let (width, height) = (width as usize, height as usize);
    if width.saturating_mul(height) > max_pixels {
        return Err(TiffError::LimitsExceeded);
    }
    let mut limits = Limits::default();
    limits.decoding_buffer_size = width * height * size_of::<f32>();
    let mut decoder = decoder.with_limits(limits);
    Ok(match decoder.read_image()? {
        DecodingResult::F32(pixels) if pixels.len() == width * height => {
            Some(Image { width, height, channels: 1, pixels })
        }
        _ => None,
    })
}

/// The bytes of an uncompressed grey float TIFF.
pub(super) fn encode(map: &Map) -> TiffResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let (width, height) = (u32::try_from(map.width)?, u32::try_from(map.height)?);
    TiffEncoder::new(&mut bytes)?.write_image::<colortype::Gray32Float>(width, height, &map.values)?;
    Ok(bytes.into_inner())
}
