//! Every pixel of a test set in order of decreasing anomaly.
//!
//! A pixel is one `u64`: its score as an order-preserving integer in the high half, the number of its
//! ground-truth component in the low half (0 for a defect-free pixel). One sort of those serves every
//! pixel metric, at 8 bytes a pixel and without binning.

use rayon::slice::ParallelSliceMut;

use super::curve::{self, Cut, F1Max};
use super::error::MetricsError;

/// The anomaly map of one test image with its ground truth, all row-major height × width.
#[derive(Debug, Clone, Copy)]
pub struct LabelledMap<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// One score per pixel, higher is more anomalous; any finite range.
    pub scores: &'a [f32],
    /// `true` where the image is defective; `None` for a normal image, which is defect-free
    /// everywhere. Leave an anomalous image without a mask out altogether.
    pub mask: Option<&'a [bool]>,
    /// `true` where pixels count, `None` where all do. A component of the mask that reaches outside is
    /// its part inside, even if that falls into pieces; one that lies outside altogether is none.
    pub inside: Option<&'a [bool]>,
}

impl LabelledMap<'_> {
    /// Whether a pixel counts, by its place in the rows.
    pub(super) fn counts(&self, at: usize) -> bool {
        self.inside.is_none_or(|inside| inside[at])
    }
}

/// All pixels of many maps, sorted, with both classes present.
#[derive(Debug, Clone)]
pub struct PixelRanking {
    /// Score key and component of each pixel, ascending.
    sorted: Vec<u64>,
    /// Pixels of each 8-connected component that count; component k has number k + 1 in `sorted`.
    component_sizes: Vec<u64>,
    defective: u64,
    defect_free: u64,
}

impl PixelRanking {
    /// Sorts the pixels of `maps` that count and numbers the 8-connected components of their masks.
    ///
    /// # Errors
    /// A map, mask or region of interest of the wrong length, a score that is not finite, or no pixel of
    /// one class.
    pub fn new(maps: &[LabelledMap<'_>]) -> Result<Self, MetricsError> {
        check(maps)?;
        let mut sorted = Vec::with_capacity(maps.iter().map(|map| map.scores.len()).sum());
        let mut component_sizes = Vec::new();
        for map in maps {
            let counted = map.scores.iter().enumerate().filter(|&(at, _)| map.counts(at));
            let words = counted.map(|(at, &score)| (at, u64::from(key(score)) << 32));
            match components(map, &mut component_sizes) {
                None => sorted.extend(words.map(|(_, word)| word)),
                Some(numbers) => sorted.extend(words.map(|(at, word)| word | numbers[at])),
            }
        }
        let defective = component_sizes.iter().sum();
        let defect_free = sorted.len() as u64 - defective;
        if defective == 0 || defect_free == 0 {
            return Err(MetricsError::OneClass { unit: "pixels", normal: defect_free, anomalous: defective });
        }
        sorted.par_sort_unstable();
        Ok(Self { sorted, component_sizes, defective, defect_free })
    }

    /// Pixel AUROC, in `[0, 1]`, tied pixels counting one half.
    pub fn auroc(&self) -> f64 {
        curve::auroc(self.cuts(), self.defective, self.defect_free)
    }

    /// Step-wise area under precision against recall over pixels, in `(0, 1]`.
    pub fn average_precision(&self) -> f64 {
        curve::average_precision(self.cuts(), self.defective)
    }

    /// The highest F1 over pixels, predicting defective where score ≥ threshold.
    pub fn f1_max(&self) -> F1Max {
        curve::f1_max(self.cuts(), self.defective)
    }

    /// Number of 8-connected ground-truth components over all masks, at least 1.
    pub fn components(&self) -> usize {
        self.component_sizes.len()
    }

    pub(super) fn component_sizes(&self) -> &[u64] {
        &self.component_sizes
    }

    pub(super) fn defect_free(&self) -> u64 {
        self.defect_free
    }

    /// Pixels of equal score as one slice of (key, component) words, from the highest score down.
    pub(super) fn ties(&self) -> impl Iterator<Item = &[u64]> {
        let mut rest = self.sorted.as_slice();
        std::iter::from_fn(move || {
            let highest = rest.last()? >> 32;
            let tied = rest.iter().rev().take_while(|&&pixel| pixel >> 32 == highest).count();
            let (below, group) = rest.split_at(rest.len() - tied);
            rest = below;
            Some(group)
        })
    }

    fn cuts(&self) -> impl Iterator<Item = Cut> + '_ {
        let mut positives = 0;
        let mut negatives = 0;
        self.ties().map(move |tied| {
            let hits = tied.iter().filter(|&&pixel| component(pixel) != 0).count() as u64;
            positives += hits;
            negatives += tied.len() as u64 - hits;
            Cut { threshold: f64::from(score((tied[0] >> 32) as u32)), positives, negatives }
        })
    }
}

/// Component number of a sorted pixel, 0 for a defect-free one.
pub(super) fn component(pixel: u64) -> usize {
    (pixel & 0xffff_ffff) as usize
}

