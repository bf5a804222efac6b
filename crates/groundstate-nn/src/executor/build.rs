//! From a network and a picture size to steps and buffers.

use super::convolution::Pass;
use super::correlation::CorrelationPlan;
use super::entry::{Entry, PictureGradient, only_reader};
use super::layout::Layout;
use super::standardise::Standardised;
use super::{ExecutorOptions, Purpose};
use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::kernels::gather::{Gather, Mapping};
use crate::kernels::winograd::STEP;
use crate::layer::{Activation, Layer};
use crate::network::{Network, NetworkError};
use crate::parameters::ConvTensors;

/// Most values in one buffer.
const MAX_BUFFER: usize = 1 << 31;

/// One node, ready to run.
pub(super) struct Node {
    pub(super) inputs: Vec<usize>,
    pub(super) step: Step,
    /// Of `value` and `tangent`, and for convolutions of every buffer.
    pub(super) layout: Layout,
    /// Of `gradient`.
    pub(super) gradient_layout: Layout,
    pub(super) buffers: Buffers,
    /// Whether the value changes with the picture, and with parameters.
    pub(super) on_image: bool,
    pub(super) on_parameters: bool,
    /// The node in whose arrays the value is written, this one or a concatenation, and its first channel there.
    pub(super) home: (usize, usize),
    /// Whether its adjoint is not computed layer by layer: see [`PictureGradient`].
    pub(super) bypassed: bool,
}

/// Arrays of one node; empty when the purpose does without.
pub(super) struct Buffers {
    pub(super) value: Buffer,
    /// f′ at the pre-activation.
    pub(super) slope: Buffer,
    /// f″ there.
    pub(super) curvature: Buffer,
    /// Adjoint of the value times f″; then that times z′.
    pub(super) bend: Buffer,
    /// Adjoint of the pre-activation for convolutions, of the value for other nodes.
    pub(super) gradient: Buffer,
    /// Derivative of the value along a direction.
    pub(super) tangent: Buffer,
}

/// What computes a node.
pub(super) enum Step {
    Image,
    Coordinates,
    NoiseLevel,
    Convolution(Box<Convolution>),
    /// One gather per input, and the way back.
    Linear(Vec<Linear>),
}

/// A convolution with its weights.
pub(super) struct Convolution {
    pub(super) activation: Activation,
    pub(super) tensors: ConvTensors,
    pub(super) forward: Pass,
    pub(super) backward: Option<Pass>,
    /// In place of `backward`, for the convolution that reads the picture.
    pub(super) picture: Option<PictureGradient>,
    pub(super) correlation: Option<CorrelationPlan>,
    /// Biases, padded.
    pub(super) bias: Buffer,
    /// What the gradient of standardised weights is made of; absent where none is taken.
    pub(super) standardised: Option<Standardised>,
    /// Gradient of standardised weights as they act, `taps, in, out` (holds these weights during `load`; empty
    /// if there are none), and of the bias.
    pub(super) d_acting: Buffer,
    pub(super) d_bias: Vec<f32>,
    /// Kernel places.
    pub(super) taps: usize,
    /// Padded channels of the input's gradient.
    pub(super) input_width: usize,
}

/// One input of a layer without parameters.
pub(super) struct Linear {
    /// `None` where the input is written in place.
    pub(super) forward: Option<Gather>,
    pub(super) backward: Gather,
    /// Whether the forward gather adds to what earlier inputs wrote.
    pub(super) accumulate: bool,
}

