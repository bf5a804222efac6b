//! From a file to an [`Image`].
//!
//! The content decides, not the file's name. Sizes are checked against fixed limits before any
//! pixel memory is allocated, so a decompression bomb costs an error, not the machine.

use std::fs;
use std::io::{self, Cursor, Read};
use std::path::Path;

use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{Image, ImageError, float_tiff, jpeg_end, packed_tiff};

/// Largest file that is read: 512 MiB.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Largest width and height in pixels.
pub const MAX_EDGE_PX: usize = 32_768;
/// Largest width × height: 2²⁶ (8192 × 8192), at most 512 MiB at 16-bit RGBA.
pub const MAX_PIXELS: usize = 1 << 26;
/// What a decoder may allocate for its output and buffers together.
const MAX_DECODER_BYTES: u64 = 1 << 30;
/// Most memory that decoding one image takes besides the file's bytes: what a decoder has left (an image
/// that is turned stands twice there) and the image as floats.
pub const MAX_DECODED_BYTES: usize = MAX_DECODER_BYTES as usize + MAX_PIXELS * 3 * size_of::<f32>();

/// Reads a PNG, JPEG, TIFF, BMP or WebP file, of 8 or 16 bits per sample, or a TIFF of any number of bits
/// up to 16 or of 32-bit floats.
///
/// The highest number that a sample of the file can hold becomes 1. Palettes are resolved, alpha is
/// composited over black, floats are clamped to `[0, 1]`, and an EXIF orientation is applied. Of several
/// frames or pages the first is read. Colour profiles are ignored.
///
/// # Errors
/// Names the file and what was found instead of a complete image within the limits
/// ([`MAX_FILE_BYTES`], [`MAX_EDGE_PX`], [`MAX_PIXELS`]).
pub fn read(path: &Path) -> Result<Image, ImageError> {
    decode(&read_bytes(path)?, path)
}

/// Does what [`read()`] does with bytes in memory; `name` is what errors call them.
///
/// # Errors
/// As [`read()`], less the file system's.
pub fn decode(bytes: &[u8], name: &Path) -> Result<Image, ImageError> {
    decode_with_format(bytes, name).map(|(image, _)| image)
}

/// The file's content, if it is a regular file of acceptable size.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, ImageError> {
    let io = |source| ImageError::Io { verb: "read", path: path.into(), source };
    // Asked before opening, because opening a named pipe waits for a writer.
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "a device or pipe" };
        return Err(ImageError::NotAFile { path: path.into(), found });
    }
    let file = fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_FILE_BYTES) as usize);
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ImageError::TooLarge {
            path: path.into(),
            found: format!("the file has {} bytes", metadata.len()),
            limit: format!("{MAX_FILE_BYTES} bytes"),
        });
    }
    Ok(bytes)
}

/// The image and the format that it was found to have.
pub(super) fn decode_with_format(bytes: &[u8], name: &Path) -> Result<(Image, ImageFormat), ImageError> {
    let format = ::image::guess_format(bytes).ok();
    let Some((format, format_name)) = format.and_then(|f| supported(f).map(|n| (f, n))) else {
        return Err(ImageError::NotAnImage { path: name.into(), found: describe(bytes) });
    };
    if format == ImageFormat::Jpeg && !jpeg_end::reaches_end(bytes) {
        return Err(ImageError::Truncated { path: name.into(), format: format_name, bytes: bytes.len() });
    }
    let failed = |source| decoder_error(source, name, format_name, bytes.len());
    let image = match decode_pixels(bytes, format) {
        Err(::image::ImageError::Unsupported(_)) if format == ImageFormat::Tiff => {
            decode_unusual_tiff(bytes, name, format_name)?
        }
        other => other.map_err(failed)?,
    };
    let image = clamp(image, name)?;
    Ok((image, format))
}

fn decode_pixels(bytes: &[u8], format: ImageFormat) -> Result<Image, ::image::ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_EDGE_PX as u32);
    limits.max_image_height = Some(MAX_EDGE_PX as u32);
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if width as usize * height as usize > MAX_PIXELS {
        use ::image::error::{LimitError, LimitErrorKind};
        return Err(::image::ImageError::Limits(LimitError::from_kind(LimitErrorKind::DimensionError)));
    }
    // A damaged EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(::image::metadata::Orientation::NoTransforms);
    let mut decoded = DynamicImage::from_decoder(decoder)?;
    decoded.apply_orientation(orientation);
    Ok(from_decoded(decoded))
}

