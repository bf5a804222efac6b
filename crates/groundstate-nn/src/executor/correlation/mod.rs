//! The weight gradient of one convolution: how it is split into tasks, and its sums.

mod direct;
mod winograd;

use direct::DirectPlan;
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
    taps: usize,
    /// Input and output channels, and padded output channels.
    depth: usize,
    out: usize,
    width: usize,
}

enum Method {
    Direct(DirectPlan),
    Winograd(WinogradPlan),
}

/// Buffers that all convolutions use in turn.
pub(super) struct Shared {
    /// Sums of products, several times where they are to be added up in order.
    sums: Buffer,
    /// Bias gradients of each task.
    bias: Buffer,
}

/// Lengths of [`Shared`].
#[derive(Clone, Copy, Default)]
struct Need {
    sums: usize,
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

/// The weight gradient that is added to, `taps, depth, out`. Tasks share it by channels.
#[derive(Clone, Copy)]
struct Target {
    weights: *mut f32,
    taps: usize,
    depth: usize,
    out: usize,
}

// SAFETY: tasks write places of different channels.
unsafe impl Sync for Target {}

impl Target {
    /// Adds sums of `count` shares of the batch, share by share. Each is `taps, channels, width`, both padded.
    ///
    /// # Safety
    /// `sums` holds them, and nothing else touches the target.
    unsafe fn add_shares(
        &self,
        workers: &Workers,
        sums: &Buffer,
        count: usize,
        channels: usize,
        width: usize,
    ) {
        let Self { taps, depth, out, .. } = *self;
        workers.run(depth, |channel, _| {
            for (tap, share) in (0..taps).flat_map(|tap| (0..count).map(move |share| (tap, share))) {
                // SAFETY: the caller's contract; each task has its own input channel.
                let (to, from) = unsafe {
                    let to = self.weights.add((tap * depth + channel) * out);
                    let from = sums.ptr().add(((share * taps + tap) * channels + channel) * width);
                    (std::slice::from_raw_parts_mut(to, out), std::slice::from_raw_parts(from, out))
                };
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        });
    }
}

impl Shared {
    /// Large enough for each of `plans`.
    pub(super) fn new<'a>(plans: impl Iterator<Item = &'a CorrelationPlan>) -> Shared {
        let needs = plans.map(|plan| match &plan.method {
            Method::Direct(direct) => direct.need(),
            Method::Winograd(winograd) => winograd.need(),
        });
        let need =
            needs.fold(Need::default(), |a, b| Need { sums: a.sums.max(b.sums), bias: a.bias.max(b.bias) });
        Shared { sums: Buffer::zeros(need.sums), bias: Buffer::zeros(need.bias) }
    }

    pub(super) fn len(&self) -> usize {
        self.sums.len() + self.bias.len()
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
        let method = if pays_correlation(kernels.lanes, batch, (kernel, stride), input, output) {
            Method::Winograd(WinogradPlan::new(kernels, batch, kernel, input, output))
        } else {
            Method::Direct(DirectPlan::new(kernels, batch, (kernel, stride), input, output))
        };
        CorrelationPlan {
            method,
            taps: kernel * kernel,
            depth: input.channels,
            out: output.channels,
            width: output.stride,
        }
    }

    /// Scratch values of one task.
    pub(super) fn scratch(&self) -> usize {
        match &self.method {
            Method::Direct(_) => 0,
            Method::Winograd(winograd) => winograd.scratch(),
        }
    }

    /// Adds the correlation of x with the gradient g to `d_weight` of shape `taps, depth, out`, and the bias gradient
    /// to `d_bias` if given.
    ///
    /// # Safety
    /// The operands hold `images` images in the layouts given to `new`, and nothing writes them meanwhile.
    pub(super) unsafe fn run(
        &self,
        kernels: &Kernels,
        workers: &Workers,
        shared: &Shared,
        operands: Operands,
        d_weight: &mut [f32],
        d_bias: Option<&mut [f32]>,
    ) {
        let Self { taps, depth, out, width, .. } = *self;
        assert_eq!(d_weight.len(), taps * depth * out, "the gradient has the weights' form");
        if operands.images == 0 {
            return;
        }
        let target = Target { weights: d_weight.as_mut_ptr(), taps, depth, out };
        // SAFETY: the caller's contract.
        let partial = unsafe {
            match &self.method {
                Method::Direct(direct) => direct.run(kernels, workers, shared, operands, target),
                Method::Winograd(winograd) => winograd.run(kernels, workers, shared, operands, target),
            }
        };
        if let Some(d_bias) = d_bias {
            for task in shared.bias.as_slice()[..partial * width].chunks_exact(width) {
                d_bias.iter_mut().zip(task).for_each(|(d, t)| *d += t);
            }
        }
    }
}
