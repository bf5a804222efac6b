//! Which part of a picture counts.

use super::{Image, Mask};

/// What pixels outside the region of interest are replaced by.
const COVER: f32 = 0.5;

/// A region of interest, in shares of a picture's width and height, so that it fits any size.
///
/// It is kept on a square grid: a pixel counts if the cell that its centre falls in does.
#[derive(Clone, Debug, PartialEq)]
pub struct Roi {
    edge: usize,
    inside: Vec<bool>,
}

/// A polygon with its corners as shares of a picture's width and height, in `[0, 1]`; it is closed,
/// and where it crosses itself the even-odd rule decides what is inside.
pub type Polygon = Vec<[f64; 2]>;

/// Why a region of interest cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RoiError {
    /// A polygon encloses nothing.
    #[error("polygon {index} of the region of interest has {corners} corners, expected at least 3")]
    Corners {
        /// Which polygon, counted from 0.
        index: usize,
        /// Its corners.
        corners: usize,
    },
    /// A corner lies outside the picture.
    #[error(
        "polygon {index} of the region of interest has the corner ({x}, {y}), \
         expected shares of width and height from 0 to 1"
    )]
    Corner {
        /// Which polygon, counted from 0.
        index: usize,
        /// Share of the width.
        x: f64,
        /// Share of the height.
        y: f64,
    },
    /// Nothing counts.
    #[error("the region of interest holds no pixel of the {edge} × {edge} that the model sees")]
    Empty {
        /// Cells an edge.
        edge: usize,
    },
    /// Stored cells do not make a grid.
    #[error("the region of interest has {found} cells, expected {expected}")]
    Cells {
        /// Cells found.
        found: usize,
        /// Cells expected.
        expected: usize,
    },
}

impl Roi {
    /// What `mask` marks, on a grid of `edge` × `edge`.
    ///
    /// # Errors
    /// When nothing is left of it.
    pub fn from_mask(mask: &Mask, edge: usize) -> Result<Self, RoiError> {
        Self::from_cells(edge, mask.resize_nearest(edge, edge).defective)
    }

    /// The union of polygons, on a grid of `edge` × `edge`.
    ///
    /// # Errors
    /// When a polygon has fewer than three corners or one outside the picture, or nothing is inside.
    pub fn from_polygons(polygons: &[Polygon], edge: usize) -> Result<Self, RoiError> {
        for (index, polygon) in polygons.iter().enumerate() {
            if polygon.len() < 3 {
                return Err(RoiError::Corners { index, corners: polygon.len() });
            }
            let share = 0.0..=1.0;
            if let Some(&[x, y]) = polygon.iter().find(|[x, y]| !(share.contains(x) && share.contains(y))) {
                return Err(RoiError::Corner { index, x, y });
            }
        }
        let centre = |cell: usize| (cell as f64 + 0.5) / edge as f64;
        let inside = (0..edge * edge)
            .map(|at| {
                let point = [centre(at % edge), centre(at / edge)];
                polygons.iter().any(|polygon| encloses(polygon, point))
            })
            .collect();
        Self::from_cells(edge, inside)
    }

    /// A region from its cells, row by row.
    ///
    /// # Errors
    /// When there are not `edge` × `edge` of them or none is inside.
    pub fn from_cells(edge: usize, inside: Vec<bool>) -> Result<Self, RoiError> {
        if inside.len() != edge * edge {
            return Err(RoiError::Cells { found: inside.len(), expected: edge * edge });
        }
        if !inside.contains(&true) {
            return Err(RoiError::Empty { edge });
        }
        Ok(Self { edge, inside })
    }

    /// Cells an edge, and which of them are inside, row by row.
    pub fn cells(&self) -> (usize, &[bool]) {
        (self.edge, &self.inside)
    }

    /// Share of the picture that counts, in (0, 1].
    pub fn area(&self) -> f64 {
        self.inside.iter().filter(|inside| **inside).count() as f64 / self.inside.len() as f64
    }

