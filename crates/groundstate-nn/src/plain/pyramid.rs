//! The features of [`Pyramid`](crate::Pyramid) in readable loops, in f32 or f64: what they are.
//!
//! [`backward`](Pyramid::backward) is the exact adjoint, so an energy of these features has a gradient at the
//! pixels.

use super::Real;
use super::plane::{
    Plane, block_mean, block_mean_adjoint, box_mean, box_mean_adjoint, reflect, sobel, sobel_adjoint,
};

use crate::pyramid::{CELL, CONTRAST_RADIUS, DIRECTIONS, MAGNITUDE_FLOOR, ROOT_FLOOR, SCALES};

/// The feature map φ: pictures of `channels` channels to `cells × dimensions` numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pyramid {
    channels: usize,
}

/// One scale of a picture with everything that both passes need.
struct Level<T> {
    pool: usize,
    colour: Vec<Plane<T>>,
    contrast: Vec<Plane<T>>,
    gx: Plane<T>,
    gy: Plane<T>,
}

/// The values of one pixel row that get pooled.
struct Row<T> {
    oriented: Vec<Vec<T>>,
    magnitude: Vec<T>,
    inverse_square: Vec<T>,
}

impl Pyramid {
    /// Features of pictures of `channels` channels.
    pub fn new(channels: usize) -> Self {
        Self { channels }
    }

    /// Features per cell that are averaged, at one scale.
    fn averaged(self) -> usize {
        DIRECTIONS + 1 + 2 * self.channels
    }

    /// Features per cell that are maximised, at one scale.
    fn maximised(self) -> usize {
        1 + 2 * self.channels
    }

    /// Features of a cell without its surroundings.
    fn own(self) -> usize {
        SCALES.len() * (self.averaged() + self.maximised())
    }

    /// Length of one cell's feature vector.
    pub fn dimensions(self) -> usize {
        2 * self.own()
    }

    /// Features of one picture.
    ///
    /// # Shapes
    /// `picture`: height × width × channels, both edges multiples of 4. Result:
    /// (height / 4) × (width / 4) × [`Pyramid::dimensions`].
    pub fn forward<T: Real>(self, picture: &[T], width: usize, height: usize) -> Vec<T> {
        let pooled = self.pooled(picture, width, height);
        let rooted: Vec<T> = pooled.iter().map(|&value| signed_root(value)).collect();
        self.with_surroundings(&rooted, width / CELL, height / CELL)
    }

    /// Gradient at the pixels of Σ `weights` · features: the adjoint of [`Pyramid::forward`] there.
    ///
    /// # Shapes
    /// `weights` like the features; the result like the picture.
    pub fn backward<T: Real>(self, picture: &[T], width: usize, height: usize, weights: &[T]) -> Vec<T> {
        let own = self.own();
        let pooled = self.pooled(picture, width, height);
        let mut weights = self.with_surroundings_adjoint(weights, width / CELL, height / CELL);
        for (weight, &value) in weights.iter_mut().zip(&pooled) {
            *weight *= signed_root_slope(value);
        }
        let planes = self.split(picture, width, height);
        let mut gradient: Vec<Plane<T>> = planes.iter().map(|p| Plane::zeros(p.width, p.height)).collect();
        for (i, &scale) in SCALES.iter().enumerate() {
            let level = Level::new(&planes, scale);
            let offset = i * own / SCALES.len();
            let of_level = self.level_backward(&level, &weights, offset);
            for (to, from) in gradient.iter_mut().zip(&of_level) {
                to.add_scaled(&block_mean_adjoint(from, scale), T::ONE);
            }
        }
        let mut out = vec![T::ZERO; picture.len()];
        for (c, plane) in gradient.iter().enumerate() {
            for (to, &value) in out.iter_mut().skip(c).step_by(self.channels).zip(&plane.values) {
                *to = value;
            }
        }
        out
    }

