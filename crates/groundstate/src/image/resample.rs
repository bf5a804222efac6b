//! Bilinear sampling of a rectangle of a map, one axis after the other.

use super::Map;

/// A rectangle in the coordinates of a map, in pixels; pixel `i` covers `[i, i + 1]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rectangle {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// For each output pixel: the two input pixels that its centre lies between, and the share of the
/// second.
fn taps(start: f64, length: f64, input: usize, output: usize) -> Vec<(usize, usize, f32)> {
    let last = (input - 1) as f64;
    (0..output)
        .map(|i| {
            let centre = start + (i as f64 + 0.5) * length / output as f64 - 0.5;
            let centre = centre.clamp(0.0, last);
            let first = centre.floor();
            (first as usize, (first + 1.0).min(last) as usize, (centre - first) as f32)
        })
        .collect()
}

/// Samples `from` at the pixel centres of a `width` × `height` grid laid over it.
///
/// Outside the map its border values continue. There is no low-pass filter, so a strong reduction
/// skips values.
pub(super) fn bilinear(map: &Map, from: Rectangle, width: usize, height: usize) -> Map {
    let columns = taps(from.left, from.width, map.width, width);
    let rows = taps(from.top, from.height, map.height, height);
    let mut values = Vec::with_capacity(width * height);
    let mut blended = vec![0.0_f32; map.width];
    for (upper, lower, share) in rows {
        let upper = &map.values[upper * map.width..][..map.width];
        let lower = &map.values[lower * map.width..][..map.width];
        for ((value, &a), &b) in blended.iter_mut().zip(upper).zip(lower) {
            *value = a + share * (b - a);
        }
        values.extend(columns.iter().map(|&(a, b, share)| blended[a] + share * (blended[b] - blended[a])));
    }
    Map { width, height, values }
}
