//! Training on pictures that keep their size, worked through in tiles.
//!
//! The pictures are not held in memory: each pass asks for them one after the other. The closed form
//! passes over them four times (light, whitening, moments, held-out readings); a learned method learns
//! from a pool of random tiles.

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::checkpoint::{Checkpoints, Keeper};
use super::learn::split;
use super::learned::LearnedMethod;
use super::{
    Completed, Control, EXHIBITED, Exhibit, Lesson, Observer, Progress, SET_APART, Stage, TrainConfig,
    TrainError, Trained,
};
use super::{assemble, calibrate_on};
use crate::detector::Detail;
use crate::image::{Grid, Image, ImageError, Light, Map, Nuisance, Pose, Preprocessing};
use crate::model::{
    Batch, CELL, Cut, EnergyModel, MARGIN_PX, MAX_POSITIONS, STEP_PX, Tile, TiledBank, Tiling, Wanted,
};
use crate::score::{MapKind, Reading, Stabiliser, read_tiles};

/// Folds of the cross-fit of the closed form.
const FOLDS: usize = 3;
/// Pictures that the whitening is estimated from, tiles of each, and feature vectors of each tile.
const WHITENING_PICTURES: usize = 32;
const WHITENING_TILES: usize = 4;
const WHITENING_CELLS: usize = 256;
/// Edge of those tiles.
const WHITENING_EDGE: usize = 256;
/// Memory of the tiles that a learned method draws from, and most of them.
const POOL_BYTES: usize = 512 << 20;
const POOL_TILES: usize = 4096;

/// Normal pictures that are asked for one at a time, each as [`crate::detector::prepare`] leaves it.
pub struct Gallery<'a> {
    /// How many there are.
    pub count: usize,
    /// Reads one of them.
    pub picture: &'a (dyn Fn(usize) -> Result<Image, ImageError> + Sync),
}

/// What both kinds of energy are trained from.
struct Setting<'a> {
    gallery: &'a Gallery<'a>,
    /// Numbers of the pictures that training sees.
    members: Vec<usize>,
    preprocessing: Preprocessing,
    light: Light,
    start: Instant,
}

/// Trains a detector for pictures that keep their size ([`Fit::Tile`](crate::image::Fit::Tile)).
///
/// Otherwise as [`train_with_checkpoints`](super::train_with_checkpoints).
///
/// # Errors
/// As there; also when a picture cannot be read.
pub fn train_tiled(
    config: &TrainConfig,
    gallery: &Gallery,
    start: Instant,
    checkpoints: Option<&Checkpoints>,
    observer: &mut Observer,
) -> Result<Completed, TrainError> {
    let config = config.clone().check()?;
    let preprocessing = config.preprocessing();
    assert!(preprocessing.is_tiled(), "pictures that are scaled are trained on by train()");
    let (members, apart) = match config.calibration_share {
        0.0 => ((0..gallery.count).collect(), Vec::new()),
        share => split(gallery.count, share, config.seed ^ SET_APART)?,
    };
    if members.len() < 3 {
        return Err(TrainError::TooFewPictures { found: members.len(), expected: 3 });
    }
    let seen = members.iter().map(|&i| Ok(Light::seen(&gallery.read(i)?)));
    let light = Light::of_seen(&seen.collect::<Result<Vec<Map>, TrainError>>()?);
    let setting = Setting { gallery, members, preprocessing, light, start };
    let mut trained = match config.learning() {
        None => setting.closed_form(&config, observer)?,
        Some(learning) => {
            let method = LearnedMethod { learning, config: config.clone() };
            setting.learned(&method, checkpoints, observer)?
        }
    };
    observer(&Progress::stage(Stage::Calibrate, start));
    let exhibit = Exhibit { normal: setting.exhibited()?, chains: std::mem::take(&mut trained.samples) };
    let nuisance = Nuisance { registration: None, light: setting.light };
    let poses = vec![Pose::IDENTITY; gallery.count];
    let mut detector = assemble(&config, trained, nuisance, &poses)?;
    let of_apart = apart.iter().map(|&i| {
        let inspection = detector.inspect_prepared(&[gallery.read(i)?], Detail::Default).remove(0);
        Ok((inspection.score, detector.peak(&inspection)))
    });
    let of_apart = of_apart.collect::<Result<_, TrainError>>()?;
    calibrate_on(&mut detector, of_apart)?;
    Ok(Completed { detector, exhibit })
}

