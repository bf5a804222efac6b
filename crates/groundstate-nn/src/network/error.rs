//! What can be wrong with a list of layers or with a picture size.

use thiserror::Error;

/// Why a list of nodes is no network, or why a picture does not fit one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The list has no node.
    #[error("the network has no nodes; expected an image node first")]
    Empty,
    /// Node 0 must be the image, and no other may be.
    #[error("node {node} is a {found} layer; the image must be node 0, and only node 0")]
    ImagePlace {
        /// The offending node.
        node: usize,
        /// Its layer.
        found: &'static str,
    },
    /// A node reads itself, a later node or one that does not exist.
    #[error("node {node} ({layer}) reads node {input}; inputs must be earlier nodes")]
    InputOrder {
        /// The offending node.
        node: usize,
        /// Its layer.
        layer: &'static str,
        /// The index it reads.
        input: usize,
    },
    /// Wrong number of inputs.
    #[error("node {node} ({layer}) has {found} inputs, expected {expected}")]
    InputCount {
        /// The offending node.
        node: usize,
        /// Its layer.
        layer: &'static str,
        /// Inputs listed.
        found: usize,
        /// Inputs needed, in words.
        expected: &'static str,
    },
    /// A channel count of zero or beyond [`super::MAX_CHANNELS`].
    #[error("node {node} ({layer}) has {found} channels, expected 1 to {max}", max = super::MAX_CHANNELS)]
    Channels {
        /// The offending node.
        node: usize,
        /// Its layer.
        layer: &'static str,
        /// Channels found.
        found: usize,
    },
    /// A kernel and stride that no kernel is written for.
    #[error(
        "node {node}: a {kernel}×{kernel} convolution of stride {stride} does not exist here; expected 1×1 \
         stride 1, 3×3 stride 1 or 2, or 4×4 stride 2"
    )]
    Kernel {
        /// The offending node.
        node: usize,
        /// Its kernel side.
        kernel: usize,
        /// Its stride.
        stride: usize,
    },
    /// Inputs that must agree in channels do not.
    #[error("node {node} (add) adds {first} channels of node {a} to {second} channels of node {b}")]
    AddChannels {
        /// The offending node.
        node: usize,
        /// First input.
        a: usize,
        /// Its channels.
        first: usize,
        /// The input that differs.
        b: usize,
        /// Its channels.
        second: usize,
    },
    /// Inputs that must agree in resolution do not.
    #[error(
        "node {node} ({layer}) joins node {a} at 1/{first} of the picture's resolution and node {b} at 1/{second}"
    )]
    Resolution {
        /// The offending node.
        node: usize,
        /// Its layer.
        layer: &'static str,
        /// First input.
        a: usize,
        /// Its stride.
        first: usize,
        /// The input that differs.
        b: usize,
        /// Its stride.
        second: usize,
    },
    /// Enlarging beyond the picture's own resolution, or shrinking beyond reason.
    #[error("node {node} ({layer}) leaves the range of resolutions: 1 to 1/{max} of the picture", max = 1 << super::MAX_STRIDE_LOG2)]
    StrideRange {
        /// The offending node.
        node: usize,
        /// Its layer.
        layer: &'static str,
    },
    /// A node that nothing reads and that is not the last.
    #[error("node {node} ({layer}) is read by no other node and is not the last")]
    Unused {
        /// The offending node.
        node: usize,
        /// Its layer.
        layer: &'static str,
    },
    /// More than one coordinates or noise-level node.
    #[error("node {node} is a second {layer} layer; one is enough")]
    Repeated {
        /// The offending node.
        node: usize,
        /// Its layer.
        layer: &'static str,
    },
    /// A picture too small for the network, or of zero size or beyond [`super::MAX_SIDE`].
    #[error(
        "a picture of height {height} and width {width} does not fit: node {node} ({layer}) would be {found_height}×{found_width}; \
         expected sides between 1 and {max}", max = super::MAX_SIDE
    )]
    Size {
        /// Picture height.
        height: usize,
        /// Picture width.
        width: usize,
        /// First node without a size.
        node: usize,
        /// Its layer.
        layer: &'static str,
        /// Height it would have.
        found_height: usize,
        /// Width it would have.
        found_width: usize,
    },
    /// Paths of different rounding meet at this picture size.
    #[error(
        "a picture of height {height} and width {width} does not fit: node {node} ({layer}) would join maps of \
         {first_height}×{first_width} and {second_height}×{second_width}; multiples of {multiple} always fit"
    )]
    SizeMismatch {
        /// Picture height.
        height: usize,
        /// Picture width.
        width: usize,
        /// Node at which the paths meet.
        node: usize,
        /// Its layer.
        layer: &'static str,
        /// Height of the first input.
        first_height: usize,
        /// Width of the first input.
        first_width: usize,
        /// Height of the input that differs.
        second_height: usize,
        /// Width of the input that differs.
        second_width: usize,
        /// See [`super::Network::size_multiple`].
        multiple: usize,
    },
    /// No room for zero images, or a buffer beyond the address range.
    #[error(
        "a batch of {batch} images of {height}×{width} needs {what}; expected at least one image and buffers below 2³¹ values"
    )]
    Batch {
        /// Images asked for.
        batch: usize,
        /// Picture height.
        height: usize,
        /// Picture width.
        width: usize,
        /// What it would need.
        what: &'static str,
    },
    /// A kernel backend that this machine cannot run.
    #[error("this processor cannot run the {0} kernels")]
    Backend(&'static str),
}
