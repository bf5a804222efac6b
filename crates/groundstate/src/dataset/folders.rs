//! Data sets whose normal images, anomalous images and masks lie in folders of the user's choice.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Dataset, DatasetError, Label, Sample, find, folder_name, warn_of_missing_masks};

/// Where the images of each kind are. All folders are searched with their sub-folders.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Normal images, for training.
    pub normal: Vec<PathBuf>,
    /// Normal images for testing. If there are none but anomalous images, `test_share` of the
    /// images in `normal` is held out instead.
    pub normal_test: Vec<PathBuf>,
    /// Anomalous images; the name of the folder that an image lies in is its kind of defect.
    pub anomalous: Vec<PathBuf>,
    /// Masks, named like their image with or without `_mask`, with any image extension. Where names
    /// repeat, the mask in a folder called like the image's folder is taken.
    pub mask: Option<PathBuf>,
    /// Share of `normal` that is held out, above 0 and below 1.
    pub test_share: f64,
    /// Decides which images are held out.
    pub seed: u64,
}

impl Default for Folders {
    fn default() -> Self {
        Self {
            normal: Vec::new(),
            normal_test: Vec::new(),
            anomalous: Vec::new(),
            mask: None,
            test_share: 0.2,
            seed: 0,
        }
    }
}

impl Dataset {
    /// Finds the images of several folders.
    ///
    /// # Errors
    /// A path is no folder or holds no image, an image is found twice, two masks fit one image, or
    /// `test_share` leaves nothing to train or to test on.
    pub fn from_folders(folders: &Folders) -> Result<Self, DatasetError> {
        let mut warnings = Vec::new();
        let mut list = |paths: &[PathBuf]| -> Result<Vec<PathBuf>, DatasetError> {
            let mut images = Vec::new();
            for path in paths {
                images.extend(find::images(path, &mut warnings)?);
            }
            Ok(images)
        };
        let mut train = list(&folders.normal)?;
        let mut normal_test = list(&folders.normal_test)?;
        let anomalous = list(&folders.anomalous)?;
        let masks = match &folders.mask {
            Some(path) => Masks::index(find::images(path, &mut warnings)?),
            None => Masks::default(),
        };
        check_disjoint(&[
            (&train, "normal image"),
            (&normal_test, "normal test image"),
            (&anomalous, "anomalous image"),
        ])?;
        if normal_test.is_empty() && !anomalous.is_empty() && !train.is_empty() {
            (train, normal_test) = hold_out(train, folders.test_share, folders.seed)?;
        }
        let good = |path| Sample { path, label: Label::Normal, defect: "good".into(), mask: None };
        let mut test: Vec<Sample> = normal_test.into_iter().map(good).collect();
        for path in anomalous {
            let defect = parent_name(&path).to_string_lossy().into_owned();
            let mask = masks.of(&path)?;
            test.push(Sample { path, label: Label::Anomalous, defect, mask });
        }
        warn_of_missing_masks(&test, &mut warnings);
        let first = folders.normal.first().or(folders.anomalous.first());
        let name = first.map(|path| folder_name(path)).unwrap_or_default();
        Ok(Self { name, train, test, warnings })
    }
}

/// Splits off `share` of the images, at least one; both parts keep their order.
fn hold_out(
    images: Vec<PathBuf>,
    share: f64,
    seed: u64,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DatasetError> {
    if !(share > 0.0 && share < 1.0) || images.len() < 2 {
        return Err(DatasetError::TestShare { share, images: images.len() });
    }
    let held_out = ((images.len() as f64 * share).round() as usize).clamp(1, images.len() - 1);
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let chosen: HashSet<usize> = order.into_iter().take(held_out).collect();
    let (test, train): (Vec<_>, Vec<_>) =
        images.into_iter().enumerate().partition(|(index, _)| chosen.contains(index));
    let paths = |part: Vec<(usize, PathBuf)>| part.into_iter().map(|(_, path)| path).collect();
    Ok((paths(train), paths(test)))
}

/// Refuses a file that would be normal and anomalous, or trained on and tested on, at once.
fn check_disjoint(roles: &[(&[PathBuf], &'static str)]) -> Result<(), DatasetError> {
    let mut seen: HashMap<PathBuf, &'static str> = HashMap::new();
    for (images, role) in roles {
        for path in *images {
            let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            if let Some(first) = seen.insert(canonical, role) {
                return Err(DatasetError::UsedTwice { path: path.clone(), first, second: role });
            }
        }
    }
    Ok(())
}

/// Masks by the name of the image that they belong to.
#[derive(Default)]
struct Masks {
    by_stem: HashMap<OsString, Vec<PathBuf>>,
}

impl Masks {
    fn index(masks: Vec<PathBuf>) -> Self {
        let mut by_stem: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
        for mask in masks {
            let stem = mask.file_stem().unwrap_or_default();
            by_stem.entry(stem.to_os_string()).or_default().push(mask);
        }
        Self { by_stem }
    }

    fn of(&self, image: &Path) -> Result<Option<PathBuf>, DatasetError> {
        let stem = image.file_stem().unwrap_or_default();
        let mut marked = stem.to_os_string();
        marked.push("_mask");
        let fitting = |name: &OsStr| self.by_stem.get(name).into_iter().flatten();
        let fitting: Vec<&PathBuf> = fitting(&marked).chain(fitting(stem)).collect();
        let beside: Vec<&PathBuf> =
            fitting.iter().copied().filter(|mask| parent_name(mask) == parent_name(image)).collect();
        match (fitting.as_slice(), beside.as_slice()) {
            ([], _) => Ok(None),
            ([mask], _) | (_, [mask]) => Ok(Some((*mask).clone())),
            ([first, second, ..], _) => Err(DatasetError::AmbiguousMask {
                image: image.into(),
                first: (*first).clone(),
                second: (*second).clone(),
            }),
        }
    }
}

fn parent_name(path: &Path) -> &OsStr {
    path.parent().and_then(Path::file_name).unwrap_or_default()
}
