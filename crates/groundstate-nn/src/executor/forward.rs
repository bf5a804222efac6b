//! Values: from the picture to the energies.

use super::build::{Buffers, Convolution, Linear, Node, Step};
use super::convolution::{Method, Part, Pass, TASK_COST};
use super::layout::Layout;
use super::workers::Crew;
use super::{Done, Executor};
use crate::kernels::direct::Direct;
use crate::kernels::epilogue::{Combine, Epilogue};
use crate::kernels::gather::Gather;
use crate::kernels::winograd::{Tiles, Winograd};

/// Fewest tiles that fill a register block.
const MIN_TILES: usize = 8;
/// Multiply-adds' worth of one gather task: pixels times channels.
const GATHER_TASK: usize = 1 << 16;
/// Rows of pixels of one copying task.
const ROWS: usize = 16;

/// Tiles of a task, and the shares that the output channels are cut into.
struct Shares {
    block: usize,
    columns: usize,
}

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
        self.workers.in_groups(images, self.group, |crew| {
            for index in 0..self.nodes.len() {
                match &self.nodes[index].step {
                    Step::Image => self.write_picture(crew, x, |buffers| buffers.value.ptr()),
                    Step::Coordinates => {}
                    Step::NoiseLevel => self.write_levels(crew, index, noise_levels),
                    Step::Convolution(convolution) => self.activate(crew, index, convolution),
                    Step::Linear(gathers) => self.gather_forward(crew, index, gathers, |b| b.value.ptr()),
                }
            }
        });
        self.read_energies();
        self.done = Done::Energies;
    }

    /// a = f(W ∗ x + b) of one convolution.
    fn activate(&self, crew: &Crew, index: usize, convolution: &Convolution) {
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
        self.run_pass(crew, &convolution.forward, input.buffers.value.ptr(), images, epilogue);
    }

    /// Runs one convolution over the images of the crew. `x` and the epilogue are at image 0; `strides` are the values
    /// per image of the input and of the output.
    pub(super) fn run_pass(
        &self,
        crew: &Crew,
        pass: &Pass,
        x: *const f32,
        strides: (usize, usize),
        epilogue: Epilogue,
    ) {
        let (kernels, weights) = (self.kernels, &pass.weights);
        let (x, start) = (Given(x), crew.images.start);
        match &pass.method {
            Method::Winograd { parts, plain } => {
                let geometry = &parts[0].geometry;
                let tiles = crew.images.len() * geometry.tiles();
                let start = start * geometry.tiles();
                let Shares { block, columns } = self.shares(crew, geometry, parts.len(), tiles);
                let pairs = geometry.vectors.div_ceil(2);
                crew.run(tiles.div_ceil(block) * columns * parts.len(), |task, scratch| {
                    let (task, part) = (task / parts.len(), &parts[task % parts.len()]);
                    let (first, share) = (task / columns * block, task % columns);
                    let count = block.min(tiles - first);
                    let end = 2 * ((share + 1) * pairs / columns);
                    let vectors = 2 * (share * pairs / columns)..end.min(geometry.vectors);
                    // SAFETY: the geometry was planned for these buffers, which hold `images` images with
                    // the border that tiles reach into; tasks have different tiles, columns or phases, so different
                    // outputs; the scratch was sized for this pass.
                    unsafe {
                        let (x, geometry, first) = (x.image(0, 0), &part.geometry, start + first);
                        let weights = part.weights(weights, *plain);
                        let task = Tiles { geometry, x, weights, first, count, vectors, scratch };
                        (kernels.winograd)(&task, &epilogue);
                    }
                });
            }
            Method::Direct(parts) => {
                let bands = |part: &Part<Direct>| part.geometry.rows.div_ceil(part.band(kernels.lanes));
                let all: usize = parts.iter().map(bands).sum();
                crew.run(crew.images.len() * all, |task, _| {
                    let (image, mut band) = (start + task / all, task % all);
                    let mut parts = parts.iter();
                    let mut part = parts.next().expect("a pass has parts");
                    while band >= bands(part) {
                        band -= bands(part);
                        part = parts.next().expect("tasks were counted over all parts");
                    }
                    let height = part.band(kernels.lanes);
                    let rows = band * height..((band + 1) * height).min(part.geometry.rows);
                    let epilogue = epilogue.image(image * strides.1);
                    // SAFETY: as above; each task has its own rows of its own part of one image.
                    unsafe {
                        let (x, weights) = (x.image(image, strides.0), weights.ptr().add(part.offset));
                        (kernels.convolve)(&part.geometry, x, weights, rows, &epilogue);
                    }
                });
            }
        }
    }

    /// How the threads share tiles: those of one block by their output channels, so that each reads weights of its own,
    /// more by tiles, fewer than a block holds if threads would otherwise be idle.
    fn shares(&self, crew: &Crew, geometry: &Winograd, parts: usize, tiles: usize) -> Shares {
        let cost = geometry.places() * geometry.depth() * geometry.vectors * self.kernels.lanes;
        let tasks = (tiles * cost / TASK_COST).clamp(1, crew.count());
        if tiles <= geometry.block {
            return Shares { block: tiles, columns: tasks.div_ceil(parts).min(geometry.vectors.div_ceil(2)) };
        }
        let block = tiles.div_ceil(tasks).clamp(MIN_TILES.min(geometry.block), geometry.block);
        Shares { block, columns: 1 }
    }

    /// Runs the gathers of a layer without parameters on the buffers that `which` picks.
    pub(super) fn gather_forward(
        &self,
        crew: &Crew,
        index: usize,
        gathers: &[Linear],
        which: impl Fn(&Buffers) -> *mut f32,
    ) {
        let node = &self.nodes[index];
        for (gather, &input) in gathers.iter().zip(&node.inputs) {
            let from = &self.nodes[input];
            let Some(forward) = &gather.forward else { continue };
            let mut combine = Combine::store(which(&node.buffers));
            combine.accumulate = gather.accumulate;
            let strides = (from.layout.image, node.layout.image);
            self.run_gather(crew, forward, which(&from.buffers), strides, Epilogue::Combine(combine));
        }
    }

    /// Runs one gather over the images of the crew; arguments as in [`Executor::run_pass`].
    pub(super) fn run_gather(
        &self,
        crew: &Crew,
        gather: &Gather,
        x: *const f32,
        strides: (usize, usize),
        epilogue: Epilogue,
    ) {
        let x = Given(x);
        let band = (GATHER_TASK / (gather.cols * gather.channels)).clamp(1, gather.rows);
        let (bands, start) = (gather.rows.div_ceil(band), crew.images.start);
        crew.run(crew.images.len() * bands, |task, _| {
            let (image, first) = (start + task / bands, task % bands * band);
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
        let rows = self.energies.chunks_exact_mut(layout.width * layout.channels);
        for (row, energies) in rows.take(self.images * layout.height).enumerate() {
            let from = row / layout.height * layout.image + layout.at((row % layout.height) as isize, 0);
            for (x, energies) in energies.chunks_exact_mut(layout.channels).enumerate() {
                energies.copy_from_slice(&value[from + x * layout.stride..][..layout.channels]);
            }
        }
    }

    /// Writes the coordinates, once.
    pub(super) fn fill_coordinates(&mut self) {
        let is_coordinates = |n: &Node| matches!(n.step, Step::Coordinates);
        let homes: Vec<_> = self.nodes.iter().filter(|n| is_coordinates(n)).map(|n| n.home).collect();
        for (home, channel) in homes {
            let layout = self.nodes[home].layout;
            let place = |i: usize, n: usize| ((2 * i + 1) as f64 / n as f64 - 1.0) as f32;
            let value = self.nodes[home].buffers.value.as_mut_slice();
            for image in value.chunks_exact_mut(layout.image) {
                for (y, x) in (0..layout.height).flat_map(|y| (0..layout.width).map(move |x| (y, x))) {
                    let at = layout.at(y as isize, x as isize) + channel;
                    image[at] = place(x, layout.width);
                    image[at + 1] = place(y, layout.height);
                }
            }
        }
    }

    /// Copies the crew's pictures of `x` into the padded buffer that `which` picks, at the picture's home.
    pub(super) fn write_picture(&self, crew: &Crew, x: &[f32], which: impl Fn(&Buffers) -> *mut f32) {
        let (channels, (home, first)) = (self.nodes[0].layout.channels, self.nodes[0].home);
        let (layout, buffer) = (self.nodes[home].layout, which(&self.nodes[home].buffers));
        let (buffer, stride) = (Written(buffer), layout.stride);
        self.rows(crew, &layout, |row, to| {
            let x = &x[row * layout.width * channels..][..layout.width * channels];
            // SAFETY: each row of pixels of the buffer is written by one task.
            let to = unsafe { buffer.slice(to + first, layout.width * stride - first) };
            match channels {
                _ if stride == channels => to.copy_from_slice(x),
                1 => copy_pixels::<1>(x, to, stride),
                3 => copy_pixels::<3>(x, to, stride),
                _ => {
                    for (x, to) in x.chunks_exact(channels).zip(to.chunks_mut(stride)) {
                        to[..channels].copy_from_slice(x);
                    }
                }
            }
        });
    }

    /// Calls `each` for all rows of pixels of the crew's images, with the row's number, counted through all images, and
    /// its offset in a buffer of this layout.
    pub(super) fn rows(&self, crew: &Crew, layout: &Layout, each: impl Fn(usize, usize) + Sync) {
        let rows = crew.images.start * layout.height..crew.images.end * layout.height;
        crew.run(rows.len().div_ceil(ROWS), |task, _| {
            let first = rows.start + task * ROWS;
            for row in first..(first + ROWS).min(rows.end) {
                let (image, y) = (row / layout.height, row % layout.height);
                each(row, image * layout.image + layout.at(y as isize, 0));
            }
        });
    }

    fn write_levels(&self, crew: &Crew, index: usize, levels: &[f32]) {
        let (home, channel) = self.nodes[index].home;
        let layout = self.nodes[home].layout;
        let value = Written(self.nodes[home].buffers.value.ptr());
        self.rows(crew, &layout, |row, to| {
            // SAFETY: each row of pixels of the buffer is written by one task.
            let to = unsafe { value.slice(to + channel, layout.width * layout.stride - channel) };
            to.iter_mut().step_by(layout.stride).for_each(|v| *v = levels[row / layout.height]);
        });
    }
}

/// Copies pixels of `C` channels to places `stride` apart.
fn copy_pixels<const C: usize>(from: &[f32], to: &mut [f32], stride: usize) {
    for (from, to) in from.as_chunks::<C>().0.iter().zip(to.chunks_mut(stride)) {
        to[..C].copy_from_slice(from);
    }
}

/// An array of which tasks write different parts.
pub(super) struct Written(pub(super) *mut f32);
// SAFETY: see `slice`.
unsafe impl Sync for Written {}

impl Written {
    /// A part of it.
    ///
    /// # Safety
    /// The part is in the array, and nothing else touches it meanwhile.
    #[expect(clippy::mut_from_ref, reason = "parts are disjoint")]
    pub(super) unsafe fn slice(&self, first: usize, len: usize) -> &mut [f32] {
        // SAFETY: the caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(first), len) }
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
