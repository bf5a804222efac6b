//! Pixel metrics of every map of the judged images.

use std::collections::BTreeMap;

use super::evaluation::MapMetrics;
use super::judged::Judged;
use super::region::Region;
use crate::image::Map;
use crate::metrics::{LabelledMap, MetricsError, PixelRanking, aupimo};

/// False-positive rate up to which the PRO curve is kept.
const PRO_LIMIT: f64 = 0.3;

/// Keys of the evaluation that are `null` without pixel ground truth.
const PIXEL_KEYS: [&str; 8] = [
    "pixel_auroc",
    "pixel_average_precision",
    "pixel_f1_max",
    "pixel_f1_max_threshold",
    "aupro_30",
    "aupro_05",
    "pro_curve",
    "maps",
];

/// Pixel metrics of the default map and the others.
pub(super) struct Pixels {
    pub(super) default: Option<MapMetrics>,
    pub(super) pro_curve: Vec<[f64; 2]>,
    pub(super) aupimo: Option<f64>,
    pub(super) others: BTreeMap<String, MapMetrics>,
}

/// Measures every map inside the region of interest; what is not defined goes to `absent` with its reason.
pub(super) fn measure(judged: &[Judged], region: &Region, absent: &mut BTreeMap<String, String>) -> Pixels {
    let mut note = |keys: &[&str], reason: String| {
        absent.extend(keys.iter().map(|key| ((*key).to_owned(), reason.clone())));
    };
    let maps = labelled(judged, region, |image| &image.map);
    let aupimo = match aupimo(&maps) {
        Ok(aupimo) => Some(aupimo.mean),
        Err(reason) => {
            note(&["aupimo"], reason.to_string());
            None
        }
    };
    let (default, pro_curve) = match default_map(&maps) {
        Ok((metrics, curve)) => (Some(metrics), curve),
        Err(reason) => {
            note(&PIXEL_KEYS, reason.to_string());
            (None, Vec::new())
        }
    };
    let names = judged.first().map(|image| image.other_maps.keys()).into_iter().flatten();
    let others = names
        .filter_map(|name| {
            let maps = labelled(judged, region, |image| &image.other_maps[name]);
            // Undefined here means undefined for the default map too, whose reason is noted.
            let metrics = PixelRanking::new(&maps).and_then(|ranking| map_metrics(&ranking)).ok()?;
            Some((name.clone(), metrics))
        })
        .collect();
    Pixels { default, pro_curve, aupimo, others }
}

/// The maps of the images whose ground truth is known pixel by pixel.
fn labelled<'a>(
    judged: &'a [Judged],
    region: &'a Region,
    map: impl Fn(&'a Judged) -> &'a Map,
) -> Vec<LabelledMap<'a>> {
    judged
        .iter()
        .filter(|image| !image.anomalous || image.mask.is_some())
        .map(|image| {
            let map = map(image);
            // The mask of a normal image is empty and says no more than the label.
            let mask = image.mask.as_ref().filter(|_| image.anomalous);
            LabelledMap {
                width: map.width,
                height: map.height,
                scores: &map.values,
                mask: mask.map(|mask| mask.defective.as_slice()),
                inside: region.inside(image),
            }
        })
        .collect()
}

fn default_map(maps: &[LabelledMap<'_>]) -> Result<(MapMetrics, Vec<[f64; 2]>), MetricsError> {
    let ranking = PixelRanking::new(maps)?;
    Ok((map_metrics(&ranking)?, ranking.pro_curve(PRO_LIMIT)?))
}

fn map_metrics(ranking: &PixelRanking) -> Result<MapMetrics, MetricsError> {
    let f1_max = ranking.f1_max();
    Ok(MapMetrics {
        pixel_auroc: ranking.auroc(),
        pixel_average_precision: ranking.average_precision(),
        pixel_f1_max: f1_max.value,
        pixel_f1_max_threshold: f1_max.threshold,
        aupro_30: ranking.aupro(PRO_LIMIT)?,
        aupro_05: ranking.aupro(0.05)?,
    })
}
