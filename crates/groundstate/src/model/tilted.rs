//! The energy of a detector: a closed-form reference, learned networks, or their sum.

use super::{
    Batch, CELL, Energy, Evaluated, Form, Gaussian, Learned, MARGIN_PX, Place, TiledGaussian, Wanted,
};
use crate::image::Map;

/// The closed-form energy as a term of a sum: `scale · (e − offset)`.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The closed-form energy.
    pub gaussian: Gaussian,
    /// What of it e is.
    pub form: Form,
    /// Subtracted from its local energies.
    pub offset: f32,
    /// Multiplies what is left; positive.
    pub scale: f32,
}

/// E = Σ E₀ + Σ E_θ, where either may be absent.
///
/// p(x) ∝ exp(−Σ E_θ(x)) p₀(x): the learned part tilts the reference distribution. The sum lives on
/// the networks' grid; the reference's local energies are interpolated to it.
#[derive(Clone, Debug)]
pub enum EnergyModel {
    /// The closed form alone.
    Reference(Reference),
    /// The network alone.
    Learned(Learned),
    /// The sum of closed forms, the first of which is that of the pyramid, and of networks of one kind, at least one
    /// of each.
    Tilted(Vec<Reference>, Vec<Learned>),
    /// The closed form for pictures that keep their size.
    Tiled(TiledGaussian),
}

impl Reference {
    /// The closed-form energy itself.
    pub fn plain(gaussian: Gaussian) -> Self {
        Self { gaussian, form: Form::Quadratic, offset: 0.0, scale: 1.0 }
    }

    /// The same energy, `weight` times as much.
    pub(crate) fn weighted(self, weight: f32) -> Self {
        Self { scale: weight * self.scale, ..self }
    }

    fn term(&self, mut local: Map) -> Map {
        local.values.iter_mut().for_each(|e| *e = self.scale * (*e - self.offset));
        local
    }

    /// Local energies on a grid of `stride` pixels a step, which divides its own; the gradient is that of their
    /// sum over that grid.
    pub(crate) fn evaluate_on_grid(&self, batch: &Batch, stride: usize, wanted: Wanted) -> Vec<Evaluated> {
        // Bilinear interpolation gives every cell the same weight in the sum: that of the grid's
        // points in it.
        let finer = self.gaussian.cell_px() / stride;
        let points = (finer * finer) as f32;
        let scaled = |mut gradient: Vec<f32>| {
            gradient.iter_mut().for_each(|g| *g *= self.scale * points);
            gradient
        };
        let found = self.gaussian.evaluate_as(self.form, batch, wanted).into_iter();
        let on_grid = found.map(|Evaluated { local, free, gradient }| Evaluated {
            local: self.on_grid(local, finer),
            free: free.map(|free| self.on_grid(free, finer)),
            gradient: gradient.map(scaled),
        });
        on_grid.collect()
    }

    fn on_grid(&self, local: Map, finer: usize) -> Map {
        let (width, height) = (local.width * finer, local.height * finer);
        self.term(if finer == 1 { local } else { local.resize_bilinear(width, height) })
    }
}

impl Energy for Reference {
    fn stride(&self) -> usize {
        self.gaussian.cell_px()
    }

    fn evaluate(&self, batch: &Batch, wanted: Wanted) -> Vec<Evaluated> {
        self.evaluate_on_grid(batch, self.stride(), wanted)
    }
}

impl EnergyModel {
    /// The closed forms for pictures of one size, that of the pyramid first.
    pub fn references(&self) -> &[Reference] {
        match self {
            Self::Reference(reference) => std::slice::from_ref(reference),
            Self::Tilted(references, _) => references,
            Self::Learned(_) | Self::Tiled(_) => &[],
        }
    }

    /// The networks of the learned part, all of one kind.
    pub fn networks(&self) -> &[Learned] {
        match self {
            Self::Learned(learned) => std::slice::from_ref(learned),
            Self::Tilted(_, networks) => networks,
            Self::Reference(_) | Self::Tiled(_) => &[],
        }
    }

    /// Pixels around a part of a picture that what it says of that part depends on. The gradient of a
    /// network looks further, but hardly.
    pub(crate) fn margin_px(&self) -> usize {
        self.networks().first().map_or(MARGIN_PX, |learned| learned.network.receptive_field().div_ceil(2))
    }

    /// Local energies of the window at `place`, the only picture of `batch`, and their gradient at its
    /// pixels if `gradient` is set.
    pub(crate) fn window(&self, batch: &Batch, place: &Place, gradient: bool) -> (Map, Option<Vec<f32>>) {
        if let Self::Tiled(tiled) = self {
            return tiled.window(batch, place, gradient);
        }
        let Evaluated { local, gradient, .. } =
            self.evaluate(batch, Wanted { free: false, gradient }).remove(0);
        (local, gradient)
    }
}

impl Energy for EnergyModel {
    fn stride(&self) -> usize {
        self.networks().first().map_or(CELL, Energy::stride)
    }

    fn evaluate(&self, batch: &Batch, wanted: Wanted) -> Vec<Evaluated> {
        match self {
            Self::Reference(reference) => reference.evaluate(batch, wanted),
            Self::Learned(learned) => learned.evaluate(batch, wanted),
            Self::Tiled(tiled) => tiled.evaluate(batch, wanted),
            Self::Tilted(references, networks) => {
                let references = references.iter().map(|r| r.evaluate_on_grid(batch, self.stride(), wanted));
                let networks = networks.iter().map(|network| network.evaluate(batch, wanted));
                let sum = references.chain(networks).reduce(|sum, terms| {
                    sum.into_iter().zip(&terms).map(|(sum, term)| sum.plus(term)).collect()
                });
                sum.expect("a sum has terms")
            }
        }
    }
}

impl Evaluated {
    /// What the sum of two energies says, where this is what one says and `other` what the other does.
    fn plus(mut self, other: &Self) -> Self {
        add(&mut self.local.values, &other.local.values);
        if let (Some(to), Some(from)) = (&mut self.free, &other.free) {
            add(&mut to.values, &from.values);
        }
        if let (Some(to), Some(from)) = (&mut self.gradient, &other.gradient) {
            add(to, from);
        }
        self
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    assert_eq!(to.len(), from.len(), "both energies see the same picture");
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}
