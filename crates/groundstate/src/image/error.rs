//! What can go wrong between a file and an [`Image`](super::Image).

use std::io;
use std::path::PathBuf;

/// Why a picture could not be read, prepared or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file system refused: missing, not readable, not writable, disk full.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was tried: `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The path leads to something that holds no bytes of its own.
    #[error("cannot read {}: expected an image file, found {found}", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
        /// For example `a folder`.
        found: &'static str,
    },
    /// The content is no image of a kind that is read here, whatever the file's name says.
    #[error("cannot read {}: expected a PNG, JPEG, TIFF, BMP or WebP image, found {found}", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What the first bytes look like.
        found: String,
    },
    /// The file announces more than is decoded here; nothing was allocated for it.
    #[error("refused to read {}: {found}, the limit is {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The announced size.
        found: String,
        /// The limit that it breaks.
        limit: String,
    },
    /// The file ends before the picture does.
    #[error(
        "cannot read {}: the {format} data is cut off after {bytes} bytes; copy the file again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// `PNG`, `JPEG`, `TIFF`, `BMP` or `WebP`.
        format: &'static str,
        /// Bytes present.
        bytes: usize,
    },
    /// The content is damaged, or of a variant that is not supported.
    #[error("cannot read {} as {format}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// `PNG`, `JPEG`, `TIFF`, `BMP` or `WebP`.
        format: &'static str,
        /// The decoder's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A floating-point picture holds NaN or infinity.
    #[error("cannot use {}: expected finite values, found {found} at pixel ({x}, {y})", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The offending value.
        found: f32,
        /// Its column.
        x: usize,
        /// Its row.
        y: usize,
    },
    /// A setting of [`Preprocessing`](super::Preprocessing) is out of range.
    #[error("input size is {found} px, expected {min} to {max}")]
    InputSize {
        /// The value given.
        found: usize,
        /// Smallest edge allowed.
        min: usize,
        /// Largest edge allowed.
        max: usize,
    },
    /// Nothing would be darker than white.
    #[error("white_level is 0, expected a number from 1 to 65535")]
    WhiteLevel,
    /// A picture could not be turned into a file's bytes.
    #[error("cannot encode a picture of {width} × {height} px as {format}: {source}")]
    Encode {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// `PNG`, `JPEG` or `TIFF`.
        format: &'static str,
        /// The encoder's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
