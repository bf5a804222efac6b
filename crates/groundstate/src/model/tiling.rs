//! How a picture of any size is worked through in square tiles.
//!
//! What an energy says of a pixel depends on its surroundings. So each tile is evaluated with a margin
//! around it, of which nothing is kept: as long as the margin is as wide as the energy looks, the whole
//! is what the picture in one piece would have given, up to rounding.

use super::{Batch, Place};
use crate::image::{Image, Preprocessing};

/// Tiles begin at, and pictures are extended to, multiples of this many pixels, so that cells and the
/// coarsest maps of a network lie the same way in every tile.
pub(crate) const STEP_PX: usize = 32;
/// Least edge of what is kept of a tile: below, most of the work would be margins.
const LEAST_CORE_PX: usize = 512;

/// The tiles of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// The picture's size, and that extended to whole steps.
    width: usize,
    height: usize,
    extended: (usize, usize),
    core: usize,
    window: (usize, usize),
    margin: usize,
}

/// A window into a picture and the part of it that is kept, in pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// First column and row that are evaluated.
    pub(crate) window: (usize, usize),
    /// First column and row that are kept.
    pub(crate) first: (usize, usize),
    /// First column and row behind what is kept, inside the picture.
    pub(crate) end: (usize, usize),
}

/// A window cut out of its picture.
pub(crate) struct Cut {
    /// What is kept of it.
    pub(crate) tile: Tile,
    /// Where it lies.
    pub(crate) place: Place,
    /// Its pixels, one picture.
    pub(crate) batch: Batch,
}

impl Tiling {
    /// Tiles of which `edge` × `edge` pixels are kept, at least 512, with a margin of `margin` pixels on
    /// every side inside the picture; both are rounded up to whole steps.
    pub(crate) fn new(width: usize, height: usize, edge: usize, margin: usize) -> Self {
        let whole = |px: usize| px.next_multiple_of(STEP_PX);
        let (core, margin) = (whole(edge.max(LEAST_CORE_PX)), whole(margin));
        let extended = (whole(width), whole(height));
        let window = |edge: usize| edge.min(core + 2 * margin);
        Self { width, height, extended, core, window: (window(extended.0), window(extended.1)), margin }
    }

    /// Width and height of every window.
    pub(crate) fn window(&self) -> (usize, usize) {
        self.window
    }

    /// The tiles, row by row.
    pub(crate) fn tiles(&self) -> Vec<Tile> {
        // The last windows are pushed back inside: all are of one size, and margins only grow.
        let starts = |first: usize, extended: usize, window: usize| {
            first.saturating_sub(self.margin).min(extended - window)
        };
        let rows = (0..self.height).step_by(self.core);
        let tile = |top: usize, left: usize| Tile {
            window: (
                starts(left, self.extended.0, self.window.0),
                starts(top, self.extended.1, self.window.1),
            ),
            first: (left, top),
            end: ((left + self.core).min(self.width), (top + self.core).min(self.height)),
        };
        rows.flat_map(|top| (0..self.width).step_by(self.core).map(move |left| tile(top, left))).collect()
    }

    /// A tile's window, ready for the energy, of a picture that is lit `gain` times as the others.
    pub(crate) fn cut(&self, picture: &Image, preprocessing: &Preprocessing, tile: Tile, gain: f32) -> Cut {
        let window = preprocessing.window(picture, tile.window, self.window, gain);
        let (left, top) = tile.window;
        let place = Place { left, top, width: self.width, height: self.height };
        Cut { tile, place, batch: Batch::of([&window]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_kept_once_and_has_its_margin() {
        for (width, height, edge, margin) in [(1300, 700, 512, 96), (40, 33, 600, 64), (513, 2000, 100, 10)] {
            let tiling = Tiling::new(width, height, edge, margin);
            let margin = margin.next_multiple_of(STEP_PX);
            let mut kept = vec![0u8; width * height];
            for tile in tiling.tiles() {
                for (first, end, start, window, extended) in [
                    (tile.first.0, tile.end.0, tile.window.0, tiling.window().0, width),
                    (tile.first.1, tile.end.1, tile.window.1, tiling.window().1, height),
                ] {
                    let extended = extended.next_multiple_of(STEP_PX);
                    assert!(start % STEP_PX == 0 && start + window <= extended, "{tile:?}");
                    assert!(start == 0 || start + margin <= first, "{tile:?}");
                    assert!(start + window == extended || end + margin <= start + window, "{tile:?}");
                }
                for y in tile.first.1..tile.end.1 {
                    kept[y * width + tile.first.0..y * width + tile.end.0].iter_mut().for_each(|k| *k += 1);
                }
            }
            assert!(kept.iter().all(|&times| times == 1), "{width} × {height}");
        }
    }
}
