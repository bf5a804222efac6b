//! Convolution and its two transposes, as the definition says.

use crate::layer::padding;
use crate::real::Real;

/// Sizes of one convolution over a batch.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) images: usize,
    pub(super) input: (usize, usize, usize),
    pub(super) output: (usize, usize, usize),
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

impl Shape {
    /// Calls `f(x, y, w)` with the flat offsets of channel 0 of an input pixel, of an output pixel, and of
    /// the weights that join them, for every pair that is joined.
    fn pairs(&self, mut f: impl FnMut(usize, usize, usize)) {
        let ((h, w, c), (oh, ow, o)) = (self.input, self.output);
        let pad = padding(self.kernel);
        for n in 0..self.images {
            for oy in 0..oh {
                for ox in 0..ow {
                    for ky in 0..self.kernel {
                        for kx in 0..self.kernel {
                            let (y, x) = (oy * self.stride + ky, ox * self.stride + kx);
                            if (pad..h + pad).contains(&y) && (pad..w + pad).contains(&x) {
                                let input = ((n * h + y - pad) * w + x - pad) * c;
                                let output = ((n * oh + oy) * ow + ox) * o;
                                f(input, output, (ky * self.kernel + kx) * c * o);
                            }
                        }
                    }
                }
            }
        }
    }

    /// z = W ∗ x, without bias.
    pub(super) fn forward<T: Real>(&self, x: &[T], weight: &[T]) -> Vec<T> {
        let (c, o) = (self.input.2, self.output.2);
        let mut z = vec![T::ZERO; self.images * self.output.0 * self.output.1 * o];
        self.pairs(|xi, zi, wi| {
            for i in 0..c {
                for j in 0..o {
                    z[zi + j] += x[xi + i] * weight[wi + i * o + j];
                }
            }
        });
        z
    }

    /// The gradient with respect to x, from that with respect to z.
    pub(super) fn input_gradient<T: Real>(&self, dz: &[T], weight: &[T]) -> Vec<T> {
        let (c, o) = (self.input.2, self.output.2);
        let mut dx = vec![T::ZERO; self.images * self.input.0 * self.input.1 * c];
        self.pairs(|xi, zi, wi| {
            for i in 0..c {
                for j in 0..o {
                    dx[xi + i] += dz[zi + j] * weight[wi + i * o + j];
                }
            }
        });
        dx
    }

    /// Adds the gradient with respect to the weights.
    pub(super) fn weight_gradient<T: Real>(&self, x: &[T], dz: &[T], d_weight: &mut [T]) {
        let (c, o) = (self.input.2, self.output.2);
        self.pairs(|xi, zi, wi| {
            for i in 0..c {
                for j in 0..o {
                    d_weight[wi + i * o + j] += x[xi + i] * dz[zi + j];
                }
            }
        });
    }

    /// Adds the gradient with respect to the bias.
    pub(super) fn bias_gradient<T: Real>(&self, dz: &[T], d_bias: &mut [T]) {
        for pixel in dz.chunks_exact(self.output.2) {
            pixel.iter().zip(d_bias.iter_mut()).for_each(|(&d, b)| *b += d);
        }
    }
}
