//! Where the numbers that describe a cell come from.

use groundstate_nn::{Features, Pyramid};
use rayon::prelude::*;

use super::projection::{self, Projection, Projector};
use super::{CELL, GaussianError};
use crate::image::Image;
use crate::model::trunk::{Sight, Trunk};
use crate::model::{Batch, Learned};

/// Pictures that a projection is estimated from; their cells are plenty.
const PROJECTION_PICTURES: usize = 64;

/// What gives every cell of a picture its k numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// The features of the fixed pyramid, projected to principal axes.
    Pyramid(Projection),
    /// Inner layers of a network, projected to theirs.
    Network(Trunk),
}

impl Source {
    /// At most `kept` principal axes of the features of the pyramid over some of the pictures.
    pub(super) fn pyramid(pictures: &[&Image], kept: usize) -> Self {
        let pyramid = Pyramid::new(pictures[0].width, pictures[0].height, pictures[0].channels);
        let d = Pyramid::dimensions(pictures[0].channels);
        let features = |picture: &Image| pyramid.forward(&picture.pixels).by_cell();
        let cells = pyramid.columns() * pyramid.rows();
        Self::Pyramid(principal(pictures, (cells, d), kept.min(d), &features))
    }

    /// At most `kept` principal axes of the layers of a network over some of the pictures; `None` for a network
    /// without such layers.
    pub(super) fn network(learned: &Learned, sight: Sight, pictures: &[&Image], kept: usize) -> Option<Self> {
        let all = Trunk::of(learned, sight)?;
        let d = all.dimensions();
        let features = |picture: &Image| all.features(&Batch::of([picture])).remove(0);
        let cells = pictures[0].width / all.cell_px() * (pictures[0].height / all.cell_px());
        Some(Self::Network(all.projected(&principal(pictures, (cells, d), kept.min(d), &features))))
    }

    /// Edge of a cell in pixels.
    pub(crate) fn cell_px(&self) -> usize {
        match self {
            Self::Pyramid(_) => CELL,
            Self::Network(trunk) => trunk.cell_px(),
        }
    }

    /// Numbers of a cell.
    pub(super) fn dimensions(&self) -> usize {
        match self {
            Self::Pyramid(projection) => projection.matrix.len() / projection.centre.len().max(1),
            Self::Network(trunk) => trunk.dimensions(),
        }
    }

    /// Checks that it takes pictures of `channels` and gives `k` numbers for a cell.
    pub(super) fn check(&self, channels: usize, k: usize) -> Result<(), GaussianError> {
        let error = |name, found, expected| Err(GaussianError::Array { name, found, expected });
        match self {
            Self::Pyramid(Projection { centre, matrix }) => {
                super::check_projection(channels, k, [centre.len(), matrix.len()])
            }
            Self::Network(trunk) if trunk.channels() != channels => {
                error("trunk", trunk.channels(), channels)
            }
            Self::Network(trunk) if trunk.dimensions() != k => error("trunk", trunk.dimensions(), k),
            Self::Network(_) => Ok(()),
        }
    }

    /// The numbers of every picture (cells × k), and what the way back takes if it is `wanted`.
    pub(super) fn forward(&self, batch: &Batch, wanted: bool) -> (Vec<Vec<f32>>, Vec<Features>) {
        match self {
            Self::Pyramid(projection) => {
                let pyramid = Pyramid::new(batch.width, batch.height, batch.channels);
                let projector = Projector::new(&projection.centre, &projection.matrix);
                let pictures = batch.values.par_chunks_exact(batch.picture_len());
                let (projected, features): (Vec<_>, Vec<Option<Features>>) = pictures
                    .map(|picture| {
                        let features = pyramid.forward(picture);
                        (projector.apply(&features), wanted.then_some(features))
                    })
                    .unzip();
                (projected, features.into_iter().flatten().collect())
            }
            Self::Network(trunk) => (trunk.features(batch), Vec::new()),
        }
    }

    /// The gradient at the pixels of Σ slopes · numbers of every picture, after [`Source::forward`] of these.
    pub(super) fn pull_back(
        &self,
        batch: &Batch,
        features: &[Features],
        slopes: &[Vec<f32>],
    ) -> Vec<Vec<f32>> {
        match self {
            Self::Pyramid(projection) => {
                let pyramid = Pyramid::new(batch.width, batch.height, batch.channels);
                let projector = Projector::new(&projection.centre, &projection.matrix);
                let pictures = features.par_iter().zip(slopes);
                pictures
                    .map(|(features, slopes)| {
                        pyramid.backward(features, &projector.adjoint(slopes, pyramid.columns()))
                    })
                    .collect()
            }
            Self::Network(trunk) => trunk.pull_back(batch, slopes),
        }
    }
}

/// The principal axes of the features (`cells` × `d`) of cells all over some of the pictures.
fn principal(
    pictures: &[&Image],
    (cells, d): (usize, usize),
    kept: usize,
    features: &(dyn Fn(&Image) -> Vec<f32> + Sync),
) -> Projection {
    let sample = super::bank::spread_out(pictures.len(), PROJECTION_PICTURES);
    let every = projection::every(sample.len(), cells);
    let of = |(number, &picture): (usize, &usize)| -> Vec<f32> {
        let first = (number * cells).next_multiple_of(every) - number * cells;
        features(pictures[picture]).chunks_exact(d).skip(first).step_by(every).flatten().copied().collect()
    };
    let features: Vec<Vec<f32>> = sample.par_iter().enumerate().map(of).collect();
    Projection::principal(&features, d, kept)
}
