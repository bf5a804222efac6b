//! Fixed, differentiable features of a picture: what a closed-form energy looks at.

mod planes;
mod surroundings;
#[cfg(test)]
mod tests;

pub(crate) use planes::Planes;

use rayon::prelude::*;

use crate::kernels::Backend;
use crate::kernels::pyramid::{Adjoint, Backward, Forward, Scale};
use planes::Split;
use surroundings::{Around, Gathered};

/// Edge of a cell in pixels of the picture.
pub(crate) const CELL: usize = 4;
/// The picture's edge divided by that of each scale.
pub(crate) const SCALES: [usize; 3] = [1, 2, 4];
/// Directions of the gradient that are told apart.
pub(crate) const DIRECTIONS: usize = 8;
/// Radius of the window that local contrast is measured against, in pixels of its scale.
pub(crate) const CONTRAST_RADIUS: usize = 8;
/// Keeps the gradient magnitude differentiable at zero.
pub(crate) const MAGNITUDE_FLOOR: f64 = 1e-8;
/// Keeps the signed square root differentiable at zero.
pub(crate) const ROOT_FLOOR: f64 = 1e-6;

/// Rows of cells of one task. Window sums begin anew in every band, so it is part of the result.
const BAND: usize = 8;

/// Features of pictures of one size.
///
/// At three scales (1, 1/2, 1/4): rectified gradients in eight directions, the gradient magnitude, local
/// contrast and colour, averaged (and some of them maximised) over cells of 4 × 4 pixels of the picture; signed
/// square roots; then each cell together with the mean of its 3 × 3 surroundings. [`plain::Pyramid`] says it in
/// loops. Results do not depend on the number of threads, bit for bit.
///
/// [`plain::Pyramid`]: crate::plain::Pyramid
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pyramid {
    width: usize,
    height: usize,
    channels: usize,
    backend: Backend,
}

/// The features of one picture.
pub struct Features {
    pyramid: Pyramid,
    /// The picture at all scales.
    planes: [Planes; 3],
    /// Without surroundings: rows × features × columns.
    own: Vec<f32>,
}

impl Pyramid {
    /// Edge of a cell in pixels.
    pub const CELL: usize = CELL;

    /// Features of pictures of a size, by the fastest backend.
    ///
    /// # Panics
    /// If an edge is no multiple of [`Pyramid::CELL`], or anything is 0.
    pub fn new(width: usize, height: usize, channels: usize) -> Self {
        Self::with_backend(width, height, channels, Backend::detect())
    }

    /// As [`Pyramid::new`], by a backend that the processor has.
    ///
    /// # Panics
    /// As there.
    pub fn with_backend(width: usize, height: usize, channels: usize, backend: Backend) -> Self {
        assert!(width > 0 && height > 0 && channels > 0, "a picture has pixels");
        assert!(
            width.is_multiple_of(CELL) && height.is_multiple_of(CELL),
            "edges must be multiples of {CELL}"
        );
        Self { width, height, channels, backend }
    }

    /// Features of a cell of pictures of `channels` channels.
    pub fn dimensions(channels: usize) -> usize {
        crate::plain::Pyramid::new(channels).dimensions()
    }

    /// Columns of cells.
    pub fn columns(&self) -> usize {
        self.width / CELL
    }

    /// Rows of cells.
    pub fn rows(&self) -> usize {
        self.height / CELL
    }

    /// Features of a cell without its surroundings.
    fn own(&self) -> usize {
        Self::dimensions(self.channels) / 2
    }

    fn scales(&self) -> impl Iterator<Item = Scale> + use<> {
        let (own, channels) = (self.own(), self.channels);
        let scale =
            move |(i, factor)| Scale { channels, pool: CELL / factor, own, offset: i * own / SCALES.len() };
        SCALES.into_iter().enumerate().map(scale)
    }

    /// The picture at all scales.
    fn split(&self, picture: &[f32]) -> [Planes; 3] {
        assert_eq!(picture.len(), self.width * self.height * self.channels, "picture has another shape");
        let mut planes = SCALES.map(|s| Planes::zeros(self.width / s, self.height / s, self.channels + 1));
        let [whole, half, quarter] = &mut planes;
        let (width, channels) = (self.width, self.channels);
        let bands = whole.bands_mut(CELL * BAND).zip(half.bands_mut(CELL / 2 * BAND));
        let bands =
            bands.zip(quarter.bands_mut(BAND)).zip(picture.par_chunks(CELL * BAND * width * channels));
        bands.for_each(|(((whole, half), quarter), picture)| {
            self.backend.run(Split { picture, width, channels, to: [whole, half, quarter] });
        });
        planes
    }

