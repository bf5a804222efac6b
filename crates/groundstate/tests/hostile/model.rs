//! Target: the model file, with its digest broken and with its digest right.

use std::path::Path;
use std::sync::LazyLock;

use groundstate::artifact;
use groundstate::image::Image;
use rand::RngExt;
use rand::rngs::StdRng;
use safetensors::tensor::Dtype;
use serde_json::Value;

use crate::corpus;
use crate::fuzz::{Turn, Verdict, is_thorough};
use crate::mutate::{FLOATS, mutate, mutate_text};
use crate::parts::{Parts, Tensor};

/// Damages the parts of a file once, so that its digest can be made right again.
fn mutate_parts(parts: &mut Parts, other: &Parts, rng: &mut StdRng) {
    let at = rng.random_range(0..parts.tensors.len());
    let tensor = &mut parts.tensors[at];
    let length = tensor.bytes.len() / tensor.width();
    match rng.random_range(0..13) {
        0..5 => mutate_text(&mut parts.description, &other.description, rng),
        5..8 => {
            let float = FLOATS[rng.random_range(0..FLOATS.len())];
            tensor.set(rng.random_range(0..length), float);
        }
        8 => tensor.shape.reverse(),
        9 => tensor.shape = vec![length],
        10 => drop(parts.tensors.remove(at)),
        11 => {
            // The same bytes read as another type.
            tensor.dtype = if tensor.dtype == Dtype::I8 { Dtype::F32 } else { Dtype::I8 };
            tensor.shape = vec![tensor.bytes.len() / tensor.width()];
        }
        _ => tensor.name.push('2'),
    }
}

fn load(bytes: &[u8]) -> Result<groundstate::detector::Detector, artifact::ArtifactError> {
    artifact::decode(bytes, Path::new("hostile"))
}

/// What accepted models inspect.
struct Odd {
    waves: Image,
    /// For models that register: what is unlike their template takes all the steps that there are.
    part: Image,
}

impl Odd {
    fn new() -> Self {
        Self { waves: corpus::picture(100), part: corpus::part(100, 0.1) }
    }
}

/// What is accepted must inspect a picture, and a score that is no number must count as anomalous.
fn check(bytes: &[u8], odd: &Odd) -> Verdict {
    match load(bytes) {
        Ok(detector) => {
            // Larger pictures would only be slow.
            if detector.preprocessing.size <= 64 {
                let odd = if detector.nuisance.registration.is_some() { &odd.part } else { &odd.waves };
                let inspection = detector.inspect(odd);
                let least = 1.0 / (detector.calibration.image.count() + 1) as f64;
                assert!(
                    inspection.score.is_finite() || inspection.p_value <= least || inspection.score < 0.0
                );
            }
            Verdict::Accepted
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("hostile"), "{text:?}");
            Verdict::Refused
        }
    }
}

/// Memory that loading and one inspection may take; the longest part is a tensor's copies.
fn limit(length: usize) -> usize {
    32 * length + (32 << 20)
}

/// The detectors of the corpus as files.
fn files() -> &'static [Vec<u8>] {
    static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(written);
    &FILES
}

fn written() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gsm");
    let file = |detector| {
        artifact::save(detector, &path).unwrap();
        std::fs::read(&path).unwrap()
    };
    corpus::detectors().iter().map(file).collect()
}

#[test]
fn the_models_that_cases_are_made_from_hold_every_kind_of_tensor() {
    let _turn = Turn::take();
    let parts: Vec<Parts> = files().iter().map(|file| Parts::of(file)).collect();
    let holds = |start: &str| {
        parts.iter().any(|parts| parts.tensors.iter().any(|tensor| tensor.name.starts_with(start)))
    };
    for start in [
        "reference.variation",
        "tiled.",
        "learned.",
        "learned1.",
        "density0.reference.variation",
        "density0.trunk.",
        "fold0.reference.",
        "fold2.statistics.",
        "light.",
        "statistics.",
        "conditions",
        "roi",
    ] {
        assert!(holds(start), "no model holds {start}");
    }
    for reach in ["null", "\"near\"", "\"free\""] {
        let stated = format!("\"registration\":{reach}");
        assert!(parts.iter().any(|parts| parts.description.contains(&stated)), "no model is {reach}");
    }
}

#[test]
fn mutated_models_are_refused_or_work() {
    let turn = Turn::take();
    let files = files();
    let odd = Odd::new();
    let make = |rng: &mut StdRng| {
        let mut pick = || &files[rng.random_range(0..files.len())];
        let (mut bytes, other) = (pick().clone(), pick());
        for _ in 0..rng.random_range(1..=3) {
            mutate(&mut bytes, other, rng);
        }
        bytes
    };
    turn.fuzz("model", make, |bytes| check(bytes, &odd), limit);
}

#[test]
fn mutated_models_with_a_right_digest_are_refused_or_work() {
    let turn = Turn::take();
    let parts: Vec<Parts> = files().iter().map(|file| Parts::of(file)).collect();
    assert!(parts.iter().all(|parts| load(&parts.sealed()).is_ok()));
    let odd = Odd::new();
    let make = |rng: &mut StdRng| {
        let mut pick = || &parts[rng.random_range(0..parts.len())];
        let (mut changed, other) = (pick().clone(), pick());
        for _ in 0..rng.random_range(1..=2) {
            mutate_parts(&mut changed, other, rng);
        }
        changed.sealed()
    };
    turn.fuzz("sealed model", make, |bytes| check(bytes, &odd), limit);
}

