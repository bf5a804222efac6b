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
    // A path that ends in `..` has no file name; its own name must not lead out of the folder for maps.
    let relative = path.file_name().map_or_else(|| PathBuf::from("unnamed"), PathBuf::from);
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Component;

    use rand::RngExt;
    use rand::rngs::StdRng;

    use super::*;
    use crate::fuzz;

    /// Pieces of names and patterns; none leads out of the folder.
    const PIECES: [&str; 21] = [
        "*",
        "**",
        "?",
        "[",
        "]",
        "[!a]",
        "[a-",
        "{a,b}",
        "/",
        "//",
        "/./",
        "\\",
        " ",
        "a",
        "b.png",
        "loop",
        "sub",
        "é",
        "\u{1f980}",
        "-",
        "a[1].png",
    ];

    fn name(rng: &mut StdRng) -> OsString {
        let mut name = OsString::new();
        for _ in 0..rng.random_range(0..8) {
            name.push(PIECES[rng.random_range(0..PIECES.len())]);
        }
        #[cfg(unix)]
        if rng.random_bool(0.05) {
            name.push(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
        }
        name
    }

    #[test]
    fn any_list_of_paths_and_patterns_is_expanded_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("sub/a")).unwrap();
        for file in ["b.png", "a[1].png", "sub/b.png", "sub/a/b.png", "sub/text.txt"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("sub/loop")).unwrap();
        let console = Console { quiet: true };
        fuzz::run(|rng| {
            let mut typed = folder.path().as_os_str().to_owned();
            typed.push("/");
            typed.push(name(rng));
            let typed = PathBuf::from(typed);
            let inputs = expand(std::slice::from_ref(&typed), &console);
            assert!(!inputs.is_empty(), "nothing is said of {typed:?}");
            for Input { path, relative, problem } in &inputs {
                let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
                assert!(inside || problem.is_some(), "{typed:?} leads to {path:?} as {relative:?}");
            }
            inputs.iter().all(|input| input.problem.is_none())
        });
    }

    #[test]
    fn a_path_that_ends_in_dots_does_not_lead_out_of_the_folder_for_maps() {
        let [input] = &expand(&["/no/such/folder/..".into()], &Console { quiet: true })[..] else { panic!() };
        assert_eq!(input.relative, Path::new("unnamed"));
    }
}
