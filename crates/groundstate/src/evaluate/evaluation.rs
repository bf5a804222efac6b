//! The evaluation of a detector, as it is written to JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::judged::Judged;
use crate::metrics::Auroc;

/// How well a detector tells the images of a test set apart and finds their defects.
///
/// Field names are the JSON keys and stay as they are. Areas lie in `[0, 1]`. A metric that the test
/// set does not define is `null`, and `absent` says why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The score that verdicts and headline metrics are of, a key of `image_auroc`.
    pub default_score: String,
    /// Test images by kind.
    pub counts: Counts,
    /// What the detector's threshold did.
    pub verdicts: Verdicts,
    /// Score name → image AUROC with its 95 % interval over images.
    pub image_auroc: BTreeMap<String, Auroc>,
    /// Defect type → score name → AUROC of that type's images against all normal images.
    pub image_auroc_by_defect: BTreeMap<String, BTreeMap<String, Auroc>>,
    /// Average precision of the default score over images.
    pub average_precision: Option<f64>,
    /// Highest F1 of the default score over images.
    pub f1_max: Option<f64>,
    /// The score t at which "anomalous where score ≥ t" reaches `f1_max`. Chosen with the test labels,
    /// so it is a bound and not the threshold of the detector.
    pub f1_max_threshold: Option<f64>,
    /// AUROC of the default map over all pixels, inside the region of interest if there is one, of all
    /// images but those `without_mask`.
    pub pixel_auroc: Option<f64>,
    /// Average precision over the same pixels.
    pub pixel_average_precision: Option<f64>,
    /// Highest F1 over the same pixels.
    pub pixel_f1_max: Option<f64>,
    /// The map value t at which "defective where value ≥ t" reaches `pixel_f1_max`.
    pub pixel_f1_max_threshold: Option<f64>,
    /// Area under the per-region overlap up to a false-positive rate of 0.3, divided by 0.3.
    pub aupro_30: Option<f64>,
    /// The same up to 0.05, divided by 0.05.
    pub aupro_05: Option<f64>,
    /// Mean per-image overlap over ln(FPR) on `[1e-5, 1e-4]`, FPR on normal images only.
    pub aupimo: Option<f64>,
    /// Map name → pixel metrics of the maps other than the default one.
    pub maps: BTreeMap<String, MapMetrics>,
    /// Points `[false-positive rate, PRO]` of the default map from 0 to 0.3, thinned for plotting;
    /// empty without masks.
    pub pro_curve: Vec<[f64; 2]>,
    /// Key of this object → why it is `null` or empty.
    pub absent: BTreeMap<String, String>,
    /// Which pixels the pixel metrics compare.
    pub resolution: String,
    /// Wall time of the training, where known.
    pub train_seconds: Option<f64>,
    /// Peak resident memory of the training, where known.
    pub peak_memory_mib: Option<f64>,
    /// Images inspected in a second, where measured.
    pub images_per_second: Option<f64>,
    /// Every test image, in the order they were judged.
    pub images: Vec<ImageResult>,
}

/// Test images by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Images without a defect.
    pub normal: usize,
    /// Images with a defect, but for those `outside_roi`.
    pub anomalous: usize,
    /// Anomalous images without a mask, which the pixel metrics leave out.
    pub without_mask: usize,
    /// Images whose defect lies wholly outside the region of interest, which verdicts and image metrics
    /// leave out.
    #[serde(default)]
    pub outside_roi: usize,
    /// Files that could not be inspected and appear nowhere else.
    pub failed: usize,
}

/// What the detector's threshold did to the test images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Normal images that were flagged.
    pub false_rejects: usize,
    /// Anomalous images that were flagged.
    pub detected: usize,
    /// Defect type → its images and how many were flagged.
    pub by_defect: BTreeMap<String, DefectVerdicts>,
}

/// Verdicts on the images of one defect type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefectVerdicts {
    /// Images of this type.
    pub images: usize,
    /// Those that were flagged.
    pub detected: usize,
}

/// Pixel metrics of one map, as the fields of the same names in [`Evaluation`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapMetrics {
    /// AUROC over pixels.
    pub pixel_auroc: f64,
    /// Average precision over pixels.
    pub pixel_average_precision: f64,
    /// Highest F1 over pixels.
    pub pixel_f1_max: f64,
    /// The map value at which `pixel_f1_max` is reached.
    pub pixel_f1_max_threshold: f64,
    /// AUPRO up to a false-positive rate of 0.3.
    pub aupro_30: f64,
    /// AUPRO up to a false-positive rate of 0.05.
    pub aupro_05: f64,
}

/// What was said about one test image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageResult {
    /// Path relative to the data set.
    pub name: String,
    /// "good" or the type of defect.
    pub defect: String,
    /// The ground truth.
    pub anomalous: bool,
    /// Whether all that is defective about it lies outside the region of interest: it counts in no
    /// verdict and no image metric.
    #[serde(default)]
    pub outside_roi: bool,
    /// The verdict.
    pub flagged: bool,
    /// Share of normal images expected to score at least as high, where calibrated.
    pub p_value: Option<f64>,
    /// Score name → value.
    pub scores: BTreeMap<String, f64>,
}

impl ImageResult {
    pub(super) fn of(image: &Judged, outside_roi: bool) -> Self {
        Self {
            outside_roi,
            name: image.name.clone(),
            defect: image.defect.clone(),
            anomalous: image.anomalous,
            flagged: image.flagged,
            p_value: image.p_value,
            scores: image.scores.clone(),
        }
    }

    /// Whether verdict and ground truth agree.
    pub fn judged_rightly(&self) -> bool {
        self.flagged == self.anomalous
    }
}
