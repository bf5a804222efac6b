//! Parameters in, gradients out: standardisation, padding and packing around the kernels.

use super::build::{Convolution, Node, Step};
use super::standardise::{GROUP, Gradients, Standardise, StandardiseGradient};
use super::{Done, Executor};
use crate::kernels::Task;
use crate::kernels::winograd::WeightRows;
use crate::parameters::Parameters;
use crate::simd::Simd;

/// Channels that one task packs.
const CHANNELS: usize = 16;

/// The tasks of `load`, in two steps.
pub(super) struct Loading {
    /// Node and first channel of each group of weights that are standardised.
    standardised: Vec<(usize, usize)>,
    packed: Vec<(usize, Packing)>,
}

/// What of a convolution's weights is packed by one task: all that the picture's gradient needs, or the rows of
/// channels from this one on.
#[derive(Clone, Copy)]
enum Packing {
    Picture,
    Forward(usize),
    Backward(usize),
}

impl Loading {
    pub(super) fn new(nodes: &[Node]) -> Loading {
        let mut loading = Loading { standardised: Vec::new(), packed: Vec::new() };
        for (index, node) in nodes.iter().enumerate() {
            let Some(convolution) = node.convolution() else { continue };
            let out = node.layout.channels;
            if convolution.tensors.gain.is_some() {
                loading.standardised.extend((0..out).step_by(GROUP).map(|first| (index, first)));
            }
            let rows = |count: usize| (0..count).step_by(CHANNELS);
            let forward = rows(nodes[node.inputs[0]].layout.channels).map(Packing::Forward);
            let backward = convolution.backward.iter().flat_map(|_| rows(out)).map(Packing::Backward);
            let picture = convolution.picture.iter().map(|_| Packing::Picture);
            loading.packed.extend(forward.chain(backward).chain(picture).map(|packing| (index, packing)));
        }
        loading
    }
}

impl Convolution {
    /// Scratch values for packing.
    pub(super) fn packing_scratch(&self, width: usize) -> usize {
        self.taps * CHANNELS * width.max(self.input_width)
    }
}

impl Executor {
    /// Takes the weights for all that follows; needed before the first `forward` and after each change of
    /// the parameters.
    ///
    /// # Panics
    /// When the parameters are of another network.
    pub fn load(&mut self, parameters: &Parameters) {
        let expected = self.network.parameter_shapes();
        let matches = parameters.iter().len() == expected.len()
            && parameters.iter().zip(&expected).all(|((name, shape, _), e)| name == e.0 && shape == e.1);
        assert!(matches, "parameters of another network");
        for node in &mut self.nodes {
            let Step::Convolution(convolution) = &mut node.step else { continue };
            let bias = &parameters.tensors[convolution.tensors.bias].data;
            convolution.bias.as_mut_slice()[..bias.len()].copy_from_slice(bias);
        }
        self.together(|this| {
            let Loading { standardised, packed } = &this.loading;
            this.workers.run(standardised.len(), |task, _| {
                let (index, first) = standardised[task];
                this.standardise(index, first, parameters);
            });
            this.workers.run(packed.len(), |task, scratch| {
                let (index, packing) = packed[task];
                // SAFETY: each task packs rows of its own, and the scratch was sized for it.
                unsafe { this.pack(index, packing, parameters, scratch) }
            });
        });
        self.done = Done::Nothing;
        self.loaded = true;
    }

    /// Standardises a group of a convolution's weights.
    fn standardise(&self, index: usize, first: usize, parameters: &Parameters) {
        let Some(convolution) = self.nodes[index].convolution() else { return };
        let Some(gain) = convolution.tensors.gain else { return };
        let weight = &parameters.tensors[convolution.tensors.weight].data;
        let gain = &parameters.tensors[gain].data;
        let (acting, kept) = (convolution.d_acting.ptr(), convolution.standardised.as_ref());
        self.backend.run(Standardise { weight, gain, first, acting, kept });
    }

