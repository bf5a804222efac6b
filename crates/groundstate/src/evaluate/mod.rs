//! Inspections of a labelled test set → an evaluation with stable JSON keys.
//!
//! [`evaluate`] takes what the detector said about each test image ([`Judged`]) beside the ground
//! truth and returns an [`Evaluation`], whose field names are the keys of the JSON file. Definitions
//! are those of [`crate::metrics`].

mod error;
mod evaluation;
mod judged;
mod pixels;
mod region;

use std::collections::BTreeMap;

pub use error::EvaluateError;
pub use evaluation::{Counts, DefectVerdicts, Evaluation, ImageResult, MapMetrics, Verdicts};
pub use judged::Judged;

use crate::image::Roi;
use crate::metrics::{Auroc, MetricsError, Ranking};
use region::Region;

/// States in the evaluation which pixels were compared.
const RESOLUTION: &str = "masks and maps are compared pixel by pixel at the resolution of each test image";
/// Added where there is a region of interest.
const INSIDE: &str = ", inside the region of interest";

/// Metrics of `judged`, the test images of one data set.
///
/// `default_score` names the score that the verdict rests on and that the headline metrics are of.
/// What the images do not define is `None`, with its reason under [`Evaluation::absent`]. Costs and
/// [`Counts::failed`] are the caller's to fill in.
///
/// With a region of interest only pixels inside count. An anomalous image whose mask lies wholly outside
/// is neither a good part nor one whose defect could be found: it is left out of verdicts and image
/// metrics and counted ([`Counts::outside_roi`]); its pixels inside count, as the defect-free ones that
/// they are.
///
/// # Errors
/// No image, an unknown default score, two images of one name, images with different scores or maps,
/// a number that is not finite, a map and mask of different sizes, or a defect in the mask of an image
/// labelled normal.
pub fn evaluate(
    judged: &[Judged],
    default_score: &str,
    roi: Option<&Roi>,
) -> Result<Evaluation, EvaluateError> {
    judged::check(judged, default_score)?;
    let region = Region::new(judged, roi);
    let (excluded, counted): (Vec<&Judged>, Vec<&Judged>) =
        judged.iter().partition(|image| region.excludes(image));
    let images = judged.iter().map(|image| ImageResult::of(image, region.excludes(image))).collect();
    let mut absent = BTreeMap::new();
    let image_auroc = image_auroc(&counted, |_| true).unwrap_or_else(|reason| {
        absent.insert("image_auroc".to_owned(), reason.to_string());
        BTreeMap::new()
    });
    let defects = defects(&counted);
    let image_auroc_by_defect = defects
        .keys()
        .filter_map(|defect| Some((defect.clone(), image_auroc_of(&counted, defect)?)))
        .collect();
    let default = match ranking(&counted, default_score, |_| true) {
        Ok(ranking) => Some(ranking),
        Err(reason) => {
            for key in ["average_precision", "f1_max", "f1_max_threshold"] {
                absent.insert(key.to_owned(), reason.to_string());
            }
            None
        }
    };
    let f1_max = default.as_ref().map(Ranking::f1_max);
    let pixels = pixels::measure(judged, &region, &mut absent);
    let default_map = pixels.default;
    Ok(Evaluation {
        default_score: default_score.to_owned(),
        counts: Counts { outside_roi: excluded.len(), ..counts(&counted) },
        verdicts: verdicts(&counted, defects),
        image_auroc,
        image_auroc_by_defect,
        average_precision: default.as_ref().map(Ranking::average_precision),
        f1_max: f1_max.map(|best| best.value),
        f1_max_threshold: f1_max.map(|best| best.threshold),
        pixel_auroc: default_map.map(|map| map.pixel_auroc),
        pixel_average_precision: default_map.map(|map| map.pixel_average_precision),
        pixel_f1_max: default_map.map(|map| map.pixel_f1_max),
        pixel_f1_max_threshold: default_map.map(|map| map.pixel_f1_max_threshold),
        aupro_30: default_map.map(|map| map.aupro_30),
        aupro_05: default_map.map(|map| map.aupro_05),
        aupimo: pixels.aupimo,
        maps: pixels.others,
        pro_curve: pixels.pro_curve,
        absent,
        resolution: format!("{RESOLUTION}{}", if roi.is_some() { INSIDE } else { "" }),
        train_seconds: None,
        peak_memory_mib: None,
        images_per_second: None,
        images,
    })
}

/// Ranks the images that `include` by the score `name`.
fn ranking(
    judged: &[&Judged],
    name: &str,
    include: impl Fn(&Judged) -> bool,
) -> Result<Ranking, MetricsError> {
    let (scores, anomalous): (Vec<f64>, Vec<bool>) = judged
        .iter()
        .filter(|image| include(image))
        .map(|image| (image.scores[name], image.anomalous))
        .unzip();
    Ranking::new(&scores, &anomalous)
}

/// AUROC of every score over the images that `include`.
fn image_auroc(
    judged: &[&Judged],
    include: impl Fn(&Judged) -> bool,
) -> Result<BTreeMap<String, Auroc>, MetricsError> {
    let names = judged.first().map(|image| image.scores.keys()).into_iter().flatten();
    names.map(|name| Ok((name.clone(), ranking(judged, name, &include)?.auroc_with_interval()))).collect()
}

/// AUROC of every score, the images of one defect type against all normal images; `None` without
/// normal images, which the reason for the absent `image_auroc` covers.
fn image_auroc_of(judged: &[&Judged], defect: &str) -> Option<BTreeMap<String, Auroc>> {
    image_auroc(judged, |image| !image.anomalous || image.defect == defect).ok()
}

fn counts(judged: &[&Judged]) -> Counts {
    let anomalous = judged.iter().filter(|image| image.anomalous);
    Counts {
        normal: judged.iter().filter(|image| !image.anomalous).count(),
        anomalous: anomalous.clone().count(),
        without_mask: anomalous.filter(|image| image.mask.is_none()).count(),
        outside_roi: 0,
        failed: 0,
    }
}

/// Anomalous images and how many of them were flagged, for each defect type.
fn defects(judged: &[&Judged]) -> BTreeMap<String, DefectVerdicts> {
    let mut defects: BTreeMap<String, DefectVerdicts> = BTreeMap::new();
    for image in judged.iter().filter(|image| image.anomalous) {
        let of_type = defects.entry(image.defect.clone()).or_default();
        of_type.images += 1;
        of_type.detected += usize::from(image.flagged);
    }
    defects
}

fn verdicts(judged: &[&Judged], by_defect: BTreeMap<String, DefectVerdicts>) -> Verdicts {
    Verdicts {
        false_rejects: judged.iter().filter(|image| !image.anomalous && image.flagged).count(),
        detected: by_defect.values().map(|defect| defect.detected).sum(),
        by_defect,
    }
}
