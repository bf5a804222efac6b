//! A network: a checked list of nodes, and what can be said about it without running it.

mod check;
mod error;
mod geometry;

pub use error::NetworkError;

use serde::{Deserialize, Serialize};

use crate::layer::{Layer, Node};

/// Most channels a node may have.
pub const MAX_CHANNELS: usize = 4096;
/// Longest side of a picture, in pixels.
pub const MAX_SIDE: usize = 16_384;
/// log₂ of the coarsest resolution.
const MAX_STRIDE_LOG2: u32 = 8;

/// Layers in the order of computation, each naming earlier ones as its inputs.
///
/// Node 0 is the picture; the last node is the map of local energies, if it has one channel, or of features. Every node leads
/// to the last one. A `Network` that exists has passed every check that does not depend on the picture's
/// size, also when it was deserialised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Node>", into = "Vec<Node>")]
pub struct Network {
    nodes: Vec<Node>,
    channels: Vec<usize>,
    stride_log2: Vec<u32>,
}

impl TryFrom<Vec<Node>> for Network {
    type Error = NetworkError;
    fn try_from(nodes: Vec<Node>) -> Result<Self, NetworkError> {
        Network::new(nodes)
    }
}

impl From<Network> for Vec<Node> {
    fn from(network: Network) -> Self {
        network.nodes
    }
}

impl Network {
    /// Checks the list.
    ///
    /// # Errors
    /// Names the first node that breaks a rule of [`Layer`], and the rule.
    pub fn new(nodes: Vec<Node>) -> Result<Network, NetworkError> {
        let (channels, stride_log2) = check::check(&nodes)?;
        Ok(Network { nodes, channels, stride_log2 })
    }

    /// The nodes, in order of computation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Channels of each node's output.
    pub fn channels(&self) -> &[usize] {
        &self.channels
    }

    /// Channels of the picture.
    pub fn input_channels(&self) -> usize {
        self.channels[0]
    }

    /// Channels of the map that is computed; 1 for energies.
    pub fn output_channels(&self) -> usize {
        *self.channels.last().expect("a network has a last node")
    }

    /// Pixels of the picture per cell of a node's output, along each side.
    pub fn stride(&self, node: usize) -> usize {
        1 << self.stride_log2[node]
    }

    /// Whether `forward` needs a noise level for each image.
    pub fn takes_noise_level(&self) -> bool {
        self.nodes.iter().any(|n| n.layer == Layer::NoiseLevel)
    }

    /// Pixels of the picture per cell of the energy map, along each side.
    pub fn total_stride(&self) -> usize {
        1 << self.stride_log2.last().expect("a network has a last node")
    }

    /// Pictures whose sides are multiples of this fit, and their energy map covers them exactly.
    pub fn size_multiple(&self) -> usize {
        1 << self.stride_log2.iter().max().expect("a network has nodes")
    }

    /// Whether each node's value depends on the picture.
    pub(crate) fn depends_on_image(&self) -> Vec<bool> {
        self.reaches(|layer| matches!(layer, Layer::Image { .. }))
    }

    /// Whether each node's value depends on parameters.
    pub(crate) fn depends_on_parameters(&self) -> Vec<bool> {
        self.reaches(|layer| matches!(layer, Layer::Conv { .. }))
    }

    fn reaches(&self, source: impl Fn(&Layer) -> bool) -> Vec<bool> {
        let mut reached: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            reached.push(source(&node.layer) || node.inputs.iter().any(|&i| reached[i]));
        }
        reached
    }
}
