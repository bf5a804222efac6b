//! Adjoints: from weights on the energies back to the picture or to the parameters.

use super::build::{Convolution, Node, Step};
use super::correlation::Operands;
use super::forward::{Given, Written};
use super::workers::Crew;
use super::{Done, Executor};
use crate::kernels::epilogue::{Combine, Epilogue};
use crate::parameters::Parameters;

/// What the reverse recursion is run for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Adjoints of everything that depends on the picture, and, for second order, their products with f″.
    Picture,
    /// Adjoints of everything that depends on parameters, and weight gradients on the way.
    Parameters,
    /// The same with `bend` added to the adjoint of each smooth convolution.
    SecondOrder,
}

impl Target {
    fn wants(self, node: &Node) -> bool {
        if self == Target::Picture { node.on_image && !node.bypassed } else { node.on_parameters }
    }
}

impl Executor {
    pub(super) fn run_input_gradient(&mut self, de: &[f32]) {
        self.check_weights(de);
        self.workers.in_groups(self.images, self.group_back, |crew| {
            self.seed(crew, de, Target::Picture);
            for index in (0..self.nodes.len()).rev() {
                if Target::Picture.wants(&self.nodes[index]) {
                    self.pull_back_to_picture(crew, index);
                    self.pull_back_to_inputs(crew, index, Target::Picture);
                }
            }
        });
        self.read_gradient_map();
        self.done = Done::InputGradient;
    }

    fn check_weights(&self, de: &[f32]) {
        assert_eq!(de.len(), self.images * self.map_len(), "one weight per local energy of the last forward");
    }

    fn read_gradient_map(&mut self) {
        let map = Written(self.gradient_map.as_mut_ptr());
        let (layout, gradient) = (self.nodes[0].gradient_layout, self.nodes[0].buffers.gradient.as_slice());
        let (channels, row_len) = (layout.channels, layout.width * layout.channels);
        self.rows(&self.everyone(), &layout, |row, from| {
            // SAFETY: the map has this row, which one task writes.
            let to = unsafe { map.slice(row * row_len, row_len) };
            let from = &gradient[from..from + layout.width * layout.stride];
            if layout.stride == channels {
                return to.copy_from_slice(from);
            }
            for (to, from) in to.chunks_exact_mut(channels).zip(from.chunks_exact(layout.stride)) {
                to.copy_from_slice(&from[..channels]);
            }
        });
    }

    pub(super) fn run_parameter_gradient(&mut self, de: &[f32], gradient: &mut Parameters) {
        self.clear_acting_gradients();
        self.done = Done::Energies;
        self.recur(de, Target::Parameters, gradient);
        self.finish_gradients(gradient);
    }

    /// Adjoints of all that depends on parameters, each followed by the weight gradient that it gives, while it is in
    /// the cache.
    pub(super) fn recur(&mut self, de: &[f32], target: Target, gradient: &mut Parameters) {
        self.check_weights(de);
        self.seed(&self.everyone(), de, target);
        for index in (0..self.nodes.len()).rev() {
            if target.wants(&self.nodes[index]) {
                self.correlate(index, Input::Value, gradient);
                self.pull_back_to_inputs(&self.everyone(), index, target);
            }
        }
    }

    /// Adds a node's terms to the adjoints of its inputs. Each is complete when its first reader is done, since readers
    /// come later in the list.
    fn pull_back_to_inputs(&self, crew: &Crew, index: usize, target: Target) {
        for (slot, &input) in self.nodes[index].inputs.iter().enumerate() {
            if target.wants(&self.nodes[input]) {
                self.pull_back(crew, index, slot, target);
            }
        }
    }

    /// Writes the picture's adjoint, if this is the convolution that does so in blocks.
    fn pull_back_to_picture(&self, crew: &Crew, index: usize) {
        let node = &self.nodes[index];
        let Some(picture) = node.convolution().and_then(|c| c.picture.as_ref()) else { return };
        let to = &self.nodes[0];
        let strides = (node.gradient_layout.image, to.gradient_layout.image);
        let row = to.gradient_layout.row;
        let epilogue = Epilogue::Block {
            target: to.buffers.gradient.ptr(),
            row,
            values: 2 * to.gradient_layout.channels,
        };
        self.run_pass(crew, &picture.pass, node.buffers.gradient.ptr(), strides, epilogue);
    }

    /// Whether no earlier input slot reads what this one does.
    fn is_first_reader(&self, index: usize, slot: usize) -> bool {
        let (before, input) = self.nodes[index].inputs.split_at(slot);
        !before.contains(&input[0]) && !self.nodes[..index].iter().any(|n| n.inputs.contains(&input[0]))
    }

    /// Whether another input slot has given a term to the adjoint of what this one reads.
    fn is_given(&self, index: usize, slot: usize, target: Target) -> bool {
        let (before, input) = self.nodes[index].inputs.split_at(slot);
        let mut later = self.nodes[index + 1..].iter().filter(|n| target.wants(n));
        before.contains(&input[0]) || later.any(|n| n.inputs.contains(&input[0]))
    }

