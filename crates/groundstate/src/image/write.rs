//! From an [`Image`] or [`Map`] to a file.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ::image::codecs::jpeg::JpegEncoder;
use ::image::codecs::png::PngEncoder;
use ::image::{ExtendedColorType, ImageEncoder};

use super::{Image, ImageError, Map, float_tiff};

/// What the names of temporary files end with.
const TEMPORARY: &str = ".tmp";

/// The image as a PNG file of 8 bits per sample.
///
/// # Errors
/// The size exceeds what PNG can state.
pub fn png_bytes(image: &Image) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    encode(image, PngEncoder::new(&mut bytes), "PNG")?;
    Ok(bytes)
}

/// The image as a JPEG file; `quality` runs from 1 (worst) to 100 (best).
///
/// # Errors
/// The size exceeds the 65,535 px that JPEG can state.
pub fn jpeg_bytes(image: &Image, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    encode(image, JpegEncoder::new_with_quality(Cursor::new(&mut bytes), quality.clamp(1, 100)), "JPEG")?;
    Ok(bytes)
}

/// Writes a PNG of 8 bits per sample; an existing file is replaced as a whole or not at all.
///
/// # Errors
/// Names the file and the operating system's reason.
pub fn write_png(path: &Path, image: &Image) -> Result<(), ImageError> {
    write_bytes(path, &png_bytes(image)?)
}

/// Writes the values as they are: a grey TIFF of 32-bit floats, uncompressed.
///
/// # Errors
/// Names the file and the operating system's reason.
pub fn write_map(path: &Path, map: &Map) -> Result<(), ImageError> {
    let bytes = float_tiff::encode(map).map_err(|source| ImageError::Encode {
        width: map.width,
        height: map.height,
        format: "TIFF",
        source: source.into(),
    })?;
    write_bytes(path, &bytes)
}

/// Writes `bytes` to a temporary file beside `path` and renames it, so that a reader sees the old
/// content or the new one, and a crash or a full disk leaves the old one.
///
/// # Errors
/// The operating system's reason; the temporary file is removed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match replace(path, bytes) {
        // Another process may have swept the temporary file away before it was locked.
        Err(error) if error.kind() == io::ErrorKind::NotFound => replace(path, bytes),
        result => result,
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut temporary = temporary_prefix(path)?;
    temporary.push(format!("{}-{}{TEMPORARY}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(temporary);
    let result = fs::File::create_new(&temporary)
        .and_then(|mut file| {
            // Says that the writer is alive. Some file systems have no locks.
            let _ = file.try_lock();
            file.write_all(bytes).and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Removes the temporary files of [`write_atomically`] for `path` whose writers were killed.
///
/// # Errors
/// The folder cannot be listed or a file not be removed.
pub fn remove_leftovers(path: &Path) -> io::Result<()> {
    let prefix = temporary_prefix(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if !(name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(TEMPORARY.as_bytes())) {
            continue;
        }
        // A writer holds a lock, which the system takes back when it dies.
        let abandoned = fs::File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file that another process may have removed already.
///
/// # Errors
/// The system's reason; that there is no such file is none.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the names of the temporary files for `path` begin with.
fn temporary_prefix(path: &Path) -> io::Result<OsString> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    Ok(prefix)
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    write_atomically(path, bytes).map_err(|source| ImageError::Io {
        verb: "write",
        path: path.into(),
        source,
    })
}

fn encode(image: &Image, encoder: impl ImageEncoder, format: &'static str) -> Result<(), ImageError> {
    let (width, height) = (image.width, image.height);
    let failed = |source| ImageError::Encode { width, height, format, source };
    let colour = if image.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let samples: Vec<u8> = image.pixels.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    let edge = |px: usize| u32::try_from(px).map_err(|e| failed(e.into()));
    encoder.write_image(&samples, edge(width)?, edge(height)?, colour).map_err(|e| failed(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{decode, read};

    fn bytes_as_image(width: usize, height: usize, channels: usize) -> Image {
        let pixels = (0..width * height * channels).map(|i| (i * 37 % 256) as f32 / 255.0).collect();
        Image { width, height, channels, pixels }
    }

    #[test]
    fn writing_a_png_and_reading_it_is_the_identity_on_8_bit_values() {
        let folder = tempfile::tempdir().unwrap();
        for channels in [1, 3] {
            let image = bytes_as_image(13, 9, channels);
            let path = folder.path().join("a.png");
            write_png(&path, &image).unwrap();
            assert_eq!(read(&path).unwrap(), image);
        }
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "temporary files stay behind");
    }

    #[test]
    fn a_written_map_holds_the_values_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.tif");
        let map = Map { width: 5, height: 3, values: (0..15).map(|i| i as f32 / 14.3).collect() };
        write_map(&path, &map).unwrap();
        let expected: Vec<f32> = map.values.iter().map(|v| v.clamp(0.0, 1.0)).collect();
        assert_eq!(read(&path).unwrap().pixels, expected);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a.png");
        let message = write_png(&path, &bytes_as_image(2, 2, 1)).unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("a.png"), "{message}");
        // Replacing a folder fails at the rename, after the temporary file is written.
        let occupied = folder.path().join("occupied");
        fs::create_dir(&occupied).unwrap();
        assert!(write_png(&occupied, &bytes_as_image(2, 2, 1)).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gsm");
        for name in [".m.gsm.1-0.tmp", ".m.gsm.2-0.tmp", ".n.gsm.1-0.tmp", "m.gsm.1-0.tmp", ".m.gsm.txt"] {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        let alive = fs::File::open(folder.path().join(".m.gsm.2-0.tmp")).unwrap();
        alive.try_lock().unwrap();
        remove_leftovers(&path).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".m.gsm.2-0.tmp", ".m.gsm.txt", ".n.gsm.1-0.tmp", "m.gsm.1-0.tmp"]);
        drop(alive);
        remove_leftovers(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn jpeg_at_high_quality_stays_close_to_a_smooth_image() {
        let pixels = (0..64 * 64).map(|i| (i % 64) as f32 / 63.0).collect();
        let image = Image { width: 64, height: 64, channels: 1, pixels };
        let back = decode(&jpeg_bytes(&image, 95).unwrap(), Path::new("a.jpg")).unwrap();
        for (a, b) in back.pixels.iter().zip(&image.pixels) {
            // Quality 95 quantises the low frequencies to steps of at most 2 of 255.
            assert!((a - b).abs() < 4.0 / 255.0);
        }
    }
}