    /// Packs some rows of one convolution's weights.
    ///
    /// # Safety
    /// No other thread touches these rows or the scratch, which is as large as `packing_scratch` says.
    unsafe fn pack(&self, index: usize, packing: Packing, parameters: &Parameters, scratch: *mut f32) {
        let node = &self.nodes[index];
        let Some(convolution) = node.convolution() else { return };
        let Convolution { tensors, forward, backward, picture, d_acting, taps, input_width, .. } =
            convolution;
        let acting = match tensors.gain {
            Some(_) => d_acting.as_slice(),
            None => &parameters.tensors[tensors.weight].data,
        };
        let (depth, out) = (self.nodes[node.inputs[0]].layout.channels, node.layout.channels);
        let width = node.layout.stride;
        // SAFETY: the caller's contract; rows are within the weights, or in the scratch.
        unsafe {
            match packing {
                Packing::Picture => {
                    let picture = picture.as_ref().expect("planned with it");
                    picture.load(self.kernels, acting);
                }
                Packing::Forward(first) => {
                    let channels = first..(first + CHANNELS).min(depth);
                    let mut rows = WeightRows {
                        weights: acting.as_ptr().add(first * out),
                        place: depth * out,
                        channels: channels.clone(),
                    };
                    if width != out {
                        let scratch = std::slice::from_raw_parts_mut(scratch, taps * channels.len() * width);
                        for (row, to) in scratch.chunks_exact_mut(width).enumerate() {
                            let (tap, channel) = (row / channels.len(), first + row % channels.len());
                            to[..out].copy_from_slice(&acting[(tap * depth + channel) * out..][..out]);
                            to[out..].fill(0.0);
                        }
                        rows.weights = scratch.as_ptr();
                        rows.place = channels.len() * width;
                    }
                    forward.pack(self.kernels, &rows);
                }
                Packing::Backward(first) => {
                    let channels = first..(first + CHANNELS).min(out);
                    let place = channels.len() * input_width;
                    let scratch = std::slice::from_raw_parts_mut(scratch, taps * place);
                    for (acting, to) in acting.chunks_exact(depth * out).zip(scratch.chunks_exact_mut(place))
                    {
                        let columns = Columns { from: &acting[first..], pitch: out, rows: depth };
                        self.backend.run(Transpose { columns, to, width: *input_width });
                    }
                    let rows = WeightRows { weights: scratch.as_ptr(), place, channels };
                    backward.as_ref().expect("planned with it").pack(self.kernels, &rows);
                }
            }
        }
    }

    /// Adds the convolutions' own gradients to those of the parameters: of biases, and of standardised weights
    /// through the standardisation.
    pub(super) fn finish_gradients(&self, gradient: &mut Parameters) {
        for convolution in self.nodes.iter().filter_map(Node::convolution) {
            let Convolution { tensors, standardised, d_acting, d_bias, .. } = convolution;
            let to = &mut gradient.tensors[tensors.bias].data;
            to.iter_mut().zip(d_bias).for_each(|(d, &b)| *d += b);
            let (Some(gain), Some(kept)) = (tensors.gain, standardised) else { continue };
            let (d_weight, d_gain) = two(&mut gradient.tensors, tensors.weight, gain);
            let (d_weight, d_gain) = (&mut d_weight.data, &mut d_gain.data);
            assert_eq!((d_weight.len(), d_gain.len()), (kept.unit.len(), kept.factor.len()));
            let to = Gradients { weight: d_weight.as_mut_ptr(), gain: d_gain.as_mut_ptr() };
            self.workers.run(kept.factor.len().div_ceil(GROUP), |task, _| {
                self.backend.run(StandardiseGradient { kept, d_acting, first: task * GROUP, to });
            });
        }
    }
}

/// Some columns of a matrix, from the first value of `from` on.
struct Columns<'a> {
    from: &'a [f32],
    pitch: usize,
    rows: usize,
}

/// Writes columns as rows, `width` apart, with zeros behind.
struct Transpose<'a> {
    columns: Columns<'a>,
    to: &'a mut [f32],
    width: usize,
}

impl Task for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { columns: Columns { from, pitch, rows }, to, width } = self;
        for (column, to) in to.chunks_exact_mut(width).enumerate() {
            for (row, to) in to[..rows].iter_mut().enumerate() {
                *to = from[row * pitch + column];
            }
            to[rows..].fill(0.0);
        }
    }
}

/// Two different elements.
fn two<T>(items: &mut [T], first: usize, second: usize) -> (&mut T, &mut T) {
    let [a, b] = items.get_disjoint_mut([first, second]).expect("two different tensors");
    (a, b)
}