    /// Adds one reader's term to the adjoint of one of its inputs.
    fn pull_back(&self, crew: &Crew, index: usize, slot: usize, target: Target) {
        let node = &self.nodes[index];
        let input = &self.nodes[node.inputs[slot]];
        let (given, last) = (self.is_given(index, slot, target), self.is_first_reader(index, slot));
        let combine = self.combine(input, target, given, last);
        let strides = (node.gradient_layout.image, input.gradient_layout.image);
        let (from, epilogue) = (node.buffers.gradient.ptr(), Epilogue::Combine(combine));
        match &node.step {
            Step::Convolution(convolution) => {
                let pass = convolution.backward.as_ref().expect("planned for this purpose");
                self.run_pass(crew, pass, from, strides, epilogue);
            }
            Step::Linear(gathers) => self.run_gather(crew, &gathers[slot].backward, from, strides, epilogue),
            Step::Image | Step::Coordinates | Step::NoiseLevel => {}
        }
    }

    /// How a term enters a node's adjoint; the `last` one completes it.
    fn combine(&self, node: &Node, target: Target, accumulate: bool, last: bool) -> Combine {
        let buffers = &node.buffers;
        let mut combine = Combine::store(buffers.gradient.ptr());
        combine.accumulate = accumulate;
        if last {
            combine.slope = buffers.slope.ptr_or_null();
            if target == Target::Picture {
                combine.curvature = buffers.curvature.ptr_or_null();
                combine.bend = buffers.bend.ptr_or_null();
            }
            if target == Target::SecondOrder {
                combine.extra = buffers.bend.ptr_or_null();
            }
        }
        combine
    }

    /// Writes `de` as the adjoint of the energy map.
    fn seed(&self, crew: &Crew, de: &[f32], target: Target) {
        let node = &self.nodes[self.nodes.len() - 1];
        let layout = node.gradient_layout;
        let epilogue = Epilogue::Combine(self.combine(node, target, false, true));
        let rows = crew.images.start * layout.height..crew.images.end * layout.height;
        for (row, de) in rows.clone().zip(de.chunks_exact(layout.width * layout.channels).skip(rows.start)) {
            let start = row / layout.height * layout.image + layout.at((row % layout.height) as isize, 0);
            for (x, de) in de.chunks_exact(layout.channels).enumerate() {
                // SAFETY: the values of one pixel of the last node's buffers; no other thread touches them. Where
                // slope and bend are present the node is a convolution, and their layout is this one.
                unsafe {
                    let at = start + x * layout.stride;
                    epilogue.finish::<crate::simd::Portable<1>>(de.as_ptr(), de.len(), at, 0);
                }
            }
        }
    }

    /// Sets the gradients of standardised weights and of biases to zero.
    pub(super) fn clear_acting_gradients(&mut self) {
        for node in &mut self.nodes {
            if let Step::Convolution(convolution) = &mut node.step {
                convolution.d_bias.fill(0.0);
            }
        }
        self.workers.run(self.nodes.len(), |index, _| {
            let Some(convolution) = self.nodes[index].convolution() else { return };
            // SAFETY: each task has its own node.
            unsafe { convolution.d_acting.ptr().write_bytes(0, convolution.d_acting.len()) };
        });
    }

    /// Adds the correlation of a convolution's input with its adjoint to the acting weights' gradient: the one
    /// in `gradient` where stored weights act, else the convolution's own.
    pub(super) fn correlate(&mut self, index: usize, given: Input, gradient: &mut Parameters) {
        let input = self.nodes[index].inputs.first().copied();
        let g = self.nodes[index].buffers.gradient.ptr();
        let x = input.map(|i| match given {
            Input::Value => self.nodes[i].buffers.value.ptr(),
            Input::Tangent => self.nodes[i].buffers.tangent.ptr(),
        });
        let (Step::Convolution(convolution), Some(x)) = (&mut self.nodes[index].step, x) else { return };
        let Convolution { correlation, tensors, standardised, d_acting, d_bias, .. } = &mut **convolution;
        let plan = correlation.as_ref().expect("planned for this purpose");
        let operands = Operands { images: self.images, x: Given(x), g: Given(g) };
        let d_weight = match standardised {
            Some(_) => d_acting.as_mut_slice(),
            None => &mut gradient.tensors[tensors.weight].data,
        };
        let d_bias = (given == Input::Value).then_some(d_bias.as_mut_slice());
        // SAFETY: both buffers hold `images` images in the layouts the plan was made for, and only the
        // correlation runs.
        unsafe { plan.run(self.kernels, &self.workers, &self.shared, operands, d_weight, d_bias) }
    }
}

/// Which of the input's arrays a weight gradient correlates with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Value,
    Tangent,
}
