//! The part: a turned flange with a bore, six bolt holes, a raised rim with ticks, and a dot-peened code.
//!
//! Lengths are in units of the outer radius, heights too; the origin is the centre of the bore.

use super::damage::Damage;
use super::noise::ramp;
use super::outline::length;

/// Radius of the circle of bolt holes.
pub(super) const BOLT_CIRCLE: f32 = 0.585;
/// Radius of a bolt hole.
pub(super) const BOLT_HOLE: f32 = 0.085;
/// Number of bolt holes; the first lies on the x axis.
pub(super) const BOLT_HOLES: usize = 6;
/// Radius of the bore.
pub(super) const BORE: f32 = 0.215;

/// Half the width of the keyway, and how far it reaches from the centre.
const KEYWAY: [f32; 2] = [0.05, 0.285];
/// Width and depth of the broken edges around the part and its holes.
const CHAMFER: [f32; 2] = [0.038, 0.022];
/// Ticks on the rim; every sixth is long.
const TICKS: f32 = 36.0;
/// Distance of the dots of the code, and the height of its middle line.
const DOT_PITCH: f32 = 0.028;
const CODE_Y: f32 = 0.585;
/// The characters G and 1 in 5 × 7 dots, a row a byte, the leftmost dot in bit 4.
const CODE: [[u8; 7]; 2] = [
    [0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110],
    [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
];

/// A circular hole through the part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) centre: [f32; 2],
    pub(super) radius: f32,
}

impl Hole {
    /// Bolt hole number `index` where the drawing wants it.
    pub(super) fn bolt(index: usize) -> Self {
        let angle = index as f32 / BOLT_HOLES as f32 * std::f32::consts::TAU;
        Self { centre: [BOLT_CIRCLE * angle.cos(), BOLT_CIRCLE * angle.sin()], radius: BOLT_HOLE }
    }
}

/// One part with whatever is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Flange {
    pub(super) holes: Vec<Hole>,
    pub(super) damage: Damage,
}

impl Flange {
    /// A part without defects.
    pub(super) fn good() -> Self {
        Self { holes: (0..BOLT_HOLES).map(Hole::bolt).collect(), damage: Damage::default() }
    }

    /// Distance from `p` to the nearest machined edge: positive in the metal, negative outside.
    pub(super) fn edge_distance(&self, p: [f32; 2]) -> f32 {
        let r = length(p);
        // The keyway is a box that begins in the middle of the bore.
        let keyway = (p[0].abs() - KEYWAY[0]).max(-p[1] - KEYWAY[1]).max(p[1]);
        let bore = (r - BORE).min(keyway);
        let hole = |h: &Hole| length([p[0] - h.centre[0], p[1] - h.centre[1]]) - h.radius;
        self.holes.iter().map(hole).fold((1.0 - r).min(bore), f32::min)
    }

    /// Distance to the nearest edge, breaks included.
    pub(super) fn metal_distance(&self, p: [f32; 2]) -> f32 {
        self.edge_distance(p).min(self.damage.break_distance(p))
    }

    /// Height of the surface, continued smoothly where there is no metal.
    pub(super) fn height(&self, p: [f32; 2]) -> f32 {
        let r = length(p);
        let chamfer = CHAMFER[1] * (1.0 - ramp(0.0, CHAMFER[0], self.edge_distance(p)));
        profile(r) - chamfer - tick(p, r) - code(p) + self.damage.height(p)
    }
}

/// Height over the radius: boss, groove, raised rim.
fn profile(r: f32) -> f32 {
    let boss = 0.022 * (1.0 - ramp(0.345, 0.385, r));
    let rim = 0.022 * ramp(0.775, 0.815, r);
    let groove = 0.010 * (-((r - 0.735) / 0.012).powi(2)).exp();
    boss + rim - groove
}

/// Depth of the stamped ticks.
fn tick(p: [f32; 2], r: f32) -> f32 {
    if !(0.81..0.97).contains(&r) {
        return 0.0;
    }
    let position = p[1].atan2(p[0]) / std::f32::consts::TAU * TICKS;
    let nearest = position.round();
    let aside = (position - nearest).abs() / TICKS * std::f32::consts::TAU * r;
    let inner = if nearest.rem_euclid(6.0) < 0.5 { 0.845 } else { 0.875 };
    0.010
        * (1.0 - ramp(0.004, 0.016, aside))
        * ramp(inner - 0.008, inner + 0.008, r)
        * (1.0 - ramp(0.915, 0.931, r))
}

/// Depth of the dot-peened code.
fn code(p: [f32; 2]) -> f32 {
    // Place in the grid of dots; characters are six columns apart.
    let (column, row) = (p[0] / DOT_PITCH + 5.0, (p[1] - CODE_Y) / DOT_PITCH + 3.0);
    let (nearest_column, nearest_row) = (column.round(), row.round());
    if !(0.0..11.0).contains(&nearest_column) || !(0.0..7.0).contains(&nearest_row) {
        return 0.0;
    }
    let (letter, bit) = (nearest_column as usize / 6, nearest_column as usize % 6);
    let is_dot = bit < 5 && CODE[letter][nearest_row as usize] >> (4 - bit) & 1 == 1;
    let square = (column - nearest_column).powi(2) + (row - nearest_row).powi(2);
    // At half a pitch the dot has faded to exp(−4) = 2 %.
    if is_dot { 0.012 * (-16.0 * square).exp() } else { 0.0 }
}
