//! Which images are normal, which are anomalous, and where their masks are.
//!
//! [`Dataset::open`] takes a folder in the layout of MVTec AD or a plain folder of normal images;
//! [`Folders`] takes any other arrangement. Nothing is decoded here but by [`Sample::load_mask`] and
//! [`load_all`]; lists are sorted by path, so that the same folder always gives the same data set.

mod error;
mod find;
mod folders;
mod load;
mod mvtec;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::image::{Mask, read_mask};

pub use error::DatasetError;
pub use find::EXTENSIONS;
pub use folders::Folders;
pub use load::{Loaded, load_all};
pub use mvtec::categories;

/// Images to train on and images to be judged by.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Name of the folder.
    pub name: String,
    /// Normal images for training and calibration, sorted.
    pub train: Vec<PathBuf>,
    /// Labelled images, empty where only training was asked for; sorted by folder, then name.
    pub test: Vec<Sample>,
    /// What was left out or is missing, for the user to see.
    pub warnings: Vec<Warning>,
}

/// One labelled image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The image.
    pub path: PathBuf,
    /// Whether it shows a defect.
    pub label: Label,
    /// `good`, or the folder's name, which is the kind of defect.
    pub defect: String,
    /// The ground truth, for anomalous images that have one.
    pub mask: Option<PathBuf>,
}

/// What is known about an image as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Free of defects.
    Normal,
    /// With at least one defect.
    Anomalous,
}

/// Something that does not stop the work but may not be what the user meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Files whose extension is none of [`EXTENSIONS`].
    SkippedFiles {
        /// The folder that was searched.
        folder: PathBuf,
        /// How many.
        files: usize,
        /// The first of them.
        example: PathBuf,
    },
    /// Anomalous images that pixel metrics must leave out.
    MissingMasks {
        /// How many.
        images: usize,
        /// The first of them.
        example: PathBuf,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SkippedFiles { folder, files, example } => {
                let (folder, example) = (folder.display(), example.display());
                write!(
                    f,
                    "{files} files in {folder} have no image extension and were skipped, first {example}"
                )
            }
            Self::MissingMasks { images, example } => {
                let example = example.display();
                write!(
                    f,
                    "{images} anomalous images have no mask and will not count in pixel metrics, first {example}"
                )
            }
        }
    }
}

impl Dataset {
    /// Finds the images of a folder.
    ///
    /// A folder with `train/good` or `test` is read in the layout of MVTec AD: `train/good`,
    /// `test/good`, `test/DEFECT`, and masks in `ground_truth/DEFECT` named like their image with or
    /// without `_mask`. Either `train` or `test` may be absent. Any other folder is taken as normal
    /// images for training and searched with all its sub-folders. Hidden files and folders are
    /// passed over; each folder is visited once, whatever links lead to it.
    ///
    /// # Errors
    /// The path is no folder, cannot be listed, or holds no image.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        find::check_folder(path)?;
        if mvtec::has_layout(path) {
            return mvtec::open(path);
        }
        if path.join("train").is_dir() {
            return Err(DatasetError::NoTrainGood { path: path.into() });
        }
        let mut warnings = Vec::new();
        let train = find::images(path, &mut warnings)?;
        Ok(Self { name: folder_name(path), train, test: Vec::new(), warnings })
    }

    /// Succeeds if there is something to train on.
    ///
    /// # Errors
    /// There are no images for training.
    pub fn require_train(&self) -> Result<(), DatasetError> {
        if self.train.is_empty() {
            return Err(DatasetError::NoTrain { name: self.name.clone() });
        }
        Ok(())
    }

    /// Succeeds if detection can be measured: with at least one test image of each label.
    ///
    /// # Errors
    /// Says how many there are of each.
    pub fn require_test(&self) -> Result<(), DatasetError> {
        let normal = self.test.iter().filter(|s| s.label == Label::Normal).count();
        let anomalous = self.test.len() - normal;
        if normal == 0 || anomalous == 0 {
            return Err(DatasetError::OneLabel { name: self.name.clone(), normal, anomalous });
        }
        Ok(())
    }
}

impl Sample {
    /// The ground truth of an image of `width` × `height`: empty for a normal one, `None` for an
    /// anomalous one without a mask file.
    ///
    /// # Errors
    /// The mask cannot be read or has another size than the image.
    pub fn load_mask(&self, width: usize, height: usize) -> Result<Option<Mask>, DatasetError> {
        if self.label == Label::Normal {
            return Ok(Some(Mask::empty(width, height)));
        }
        let Some(path) = &self.mask else { return Ok(None) };
        let mask = read_mask(path)?;
        if (mask.width, mask.height) != (width, height) {
            return Err(DatasetError::MaskSize {
                image: self.path.clone(),
                image_size: (width, height),
                mask: path.clone(),
                mask_size: (mask.width, mask.height),
            });
        }
        Ok(Some(mask))
    }
}

/// All images in `folder` and below, sorted, and what was passed over: the rule by which
/// [`Dataset::open`] lists folders.
///
/// # Errors
/// `folder` is none, cannot be listed, or holds no image.
pub fn images_in(folder: &Path) -> Result<(Vec<PathBuf>, Vec<Warning>), DatasetError> {
    let mut warnings = Vec::new();
    Ok((find::images(folder, &mut warnings)?, warnings))
}

/// Adds a warning if anomalous samples lack masks.
fn warn_of_missing_masks(test: &[Sample], warnings: &mut Vec<Warning>) {
    let mut missing = test.iter().filter(|s| s.label == Label::Anomalous && s.mask.is_none());
    if let Some(first) = missing.next() {
        warnings.push(Warning::MissingMasks { images: 1 + missing.count(), example: first.path.clone() });
    }
}

/// The folder's own name, also for paths such as `.` and `data/..`.
fn folder_name(path: &Path) -> String {
    let absolute = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