#[test]
fn a_model_is_refused_wherever_it_is_cut_off_or_a_bit_has_flipped() {
    let _turn = Turn::take();
    for (number, file) in files().iter().enumerate() {
        // Each offset when there is time; else many of the smallest file, and every bit of a byte in turn.
        let step = match number {
            _ if is_thorough() => 1,
            0 => 29,
            _ => 997,
        };
        for at in (0..file.len()).step_by(step) {
            assert!(load(&file[..at]).is_err(), "cut off at {at} of {}", file.len());
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(load(&flipped).is_err(), "bit {} of byte {at} of {} flipped", at % 8, file.len());
        }
    }
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let _turn = Turn::take();
    for parts in files().iter().map(|file| Parts::of(file)) {
        for at in (0..parts.tensors.len()).filter(|&at| parts.tensors[at].dtype == Dtype::F32) {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut broken = parts.clone();
                let tensor = &mut broken.tensors[at];
                let last = tensor.bytes.len() / tensor.width() - 1;
                tensor.set(last, value);
                let expected = format!("tensor {} holds {value} at index {last}", tensor.name);
                let text = load(&broken.sealed()).unwrap_err().to_string();
                assert!(text.contains(&expected), "{text}");
            }
        }
    }
}

#[test]
fn an_array_of_another_type_is_named() {
    let _turn = Turn::take();
    let parts = Parts::of(&files()[0]);
    for (name, dtype, expected) in [
        ("reference.factor", Dtype::F32, "has type F32, expected I8"),
        ("reference.mean", Dtype::I8, "has type I8, expected F32"),
        ("reference.mean", Dtype::I32, "has type I32, expected F32 or I8"),
    ] {
        let mut broken = parts.clone();
        let tensor = broken.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        (tensor.dtype, tensor.bytes) = (dtype, vec![0; 4]);
        tensor.shape = vec![4 / tensor.width()];
        let text = load(&broken.sealed()).unwrap_err().to_string();
        assert!(text.contains(&format!("tensor {name} {expected}")), "{text}");
    }
}

#[test]
fn folds_that_do_not_fit_the_calibration_are_named() {
    let _turn = Turn::take();
    let all = files().iter().map(|file| Parts::of(file));
    let sound = all.clone().find(|parts| parts.description.contains("\"folds\"")).unwrap();
    let plain = all.clone().find(|parts| !parts.description.contains("\"folds\"")).unwrap();
    let refusal = |parts: &Parts, change: &dyn Fn(&mut Value)| {
        let mut description: Value = serde_json::from_str(&parts.description).unwrap();
        change(&mut description);
        let changed = Parts { description: description.to_string(), ..parts.clone() };
        load(&changed.sealed()).unwrap_err().to_string()
    };
    let of_folds = |text: &str| text.contains("folds");
    // A calibration of three folds without their energies, with one of them less, and with too many.
    let drop_all = refusal(&sound, &|d| drop(d.as_object_mut().unwrap().remove("folds")));
    assert!(drop_all.contains("there are energies of 0 folds, the calibration has 3"), "{drop_all}");
    let drop_one = refusal(&sound, &|d| drop(d["folds"].as_array_mut().unwrap().pop()));
    assert!(drop_one.contains("there are energies of 2 folds, the calibration has 3"), "{drop_one}");
    let many = refusal(&sound, &|d| d["folds"] = vec![d["scorer"].clone(); 17].into());
    assert!(many.contains("there are 17 folds, expected at most 16"), "{many}");
    // One that states another basis, and one without folds that states this.
    for (parts, basis) in [(&sound, "held_out"), (&sound, "cross_fitted"), (&plain, "cross_conformal")] {
        assert!(of_folds(&refusal(parts, &|d| d["calibration"]["basis"] = basis.into())), "{basis}");
    }
    // Scores of a fold that has none, and of a picture in one list only.
    let empty = refusal(&sound, &|d| d["calibration"]["image"]["scores"][1] = Value::Array(Vec::new()));
    assert!(empty.contains("no calibration scores"), "{empty}");
    let moved = refusal(&sound, &|d| {
        let score = d["calibration"]["map"]["scores"][0].as_array_mut().unwrap().pop().unwrap();
        d["calibration"]["map"]["scores"][1].as_array_mut().unwrap().push(score);
    });
    assert!(moved.contains("one of each for every picture"), "{moved}");
    // Arrays: one missing, and those of a fold that is not there.
    let mut missing = sound.clone();
    missing.tensors.retain(|tensor| tensor.name != "fold1.reference.mean");
    let text = load(&missing.sealed()).err().unwrap().to_string();
    assert!(text.contains("a fold of the calibration: tensor reference.mean is missing"), "{text}");
    let mut foreign = plain.clone();
    foreign
        .tensors
        .extend(sound.tensors.iter().filter(|tensor| tensor.name == "fold2.light.weight").cloned());
    let text = load(&foreign.sealed()).err().unwrap().to_string();
    assert!(text.contains("tensor fold2.light.weight is not expected"), "{text}");
    // The energies of folds are closed forms.
    let network = all.clone().find(|parts| parts.description.contains("\"learned\":{")).unwrap();
    let learned = serde_json::from_str::<Value>(&network.description).unwrap()["scorer"].clone();
    let mut other = sound.clone();
    other.tensors.retain(|tensor| !tensor.name.starts_with("fold0."));
    let arrays = network.tensors.iter().filter(|tensor| !["roi", "conditions"].contains(&&tensor.name[..]));
    let of_fold = |tensor: &Tensor| Tensor { name: format!("fold0.{}", tensor.name), ..tensor.clone() };
    other.tensors.extend(arrays.map(of_fold));
    let text = refusal(&other, &|d| d["folds"][0] = learned.clone());
    assert!(text.contains("the energy of a fold is no closed form"), "{text}");
}
