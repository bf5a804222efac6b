//! Which map values are drawn how hot.
//!
//! One range for all images of a model, so that heat means the same everywhere: it comes from what
//! the model knows of normal parts, never from the image at hand.

use groundstate::detector::Detector;
use groundstate::image::{Image, Map, outline, overlay};
use groundstate::regions::Segmentation;
use groundstate::score::{MapKind, MapStatistics};

/// Spreads above the mean of normal parts where heat begins to show.
const COOL: f32 = 1.5;
/// Spreads above the mean of normal parts where heat is strongest.
const HOT: f32 = 7.0;

/// Colour of the line around a region: bright, none of the heat's, and not that of a ground truth.
const OUTLINE: [f32; 3] = [0.2, 0.9, 1.0];
/// Edge in pixels for which that line is one pixel wide.
const PIXELS_A_LINE: usize = 400;

/// The default map drawn over its image.
pub(crate) fn draw(detector: &Detector, image: &Image, map: &Map) -> Image {
    overlay(&detector.preprocessing.expose(image), map, range(detector))
}

/// The default map drawn over its image, with a line around every region.
pub(crate) fn draw_with_regions(
    detector: &Detector,
    image: &Image,
    map: &Map,
    segmentation: &Segmentation,
) -> Image {
    let thickness = (image.width.max(image.height) / PIXELS_A_LINE).max(1);
    outline(&draw(detector, image, map), &segmentation.mask, OUTLINE, thickness)
}

/// The values of the default map that heat runs from and to.
fn range(detector: &Detector) -> (f32, f32) {
    let (mean, spread) = match detector.default_map {
        // A displacement explains little of a normal part: both maps run alike.
        MapKind::Energy | MapKind::FreeEnergy => centre(&detector.normaliser.energy),
        MapKind::Gradient => centre(&detector.normaliser.gradient),
        MapKind::EnergyZ | MapKind::GradientZ | MapKind::Fused => (0.0, 1.0),
    };
    (mean + COOL * spread, mean + HOT * spread)
}

/// Mean and spread over all positions and normal parts.
fn centre(statistics: &MapStatistics) -> (f32, f32) {
    let positions = statistics.mean.len() as f32;
    let mean = statistics.mean.iter().sum::<f32>() / positions;
    let squares = statistics.mean.iter().zip(&statistics.spread).map(|(m, s)| (m - mean).powi(2) + s * s);
    (mean, (squares.sum::<f32>() / positions).sqrt())
}
