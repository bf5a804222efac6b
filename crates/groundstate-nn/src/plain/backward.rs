//! Gradients of first and second order.

use super::{Plain, Tensors, Values};
use crate::layer::Layer;
use crate::real::Real;

/// Adjoints of every node: of its value, and of its pre-activation where it is a convolution.
struct Adjoints<T> {
    value: Vec<Vec<T>>,
    pre_activation: Vec<Vec<T>>,
}

impl<T: Real> Plain<'_, T> {
    /// ∂(Σ de·e)/∂x.
    ///
    /// # Shapes
    /// `de`: `n, h′, w′`; result: `n, h, w, c`.
    pub fn input_gradient(&self, values: &Values<T>, de: &[T]) -> Vec<T> {
        self.adjoints(values, de, None).value.swap_remove(0)
    }

    /// ∂(Σ de·e)/∂θ.
    ///
    /// # Shapes
    /// `de`: `n, h′, w′`; result: one array per parameter tensor.
    pub fn parameter_gradient(&self, values: &Values<T>, de: &[T]) -> Tensors<T> {
        let adjoints = self.adjoints(values, de, None);
        let mut gradient = self.zero_gradient();
        self.correlate(&values.value, &adjoints.pre_activation, values.images, true, &mut gradient);
        self.stored_gradient(gradient)
    }

    /// ∂/∂θ of Σ v·∂(Σ p·e)/∂x + Σ de·e.
    ///
    /// With a′ the derivative of the values along v, S = Σ p·e′ is a function of the pairs (a, a′). The
    /// adjoint of a′ is the adjoint of a in Σ p·e; the adjoint q of a obeys the same recursion, except that
    /// at an activation q_z = q·f′(z) + p·f″(z)·z′.
    ///
    /// # Shapes
    /// `v`: `n, h, w, c`; `p`, `de`: `n, h′, w′`.
    pub fn second_order(&self, values: &Values<T>, v: &[T], p: &[T], de: &[T]) -> Tensors<T> {
        let first = self.adjoints(values, p, None);
        let (tangent, rates) = self.tangent(values, v);
        let bend = |index: usize| -> Vec<T> {
            let terms = first.value[index].iter().zip(&values.curvature[index]).zip(&rates[index]);
            terms.map(|((&p, &c), &z)| p * c * z).collect()
        };
        let extra: Vec<Vec<T>> = (0..values.value.len()).map(bend).collect();
        let second = self.adjoints(values, de, Some(&extra));
        let mut gradient = self.zero_gradient();
        self.correlate(&tangent, &first.pre_activation, values.images, false, &mut gradient);
        self.correlate(&values.value, &second.pre_activation, values.images, true, &mut gradient);
        self.stored_gradient(gradient)
    }

    fn zero_gradient(&self) -> Tensors<T> {
        self.stored.iter().map(|t| vec![T::ZERO; t.len()]).collect()
    }

    /// The reverse recursion, with `extra` added to the adjoint of each convolution's pre-activation.
    fn adjoints(&self, values: &Values<T>, de: &[T], extra: Option<&[Vec<T>]>) -> Adjoints<T> {
        let nodes = self.network.nodes();
        let mut value: Vec<Vec<T>> = values.value.iter().map(|v| vec![T::ZERO; v.len()]).collect();
        let mut pre_activation: Vec<Vec<T>> = vec![vec![]; nodes.len()];
        let last = nodes.len() - 1;
        assert_eq!(de.len(), value[last].len(), "one weight per local energy");
        value[last] = de.to_vec();
        for (index, node) in nodes.iter().enumerate().rev() {
            let own = std::mem::take(&mut value[index]);
            if let Layer::Conv { .. } = node.layer {
                let place = self.network.conv_tensors()[index].expect("a convolution has tensors");
                let mut dz: Vec<T> = own.iter().zip(&values.slope[index]).map(|(&g, &d)| g * d).collect();
                if let Some(extra) = extra {
                    dz.iter_mut().zip(&extra[index]).for_each(|(z, &e)| *z += e);
                }
                let dx = self.shape(index, values.images).input_gradient(&dz, &self.acting[place.weight]);
                value[node.inputs[0]].iter_mut().zip(dx).for_each(|(g, d)| *g += d);
                pre_activation[index] = dz;
            } else {
                self.linear_pairs(index, node, values.images, |input, from, to, factor| {
                    value[input][from] += factor * own[to];
                });
            }
            value[index] = own;
        }
        Adjoints { value, pre_activation }
    }

    /// Adds each convolution's weight gradient for inputs `x`, and its bias gradient if `bias`.
    fn correlate(&self, x: &[Vec<T>], dz: &[Vec<T>], images: usize, bias: bool, gradient: &mut Tensors<T>) {
        for (index, node) in self.network.nodes().iter().enumerate() {
            let Some(place) = self.network.conv_tensors()[index] else { continue };
            let shape = self.shape(index, images);
            shape.weight_gradient(&x[node.inputs[0]], &dz[index], &mut gradient[place.weight]);
            if bias {
                shape.bias_gradient(&dz[index], &mut gradient[place.bias]);
            }
        }
    }
}
