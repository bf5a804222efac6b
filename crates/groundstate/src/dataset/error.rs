//! Why a folder is not a usable data set.

use std::io;
use std::path::PathBuf;

use crate::image::ImageError;

/// What was expected of the user's folders and what was found instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// Missing, or a file.
    #[error("expected a folder of images at {}, found {found}", path.display())]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
        /// For example `nothing`.
        found: &'static str,
    },
    /// A folder cannot be listed.
    #[error("cannot list {}: {source}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A folder without a single image.
    #[error(
        "found no images in {} (files of other kinds: {skipped}); expected PNG, JPEG, TIFF, BMP or WebP",
        path.display()
    )]
    NoImages {
        /// The folder that was searched.
        path: PathBuf,
        /// Files with other extensions.
        skipped: usize,
    },
    /// `train` exists, but not as in MVTec AD.
    #[error(
        "found {}/train but no train/good in it; expected train/good for normal images and test/DEFECT \
         for anomalous ones, or name the folder of normal images itself",
        path.display()
    )]
    NoTrainGood {
        /// The data set's folder.
        path: PathBuf,
    },
    /// No images to train on.
    #[error("data set {name} has no images to train on; expected them in train/good")]
    NoTrain {
        /// The data set's name.
        name: String,
    },
    /// Test images of one label only.
    #[error(
        "data set {name} has {normal} normal and {anomalous} anomalous test images; at least one of each \
         is needed to measure detection"
    )]
    OneLabel {
        /// The data set's name.
        name: String,
        /// Test images labelled normal.
        normal: usize,
        /// Test images labelled anomalous.
        anomalous: usize,
    },
    /// No sub-folder is a data set.
    #[error("found no data set in {}; expected sub-folders with train/good and test", path.display())]
    NoCategories {
        /// The folder that was searched.
        path: PathBuf,
    },
    /// The same file would be used twice with different meanings.
    #[error("{} is given both as {first} and as {second}", path.display())]
    UsedTwice {
        /// The image.
        path: PathBuf,
        /// Its first role.
        first: &'static str,
        /// Its second role.
        second: &'static str,
    },
    /// Two masks fit one image equally well.
    #[error("two masks fit {}: {} and {}", image.display(), first.display(), second.display())]
    AmbiguousMask {
        /// The image.
        image: PathBuf,
        /// One mask.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A share outside of (0, 1), or with nothing left on one side.
    #[error(
        "cannot hold out a share of {share} of {images} normal images; expected above 0, below 1, and 2 images"
    )]
    TestShare {
        /// The share asked for.
        share: f64,
        /// Normal images found.
        images: usize,
    },
    /// Image and mask do not belong together.
    #[error(
        "mask {} has {} × {} px, but its image {} has {} × {} px",
        mask.display(), mask_size.0, mask_size.1, image.display(), image_size.0, image_size.1
    )]
    MaskSize {
        /// The image.
        image: PathBuf,
        /// Its width and height.
        image_size: (usize, usize),
        /// The mask.
        mask: PathBuf,
        /// Its width and height.
        mask_size: (usize, usize),
    },
    /// An image or mask cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}
