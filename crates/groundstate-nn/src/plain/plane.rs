//! Linear operations on single planes (height × width, row-major), each with its adjoint.
//!
//! They are what the features of a [`Pyramid`](super::Pyramid) are made of. Borders reflect without
//! repeating the edge pixel: index −1 reads index 1.

use super::Real;

/// A plane that owns its values.
#[derive(Clone, Debug)]
pub(super) struct Plane<T> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<T>,
}

impl<T: Real> Plane<T> {
    pub(super) fn zeros(width: usize, height: usize) -> Self {
        Self { width, height, values: vec![T::ZERO; width * height] }
    }

    pub(super) fn row(&self, y: usize) -> &[T] {
        &self.values[y * self.width..(y + 1) * self.width]
    }

    pub(super) fn row_mut(&mut self, y: usize) -> &mut [T] {
        &mut self.values[y * self.width..(y + 1) * self.width]
    }

    /// Adds `other` times `factor`.
    pub(super) fn add_scaled(&mut self, other: &Self, factor: T) {
        for (to, &from) in self.values.iter_mut().zip(&other.values) {
            *to += from * factor;
        }
    }
}

/// Where an index outside `0..length` lands when the signal is mirrored at its end samples.
pub(crate) fn reflect(index: isize, length: usize) -> usize {
    if length == 1 {
        return 0;
    }
    let period = 2 * (length as isize - 1);
    let folded = index.rem_euclid(period);
    folded.min(period - folded) as usize
}

/// Mean over disjoint `factor` × `factor` blocks; width and height must be multiples of `factor`.
pub(super) fn block_mean<T: Real>(source: &Plane<T>, factor: usize) -> Plane<T> {
    if factor == 1 {
        return source.clone();
    }
    let mut out = Plane::zeros(source.width / factor, source.height / factor);
    let scale = T::from_f64(1.0 / (factor * factor) as f64);
    for y in 0..source.height {
        let row = &source.values[y * source.width..(y + 1) * source.width];
        for (to, block) in out.row_mut(y / factor).iter_mut().zip(row.chunks_exact(factor)) {
            for &value in block {
                *to += value * scale;
            }
        }
    }
    out
}

/// Adjoint of [`block_mean`].
pub(super) fn block_mean_adjoint<T: Real>(source: &Plane<T>, factor: usize) -> Plane<T> {
    let mut out = Plane::zeros(source.width * factor, source.height * factor);
    let scale = T::from_f64(1.0 / (factor * factor) as f64);
    for y in 0..out.height {
        for (block, &value) in out.row_mut(y).chunks_exact_mut(factor).zip(source.row(y / factor)) {
            block.fill(value * scale);
        }
    }
    out
}

/// Mean over a square window of `2 * radius + 1` pixels a side.
pub(super) fn box_mean<T: Real>(source: &Plane<T>, radius: usize) -> Plane<T> {
    let (width, height, r) = (source.width, source.height, radius as isize);
    let scale = T::from_f64(1.0 / ((2 * radius + 1) * (2 * radius + 1)) as f64);
    let mut rows = Plane::zeros(width, height);
    let mut padded = vec![T::ZERO; width + 2 * radius];
    for y in 0..height {
        let row = source.row(y);
        for (i, to) in padded.iter_mut().enumerate() {
            *to = row[reflect(i as isize - r, width)];
        }
        running_sum(&padded, 2 * radius + 1, rows.row_mut(y));
    }
    let mut out = Plane::zeros(width, height);
    let mut sum = vec![T::ZERO; width];
    for dy in -r..=r {
        accumulate(&mut sum, rows.row(reflect(dy, height)));
    }
    for y in 0..height {
        for (to, &s) in out.row_mut(y).iter_mut().zip(&sum) {
            *to = s * scale;
        }
        accumulate(&mut sum, rows.row(reflect(y as isize + r + 1, height)));
        let leaving = rows.row(reflect(y as isize - r, height));
        for (s, &value) in sum.iter_mut().zip(leaving) {
            *s -= value;
        }
    }
    out
}

/// Adjoint of [`box_mean`]: the window sum of the zero-extended signal, folded back at the borders.
pub(super) fn box_mean_adjoint<T: Real>(source: &Plane<T>, radius: usize) -> Plane<T> {
    let (width, height, r) = (source.width, source.height, radius as isize);
    let window = 2 * radius + 1;
    let scale = T::from_f64(1.0 / (window * window) as f64);
    let mut rows = Plane::zeros(width, height);
    let zero_row = vec![T::ZERO; width];
    let row_or_zero =
        |y: isize| if (0..height as isize).contains(&y) { source.row(y as usize) } else { &zero_row };
    let mut sum = zero_row.clone();
    for j in -r..height as isize + r {
        accumulate(&mut sum, row_or_zero(j + r));
        accumulate(rows.row_mut(reflect(j, height)), &sum);
        for (s, &value) in sum.iter_mut().zip(row_or_zero(j - r)) {
            *s -= value;
        }
    }
    let mut out = Plane::zeros(width, height);
    let mut padded = vec![T::ZERO; width + 4 * radius];
    let mut full = vec![T::ZERO; width + 2 * radius];
    for y in 0..height {
        padded[2 * radius..2 * radius + width].copy_from_slice(rows.row(y));
        running_sum(&padded, window, &mut full);
        let to = out.row_mut(y);
        for (i, &value) in full.iter().enumerate() {
            to[reflect(i as isize - r, width)] += value * scale;
        }
    }
    out
}

/// `out[i]` = sum of `window` values of `padded` from `i`.
fn running_sum<T: Real>(padded: &[T], window: usize, out: &mut [T]) {
    let mut sum = padded[..window - 1].iter().fold(T::ZERO, |sum, &value| sum + value);
    for (i, to) in out.iter_mut().enumerate() {
        sum += padded[i + window - 1];
        *to = sum;
        sum -= padded[i];
    }
}

