//! Many images at once.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::image::{Image, ImageError, Preprocessing, read};

/// What became of a list of files.
#[derive(Debug)]
pub struct Loaded {
    /// Position in the list and network input of every file that could be read, in order.
    pub images: Vec<(usize, Image)>,
    /// Position in the list and reason of every file that could not, in order.
    pub failures: Vec<(usize, ImageError)>,
}

/// Reads and prepares all `paths` on all threads. A bad file does not stop the others.
///
/// Only the prepared images are kept, so memory is that of the inputs plus one decoded image for
/// each thread.
pub fn load_all(paths: &[PathBuf], preprocessing: &Preprocessing) -> Loaded {
    let results: Vec<Result<Image, ImageError>> =
        paths.par_iter().map(|path| read(path).map(|image| preprocessing.apply(&image))).collect();
    let mut loaded = Loaded { images: Vec::new(), failures: Vec::new() };
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(image) => loaded.images.push((index, image)),
            Err(error) => loaded.failures.push((index, error)),
        }
    }
    loaded
}
