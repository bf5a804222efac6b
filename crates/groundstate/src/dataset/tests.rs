use super::*;
use crate::image::{Image, Preprocessing, write_png};
use proptest::prelude::*;
use std::collections::HashSet;

/// A folder tree that vanishes with the test.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(images: &[&str]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        images.iter().for_each(|name| tree.image(name, 4, 3));
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn image(&self, name: &str, width: usize, height: usize) {
        self.file(name, b"");
        let pixels = vec![1.0; width * height];
        write_png(&self.path(name), &Image { width, height, channels: 1, pixels }).unwrap();
    }

    fn file(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Paths relative to the tree.
    fn names<'a>(&self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<String> {
        let name = |p: &PathBuf| p.strip_prefix(self.0.path()).unwrap().to_string_lossy().into_owned();
        paths.into_iter().map(name).collect()
    }
}

fn mvtec() -> Tree {
    Tree::new(&[
        "cap/train/good/001.png",
        "cap/train/good/000.png",
        "cap/test/good/000.png",
        "cap/test/scratch/000.png",
        "cap/test/scratch/001.png",
        "cap/test/dent/000.png",
        "cap/ground_truth/scratch/000_mask.png",
        "cap/ground_truth/dent/000.png",
    ])
}

#[test]
fn the_layout_of_mvtec_ad_is_understood() {
    let tree = mvtec();
    let dataset = Dataset::open(&tree.path("cap")).unwrap();
    assert_eq!(dataset.name, "cap");
    assert_eq!(tree.names(&dataset.train), ["cap/train/good/000.png", "cap/train/good/001.png"]);
    let test: Vec<_> = dataset.test.iter().map(|s| (s.defect.as_str(), s.label, s.mask.is_some())).collect();
    let expected = [
        ("dent", Label::Anomalous, true),
        ("good", Label::Normal, false),
        ("scratch", Label::Anomalous, true),
        ("scratch", Label::Anomalous, false),
    ];
    assert_eq!(test, expected);
    let example = tree.path("cap/test/scratch/001.png");
    assert_eq!(dataset.warnings, [Warning::MissingMasks { images: 1, example }]);
    assert!(dataset.require_train().is_ok() && dataset.require_test().is_ok());
}

#[test]
fn a_data_set_may_hold_test_images_only() {
    let tree = mvtec();
    fs::remove_dir_all(tree.path("cap/train")).unwrap();
    let dataset = Dataset::open(&tree.path("cap")).unwrap();
    assert_eq!(dataset.test.len(), 4);
    assert!(dataset.require_train().unwrap_err().to_string().contains("no images to train on"));
}

#[test]
fn without_defects_detection_cannot_be_measured() {
    let tree = Tree::new(&["a/train/good/0.png", "a/test/good/0.png"]);
    let dataset = Dataset::open(&tree.path("a")).unwrap();
    let text = dataset.require_test().unwrap_err().to_string();
    assert!(text.contains("1 normal and 0 anomalous"), "{text}");
}

#[test]
fn a_plain_folder_holds_normal_images_at_any_depth() {
    let tree = Tree::new(&["b.PNG", "a/z.jpeg", "a/.hidden.png", ".cache/0.png"]);
    tree.file("notes.txt", b"made on Monday");
    tree.file("a/list.csv", b"");
    tree.file("c.tif", b"listed whatever it contains");
    let dataset = Dataset::open(tree.0.path()).unwrap();
    assert_eq!(tree.names(&dataset.train), ["a/z.jpeg", "b.PNG", "c.tif"]);
    assert!(dataset.test.is_empty());
    let [Warning::SkippedFiles { files: 2, example, .. }] = dataset.warnings.as_slice() else {
        panic!("{:?}", dataset.warnings)
    };
    assert_eq!(*example, tree.path("a/list.csv"));
}

