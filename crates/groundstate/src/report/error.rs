//! Why a report could not be written.

use std::path::PathBuf;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A card shows an image that was not evaluated.
    #[error("there is a card for `{name}`, which is not among the evaluated images")]
    UnknownCard {
        /// The image's name on the card.
        name: String,
    },
    /// A picture's bytes are not in a format that every browser shows.
    #[error("the picture `{label}` of `{of}` is neither PNG nor JPEG")]
    PictureFormat {
        /// What the picture shows.
        label: String,
        /// Whose picture it is.
        of: String,
    },
    /// The evaluation was put together by hand or by another version.
    #[error("image `{name}` has no score `{score}`, which the evaluation names as its default")]
    DefaultScore {
        /// The image.
        name: String,
        /// The default score.
        score: String,
    },
    /// The page could not be put together.
    #[error("the page could not be rendered")]
    Render(#[from] askama::Error),
    /// The page could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The page.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