/// What the `image` crate does not read: grey floats, and samples of any number of bits.
fn decode_unusual_tiff(bytes: &[u8], path: &Path, format: &'static str) -> Result<Image, ImageError> {
    let read = float_tiff::read(bytes, MAX_PIXELS).and_then(|image| match image {
        None => packed_tiff::read(bytes, MAX_PIXELS),
        found => Ok(found),
    });
    match read {
        Ok(Some(image)) => Ok(image),
        Ok(None) => Err(ImageError::Decode {
            path: path.into(),
            format,
            source: "its colours are of a kind that is not read here; save it as 8- or 16-bit grey or RGB"
                .into(),
        }),
        Err(tiff::TiffError::LimitsExceeded) => Err(too_large(path)),
        Err(tiff::TiffError::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(ImageError::Truncated { path: path.into(), format, bytes: bytes.len() })
        }
        Err(error) => Err(ImageError::Decode { path: path.into(), format, source: error.into() }),
    }
}

fn from_decoded(decoded: DynamicImage) -> Image {
    let byte = |v: u8| f32::from(v) / 255.0;
    let word = |v: u16| f32::from(v) / 65_535.0;
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let (channels, pixels) = match decoded {
        DynamicImage::ImageLuma8(b) => (1, b.into_raw().into_iter().map(byte).collect()),
        DynamicImage::ImageLumaA8(b) => (1, over_black::<_, 1>(b.as_raw(), byte)),
        DynamicImage::ImageRgb8(b) => (3, b.into_raw().into_iter().map(byte).collect()),
        DynamicImage::ImageRgba8(b) => (3, over_black::<_, 3>(b.as_raw(), byte)),
        DynamicImage::ImageLuma16(b) => (1, b.into_raw().into_iter().map(word).collect()),
        DynamicImage::ImageLumaA16(b) => (1, over_black::<_, 1>(b.as_raw(), word)),
        DynamicImage::ImageRgb16(b) => (3, b.into_raw().into_iter().map(word).collect()),
        DynamicImage::ImageRgba16(b) => (3, over_black::<_, 3>(b.as_raw(), word)),
        DynamicImage::ImageRgb32F(b) => (3, b.into_raw()),
        other => (3, over_black::<_, 3>(other.into_rgba32f().as_raw(), |v| v)),
    };
    Image { width, height, channels, pixels }
}

/// Pixels of `COLOURS` samples and an alpha, composited over black.
fn over_black<T: Copy, const COLOURS: usize>(samples: &[T], value: impl Fn(T) -> f32) -> Vec<f32> {
    let mut pixels = Vec::with_capacity(samples.len() / (COLOURS + 1) * COLOURS);
    for pixel in samples.chunks_exact(COLOURS + 1) {
        let alpha = value(pixel[COLOURS]);
        pixels.extend(pixel[..COLOURS].iter().map(|&sample| value(sample) * alpha));
    }
    pixels
}

fn clamp(mut image: Image, path: &Path) -> Result<Image, ImageError> {
    if let Some(i) = image.pixels.iter().position(|v| !v.is_finite()) {
        let pixel = i / image.channels;
        let (x, y) = (pixel % image.width, pixel / image.width);
        return Err(ImageError::NotFinite { path: path.into(), found: image.pixels[i], x, y });
    }
    for value in &mut image.pixels {
        *value = value.clamp(0.0, 1.0);
    }
    Ok(image)
}

fn decoder_error(error: ::image::ImageError, path: &Path, format: &'static str, bytes: usize) -> ImageError {
    match error {
        ::image::ImageError::Limits(_) => too_large(path),
        error if ends_early(&error) => ImageError::Truncated { path: path.into(), format, bytes },
        error => ImageError::Decode { path: path.into(), format, source: error.into() },
    }
}

fn too_large(path: &Path) -> ImageError {
    ImageError::TooLarge {
        path: path.into(),
        found: "the image announces more pixels or memory than is allowed".into(),
        limit: format!("{MAX_EDGE_PX} px an edge and {MAX_PIXELS} px in all"),
    }
}

/// True if the chain of causes ends in a read past the end of the data.
fn ends_early(error: &::image::ImageError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::UnexpectedEof;
        }
        cause = current.source();
    }
    // Some decoders wrap the cause transparently: then only the variant is left.
    matches!(error, ::image::ImageError::IoError(io) if io.kind() == io::ErrorKind::UnexpectedEof)
}

fn supported(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Png => Some("PNG"),
        ImageFormat::Jpeg => Some("JPEG"),
        ImageFormat::Tiff => Some("TIFF"),
        ImageFormat::Bmp => Some("BMP"),
        ImageFormat::WebP => Some("WebP"),
        _ => None,
    }
}

/// A few words on what the bytes look like, for people who picked the wrong file.
fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty file".into();
    }
    if let Ok(format) = ::image::guess_format(bytes) {
        return format!("{} data", format.to_mime_type());
    }
    let head = &bytes[..bytes.len().min(64)];
    let is_text = |c: char| !c.is_control() || c.is_whitespace();
    if let Some(text) = head.utf8_chunks().next().map(|c| c.valid())
        && text.len() + 3 >= head.len()
        && text.chars().all(is_text)
    {
        let start: String = text.chars().take(24).collect();
        return format!("text beginning with {start:?}");
    }
    let start: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("{} bytes beginning with {}", bytes.len(), start.join(" "))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
