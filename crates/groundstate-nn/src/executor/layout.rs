//! Where pixels lie in a buffer.

/// One node's maps: `image, row, column, channel`, with a border of zeros.
///
/// The border is one pixel on every side, plus what fills the last Winograd tiles below and to the right:
/// sides are rounded up to `multiple`.
/// Channels are padded with zeros to `stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Values from pixel to pixel.
    pub(super) stride: usize,
    /// Values from row to row.
    pub(super) row: usize,
    /// Values from image to image.
    pub(super) image: usize,
}

impl Layout {
    pub(super) fn new(
        (height, width): (usize, usize),
        channels: usize,
        stride: usize,
        multiple: usize,
    ) -> Layout {
        let row = (width.next_multiple_of(multiple) + 2) * stride;
        let image = (height.next_multiple_of(multiple) + 2) * row;
        Layout { height, width, channels, stride, row, image }
    }

    /// The same with a pixel more behind each row, which blocks that reach over the border may spoil.
    pub(super) fn with_room(self) -> Layout {
        let rows = self.image / self.row;
        let row = self.row + self.stride;
        Layout { row, image: rows * row, ..self }
    }

    /// Offset of a pixel, from one before the image to one behind it.
    pub(super) fn at(&self, y: isize, x: isize) -> usize {
        debug_assert!(y >= -1 && x >= -1);
        (y + 1) as usize * self.row + (x + 1) as usize * self.stride
    }
}