/// Plans every node and allocates its buffers.
pub(super) fn nodes(
    network: &Network,
    batch: usize,
    (height, width): (usize, usize),
    kernels: &Kernels,
    options: ExecutorOptions,
) -> Result<Vec<Node>, NetworkError> {
    let sizes = network.sizes(height, width)?;
    let entry = Entry::find(network);
    let blocked = entry.as_ref().filter(|e| e.in_blocks(network, kernels.lanes, (height, width)));
    let layouts = layouts(network, &sizes, kernels.lanes, blocked.is_some());
    let fits = |l: &Layout| l.image.checked_mul(batch).is_some_and(|len| len <= MAX_BUFFER);
    let refusal = |what| NetworkError::Batch { batch, height, width, what };
    if batch == 0 {
        return Err(refusal("no buffers"));
    }
    if !layouts.iter().all(|(value, gradient)| fits(value) && fits(gradient)) {
        return Err(refusal("a buffer of more than 2³¹ values"));
    }
    let tensors = network.conv_tensors();
    let (on_image, on_parameters) = (network.depends_on_image(), network.depends_on_parameters());
    let plan = |(index, node): (usize, &crate::layer::Node)| {
        let (layout, gradient_layout) = layouts[index];
        let step = match &node.layer {
            Layer::Image { .. } => Step::Image,
            Layer::Coordinates => Step::Coordinates,
            Layer::NoiseLevel => Step::NoiseLevel,
            Layer::Conv { kernel, stride, activation, standardise, .. } => {
                let (input, input_gradient) = layouts[node.inputs[0]];
                let (taps, depth, out) = (kernel * kernel, input.channels, layout.channels);
                let weights = taps * depth * out;
                let gradient = options.purpose >= Purpose::InputGradient;
                let blocked = blocked.filter(|e| e.convolution == index);
                let backward = gradient && blocked.is_none();
                let correlation = options.purpose >= Purpose::ParameterGradient;
                let (form, changing) = ((*kernel, *stride), correlation.then_some(batch));
                Step::Convolution(Box::new(Convolution {
                    activation: *activation,
                    tensors: tensors[index].expect("a convolution has tensors"),
                    forward: Pass::forward(kernels, form, &input, &layout, changing),
                    backward: backward
                        .then(|| Pass::backward(kernels, form, &gradient_layout, &input_gradient, changing)),
                    correlation: correlation
                        .then(|| CorrelationPlan::new(kernels, batch, form, &input, &layout)),
                    picture: blocked.filter(|_| gradient).map(|entry| {
                        let to = &layouts[0].1;
                        PictureGradient::new(kernels, form, &gradient_layout, to, entry.picture(), depth)
                    }),
                    bias: Buffer::zeros(layout.stride),
                    standardised: (*standardise && correlation).then(|| Standardised::zeros(weights, out)),
                    d_acting: Buffer::zeros(if *standardise { weights } else { 0 }),
                    d_bias: vec![0.0; out],
                    taps,
                    input_width: input_gradient.stride,
                }))
            }
            _ if is_folded(network, index) => Step::Linear(Vec::new()),
            layer => {
                let in_place = entry.as_ref().is_some_and(|e| e.join == Some(index));
                Step::Linear(linear(layer, &sources(network, index), index, &layouts, in_place))
            }
        };
        let folded = is_folded(network, index);
        let on_image = on_image[index];
        let joined = entry
            .as_ref()
            .and_then(|e| Some((e.join?, e.channels.iter().find(|(input, _)| *input == index)?.1)));
        let bypassed = blocked.is_some_and(|e| index == 0 || e.join == Some(index));
        let holds =
            Holds { value: joined.is_none() && !folded, gradient: (index == 0 || !bypassed) && !folded };
        let buffers = buffers(&step, batch, (&layout, &gradient_layout), holds, on_image, options.purpose);
        Node {
            inputs: if folded { Vec::new() } else { sources(network, index).iter().map(|s| s.0).collect() },
            step,
            layout,
            gradient_layout,
            buffers,
            on_image,
            on_parameters: on_parameters[index],
            home: joined.unwrap_or((index, 0)),
            bypassed,
        }
    };
    Ok(network.nodes().iter().enumerate().map(plan).collect())
}

/// Whether a change of size is left to the concatenation that alone reads it.
fn is_folded(network: &Network, index: usize) -> bool {
    let nodes = network.nodes();
    matches!(nodes[index].layer, Layer::Upsample | Layer::AveragePool)
        && only_reader(nodes, index).is_some_and(|(_, reader)| reader.layer == Layer::Concat)
}

/// The nodes that a node reads, with the layer that says how: its own, or that of a folded node in between.
fn sources(network: &Network, index: usize) -> Vec<(usize, &Layer)> {
    let (nodes, node) = (network.nodes(), &network.nodes()[index]);
    let source = |&input: &usize| match is_folded(network, input) {
        true => (nodes[input].inputs[0], &nodes[input].layer),
        false => (input, &node.layer),
    };
    node.inputs.iter().map(source).collect()
}

