//! From an image of any size to the network's square input, and maps the way back.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{F32, F32x3, InnerPixel};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

use super::resample::{Rectangle, bilinear};
use super::{Image, ImageError, Map, Tone, white};

/// Cells an edge of a region of interest of images that keep their size, whose tiles say nothing about it.
const TILED_ROI_EDGE: usize = 1024;

/// How an image of any size is brought to what the network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Each axis is scaled on its own: nothing is added, shapes are distorted.
    #[default]
    Stretch,
    /// The aspect ratio is kept; the image is centred and its border pixels are repeated outwards.
    Pad,
    /// Nothing is scaled: the image keeps its own size and is worked through in square tiles.
    Tile,
}

/// Which channels the network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Three channels; those of a grey image are equal.
    #[default]
    Rgb,
    /// One channel, luma by the weights .299, .587, .114 (ITU-R BT.601).
    Grey,
}

/// The policy that turns an image into a network input. It belongs to the model: an image prepared
/// otherwise than the training images were gets another energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocessing {
    /// Edge of the square input, or of a tile, in pixels, [`Preprocessing::MIN_SIZE`] to [`Preprocessing::MAX_SIZE`].
    pub size: usize,
    /// How the image is fitted into the square, or cut into squares.
    pub fit: Fit,
    /// Channels of the input.
    pub colour: Colour,
    /// What counts as white, as a number of 16 bits, 1 to 65535: brighter values are cut off.
    pub white_level: u16,
    /// What is made of each value once pose and light are taken out, by
    /// [`Nuisance`](super::Nuisance) or as a tile is cut.
    pub tone: Tone,
}

impl Default for Preprocessing {
    fn default() -> Self {
        let (fit, colour, tone) = (Fit::Stretch, Colour::Rgb, Tone::Linear);
        Self { size: 256, fit, colour, white_level: white::FULL, tone }
    }
}

impl Preprocessing {
    /// Smallest input edge in pixels.
    pub const MIN_SIZE: usize = 16;
    /// Largest input edge in pixels.
    pub const MAX_SIZE: usize = 4096;

    /// Returns the settings if they can be used.
    ///
    /// # Errors
    /// `size` is out of range, or white is black.
    pub fn check(self) -> Result<Self, ImageError> {
        if self.white_level == 0 {
            return Err(ImageError::WhiteLevel);
        }
        if !(Self::MIN_SIZE..=Self::MAX_SIZE).contains(&self.size) {
            let (min, max) = (Self::MIN_SIZE, Self::MAX_SIZE);
            return Err(ImageError::InputSize { found: self.size, min, max });
        }
        Ok(self)
    }

    /// Channels of the network input: 3 or 1.
    pub fn channels(&self) -> usize {
        match self.colour {
            Colour::Rgb => 3,
            Colour::Grey => 1,
        }
    }

