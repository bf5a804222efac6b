//! Scaled weight standardisation: from stored weights to the weights that act, and gradients back.
//!
//! Weights are laid out `k, k, in, out`, so the statistics of one output channel are taken over the rows of a
//! `fan_in × out` matrix. Rows are read in order, many channels at a time, and sums are kept in double precision;
//! threads share a matrix by groups of its channels. `plain::standardise` says it in loops.

use crate::buffer::Buffer;
use crate::kernels::Task;
use crate::layer::STANDARDISE_EPSILON;
use crate::simd::Simd;

/// Channels of one task.
pub(super) const GROUP: usize = 64;
/// Channels that the compiler makes vectors of.
const BLOCK: usize = 16;

/// One number per channel of a group, block by block.
type Numbers = [[f64; BLOCK]; GROUP / BLOCK];

/// What the gradient of standardised weights is made of.
pub(super) struct Standardised {
    /// u = (w − mean)/√(Σ(w − mean)² + ε), `fan_in, out`; the weights that act are gain · u.
    pub(super) unit: Buffer,
    /// gain/√(Σ(w − mean)² + ε) for each channel.
    pub(super) factor: Buffer,
}

impl Standardised {
    pub(super) fn zeros(weights: usize, out: usize) -> Standardised {
        Standardised { unit: Buffer::zeros(weights), factor: Buffer::zeros(out) }
    }
}

/// The channels `first .. first + count` of a matrix of `out` columns.
#[derive(Clone, Copy)]
struct Group {
    out: usize,
    first: usize,
    count: usize,
}

impl Group {
    #[inline(always)]
    fn new(out: usize, first: usize) -> Group {
        Group { out, first, count: GROUP.min(out - first) }
    }

    /// Number, offset and length of each block of a row.
    #[inline(always)]
    fn blocks(self, row: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let Group { out, first, count } = self;
        (0..count.div_ceil(BLOCK)).map(move |block| {
            let channel = block * BLOCK;
            (block, row * out + first + channel, BLOCK.min(count - channel))
        })
    }
}

/// The values from `at` on, with zeros behind the first `count`.
#[inline(always)]
fn read(values: &[f32], at: usize, count: usize) -> [f64; BLOCK] {
    // A whole block has a length that the compiler knows.
    if count == BLOCK {
        let values: &[f32; BLOCK] = values[at..].first_chunk().expect("a whole block");
        return values.map(f64::from);
    }
    let mut numbers = [0.0; BLOCK];
    numbers.iter_mut().zip(&values[at..at + count]).for_each(|(to, &from)| *to = from.into());
    numbers
}

/// Standardises a group of channels.
pub(super) struct Standardise<'a> {
    /// `fan_in, out`.
    pub(super) weight: &'a [f32],
    pub(super) gain: &'a [f32],
    pub(super) first: usize,
    /// Where the weights that act are written.
    pub(super) acting: *mut f32,
    pub(super) kept: Option<&'a Standardised>,
}

impl Task for Standardise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { weight, gain, first, acting, kept } = self;
        let group = Group::new(gain.len(), first);
        let fan_in = weight.len() / group.out;
        let mut mean: Numbers = [[0.0; BLOCK]; GROUP / BLOCK];
        for row in 0..fan_in {
            for (block, at, count) in group.blocks(row) {
                let w = read(weight, at, count);
                (0..BLOCK).for_each(|i| mean[block][i] += w[i]);
            }
        }
        mean.iter_mut().flatten().for_each(|m| *m /= fan_in as f64);
        let mut scale: Numbers = [[0.0; BLOCK]; GROUP / BLOCK];
        for row in 0..fan_in {
            for (block, at, count) in group.blocks(row) {
                let w = read(weight, at, count);
                (0..BLOCK).for_each(|i| scale[block][i] += (w[i] - mean[block][i]).powi(2));
            }
        }
        scale.iter_mut().flatten().for_each(|s| *s = 1.0 / (*s + STANDARDISE_EPSILON).sqrt());
        let mut gains: Numbers = [[0.0; BLOCK]; GROUP / BLOCK];
        for (block, at, count) in group.blocks(0) {
            gains[block] = read(gain, at, count);
        }
        for row in 0..fan_in {
            for (block, at, count) in group.blocks(row) {
                let w = read(weight, at, count);
                let unit: [f64; BLOCK] = std::array::from_fn(|i| (w[i] - mean[block][i]) * scale[block][i]);
                let acts: [f64; BLOCK] = std::array::from_fn(|i| gains[block][i] * unit[i]);
                // SAFETY: all are as long as the weights, and each task has its own channels.
                unsafe {
                    store(acting.add(at), acts, count, write);
                    if let Some(kept) = kept {
                        store(kept.unit.ptr().add(at), unit, count, write);
                    }
                }
            }
        }
        if let Some(kept) = kept {
            for (block, at, count) in group.blocks(0) {
                let factor = std::array::from_fn(|i| gains[block][i] * scale[block][i]);
                // SAFETY: as above, as long as the gains.
                unsafe { store(kept.factor.ptr().add(at), factor, count, write) }
            }
        }
    }
}