/// Layout of each node's value and of its gradient. Both are padded to whole vectors, except arrays of a few
/// channels that no convolution writes, so that a colour picture is not blown up: values of layers without
/// parameters, and gradients of what only such layers read, or, where it is `blocked`, of the picture.
fn layouts(
    network: &Network,
    sizes: &[(usize, usize)],
    lanes: usize,
    blocked: bool,
) -> Vec<(Layout, Layout)> {
    let layout = |(index, node): (usize, &crate::layer::Node)| {
        let channels = network.channels()[index];
        let padded = channels.next_multiple_of(lanes);
        let written_whole = matches!(node.layer, Layer::Conv { .. }) || channels >= lanes;
        let stride = if written_whole { padded } else { channels };
        // Four outputs of a 4×4 convolution of stride 2 reach over eight pixels.
        let reads =
            |n: &crate::layer::Node| matches!(n.layer, Layer::Conv { kernel: 4, .. }) && n.inputs[0] == index;
        let multiple = if network.nodes().iter().any(reads) { 2 * STEP } else { STEP };
        let convolves =
            |n: &crate::layer::Node| matches!(n.layer, Layer::Conv { .. }) && n.inputs[0] == index;
        let apart = blocked && index == 0;
        let gradient = if network.nodes().iter().any(convolves) && !apart { padded } else { stride };
        let layout = |stride| Layout::new(sizes[index], channels, stride, multiple);
        let gradient = if apart { layout(gradient).with_room() } else { layout(gradient) };
        (layout(stride), gradient)
    };
    network.nodes().iter().enumerate().map(layout).collect()
}

/// Whether a node has arrays of its own for its value and tangent, and for its gradient.
struct Holds {
    value: bool,
    gradient: bool,
}

fn buffers(
    step: &Step,
    batch: usize,
    (layout, gradient_layout): (&Layout, &Layout),
    holds: Holds,
    on_image: bool,
    purpose: Purpose,
) -> Buffers {
    let bent = match step {
        Step::Convolution(c) => c.activation != Activation::Identity,
        _ => false,
    };
    let smooth = match step {
        Step::Convolution(c) => c.activation == Activation::Silu && on_image,
        _ => false,
    };
    let first = purpose >= Purpose::InputGradient;
    let second = purpose >= Purpose::SecondOrder;
    let buffer = |needed: bool, layout: &Layout| Buffer::zeros(if needed { batch * layout.image } else { 0 });
    Buffers {
        value: buffer(holds.value, layout),
        slope: buffer(bent && first, layout),
        curvature: buffer(smooth && second, layout),
        bend: buffer(smooth && second, layout),
        gradient: buffer(first && holds.gradient, gradient_layout),
        tangent: buffer(second && holds.value, layout),
    }
}

/// One gather for each source of a layer without parameters.
fn linear(
    layer: &Layer,
    sources: &[(usize, &Layer)],
    index: usize,
    layouts: &[(Layout, Layout)],
    in_place: bool,
) -> Vec<Linear> {
    let (value, gradient) = layouts[index];
    let mut first = 0;
    let mut gathers = Vec::new();
    for (slot, &(source, how)) in sources.iter().enumerate() {
        let (from, from_gradient) = layouts[source];
        let (there, back, factor) = match how {
            Layer::Upsample => (Mapping::Half, Mapping::Double, 1.0),
            Layer::AveragePool => (Mapping::Double, Mapping::Half, 0.25),
            _ => (Mapping::Same, Mapping::Same, 1.0),
        };
        let mut forward = gather(there, factor, &from, 0, &value, first);
        let mut backward = gather(back, factor, &gradient, first, &from_gradient, 0);
        if *layer == Layer::Concat {
            forward.channels = from.channels;
            backward.channels = from.channels;
            first += from.channels;
        }
        backward.padding = from_gradient.stride - backward.channels;
        let forward = (!in_place).then_some(forward);
        gathers.push(Linear { forward, backward, accumulate: *layer == Layer::Add && slot > 0 });
    }
    gathers
}

/// All channels of `from`, starting at `from_channel`, to `to`, starting at `to_channel`.
fn gather(
    mapping: Mapping,
    factor: f32,
    from: &Layout,
    from_channel: usize,
    to: &Layout,
    to_channel: usize,
) -> Gather {
    Gather {
        mapping,
        factor,
        input: from.at(0, 0) + from_channel,
        input_row: from.row,
        input_col: from.stride,
        output: to.at(0, 0) + to_channel,
        output_row: to.row,
        output_col: to.stride,
        rows: to.height,
        cols: to.width,
        channels: from.stride.min(to.stride),
        padding: 0,
    }
}
