//! Why a metric could not be computed.

use super::pimo::MIN_NORMAL_PIXELS;

/// Why a metric could not be computed. Maps and scores are counted from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// Scores and labels do not belong together.
    #[error("{scores} scores came with {labels} labels; expected one label for each score")]
    Lengths {
        /// Number of scores.
        scores: usize,
        /// Number of labels.
        labels: usize,
    },
    /// An image score is NaN or infinite and has no place in an order.
    #[error("score {index} is {score}; expected a finite number")]
    Score {
        /// Position among the scores.
        index: usize,
        /// The value found.
        score: f64,
    },
    /// A pixel of a map is NaN or infinite.
    #[error("map {map} holds {score} at row {row}, column {column}; expected a finite number")]
    Pixel {
        /// Position among the maps.
        map: usize,
        /// Row, from the top.
        row: usize,
        /// Column, from the left.
        column: usize,
        /// The value found.
        score: f32,
    },
    /// A map or mask does not have width × height values.
    #[error("{what} {map} has {found} values; expected {width} × {height}")]
    Size {
        /// "map" or "mask".
        what: &'static str,
        /// Position among the maps.
        map: usize,
        /// Values found.
        found: usize,
        /// Declared width.
        width: usize,
        /// Declared height.
        height: usize,
    },
    /// One of the two classes is empty, so nothing can be told apart.
    #[error("found {normal} normal and {anomalous} anomalous {unit}; at least one of each is needed")]
    OneClass {
        /// "images" or "pixels".
        unit: &'static str,
        /// Number labelled normal.
        normal: u64,
        /// Number labelled anomalous.
        anomalous: u64,
    },
    /// The integration limit of AUPRO is not a false-positive rate.
    #[error("the integration limit is {0}; expected a false-positive rate above 0 and at most 1")]
    Limit(f64),
    /// Too few normal pixels resolve the false-positive rates of AUPIMO.
    #[error(
        "found {found} pixels in normal test images; AUPIMO integrates from a false-positive rate of \
         0.00001 and needs at least {MIN_NORMAL_PIXELS}"
    )]
    TooFewNormalPixels {
        /// Pixels found in images without a mask.
        found: usize,
    },
    /// AUPIMO has no image to be averaged over.
    #[error("no image has a defect in its mask; AUPIMO averages over defective images")]
    NoDefectiveImage,
}
