//! The way in and out of a network: the first convolution reads the picture where it is written, and its input
//! gradient is computed for the picture's channels only.
//!
//! A picture has so few channels that those of 2×2 pixels fit one or two vectors. Their gradient reads one window
//! of the convolution's outputs; places that a pixel does not reach have weights of zero. With stride 2, blocks that
//! begin a pixel before the picture have none of these: all of their pixels reach the same outputs. Two steps fall
//! away: the gradient of coordinates, and vectors that are mostly padding.

use super::convolution::Pass;
use super::layout::Layout;
use crate::buffer::Buffer;
use crate::kernels::Kernels;
use crate::kernels::direct::Direct;
use crate::kernels::winograd::WeightRows;
use crate::layer::{Layer, Node, padding};
use crate::network::Network;

/// Side of the block of pixels that is computed at once.
const BLOCK: usize = 2;

/// The only convolution that reads the picture, and what lies between.
pub(super) struct Entry {
    /// A concatenation of the picture with coordinates or noise levels, none of which is read elsewhere.
    pub(super) join: Option<usize>,
    pub(super) convolution: usize,
    /// First channel of each input of the join, or of the picture.
    pub(super) channels: Vec<(usize, usize)>,
}

impl Entry {
    /// The entry, unless the picture goes several ways or another.
    pub(super) fn find(network: &Network) -> Option<Entry> {
        let nodes = network.nodes();
        let (reader, node) = only_reader(nodes, 0)?;
        match &node.layer {
            Layer::Conv { .. } => Some(Entry { join: None, convolution: reader, channels: vec![(0, 0)] }),
            Layer::Concat => {
                let given = |i: &usize| nodes[*i].inputs.is_empty() && only_reader(nodes, *i).is_some();
                let (convolution, after) = only_reader(nodes, reader)?;
                if !node.inputs.iter().all(given) || !matches!(after.layer, Layer::Conv { .. }) {
                    return None;
                }
                let mut first = 0;
                let mut channels = Vec::new();
                for &input in &node.inputs {
                    channels.push((input, first));
                    first += network.channels()[input];
                }
                Some(Entry { join: Some(reader), convolution, channels })
            }
            _ => None,
        }
    }

    /// First channel of the picture among those that the convolution reads.
    pub(super) fn picture(&self) -> usize {
        self.channels.iter().find(|c| c.0 == 0).map_or(0, |c| c.1)
    }

    /// Whether the gradient of a picture of this size is computed in blocks.
    pub(super) fn in_blocks(&self, network: &Network, lanes: usize, (h, w): (usize, usize)) -> bool {
        let kernels = match network.nodes()[self.convolution].layer {
            Layer::Conv { kernel, stride, .. } => matches!((kernel, stride), (3, 1) | (4, 2)),
            _ => false,
        };
        let fits = BLOCK * BLOCK * network.input_channels() <= 2 * lanes;
        kernels && fits && h.is_multiple_of(BLOCK) && w.is_multiple_of(BLOCK)
    }
}

/// The node that reads node `index`, if there is exactly one and it does so once.
pub(super) fn only_reader(nodes: &[Node], index: usize) -> Option<(usize, &Node)> {
    let mut readers = nodes.iter().enumerate().flat_map(|(i, node)| {
        node.inputs.iter().filter(move |&&input| input == index).map(move |_| (i, node))
    });
    let reader = readers.next()?;
    readers.next().is_none().then_some(reader)
}

/// The first convolution's input gradient, in blocks.
pub(super) struct PictureGradient {
    pub(super) pass: Pass,
    /// Weights during `load`: `window, window, out, padded values of a block`.
    weights: Buffer,
    /// Values of a block, padded.
    width: usize,
    kernel: usize,
    stride: usize,
    window: Window,
    /// First channel of the picture, channels of it, and channels that the convolution reads.
    first: usize,
    channels: usize,
    depth: usize,
    out: usize,
}

