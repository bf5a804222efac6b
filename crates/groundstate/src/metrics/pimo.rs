//! Per-image overlap at very low false-positive rates (Bertoldo et al. 2024, *AUPIMO*).

use rayon::prelude::*;

use super::error::MetricsError;
use super::pixel::{self, LabelledMap, key};

/// False-positive rates between which AUPIMO integrates.
const LOWEST_RATE: f64 = 1e-5;
const HIGHEST_RATE: f64 = 1e-4;

/// Normal pixels without which a false-positive rate of 1e-5 cannot be told from 0.
pub const MIN_NORMAL_PIXELS: usize = 100_000;

/// AUPIMO of a test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Aupimo {
    /// Mean over the defective images, in `[0, 1]`.
    pub mean: f64,
    /// `(position among the maps, AUPIMO)` of each image with a defect in its mask.
    pub per_image: Vec<(usize, f64)>,
}

/// One distinct score of the normal images and the false-positive rate at or above it.
struct Step {
    key: u32,
    rate: f64,
}

/// For each defective image, the mean of its true-positive rate over ln(FPR) on `[1e-5, 1e-4]`; FPR
/// is the mean, over the *normal* images (those without a mask), of their share of pixels at or above
/// the threshold. Between distinct scores the true-positive rate is linear in FPR, as in an ROC curve
/// with ties, and its integral over ln(FPR) is taken in closed form.
///
/// # Errors
/// Fewer than [`MIN_NORMAL_PIXELS`] pixels of normal images that count, no image with a defect that does, a
/// map, mask or region of interest of the wrong length, or a score that is not finite.
pub fn aupimo(maps: &[LabelledMap<'_>]) -> Result<Aupimo, MetricsError> {
    pixel::check(maps)?;
    let steps = false_positive_rates(maps)?;
    let per_image: Vec<(usize, f64)> = maps
        .par_iter()
        .enumerate()
        .filter_map(|(index, map)| {
            let defective =
                map.mask?.iter().enumerate().filter(|&(at, defective)| *defective && map.counts(at));
            let mut keys: Vec<u32> = defective.map(|(at, _)| key(map.scores[at])).collect();
            if keys.is_empty() {
                return None;
            }
            keys.sort_unstable();
            Some((index, mean_true_positive_rate(&keys, &steps)))
        })
        .collect();
    if per_image.is_empty() {
        return Err(MetricsError::NoDefectiveImage);
    }
    let mean = per_image.iter().map(|(_, value)| value).sum::<f64>() / per_image.len() as f64;
    Ok(Aupimo { mean, per_image })
}

/// Steps from the highest normal score down to the first rate at or above [`HIGHEST_RATE`].
fn false_positive_rates(maps: &[LabelledMap<'_>]) -> Result<Vec<Step>, MetricsError> {
    let normal: Vec<Vec<u32>> = maps
        .par_iter()
        .filter(|map| map.mask.is_none())
        .map(|map| {
            let counted = map.scores.iter().enumerate().filter(|&(at, _)| map.counts(at));
            counted.map(|(_, &score)| key(score)).collect()
        })
        .filter(|keys: &Vec<u32>| !keys.is_empty())
        .collect();
    let total: usize = normal.iter().map(Vec::len).sum();
    if total < MIN_NORMAL_PIXELS {
        return Err(MetricsError::TooFewNormalPixels { found: total });
    }
    // What one pixel of each image adds to the mean of the per-image rates.
    let weights: Vec<f64> = normal.iter().map(|keys| 1.0 / (keys.len() * normal.len()) as f64).collect();
    let mut pixels: Vec<u64> = Vec::with_capacity(total);
    for (image, keys) in normal.into_iter().enumerate() {
        pixels.extend(keys.into_iter().map(|key| u64::from(key) << 32 | image as u64));
    }
    // This many pixels reach the highest rate even if all lie in the image where they weigh least.
    let lightest = weights.iter().copied().fold(f64::INFINITY, f64::min);
    let enough = ((HIGHEST_RATE / lightest).ceil() as usize + 1).min(total);
    let (_, &mut least, _) = pixels.select_nth_unstable(total - enough);
    pixels.retain(|pixel| pixel >> 32 >= least >> 32);
    pixels.sort_unstable_by(|a, b| b.cmp(a));

    let mut steps = Vec::new();
    let mut rate = 0.0;
    for tied in pixels.chunk_by(|a, b| a >> 32 == b >> 32) {
        rate += tied.iter().map(|pixel| weights[(pixel & 0xffff_ffff) as usize]).sum::<f64>();
        steps.push(Step { key: (tied[0] >> 32) as u32, rate });
        if rate >= HIGHEST_RATE {
            break;
        }
    }
    Ok(steps)
}

/// Mean over ln(FPR) of the true-positive rate of one image with ascending defect-pixel `keys`.
fn mean_true_positive_rate(keys: &[u32], steps: &[Step]) -> f64 {
    let share_from = |first: usize| (keys.len() - first) as f64 / keys.len() as f64;
    let mut area = 0.0;
    let mut start = 0.0;
    for step in steps {
        let (low, high) = (f64::max(start, LOWEST_RATE), f64::min(step.rate, HIGHEST_RATE));
        if low < high {
            let above = share_from(keys.partition_point(|&k| k <= step.key));
            let at_or_above = share_from(keys.partition_point(|&k| k < step.key));
            // On this segment TPR = above + slope (FPR − start).
            let slope = (at_or_above - above) / (step.rate - start);
            area += (above - slope * start) * (high / low).ln() + slope * (high - low);
        }
        start = step.rate;
    }
    (area / (HIGHEST_RATE / LOWEST_RATE).ln()).clamp(0.0, 1.0) // rounding may pass either end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_normal_pixels_are_an_explained_absence() {
        let scores = vec![0.0; 99_999];
        let normal = LabelledMap { width: 99_999, height: 1, scores: &scores, mask: None, inside: None };
        let defect = LabelledMap { width: 1, height: 1, scores: &[1.0], mask: Some(&[true]), inside: None };
        let error = aupimo(&[normal, defect]).expect_err("one pixel short");
        assert_eq!(error, MetricsError::TooFewNormalPixels { found: 99_999 });
        assert!(error.to_string().contains("at least 100000"), "{error}");
    }

    #[test]
    fn a_defect_above_every_normal_pixel_has_one_and_below_them_has_zero() {
        let scores: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
        let normal = LabelledMap { width: 1000, height: 100, scores: &scores, mask: None, inside: None };
        let found = LabelledMap {
            width: 2,
            height: 1,
            scores: &[2e5, 0.0],
            mask: Some(&[true, false]),
            inside: None,
        };
        let missed = LabelledMap {
            width: 2,
            height: 1,
            scores: &[5.0, 9e5],
            mask: Some(&[true, false]),
            inside: None,
        };
        let result = aupimo(&[found, normal, missed]).expect("enough pixels");
        assert_eq!(result.per_image.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
        assert!((result.per_image[0].1 - 1.0).abs() < 1e-12 && result.per_image[0].1 <= 1.0);
        assert_eq!(result.per_image[1].1, 0.0);
        assert!((result.mean - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_mean_is_logarithmic_in_the_false_positive_rate() {
        // The defect equals none of the normal pixels and lies below three in 100,000: its TPR is 0
        // up to FPR 3e-5 and 1 beyond, so the mean is ln(10/3) / ln(10).
        let scores: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
        let normal = LabelledMap { width: 1000, height: 100, scores: &scores, mask: None, inside: None };
        let defect =
            LabelledMap { width: 1, height: 1, scores: &[99_996.5], mask: Some(&[true]), inside: None };
        let value = aupimo(&[normal, defect]).expect("enough pixels").mean;
        assert!((value - (10.0_f64 / 3.0).log10()).abs() < 1e-12, "{value}");
    }
}