/// Puts the first `count` numbers where they belong, each as `put` says.
///
/// # Safety
/// These places are in one array, and no other thread touches them.
#[inline(always)]
unsafe fn store(to: *mut f32, numbers: [f64; BLOCK], count: usize, put: impl Fn(&mut f32, f32)) {
    // SAFETY: the caller's contract.
    let to = unsafe { std::slice::from_raw_parts_mut(to, count) };
    // A whole block, as above.
    if let Some(to) = to.first_chunk_mut::<BLOCK>() {
        return to.iter_mut().zip(numbers).for_each(|(to, number)| put(to, number as f32));
    }
    to.iter_mut().zip(numbers).for_each(|(to, number)| put(to, number as f32));
}

fn write(to: &mut f32, number: f32) {
    *to = number;
}

fn add(to: &mut f32, number: f32) {
    *to += number;
}

/// Adds to the gradients of a group of channels what the gradient d of the acting weights implies:
/// ∂/∂gain = Σ d·u and ∂/∂w = factor · (d − mean(d) − u · Σ d·u), because Σ u = 0.
pub(super) struct StandardiseGradient<'a> {
    pub(super) kept: &'a Standardised,
    /// `fan_in, out`.
    pub(super) d_acting: &'a Buffer,
    pub(super) first: usize,
    pub(super) to: Gradients,
}

/// Where standardised weights' gradients go. Tasks share them by groups of channels.
#[derive(Clone, Copy)]
pub(super) struct Gradients {
    pub(super) weight: *mut f32,
    pub(super) gain: *mut f32,
}

// SAFETY: tasks touch different channels.
unsafe impl Sync for Gradients {}

impl Task for StandardiseGradient<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { kept: Standardised { unit, factor }, d_acting, first, to } = self;
        let (unit, factor, d_acting) = (unit.as_slice(), factor.as_slice(), d_acting.as_slice());
        let group = Group::new(factor.len(), first);
        let fan_in = unit.len() / group.out;
        let mut mean: Numbers = [[0.0; BLOCK]; GROUP / BLOCK];
        let mut along: Numbers = [[0.0; BLOCK]; GROUP / BLOCK];
        for row in 0..fan_in {
            for (block, at, count) in group.blocks(row) {
                let (d, u) = (read(d_acting, at, count), read(unit, at, count));
                for i in 0..BLOCK {
                    mean[block][i] += d[i];
                    along[block][i] += d[i] * u[i];
                }
            }
        }
        mean.iter_mut().flatten().for_each(|m| *m /= fan_in as f64);
        let mut factors: Numbers = [[0.0; BLOCK]; GROUP / BLOCK];
        for (block, at, count) in group.blocks(0) {
            factors[block] = read(factor, at, count);
            // SAFETY: as long as the gains, and each task has its own channels.
            unsafe { store(to.gain.add(at), along[block], count, add) }
        }
        for row in 0..fan_in {
            for (block, at, count) in group.blocks(row) {
                let (d, u) = (read(d_acting, at, count), read(unit, at, count));
                let of = |i: usize| factors[block][i] * (d[i] - mean[block][i] - u[i] * along[block][i]);
                // SAFETY: as above, as long as the weights.
                unsafe { store(to.weight.add(at), std::array::from_fn(of), count, add) }
            }
        }
    }
}