    fn split<T: Real>(self, picture: &[T], width: usize, height: usize) -> Vec<Plane<T>> {
        assert_eq!(picture.len(), width * height * self.channels, "picture has another shape");
        assert!(
            width.is_multiple_of(CELL) && height.is_multiple_of(CELL),
            "edges must be multiples of {CELL}"
        );
        (0..self.channels)
            .map(|c| Plane {
                width,
                height,
                values: picture.iter().skip(c).step_by(self.channels).copied().collect(),
            })
            .collect()
    }

    /// Averages and maxima of every cell: cells × [`Pyramid::own`].
    fn pooled<T: Real>(self, picture: &[T], width: usize, height: usize) -> Vec<T> {
        let own = self.own();
        let planes = self.split(picture, width, height);
        let mut cells = vec![T::ZERO; (width / CELL) * (height / CELL) * own];
        for (i, &scale) in SCALES.iter().enumerate() {
            self.level_forward(&Level::new(&planes, scale), &mut cells, i * own / SCALES.len());
        }
        cells
    }

    fn level_forward<T: Real>(self, level: &Level<T>, cells: &mut [T], offset: usize) {
        let (width, height, pool) = (level.gx.width, level.gx.height, level.pool);
        let mut sums = vec![vec![T::ZERO; width]; self.averaged()];
        let mut peaks = vec![vec![T::ZERO; width]; self.maximised()];
        let mut row = Row::new(width);
        for cell_y in 0..height / pool {
            sums.iter_mut().for_each(|line| line.fill(T::ZERO));
            peaks.iter_mut().for_each(|line| line.fill(T::from_f64(f64::NEG_INFINITY)));
            for y in cell_y * pool..(cell_y + 1) * pool {
                row.compute(level.gx.row(y), level.gy.row(y));
                for (sum, line) in sums.iter_mut().zip(&row.oriented) {
                    add(sum, line, |v| v);
                }
                add(&mut sums[DIRECTIONS], &row.magnitude, |v| v);
                raise(&mut peaks[0], &row.magnitude, |v| v);
                for c in 0..self.channels {
                    let contrast = level.contrast[c].row(y);
                    add(&mut sums[DIRECTIONS + 1 + c], contrast, T::abs);
                    add(&mut sums[DIRECTIONS + 1 + self.channels + c], level.colour[c].row(y), |v| v);
                    raise(&mut peaks[1 + c], contrast, T::abs);
                    raise(&mut peaks[1 + self.channels + c], contrast, |v| v);
                }
            }
            let scale = T::from_f64(1.0 / (pool * pool) as f64);
            let own = self.own();
            for cell_x in 0..width / pool {
                let at = (cell_y * (width / pool) + cell_x) * own + offset;
                let columns = cell_x * pool..(cell_x + 1) * pool;
                for (f, sum) in sums.iter().enumerate() {
                    cells[at + f] = sum[columns.clone()].iter().fold(T::ZERO, |s, &v| s + v) * scale;
                }
                for (f, peak) in peaks.iter().enumerate() {
                    cells[at + self.averaged() + f] =
                        peak[columns.clone()].iter().fold(T::from_f64(f64::NEG_INFINITY), |m, &v| m.max(v));
                }
            }
        }
    }

