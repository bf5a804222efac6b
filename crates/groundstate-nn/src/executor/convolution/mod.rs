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
use crate::kernels::winograd::{WeightRows, Weights, Winograd};

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
    /// 3×3 stride 1 or 4×4 stride 2 with enough channels. All parts have as many tiles. Weights are packed
    /// transformed, or `plain`, to be transformed by each pass.
    Winograd {
        parts: Vec<Part<Winograd>>,
        plain: bool,
    },
}

/// Transformed weights that a second-level cache does not hold: where they serve a single block of tiles before they
/// change, to write and read them takes longer than to make them.
const MANY_WEIGHTS: usize = 1 << 18;
/// The numbers of the taps of packed weights: they are in order.
const IN_ORDER: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

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

impl Part<Winograd> {
    /// The packed weights of this part, of all that its pass has.
    ///
    /// # Safety
    /// They are as the plan says.
    pub(super) unsafe fn weights(&self, all: &Buffer, plain: bool) -> Weights<'_> {
        // SAFETY: the caller's contract.
        let weights = unsafe { all.ptr().add(self.offset) }.cast_const();
        if plain {
            Weights::Plain(weights, &IN_ORDER[..self.taps.len()])
        } else {
            Weights::Transformed(weights)
        }
    }
}

impl Pass {
    /// The forward direction. `changing` is the number of images that are worked on before the weights change.
    pub(super) fn forward(
        kernels: &Kernels,
        (kernel, stride): (usize, usize),
        input: &Layout,
        output: &Layout,
        changing: Option<usize>,
    ) -> Pass {
        if pays_forward(kernels.lanes, kernel, stride, input, output) {
            return Self::winograd(kernels, vec![winograd_forward(kernels, kernel, input, output)], changing);
        }
        Self::direct(kernels, vec![direct_forward(kernels, kernel, stride, input, output)])
    }

    /// The gradient with respect to the input, from `output` (the gradient of the sums) to `input`.
    pub(super) fn backward(
        kernels: &Kernels,
        (kernel, stride): (usize, usize),
        output: &Layout,
        input: &Layout,
        changing: Option<usize>,
    ) -> Pass {
        if pays_backward(kernels.lanes, kernel, stride, output, input) {
            return Self::winograd(kernels, winograd_backward(kernels, kernel, output, input), changing);
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

    fn winograd(kernels: &Kernels, parts: Vec<(Winograd, Vec<usize>)>, changing: Option<usize>) -> Pass {
        let (geometry, taps) = (parts[0].0, parts[0].1.len());
        let once = changing.is_some_and(|images| images * geometry.tiles() <= geometry.block);
        let plain = once && geometry.weights(kernels.lanes) >= MANY_WEIGHTS;
        let (parts, total) = place(parts, |g| match plain {
            true => taps * g.channels * g.vectors * kernels.lanes,
            false => g.weights(kernels.lanes),
        });
        Pass { method: Method::Winograd { parts, plain }, weights: Buffer::zeros(total) }
    }

    /// Scratch values that one task needs.
    pub(super) fn scratch(&self, lanes: usize) -> usize {
        match &self.method {
            Method::Direct(_) => 0,
            Method::Winograd { parts, plain } => {
                parts.iter().map(|p| p.geometry.scratch(lanes, *plain)).max().unwrap_or(0)
            }
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
                Method::Winograd { parts, plain: false } => {
                    for Part { geometry, taps, offset } in parts {
                        (kernels.winograd_weights)(geometry, rows, taps, self.weights.ptr().add(*offset));
                    }
                }
                Method::Winograd { parts, plain: true } => {
                    for Part { geometry, taps, offset } in parts {
                        let form = (geometry.channels, geometry.vectors * kernels.lanes);
                        pack_rows(taps, form, 2 * kernels.lanes, rows, self.weights.ptr().add(*offset));
                    }
                }
                Method::Direct(parts) => {
                    for Part { geometry, taps, offset } in parts {
                        let form = (geometry.depth() / taps.len(), geometry.vectors * kernels.lanes);
                        pack_rows(taps, form, 2 * kernels.lanes, rows, self.weights.ptr().add(*offset));
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

/// Copies rows of weights into blocks of `block` columns (a last narrower one if they do not divide): `block, tap,
/// channel, column`. Rows for padding channels of the input stay zero.
///
/// # Shapes
/// `channels` and `width`: of the input and output of a part, padded.
///
/// # Safety
/// As [`Pass::pack`], for the packed weights of this part.
unsafe fn pack_rows(
    taps: &[usize],
    (channels, width): (usize, usize),
    block: usize,
    rows: &WeightRows,
    packed: *mut f32,
) {
    for first in (0..width).step_by(block) {
        let columns = (width - first).min(block);
        for (place, &tap) in taps.iter().enumerate() {
            for (row, channel) in rows.channels.clone().enumerate() {
                // SAFETY: the caller's contract.
                unsafe {
                    let from = rows.weights.add(tap * rows.place + row * width + first);
                    let to = first * taps.len() * channels + (place * channels + channel) * columns;
                    packed.add(to).copy_from_nonoverlapping(from, columns);
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
                    Pass::forward(kernels, (kernel, stride), &input, &output, None),
                    Pass::backward(kernels, (kernel, stride), &output, &input, None),
                ];
                passes.map(|p| matches!(p.method, Method::Winograd { .. }))
            };
            assert_eq!(uses(3, 1, (64, 64), 30), [true; 2], "{}", backend.name());
            assert_eq!(uses(4, 2, (48, 64), 30), [true; 2], "{}", backend.name());
            assert_eq!(uses(3, 1, (64, 64), 3), [false; 2], "{}", backend.name());
            assert_eq!(uses(3, 2, (64, 64), 30), [false; 2], "{}", backend.name());
        }
    }
}
