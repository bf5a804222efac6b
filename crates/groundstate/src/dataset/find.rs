//! Lists folders: sorted, without hidden entries, safe against links in circles.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{DatasetError, Warning};

/// Extensions that make a file an image, in any case. What the file holds is seen when it is read.
pub const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "jpe", "tif", "tiff", "bmp", "webp"];

/// Succeeds if `path` is a folder.
pub(super) fn check_folder(path: &Path) -> Result<(), DatasetError> {
    let found = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "a file",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "nothing",
        Err(source) => return Err(DatasetError::List { path: path.into(), source }),
    };
    Err(DatasetError::NotAFolder { path: path.into(), found })
}

/// All images in `folder` and below, sorted; other files are counted in a warning.
///
/// # Errors
/// The folder or one below cannot be listed, or there is no image.
pub(super) fn images(folder: &Path, warnings: &mut Vec<Warning>) -> Result<Vec<PathBuf>, DatasetError> {
    check_folder(folder)?;
    let (mut images, mut others) = (Vec::new(), Vec::new());
    let mut visited = HashSet::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        let canonical = fs::canonicalize(&folder)
            .map_err(|source| DatasetError::List { path: folder.clone(), source })?;
        if !visited.insert(canonical) {
            continue;
        }
        for path in entries(&folder)? {
            if path.is_dir() {
                pending.push(path);
            } else if has_image_extension(&path) {
                images.push(path);
            } else {
                others.push(path);
            }
        }
    }
    images.sort();
    if images.is_empty() {
        return Err(DatasetError::NoImages { path: folder.into(), skipped: others.len() });
    }
    let files = others.len();
    if let Some(example) = others.into_iter().min() {
        warnings.push(Warning::SkippedFiles { folder: folder.into(), files, example });
    }
    Ok(images)
}

/// The folders directly in `folder`, sorted.
pub(super) fn sub_folders(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut folders: Vec<PathBuf> = entries(folder)?.into_iter().filter(|p| p.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// Everything in `folder` whose name does not begin with a dot.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let failed = |source| DatasetError::List { path: folder.into(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn has_image_extension(path: &Path) -> bool {
    path.extension().is_some_and(|found| EXTENSIONS.iter().any(|known| found.eq_ignore_ascii_case(known)))
}
