//! Features of normal pictures and of their shifted copies, cell by cell.

use std::ops::Range;

use groundstate_nn::Backend;
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// Pictures whose features are in memory twice while they are put in place.
const AT_ONCE: usize = 32;

/// Features in half precision, in one order for reading all that is known of a cell: cell, copy, k values.
///
/// Picture i belongs to fold i mod the number of folds. The copies of a fold are neighbours: its pictures, then
/// their shifted copies.
pub(super) struct Copies {
    pub(super) k: usize,
    pictures: usize,
    features: Vec<f16>,
    /// The copies of each fold.
    folds: Vec<Range<usize>>,
    /// The mean of all copies: cells × k.
    pub(super) origin: Vec<f32>,
}

/// The copies of some folds.
pub(super) struct Selection<'a> {
    copies: &'a Copies,
    ranges: Vec<Range<usize>>,
}

impl Copies {
    /// Puts features in place: `features` gives those (cells × k) of a picture or, if told so, of its shifted
    /// copy.
    pub(super) fn gather(
        (pictures, folds): (usize, usize),
        (cells, k): (usize, usize),
        shifted: bool,
        features: impl Fn(usize, bool) -> Vec<f16> + Sync,
    ) -> Self {
        let versions = 1 + usize::from(shifted);
        let mut first = 0;
        let ranges = (0..folds).map(|fold| {
            let start = first;
            first += versions * (fold..pictures).step_by(folds).len();
            start..first
        });
        let folds = ranges.collect();
        let count = versions * pictures;
        let mut copies =
            Self { k, pictures, features: vec![f16::ZERO; cells * count * k], folds, origin: Vec::new() };
        let numbered: Vec<(usize, bool)> = (0..count).map(|at| (at % pictures, at >= pictures)).collect();
        for some in numbered.chunks(AT_ONCE) {
            let found: Vec<(usize, Vec<f16>)> = some
                .par_iter()
                .map(|&(picture, shifted)| (copies.position(picture, shifted), features(picture, shifted)))
                .collect();
            copies.features.par_chunks_exact_mut(count * k).enumerate().for_each(|(cell, to)| {
                for (position, features) in &found {
                    to[position * k..][..k].copy_from_slice(&features[cell * k..][..k]);
                }
            });
        }
        copies.origin = copies.mean();
        copies
    }

    /// Number of pictures.
    pub(super) fn pictures(&self) -> usize {
        self.pictures
    }

    /// Number of folds.
    pub(super) fn folds(&self) -> usize {
        self.folds.len()
    }

    /// Number of cells.
    pub(super) fn cells(&self) -> usize {
        self.features.len() / (self.count() * self.k)
    }

    fn count(&self) -> usize {
        self.folds.last().map_or(0, |fold| fold.end)
    }

    /// Where a picture, or its shifted copy, is among the copies.
    pub(super) fn position(&self, picture: usize, shifted: bool) -> usize {
        let fold = picture % self.folds();
        let before = if shifted { (fold..self.pictures).step_by(self.folds()).len() } else { 0 };
        self.folds[fold].start + before + picture / self.folds()
    }

    /// The copies of the folds that are wanted.
    pub(super) fn of_folds(&self, wanted: impl Fn(usize) -> bool) -> Selection<'_> {
        let folds = self.folds.iter().enumerate().filter(|(fold, _)| wanted(*fold));
        Selection { copies: self, ranges: folds.map(|(_, range)| range.clone()).collect() }
    }

    /// Features of one copy at one cell.
    pub(super) fn at(&self, position: usize, cell: usize) -> &[f16] {
        &self.features[(cell * self.count() + position) * self.k..][..self.k]
    }

    fn mean(&self) -> Vec<f32> {
        let (k, count, backend) = (self.k, self.count(), Backend::detect());
        let mut mean = vec![0f32; self.cells() * k];
        let cells = mean.par_chunks_exact_mut(k).zip(self.features.par_chunks_exact(count * k));
        cells.for_each_init(
            || vec![0f32; count * k],
            |values, (mean, features)| {
                backend.widen(features.reinterpret_cast(), values);
                values.chunks_exact(k).for_each(|row| backend.add_scaled(mean, row, 1.0));
                mean.iter_mut().for_each(|mean| *mean /= count as f32);
            },
        );
        mean
    }
}

impl Selection<'_> {
    /// How many copies.
    pub(super) fn count(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    /// Values of a feature array: cells × k.
    pub(super) fn length(&self) -> usize {
        self.copies.origin.len()
    }

    /// Number of values at a cell.
    pub(super) fn k(&self) -> usize {
        self.copies.k
    }

    /// The features at a cell relative to the mean of all copies: copies × k.
    pub(super) fn deviations(&self, backend: Backend, cell: usize, to: &mut [f32]) {
        let Copies { k, features, origin, .. } = self.copies;
        let first = cell * self.copies.count();
        let mut to = to;
        for range in &self.ranges {
            let (these, rest) = to.split_at_mut(range.len() * k);
            let halves = &features[(first + range.start) * k..(first + range.end) * k];
            backend.widen_less(halves.reinterpret_cast(), &origin[cell * k..(cell + 1) * k], these);
            to = rest;
        }
    }

    /// The number of a copy among these, by its position among all.
    pub(super) fn rank(&self, position: usize) -> Option<usize> {
        let mut before = 0;
        for range in &self.ranges {
            if range.contains(&position) {
                return Some(before + position - range.start);
            }
            before += range.len();
        }
        None
    }
}
