//! Many images at once.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::image::{Image, ImageError, read};

/// What became of a list of files.
#[derive(Debug)]
pub struct Loaded<T> {
    /// Position in the list and what was made of every file that could be read, in order.
    pub images: Vec<(usize, T)>,
    /// Position in the list and reason of every file that could not, in order.
    pub failures: Vec<(usize, ImageError)>,
}

/// Reads all `paths` on all threads and keeps what `prepare` makes of each. A bad file does not stop
/// the others.
///
/// Memory is that of what is kept plus one decoded image for each thread.
pub fn load_all<T: Send>(paths: &[PathBuf], prepare: impl Fn(&Image) -> T + Sync) -> Loaded<T> {
    let results: Vec<Result<T, ImageError>> =
        paths.par_iter().map(|path| read(path).map(|image| prepare(&image))).collect();
    let mut loaded = Loaded { images: Vec::new(), failures: Vec::new() };
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(image) => loaded.images.push((index, image)),
            Err(error) => loaded.failures.push((index, error)),
        }
    }
    loaded
}
