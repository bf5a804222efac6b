//! The region of interest at the sizes of the test images.

use std::collections::BTreeMap;

use super::judged::Judged;
use crate::image::Roi;

/// Which pixels count, for every size that a test image has; all of them without a region.
pub(super) struct Region(BTreeMap<(usize, usize), Vec<bool>>);

impl Region {
    pub(super) fn new(judged: &[Judged], roi: Option<&Roi>) -> Self {
        let mut sizes = BTreeMap::new();
        for image in judged {
            let size = (image.map.width, image.map.height);
            if let Some(roi) = roi {
                sizes.entry(size).or_insert_with(|| roi.of_size(size.0, size.1));
            }
        }
        Self(sizes)
    }

    /// Which pixels of an image count, row by row; `None` where all do.
    pub(super) fn inside(&self, image: &Judged) -> Option<&[bool]> {
        self.0.get(&(image.map.width, image.map.height)).map(Vec::as_slice)
    }

    /// Whether all that is defective about an image lies outside.
    pub(super) fn excludes(&self, image: &Judged) -> bool {
        let (Some(inside), Some(mask)) = (self.inside(image), &image.mask) else { return false };
        let mut defective =
            inside.iter().zip(&mask.defective).filter(|(_, defective)| **defective).peekable();
        defective.peek().is_some() && defective.all(|(inside, _)| !inside)
    }
}
