//! Pictures of a made-up machined part, good and defective, with exact masks.
//!
//! A flange on a mat is photographed from above. Good parts differ in pose, light, texture and
//! sensor noise; defective ones carry one of six kinds of defects besides. Everything follows from
//! a seed, whatever the number of threads. It serves the demo and tests: results on it say that the
//! program works, not how well it does on real parts.

mod damage;
mod defect;
mod flange;
mod noise;
mod outline;
mod render;
mod truth;
mod write;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::image::{Image, Mask};

pub use defect::Defect;
pub use write::{SyntheticError, write_dataset};

use flange::Flange;
use render::{Scene, develop};

/// How many parts to make, and how large their pictures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Edge of the square pictures in pixels, [`Config::MIN_SIZE_PX`] to [`Config::MAX_SIZE_PX`].
    pub size_px: usize,
    /// Good parts for training.
    pub train: usize,
    /// Good parts for testing.
    pub test_good: usize,
    /// Defective parts of each kind, for testing.
    pub per_defect: usize,
    /// Decides everything random.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { size_px: 256, train: 60, test_good: 20, per_defect: 8, seed: 0 }
    }
}

impl Config {
    /// Below this the smallest defects are less than a pixel wide.
    pub const MIN_SIZE_PX: usize = 64;
    /// Largest pictures made.
    pub const MAX_SIZE_PX: usize = 2048;

    /// Returns the settings if they can be used.
    ///
    /// # Errors
    /// `size_px` is out of range.
    pub fn check(self) -> Result<Self, SyntheticError> {
        if !(Self::MIN_SIZE_PX..=Self::MAX_SIZE_PX).contains(&self.size_px) {
            return Err(SyntheticError::Size(self.size_px));
        }
        Ok(self)
    }

    /// What to render, in the order of the data set: training, good, then defects by name.
    fn orders(&self) -> Vec<Order> {
        // Streams far apart keep a part the same when the number of others changes.
        let order = |group: usize, index: usize, defect| {
            let stream = ((group as u64) << 32) + index as u64;
            Order { index, stream, is_train: group == 0, defect }
        };
        let train = (0..self.train).map(|i| order(0, i, None));
        let good = (0..self.test_good).map(|i| order(1, i, None));
        let defective = Defect::ALL
            .iter()
            .enumerate()
            .flat_map(|(kind, &defect)| (0..self.per_defect).map(move |i| order(2 + kind, i, Some(defect))));
        train.chain(good).chain(defective).collect()
    }
}

/// One picture to make.
#[derive(Clone, Copy, Debug)]
struct Order {
    /// Number within its folder.
    index: usize,
    stream: u64,
    is_train: bool,
    defect: Option<Defect>,
}

/// A photographed part.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The picture, RGB, `size_px` × `size_px`.
    pub image: Image,
    /// What is wrong with it, if anything.
    pub defect: Option<Defect>,
    /// Where the picture differs noticeably from that of the same part without the defect; empty for
    /// a good part.
    pub mask: Mask,
}

/// The parts of one data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Good parts for training.
    pub train: Vec<Part>,
    /// Good parts, then defective ones by kind in the order of [`Defect::ALL`].
    pub test: Vec<Part>,
}

/// Makes all parts in memory, on all threads.
///
/// # Errors
/// `config` is out of range.
pub fn generate(config: &Config) -> Result<Parts, SyntheticError> {
    let config = config.check()?;
    let orders = config.orders();
    let mut parts: Vec<Part> = orders.par_iter().map(|order| render(&config, order)).collect();
    let test = parts.split_off(config.train);
    Ok(Parts { train: parts, test })
}

fn render(config: &Config, order: &Order) -> Part {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(order.stream);
    let size = config.size_px;
    let scene = Scene::draw(&mut rng);
    let good = scene.expose(&Flange::good(), size);
    let Some(defect) = order.defect else {
        return Part { image: develop(&good, &mut rng), defect: None, mask: Mask::empty(size, size) };
    };
    /// Share of the picture that must have changed: 10 px at 256 px.
    const SMALLEST_AREA: f64 = 10.0 / 65_536.0;
    // A defect may fall where nothing shows, such as a scratch inside a hole; then it is drawn again.
    loop {
        let mut flange = Flange::good();
        defect.inflict(&mut flange, &mut rng);
        let exposed = scene.expose(&flange, size);
        let mask = truth::changed(&good, &exposed);
        if mask.area() >= SMALLEST_AREA {
            return Part { image: develop(&exposed, &mut rng), defect: Some(defect), mask };
        }
        // Keeps the streams of two attempts apart even if they drew the same numbers of values.
        let _: u32 = rng.random();
    }
}

#[cfg(test)]
mod tests;