    /// The image with the white level of the model: values are divided by it and cut off at 1.
    pub fn expose<'a>(&self, image: &'a Image) -> Cow<'a, Image> {
        if self.white_level == white::FULL {
            return Cow::Borrowed(image);
        }
        let gain = f32::from(white::FULL) / f32::from(self.white_level);
        Cow::Owned(Image { pixels: image.pixels.iter().map(|v| (v * gain).min(1.0)).collect(), ..*image })
    }

    /// Whether images keep their own size and are worked through in tiles.
    pub fn is_tiled(&self) -> bool {
        self.fit == Fit::Tile
    }

    /// Cells an edge of a region of interest for these images.
    pub fn roi_edge(&self) -> usize {
        if self.is_tiled() { TILED_ROI_EDGE } else { self.size }
    }

    /// A part of an image that is worked through in tiles, as the energy takes it: with [`Self::channels`] channels, without
    /// the gain of the light, and with the [`Tone`]. Outside the image its border pixels are repeated.
    pub(crate) fn window(
        &self,
        image: &Image,
        (left, top): (usize, usize),
        (width, height): (usize, usize),
        gain: f32,
    ) -> Image {
        let (channels, row_len) = (image.channels, image.width * image.channels);
        let mut pixels = Vec::with_capacity(width * height * channels);
        for y in top..top + height {
            let row = &image.pixels[y.min(image.height - 1) * row_len..][..row_len];
            let (first, end) = (left.min(image.width), (left + width).min(image.width));
            pixels.extend_from_slice(&row[first * channels..end * channels]);
            (end - first..width).for_each(|_| pixels.extend_from_slice(&row[row_len - channels..]));
        }
        let mut window = Image { width, height, channels, pixels };
        if (channels, self.colour) == (3, Colour::Grey) {
            window = to_grey(&window);
        }
        self.tone.relight(&mut window.pixels, gain);
        if (channels, self.colour) == (1, Colour::Rgb) { to_rgb(&window) } else { window }
    }

    /// Turns an image that was [exposed](Self::expose) into a network input of `size` × `size` with
    /// [`Self::channels`] channels; one that is worked through in tiles stays as it is. Pose, light and [`Tone`] are left to
    /// [`Nuisance`](super::Nuisance).
    ///
    /// Scaling is bilinear, widened to the reduction so that fine texture does not alias, and done in
    /// `f32`: what 16-bit files hold is kept.
    ///
    /// # Panics
    /// If `size` is 0 or the image's fields contradict each other.
    pub fn apply(&self, image: &Image) -> Image {
        if self.is_tiled() {
            return image.clone();
        }
        let inner = self.inner(image.width, image.height);
        // Grey conversion is linear and so is scaling: the cheaper order is fewer channels first.
        let scaled = match (image.channels, self.colour) {
            (3, Colour::Grey) => scale(&to_grey(image), inner.width, inner.height),
            _ => scale(image, inner.width, inner.height),
        };
        let placed = place(&scaled, inner, self.size);
        if (placed.channels, self.colour) == (1, Colour::Rgb) { to_rgb(&placed) } else { placed }
    }

    /// Brings a map of the network input back to the image of `width` × `height` that it came from.
    ///
    /// The map may be coarser than the input, as long as it covers the same square. This is the
    /// geometric inverse of [`Self::apply`]: padding is cut off, the rest interpolated bilinearly.
    pub fn restore(&self, map: &Map, width: usize, height: usize) -> Map {
        let inner = self.inner(width, height);
        let (across, down) = (map.width as f64 / self.size as f64, map.height as f64 / self.size as f64);
        let from = Rectangle {
            left: inner.left as f64 * across,
            top: inner.top as f64 * down,
            width: inner.width as f64 * across,
            height: inner.height as f64 * down,
        };
        bilinear(map, from, width, height)
    }

    /// Brings a map of an image that keeps its size, with `step_px` pixels a step, to that size.
    pub(crate) fn restore_grid(map: &Map, step_px: usize, width: usize, height: usize) -> Map {
        let steps = |px: usize| px as f64 / step_px as f64;
        bilinear(
            map,
            Rectangle { left: 0.0, top: 0.0, width: steps(width), height: steps(height) },
            width,
            height,
        )
    }

    /// Where in the square input an image of `width` × `height` lies.
    fn inner(&self, width: usize, height: usize) -> Inner {
        let longest = width.max(height);
        let scaled = |edge: usize| ((edge * self.size + longest / 2) / longest).clamp(1, self.size);
        let (inner_width, inner_height) = match self.fit {
            Fit::Stretch | Fit::Tile => (self.size, self.size),
            Fit::Pad => (scaled(width), scaled(height)),
        };
        Inner {
            left: (self.size - inner_width) / 2,
            top: (self.size - inner_height) / 2,
            width: inner_width,
            height: inner_height,
        }
    }
}

impl Image {
    /// The middle of the image, `edge` pixels a side or the whole where that is no larger.
    pub(crate) fn middle(&self, edge: usize) -> Self {
        let (width, height) = (self.width.min(edge), self.height.min(edge));
        let (left, top) = ((self.width - width) / 2, (self.height - height) / 2);
        let row = |y: usize| &self.pixels[(y * self.width + left) * self.channels..][..width * self.channels];
        Self {
            width,
            height,
            channels: self.channels,
            pixels: (top..top + height).flat_map(row).copied().collect(),
        }
    }