    /// Features of one picture (height × width × channels).
    ///
    /// # Panics
    /// If the picture has another shape.
    pub fn forward(&self, picture: &[f32]) -> Features {
        let planes = self.split(picture);
        let row = self.own() * self.columns();
        let mut own = vec![0.0; self.rows() * row];
        own.par_chunks_mut(BAND * row).enumerate().for_each(|(band, to)| {
            let rows = band * BAND..band * BAND + to.len() / row;
            for (scale, planes) in self.scales().zip(&planes) {
                self.backend.run(Forward { scale, planes, rows: rows.clone(), to });
            }
        });
        Features { pyramid: *self, planes, own }
    }

    /// Gradient at the pixels of Σ `weights` · features: the adjoint of [`Pyramid::forward`] at the picture of
    /// these features.
    ///
    /// # Shapes
    /// `weights`: rows × features × columns. The result is like the picture.
    ///
    /// # Panics
    /// If something has another shape.
    pub fn backward(&self, features: &Features, weights: &[f32]) -> Vec<f32> {
        let (columns, rows, own) = (self.columns(), self.rows(), self.own());
        assert_eq!((features.pyramid, weights.len()), (*self, 2 * rows * own * columns));
        let mut of_cells = vec![0.0; rows * own * columns];
        of_cells.par_chunks_exact_mut(own * columns).enumerate().for_each(|(y, to)| {
            let roots = &features.own[y * own * columns..][..own * columns];
            self.backend.run(Gathered { weights, roots, columns, rows, y, to });
        });
        let planes = self.scales().zip(&features.planes);
        let of_scales: Vec<Planes> =
            planes.map(|(scale, planes)| self.level(scale, planes, &of_cells)).collect();
        let mut gradient = vec![0.0; self.width * self.height * self.channels];
        let row = self.width * self.channels;
        gradient.par_chunks_mut(CELL * BAND * row).enumerate().for_each(|(band, to)| {
            self.backend.run(planes::Join { of_scales: &of_scales, first: band * BAND * CELL, to });
        });
        gradient
    }

    /// Gradient at the channels of one scale.
    fn level(&self, scale: Scale, planes: &Planes, weights: &[f32]) -> Planes {
        let (width, height) = (planes.width, planes.height);
        let cell_row = self.own() * self.columns();
        let mut inner = Planes::zeros(width, height, 2 + self.channels);
        let rows_of = |band: usize, rows: usize, each: usize| band * BAND * each..(band * BAND * each + rows);
        let row = inner.row_pitch();
        inner.bands_mut(BAND * scale.pool).enumerate().for_each(|(band, to)| {
            let rows = rows_of(band, to.len() / row / scale.pool, 1);
            let weights = &weights[rows.start * cell_row..rows.end * cell_row];
            self.backend.run(Backward { scale, planes, rows, weights, to });
        });
        let mut outer = Planes::zeros(width, height, self.channels);
        let row = outer.row_pitch();
        outer.bands_mut(BAND * scale.pool).enumerate().for_each(|(band, to)| {
            let rows = rows_of(band, to.len() / row, scale.pool);
            self.backend.run(Adjoint { scale, from: &inner, rows, weights, to });
        });
        outer
    }
}

impl Features {
    /// What they are features of.
    pub fn pyramid(&self) -> &Pyramid {
        &self.pyramid
    }

    /// All features of a row of cells: features × columns.
    ///
    /// # Panics
    /// If `to` has another length.
    pub fn row(&self, y: usize, to: &mut [f32]) {
        let (columns, rows) = (self.pyramid.columns(), self.pyramid.rows());
        self.pyramid.backend.run(Around { own: &self.own, columns, rows, y, to });
    }

    /// All features of every cell: cells × features.
    pub fn by_cell(&self) -> Vec<f32> {
        let (columns, d) = (self.pyramid.columns(), 2 * self.pyramid.own());
        let mut out = vec![0.0; 2 * self.own.len()];
        let mut row = vec![0.0; columns * d];
        for (y, out) in out.chunks_exact_mut(columns * d).enumerate() {
            self.row(y, &mut row);
            for (f, line) in row.chunks_exact(columns).enumerate() {
                out[f..].iter_mut().step_by(d).zip(line).for_each(|(to, &value)| *to = value);
            }
        }
        out
    }
}
