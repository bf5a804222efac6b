//! From what an energy says of a picture to normalised maps and image scores.
//!
//! Two maps are read off an energy: the *energy map* (local energies, brought to a scale on which
//! normal values are spread evenly) and the *gradient map* (logarithm of the smoothed squared
//! gradient at the pixels). Each is normalised by what held-out normal pictures look like *there*:
//! z = (map − mean) / spread, position by position, and each is summarised into image scores.

mod reading;
mod statistics;
mod stitch;
mod summary;
mod tiles;

pub use reading::Reading;
pub(crate) use statistics::MAX_POSITIONS;
pub use statistics::{MapStatistics, StatisticsError};
pub(crate) use stitch::{Stitch, Window};
pub use summary::{SCORE_NAMES, Scores, needs_gradient};
pub(crate) use tiles::read_tiles;

use serde::{Deserialize, Serialize};

use crate::image::{Grid, Map, Pose, Preprocessing};
use crate::model::{Energy, Wanted};
use reading::GRADIENT_BLOCK;

/// Floor of the squared gradient inside the logarithm, as a share of its mean over normal pictures.
const GRADIENT_FLOOR: f64 = 1e-3;

/// How local energies are brought to a scale on which normal values spread evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stabiliser {
    /// √(2e): a quadratic energy becomes a distance, nearly normal for many dimensions (Fisher).
    SquareRoot,
    /// e itself, for learned energies, which may be negative.
    Identity,
}

/// A map that localizes defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapKind {
    /// Stabilised local energies, as they are.
    Energy,
    /// Stabilised local free energies, as they are: what no displacement of the part explains.
    FreeEnergy,
    /// Logarithm of the smoothed squared gradient, as it is.
    Gradient,
    /// Energy map, z-normalised by position.
    EnergyZ,
    /// Gradient map, z-normalised by position.
    GradientZ,
    /// Sum of both z-normalised maps.
    Fused,
}

impl MapKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Energy, Self::FreeEnergy, Self::Gradient, Self::EnergyZ, Self::GradientZ, Self::Fused];

    /// The name in flags, JSON and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::FreeEnergy => "free_energy",
            Self::Gradient => "gradient",
            Self::EnergyZ => "energy_z",
            Self::GradientZ => "gradient_z",
            Self::Fused => "fused",
        }
    }

    /// What it takes besides the local energies.
    pub fn wants(self) -> Wanted {
        Wanted {
            free: self == Self::FreeEnergy,
            gradient: matches!(self, Self::Gradient | Self::GradientZ | Self::Fused),
        }
    }
}

/// What the scores of a detector are and what normal pictures look like to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Normaliser {
    /// Scale of the energy map.
    pub stabiliser: Stabiliser,
    /// Floor of the squared gradient inside the logarithm.
    pub gradient_floor: f32,
    /// Normal energy maps.
    pub energy: MapStatistics,
    /// Normal gradient maps.
    pub gradient: MapStatistics,
}

/// The maps of one picture, each on its own grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// Stabilised local energies.
    pub energy: Map,
    /// Normalised energy map.
    pub energy_z: Map,
    /// The same by half ([`MapStatistics::moderate`]).
    pub energy_moderated: Map,
    /// Stabilised local free energies, if they were read.
    pub free: Option<Map>,
    /// What the gradient says, if it was read.
    pub gradient: Option<GradientMaps>,
}

/// The maps of the gradient of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientMaps {
    /// Log of the smoothed squared gradient.
    pub log: Map,
    /// Normalised gradient map.
    pub z: Map,
}

impl Normaliser {
    /// Learns what normal pictures look like from readings, gradients included, of pictures that the
    /// energy was *not* trained on.
    ///
    /// # Errors
    /// When there are fewer than two pictures or a value is not finite.
    ///
    /// # Panics
    /// If a reading is without gradient.
    pub fn fit(held_out: &[&Reading], stabiliser: Stabiliser) -> Result<Self, StatisticsError> {
        let squared: Vec<&Map> = held_out.iter().map(|reading| reading.squared_gradient()).collect();
        let values = || squared.iter().flat_map(|map| &map.values).map(|&v| f64::from(v));
        let mean = values().sum::<f64>() / values().count().max(1) as f64;
        let gradient_floor = (mean * GRADIENT_FLOOR).max(f64::from(f32::MIN_POSITIVE)) as f32;
        let gradient: Vec<Map> = squared.into_iter().map(|map| log_map(map, gradient_floor)).collect();
        let energy: Vec<Map> = held_out.iter().map(|reading| stabilise(&reading.local, stabiliser)).collect();
        Ok(Self {
            stabiliser,
            gradient_floor,
            energy: MapStatistics::of("energy", &energy)?,
            gradient: MapStatistics::of("gradient", &gradient)?,
        })
    }

