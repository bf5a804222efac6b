//! Encoded pictures, ready to be put into a page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::ReportError;

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// What it shows, in a word or two: "image", "ground truth", "anomaly map".
    pub label: String,
    /// A PNG or JPEG file, at the size it should be looked at (about 250 to 400 pixels wide).
    pub bytes: Vec<u8>,
}

/// The pictures of one test image; the texts beside them come from the evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Name of the image in the evaluation.
    pub name: String,
    /// Shown side by side in this order.
    pub pictures: Vec<Picture>,
}

/// A picture as the page embeds it.
pub(super) struct Embedded {
    pub(super) label: String,
    pub(super) alt: String,
    /// A data URL.
    pub(super) source: String,
}

impl Embedded {
    /// Embeds `picture`, which belongs to `of`.
    pub(super) fn new(picture: &Picture, of: &str) -> Result<Self, ReportError> {
        let media = match picture.bytes.as_slice() {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [0xff, 0xd8, 0xff, ..] => "jpeg",
            _ => {
                return Err(ReportError::PictureFormat { label: picture.label.clone(), of: of.to_owned() });
            }
        };
        Ok(Self {
            label: picture.label.clone(),
            alt: format!("{} of {of}", picture.label),
            source: format!("data:image/{media};base64,{}", STANDARD.encode(&picture.bytes)),
        })
    }
}
