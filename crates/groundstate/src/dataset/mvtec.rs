//! The folder layout of MVTec AD (Bergmann et al. 2019).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Dataset, DatasetError, EXTENSIONS, Label, Sample, find, folder_name, warn_of_missing_masks};

/// Name of the folders that hold normal images.
const GOOD: &str = "good";

pub(super) fn has_layout(path: &Path) -> bool {
    path.join("train").join(GOOD).is_dir() || path.join("test").is_dir()
}

pub(super) fn open(path: &Path) -> Result<Dataset, DatasetError> {
    let mut warnings = Vec::new();
    let train_folder = path.join("train").join(GOOD);
    let train = if train_folder.is_dir() { find::images(&train_folder, &mut warnings)? } else { Vec::new() };
    let mut test = Vec::new();
    let test_folder = path.join("test");
    if test_folder.is_dir() {
        for folder in find::sub_folders(&test_folder)? {
            let defect = folder.file_name().unwrap_or(OsStr::new(GOOD)).to_os_string();
            for image in find::images(&folder, &mut warnings)? {
                test.push(sample(path, image, &defect));
            }
        }
        if test.is_empty() {
            return Err(DatasetError::NoImages { path: test_folder, skipped: 0 });
        }
    }
    warn_of_missing_masks(&test, &mut warnings);
    Ok(Dataset { name: folder_name(path), train, test, warnings })
}

fn sample(root: &Path, path: PathBuf, defect: &OsStr) -> Sample {
    if defect == GOOD {
        return Sample { path, label: Label::Normal, defect: GOOD.into(), mask: None };
    }
    let mask = mask_of(&root.join("ground_truth").join(defect), &path);
    Sample { path, label: Label::Anomalous, defect: defect.to_string_lossy().into_owned(), mask }
}

/// `NAME_mask.EXTENSION` or `NAME.EXTENSION` in `folder`, whichever exists first.
fn mask_of(folder: &Path, image: &Path) -> Option<PathBuf> {
    let stem = image.file_stem()?;
    ["_mask", ""].iter().find_map(|suffix| {
        EXTENSIONS.iter().find_map(|extension| {
            let mut name = OsString::from(stem);
            name.push(suffix);
            name.push(".");
            name.push(extension);
            Some(folder.join(name)).filter(|path| path.is_file())
        })
    })
}

/// The data sets below `root`, sorted: every sub-folder in the layout of MVTec AD that can be trained
/// and tested on, or `root` itself if it is one.
///
/// # Errors
/// `root` is no folder or there is no such data set.
pub fn categories(root: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    find::check_folder(root)?;
    let complete = |path: &Path| path.join("train").join(GOOD).is_dir() && path.join("test").is_dir();
    if complete(root) {
        return Ok(vec![root.into()]);
    }
    let mut found = find::sub_folders(root)?;
    found.retain(|path| complete(path));
    if found.is_empty() {
        return Err(DatasetError::NoCategories { path: root.into() });
    }
    Ok(found)
}
