//! The mask of a defect: where the picture differs from that of the same part without it, and what
//! such a region encloses.

use crate::image::{Map, Mask};

/// Difference of a channel, of 1, from which on a pixel counts as changed: about three times the
/// sensor's noise on bare metal.
const NOTICEABLE: f32 = 0.035;
/// Changed regions smaller than this many pixels at 256 px are left out.
const SMALLEST_REGION: usize = 6;

/// Compares the exposures of a part with and without its defect.
pub(super) fn changed(good: &[Map; 3], defective: &[Map; 3]) -> Mask {
    let (width, height) = (good[0].width, good[0].height);
    let differs =
        |i: usize| good.iter().zip(defective).any(|(a, b)| (a.values[i] - b.values[i]).abs() >= NOTICEABLE);
    let mask = Mask { width, height, defective: (0..width * height).map(differs).collect() };
    // Closing joins the two flanks of a groove, whose bottom is as bright as the surface.
    let reach = (width / 128).max(1);
    let closed = spread(&spread(&mask, reach, true), reach, false);
    let smallest = (SMALLEST_REGION * width * height).div_ceil(256 * 256).max(2);
    drop_small_regions(fill_enclosed(closed), smallest)
}

/// Marks what cannot be reached from the picture's border without crossing the mask: a dent's level
/// bottom belongs to the dent.
fn fill_enclosed(mut mask: Mask) -> Mask {
    let (width, height) = (mask.width, mask.height);
    let mut outside = vec![false; mask.defective.len()];
    let on_edge = |v: usize, len: usize| v == 0 || v == len - 1;
    let on_border = |i: &usize| on_edge(i % width, width) || on_edge(i / width, height);
    let mut pending: Vec<usize> = (0..width * height).filter(on_border).collect();
    while let Some(at) = pending.pop() {
        if outside[at] || mask.defective[at] {
            continue;
        }
        outside[at] = true;
        let (x, y) = (at % width, at / width);
        let neighbours = [(x > 0, at.wrapping_sub(1)), (x + 1 < width, at + 1)];
        let beside = [(y > 0, at.wrapping_sub(width)), (y + 1 < height, at + width)];
        pending.extend(neighbours.iter().chain(&beside).filter(|(exists, _)| *exists).map(|(_, at)| at));
    }
    mask.defective = outside.iter().map(|&outside| !outside).collect();
    mask
}

/// Lets `value` grow by `reach` pixels along both axes.
fn spread(mask: &Mask, reach: usize, value: bool) -> Mask {
    let near = |i: usize, len: usize| i.saturating_sub(reach)..=(i + reach).min(len - 1);
    let mut rows = mask.clone();
    let mut both = mask.clone();
    for y in 0..mask.height {
        for x in 0..mask.width {
            let found = near(x, mask.width).any(|x| mask.defective[y * mask.width + x] == value);
            rows.defective[y * mask.width + x] = found == value;
        }
    }
    for y in 0..mask.height {
        for x in 0..mask.width {
            let found = near(y, mask.height).any(|y| rows.defective[y * mask.width + x] == value);
            both.defective[y * mask.width + x] = found == value;
        }
    }
    both
}

/// Clears 8-connected regions of fewer than `smallest` pixels.
fn drop_small_regions(mut mask: Mask, smallest: usize) -> Mask {
    let mut seen = vec![false; mask.defective.len()];
    for start in 0..mask.defective.len() {
        if !mask.defective[start] || seen[start] {
            continue;
        }
        seen[start] = true;
        let mut region = vec![start];
        let mut next = 0;
        while let Some(&at) = region.get(next) {
            next += 1;
            let (x, y) = (at % mask.width, at / mask.width);
            for y in y.saturating_sub(1)..=(y + 1).min(mask.height - 1) {
                for x in x.saturating_sub(1)..=(x + 1).min(mask.width - 1) {
                    let neighbour = y * mask.width + x;
                    if mask.defective[neighbour] && !seen[neighbour] {
                        seen[neighbour] = true;
                        region.push(neighbour);
                    }
                }
            }
        }
        if region.len() < smallest {
            region.iter().for_each(|&at| mask.defective[at] = false);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(values: Vec<f32>) -> [Map; 3] {
        [(); 3].map(|()| Map { width: 16, height: 16, values: values.clone() })
    }

    #[test]
    fn what_a_changed_ring_encloses_is_marked() {
        let good = vec![0.5_f32; 256];
        let mut ring = good.clone();
        for i in 2..14 {
            for at in [2 * 16 + i, 13 * 16 + i, i * 16 + 2, i * 16 + 13] {
                ring[at] = 0.7;
            }
        }
        let mask = changed(&channels(good), &channels(ring));
        assert_eq!(mask.defective.iter().filter(|&&d| d).count(), 12 * 12);
        assert!(mask.defective[7 * 16 + 7] && !mask.defective[16 + 1]);
    }

    #[test]
    fn a_groove_is_marked_across_its_unchanged_bottom_and_specks_are_not() {
        let good = vec![0.5_f32; 256];
        let mut groove = good.clone();
        for x in 3..13 {
            groove[5 * 16 + x] = 0.6;
            groove[7 * 16 + x] = 0.4;
        }
        groove[12 * 16 + 12] = 0.9;
        groove[10 * 16 + 2] = 0.53;
        let mask = changed(&channels(good), &channels(groove));
        for y in 0..16 {
            for x in 0..16 {
                let inside = (5..=7).contains(&y) && (3..13).contains(&x);
                assert_eq!(mask.defective[y * 16 + x], inside, "at ({x}, {y})");
            }
        }
    }
}