    /// The maps of one picture.
    ///
    /// Where the template's surroundings lie outside the picture in its `pose`, nothing was seen: the
    /// maps are there what they are in the mean normal picture.
    pub fn maps(&self, reading: &Reading, pose: &Pose) -> Maps {
        let mut energy = stabilise(&reading.local, self.stabiliser);
        self.energy.fill_unseen(&mut energy, pose);
        let energy_z = self.energy.normalise(&energy);
        let energy_moderated = self.energy.moderate(&energy);
        let free = reading.free.as_ref().map(|free| {
            let mut free = stabilise(free, self.stabiliser);
            self.energy.fill_unseen(&mut free, pose);
            free
        });
        let gradient = reading.gradient.as_ref().map(|gradient| {
            let mut log = log_map(&gradient.squared, self.gradient_floor);
            self.gradient.fill_unseen(&mut log, pose);
            GradientMaps { z: self.gradient.normalise(&log), log }
        });
        Maps { energy, energy_z, energy_moderated, free, gradient }
    }
}

impl Maps {
    /// One of the maps at `width` × `height` pixels, smoothed over one step of its grid.
    ///
    /// # Panics
    /// If the kind takes what was not read ([`MapKind::wants`]).
    pub fn at_resolution(&self, kind: MapKind, width: usize, height: usize) -> Map {
        let map = match self.of(kind) {
            Some(map) => map.resize_bilinear(width, height),
            None => fused(&self.energy_z, &self.gradients().z, width, height),
        };
        map.gaussian_blur(width as f32 / 64.0)
    }

    /// One of the maps on its own grid, smoothed over one step of it: for pictures that keep their size.
    ///
    /// # Panics
    /// If the kind takes what was not read ([`MapKind::wants`]).
    pub fn on_grid(&self, kind: MapKind) -> Map {
        let (width, height) = (self.energy_z.width, self.energy_z.height);
        match self.of(kind) {
            Some(map) => map.gaussian_blur(1.0),
            None => fused(&self.energy_z, &self.gradients().z, width, height).gaussian_blur(1.0),
        }
    }

    /// A map as it was read; `None` for the sum of two.
    fn of(&self, kind: MapKind) -> Option<&Map> {
        match kind {
            MapKind::Energy => Some(&self.energy),
            MapKind::FreeEnergy => {
                Some(self.free.as_ref().expect("free energies are asked of what read them"))
            }
            MapKind::Gradient => Some(&self.gradients().log),
            MapKind::EnergyZ => Some(&self.energy_z),
            MapKind::GradientZ => Some(&self.gradients().z),
            MapKind::Fused => None,
        }
    }

    fn gradients(&self) -> &GradientMaps {
        self.gradient.as_ref().expect("a gradient map is asked of what read the gradient")
    }

    /// The highest value of one of the maps at the resolution that the energy sees, or on its own grid
    /// where pictures keep their size. No enlargement of that map exceeds it.
    pub fn peak(&self, kind: MapKind, preprocessing: &Preprocessing) -> f64 {
        let size = preprocessing.size;
        let map = match preprocessing.is_tiled() {
            true => self.on_grid(kind),
            false => self.at_resolution(kind, size, size),
        };
        f64::from(map.max())
    }
}

/// Both normalised maps added, at `width` × `height` pixels.
fn fused(energy_z: &Map, gradient_z: &Map, width: usize, height: usize) -> Map {
    let mut sum = energy_z.resize_bilinear(width, height);
    for (to, from) in sum.values.iter_mut().zip(gradient_z.resize_bilinear(width, height).values) {
        *to = (*to + from) * std::f32::consts::FRAC_1_SQRT_2;
    }
    sum
}

/// Pixels a step of one of the maps of pictures that keep their size.
pub(crate) fn step_px(kind: MapKind, energy: &impl Energy) -> usize {
    match kind {
        MapKind::Gradient | MapKind::GradientZ => GRADIENT_BLOCK,
        MapKind::Energy | MapKind::FreeEnergy | MapKind::EnergyZ | MapKind::Fused => energy.stride(),
    }
}

/// Positions of the statistics of the energy map and of the gradient map for pictures of `size` × `size`.
pub(crate) fn grids(energy: &impl Energy, size: usize) -> (Grid, Grid) {
    let grid = |edge: usize| Grid::within(edge, edge, MAX_POSITIONS);
    (grid(size / energy.stride()), grid(size.div_ceil(GRADIENT_BLOCK)))
}

fn stabilise(local: &Map, stabiliser: Stabiliser) -> Map {
    let of = |e: f32| match stabiliser {
        Stabiliser::SquareRoot => (2.0 * e).max(0.0).sqrt(),
        Stabiliser::Identity => e,
    };
    Map { values: local.values.iter().map(|&e| of(e)).collect(), ..*local }
}

fn log_map(squared: &Map, floor: f32) -> Map {
    Map { values: squared.values.iter().map(|&v| (v + floor).ln()).collect(), ..*squared }
}
