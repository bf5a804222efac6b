//! The kinds of defects and how strong they come.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::damage::{Debris, DebrisShape, Dent, Film, Scratch};
use super::flange::{BORE, Flange, Hole};
use super::outline::{Blob, Stroke};

/// A kind of defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// Grains of dirt, a fibre or a metal chip on the part.
    Contamination,
    /// A piece broken out of the outer edge.
    ChippedEdge,
    /// A depression in the surface.
    Dent,
    /// A bolt hole that is missing, in the wrong place or too large.
    Hole,
    /// A fine groove.
    Scratch,
    /// A dried liquid or burn mark.
    Stain,
}

impl Defect {
    /// All kinds, in the order of their names.
    pub const ALL: [Self; 6] =
        [Self::ChippedEdge, Self::Contamination, Self::Dent, Self::Hole, Self::Scratch, Self::Stain];

    /// The folder's name in the data set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contamination => "contamination",
            Self::ChippedEdge => "chipped_edge",
            Self::Dent => "dent",
            Self::Hole => "hole",
            Self::Scratch => "scratch",
            Self::Stain => "stain",
        }
    }

    /// Puts a random defect of this kind on `flange`.
    pub(super) fn inflict(self, flange: &mut Flange, rng: &mut impl Rng) {
        let damage = &mut flange.damage;
        match self {
            Self::Contamination => contaminate(flange, rng),
            Self::ChippedEdge => {
                let angle: f32 = rng.random_range(0.0..std::f32::consts::TAU);
                for _ in 0..rng.random_range(1..=2) {
                    let angle = angle + rng.random_range(-0.05..0.05);
                    let radius = rng.random_range(0.035..0.085);
                    let centre = polar(rng.random_range(1.0..1.02), angle);
                    // Pieces break off along the edge.
                    let along = angle + std::f32::consts::FRAC_PI_2;
                    let stretch = rng.random_range(1.0..2.0);
                    damage.breaks.push(Blob::new(centre, radius, 0.5, rng).stretched(along, stretch));
                }
            }
            Self::Dent => {
                let radius = rng.random_range(0.035..0.085);
                let steepness = rng.random_range(0.24..0.40);
                let centre = place_on_metal(flange, radius * 0.8, rng);
                flange.damage.dents.push(Dent { centre, radius, depth: steepness * radius });
            }
            Self::Hole => {
                let index = rng.random_range(0..flange.holes.len());
                let hole = &mut flange.holes[index];
                match rng.random_range(0..3) {
                    0 => drop(flange.holes.swap_remove(index)),
                    1 => *hole = misplaced(*hole, rng),
                    _ => hole.radius *= rng.random_range(1.15..1.4),
                }
            }
            Self::Scratch => {
                let centre = place_on_metal(flange, 0.0, rng);
                let stroke = |rng: &mut _, half_width| any_curve(centre, 0.12..0.38, half_width, rng);
                let half_width = rng.random_range(0.009..0.014);
                let strength = rng.random_range(0.7..1.1);
                // Some show bare metal, others have gathered dirt.
                let shine = strength * if rng.random_bool(0.6) { 0.5 } else { -0.45 };
                let stroke = stroke(rng, half_width);
                let depth = 0.6 * strength * half_width;
                flange.damage.scratches.push(Scratch { stroke, half_width, depth, shine });
            }
            Self::Stain => {
                let radius = rng.random_range(0.06..0.17);
                let centre = place_on_metal(flange, 0.3 * radius, rng);
                let outline = Blob::new(centre, radius, 0.55, rng);
                let strength = rng.random_range(0.16..0.38);
                // Rust, or the blue of heat.
                let hue = if rng.random_bool(0.7) { [0.75, 1.0, 1.3] } else { [1.25, 1.0, 0.7] };
                let tint = hue.map(|h: f32| 1.0 - strength * h);
                let softness = rng.random_range(0.015..0.04);
                flange.damage.films.push(Film { outline, tint, softness });
            }
        }
    }
}

fn contaminate(flange: &mut Flange, rng: &mut impl Rng) {
    let soil = [0.16, 0.12, 0.09];
    match rng.random_range(0..3) {
        0 => {
            let middle = place_on_metal(flange, 0.03, rng);
            for _ in 0..rng.random_range(3..=8) {
                let offset = polar(rng.random_range(0.0..0.13), rng.random_range(0.0..std::f32::consts::TAU));
                let centre = [middle[0] + offset[0], middle[1] + offset[1]];
                let shape = DebrisShape::Grain(Blob::new(centre, rng.random_range(0.011..0.027), 0.5, rng));
                let brightness = rng.random_range(0.8..2.0);
                let colour = soil.map(|v: f32| v * brightness);
                flange.damage.debris.push(Debris { shape, colour });
            }
        }
        1 => {
            let centre = place_on_metal(flange, 0.0, rng);
            let shape = DebrisShape::Fibre(any_curve(centre, 0.1..0.25, rng.random_range(0.007..0.011), rng));
            let colour = if rng.random_bool(0.5) { [0.80, 0.77, 0.72] } else { [0.13, 0.14, 0.20] };
            flange.damage.debris.push(Debris { shape, colour });
        }
        _ => {
            let centre = place_on_metal(flange, 0.03, rng);
            let blob = Blob::new(centre, rng.random_range(0.022..0.036), 0.35, rng);
            let blob = blob.stretched(rng.random_range(0.0..3.0), rng.random_range(1.6..3.2));
            let brightness = rng.random_range(0.75..0.92);
            let colour = [brightness, brightness, 0.98 * brightness];
            flange.damage.debris.push(Debris { shape: DebrisShape::Grain(blob), colour });
        }
    }
}

fn misplaced(hole: Hole, rng: &mut impl Rng) -> Hole {
    let shift = polar(rng.random_range(0.04..0.09), rng.random_range(0.0..std::f32::consts::TAU));
    Hole { centre: [hole.centre[0] + shift[0], hole.centre[1] + shift[1]], ..hole }
}

/// A gently bent curve through the neighbourhood of `centre` whose half-length is drawn from `half`.
fn any_curve(centre: [f32; 2], half: std::ops::Range<f32>, half_width: f32, rng: &mut impl Rng) -> Stroke {
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let half: f32 = rng.random_range(half);
    let (along, aside) = (polar(half, angle), polar(half * rng.random_range(-0.5..0.5), angle + 1.6));
    let shifted = |by: [f32; 2], sign: f32| [centre[0] + sign * by[0], centre[1] + sign * by[1]];
    Stroke::curve([shifted(along, -1.0), shifted(along, 1.0)], shifted(aside, 1.0), half_width)
}

/// A place at least `margin` away from the edges, uniform over the area.
fn place_on_metal(flange: &Flange, margin: f32, rng: &mut impl Rng) -> [f32; 2] {
    loop {
        let r = rng.random_range(BORE * BORE..0.9_f32).sqrt();
        let p = polar(r, rng.random_range(0.0..std::f32::consts::TAU));
        // Most of the disc is metal and every margin asked for is small, so this ends soon.
        if flange.edge_distance(p) > margin {
            return p;
        }
    }
}

fn polar(radius: f32, angle: f32) -> [f32; 2] {
    [radius * angle.cos(), radius * angle.sin()]
}
