//! From what an energy says of a picture to normalised maps and image scores.
//!
//! Two maps are read off an energy: the *energy map* (local energies, brought to a scale on which
//! normal values are spread evenly) and the *gradient map* (logarithm of the smoothed squared
//! gradient at the pixels). Each is normalised by what held-out normal pictures look like *there*:
//! z = (map − mean) / spread, position by position, and each is summarised into image scores.

mod statistics;
mod summary;

pub use statistics::{MapStatistics, StatisticsError};
pub use summary::{SCORE_NAMES, Scores};

use serde::{Deserialize, Serialize};

use crate::image::{Map, Pose};
use crate::model::{Energy, Evaluated};

/// Edge in pixels of the blocks on which the gradient map is kept.
const GRADIENT_BLOCK: usize = 4;
/// Blur of the squared gradient in blocks (4 px each) before the logarithm.
const GRADIENT_BLUR: f32 = 1.0;
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
    pub const ALL: [Self; 5] = [Self::Energy, Self::Gradient, Self::EnergyZ, Self::GradientZ, Self::Fused];

    /// The name in flags, JSON and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::Gradient => "gradient",
            Self::EnergyZ => "energy_z",
            Self::GradientZ => "gradient_z",
            Self::Fused => "fused",
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
    /// Log of the smoothed squared gradient.
    pub gradient: Map,
    /// Normalised energy map.
    pub energy_z: Map,
    /// Normalised gradient map.
    pub gradient_z: Map,
}

impl Normaliser {
    /// Learns what normal pictures look like from pictures that the energy was *not* trained on.
    ///
    /// `width`, `height`, `channels` are those of the preprocessed pictures.
    ///
    /// # Errors
    /// When there are fewer than two pictures or a value is not finite.
    pub fn fit(
        held_out: &[&Evaluated],
        stabiliser: Stabiliser,
        (width, height, channels): (usize, usize, usize),
    ) -> Result<Self, StatisticsError> {
        let squared: Vec<Map> =
            held_out.iter().map(|e| squared_gradient(&e.gradient, width, height, channels)).collect();
        let values = || squared.iter().flat_map(|map| &map.values).map(|&v| f64::from(v));
        let mean = values().sum::<f64>() / values().count().max(1) as f64;
        let gradient_floor = (mean * GRADIENT_FLOOR).max(f64::from(f32::MIN_POSITIVE)) as f32;
        let gradient: Vec<Map> = squared.into_iter().map(|map| log_map(map, gradient_floor)).collect();
        let energy: Vec<Map> = held_out.iter().map(|e| stabilise(&e.local, stabiliser)).collect();
        Ok(Self {
            stabiliser,
            gradient_floor,
            energy: MapStatistics::of("energy", &energy)?,
            gradient: MapStatistics::of("gradient", &gradient)?,
        })
    }

    /// The maps of one evaluated picture of `width` × `height` pixels.
    ///
    /// Where the template's surroundings lie outside the picture in its `pose`, nothing was seen: the
    /// maps are there what they are in the mean normal picture.
    pub fn maps(&self, evaluated: &Evaluated, pose: &Pose, width: usize, height: usize) -> Maps {
        let channels = evaluated.gradient.len() / (width * height);
        let mut energy = stabilise(&evaluated.local, self.stabiliser);
        let squared = squared_gradient(&evaluated.gradient, width, height, channels);
        let mut gradient = log_map(squared, self.gradient_floor);
        self.energy.fill_unseen(&mut energy, pose);
        self.gradient.fill_unseen(&mut gradient, pose);
        let energy_z = self.energy.normalise(&energy);
        let gradient_z = self.gradient.normalise(&gradient);
        Maps { energy, gradient, energy_z, gradient_z }
    }
}

impl Maps {
    /// One of the maps at `width` × `height` pixels, smoothed over one step of its grid.
    pub fn at_resolution(&self, kind: MapKind, width: usize, height: usize) -> Map {
        let smooth = |map: &Map| map.resize_bilinear(width, height);
        let map = match kind {
            MapKind::Energy => smooth(&self.energy),
            MapKind::Gradient => smooth(&self.gradient),
            MapKind::EnergyZ => smooth(&self.energy_z),
            MapKind::GradientZ => smooth(&self.gradient_z),
            MapKind::Fused => {
                let mut sum = smooth(&self.energy_z);
                for (to, from) in sum.values.iter_mut().zip(smooth(&self.gradient_z).values) {
                    *to = (*to + from) * std::f32::consts::FRAC_1_SQRT_2;
                }
                sum
            }
        };
        map.gaussian_blur(width as f32 / 64.0)
    }

    /// The highest value of one of the maps at `width` × `height` pixels. No enlargement of that map
    /// exceeds it.
    pub fn peak(&self, kind: MapKind, width: usize, height: usize) -> f64 {
        f64::from(self.at_resolution(kind, width, height).max())
    }

    /// Both normalised maps added, on the finer of their grids.
    pub(crate) fn fused(&self) -> Map {
        let (energy, gradient) = (&self.energy_z, &self.gradient_z);
        let (width, height) = (energy.width.max(gradient.width), energy.height.max(gradient.height));
        let mut sum = energy.resize_bilinear(width, height);
        for (to, from) in sum.values.iter_mut().zip(gradient.resize_bilinear(width, height).values) {
            *to = (*to + from) * std::f32::consts::FRAC_1_SQRT_2;
        }
        sum
    }
}

/// Columns and rows of the energy map and of the gradient map for pictures of `size` × `size`.
pub(crate) fn grids(energy: &impl Energy, size: usize) -> ((usize, usize), (usize, usize)) {
    let (of_energy, of_gradient) = (size / energy.stride(), size.div_ceil(GRADIENT_BLOCK));
    ((of_energy, of_energy), (of_gradient, of_gradient))
}

fn stabilise(local: &Map, stabiliser: Stabiliser) -> Map {
    let of = |e: f32| match stabiliser {
        Stabiliser::SquareRoot => (2.0 * e).max(0.0).sqrt(),
        Stabiliser::Identity => e,
    };
    Map { values: local.values.iter().map(|&e| of(e)).collect(), ..*local }
}

/// Sum over channels of the squared gradient, averaged over blocks and blurred.
fn squared_gradient(gradient: &[f32], width: usize, height: usize, channels: usize) -> Map {
    let (columns, rows) = (width.div_ceil(GRADIENT_BLOCK), height.div_ceil(GRADIENT_BLOCK));
    let mut map = Map::filled(columns, rows, 0.0);
    for (i, values) in gradient.chunks_exact(channels).enumerate() {
        let (x, y) = (i % width / GRADIENT_BLOCK, i / width / GRADIENT_BLOCK);
        map.values[y * columns + x] += values.iter().map(|g| g * g).sum::<f32>();
    }
    let scale = 1.0 / (GRADIENT_BLOCK * GRADIENT_BLOCK) as f32;
    map.values.iter_mut().for_each(|v| *v *= scale);
    map.gaussian_blur(GRADIENT_BLUR)
}

fn log_map(mut squared: Map, floor: f32) -> Map {
    squared.values.iter_mut().for_each(|v| *v = (*v + floor).ln());
    squared
}