    /// Which pixels of a picture of `width` × `height` count, row by row.
    pub fn of_size(&self, width: usize, height: usize) -> Vec<bool> {
        let grid = Mask { width: self.edge, height: self.edge, defective: self.inside.clone() };
        grid.resize_nearest(width, height).defective
    }

    /// The picture with everything outside made one grey, the same in every picture.
    #[must_use]
    pub fn cover(&self, picture: &Image) -> Image {
        let mut covered = picture.clone();
        let inside = self.of_size(picture.width, picture.height);
        let outside = covered.pixels.chunks_exact_mut(picture.channels).zip(inside).filter(|(_, i)| !i);
        outside.for_each(|(pixel, _)| pixel.fill(COVER));
        covered
    }
}

/// Whether a point is inside a polygon: a ray to the right crosses its edges an odd number of times.
fn encloses(polygon: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    let next = polygon.iter().cycle().skip(1);
    let crossings = polygon
        .iter()
        .zip(next)
        .filter(|&(&[ax, ay], &[bx, by])| (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax));
    crossings.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_as_polygon_and_as_mask_is_the_same_region() {
        let polygon = vec![[0.25, 0.5], [0.75, 0.5], [0.75, 1.0], [0.25, 1.0]];
        let from_polygon = Roi::from_polygons(&[polygon], 16).unwrap();
        let inside = |at: usize| (10..30).contains(&(at % 40)) && at / 40 >= 10;
        let mask = Mask { width: 40, height: 20, defective: (0..800).map(inside).collect() };
        assert_eq!(Roi::from_mask(&mask, 16).unwrap(), from_polygon);
        assert_eq!(from_polygon.area(), 0.25);
        assert_eq!(from_polygon.of_size(40, 20), mask.defective);
    }

    #[test]
    fn a_star_that_crosses_itself_has_a_hole_and_two_polygons_are_united() {
        let corner = |i: usize| {
            let angle = std::f64::consts::TAU * (i * 2 % 5) as f64 / 5.0;
            [0.5 + 0.45 * angle.sin(), 0.5 - 0.45 * angle.cos()]
        };
        let star: Polygon = (0..5).map(corner).collect();
        let centre = 32 * 64 + 32;
        let alone = Roi::from_polygons(std::slice::from_ref(&star), 64).unwrap();
        assert!(!alone.inside[centre] && alone.inside[10 * 64 + 32]);
        let square = vec![[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]];
        assert!(Roi::from_polygons(&[star, square], 64).unwrap().inside[centre]);
    }

    #[test]
    fn covering_hides_what_is_outside_and_nothing_else() {
        let roi = Roi::from_polygons(&[vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]], 8).unwrap();
        let picture =
            |outside: f32| Image { width: 4, height: 1, channels: 1, pixels: vec![0.1, 0.2, outside, 1.0] };
        assert_eq!(roi.cover(&picture(0.3)), roi.cover(&picture(0.9)));
        assert_eq!(roi.cover(&picture(0.3)).pixels, [0.1, 0.2, COVER, COVER]);
    }

    #[test]
    fn regions_that_hold_nothing_are_refused() {
        let line = vec![[0.1, 0.1], [0.9, 0.9]];
        let corners = Roi::from_polygons(&[line], 8).unwrap_err();
        assert_eq!(corners, RoiError::Corners { index: 0, corners: 2 });
        let wide = vec![[0.0, 0.0], [12.0, 0.0], [0.0, 1.0]];
        assert!(matches!(Roi::from_polygons(&[wide], 8), Err(RoiError::Corner { index: 0, x: 12.0, .. })));
        let thin = vec![[0.0, 0.0], [0.01, 0.0], [0.01, 0.01]];
        assert_eq!(Roi::from_polygons(&[thin], 8), Err(RoiError::Empty { edge: 8 }));
        assert_eq!(Roi::from_mask(&Mask::empty(9, 9), 8), Err(RoiError::Empty { edge: 8 }));
    }
}