#[test]
fn wrong_paths_are_explained() {
    let tree = Tree::new(&["x/train/normal/0.png"]);
    tree.file("empty/readme.md", b"");
    let text = |name: &str| Dataset::open(&tree.path(name)).unwrap_err().to_string();
    assert!(text("gone").ends_with("gone, found nothing"), "{}", text("gone"));
    assert!(text("empty/readme.md").ends_with("found a file"));
    assert!(
        text("empty").contains("empty (files of other kinds: 1); expected PNG, JPEG"),
        "{}",
        text("empty")
    );
    assert!(text("x").contains("no train/good in it"), "{}", text("x"));
}

#[cfg(unix)]
#[test]
fn links_in_circles_end_and_list_each_image_once() {
    use std::os::unix::fs::symlink;
    let tree = Tree::new(&["a/0.png", "a/b/1.png"]);
    symlink(tree.path("a"), tree.path("a/b/up")).unwrap();
    symlink(tree.path("a/b"), tree.path("a/c")).unwrap();
    symlink(tree.path("missing"), tree.path("a/broken.png")).unwrap();
    let dataset = Dataset::open(&tree.path("a")).unwrap();
    let images: HashSet<_> = dataset.train.iter().filter_map(|p| fs::canonicalize(p).ok()).collect();
    assert_eq!((images.len(), dataset.train.len()), (2, 3), "{:?}", dataset.train);
    let loaded = load_all(&dataset.train, |image| Preprocessing::default().apply(image));
    assert_eq!((loaded.images.len(), loaded.failures.len()), (2, 1));
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_work() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let tree = mvtec();
    let odd =
        |folder: &str, tail: &[u8]| tree.path(folder).join(OsStr::from_bytes(&[b"\xFF\xE9", tail].concat()));
    let (image, mask) = (odd("cap/test/dent", b".png"), odd("cap/ground_truth/dent", b"_mask.png"));
    fs::copy(tree.path("cap/test/dent/000.png"), &image).unwrap();
    fs::copy(tree.path("cap/test/dent/000.png"), &mask).unwrap();
    let dataset = Dataset::open(&tree.path("cap")).unwrap();
    let sample = dataset.test.iter().find(|s| s.path == image).unwrap();
    assert_eq!(sample.mask.as_ref(), Some(&mask));
    assert!(sample.load_mask(4, 3).unwrap().unwrap().area() > 0.99);
}

#[test]
fn a_mask_of_another_size_is_an_error_that_names_both() {
    let tree = mvtec();
    let dataset = Dataset::open(&tree.path("cap")).unwrap();
    let [dent, good, _, unmasked] = dataset.test.as_slice() else { panic!() };
    let text = dent.load_mask(40, 30).unwrap_err().to_string();
    assert!(text.contains("4 × 3 px") && text.contains("40 × 30 px"), "{text}");
    assert_eq!(good.load_mask(2, 2).unwrap(), Some(Mask::empty(2, 2)));
    assert_eq!(unmasked.load_mask(4, 3).unwrap(), None);
}

#[test]
fn categories_are_the_complete_data_sets() {
    let tree = mvtec();
    for name in ["bolt/train/good/0.png", "bolt/test/bad/0.png", "only_train/train/good/0.png", "docs/0.png"]
    {
        tree.image(name, 1, 1);
    }
    assert_eq!(tree.names(&categories(tree.0.path()).unwrap()), ["bolt", "cap"]);
    assert_eq!(tree.names(&categories(&tree.path("cap")).unwrap()), ["cap"]);
    assert!(categories(&tree.path("docs")).unwrap_err().to_string().contains("found no data set in"));
}

