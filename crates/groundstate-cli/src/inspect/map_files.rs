//! Where the overlays of inspected images go.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::inputs::Input;

/// Files for overlays: `NAME_map.png`, below the same sub-folders as the images; where two images
/// would share one, the later gets `NAME_map_2.png`, and so on.
pub(super) struct MapFiles {
    by_image: HashMap<PathBuf, PathBuf>,
}

impl MapFiles {
    /// Plans a file for every input and makes the folders.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub(super) fn create(folder: &Path, inputs: &[Input]) -> Result<Self> {
        let mut taken = HashSet::new();
        let mut by_image = HashMap::new();
        for input in inputs.iter().filter(|input| input.problem.is_none()) {
            if by_image.contains_key(&input.path) {
                continue;
            }
            let free =
                (1..).map(|n| folder.join(map_name(&input.relative, n))).find(|path| !taken.contains(path));
            let target = free.expect("there are more numbers than images");
            taken.insert(target.clone());
            by_image.insert(input.path.clone(), target);
        }
        let parents: HashSet<&Path> = taken.iter().filter_map(|path| path.parent()).chain([folder]).collect();
        for parent in parents {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make the folder {}", parent.display()))?;
        }
        Ok(Self { by_image })
    }

    /// The file of one input.
    pub(super) fn path_of(&self, input: &Input) -> PathBuf {
        self.by_image[&input.path].clone()
    }
}

fn map_name(image: &Path, attempt: u32) -> PathBuf {
    let mut name = OsString::from(image.file_stem().unwrap_or_default());
    name.push("_map");
    if attempt > 1 {
        name.push(format!("_{attempt}"));
    }
    name.push(".png");
    image.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, relative: &str) -> Input {
        Input { path: path.into(), relative: relative.into(), problem: None }
    }

    #[test]
    fn images_of_one_name_get_different_files() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = [input("a/1.png", "1.png"), input("b/1.jpg", "1.jpg"), input("c/d/1.png", "d/1.png")];
        let files = MapFiles::create(folder.path(), &inputs).unwrap();
        let names = inputs.map(|input| files.path_of(&input).strip_prefix(folder.path()).unwrap().to_owned());
        assert_eq!(names, ["1_map.png", "1_map_2.png", "d/1_map.png"].map(PathBuf::from));
        assert!(folder.path().join("d").is_dir());
    }
}