/// Refuses maps whose sizes disagree or whose scores are not finite.
pub(super) fn check(maps: &[LabelledMap<'_>]) -> Result<(), MetricsError> {
    for (index, map) in maps.iter().enumerate() {
        let (width, height) = (map.width, map.height);
        let size = |what, found| MetricsError::Size { what, map: index, found, width, height };
        if width.checked_mul(height) != Some(map.scores.len()) {
            return Err(size("map", map.scores.len()));
        }
        if let Some(mask) = map.mask
            && mask.len() != map.scores.len()
        {
            return Err(size("mask", mask.len()));
        }
        if let Some(inside) = map.inside
            && inside.len() != map.scores.len()
        {
            return Err(size("region of interest", inside.len()));
        }
        if let Some(at) = map.scores.iter().position(|score| !score.is_finite()) {
            let (row, column) = (at / width, at % width);
            return Err(MetricsError::Pixel { map: index, row, column, score: map.scores[at] });
        }
    }
    Ok(())
}

/// An integer in the same order as the finite score; −0 and 0 share one.
pub(super) fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score that `key` came from.
fn score(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// Numbers the 8-connected components of a map's mask after those in `sizes`, which get the pixels of
/// each that count; the number of a pixel without a defect is 0. `None` without a mask.
fn components(map: &LabelledMap<'_>, sizes: &mut Vec<u64>) -> Option<Vec<u64>> {
    let labels = crate::image::components(map.width, map.height, map.mask?.iter().copied());
    let highest = labels.iter().copied().max().unwrap_or(0) as usize;
    let mut counted = vec![0u64; highest + 1];
    for (_, &label) in labels.iter().enumerate().filter(|&(at, _)| map.counts(at)) {
        counted[label as usize] += u64::from(label != 0);
    }
    let mut numbers = vec![0u64; highest + 1];
    for (number, &size) in numbers.iter_mut().zip(&counted).filter(|(_, size)| **size > 0) {
        sizes.push(size);
        *number = sizes.len() as u64;
    }
    Some(labels.into_iter().map(|label| numbers[label as usize]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of two rows at most, all of one score.
    fn masked(width: usize, mask: &[bool]) -> LabelledMap<'_> {
        let scores = &[0.5; 12][..mask.len()];
        LabelledMap { width, height: mask.len() / width, scores, mask: Some(mask), inside: None }
    }

    #[test]
    fn a_component_is_its_part_inside_and_none_if_there_is_no_such_part() {
        // Five in a row of which the middle lies outside, one outside, and one inside.
        let mask: Vec<bool> = "#####.#.#...".chars().map(|c| c == '#').collect();
        let inside: Vec<bool> = "++..++..++++".chars().map(|c| c == '+').collect();
        let map = LabelledMap { inside: Some(&inside), ..masked(12, &mask) };
        let mut sizes = vec![9];
        let numbers = components(&map, &mut sizes).expect("there is a mask");
        assert_eq!(sizes, [9, 3, 1]);
        assert_eq!(numbers, [2, 2, 2, 2, 2, 0, 0, 0, 3, 0, 0, 0]);
        let ranking = PixelRanking::new(&[map]).expect("both classes");
        assert_eq!((ranking.components(), ranking.defective, ranking.defect_free), (2, 4, 4));
    }

    #[test]
    fn a_region_of_interest_of_another_size_is_refused() {
        let map = LabelledMap { inside: Some(&[true]), ..masked(2, &[true, false]) };
        let error = PixelRanking::new(&[map]).map(|_| ()).expect_err("size");
        assert_eq!(error.to_string(), "region of interest 0 has 1 values; expected 2 × 1");
    }

    #[test]
    fn a_mask_of_one_pixel_is_one_component_or_none() {
        let mut sizes = Vec::new();
        assert_eq!(components(&masked(1, &[true]), &mut sizes), Some(vec![1]));
        assert_eq!(components(&masked(1, &[false]), &mut sizes), Some(vec![0]));
        assert_eq!(sizes, [1]);
    }

    #[test]
    fn keys_keep_the_order_of_scores_and_give_them_back() {
        let ascending = [f32::MIN, -3.5, -1e-40, -0.0, 0.0, 1e-40, 0.25, 7.0, f32::MAX];
        for pair in ascending.windows(2) {
            assert_eq!(key(pair[0]).cmp(&key(pair[1])), pair[0].partial_cmp(&pair[1]).expect("finite"));
            assert_eq!(score(key(pair[1])), pair[1]);
        }
    }

    #[test]
    fn diagonal_neighbours_are_one_component() {
        let mask = [true, false, false, true, false, false, false, false, true, false, false, false];
        let mut sizes = vec![9];
        let numbers = components(&masked(6, &mask), &mut sizes).expect("there is a mask");
        assert_eq!(sizes, [9, 1, 2]);
        assert_eq!(numbers.iter().filter(|&&number| number == 3).count(), 2);
    }

    #[test]
    fn a_nan_pixel_is_named_by_map_row_and_column() {
        let scores = [0.0, 1.0, 2.0, 3.0, f32::NAN, 5.0];
        let maps = [LabelledMap { width: 3, height: 2, scores: &scores, mask: None, inside: None }];
        let error = PixelRanking::new(&maps).map(|_| ()).expect_err("NaN");
        assert_eq!(error.to_string(), "map 0 holds NaN at row 1, column 1; expected a finite number");
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let maps =
            [LabelledMap { width: 2, height: 1, scores: &[0.0, 1.0], mask: Some(&[true]), inside: None }];
        let error = PixelRanking::new(&maps).map(|_| ()).expect_err("size");
        assert_eq!(error.to_string(), "mask 0 has 1 values; expected 2 × 1");
    }

    #[test]
    fn normal_maps_alone_define_no_pixel_metric() {
        let maps = [LabelledMap { width: 2, height: 1, scores: &[0.0, 1.0], mask: None, inside: None }];
        let error = PixelRanking::new(&maps).map(|_| ()).expect_err("one class");
        assert_eq!(error, MetricsError::OneClass { unit: "pixels", normal: 2, anomalous: 0 });
    }
}
