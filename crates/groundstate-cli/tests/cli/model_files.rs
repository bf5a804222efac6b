//! Model files that cannot be used.

use std::fs;
use std::path::PathBuf;

use groundstate::artifact::FORMAT_VERSION;
use tempfile::TempDir;

use crate::groundstate;
use crate::program::{FIXTURE, Run};

/// Inspects with the fixture's model after `change`.
fn inspect_with(change: impl FnOnce(&mut Vec<u8>)) -> Run {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let model: PathBuf = folder.path().join("m.gsm");
    let mut bytes = fs::read(FIXTURE.model()).unwrap();
    change(&mut bytes);
    fs::write(&model, bytes).unwrap();
    groundstate!("inspect", model, FIXTURE.good_part())
}

/// Inspects with the fixture's model under another format version.
fn inspect_with_version(version: u32) -> Run {
    inspect_with(|bytes| {
        let field = |version: u32| format!(r#"\"format_version\":{version},"#).into_bytes();
        let (own, other) = (field(FORMAT_VERSION), field(version));
        let at = bytes.windows(own.len()).position(|window| window == own).expect("the field is there");
        bytes.splice(at..at + own.len(), other.iter().copied());
        // The file begins with the length of what the field is in.
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let length = length + other.len() as u64 - own.len() as u64;
        bytes[..8].copy_from_slice(&length.to_le_bytes());
    })
}

#[test]
fn the_models_of_other_versions_are_refused_with_advice() {
    for (version, advice) in [(FORMAT_VERSION + 1, "newer groundstate"), (1, "train it again")] {
        let run = inspect_with_version(version);
        assert_eq!(run.code, Some(2));
        assert!(run.error().contains(&format!("model format {version}")), "{}", run.stderr);
        assert!(run.error().contains(advice), "{}", run.stderr);
    }
}

#[test]
fn a_flipped_bit_is_noticed() {
    let run = inspect_with(|bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(run.code, Some(2));
    assert!(run.error().contains("is damaged"), "{}", run.stderr);
}

#[test]
fn half_a_model_and_an_image_are_no_models() {
    let half = inspect_with(|bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!(half.code, Some(2));
    assert!(half.error().contains("no model file of groundstate, or a damaged one"), "{}", half.stderr);
    let image = groundstate!("info", FIXTURE.good_part());
    assert_eq!(image.code, Some(2));
    assert!(image.error().contains("no model file of groundstate"), "{}", image.stderr);
}

#[test]
fn info_tells_what_a_model_holds() {
    let run = groundstate!("info", FIXTURE.model());
    assert_eq!(run.code, Some(0));
    for expected in ["gaussian", "64 × 64 px, 3 channels", "at 16 × 16 positions", "10 trained on"] {
        assert!(run.text().contains(expected), "{expected} in {}", run.text());
    }
}
