//! The HTML page of a training: its course, and what its chains look like beside normal pictures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use groundstate::detector::TrainingRecord;
use groundstate::image::{Image, png_bytes};
use groundstate::model::{Batch, Energy};
use groundstate::report::{Picture, TrainingPage, write_training};
use groundstate::train::MethodName;

use crate::report::course;
use crate::train::TrainedModel;

/// The page's name in its folder, which an evaluation's report may share.
const PAGE: &str = "training.html";
/// Small pictures are enlarged to at least this edge, pixel by pixel, so that they can be looked at.
const LEAST_EDGE_PX: usize = 128;

/// Writes the page into `folder`, which is made if missing, and returns its path.
pub(crate) fn write_training_report(folder: &Path, title: &str, trained: &TrainedModel) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let (detector, exhibit) = (&trained.detector, &trained.exhibit);
    let mut facts = Vec::new();
    for (kind, pictures) in [("Normal pictures", &exhibit.normal), ("Chains", &exhibit.chains)] {
        if !pictures.is_empty() {
            facts.push((kind.to_owned(), statistics(&detector.energy, pictures)));
        }
    }
    facts.extend(remarks(&detector.record));
    let page = TrainingPage {
        title: title.to_owned(),
        summary: trained.summary(),
        producer: concat!("Groundstate ", env!("CARGO_PKG_VERSION")).to_owned(),
        facts,
        course: course(&detector.record.curve),
        normal: pictures(&exhibit.normal)?,
        chains: pictures(&exhibit.chains)?,
    };
    let path = folder.join(PAGE);
    write_training(&path, &page)?;
    Ok(path)
}

/// What the record says of the course, and its notes.
fn remarks(record: &TrainingRecord) -> Vec<(String, String)> {
    let joined = record.method == MethodName::Product.to_string() && !record.curve.is_empty();
    let course = joined.then_some("of networks that learn one after another: the loss begins anew with each");
    let notes = record.notes.iter().map(|note| ("Note".to_owned(), note.clone()));
    course.map(|text| ("Course".to_owned(), text.to_owned())).into_iter().chain(notes).collect()
}

/// What pictures of one kind are like: chains that sample the model agree with the normal ones.
fn statistics(energy: &impl Energy, pictures: &[Image]) -> String {
    let local = energy.local_energies(&Batch::of(pictures));
    let energies: Vec<f64> = local
        .iter()
        .map(|map| map.values.iter().map(|&e| f64::from(e)).sum::<f64>() / map.values.len() as f64)
        .collect();
    let pixels = || pictures.iter().flat_map(|picture| &picture.pixels).map(|&value| f64::from(value));
    let (pixel_mean, pixel_spread) = moments(pixels());
    let (energy_mean, energy_spread) = moments(energies.into_iter());
    format!(
        "{} shown; pixel values {pixel_mean:.3} ± {pixel_spread:.3}; local energies {energy_mean:.3} on \
         average, ± {energy_spread:.3} from picture to picture",
        pictures.len()
    )
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (mean, (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}

fn pictures(images: &[Image]) -> Result<Vec<Picture>> {
    let numbered = images.iter().enumerate();
    numbered
        .map(|(i, image)| Ok(Picture { label: (i + 1).to_string(), bytes: png_bytes(&enlarged(image))? }))
        .collect()
}

/// The picture with every pixel repeated in both directions.
fn enlarged(image: &Image) -> Image {
    let times = LEAST_EDGE_PX.div_ceil(image.width.max(1));
    let (width, height) = (image.width * times, image.height * times);
    let mut pixels = Vec::with_capacity(width * height * image.channels);
    for at in 0..width * height {
        let (x, y) = (at % width / times, at / width / times);
        let from = (y * image.width + x) * image.channels;
        pixels.extend_from_slice(&image.pixels[from..from + image.channels]);
    }
    Image { width, height, channels: image.channels, pixels }
}

#[cfg(test)]
mod tests {
    use groundstate::detector::CurvePoint;

    use super::*;

    #[test]
    fn a_course_of_several_networks_says_so() {
        let mut record = TrainingRecord { notes: vec!["n".to_owned()], ..TrainingRecord::default() };
        record.curve = vec![CurvePoint { step: 1, loss: 0.5, energy_gap: None }];
        record.method = "contrast".to_owned();
        assert_eq!(remarks(&record), [("Note".to_owned(), "n".to_owned())]);
        record.method = "product".to_owned();
        assert!(remarks(&record)[0].1.contains("the loss begins anew"));
    }

    #[test]
    fn enlarging_repeats_every_pixel() {
        let small = Image { width: 2, height: 1, channels: 1, pixels: vec![0.25, 0.75] };
        let large = enlarged(&small);
        assert_eq!((large.width, large.height), (128, 64));
        for row in large.pixels.chunks_exact(128) {
            assert!(row[..64].iter().all(|v| *v == 0.25) && row[64..].iter().all(|v| *v == 0.75));
        }
    }

    #[test]
    fn moments_of_two_values() {
        assert_eq!(moments([1.0, 5.0].into_iter()), (3.0, 2.0));
    }
}