fn accumulate<T: Real>(to: &mut [T], from: &[T]) {
    for (to, &value) in to.iter_mut().zip(from) {
        *to += value;
    }
}

/// Sobel derivatives divided by 8: (∂/∂x, ∂/∂y) in units of value per pixel.
pub(super) fn sobel<T: Real>(source: &Plane<T>) -> (Plane<T>, Plane<T>) {
    let (width, height) = (source.width, source.height);
    let (mut gx, mut gy) = (Plane::zeros(width, height), Plane::zeros(width, height));
    let (two, eighth) = (T::from_f64(2.0), T::from_f64(0.125));
    let mut smooth = vec![T::ZERO; width + 2];
    let mut slope = vec![T::ZERO; width + 2];
    for y in 0..height {
        let above = source.row(reflect(y as isize - 1, height));
        let here = source.row(y);
        let below = source.row(reflect(y as isize + 1, height));
        for x in 0..width {
            smooth[x + 1] = above[x] + two * here[x] + below[x];
            slope[x + 1] = below[x] - above[x];
        }
        for line in [&mut smooth, &mut slope] {
            line[0] = line[1 + reflect(-1, width)];
            line[width + 1] = line[1 + reflect(width as isize, width)];
        }
        for (x, to) in gx.row_mut(y).iter_mut().enumerate() {
            *to = (smooth[x + 2] - smooth[x]) * eighth;
        }
        for (x, to) in gy.row_mut(y).iter_mut().enumerate() {
            *to = (slope[x] + two * slope[x + 1] + slope[x + 2]) * eighth;
        }
    }
    (gx, gy)
}

/// Adjoint of [`sobel`]: what the two derivative planes weigh, summed back on the source.
pub(super) fn sobel_adjoint<T: Real>(gx: &Plane<T>, gy: &Plane<T>) -> Plane<T> {
    let (width, height) = (gx.width, gx.height);
    let mut out = Plane::zeros(width, height);
    let (two, eighth) = (T::from_f64(2.0), T::from_f64(0.125));
    let mut smooth = vec![T::ZERO; width + 2];
    let mut slope = vec![T::ZERO; width + 2];
    for y in 0..height {
        smooth.fill(T::ZERO);
        slope.fill(T::ZERO);
        let (dx, dy) = (gx.row(y), gy.row(y));
        for x in 0..width {
            smooth[x + 2] += dx[x] * eighth;
            slope[x + 2] += dy[x] * eighth;
        }
        for x in 0..width {
            smooth[x] -= dx[x] * eighth;
            slope[x] += dy[x] * eighth;
            slope[x + 1] += two * dy[x] * eighth;
        }
        for line in [&mut smooth, &mut slope] {
            let (first, last) = (line[0], line[width + 1]);
            line[1 + reflect(-1, width)] += first;
            line[1 + reflect(width as isize, width)] += last;
        }
        let spread = [(-1, T::ONE, -T::ONE), (0, two, T::ZERO), (1, T::ONE, T::ONE)];
        for (dy, of_smooth, of_slope) in spread {
            let to = out.row_mut(reflect(y as isize + dy, height));
            for x in 0..width {
                to[x] += of_smooth * smooth[x + 1] + of_slope * slope[x + 1];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn random(width: usize, height: usize, seed: u64) -> Plane<f64> {
        let mut rng = StdRng::seed_from_u64(seed);
        Plane { width, height, values: (0..width * height).map(|_| rng.random_range(-1.0..1.0)).collect() }
    }

    fn dot(a: &Plane<f64>, b: &Plane<f64>) -> f64 {
        a.values.iter().zip(&b.values).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn reflect_mirrors_at_the_end_samples() {
        let found: Vec<usize> = (-3..7).map(|i| reflect(i, 4)).collect();
        assert_eq!(found, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
    }

    #[test]
    fn box_mean_is_the_plain_mean_of_the_mirrored_window() {
        let (plane, radius) = (random(7, 12, 1), 3usize);
        let fast = box_mean(&plane, radius);
        for y in 0..12 {
            for x in 0..7 {
                let mut sum = 0.0;
                for dy in -3..=3isize {
                    for dx in -3..=3isize {
                        sum += plane.row(reflect(y as isize + dy, 12))[reflect(x as isize + dx, 7)];
                    }
                }
                assert!((fast.row(y)[x] - sum / 49.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn sobel_of_a_ramp_is_its_slope() {
        let mut plane = Plane::zeros(6, 5);
        for y in 0..5 {
            for x in 0..6 {
                plane.values[y * 6 + x] = 2.0 * x as f64 - 3.0 * y as f64;
            }
        }
        let (gx, gy) = sobel(&plane);
        assert!((gx.row(2)[3] - 2.0).abs() < 1e-12 && (gy.row(2)[3] + 3.0).abs() < 1e-12);
    }

    #[test]
    fn every_adjoint_satisfies_its_definition() {
        for (width, height) in [(8, 12), (4, 4), (32, 8)] {
            let x = random(width, height, 2);
            let y = random(width, height, 3);
            let z = random(width, height, 4);
            let small = random(width / 4, height / 4, 5);
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-10, "{a} {b}");
            close(dot(&box_mean(&x, 8), &y), dot(&x, &box_mean_adjoint(&y, 8)));
            close(dot(&block_mean(&x, 4), &small), dot(&x, &block_mean_adjoint(&small, 4)));
            let (gx, gy) = sobel(&x);
            close(dot(&gx, &y) + dot(&gy, &z), dot(&x, &sobel_adjoint(&y, &z)));
        }
    }
}