    /// Reduces the image so that its longer edge has at most `edge_px` pixels, keeping its shape.
    ///
    /// Scaling is that of [`Preprocessing::apply`]; a smaller image stays as it is.
    ///
    /// # Panics
    /// If `edge_px` is 0.
    #[must_use]
    pub fn thumbnail(&self, edge_px: usize) -> Self {
        let longest = self.width.max(self.height);
        if longest <= edge_px {
            return self.clone();
        }
        let scaled = |edge: usize| ((edge * edge_px + longest / 2) / longest).max(1);
        scale(self, scaled(self.width), scaled(self.height))
    }

    /// Mean of the channels of every pixel.
    pub(super) fn channel_means(&self) -> Vec<f32> {
        let mean = |pixel: &[f32]| pixel.iter().sum::<f32>() / self.channels as f32;
        self.pixels.chunks_exact(self.channels).map(mean).collect()
    }

    /// Mean of the channels, scaled to a square as by [`Preprocessing::apply`].
    pub(super) fn brightness(&self, edge_px: usize) -> Map {
        let grey = Self { width: self.width, height: self.height, channels: 1, pixels: self.channel_means() };
        Map { width: edge_px, height: edge_px, values: scale(&grey, edge_px, edge_px).pixels }
    }
}

/// The part of the square that shows the image, in input pixels.
#[derive(Clone, Copy)]
struct Inner {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

fn to_grey(image: &Image) -> Image {
    let luma = |p: &[f32]| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    Image { channels: 1, pixels: image.pixels.chunks_exact(3).map(luma).collect(), ..*image }
}

fn to_rgb(image: &Image) -> Image {
    Image { channels: 3, pixels: image.pixels.iter().flat_map(|&v| [v; 3]).collect(), ..*image }
}

fn scale(image: &Image, width: usize, height: usize) -> Image {
    if (width, height) == (image.width, image.height) {
        return image.clone();
    }
    let pixels = if image.channels == 3 {
        let source = image.pixels.chunks_exact(3).map(|p| F32x3::new([p[0], p[1], p[2]])).collect();
        convolve(source, image, width, height).iter().flat_map(|p| p.0).collect()
    } else {
        let source = image.pixels.iter().map(|&v| F32::new(v)).collect();
        convolve(source, image, width, height).iter().map(|p| p.0).collect::<Vec<f32>>()
    };
    // Weights sum to 1 only up to rounding.
    let pixels = pixels.into_iter().map(|v: f32| v.clamp(0.0, 1.0)).collect();
    Image { width, height, channels: image.channels, pixels }
}

fn convolve<P: PixelTrait + InnerPixel>(
    source: Vec<P>,
    image: &Image,
    width: usize,
    height: usize,
) -> Vec<P> {
    let edge = |px: usize| u32::try_from(px).expect("images are decoded below 2^32 px an edge");
    let source = TypedImageRef::new(edge(image.width), edge(image.height), &source)
        .expect("an image holds width × height pixels");
    let mut target = TypedImage::<P>::new(edge(width), edge(height));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .expect("both sizes are positive and no crop box is set");
    target.pixels().to_vec()
}

/// Puts `image` at `inner` into a square of `size` and repeats its border pixels outwards.
fn place(image: &Image, inner: Inner, size: usize) -> Image {
    if (inner.width, inner.height) == (size, size) {
        return image.clone();
    }
    let clamped = |i: usize, start: usize, len: usize| i.saturating_sub(start).min(len - 1);
    let channels = image.channels;
    let mut pixels = Vec::with_capacity(size * size * channels);
    for y in 0..size {
        let row = clamped(y, inner.top, inner.height) * inner.width;
        for x in 0..size {
            let at = (row + clamped(x, inner.left, inner.width)) * channels;
            pixels.extend_from_slice(&image.pixels[at..at + channels]);
        }
    }
    Image { width: size, height: size, channels, pixels }
}

#[cfg(test)]
#[path = "preprocessing_tests.rs"]
mod tests;
