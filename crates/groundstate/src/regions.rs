//! A map and a threshold → the regions of a picture that are not normal.

use serde::Serialize;

use crate::image::{Map, Mask, components};

/// A connected part of a picture (eight neighbours) whose map values are above the threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Region {
    /// Pixels of the picture.
    pub area_px: usize,
    /// The smallest rectangle around it.
    #[serde(rename = "box")]
    pub bounds: Bounds,
    /// Mean position of its pixels; the centre of the first pixel is (0, 0).
    pub centroid: Point<f64>,
    /// Highest map value.
    pub peak: f32,
    /// The pixel that has it, the first in reading order.
    pub peak_at: Point<usize>,
}

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// A position in a picture, in pixels from its left and top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Point<T> {
    /// Columns from the left.
    pub x: T,
    /// Rows from the top.
    pub y: T,
}

/// What is not normal in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// The regions, highest peak first.
    pub regions: Vec<Region>,
    /// Their pixels.
    pub mask: Mask,
}

impl Segmentation {
    /// A picture without a region.
    pub fn empty(width: usize, height: usize) -> Self {
        Self { regions: Vec::new(), mask: Mask::empty(width, height) }
    }

    /// The regions of at least `min_area_px` pixels where `map` is above `threshold`.
    pub fn new(map: &Map, threshold: f64, min_area_px: usize) -> Self {
        let (width, height) = (map.width, map.height);
        let above = |value: f32| f64::from(value) > threshold;
        if !map.values.iter().any(|&value| above(value)) {
            return Self::empty(width, height);
        }
        let labels = components(map.width, map.height, map.values.iter().map(|&value| above(value)));
        let mut found: Vec<Option<Growing>> = Vec::new();
        for (at, &label) in labels.iter().enumerate().filter(|(_, label)| **label > 0) {
            let label = label as usize - 1;
            found.resize(found.len().max(label + 1), None);
            let point = Point { x: at % width, y: at / width };
            found[label].get_or_insert(Growing::at(point)).add(point, map.values[at]);
        }
        let large = |label: u32| {
            label > 0 && found[label as usize - 1].as_ref().is_some_and(|r| r.area_px >= min_area_px)
        };
        let defective = labels.iter().map(|&label| large(label)).collect();
        let mut regions: Vec<Region> =
            found.into_iter().flatten().filter(|r| r.area_px >= min_area_px).map(Growing::finish).collect();
        regions.sort_by(|a, b| b.peak.total_cmp(&a.peak));
        Self { regions, mask: Mask { width, height, defective } }
    }

    /// Pixels of all regions.
    pub fn area_px(&self) -> usize {
        self.regions.iter().map(|region| region.area_px).sum()
    }
}

/// A region of which some pixels have been seen.
#[derive(Clone)]
struct Growing {
    area_px: usize,
    first: Point<usize>,
    last: Point<usize>,
    sum: Point<usize>,
    peak: f32,
    peak_at: Point<usize>,
}

impl Growing {
    fn at(point: Point<usize>) -> Self {
        let sum = Point { x: 0, y: 0 };
        Self { area_px: 0, first: point, last: point, sum, peak: f32::NEG_INFINITY, peak_at: point }
    }

    fn add(&mut self, point: Point<usize>, value: f32) {
        self.area_px += 1;
        self.first = Point { x: self.first.x.min(point.x), y: self.first.y.min(point.y) };
        self.last = Point { x: self.last.x.max(point.x), y: self.last.y.max(point.y) };
        self.sum = Point { x: self.sum.x + point.x, y: self.sum.y + point.y };
        if value > self.peak {
            (self.peak, self.peak_at) = (value, point);
        }
    }

    fn finish(self) -> Region {
        let Self { area_px, first, last, sum, peak, peak_at } = self;
        let mean = |sum: usize| sum as f64 / area_px as f64;
        Region {
            area_px,
            bounds: Bounds {
                left: first.x,
                top: first.y,
                width: last.x - first.x + 1,
                height: last.y - first.y + 1,
            },
            centroid: Point { x: mean(sum.x), y: mean(sum.y) },
            peak,
            peak_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(rows: &[&[f32]]) -> Map {
        Map { width: rows[0].len(), height: rows.len(), values: rows.concat() }
    }

    #[test]
    fn two_known_regions_have_their_areas_boxes_centroids_and_peaks() {
        let map = map(&[
            &[0.0, 5.0, 0.0, 0.0, 0.0, 0.0],
            &[0.0, 0.0, 7.0, 0.0, 0.0, 0.0],
            &[0.0, 0.0, 6.0, 0.0, 0.0, 9.0],
            &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        ]);
        let found = Segmentation::new(&map, 1.0, 1);
        let [small, large] = &found.regions[..] else { panic!("{:?}", found.regions) };
        assert_eq!((small.area_px, small.peak, small.peak_at), (1, 9.0, Point { x: 5, y: 2 }));
        assert_eq!(small.bounds, Bounds { left: 5, top: 2, width: 1, height: 1 });
        // The corner of the first pixel touches the second: one region.
        assert_eq!((large.area_px, large.peak, large.peak_at), (3, 7.0, Point { x: 2, y: 1 }));
        assert_eq!(large.bounds, Bounds { left: 1, top: 0, width: 2, height: 3 });
        assert_eq!(large.centroid, Point { x: 5.0 / 3.0, y: 1.0 });
        assert_eq!(found.area_px(), 4);
    }

    #[test]
    fn regions_below_the_smallest_area_are_left_out_of_the_list_and_the_mask() {
        let map = map(&[&[2.0, 0.0, 2.0, 2.0], &[0.0, 0.0, 0.0, 0.0]]);
        let found = Segmentation::new(&map, 1.0, 2);
        assert_eq!((found.regions.len(), found.regions[0].area_px), (1, 2));
        assert_eq!(found.mask.defective, [false, false, true, true, false, false, false, false]);
        assert_eq!(Segmentation::new(&map, 1.0, 3), Segmentation::empty(4, 2));
    }

    #[test]
    fn a_value_at_the_threshold_is_normal() {
        assert_eq!(Segmentation::new(&map(&[&[1.0, 1.0]]), 1.0, 1).regions, []);
        assert_eq!(Segmentation::new(&map(&[&[1.0]]), f64::NEG_INFINITY, 1).regions.len(), 1);
    }

    proptest! {
        #[test]
        fn areas_add_up_to_the_pixels_above_the_threshold_and_peaks_to_the_maximum(
            values in prop::collection::vec(-3.0_f32..3.0, 63),
            threshold in -3.0_f64..3.0,
        ) {
            let map = Map { width: 9, height: 7, values };
            let found = Segmentation::new(&map, threshold, 1);
            let above = map.values.iter().filter(|&&v| f64::from(v) > threshold).count();
            prop_assert_eq!(found.area_px(), above);
            prop_assert_eq!(found.mask.defective.iter().filter(|d| **d).count(), above);
            if let Some(first) = found.regions.first() {
                prop_assert_eq!(first.peak, map.max());
                prop_assert_eq!(map.values[first.peak_at.y * 9 + first.peak_at.x], first.peak);
            }
            for region in &found.regions {
                let Bounds { left, top, width, height } = region.bounds;
                prop_assert!(region.area_px <= width * height && region.area_px >= width.max(height));
                prop_assert!(region.centroid.x >= left as f64 && region.centroid.x <= (left + width - 1) as f64);
                prop_assert!(region.centroid.y >= top as f64 && region.centroid.y <= (top + height - 1) as f64);
            }
        }
    }
}
