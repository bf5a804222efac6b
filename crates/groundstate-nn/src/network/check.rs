//! The rules a list of nodes must keep, whatever the picture's size.

use super::{MAX_CHANNELS, MAX_STRIDE_LOG2, NetworkError};
use crate::layer::{Layer, Node};

/// Channels and log₂ stride of each node.
pub(super) fn check(nodes: &[Node]) -> Result<(Vec<usize>, Vec<u32>), NetworkError> {
    if nodes.is_empty() {
        return Err(NetworkError::Empty);
    }
    let mut channels = Vec::with_capacity(nodes.len());
    let mut strides = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        check_inputs(nodes, index)?;
        let layer = node.layer.name();
        let found = match &node.layer {
            Layer::Image { channels } => *channels,
            Layer::Coordinates => 2,
            Layer::NoiseLevel => 1,
            Layer::Conv { out_channels, .. } => *out_channels,
            Layer::Upsample | Layer::AveragePool => channels[node.inputs[0]],
            Layer::Concat => node.inputs.iter().map(|&i| channels[i]).sum(),
            Layer::Add => add_channels(index, &node.inputs, &channels)?,
        };
        if !(1..=MAX_CHANNELS).contains(&found) {
            return Err(NetworkError::Channels { node: index, layer, found });
        }
        channels.push(found);
        strides.push(stride(index, node, &strides)?);
    }
    for (index, node) in nodes[..nodes.len() - 1].iter().enumerate() {
        if !nodes[index + 1..].iter().any(|later| later.inputs.contains(&index)) {
            return Err(NetworkError::Unused { node: index, layer: node.layer.name() });
        }
    }
    Ok((channels, strides))
}

fn check_inputs(nodes: &[Node], index: usize) -> Result<(), NetworkError> {
    let node = &nodes[index];
    let layer = node.layer.name();
    if matches!(node.layer, Layer::Image { .. }) != (index == 0) {
        return Err(NetworkError::ImagePlace { node: index, found: layer });
    }
    if let Some(&input) = node.inputs.iter().find(|&&input| input >= index) {
        return Err(NetworkError::InputOrder { node: index, layer, input });
    }
    let found = node.inputs.len();
    let (fits, expected) = match &node.layer {
        Layer::Image { .. } | Layer::Coordinates | Layer::NoiseLevel => (found == 0, "none"),
        Layer::Conv { .. } | Layer::Upsample | Layer::AveragePool => (found == 1, "1"),
        Layer::Concat => (found >= 1, "at least 1"),
        Layer::Add => (found >= 2, "at least 2"),
    };
    if !fits {
        return Err(NetworkError::InputCount { node: index, layer, found, expected });
    }
    let given = matches!(node.layer, Layer::Coordinates | Layer::NoiseLevel);
    if given && nodes[..index].iter().any(|n| n.layer == node.layer) {
        return Err(NetworkError::Repeated { node: index, layer });
    }
    if let Layer::Conv { kernel, stride, .. } = node.layer
        && !matches!((kernel, stride), (1, 1) | (3, 1) | (3, 2) | (4, 2))
    {
        return Err(NetworkError::Kernel { node: index, kernel, stride });
    }
    Ok(())
}

fn add_channels(node: usize, inputs: &[usize], channels: &[usize]) -> Result<usize, NetworkError> {
    let a = inputs[0];
    match inputs.iter().find(|&&b| channels[b] != channels[a]) {
        Some(&b) => Err(NetworkError::AddChannels { node, a, first: channels[a], b, second: channels[b] }),
        None => Ok(channels[a]),
    }
}

fn stride(index: usize, node: &Node, strides: &[u32]) -> Result<u32, NetworkError> {
    let layer = node.layer.name();
    let Some(&a) = node.inputs.first() else { return Ok(0) };
    if let Some(&b) = node.inputs.iter().find(|&&b| strides[b] != strides[a]) {
        return Err(NetworkError::Resolution {
            node: index,
            layer,
            a,
            first: 1 << strides[a],
            b,
            second: 1 << strides[b],
        });
    }
    let stride = match node.layer {
        Layer::Conv { stride: 2, .. } | Layer::AveragePool => Some(strides[a] + 1),
        Layer::Upsample => strides[a].checked_sub(1),
        _ => Some(strides[a]),
    };
    stride.filter(|&s| s <= MAX_STRIDE_LOG2).ok_or(NetworkError::StrideRange { node: index, layer })
}
