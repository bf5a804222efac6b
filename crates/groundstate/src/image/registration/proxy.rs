//! The small pictures of brightness that registration works on.

use crate::image::{Image, Map};

/// A picture's brightness at three resolutions, less the brightness of its border and in units of
/// its root mean square, so that overall light does not matter.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// Coarse, middle, fine.
    levels: [Map; 3],
}

impl Proxy {
    pub(super) const COARSE: usize = 32;
    pub(super) const FINE: usize = 128;

    pub(super) fn of(picture: &Image) -> Self {
        let mut fine = picture.brightness(Self::FINE);
        let border = border_median(&fine);
        fine.values.iter_mut().for_each(|v| *v -= border);
        let square = fine.values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        let scale = 1.0 / ((square / fine.values.len() as f64).sqrt() as f32 + 1e-4);
        fine.values.iter_mut().for_each(|v| *v *= scale);
        Self::from_fine(fine)
    }

    /// All resolutions of a map that is already relative to its border.
    pub(super) fn from_fine(fine: Map) -> Self {
        let middle = halved(&fine);
        Self { levels: [halved(&middle), middle, fine] }
    }

    pub(super) fn coarse(&self) -> &Map {
        &self.levels[0]
    }

    pub(super) fn middle(&self) -> &Map {
        &self.levels[1]
    }

    pub(super) fn fine(&self) -> &Map {
        &self.levels[2]
    }
}

fn border_median(map: &Map) -> f32 {
    let (last_row, last_column) = (map.height - 1, map.width - 1);
    let rows = (0..map.width).flat_map(|x| [map.values[x], map.values[last_row * map.width + x]]);
    let columns =
        (0..map.height).flat_map(|y| [map.values[y * map.width], map.values[y * map.width + last_column]]);
    let mut border: Vec<f32> = rows.chain(columns).collect();
    let middle = border.len() / 2;
    *border.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Means of blocks of 2 × 2.
fn halved(map: &Map) -> Map {
    let (width, height) = (map.width / 2, map.height / 2);
    let block = |i: usize| {
        let at = i / width * 2 * map.width + i % width * 2;
        let sum = map.values[at] + map.values[at + 1];
        (sum + map.values[at + map.width] + map.values[at + map.width + 1]) / 4.0
    };
    Map { width, height, values: (0..width * height).map(block).collect() }
}
