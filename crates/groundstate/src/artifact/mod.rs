//! The model file: a [`Detector`] as [safetensors](https://github.com/huggingface/safetensors).
//!
//! Tensors are little-endian `f32`, but for `variation` and `factor`, which are `i8`, to be multiplied row by row with
//! `variation_scale` and `factor_scale`. The metadata has one key, `groundstate`, whose value is JSON:
//! `format_version` ([`FORMAT_VERSION`], no other is read), `digest` (BLAKE3 over the `detector` text and every
//! tensor's name, shape, type and bytes, in the order of their names) and `detector` (preprocessing,
//! energy structure, score and map names, calibration and its folds, training record). The same detector gives
//! the same bytes. Saving writes a temporary file beside the target and renames it, so a reader
//! sees the old file or the new one.
//!
//! | tensors | shape |
//! |---|---|
//! | `reference.centre`, `reference.whitening` | d features of the pyramid; k dimensions × d |
//! | `reference.mean`, `reference.variation`, `reference.factor`, `…_scale` | see [`crate::model::Gaussian`] |
//! | `density0.*`, `density1.*`, … | closed forms of layers of the networks: `reference.*` as above, with the parameters `trunk.*` of the layers for `centre` and `whitening` |
//! | `tiled.*` | see [`crate::model::TiledGaussian`]; instead of `reference.*` where pictures keep their size |
//! | `light.template`, `light.weight` | 32 × 32, see [`crate::image::Light`] |
//! | `registration.template` | 128 × 128, see [`crate::image::Registration`] |
//! | `learned.*`, `learned1.*`, … | the parameters of each network, by name |
//! | `conditions` | normal pictures × brightness, contrast, sharpness; absent where not known |
//! | `roi` | cells down × across, 1 inside and 0 outside; absent where everything counts |
//! | `statistics.{energy,gradient}.{mean,spread}` | rows × columns of the map |
//! | `fold0.*`, `fold1.*`, … | what a cross-conformal calibration compares with: for each fold `light.*`, `registration.*`, `reference.*` and `statistics.*` as above |

mod arrays;
mod energy;
mod error;

pub use error::ArtifactError;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::calibrate::{Basis, Calibration};
use crate::conditions::{CONDITION_NAMES, Conditions};
use crate::detector::{Detector, Fold, TrainingRecord};
use crate::image::{Grid, Light, Map, Nuisance, Preprocessing, Reach, Registration, Roi, write_atomically};
use crate::model::EnergyModel;
use crate::score::{MAX_POSITIONS, MapKind, MapStatistics, Normaliser, SCORE_NAMES, Stabiliser};
use arrays::Tensors;
use energy::EnergyDescription;

/// Version of the format that this build writes and reads.
pub const FORMAT_VERSION: u32 = 12;
const KEY: &str = "groundstate";
const TEMPLATE: &str = "registration.template";
const LIGHT: [&str; 2] = ["light.template", "light.weight"];
/// A larger file is not read into memory, nor written.
const MAX_BYTES: u64 = 1 << 30;
/// Most folds of a calibration.
const MAX_FOLDS: usize = 16;

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    format_version: u32,
    digest: String,
    #[serde(borrow)]
    detector: &'a RawValue,
}

/// Only the version, which any later format keeps where it is.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// The detector without its arrays.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    preprocessing: Preprocessing,
    scorer: ScorerDescription,
    calibration: Calibration,
    /// With a cross-conformal calibration only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    folds: Vec<ScorerDescription>,
    record: TrainingRecord,
}

/// What was trained and turns a picture of one size into scores and maps, without its arrays.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScorerDescription {
    /// Absent where pictures are not registered.
    #[serde(default)]
    registration: Option<Reach>,
    energy: EnergyDescription,
    stabiliser: Stabiliser,
    gradient_floor: f32,
    default_score: String,
    default_map: MapKind,
}