    /// Gradient at this level's colour planes, for cell weights that start at `offset`.
    fn level_backward<T: Real>(self, level: &Level<T>, weights: &[T], offset: usize) -> Vec<Plane<T>> {
        let (width, height, pool) = (level.gx.width, level.gx.height, level.pool);
        let (own, channels, averaged) = (self.own(), self.channels, self.averaged());
        let scale = T::from_f64(1.0 / (pool * pool) as f64);
        let mut dgx = Plane::zeros(width, height);
        let mut dgy = Plane::zeros(width, height);
        let mut dcontrast: Vec<Plane<T>> = (0..channels).map(|_| Plane::zeros(width, height)).collect();
        let mut dcolour = dcontrast.clone();
        let mut row = Row::new(width);
        let mut magnitudes = Plane::zeros(width, pool);
        let mut spread = vec![vec![T::ZERO; width]; averaged];
        for cell_y in 0..height / pool {
            let first = cell_y * pool;
            let cell = |cell_x: usize| (cell_y * (width / pool) + cell_x) * own + offset;
            for (f, line) in spread.iter_mut().enumerate() {
                for (cell_x, columns) in line.chunks_exact_mut(pool).enumerate() {
                    columns.fill(weights[cell(cell_x) + f] * scale);
                }
            }
            for y in first..first + pool {
                row.compute(level.gx.row(y), level.gy.row(y));
                magnitudes.row_mut(y - first).copy_from_slice(&row.magnitude);
                let (gx, gy) = (level.gx.row(y), level.gy.row(y));
                row.backward(gx, gy, &spread[..=DIRECTIONS], dgx.row_mut(y), dgy.row_mut(y));
                for c in 0..channels {
                    let contrast = level.contrast[c].row(y);
                    let weight = &spread[DIRECTIONS + 1 + c];
                    for (x, to) in dcontrast[c].row_mut(y).iter_mut().enumerate() {
                        *to = weight[x] * sign(contrast[x]);
                    }
                    dcolour[c].row_mut(y).copy_from_slice(&spread[DIRECTIONS + 1 + channels + c]);
                }
            }
            for cell_x in 0..width / pool {
                let (at, left) = (cell(cell_x) + averaged, cell_x * pool);
                let (x, y) = first_maximum(pool, |x, y| magnitudes.row(y)[left + x]);
                let at_peak = (first + y) * width + left + x;
                let (gx, gy) = (level.gx.values[at_peak], level.gy.values[at_peak]);
                let slope = weights[at] / magnitudes.row(y)[left + x];
                dgx.values[at_peak] += gx * slope;
                dgy.values[at_peak] += gy * slope;
                for c in 0..channels {
                    let contrast = &level.contrast[c];
                    let value = |x: usize, y: usize| contrast.row(first + y)[left + x];
                    let (x, y) = first_maximum(pool, |x, y| value(x, y).abs());
                    dcontrast[c].values[(first + y) * width + left + x] +=
                        weights[at + 1 + c] * sign(value(x, y));
                    let (x, y) = first_maximum(pool, value);
                    dcontrast[c].values[(first + y) * width + left + x] += weights[at + 1 + channels + c];
                }
            }
        }
        let dgrey = sobel_adjoint(&dgx, &dgy);
        for c in 0..channels {
            dcolour[c].add_scaled(&dcontrast[c], T::ONE);
            dcolour[c].add_scaled(&box_mean_adjoint(&dcontrast[c], CONTRAST_RADIUS), -T::ONE);
            dcolour[c].add_scaled(&dgrey, T::from_f64(1.0 / channels as f64));
        }
        dcolour
    }

    fn with_surroundings<T: Real>(self, cells: &[T], columns: usize, rows: usize) -> Vec<T> {
        let own = self.own();
        let ninth = T::from_f64(1.0 / 9.0);
        let mut out = vec![T::ZERO; 2 * cells.len()];
        for (i, to) in out.chunks_exact_mut(2 * own).enumerate() {
            let (self_part, around) = to.split_at_mut(own);
            self_part.copy_from_slice(&cells[i * own..(i + 1) * own]);
            for j in neighbours(i % columns, i / columns, columns, rows) {
                add(around, &cells[j * own..(j + 1) * own], |v| v * ninth);
            }
        }
        out
    }

    fn with_surroundings_adjoint<T: Real>(self, weights: &[T], columns: usize, rows: usize) -> Vec<T> {
        let own = self.own();
        let ninth = T::from_f64(1.0 / 9.0);
        let mut out = vec![T::ZERO; weights.len() / 2];
        for (i, from) in weights.chunks_exact(2 * own).enumerate() {
            let (self_part, around) = from.split_at(own);
            add(&mut out[i * own..(i + 1) * own], self_part, |v| v);
            for j in neighbours(i % columns, i / columns, columns, rows) {
                add(&mut out[j * own..(j + 1) * own], around, |v| v * ninth);
            }
        }
        out
    }
}

