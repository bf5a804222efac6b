//! Evidence of drift, image by image, as one self-contained HTML page.

use std::path::Path;

use askama::Template;

use super::ReportError;
use super::chart::{Axis, Chart};
use super::figures::Figure;
use crate::image::write_atomically;

/// What the page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DriftPage {
    /// Headline, for example the model file.
    pub title: String,
    /// What was found, in a sentence.
    pub summary: String,
    /// Program and version, for the foot of the page.
    pub producer: String,
    /// Further facts in the order they are shown: what is said, and its value.
    pub facts: Vec<(String, String)>,
    /// What was watched.
    pub watched: Vec<Course>,
    /// Common logarithm of the evidence from which on drift is reported.
    pub log10_limit: f64,
    /// The image, counted from 0, from which on the change was dated.
    pub since: Option<usize>,
}

/// One number, image by image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// What it is.
    pub name: String,
    /// Its values.
    pub values: Vec<f64>,
    /// Common logarithms of the evidence that it has changed.
    pub log10_evidence: Vec<f64>,
}

#[derive(Template)]
#[template(path = "drift.html")]
struct Rendered<'a> {
    page: &'a DriftPage,
    figures: Vec<Figure>,
}

/// Writes the page to `path`; an older one is replaced as a whole.
///
/// # Errors
/// The file cannot be written.
pub fn write_drift(path: &Path, page: &DriftPage) -> Result<(), ReportError> {
    let html = Rendered { page, figures: figures(page)? }.render()?;
    write_atomically(path, html.as_bytes())
        .map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

/// The evidence of all numbers in one chart, then each number by itself.
fn figures(page: &DriftPage) -> Result<Vec<Figure>, askama::Error> {
    let mut figures = vec![evidence(page)?];
    for course in &page.watched {
        figures.push(values(course, page.since)?);
    }
    Ok(figures)
}

fn evidence(page: &DriftPage) -> Result<Figure, askama::Error> {
    let all = || page.watched.iter().flat_map(|course| &course.log10_evidence).copied();
    let (low, high) = all().fold((0.0, page.log10_limit), |(l, h), v| (f64::min(l, v), f64::max(h, v)));
    let images = page.watched.iter().map(|course| course.values.len()).max().unwrap_or(0) as f64;
    let x = Axis::linear(1.0, images);
    let description = "Evidence against \"nothing has changed\", image by image";
    let mut chart =
        Chart::new(description, "image", x, "log10 evidence", Axis::linear(low, high + 0.05 * (high - low)));
    chart.line("mark", [[1.0, page.log10_limit], [images, page.log10_limit]].into_iter());
    let mut key = Vec::new();
    for (index, course) in page.watched.iter().enumerate() {
        let class = if index == 0 { "default".to_owned() } else { format!("other-{index}") };
        chart.line(&class, numbered(&course.log10_evidence));
        key.push((class, course.name.clone()));
    }
    key.push(("mark".to_owned(), "drift is reported".to_owned()));
    Ok(Figure { title: "Evidence".to_owned(), svg: chart.render()?, key })
}

fn values(course: &Course, since: Option<usize>) -> Result<Figure, askama::Error> {
    let finite = || course.values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let x = Axis::linear(1.0, course.values.len() as f64);
    // The title says what it is; the ticks of a narrow range need the room of the axis label.
    let mut chart = Chart::new(&course.name, "image", x, "", Axis::linear(low, high));
    chart.line("default", numbered(&course.values));
    let mut key = Vec::new();
    if let Some(since) = since {
        chart.mark((since + 1) as f64, "change");
        key.push(("mark".to_owned(), "change".to_owned()));
    }
    Ok(Figure { title: course.name.clone(), svg: chart.render()?, key })
}

/// Points over the images, counted from 1.
fn numbered(values: &[f64]) -> impl Iterator<Item = [f64; 2]> {
    values.iter().enumerate().map(|(i, &value)| [(i + 1) as f64, value])
}
