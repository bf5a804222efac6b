//! Parameter gradients of a directional derivative of the energies.
//!
//! Σ v·∂(Σ p·e)/∂x = Σ p·e′, with e′ the derivative of e along v. The tangents z′ = W ∗ a′ and
//! a′ = f′(z) z′ are one more forward pass. The adjoint of a′ is the adjoint p of a that `input_gradient`
//! left behind; the adjoint q of a follows the same recursion with q_z = q f′(z) + p f″(z) z′. Weights get
//! the correlation of a′ with p_z and of a with q_z; biases, which have no tangent, that of 1 with q_z.

use super::backward::{Input, Target};
use super::build::Step;
use super::workers::Crew;
use super::{Done, Executor};
use crate::kernels::epilogue::Epilogue;
use crate::parameters::Parameters;

impl Executor {
    pub(super) fn run_second_order(&mut self, v: &[f32], de: &[f32], gradient: &mut Parameters) {
        assert_eq!(
            v.len(),
            self.images * self.picture_len(),
            "one direction per picture value of the last forward"
        );
        self.done = Done::Energies;
        self.clear_acting_gradients();
        self.write_picture(&self.everyone(), v, |buffers| buffers.tangent.ptr());
        for index in 1..self.nodes.len() {
            if !self.nodes[index].on_image {
                continue;
            }
            self.tangent(&self.everyone(), index);
            if matches!(self.nodes[index].step, Step::Convolution(_)) {
                self.correlate(index, Input::Tangent, gradient);
            }
        }
        self.recur(de, Target::SecondOrder, gradient);
        self.finish_gradients(gradient);
    }

    /// The derivative of one node's value along the direction.
    fn tangent(&self, crew: &Crew, index: usize) {
        let node = &self.nodes[index];
        match &node.step {
            Step::Convolution(convolution) => {
                let input = &self.nodes[node.inputs[0]];
                let epilogue = Epilogue::Tangent {
                    target: node.buffers.tangent.ptr(),
                    slope: node.buffers.slope.ptr_or_null(),
                    bend: node.buffers.bend.ptr_or_null(),
                };
                let images = (input.layout.image, node.layout.image);
                self.run_pass(crew, &convolution.forward, input.buffers.tangent.ptr(), images, epilogue);
            }
            Step::Linear(gathers) => self.gather_forward(crew, index, gathers, |b| b.tangent.ptr()),
            Step::Image | Step::Coordinates | Step::NoiseLevel => {}
        }
    }
}
