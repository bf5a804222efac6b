//! Values: from the picture to the energies.

use super::build::{Buffers, Convolution, Linear, Node, Step};
use super::convolution::{Method, Pass};
use super::{Done, Executor};
use crate::kernels::epilogue::{Combine, Epilogue};
use crate::kernels::gather::Gather;

/// Multiply-adds' worth of one gather task: pixels times channels.
const GATHER_TASK: usize = 1 << 16;

impl Executor {
    pub(super) fn run_forward(&mut self, x: &[f32], noise_levels: &[f32]) {
        let picture = self.picture_len();
        assert!(self.loaded, "forward needs weights: call load first");
        assert!(
            x.len().is_multiple_of(picture),
            "{} values are no whole number of pictures of {picture}",
            x.len()
        );
        let images = x.len() / picture;
        assert!(images <= self.batch, "{images} images in an executor for {}", self.batch);
        let levels = if self.network.takes_noise_level() { images } else { 0 };
        assert_eq!(
            noise_levels.len(),
            levels,
            "noise levels: one per image if the network takes them, else none"
        );
        self.images = images;
        for index in 0..self.nodes.len() {
            match &self.nodes[index].step {
                Step::Image => write_picture(&mut self.nodes[0], x, |buffers| &mut buffers.value),
                Step::Coordinates => {}
                Step::NoiseLevel => write_levels(&mut self.nodes[index], noise_levels),
                Step::Convolution(convolution) => self.activate(index, convolution),
                Step::Linear(gathers) => self.gather_forward(index, gathers, |b| b.value.ptr()),
            }
        }
        self.read_energies();
        self.done = Done::Energies;
    }

    /// a = f(W ∗ x + b) of one convolution.
    fn activate(&self, index: usize, convolution: &Convolution) {
        let node = &self.nodes[index];
        let input = &self.nodes[node.inputs[0]];
        let epilogue = Epilogue::Activate {
            activation: convolution.activation,
            bias: convolution.bias.ptr(),
            value: node.buffers.value.ptr(),
            slope: node.buffers.slope.ptr_or_null(),
            curvature: node.buffers.curvature.ptr_or_null(),
        };
        let images = (input.layout.image, node.layout.image);
        self.run_pass(&convolution.forward, input.buffers.value.ptr(), images, epilogue);
    }

    /// Runs one convolution over all images. `x` and the epilogue are at image 0; `strides` are the values
    /// per image of the input and of the output.
    pub(super) fn run_pass(&self, pass: &Pass, x: *const f32, strides: (usize, usize), epilogue: Epilogue) {
        let (kernels, weights) = (self.kernels, &pass.weights);
        let x = Given(x);
        match &pass.method {
            Method::Winograd(geometry) => {
                let tiles = self.images * geometry.tiles();
                self.workers.run(tiles.div_ceil(geometry.block), |task, scratch| {
                    let first = task * geometry.block;
                    let count = geometry.block.min(tiles - first);
                    // SAFETY: the geometry was planned for these buffers, which hold `images` images with
                    // the border that tiles reach into; tasks have different tiles, so different outputs;
                    // the scratch was sized for this pass.
                    unsafe {
                        (kernels.winograd)(
                            geometry,
                            x.image(0, 0),
                            weights.ptr(),
                            first,
                            count,
                            scratch,
                            &epilogue,
                        );
                    }
                });
            }
            Method::Direct(parts) => {
                let bands: usize = parts.iter().map(|p| p.bands()).sum();
                self.workers.run(self.images * bands, |task, _| {
                    let (image, mut band) = (task / bands, task % bands);
                    for part in parts {
                        if band < part.bands() {
                            let rows = band * part.band..((band + 1) * part.band).min(part.geometry.rows);
                            let x = x.image(image, strides.0);
                            let epilogue = epilogue.image(image * strides.1);
                            // SAFETY: as above; each task has its own rows of its own part of one image.
                            unsafe {
                                let weights = weights.ptr().add(part.offset);
                                (kernels.convolve)(&part.geometry, x, weights, rows, &epilogue);
                            }
                            return;
                        }
                        band -= part.bands();
                    }
                });
            }
        }
    }

