//! Energies: E(x) = Σ e(u, v), a sum of local energies, high where a picture is unlikely.
//!
//! p(x) ∝ exp(−E(x)). Three energies implement [`Energy`]: the closed-form reference
//! ([`Gaussian`]), the learned network ([`Learned`]) and their sum ([`EnergyModel`], the exponential
//! tilting of Xie et al. 2016, *A Theory of Generative ConvNet*).

mod gaussian;
mod learned;
mod tiled;
mod tiling;
mod tilted;
mod trunk;

pub use gaussian::{FeatureBank, Form, Gaussian, GaussianConfig, GaussianError};
pub(crate) use gaussian::{Projection, QuantisedRows, Source};
pub use learned::{Learned, NetworkConfig};
pub use tiled::TiledGaussian;
pub(crate) use tiled::{MARGIN_PX, MAX_POSITIONS, Place, TiledBank};
pub(crate) use tiling::{Cut, STEP_PX, Tile, Tiling};
pub use tilted::{EnergyModel, Reference};
pub use trunk::Sight;
pub(crate) use trunk::Trunk;

use crate::image::{Image, Map};

/// Edge of a cell in pixels of the picture.
pub const CELL: usize = groundstate_nn::Pyramid::CELL;

/// Pictures of one size as the energies take them: count × height × width × channels, `[0, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of pictures.
    pub count: usize,
    /// Rows of a picture.
    pub height: usize,
    /// Columns of a picture.
    pub width: usize,
    /// Channels of a picture.
    pub channels: usize,
    /// `count * height * width * channels` values.
    pub values: Vec<f32>,
}

impl Batch {
    /// Puts pictures side by side.
    ///
    /// # Panics
    /// If there is none, or they differ in shape: preprocessing makes them equal.
    pub fn of<'a>(pictures: impl IntoIterator<Item = &'a Image>) -> Self {
        let mut pictures = pictures.into_iter();
        let first = pictures.next().expect("a batch has at least one picture");
        let (height, width, channels) = (first.height, first.width, first.channels);
        let mut batch = Self { count: 1, height, width, channels, values: first.pixels.clone() };
        for picture in pictures {
            assert_eq!((picture.height, picture.width, picture.channels), (height, width, channels));
            batch.values.extend_from_slice(&picture.pixels);
            batch.count += 1;
        }
        batch
    }

    /// Values of one picture.
    pub fn picture_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The values of each picture in turn.
    pub fn pictures(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.picture_len())
    }

    /// The pictures in batches of at most `count`.
    pub(crate) fn parts(&self, count: usize) -> impl Iterator<Item = Self> + '_ {
        let length = self.picture_len();
        let parts = self.values.chunks(count * length);
        parts.map(move |values| Self { count: values.len() / length, values: values.to_vec(), ..*self })
    }

    /// A batch of the same shape with other values.
    ///
    /// # Panics
    /// If `values` has another length.
    pub fn with_values(&self, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), self.values.len());
        Self { values, ..*self }
    }
}

/// What an energy is asked for besides its local energies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The free energies.
    pub free: bool,
    /// The gradient at the pixels.
    pub gradient: bool,
}

impl Wanted {
    /// Everything there is.
    pub const ALL: Self = Self { free: true, gradient: true };
}

/// What an energy says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Local energies e(u, v) on the energy's own grid, [`Energy::stride`] pixels a step.
    pub local: Map,
    /// Local free energies −log Σ_d π(d) exp(−e_d(u, v)) over the displacements d that what is seen at
    /// (u, v) may have, if they were wanted. Those of an energy without displacements are its local
    /// energies.
    pub free: Option<Map>,
    /// ∂E/∂x at every value of the picture (height × width × channels), E the sum of the local
    /// energies, if it was wanted.
    pub gradient: Option<Vec<f32>>,
}

/// A differentiable energy of pictures, as a sum of local energies.
pub trait Energy: Send + Sync {
    /// Pixels of the picture per step of the grid of local energies.
    fn stride(&self) -> usize;

    /// Local energies of every picture, and what else is wanted.
    fn evaluate(&self, batch: &Batch, wanted: Wanted) -> Vec<Evaluated>;

    /// Local energies of every picture.
    fn local_energies(&self, batch: &Batch) -> Vec<Map> {
        self.evaluate(batch, Wanted::default()).into_iter().map(|evaluated| evaluated.local).collect()
    }
}
