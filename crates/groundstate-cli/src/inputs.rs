//! Paths as typed → images in the order given.

use std::path::{Path, PathBuf};

use groundstate::dataset::images_in;
use groundstate::image::{Image, read};

use crate::console::Console;

/// One image to work on, or what stands in its place because a path led nowhere.
pub(crate) struct Input {
    /// The image.
    pub(crate) path: PathBuf,
    /// Its path below the folder that was given, or its file name.
    pub(crate) relative: PathBuf,
    /// Why the path as typed leads to no image.
    pub(crate) problem: Option<String>,
}

impl Input {
    /// Decodes the image.
    pub(crate) fn read(&self) -> anyhow::Result<Image> {
        match &self.problem {
            Some(problem) => Err(anyhow::anyhow!("{problem}")),
            None => Ok(read(&self.path)?),
        }
    }
}

/// Files as they are, folders with all images below them, patterns with all files that match.
///
/// A file that exists is itself, whatever characters its name has.
pub(crate) fn expand(paths: &[PathBuf], console: &Console) -> Vec<Input> {
    paths.iter().flat_map(|path| expand_one(path, console)).collect()
}

fn expand_one(path: &Path, console: &Console) -> Vec<Input> {
    if path.is_dir() {
        return in_folder(path, console);
    }
    let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
    match pattern {
        Some(pattern) if !path.exists() => matching(pattern, path, console),
        _ => vec![file(path.to_owned())],
    }
}

fn file(path: PathBuf) -> Input {
    let relative = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
    Input { path, relative, problem: None }
}

fn unusable(path: &Path, problem: String) -> Input {
    Input { path: path.to_owned(), relative: path.to_owned(), problem: Some(problem) }
}

fn in_folder(folder: &Path, console: &Console) -> Vec<Input> {
    match images_in(folder) {
        Ok((images, warnings)) => {
            warnings.iter().for_each(|warning| console.warn(warning));
            let relative = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
            images.into_iter().map(|path| Input { relative: relative(&path), path, problem: None }).collect()
        }
        Err(error) => vec![unusable(folder, error.to_string())],
    }
}

fn matching(pattern: &str, path: &Path, console: &Console) -> Vec<Input> {
    let found = match glob::glob(pattern) {
        Ok(found) => found,
        Err(error) => return vec![unusable(path, format!("{pattern} is no pattern: {error}"))],
    };
    let inputs: Vec<Input> = found
        .flat_map(|entry| match entry {
            Ok(path) if path.is_dir() => in_folder(&path, console),
            Ok(path) => vec![file(path)],
            Err(error) => vec![unusable(error.path(), error.to_string())],
        })
        .collect();
    if inputs.is_empty() {
        return vec![unusable(path, format!("no file matches {pattern}"))];
    }
    inputs
}