/// Writes a detector to `path`, atomically.
///
/// # Errors
/// When the file cannot be written, or is larger than any that is read; whatever was at `path` is then as it was.
pub fn save(detector: &Detector, path: &Path) -> Result<(), ArtifactError> {
    let bytes = to_bytes(detector);
    let written = match bytes.len() as u64 {
        0..=MAX_BYTES => write_atomically(path, &bytes),
        length => Err(std::io::Error::other(format!(
            "it would have {length} bytes, expected at most {MAX_BYTES}; a lower size or no cross_conformal helps"
        ))),
    };
    written.map_err(|source| ArtifactError::Write { path: path.to_owned(), source })
}

/// Reads a detector.
///
/// # Errors
/// When the file cannot be read, is no model of ours, is damaged, or comes from a newer version.
pub fn load(path: &Path) -> Result<Detector, ArtifactError> {
    let error = |source| ArtifactError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(error)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ArtifactError::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
    }
    decode(&bytes, path)
}

/// Does what [`load`] does with bytes in memory; `name` is what errors call them.
///
/// # Errors
/// As [`load`], less the file system's.
pub fn decode(bytes: &[u8], name: &Path) -> Result<Detector, ArtifactError> {
    from_bytes(bytes).map_err(|what| what.at(name))
}

fn to_bytes(detector: &Detector) -> Vec<u8> {
    let mut arrays = Tensors::default();
    let Detector { nuisance, energy, normaliser, default_score, default_map, .. } = detector;
    let scorer = put_scorer(&mut arrays, (nuisance, energy, normaliser), (default_score, *default_map));
    let mut folds = Vec::new();
    for (number, fold) in detector.folds.iter().enumerate() {
        let Fold { nuisance, energy, normaliser, default_score, default_map } = fold;
        let mut of_fold = Tensors::default();
        folds.push(put_scorer(&mut of_fold, (nuisance, energy, normaliser), (default_score, *default_map)));
        arrays.put_all(&fold_prefix(number), of_fold);
    }
    if let Some(roi) = &detector.roi {
        let (edge, inside) = roi.cells();
        let cells: Vec<f32> = inside.iter().map(|&inside| f32::from(u8::from(inside))).collect();
        arrays.put("roi", vec![edge, edge], &cells);
    }
    if !detector.conditions.is_empty() {
        let conditions: Vec<f32> = detector.conditions.iter().flat_map(Conditions::values).collect();
        arrays.put("conditions", vec![detector.conditions.len(), CONDITION_NAMES.len()], &conditions);
    }
    let description = Description {
        preprocessing: detector.preprocessing,
        scorer,
        calibration: detector.calibration.clone(),
        folds,
        record: detector.record.clone(),
    };
    let text = serde_json::value::to_raw_value(&description).expect("a description is plain data");
    let digest = arrays.digest(text.get());
    let envelope = Envelope { format_version: FORMAT_VERSION, digest, detector: &text };
    let metadata = serde_json::to_string(&envelope).expect("an envelope is plain data");
    arrays.serialise(HashMap::from([(KEY.to_owned(), metadata)]))
}

/// What the names of the tensors of a fold begin with.
fn fold_prefix(number: usize) -> String {
    format!("fold{number}.")
}

fn put_scorer(
    arrays: &mut Tensors,
    (nuisance, energy, normaliser): (&Nuisance, &EnergyModel, &Normaliser),
    (default_score, default_map): (&str, MapKind),
) -> ScorerDescription {
    let energy = arrays.put_energy(energy);
    if let Some(registration) = &nuisance.registration {
        put_map(arrays, TEMPLATE, registration.template());
    }
    put_map(arrays, LIGHT[0], nuisance.light.template());
    put_map(arrays, LIGHT[1], nuisance.light.weight());
    for (name, statistics) in [("energy", &normaliser.energy), ("gradient", &normaliser.gradient)] {
        let shape = vec![statistics.height, statistics.width];
        arrays.put(format!("statistics.{name}.mean"), shape.clone(), &statistics.mean);
        arrays.put(format!("statistics.{name}.spread"), shape, &statistics.spread);
    }
    ScorerDescription {
        registration: nuisance.registration.as_ref().map(Registration::reach),
        energy,
        stabiliser: normaliser.stabiliser,
        gradient_floor: normaliser.gradient_floor,
        default_score: default_score.to_owned(),
        default_map,
    }
}

