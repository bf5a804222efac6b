//! The course of a training and what the model takes for normal, as one self-contained HTML page.

use std::path::Path;

use askama::Template;

use super::figures::{Figure, courses};
use super::picture::Embedded;
use super::{Picture, ReportError, TrainingPoint};
use crate::image::write_atomically;

/// What the page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingPage {
    /// Headline, for example the name of the data set.
    pub title: String,
    /// What was trained, in a sentence.
    pub summary: String,
    /// Program and version, for the foot of the page.
    pub producer: String,
    /// Further facts in the order they are shown: what is said, and its value.
    pub facts: Vec<(String, String)>,
    /// The course of the training; empty for a closed form.
    pub course: Vec<TrainingPoint>,
    /// Normal pictures as the energy sees them.
    pub normal: Vec<Picture>,
    /// Where chains of the model ended; empty for methods without chains.
    pub chains: Vec<Picture>,
}

#[derive(Template)]
#[template(path = "training.html")]
struct Rendered<'a> {
    page: &'a TrainingPage,
    figures: Vec<Figure>,
    normal: Vec<Embedded>,
    chains: Vec<Embedded>,
}

/// Writes the page to `path`; an older one is replaced as a whole.
///
/// # Errors
/// A picture that is neither PNG nor JPEG, or a file that cannot be written.
pub fn write_training(path: &Path, page: &TrainingPage) -> Result<(), ReportError> {
    let embed = |pictures: &[Picture], of| {
        pictures.iter().map(|picture| Embedded::new(picture, of)).collect::<Result<Vec<_>, _>>()
    };
    let html = Rendered {
        page,
        figures: courses(&page.course)?,
        normal: embed(&page.normal, "the normal pictures")?,
        chains: embed(&page.chains, "the model's chains")?,
    }
    .render()?;
    write_atomically(path, html.as_bytes())
        .map_err(|source| ReportError::Write { path: path.to_owned(), source })
}
