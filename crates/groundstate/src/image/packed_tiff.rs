//! TIFF with samples of an unusual number of bits, such as the 10, 12 and 14 of industrial cameras,
//! packed without gaps, which the `image` crate does not read.

use std::io::{self, Cursor};

use tiff::decoder::Decoder;
use tiff::tags::Tag;
use tiff::{ColorType, TiffError, TiffResult};

use super::Image;

/// Most bits of a sample that are read here.
const MAX_BITS: u8 = 16;

/// Reads the first page if it is grey or RGB in uncompressed strips, with whole-numbered samples of at
/// most 16 bits; `None` for every other TIFF.
///
/// The highest number that the samples can hold becomes 1.
pub(super) fn read(bytes: &[u8], max_pixels: usize) -> TiffResult<Option<Image>> {
    let mut decoder = Decoder::new(Cursor::new(bytes))?;
    let (channels, bits) = match decoder.colortype()? {
        ColorType::Gray(bits) => (1, bits),
        ColorType::RGB(bits) => (3, bits),
        _ => return Ok(None),
    };
    let (width, height) = decoder.dimensions()?;
    let (width, height) = (width as usize, height as usize);
    if width.saturating_mul(height) > max_pixels {
        return Err(TiffError::LimitsExceeded);
    }
    if bits > MAX_BITS || !is_plain(&mut decoder)? {
        return Ok(None);
    }
    let row_bytes = (width * channels * usize::from(bits)).div_ceil(8);
    // Before memory is taken for them.
    if bytes.len() / row_bytes < height {
        return Err(ends_early());
    }
    let offsets = decoder.get_tag_u64_vec(Tag::StripOffsets)?;
    let rows_a_strip =
        decoder.find_tag_unsigned::<u32>(Tag::RowsPerStrip)?.map_or(height, |rows| rows as usize);
    let rows_a_strip = rows_a_strip.clamp(1, height);
    let mut pixels = Vec::with_capacity(width * height * channels);
    for (strip, first_row) in (0..height).step_by(rows_a_strip).enumerate() {
        let length = rows_a_strip.min(height - first_row) * row_bytes;
        let start = offsets.get(strip).and_then(|&offset| usize::try_from(offset).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let rows = range.and_then(|range| bytes.get(range)).ok_or_else(ends_early)?;
        for row in rows.chunks_exact(row_bytes) {
            pixels.extend(samples(row, bits).take(width * channels));
        }
    }
    Ok(Some(Image { width, height, channels, pixels }))
}

/// Whether samples lie in strips as whole numbers, black first, one pixel after the other, from the highest
/// bit of each byte on, and nothing was done to them (TIFF 6.0, baseline).
fn is_plain(decoder: &mut Decoder<Cursor<&[u8]>>) -> TiffResult<bool> {
    /// Each with the value that it must have, which is also what it is when absent.
    const PLAIN: [(Tag, u16); 5] = [
        (Tag::Compression, 1),
        (Tag::PlanarConfiguration, 1),
        (Tag::Predictor, 1),
        (Tag::FillOrder, 1),
        (Tag::SampleFormat, 1),
    ];
    for (tag, plain) in PLAIN {
        if decoder.find_tag_unsigned_vec::<u16>(tag)?.is_some_and(|found| found.iter().any(|&v| v != plain)) {
            return Ok(false);
        }
    }
    let white_first = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation)? == Some(0);
    Ok(!white_first && decoder.find_tag(Tag::StripOffsets)?.is_some())
}

fn ends_early() -> TiffError {
    TiffError::IoError(io::ErrorKind::UnexpectedEof.into())
}

/// The samples of a row, each divided by the highest number that `bits` bits hold.
fn samples(row: &[u8], bits: u8) -> impl Iterator<Item = f32> {
    let bits = usize::from(bits);
    let highest = ((1u32 << bits) - 1) as f32;
    (0..row.len() * 8 / bits).map(move |sample| {
        let first = sample * bits;
        // A sample of 16 bits or fewer lies in three bytes.
        let three = (0..3).fold(0u32, |sum, i| sum << 8 | u32::from(*row.get(first / 8 + i).unwrap_or(&0)));
        let value = three >> (24 - bits - first % 8) & ((1 << bits) - 1);
        value as f32 / highest
    })
}
