//! Forward and tangent passes.

use super::convolution::Shape;
use super::{Plain, Values, activate};
use crate::layer::{Layer, Node};
use crate::real::Real;

impl<T: Real> Plain<'_, T> {
    /// Local energies of `x`.
    ///
    /// # Shapes
    /// `x`: `n, h, w, c`; `noise_levels`: `n`, or empty when the network takes none.
    ///
    /// # Panics
    /// When a length is not as above.
    pub fn forward(&self, x: &[T], noise_levels: &[T]) -> Values<T> {
        let (h, w) = self.sizes[0];
        let images = x.len() / (h * w * self.network.input_channels());
        assert_eq!(x.len(), images * h * w * self.network.input_channels(), "no whole number of pictures");
        let levels = if self.network.takes_noise_level() { images } else { 0 };
        assert_eq!(
            noise_levels.len(),
            levels,
            "one noise level per image if the network takes them, else none"
        );
        let mut values = Values { images, value: vec![], slope: vec![], curvature: vec![] };
        for (index, node) in self.network.nodes().iter().enumerate() {
            let (mut slope, mut curvature) = (vec![], vec![]);
            let value = match node.layer {
                Layer::Conv { activation, out_channels, .. } => {
                    let place = self.network.conv_tensors()[index].expect("a convolution has tensors");
                    let shape = self.shape(index, images);
                    let mut z = shape.forward(&values.value[node.inputs[0]], &self.acting[place.weight]);
                    let bias = &self.acting[place.bias];
                    for (i, z) in z.iter_mut().enumerate() {
                        let (a, d, c) = activate(activation, *z + bias[i % out_channels]);
                        *z = a;
                        slope.push(d);
                        curvature.push(c);
                    }
                    z
                }
                _ => self.unweighted(index, x, noise_levels, images, &values.value),
            };
            values.value.push(value);
            values.slope.push(slope);
            values.curvature.push(curvature);
        }
        values
    }

    /// The value of a node that has no parameters.
    pub(super) fn unweighted(
        &self,
        index: usize,
        x: &[T],
        noise_levels: &[T],
        images: usize,
        given: &[Vec<T>],
    ) -> Vec<T> {
        let (h, w) = self.sizes[0];
        let node = &self.network.nodes()[index];
        match node.layer {
            Layer::Image { .. } => x.to_vec(),
            Layer::Coordinates => coordinates(images, h, w),
            Layer::NoiseLevel => noise_levels.iter().flat_map(|&l| vec![l; h * w]).collect(),
            _ => self.linear(index, node, images, given),
        }
    }

    /// The directional derivative of every node's value along `v` in picture space, and z′ of every
    /// convolution.
    pub(super) fn tangent(&self, values: &Values<T>, v: &[T]) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
        let (mut tangent, mut rates): (Vec<Vec<T>>, Vec<Vec<T>>) = (vec![], vec![]);
        for (index, node) in self.network.nodes().iter().enumerate() {
            let mut rate = vec![];
            let value = match node.layer {
                Layer::Image { .. } => v.to_vec(),
                Layer::Coordinates | Layer::NoiseLevel => vec![T::ZERO; values.value[index].len()],
                Layer::Conv { .. } => {
                    let place = self.network.conv_tensors()[index].expect("a convolution has tensors");
                    let shape = self.shape(index, values.images);
                    rate = shape.forward(&tangent[node.inputs[0]], &self.acting[place.weight]);
                    rate.iter().zip(&values.slope[index]).map(|(&z, &d)| z * d).collect()
                }
                _ => self.linear(index, node, values.images, &tangent),
            };
            tangent.push(value);
            rates.push(rate);
        }
        (tangent, rates)
    }

    /// Layers without parameters: the same map for values and tangents.
    fn linear(&self, index: usize, node: &Node, images: usize, given: &[Vec<T>]) -> Vec<T> {
        let (h, w) = self.sizes[index];
        let channels = self.network.channels()[index];
        let mut out = vec![T::ZERO; images * h * w * channels];
        self.linear_pairs(index, node, images, |input, from, to, factor| {
            out[to] += factor * given[input][from];
        });
        out
    }

    /// Calls `f(input node, index in its array, index in this node's array, factor)` for each term of a
    /// layer that has no parameters.
    pub(super) fn linear_pairs(
        &self,
        index: usize,
        node: &Node,
        images: usize,
        mut f: impl FnMut(usize, usize, usize, T),
    ) {
        let (h, w) = self.sizes[index];
        let channels = self.network.channels()[index];
        let mut first = 0;
        for &input in &node.inputs {
            let (ih, iw) = self.sizes[input];
            let width = self.network.channels()[input];
            for (n, y, x) in grid(images, h, w) {
                let to = ((n * h + y) * w + x) * channels;
                let at = |y: usize, x: usize| ((n * ih + y) * iw + x) * width;
                for c in 0..width {
                    match node.layer {
                        Layer::Upsample => f(input, at(y / 2, x / 2) + c, to + c, T::ONE),
                        Layer::AveragePool => {
                            for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                                f(input, at(2 * y + dy, 2 * x + dx) + c, to + c, T::from_f64(0.25));
                            }
                        }
                        _ => f(input, at(y, x) + c, to + first + c, T::ONE),
                    }
                }
            }
            if node.layer == Layer::Concat {
                first += width;
            }
        }
    }

    /// The shape of the convolution at `index`.
    pub(super) fn shape(&self, index: usize, images: usize) -> Shape {
        let node = &self.network.nodes()[index];
        let Layer::Conv { kernel, stride, .. } = node.layer else {
            unreachable!("only called for convolutions")
        };
        let size = |i: usize| (self.sizes[i].0, self.sizes[i].1, self.network.channels()[i]);
        Shape { images, input: size(node.inputs[0]), output: size(index), kernel, stride }
    }
}

fn grid(images: usize, h: usize, w: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..images).flat_map(move |n| (0..h).flat_map(move |y| (0..w).map(move |x| (n, y, x))))
}

fn coordinates<T: Real>(images: usize, h: usize, w: usize) -> Vec<T> {
    let place = |i: usize, n: usize| T::from_f64((2 * i + 1) as f64 / n as f64 - 1.0);
    grid(images, h, w).flat_map(|(_, y, x)| [place(x, w), place(y, h)]).collect()
}
