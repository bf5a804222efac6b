use super::*;
use crate::dataset::Label;
use crate::image::{Preprocessing, read};
use std::fs;

fn small(seed: u64) -> Config {
    Config { size_px: 96, train: 4, test_good: 3, per_defect: 2, seed }
}

/// Largest difference of a channel at each pixel.
fn difference(a: &Image, b: &Image) -> Vec<f32> {
    let pairs = a.pixels.chunks_exact(3).zip(b.pixels.chunks_exact(3));
    pairs.map(|(p, q)| (0..3).map(|k| (p[k] - q[k]).abs()).fold(0.0, f32::max)).collect()
}

#[test]
fn a_data_set_has_the_parts_that_were_asked_for() {
    let parts = generate(&small(1)).unwrap();
    assert_eq!((parts.train.len(), parts.test.len()), (4, 3 + 6 * 2));
    for part in parts.train.iter().chain(&parts.test) {
        assert_eq!((part.image.width, part.image.height, part.image.channels), (96, 96, 3));
        assert!(part.image.pixels.iter().all(|v| (0.0..=1.0).contains(v)));
        assert_eq!(part.defect.is_some(), part.mask.area() > 0.0);
    }
    let kinds: Vec<_> = parts.test.iter().filter_map(|p| p.defect).collect();
    let expected: Vec<_> = Defect::ALL.iter().flat_map(|&d| [d; 2]).collect();
    assert_eq!(kinds, expected);
}

#[test]
fn a_seed_gives_the_same_parts_on_any_number_of_threads() {
    let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = on(1).install(|| generate(&small(2))).unwrap();
    let three = on(3).install(|| generate(&small(2))).unwrap();
    assert_eq!(one, three);
    assert_ne!(one.train[0], generate(&small(3)).unwrap().train[0]);
}

#[test]
fn a_part_does_not_depend_on_how_many_others_are_made() {
    let few = generate(&small(4)).unwrap();
    let many = generate(&Config { train: 6, test_good: 5, per_defect: 3, ..small(4) }).unwrap();
    assert_eq!(few.train[..], many.train[..4]);
    assert_eq!(few.test[..3], many.test[..3]);
    assert_eq!(few.test[3], many.test[5]);
}

#[test]
fn outside_its_mask_a_defective_part_is_the_good_part_up_to_noise() {
    let config = Config { size_px: 128, ..Config::default() };
    for (kind, defect) in Defect::ALL.into_iter().enumerate() {
        for index in 0..3 {
            let stream = ((2 + kind as u64) << 32) + index;
            let order = Order { index: 0, stream, is_train: false, defect: Some(defect) };
            let (bad, good) = (render(&config, &order), render(&config, &Order { defect: None, ..order }));
            let difference = difference(&bad.image, &good.image);
            let mean = |inside: bool| {
                let of = difference.iter().zip(&bad.mask.defective).filter(|(_, m)| **m == inside);
                let (sum, count) = of.fold((0.0, 0), |(sum, n), (d, _)| (sum + d, n + 1));
                sum / count as f32
            };
            // Two noise values of at most .0117 each: their difference has deviation .0166, and the
            // largest of three such differences averages to 1.33 deviations.
            assert!(mean(false) < 0.022, "{defect:?}: {}", mean(false));
            assert!(mean(true) > 0.035, "{defect:?}: {}", mean(true));
            assert!(bad.mask.area() < 0.08, "{defect:?}: {}", bad.mask.area());
        }
    }
}

#[test]
fn good_parts_differ_in_more_than_noise() {
    let parts = generate(&Config { per_defect: 0, test_good: 0, ..small(5) }).unwrap();
    for pair in parts.train.windows(2) {
        let difference = difference(&pair[0].image, &pair[1].image);
        let mean = difference.iter().sum::<f32>() / difference.len() as f32;
        assert!(mean > 0.024, "{mean}");
    }
}

#[test]
fn every_kind_of_defect_shows_at_the_smallest_size() {
    let config = Config { size_px: Config::MIN_SIZE_PX, train: 0, test_good: 0, per_defect: 4, seed: 6 };
    assert!(generate(&config).unwrap().test.iter().all(|part| part.mask.area() > 0.0));
}

#[test]
fn a_written_data_set_holds_the_generated_parts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/parts");
    let dataset = write_dataset(&folder, &small(7)).unwrap();
    let parts = generate(&small(7)).unwrap();
    assert!(dataset.warnings.is_empty(), "{:?}", dataset.warnings);
    assert!(dataset.require_test().is_ok());
    assert_eq!((dataset.train.len(), dataset.test.len()), (4, 15));
    for (path, part) in dataset.train.iter().zip(&parts.train) {
        // Half a step of 8 bits is lost.
        let worst = difference(&read(path).unwrap(), &part.image).into_iter().fold(0.0, f32::max);
        assert!(worst <= 0.5001 / 255.0, "{worst}");
    }
    for part in &parts.test {
        let kind = part.defect.map_or("good", Defect::name);
        let of_kind: Vec<_> = dataset.test.iter().filter(|s| s.defect == kind).collect();
        let label = if part.defect.is_some() { Label::Anomalous } else { Label::Normal };
        assert!(of_kind.iter().all(|s| s.label == label));
        assert!(of_kind.iter().any(|s| s.load_mask(96, 96).unwrap().as_ref() == Some(&part.mask)));
    }
    let input = Preprocessing { size: 96, ..Preprocessing::default() };
    assert!(crate::dataset::load_all(&dataset.train, |image| input.apply(image)).failures.is_empty());
}

#[test]
fn writing_replaces_its_own_data_set_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    write_dataset(folder.path(), &small(8)).unwrap();
    let fewer = write_dataset(folder.path(), &Config { train: 2, ..small(8) }).unwrap();
    assert_eq!(fewer.train.len(), 2);
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("thesis.txt"), "years of work").unwrap();
    let text = write_dataset(other.path(), &small(8)).unwrap_err().to_string();
    assert!(text.contains("not empty") && text.contains("choose another folder"), "{text}");
}

#[test]
fn sizes_out_of_range_are_refused() {
    for size_px in [0, 63, 2049] {
        let text = generate(&Config { size_px, ..Config::default() }).unwrap_err().to_string();
        assert_eq!(text, format!("synthetic pictures of {size_px} px, expected 64 to 2048"));
    }
}