#[test]
fn folders_of_any_name_form_a_data_set() {
    let tree = Tree::new(&[
        "ok/0.png",
        "ok/1.png",
        "ok2/0.png",
        "bad/chip/7.png",
        "bad/dirt/7.png",
        "bad/dirt/8.png",
    ]);
    for mask in ["gt/chip/7_mask.png", "gt/dirt/7.png", "gt/8_mask.png"] {
        tree.image(mask, 4, 3);
    }
    let folders = Folders {
        normal: vec![tree.path("ok")],
        normal_test: vec![tree.path("ok2")],
        anomalous: vec![tree.path("bad")],
        mask: Some(tree.path("gt")),
        ..Folders::default()
    };
    let dataset = Dataset::from_folders(&folders).unwrap();
    assert_eq!(tree.names(&dataset.train), ["ok/0.png", "ok/1.png"]);
    let defects: Vec<_> = dataset.test.iter().map(|s| s.defect.as_str()).collect();
    assert_eq!(defects, ["good", "chip", "dirt", "dirt"]);
    let masks = dataset.test.iter().filter_map(|s| s.mask.as_ref());
    assert_eq!(tree.names(masks), ["gt/chip/7_mask.png", "gt/dirt/7.png", "gt/8_mask.png"]);
    assert!(dataset.warnings.is_empty());
}

#[test]
fn two_masks_for_one_image_and_one_image_in_two_roles_are_refused() {
    let tree = Tree::new(&["ok/0.png", "ok/bad/1.png", "gt/a/1.png", "gt/b/1_mask.png"]);
    let folders = Folders {
        normal: vec![tree.path("ok")],
        normal_test: vec![],
        anomalous: vec![tree.path("ok/bad")],
        ..Folders::default()
    };
    let text = Dataset::from_folders(&folders).unwrap_err().to_string();
    assert!(text.contains("given both as normal image and as anomalous image"), "{text}");
    tree.image("fine/0.png", 1, 1);
    tree.image("fine/1.png", 1, 1);
    let folders = Folders { normal: vec![tree.path("fine")], mask: Some(tree.path("gt")), ..folders };
    let text = Dataset::from_folders(&folders).unwrap_err().to_string();
    assert!(text.contains("two masks fit"), "{text}");
}

#[test]
fn bad_files_are_reported_beside_the_good_ones() {
    let tree = Tree::new(&["0.png", "2.png", "3.png"]);
    tree.file("1.png", b"this is text");
    let dataset = Dataset::open(tree.0.path()).unwrap();
    let preprocessing = Preprocessing { size: 16, ..Preprocessing::default() };
    let loaded = load_all(&dataset.train, |image| preprocessing.apply(image));
    assert_eq!(loaded.images.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 2, 3]);
    assert!(loaded.images.iter().all(|(_, image)| image.pixels == vec![1.0; 16 * 16 * 3]));
    assert_eq!(loaded.failures[0].0, 1);
    assert!(loaded.failures[0].1.to_string().contains("1.png"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn holding_out_splits_the_normal_images_by_seed(count in 2_usize..30, share in 0.01_f64..0.99, seed: u64) {
        let tree = Tree::new(&["bad/0.png"]);
        for i in 0..count {
            tree.file(&format!("ok/{i:02}.png"), b"");
        }
        let folders = Folders {
            normal: vec![tree.path("ok")],
            anomalous: vec![tree.path("bad")],
            test_share: share,
            seed,
            ..Folders::default()
        };
        let dataset = Dataset::from_folders(&folders).unwrap();
        let normal = |s: &&Sample| s.label == Label::Normal;
        let held_out: Vec<_> = dataset.test.iter().filter(normal).map(|s| s.path.clone()).collect();
        let all: HashSet<_> = held_out.iter().chain(&dataset.train).collect();
        prop_assert_eq!(all.len(), count);
        prop_assert_eq!(held_out.len() + dataset.train.len(), count);
        prop_assert!((held_out.len() as f64 - count as f64 * share).abs() <= 1.0);
        prop_assert!(dataset.require_test().is_ok() && dataset.require_train().is_ok());
        prop_assert_eq!(&Dataset::from_folders(&folders).unwrap().train, &dataset.train);
        for share in [0.0, 1.0, f64::NAN] {
            let refused = Folders { test_share: share, ..folders.clone() };
            prop_assert!(Dataset::from_folders(&refused).is_err());
        }
    }
}
