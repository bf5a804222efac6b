//! The energy of a detector: a closed-form reference, a learned network, or their sum.

use super::{Batch, CELL, Energy, Evaluated, Gaussian, Learned, MARGIN_PX, Place, TiledGaussian};
use crate::image::Map;

/// The closed-form energy as a term of a sum: `scale · (e − offset)`.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The closed-form energy.
    pub gaussian: Gaussian,
    /// Subtracted from its local energies.
    pub offset: f32,
    /// Multiplies what is left; positive.
    pub scale: f32,
}

/// E = E₀ + E_θ, where either may be absent.
///
/// p(x) ∝ exp(−E_θ(x)) p₀(x): the learned part tilts the reference distribution. The sum lives on
/// the network's grid; the reference's local energies are interpolated to it.
#[derive(Clone, Debug)]
pub enum EnergyModel {
    /// The closed form alone.
    Reference(Reference),
    /// The network alone.
    Learned(Learned),
    /// Their sum.
    Tilted(Reference, Learned),
    /// The closed form for pictures that keep their size.
    Tiled(TiledGaussian),
}

impl Reference {
    /// The closed-form energy itself.
    pub fn plain(gaussian: Gaussian) -> Self {
        Self { gaussian, offset: 0.0, scale: 1.0 }
    }

    fn term(&self, mut local: Map) -> Map {
        local.values.iter_mut().for_each(|e| *e = self.scale * (*e - self.offset));
        local
    }

    /// Local energies on a grid of `stride` pixels a step, at most [`CELL`].
    pub(crate) fn local_on_grid(&self, batch: &Batch, stride: usize) -> Vec<Map> {
        self.gaussian.local_energies(batch).into_iter().map(|local| self.on_grid(local, stride)).collect()
    }

    /// As [`Reference::local_on_grid`], with the gradient of the sum over that grid.
    pub(crate) fn evaluate_on_grid(&self, batch: &Batch, stride: usize) -> Vec<Evaluated> {
        // Bilinear interpolation gives every cell the same weight in the sum: that of the grid's
        // points in it.
        let points = (CELL / stride * (CELL / stride)) as f32;
        let mut found = self.gaussian.evaluate(batch);
        for evaluated in &mut found {
            let local = std::mem::replace(&mut evaluated.local, Map::filled(1, 1, 0.0));
            evaluated.local = self.on_grid(local, stride);
            evaluated.gradient.iter_mut().for_each(|g| *g *= self.scale * points);
        }
        found
    }

    fn on_grid(&self, local: Map, stride: usize) -> Map {
        let finer = CELL / stride;
        let (width, height) = (local.width * finer, local.height * finer);
        self.term(if finer == 1 { local } else { local.resize_bilinear(width, height) })
    }
}

impl EnergyModel {
    /// The closed-form part.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Reference(reference) | Self::Tilted(reference, _) => Some(reference),
            Self::Learned(_) | Self::Tiled(_) => None,
        }
    }

    /// The learned part.
    pub fn learned(&self) -> Option<&Learned> {
        match self {
            Self::Learned(learned) | Self::Tilted(_, learned) => Some(learned),
            Self::Reference(_) | Self::Tiled(_) => None,
        }
    }

    /// Pixels around a part of a picture that what it says of that part depends on. The gradient of a
    /// network looks further, but hardly.
    pub(crate) fn margin_px(&self) -> usize {
        self.learned().map_or(MARGIN_PX, |learned| learned.network.receptive_field().div_ceil(2))
    }

    /// Local energies of the window at `place`, the only picture of `batch`, and their gradient at its
    /// pixels if `gradient` is set.
    pub(crate) fn window(&self, batch: &Batch, place: &Place, gradient: bool) -> (Map, Option<Vec<f32>>) {
        if let Self::Tiled(tiled) = self {
            return tiled.window(batch, place, gradient);
        }
        if gradient {
            let Evaluated { local, gradient } = self.evaluate(batch).remove(0);
            return (local, Some(gradient));
        }
        (self.local_energies(batch).remove(0), None)
    }
}

impl Energy for EnergyModel {
    fn stride(&self) -> usize {
        self.learned().map_or(CELL, Energy::stride)
    }

    fn local_energies(&self, batch: &Batch) -> Vec<Map> {
        match self {
            Self::Reference(reference) => reference.local_on_grid(batch, CELL),
            Self::Learned(learned) => learned.local_energies(batch),
            Self::Tiled(tiled) => tiled.local_energies(batch),
            Self::Tilted(reference, learned) => {
                let mut sum = learned.local_energies(batch);
                for (to, from) in sum.iter_mut().zip(reference.local_on_grid(batch, self.stride())) {
                    add(&mut to.values, &from.values);
                }
                sum
            }
        }
    }

    fn evaluate(&self, batch: &Batch) -> Vec<Evaluated> {
        match self {
            Self::Reference(reference) => reference.evaluate_on_grid(batch, CELL),
            Self::Learned(learned) => learned.evaluate(batch),
            Self::Tiled(tiled) => tiled.evaluate(batch),
            Self::Tilted(reference, learned) => {
                let mut sum = learned.evaluate(batch);
                for (to, from) in sum.iter_mut().zip(reference.evaluate_on_grid(batch, self.stride())) {
                    add(&mut to.local.values, &from.local.values);
                    add(&mut to.gradient, &from.gradient);
                }
                sum
            }
        }
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    assert_eq!(to.len(), from.len(), "both energies see the same picture");
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}