    /// Runs the gathers of a layer without parameters on the buffers that `which` picks.
    pub(super) fn gather_forward(
        &self,
        index: usize,
        gathers: &[Linear],
        which: impl Fn(&Buffers) -> *mut f32,
    ) {
        let node = &self.nodes[index];
        for (gather, &input) in gathers.iter().zip(&node.inputs) {
            let from = &self.nodes[input];
            let mut combine = Combine::store(which(&node.buffers));
            combine.accumulate = gather.accumulate;
            let strides = (from.layout.image, node.layout.image);
            self.run_gather(&gather.forward, which(&from.buffers), strides, Epilogue::Combine(combine));
        }
    }

    /// Runs one gather over all images; arguments as in [`Executor::run_pass`].
    pub(super) fn run_gather(
        &self,
        gather: &Gather,
        x: *const f32,
        strides: (usize, usize),
        epilogue: Epilogue,
    ) {
        let x = Given(x);
        let band = (GATHER_TASK / (gather.cols * gather.channels)).clamp(1, gather.rows);
        let bands = gather.rows.div_ceil(band);
        self.workers.run(self.images * bands, |task, _| {
            let (image, first) = (task / bands, task % bands * band);
            let rows = first..(first + band).min(gather.rows);
            let epilogue = epilogue.image(image * strides.1);
            // SAFETY: planned for these buffers; each task has its own rows of one image.
            unsafe { (self.kernels.gather)(gather, x.image(image, strides.0), rows, &epilogue) }
        });
    }

    fn read_energies(&mut self) {
        let node = &self.nodes[self.nodes.len() - 1];
        let layout = node.layout;
        let value = node.buffers.value.as_slice();
        for (row, energies) in
            self.energies.chunks_exact_mut(layout.width).take(self.images * layout.height).enumerate()
        {
            let from = row / layout.height * layout.image + layout.at((row % layout.height) as isize, 0);
            energies.iter_mut().enumerate().for_each(|(x, e)| *e = value[from + x * layout.stride]);
        }
    }

    /// Writes the coordinates, once.
    pub(super) fn fill_coordinates(&mut self) {
        let nodes = self.nodes.iter_mut().filter(|n| matches!(n.step, Step::Coordinates));
        for node in nodes {
            let layout = node.layout;
            let place = |i: usize, n: usize| ((2 * i + 1) as f64 / n as f64 - 1.0) as f32;
            for image in node.buffers.value.as_mut_slice().chunks_exact_mut(layout.image) {
                for (y, x) in (0..layout.height).flat_map(|y| (0..layout.width).map(move |x| (y, x))) {
                    let at = layout.at(y as isize, x as isize);
                    image[at] = place(x, layout.width);
                    image[at + 1] = place(y, layout.height);
                }
            }
        }
    }
}

/// Copies pictures into the padded buffer that `which` picks.
pub(super) fn write_picture(
    node: &mut Node,
    x: &[f32],
    which: impl Fn(&mut Buffers) -> &mut crate::buffer::Buffer,
) {
    let layout = node.layout;
    let buffer = which(&mut node.buffers).as_mut_slice();
    for (row, x) in x.chunks_exact(layout.width * layout.channels).enumerate() {
        let to = row / layout.height * layout.image + layout.at((row % layout.height) as isize, 0);
        if layout.stride == layout.channels {
            buffer[to..to + x.len()].copy_from_slice(x);
        } else {
            for (x, to) in x.chunks_exact(layout.channels).zip(buffer[to..].chunks_exact_mut(layout.stride)) {
                to[..layout.channels].copy_from_slice(x);
            }
        }
    }
}

fn write_levels(node: &mut Node, levels: &[f32]) {
    let layout = node.layout;
    let images = node.buffers.value.as_mut_slice().chunks_exact_mut(layout.image);
    for (image, &level) in images.zip(levels) {
        for y in 0..layout.height {
            let from = layout.at(y as isize, 0);
            image[from..].iter_mut().step_by(layout.stride).take(layout.width).for_each(|v| *v = level);
        }
    }
}

/// The input of a pass, read by all tasks.
#[derive(Clone, Copy)]
pub(super) struct Given(pub(super) *const f32);
// SAFETY: only read; nothing writes a pass's input while it runs.
unsafe impl Sync for Given {}

impl Given {
    /// Image `image` of `stride` values each.
    pub(super) fn image(&self, image: usize, stride: usize) -> *const f32 {
        self.0.wrapping_add(image * stride)
    }
}