impl<T: Real> Level<T> {
    fn new(planes: &[Plane<T>], scale: usize) -> Self {
        let colour: Vec<Plane<T>> = planes.iter().map(|plane| block_mean(plane, scale)).collect();
        let contrast = colour
            .iter()
            .map(|plane| {
                let mut contrast = plane.clone();
                contrast.add_scaled(&box_mean(plane, CONTRAST_RADIUS), -T::ONE);
                contrast
            })
            .collect();
        let mut grey = Plane::zeros(colour[0].width, colour[0].height);
        for plane in &colour {
            grey.add_scaled(plane, T::from_f64(1.0 / colour.len() as f64));
        }
        let (gx, gy) = sobel(&grey);
        Self { pool: CELL / scale, colour, contrast, gx, gy }
    }
}

impl<T: Real> Row<T> {
    fn new(width: usize) -> Self {
        Self {
            oriented: vec![vec![T::ZERO; width]; DIRECTIONS],
            magnitude: vec![T::ZERO; width],
            inverse_square: vec![T::ZERO; width],
        }
    }

    /// Direction k takes max(0, cos(angle − 2πk/8))³ of the magnitude; opposite directions share
    /// their projection, and cos³ · m = (projection)³ / m².
    fn compute(&mut self, gx: &[T], gy: &[T]) {
        let floor = T::from_f64(MAGNITUDE_FLOOR);
        let Self { oriented, magnitude, inverse_square } = self;
        for ((to, inverse), (&gx, &gy)) in
            magnitude.iter_mut().zip(inverse_square.iter_mut()).zip(gx.iter().zip(gy))
        {
            let square = gx * gx + gy * gy + floor;
            *to = square.sqrt();
            *inverse = T::ONE / square;
        }
        let (forward, backward) = oriented.split_at_mut(DIRECTIONS / 2);
        for (direction, (along, against)) in forward.iter_mut().zip(backward).enumerate() {
            let (cos, sin) = unit::<T>(direction);
            let lines = along.iter_mut().zip(against).zip(inverse_square.iter());
            for (((along, against), &inverse), (&gx, &gy)) in lines.zip(gx.iter().zip(gy)) {
                let projection = gx * cos + gy * sin;
                let cubed = projection * projection * projection * inverse;
                *along = cubed.max(T::ZERO);
                *against = (-cubed).max(T::ZERO);
            }
        }
    }

    /// Adds the gradient of the averaged oriented magnitudes and of the averaged magnitude.
    fn backward(&self, gx: &[T], gy: &[T], weights: &[Vec<T>], dgx: &mut [T], dgy: &mut [T]) {
        let (two, three) = (T::from_f64(2.0), T::from_f64(3.0));
        for (x, (&gx, &gy)) in gx.iter().zip(gy).enumerate() {
            let m = self.magnitude[x];
            let inverse_square = self.inverse_square[x];
            let (mut along_x, mut along_y, mut radial) = (T::ZERO, T::ZERO, weights[DIRECTIONS][x] / m);
            for (direction, (weight, oriented)) in weights.iter().zip(&self.oriented).enumerate() {
                let (cos, sin) = unit::<T>(direction);
                let projection = (gx * cos + gy * sin).max(T::ZERO);
                let slope = weight[x] * three * projection * projection * inverse_square;
                along_x += slope * cos;
                along_y += slope * sin;
                radial -= weight[x] * two * oriented[x] * inverse_square;
            }
            dgx[x] += along_x + radial * gx;
            dgy[x] += along_y + radial * gy;
        }
    }
}

/// (cos, sin) of direction k of eight.
fn unit<T: Real>(direction: usize) -> (T, T) {
    const HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
    const COS: [f64; DIRECTIONS] = [1.0, HALF, 0.0, -HALF, -1.0, -HALF, 0.0, HALF];
    (T::from_f64(COS[direction]), T::from_f64(COS[(direction + 6) % DIRECTIONS]))
}