fn put_map(arrays: &mut Tensors, name: &str, map: &Map) {
    arrays.put(name, vec![map.height, map.width], &map.values);
}

fn from_bytes(bytes: &[u8]) -> Result<Detector, error::Damage> {
    use error::Damage;
    let (_, header) =
        safetensors::SafeTensors::read_metadata(bytes).map_err(|e| Damage::Format(e.to_string()))?;
    let text = header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or(Damage::Foreign)?;
    let damaged = |e: serde_json::Error| Damage::Format(e.to_string());
    let version = serde_json::from_str::<Version>(text).map_err(damaged)?.format_version;
    if version != FORMAT_VERSION {
        return Err(Damage::Version { found: version, expected: FORMAT_VERSION });
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(damaged)?;
    let mut arrays = Tensors::deserialise(bytes).map_err(Damage::Format)?;
    if arrays.digest(envelope.detector.get()) != envelope.digest {
        return Err(Damage::Digest);
    }
    let description: Description = serde_json::from_str(envelope.detector.get()).map_err(damaged)?;
    assemble(description, &mut arrays).map_err(Damage::Content)
}

fn take_map(name: &str, arrays: &mut Tensors) -> Result<Map, String> {
    let (shape, values) = arrays.take(name)?;
    match shape[..] {
        [height, width] => Ok(Map { width, height, values }),
        _ => Err(format!("tensor {name} has shape {shape:?}, expected two edges")),
    }
}

/// Puts arrays and description together, checking that they fit.
fn assemble(description: Description, arrays: &mut Tensors) -> Result<Detector, String> {
    let preprocessing = description.preprocessing.check().map_err(|e| e.to_string())?;
    let calibration = description.calibration.check().map_err(|e| e.to_string())?;
    let folds = take_folds(description.folds, arrays, preprocessing)?;
    let expected = if calibration.basis == Basis::CrossConformal { calibration.image.folds() } else { 0 };
    if folds.len() != expected {
        return Err(format!("there are energies of {} folds, the calibration has {expected}", folds.len()));
    }
    let Fold { nuisance, energy, normaliser, default_score, default_map } =
        take_scorer(description.scorer, arrays, preprocessing)?;
    let roi = take_roi(arrays)?;
    let conditions = take_conditions(arrays)?;
    arrays.expect_empty()?;
    Ok(Detector {
        roi,
        preprocessing,
        nuisance,
        conditions,
        energy,
        normaliser,
        default_score,
        default_map,
        calibration,
        folds,
        record: description.record,
    })
}

/// Takes what the calibration compares with, fold by fold: closed forms only.
fn take_folds(
    descriptions: Vec<ScorerDescription>,
    arrays: &mut Tensors,
    preprocessing: Preprocessing,
) -> Result<Vec<Fold>, String> {
    if descriptions.len() > MAX_FOLDS {
        return Err(format!("there are {} folds, expected at most {MAX_FOLDS}", descriptions.len()));
    }
    let fold = |(number, description)| {
        let mut of_fold = arrays.take_all(&fold_prefix(number));
        let fold = take_scorer(description, &mut of_fold, preprocessing)?;
        of_fold.expect_empty()?;
        match fold.energy {
            EnergyModel::Reference(_) => Ok(fold),
            _ => Err("the energy of a fold is no closed form for pictures of one size".to_owned()),
        }
    };
    descriptions
        .into_iter()
        .enumerate()
        .map(fold)
        .collect::<Result<_, String>>()
        .map_err(|what| format!("a fold of the calibration: {what}"))
}

/// What one training made: that of all pictures, or that of all but a fold.
fn take_scorer(
    description: ScorerDescription,
    arrays: &mut Tensors,
    preprocessing: Preprocessing,
) -> Result<Fold, String> {
    let energy: EnergyModel = arrays.take_energy(description.energy, preprocessing)?;
    let light = Light::new(take_map(LIGHT[0], arrays)?, take_map(LIGHT[1], arrays)?)?;
    let gradient_floor = description.gradient_floor;
    if !(gradient_floor.is_finite() && gradient_floor > 0.0) {
        return Err(format!("the floor of the gradient map is {gradient_floor}, expected a positive number"));
    }
    let (energy_grid, gradient_grid) = crate::score::grids(&energy, preprocessing.size);
    let normaliser = Normaliser {
        stabiliser: description.stabiliser,
        gradient_floor,
        energy: take_statistics("energy", energy_grid, arrays, preprocessing)?,
        gradient: take_statistics("gradient", gradient_grid, arrays, preprocessing)?,
    };
    let default_score = description.default_score;
    if !SCORE_NAMES.iter().any(|(name, _)| *name == default_score) {
        return Err(format!("default score is called {default_score:?}, which is no score"));
    }
    // What it prepares takes longer than all the rest.
    let registration = description
        .registration
        .map(|reach| Registration::new(reach, take_map(TEMPLATE, arrays)?))
        .transpose()?;
    let default_map = description.default_map;
    Ok(Fold { nuisance: Nuisance { registration, light }, energy, normaliser, default_score, default_map })
}

fn take_statistics(
    name: &str,
    expected: Grid,
    arrays: &mut Tensors,
    preprocessing: Preprocessing,
) -> Result<MapStatistics, String> {
    let (shape, mean) = arrays.take(&format!("statistics.{name}.mean"))?;
    let (_, spread) = arrays.take(&format!("statistics.{name}.spread"))?;
    // Pictures that keep their size have as many positions as the first of them had.
    let fits = match shape[..] {
        [rows, columns] if preprocessing.is_tiled() => (1..=MAX_POSITIONS).contains(&(rows * columns)),
        [rows, columns] => Grid { columns, rows } == expected,
        _ => false,
    };
    if !fits || spread.len() != mean.len() {
        return Err(format!("statistics of the {name} map have shape {shape:?}, expected {expected:?}"));
    }
    if !spread.iter().all(|s| *s > 0.0) {
        return Err(format!("spread of the {name} map is not positive everywhere"));
    }
    Ok(MapStatistics { width: shape[1], height: shape[0], mean, spread })
}

fn take_roi(arrays: &mut Tensors) -> Result<Option<Roi>, String> {
    let Some((shape, cells)) = arrays.take_optional("roi")? else { return Ok(None) };
    let &[rows, columns] = &shape[..] else {
        return Err(format!("the region of interest has shape {shape:?}, expected two axes"));
    };
    if rows != columns || !cells.iter().all(|cell| [0.0, 1.0].contains(cell)) {
        return Err("the region of interest is no square of zeros and ones".to_owned());
    }
    let inside = cells.iter().map(|&cell| cell == 1.0).collect();
    Roi::from_cells(columns, inside).map(Some).map_err(|e| e.to_string())
}

fn take_conditions(arrays: &mut Tensors) -> Result<Vec<Conditions>, String> {
    let Some((shape, values)) = arrays.take_optional("conditions")? else { return Ok(Vec::new()) };
    if shape.get(1) != Some(&CONDITION_NAMES.len()) || shape.len() != 2 {
        return Err(format!("the conditions have shape {shape:?}, expected pictures × 3"));
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err("a condition of a normal picture is not finite".to_owned());
    }
    let of = |v: &[f32]| Conditions { brightness: v[0], contrast: v[1], sharpness: v[2] };
    Ok(values.chunks_exact(CONDITION_NAMES.len()).map(of).collect())
}
