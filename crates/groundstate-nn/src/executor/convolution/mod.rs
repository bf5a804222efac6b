//! One convolution in the plan: how its sums and its input gradient are computed, and its packed weights.

mod cost;
mod geometry;

pub(super) use cost::pays_correlation;
pub(super) use geometry::{direct_forward, winograd_forward};

use cost::{pays_backward, pays_forward};
use geometry::{direct_backward, winograd_backward};

use super::layout::Layout;
use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::winograd::{WeightRows, Winograd};

/// Multiply-adds of one task: about 15 µs, small enough to share out, large enough not to notice.
pub(super) const TASK_COST: usize = 1 << 19;

/// A convolution from one padded buffer to another, in one direction.
pub(super) struct Pass {
    pub(super) method: Method,
    /// Packed weights, all parts one after another.
    pub(super) weights: Buffer,
}

/// How, in parts: one, or one for each sub-pixel phase of an input gradient of stride 2.
pub(super) enum Method {
    Direct(Vec<Part<Direct>>),
    /// 3×3 stride 1 or 4×4 stride 2 with enough channels. All parts have as many tiles.
    Winograd(Vec<Part<Winograd>>),
}

/// One part.
pub(super) struct Part<G> {
    pub(super) geometry: G,
    /// Kernel places read, in the order of the packed weights.
    pub(super) taps: Vec<usize>,
    /// Where its packed weights start.
    pub(super) offset: usize,
}

impl Part<Direct> {
    /// Output rows of one task.
    pub(super) fn band(&self, lanes: usize) -> usize {
        let row_cost = self.geometry.cols * self.geometry.depth() * self.geometry.vectors * lanes;
        (TASK_COST / row_cost).clamp(1, self.geometry.rows)
    }
}

impl Pass {
    /// The forward direction.
    pub(super) fn forward(
        kernels: &Kernels,
        kernel: usize,
        stride: usize,
        input: &Layout,
        output: &Layout,
    ) -> Pass {
        if pays_forward(kernels.lanes, kernel, stride, input, output) {
            return Self::winograd(kernels, vec![winograd_forward(kernels, kernel, input, output)]);
        }
        Self::direct(kernels, vec![direct_forward(kernels, kernel, stride, input, output)])
    }

    /// The gradient with respect to the input, from `output` (the gradient of the sums) to `input`.
    pub(super) fn backward(
        kernels: &Kernels,
        kernel: usize,
        stride: usize,
        output: &Layout,
        input: &Layout,
    ) -> Pass {
        if pays_backward(kernels.lanes, kernel, stride, output, input) {
            return Self::winograd(kernels, winograd_backward(kernels, kernel, output, input));
        }
        let phases = (0..stride).flat_map(|a| (0..stride).map(move |b| (a, b)));
        let present = phases.filter(|&(a, b)| a < input.height && b < input.width);
        let part = |phase| direct_backward(kernels, (kernel, stride), phase, output, input);
        Self::direct(kernels, present.map(part).collect())
    }

    /// By the definition, in parts with the kernel places that they read.
    pub(super) fn direct(kernels: &Kernels, parts: Vec<(Direct, Vec<usize>)>) -> Pass {
        let (parts, total) = place(parts, |g| g.depth() * g.vectors * kernels.lanes);
        Pass { method: Method::Direct(parts), weights: Buffer::zeros(total) }
    }

    fn winograd(kernels: &Kernels, parts: Vec<(Winograd, Vec<usize>)>) -> Pass {
        let (parts, total) = place(parts, |g| g.weights(kernels.lanes));
        Pass { method: Method::Winograd(parts), weights: Buffer::zeros(total) }
    }

    /// Scratch values that one task needs.
    pub(super) fn scratch(&self, lanes: usize) -> usize {
        match &self.method {
            Method::Direct(_) => 0,
            Method::Winograd(parts) => parts.iter().map(|p| p.geometry.scratch(lanes)).max().unwrap_or(0),
        }
    }

    /// Packs some rows of weights for this pass; rows are as long as the padded channels of its output.
    ///
    /// # Safety
    /// The rows are readable for all kernel places, and no other thread touches the packed ones.
    pub(super) unsafe fn pack(&self, kernels: &Kernels, rows: &WeightRows) {
        // SAFETY: the packed buffer was sized for the parts, and the caller's contract.
        unsafe {
            match &self.method {
                Method::Winograd(parts) => {
                    for Part { geometry, taps, offset } in parts {
                        (kernels.winograd_weights)(geometry, rows, taps, self.weights.ptr().add(*offset));
                    }
                }
                Method::Direct(parts) => {
                    for part in parts {
                        pack_part(part, kernels.lanes, rows, self.weights.ptr().add(part.offset));
                    }
                }
            }
        }
    }
}

/// Lays parts' weights one after another; also returns their total length.
fn place<G>(parts: Vec<(G, Vec<usize>)>, len: impl Fn(&G) -> usize) -> (Vec<Part<G>>, usize) {
    let mut total = 0;
    let part = |(geometry, taps)| {
        let offset = total;
        total += len(&geometry);
        Part { geometry, taps, offset }
    };
    let parts = parts.into_iter().map(part).collect();
    (parts, total)
}

/// Copies rows of weights into blocks of two vectors (a last single one if odd). Rows for padding channels
/// of the input stay zero.
///
/// # Safety
/// As [`Pass::pack`], for the packed weights of this part.
unsafe fn pack_part(part: &Part<Direct>, lanes: usize, rows: &WeightRows, packed: *mut f32) {
    let width = part.geometry.vectors * lanes;
    let depth = part.geometry.depth();
    let padded = depth / part.taps.len();
    for first in (0..width).step_by(2 * lanes) {
        let columns = (width - first).min(2 * lanes);
        for (place, &tap) in part.taps.iter().enumerate() {
            for (row, channel) in rows.channels.clone().enumerate() {
                // SAFETY: the caller's contract.
                unsafe {
                    let from = rows.weights.add(tap * rows.place + row * width + first);
                    let to = packed.add(first * depth + (place * padded + channel) * columns);
                    to.copy_from_nonoverlapping(from, columns);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Backend;

    #[test]
    fn wide_layers_use_winograd_and_tiny_maps_do_not() {
        for backend in Backend::available() {
            let kernels = backend.kernels().expect("available");
            let uses = |kernel: usize, stride: usize, channels: (usize, usize), side: usize| {
                let layout = |side, channels: usize| {
                    Layout::new((side, side), channels, channels.next_multiple_of(kernels.lanes), 8)
                };
                let (input, output) = (layout(side, channels.0), layout(side / stride, channels.1));
                let passes = [
                    Pass::forward(kernels, kernel, stride, &input, &output),
                    Pass::backward(kernels, kernel, stride, &output, &input),
                ];
                passes.map(|p| matches!(p.method, Method::Winograd(_)))
            };
            assert_eq!(uses(3, 1, (64, 64), 30), [true; 2], "{}", backend.name());
            assert_eq!(uses(4, 2, (48, 64), 30), [true; 2], "{}", backend.name());
            assert_eq!(uses(3, 1, (64, 64), 3), [false; 2], "{}", backend.name());
            assert_eq!(uses(3, 2, (64, 64), 30), [false; 2], "{}", backend.name());
        }
    }
}
