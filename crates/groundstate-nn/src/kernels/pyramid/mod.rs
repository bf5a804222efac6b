//! The kernels of [`Pyramid`](crate::Pyramid), one scale of a picture and one band of rows of cells at a time.

mod adjoint;
mod backward;
mod forward;
mod walk;

pub(crate) use adjoint::Adjoint;
pub(crate) use backward::Backward;
pub(crate) use forward::Forward;

use crate::pyramid::DIRECTIONS;

/// One scale of pictures: where its features are among those of a cell.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Channels of the picture.
    pub(crate) channels: usize,
    /// Pixels of this scale along the edge of a cell.
    pub(crate) pool: usize,
    /// Features of a cell at all scales.
    pub(crate) own: usize,
    /// The first feature of this scale.
    pub(crate) offset: usize,
}

impl Scale {
    /// Features that are averaged.
    pub(crate) fn averaged(self) -> usize {
        DIRECTIONS + 1 + 2 * self.channels
    }

    /// Features that are averaged or maximised.
    pub(crate) fn count(self) -> usize {
        self.averaged() + 1 + 2 * self.channels
    }
}

/// (cos, sin) of directions 0 to 3 of eight; the others are opposite.
const UNITS: [(f32, f32); DIRECTIONS / 2] = {
    const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    [(1.0, 0.0), (HALF, HALF), (0.0, 1.0), (-HALF, HALF)]
};
