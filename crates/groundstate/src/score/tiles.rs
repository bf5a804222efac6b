//! From a picture of any size to its reading, tile by tile.

use rayon::prelude::*;

use super::{Reading, Stitch, Window};
use crate::image::{Image, Light, Preprocessing};
use crate::model::{Cut, Energy, EnergyModel, Tile, Tiling, Wanted};

/// Reads a picture that keeps its size, under the light of the mean normal one.
///
/// As many tiles are in memory at once as there are threads, besides the picture and its maps.
pub(crate) fn read_tiles(
    energy: &EnergyModel,
    preprocessing: &Preprocessing,
    light: &Light,
    picture: &Image,
    wanted: Wanted,
) -> Reading {
    let (width, height) = (picture.width, picture.height);
    let tiling = Tiling::new(width, height, preprocessing.size, energy.margin_px());
    let gain = light.gain(picture);
    let read = |&tile: &Tile| {
        let Cut { place, batch, .. } = tiling.cut(picture, preprocessing, tile, gain);
        let (local, gradient) = energy.window(&batch, &place, wanted.gradient);
        Window { at: tile.window, width: batch.width, local, gradient }
    };
    // A network's own work is spread over the threads.
    let at_once = if energy.networks().is_empty() { rayon::current_num_threads() } else { 1 };
    let mut stitch = Stitch::new(width, height, preprocessing.channels(), energy.stride(), wanted);
    for tiles in tiling.tiles().chunks(at_once) {
        let windows: Vec<Window> = tiles.par_iter().map(read).collect();
        for (tile, window) in tiles.iter().zip(&windows) {
            stitch.add(window, tile.first, tile.end);
        }
    }
    stitch.finish()
}
