//! The weight gradient of one convolution: how it is split into tasks, and its sums.

mod direct;
mod winograd;

use direct::DirectPlan;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use winograd::WinogradPlan;

use super::convolution::pays_correlation;
use super::forward::Given;
use super::layout::Layout;
use super::workers::Workers;
use crate::buffer::Buffer;
use crate::kernels::Kernels;

/// Everything about one convolution's weight gradient that is known beforehand.
pub(super) struct CorrelationPlan {
    method: Method,
    /// The weight gradient, once or (to be added up in order) several times:
    /// `kernel place, padded input channels, padded output channels`.
    sums: Buffer,
    /// Padded input and output channels.
    depth: usize,
    width: usize,
    taps: usize,
}

enum Method {
    Direct(DirectPlan),
    Winograd(WinogradPlan),
}

/// Buffers that all convolutions use in turn.
pub(super) struct Shared {
    /// Packed or transformed gradients.
    gradients: Buffer,
    /// Transformed inputs.
    inputs: Buffer,
    /// Bias gradients of each task.
    bias: Buffer,
}

/// Lengths of [`Shared`].
#[derive(Clone, Copy, Default)]
struct Need {
    gradients: usize,
    inputs: usize,
    bias: usize,
}

/// What is correlated.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub(super) images: usize,
    /// The convolution's input, or the tangent of it, from image 0 on.
    pub(super) x: Given,
    /// The gradient of its sums, from image 0 on.
    pub(super) g: Given,
}

impl Shared {
    /// Large enough for each of `plans`.
    pub(super) fn new<'a>(batch: usize, plans: impl Iterator<Item = &'a CorrelationPlan>) -> Shared {
        let needs = plans.map(|plan| match &plan.method {
            Method::Direct(direct) => direct.need(batch),
            Method::Winograd(winograd) => winograd.need(batch),
        });
        let need = needs.fold(Need::default(), |a, b| Need {
            gradients: a.gradients.max(b.gradients),
            inputs: a.inputs.max(b.inputs),
            bias: a.bias.max(b.bias),
        });
        Shared {
            gradients: Buffer::zeros(need.gradients),
            inputs: Buffer::zeros(need.inputs),
            bias: Buffer::zeros(need.bias),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.gradients.len() + self.inputs.len() + self.bias.len()
    }
}

impl CorrelationPlan {
    pub(super) fn new(
        kernels: &Kernels,
        batch: usize,
        (kernel, stride): (usize, usize),
        input: &Layout,
        output: &Layout,
    ) -> CorrelationPlan {
        let size = kernel * kernel * input.stride * output.stride;
        let (method, copies) = if pays_correlation(kernels.lanes, batch, (kernel, stride), input, output) {
            (Method::Winograd(WinogradPlan::new(kernels, kernel, input, output)), 1)
        } else {
            let plan = DirectPlan::new(kernels, batch, (kernel, stride), input, output);
            let splits = plan.splits;
            (Method::Direct(plan), splits)
        };
        let sums = Buffer::zeros(copies * size);
        CorrelationPlan { method, sums, depth: input.stride, width: output.stride, taps: kernel * kernel }
    }

    /// Scratch values of one task.
    pub(super) fn scratch(&self, lanes: usize) -> usize {
        match &self.method {
            Method::Direct(direct) => direct.scratch(lanes),
            Method::Winograd(_) => 0,
        }
    }

    /// Values allocated.
    pub(super) fn len(&self) -> usize {
        let own = match &self.method {
            Method::Direct(_) => 0,
            Method::Winograd(winograd) => winograd.len(),
        };
        own + self.sums.len()
    }

    /// Sets the sums to the correlation of x with the gradient g; adds the bias gradient to `d_bias` if
    /// given.
    ///
    /// # Safety
    /// The operands hold `images` images in the layouts given to `new`, and nothing writes them meanwhile.
    pub(super) unsafe fn run(
        &mut self,
        kernels: &Kernels,
        workers: &Workers,
        shared: &mut Shared,
        operands: Operands,
        d_bias: Option<&mut [f32]>,
    ) {
        shared.bias.as_mut_slice().fill(0.0);
        // SAFETY: the caller's contract.
        let partial = unsafe {
            match &mut self.method {
                Method::Direct(direct) => direct.run(kernels, workers, shared, operands, &mut self.sums),
                Method::Winograd(winograd) => {
                    winograd.run(kernels, workers, shared, operands, &mut self.sums)
                }
            }
        };
        if let Some(d_bias) = d_bias {
            for task in shared.bias.as_slice()[..partial * self.width].chunks_exact(self.width) {
                d_bias.iter_mut().zip(task).for_each(|(d, t)| *d += t);
            }
        }
    }

    /// Adds the sums of the last `run`, copy by copy, to `d_weight` of shape `taps, depth, out`.
    pub(super) fn add_to(&self, d_weight: &mut [f32], depth: usize, out: usize) {
        let size = self.taps * self.depth * self.width;
        d_weight.par_chunks_exact_mut(depth * out).enumerate().for_each(|(tap, d_weight)| {
            for sums in self.sums.as_slice().chunks_exact(size) {
                let rows = sums[tap * self.depth * self.width..].chunks_exact(self.width);
                for (target, row) in d_weight.chunks_exact_mut(out).zip(rows) {
                    target.iter_mut().zip(row).for_each(|(t, s)| *t += s);
                }
            }
        });
    }
}
