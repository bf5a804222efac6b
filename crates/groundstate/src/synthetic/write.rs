//! Synthetic parts as a data set on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Config, Order, Part, render};
use crate::dataset::{Dataset, DatasetError};
use crate::image::{Image, ImageError, Mask, png_bytes};

/// Marks a folder as written by [`write_dataset`]; holds the configuration.
const MARKER: &str = "synthetic.json";

/// Why synthetic parts could not be made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// The pictures' size is out of range.
    #[error("synthetic pictures of {0} px, expected {min} to {max}", min = Config::MIN_SIZE_PX, max = Config::MAX_SIZE_PX)]
    Size(usize),
    /// Writing here would mix made-up parts with the user's files.
    #[error("{} is not empty and was not written by this program; choose another folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A picture cannot be encoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What was written cannot be read back as a data set.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

/// Makes all parts, writes them to `folder` in the layout of MVTec AD as PNG, and opens the result.
///
/// The folder is created if need be. One that this function wrote earlier is replaced; any other
/// that is not empty is refused.
///
/// # Errors
/// `config` is out of range, `folder` holds other files, or cannot be written.
pub fn write_dataset(folder: &Path, config: &Config) -> Result<Dataset, SyntheticError> {
    let config = config.check()?;
    clear(folder)?;
    // The marker comes first, so that an interrupted run can be repeated.
    let text = serde_json::to_vec_pretty(&config).expect("plain numbers have a JSON form");
    write(&folder.join(MARKER), &text)?;
    config.orders().par_iter().try_for_each(|order| write_part(folder, order, &render(&config, order)))?;
    Ok(Dataset::open(folder)?)
}

/// Leaves an empty folder, or an error if it holds something that is not ours.
fn clear(folder: &Path) -> Result<(), SyntheticError> {
    let failed = |source| SyntheticError::Io { path: folder.into(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    if folder.join(MARKER).is_file() {
        for name in ["train", "test", "ground_truth"] {
            let path = folder.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path).map_err(|source| SyntheticError::Io { path, source })?;
            }
        }
    } else if fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(SyntheticError::NotEmpty { path: folder.into() });
    }
    Ok(())
}

fn write_part(folder: &Path, order: &Order, part: &Part) -> Result<(), SyntheticError> {
    let set = if order.is_train { "train" } else { "test" };
    let kind = part.defect.map_or("good", |defect| defect.name());
    let path = folder.join(set).join(kind).join(format!("{:03}.png", order.index));
    write(&path, &png_bytes(&part.image)?)?;
    if part.defect.is_some() {
        let path = folder.join("ground_truth").join(kind).join(format!("{:03}_mask.png", order.index));
        write(&path, &png_bytes(&picture(&part.mask))?)?;
    }
    Ok(())
}

fn picture(mask: &Mask) -> Image {
    let pixels = mask.defective.iter().map(|&d| f32::from(u8::from(d))).collect();
    Image { width: mask.width, height: mask.height, channels: 1, pixels }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SyntheticError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|source| SyntheticError::Io { path: path.into(), source })
}