fn signed_root<T: Real>(value: T) -> T {
    let floor = T::from_f64(ROOT_FLOOR);
    sign(value) * ((value.abs() + floor).sqrt() - floor.sqrt())
}

fn signed_root_slope<T: Real>(value: T) -> T {
    T::from_f64(0.5) / (value.abs() + T::from_f64(ROOT_FLOOR)).sqrt()
}

fn sign<T: Real>(value: T) -> T {
    if value > T::ZERO {
        T::ONE
    } else if value < T::ZERO {
        -T::ONE
    } else {
        T::ZERO
    }
}

fn add<T: Real>(to: &mut [T], from: &[T], of: impl Fn(T) -> T) {
    for (to, &value) in to.iter_mut().zip(from) {
        *to += of(value);
    }
}

fn raise<T: Real>(to: &mut [T], from: &[T], of: impl Fn(T) -> T) {
    for (to, &value) in to.iter_mut().zip(from) {
        *to = to.max(of(value));
    }
}

/// The first position of the maximum in a cell of `pool` × `pool` values.
fn first_maximum<T: Real>(pool: usize, value: impl Fn(usize, usize) -> T) -> (usize, usize) {
    let mut best = (0, 0);
    let mut highest = value(0, 0);
    for y in 0..pool {
        for x in 0..pool {
            if value(x, y) > highest {
                highest = value(x, y);
                best = (x, y);
            }
        }
    }
    best
}

/// Indices of the 3 × 3 cells around (x, y), mirrored at the border.
fn neighbours(x: usize, y: usize, columns: usize, rows: usize) -> impl Iterator<Item = usize> {
    (-1..=1isize).flat_map(move |dy| {
        (-1..=1isize)
            .map(move |dx| reflect(y as isize + dy, rows) * columns + reflect(x as isize + dx, columns))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn picture(length: usize, seed: u64) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..length).map(|_| rng.random_range(0.0..1.0)).collect()
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        for channels in [1, 3] {
            let (width, height) = (12, 16);
            let pyramid = Pyramid::new(channels);
            let x = picture(width * height * channels, 1);
            let weights = picture(pyramid.dimensions() * (width / CELL) * (height / CELL), 2);
            let value = |x: &[f64]| -> f64 {
                pyramid.forward(x, width, height).iter().zip(&weights).map(|(f, w)| f * w).sum()
            };
            let gradient = pyramid.backward(&x, width, height, &weights);
            for i in (0..x.len()).step_by(7) {
                let step = 1e-6;
                let (mut up, mut down) = (x.clone(), x.clone());
                up[i] += step;
                down[i] -= step;
                let slope = (value(&up) - value(&down)) / (2.0 * step);
                assert!(
                    (slope - gradient[i]).abs() < 1e-5 * (1.0 + slope.abs()),
                    "{i}: {slope} {}",
                    gradient[i]
                );
            }
        }
    }

    #[test]
    fn a_flat_picture_has_only_colour() {
        let pyramid = Pyramid::new(1);
        let features = pyramid.forward(&[0.25f64; 256], 16, 16);
        let own = pyramid.own();
        for (i, value) in features[..own].iter().enumerate() {
            let is_colour = i % (own / 3) == DIRECTIONS + 2;
            assert!(if is_colour { (value - 0.5).abs() < 2e-3 } else { value.abs() < 0.02 }, "{i}: {value}");
        }
    }

    #[test]
    fn single_precision_agrees_with_double() {
        let pyramid = Pyramid::new(3);
        let x = picture(32 * 32 * 3, 3);
        let single: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        let (double, single) = (pyramid.forward(&x, 32, 32), pyramid.forward(&single, 32, 32));
        assert!(double.iter().zip(&single).all(|(d, s)| (d - f64::from(*s)).abs() < 1e-4));
    }
}
