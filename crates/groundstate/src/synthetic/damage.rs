//! What defects do to a part: to its height, its outline, its colour, and what lies on it.

use super::noise::ramp;
use super::outline::{Blob, Stroke};

/// Everything wrong with one part; empty for a good one.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage {
    pub(super) scratches: Vec<Scratch>,
    pub(super) dents: Vec<Dent>,
    pub(super) breaks: Vec<Blob>,
    pub(super) films: Vec<Film>,
    pub(super) debris: Vec<Debris>,
}

/// A groove with bare metal in it.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    pub(super) stroke: Stroke,
    pub(super) half_width: f32,
    pub(super) depth: f32,
    /// Relative change of the metal's brightness.
    pub(super) shine: f32,
}

/// A round depression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dent {
    pub(super) centre: [f32; 2],
    pub(super) radius: f32,
    pub(super) depth: f32,
}

/// A thin layer that colours the metal.
#[derive(Clone, Debug)]
pub(super) struct Film {
    pub(super) outline: Blob,
    /// What the layer leaves of red, green and blue where it is thick.
    pub(super) tint: [f32; 3],
    /// Distance over which the edge fades.
    pub(super) softness: f32,
}

/// An opaque thing lying on the part.
#[derive(Clone, Debug)]
pub(super) struct Debris {
    pub(super) shape: DebrisShape,
    pub(super) colour: [f32; 3],
}

/// The outline of a thing on the part.
#[derive(Clone, Debug)]
pub(super) enum DebrisShape {
    Grain(Blob),
    Fibre(Stroke),
}

impl Damage {
    /// Distance to the nearest break, positive where the metal is left.
    pub(super) fn break_distance(&self, p: [f32; 2]) -> f32 {
        self.breaks.iter().map(|b| -b.inside(p)).fold(f32::INFINITY, f32::min)
    }

    /// Change of the surface's height.
    pub(super) fn height(&self, p: [f32; 2]) -> f32 {
        let scratch = |s: &Scratch| -s.depth * s.profile(p);
        let dent = |d: &Dent| {
            let square = ((p[0] - d.centre[0]).powi(2) + (p[1] - d.centre[1]).powi(2)) / d.radius.powi(2);
            // A flat-bottomed bowl with a little material thrown up around it.
            let bowl = (-square * square).exp();
            let lip = 0.18 * (-(square.sqrt() - 1.45).powi(2) * 14.0).exp();
            d.depth * (lip - bowl)
        };
        self.scratches.iter().map(scratch).sum::<f32>() + self.dents.iter().map(dent).sum::<f32>()
    }

    /// Factor on the metal's colour.
    pub(super) fn tint(&self, p: [f32; 2]) -> [f32; 3] {
        let mut tint = [1.0_f32; 3];
        for film in &self.films {
            let inside = film.outline.inside(p);
            let cover = ramp(-film.softness, film.softness, inside);
            // Liquids leave more at the edge of where they dried.
            let rim = 0.35 * (-((inside - film.softness) / film.softness).powi(2)).exp();
            for (value, left) in tint.iter_mut().zip(film.tint) {
                *value *= 1.0 - (1.0 - left) * (cover * 0.8 + cover * rim);
            }
        }
        for scratch in &self.scratches {
            let shine = 1.0 + scratch.shine * scratch.profile(p);
            tint = tint.map(|v| v * shine);
        }
        tint
    }

    /// Colour and coverage of what lies on the part; `soft` is the width of one pixel.
    pub(super) fn on_top(&self, p: [f32; 2], soft: f32) -> Option<([f32; 3], f32)> {
        let mut top = None;
        for debris in &self.debris {
            let inside = debris.inside(p);
            let cover = ramp(-0.5 * soft, 0.5 * soft, inside);
            if cover > 0.0 {
                // Round things are lighter in the middle.
                let shade = 0.75 + 0.25 * ramp(0.0, 4.0 * soft, inside);
                top = Some((debris.colour.map(|v| v * shade), cover));
            }
        }
        top
    }

    /// How much of the light at `p` is blocked by debris; `p` is already shifted towards the light.
    pub(super) fn shadow(&self, p: [f32; 2], soft: f32) -> f32 {
        self.debris.iter().map(|d| 0.45 * ramp(-1.5 * soft, 1.5 * soft, d.inside(p))).fold(0.0, f32::max)
    }
}

impl Scratch {
    /// 1 in the middle of the groove, 0 outside; both ends run out.
    fn profile(&self, p: [f32; 2]) -> f32 {
        let (inside, place) = self.stroke.inside(p);
        let across = (inside - self.half_width) / self.half_width;
        if across < -3.0 {
            return 0.0;
        }
        (-across * across).exp() * ramp(0.0, 0.15, place) * (1.0 - ramp(0.8, 1.0, place))
    }
}

impl Debris {
    fn inside(&self, p: [f32; 2]) -> f32 {
        match &self.shape {
            DebrisShape::Grain(blob) => blob.inside(p),
            DebrisShape::Fibre(stroke) => stroke.inside(p).0,
        }
    }
}