/// The blocks along one side, and the outputs that their pixels reach.
#[derive(Clone, Copy)]
struct Window {
    /// First pixel of block 0.
    start: isize,
    /// First output of a block, counted from its number times `step`.
    first: isize,
    length: usize,
    step: usize,
}

impl Window {
    /// Pixel r meets output o with kernel row r + pad − stride · o.
    fn new(kernel: usize, stride: usize) -> Window {
        let (kernel, pad) = (kernel as isize, padding(kernel) as isize);
        let start = if stride == BLOCK { -pad } else { 0 };
        let output = |pixel: isize| (pixel + pad).div_euclid(stride as isize);
        let first = output(start - kernel) + 1;
        let last = output(start + BLOCK as isize - 1);
        Window { start, first, length: (last - first + 1) as usize, step: BLOCK / stride }
    }

    /// Blocks that cover so many pixels.
    fn blocks(self, pixels: usize) -> usize {
        pixels.saturating_add_signed(-self.start).div_ceil(BLOCK)
    }
}

impl PictureGradient {
    /// From `output`, the layout of the convolution's gradient, to `picture`; `first` and `depth` as the fields.
    pub(super) fn new(
        kernels: &Kernels,
        (kernel, stride): (usize, usize),
        output: &Layout,
        picture: &Layout,
        first: usize,
        depth: usize,
    ) -> PictureGradient {
        let window = Window::new(kernel, stride);
        let vectors = (BLOCK * BLOCK * picture.channels).div_ceil(kernels.lanes);
        let width = vectors * kernels.lanes;
        let geometry = Direct {
            input: output.at(window.first, window.first),
            input_row: window.step * output.row,
            input_col: window.step * output.stride,
            output: picture.at(window.start, window.start),
            output_row: BLOCK * picture.row,
            output_col: BLOCK * picture.stride,
            rows: window.blocks(picture.height),
            cols: window.blocks(picture.width),
            run_len: window.length * output.stride,
            runs: window.length,
            run_stride: output.row,
            vectors,
        };
        let places = window.length * window.length;
        PictureGradient {
            pass: Pass::direct(kernels, vec![(geometry, (0..places).collect())]),
            weights: Buffer::zeros(places * output.channels * width),
            width,
            kernel,
            stride,
            window,
            first,
            channels: picture.channels,
            depth,
            out: output.channels,
        }
    }

    /// Takes the acting weights, `taps, in, out`.
    ///
    /// # Safety
    /// No other thread touches these weights.
    pub(super) unsafe fn load(&self, kernels: &Kernels, acting: &[f32]) {
        let Self { width, kernel, stride, window, first, channels, depth, out, .. } = *self;
        // The kernel's row (or column) that leads from pixel `a` of a block to place `place` of the window.
        let tap = |a: usize, place: usize| {
            let output = window.first + place as isize;
            let tap = window.start + (a + padding(kernel)) as isize - stride as isize * output;
            usize::try_from(tap).ok().filter(|&tap| tap < kernel)
        };
        for place in 0..window.length * window.length {
            let (y, x) = (place / window.length, place % window.length);
            for (a, b) in (0..BLOCK).flat_map(|a| (0..BLOCK).map(move |b| (a, b))) {
                let (Some(down), Some(across)) = (tap(a, y), tap(b, x)) else { continue };
                for channel in 0..channels {
                    let from = &acting[((down * kernel + across) * depth + first + channel) * out..][..out];
                    let at = (a * BLOCK + b) * channels + channel;
                    for (o, &weight) in from.iter().enumerate() {
                        // SAFETY: the caller's contract; the place is within the weights.
                        unsafe { *self.weights.ptr().add((place * out + o) * width + at) = weight }
                    }
                }
            }
        }
        let rows = WeightRows { weights: self.weights.ptr(), place: out * width, channels: 0..out };
        // SAFETY: the rows are all there, and the caller's contract.
        unsafe { self.pass.pack(kernels, &rows) }
    }

    /// Values allocated.
    pub(super) fn len(&self) -> usize {
        self.pass.weights.len() + self.weights.len()
    }
}