impl Gallery<'_> {
    fn read(&self, index: usize) -> Result<Image, TrainError> {
        Ok((self.picture)(index)?)
    }
}

impl Setting<'_> {
    fn read(&self, member: usize) -> Result<Image, TrainError> {
        self.gallery.read(self.members[member])
    }

    fn reading(&self, energy: &EnergyModel, member: usize) -> Result<Reading, TrainError> {
        Ok(read_tiles(energy, &self.preprocessing, &self.light, &self.read(member)?, Wanted::ALL))
    }

    /// The closed form, cross-fitted as with pictures that are scaled.
    fn closed_form(&self, config: &TrainConfig, observer: &mut Observer) -> Result<Trained, TrainError> {
        let count = self.members.len();
        // Two passes after the whitening's, of which the second is the longer.
        let mut report = |done: usize| {
            let done = Some(done as f64 / (3 * count) as f64);
            let progress = Progress { done, ..Progress::stage(Stage::Fit, self.start) };
            if observer(&progress) == Control::Stop { Err(TrainError::Stopped) } else { Ok(()) }
        };
        report(0)?;
        let first = self.read(0)?;
        let cells = |edge: usize| edge.div_ceil(CELL);
        let positions = Grid::within(cells(first.width), cells(first.height), MAX_POSITIONS);
        let folds = FOLDS.min(count);
        let (sample, channels) = (self.whitening_sample()?, self.preprocessing.channels());
        let mut bank = TiledBank::new(&sample, positions, channels, folds, &config.gaussian)?;
        drop(sample);
        for member in 0..count {
            let picture = self.read(member)?;
            self.add_to(&mut bank, member % folds, &picture);
            report(member + 1)?;
        }
        let mut held_out = Vec::with_capacity(count);
        for fold in 0..folds {
            let energy = EnergyModel::Tiled(bank.fit(Some(fold)));
            for member in (fold..count).step_by(folds) {
                held_out.push((member, self.reading(&energy, member)?));
                report(count + 2 * held_out.len())?;
            }
        }
        held_out.sort_by_key(|(member, _)| *member);
        Ok(Trained {
            energy: EnergyModel::Tiled(bank.fit(None)),
            held_out,
            stabiliser: Stabiliser::SquareRoot,
            default_score: "energy_z_max",
            default_map: MapKind::Energy,
            pictures: count,
            steps: 0,
            planned_steps: None,
            curve: Vec::new(),
            notes: Vec::new(),
            samples: Vec::new(),
        })
    }

    /// A tile of some of the pictures.
    fn exhibited(&self) -> Result<Vec<Image>, TrainError> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let count = self.members.len();
        let members = (0..count).step_by(count.div_ceil(EXHIBITED));
        let tile = |member| {
            let picture = self.read(member)?;
            let (edge, gain) = (self.preprocessing.size, self.light.gain(&picture));
            Ok(random_tile(&picture, edge, &self.preprocessing, gain, &mut rng))
        };
        members.map(tile).collect()
    }

    /// Feature vectors of cells all over some of the pictures.
    fn whitening_sample(&self) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut sample = Vec::new();
        let count = self.members.len();
        for member in (0..count).step_by(count.div_ceil(WHITENING_PICTURES)) {
            let picture = self.read(member)?;
            let gain = self.light.gain(&picture);
            let mut rng = ChaCha8Rng::seed_from_u64(member as u64);
            let features = (0..WHITENING_TILES).map(|_| {
                let tile = random_tile(&picture, WHITENING_EDGE, &self.preprocessing, gain, &mut rng);
                let batch = Batch::of([&tile]);
                let features = TiledBank::features(&batch).by_cell();
                let cells = batch.width / CELL * (batch.height / CELL);
                let length = features.len() / cells;
                let every = cells.div_ceil(WHITENING_CELLS);
                features.chunks_exact(length).step_by(every).flatten().copied().collect()
            });
            sample.extend(features);
        }
        Ok(sample)
    }

    /// Adds the moments of a picture.
    fn add_to(&self, bank: &mut TiledBank, fold: usize, picture: &Image) {
        let tiling = Tiling::new(picture.width, picture.height, self.preprocessing.size, MARGIN_PX);
        let gain = self.light.gain(picture);
        for tiles in tiling.tiles().chunks(rayon::current_num_threads()) {
            let cut = |&tile: &Tile| tiling.cut(picture, &self.preprocessing, tile, gain);
            bank.add(fold, &tiles.par_iter().map(cut).collect::<Vec<Cut>>());
        }
    }

    /// A learned method, on random tiles of the pictures that it does not hold back.
    fn learned(
        &self,
        method: &LearnedMethod,
        checkpoints: Option<&Checkpoints>,
        observer: &mut Observer,
    ) -> Result<Trained, TrainError> {
        let config = &method.config;
        let (rest, held_out) = split(self.members.len(), config.optimiser.held_out_share, config.seed)?;
        let pool = self.pool(&rest, config.seed)?;
        let keeper = checkpoints.map(|checkpoints| Keeper::new(checkpoints, config, &pool));
        let (seed, start) = (config.seed, self.start);
        let agreed_steps = Default::default();
        let lesson = Lesson { pictures: &pool, registered: false, seed, start, agreed_steps, keeper };
        let trained = method.learn(&lesson, &pool.iter().collect::<Vec<_>>(), observer)?;
        let read = |&member: &usize| Ok((member, self.reading(&trained.energy, member)?));
        let held_out = held_out.iter().map(read).collect::<Result<_, TrainError>>()?;
        // Half a percent of a large picture is far more than a small defect.
        let default_score = match trained.default_score {
            "energy_top" => "energy_max",
            "energy_z_top" => "energy_z_max",
            "gradient_z_top" => "gradient_z_max",
            other => other,
        };
        Ok(Trained { held_out, pictures: rest.len(), default_score, ..trained })
    }

    /// Random tiles under one light, as many of each picture.
    fn pool(&self, members: &[usize], seed: u64) -> Result<Vec<Image>, TrainError> {
        let edge = self.preprocessing.size;
        let tile_bytes = edge * edge * self.preprocessing.channels() * size_of::<f32>();
        let each = (POOL_BYTES / tile_bytes).clamp(1, POOL_TILES).div_ceil(members.len());
        let mut pool = Vec::with_capacity(each * members.len());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for &member in members {
            let picture = self.read(member)?;
            let gain = self.light.gain(&picture);
            pool.extend((0..each).map(|_| random_tile(&picture, edge, &self.preprocessing, gain, &mut rng)));
        }
        Ok(pool)
    }
}

/// A square of a picture that is lit `gain` times as the others, where tiles may begin; of a smaller picture, all of it
/// and its border.
fn random_tile(
    picture: &Image,
    edge: usize,
    preprocessing: &Preprocessing,
    gain: f32,
    rng: &mut ChaCha8Rng,
) -> Image {
    let mut start = |length: usize| {
        STEP_PX * rng.random_range(0..=length.next_multiple_of(STEP_PX).saturating_sub(edge) / STEP_PX)
    };
    let at = (start(picture.width), start(picture.height));
    preprocessing.window(picture, at, (edge, edge), gain)
}
