//! Smooth random functions of the plane, for textures and irregular outlines.

use rand::{Rng, RngExt};

/// Value noise: independent values at whole coordinates, smooth in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    seed: u32,
}

impl Noise {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self { seed: rng.random() }
    }

    /// A value in `[-1, 1]` that varies over distances of about 1.
    pub(super) fn at(self, x: f32, y: f32) -> f32 {
        self.blend(x, y, |row| row)
    }

    /// Like [`Self::at`], but with `y` counted in turns of `cells` cells each, without a seam.
    pub(super) fn around(self, x: f32, turns: f32, cells: i32) -> f32 {
        self.blend(x, turns * cells as f32, |row| row.rem_euclid(cells))
    }

    /// Three octaves in about `[-1, 1]`: detail at 1, 1/2 and 1/4.
    pub(super) fn fractal(self, x: f32, y: f32) -> f32 {
        let octave = |k: u32, scale: f32| Self { seed: self.seed.wrapping_add(k) }.at(x * scale, y * scale);
        (octave(0, 1.0) + 0.5 * octave(1, 2.0) + 0.25 * octave(2, 4.0)) / 1.5
    }

    fn blend(self, x: f32, y: f32, wrap: impl Fn(i32) -> i32) -> f32 {
        let (column, row) = (x.floor(), y.floor());
        let (across, down) = (fade(x - column), fade(y - row));
        let (column, row) = (column as i32, row as i32);
        let (upper, lower) = (wrap(row), wrap(row + 1));
        let line = |row| {
            let (a, b) = (self.value(column, row), self.value(column + 1, row));
            a + across * (b - a)
        };
        let (a, b) = (line(upper), line(lower));
        a + down * (b - a)
    }

    /// The independent value at a lattice point: an integer hash (two multiply-xorshift rounds).
    fn value(self, column: i32, row: i32) -> f32 {
        let mut h = self.seed ^ (column as u32).wrapping_mul(0x9E37_79B1);
        h = (h ^ (h >> 15)).wrapping_add((row as u32).wrapping_mul(0x85EB_CA77));
        h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
        h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
        (h ^ (h >> 15)) as f32 / (u32::MAX as f32 / 2.0) - 1.0
    }
}

/// 3t² − 2t³: from 0 to 1 with level ends.
fn fade(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// 0 below `from`, 1 above `to`, smooth in between.
pub(super) fn ramp(from: f32, to: f32, value: f32) -> f32 {
    fade(((value - from) / (to - from)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn noise_is_centred_bounded_and_continuous_around_the_circle() {
        let noise = Noise::new(&mut ChaCha8Rng::seed_from_u64(5));
        let values: Vec<f32> =
            (0..10_000).map(|i| noise.at((i % 100) as f32 + 0.5, (i / 100) as f32)).collect();
        assert!(values.iter().all(|v| v.abs() <= 1.0));
        // The mean of two independent uniform values has variance 1/6; 10,000 of them, about half
        // of them independent, average to a deviation of .0058. Four of these is rare.
        assert!((values.iter().sum::<f32>() / 10_000.0).abs() < 0.024);
        for i in 0..50 {
            let x = i as f32 * 0.37;
            assert!((noise.around(x, 0.0, 12) - noise.around(x, 1.0, 12)).abs() < 1e-5);
        }
    }
}
