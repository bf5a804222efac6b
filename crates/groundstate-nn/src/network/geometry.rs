//! Sizes, receptive field and cost of a network.

use super::{MAX_SIDE, Network, NetworkError};
use crate::layer::{Layer, padding};

impl Network {
    /// Height and width of the energy map of a `height`×`width` picture.
    ///
    /// # Errors
    /// When the picture is too small or too large, or when its size makes two paths of the network meet
    /// with different sizes; multiples of [`Network::size_multiple`] are always fine.
    pub fn output_size(&self, height: usize, width: usize) -> Result<(usize, usize), NetworkError> {
        Ok(*self.sizes(height, width)?.last().expect("a network has a last node"))
    }

    /// Height and width of each node's output.
    ///
    /// # Errors
    /// As [`Network::output_size`].
    pub fn sizes(&self, height: usize, width: usize) -> Result<Vec<(usize, usize)>, NetworkError> {
        let mut sizes: Vec<(usize, usize)> = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let layer = node.layer.name();
            let input = node.inputs.first().map_or((height, width), |&i| sizes[i]);
            for &other in &node.inputs {
                if sizes[other] != input {
                    return Err(NetworkError::SizeMismatch {
                        height,
                        width,
                        node: index,
                        layer,
                        first_height: input.0,
                        first_width: input.1,
                        second_height: sizes[other].0,
                        second_width: sizes[other].1,
                        multiple: self.size_multiple(),
                    });
                }
            }
            let side = |s: usize| match node.layer {
                Layer::Conv { kernel: 3, stride: 2, .. } => s.div_ceil(2),
                Layer::Conv { stride: 2, .. } | Layer::AveragePool => s / 2,
                Layer::Upsample => 2 * s,
                _ => s,
            };
            let (h, w) = (side(input.0), side(input.1));
            if !(1..=MAX_SIDE).contains(&h) || !(1..=MAX_SIDE).contains(&w) {
                return Err(NetworkError::Size {
                    height,
                    width,
                    node: index,
                    layer,
                    found_height: h,
                    found_width: w,
                });
            }
            sizes.push((h, w));
        }
        Ok(sizes)
    }

    /// Side, in pixels, of the largest square of the picture that one local energy depends on.
    pub fn receptive_field(&self) -> usize {
        // Cells of the energy map differ in how they sit on the coarser maps; one period covers all cases.
        let period = (self.size_multiple() / self.total_stride()) as i64;
        (0..period).map(|cell| self.field_of(cell)).max().unwrap_or(0)
    }

    /// Rows of the picture that row `cell` of the energy map depends on, borders ignored.
    fn field_of(&self, cell: i64) -> usize {
        let mut needs: Vec<Option<(i64, i64)>> = vec![None; self.nodes.len()];
        needs[self.nodes.len() - 1] = Some((cell, cell));
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let Some((low, high)) = needs[index] else { continue };
            let (low, high) = match node.layer {
                Layer::Conv { kernel, stride, .. } => {
                    let (k, s, p) = (kernel as i64, stride as i64, padding(kernel) as i64);
                    (low * s - p, high * s - p + k - 1)
                }
                Layer::Upsample => (low.div_euclid(2), high.div_euclid(2)),
                Layer::AveragePool => (2 * low, 2 * high + 1),
                _ => (low, high),
            };
            for &input in &node.inputs {
                let seen = needs[input].unwrap_or((low, high));
                needs[input] = Some((seen.0.min(low), seen.1.max(high)));
            }
        }
        needs[0].map_or(0, |(low, high)| (high - low + 1) as usize)
    }

    /// Multiply-adds of the convolutions in one forward pass over one picture, counted directly (no
    /// Winograd saving). The input gradient costs about as much again, and so does the parameter gradient.
    ///
    /// # Errors
    /// As [`Network::output_size`].
    pub fn multiply_adds(&self, height: usize, width: usize) -> Result<u64, NetworkError> {
        let sizes = self.sizes(height, width)?;
        let cost = |(index, node): (usize, &crate::layer::Node)| match node.layer {
            Layer::Conv { kernel, .. } => {
                let (h, w) = sizes[index];
                (h * w * kernel * kernel * self.channels[index] * self.channels[node.inputs[0]]) as u64
            }
            _ => 0,
        };
        Ok(self.nodes.iter().enumerate().map(cost).sum())
    }
}
