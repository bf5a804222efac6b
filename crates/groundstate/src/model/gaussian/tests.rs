use super::*;
use crate::image::Image;
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(super) fn pictures(count: usize, edge: usize) -> Vec<Image> {
    let mut rng = StdRng::seed_from_u64(7);
    (0..count)
        .map(|_| Image {
            width: edge,
            height: edge,
            channels: 1,
            pixels: (0..edge * edge)
                .map(|i| 0.3 + 0.2 * ((i % edge) as f32 / 5.0).sin() + 0.1 * rng.random::<f32>())
                .collect(),
        })
        .collect()
}

pub(super) fn config() -> GaussianConfig {
    GaussianConfig { dimensions: 12, ..Default::default() }
}

fn fitted(pictures: &[Image], config: &GaussianConfig) -> Gaussian {
    let pictures: Vec<&Image> = pictures.iter().collect();
    FeatureBank::new(&pictures, 1, config).unwrap().fit(None).unwrap()
}

#[test]
fn mean_local_energy_of_the_training_pictures_is_half_the_trace() {
    // With no shrinkage, Σ over pictures of (φ−μ)ᵀ Σ⁻¹ (φ−μ) / n is the number of dimensions.
    let pictures = pictures(60, 32);
    let config = GaussianConfig { factors: 0, pooled_weight: 0.0, ridge: 1e-9, shift_px: 0, ..config() };
    let gaussian = fitted(&pictures, &config);
    let local = gaussian.local_energies(&Batch::of(&pictures));
    let means = (0..64).map(|cell| local.iter().map(|map| map.values[cell]).sum::<f32>() / 60.0);
    let means: Vec<f32> = means.collect();
    // One byte a value adds a hundredth to the energies of covariances that are not shrunk, and up to a twentieth at a
    // cell.
    assert!(means.iter().all(|mean| (mean - 6.0).abs() < 0.3), "{means:?}");
    let mean = means.iter().sum::<f32>() / 64.0;
    assert!((mean - 6.0).abs() < 0.1, "{mean}");
}

#[test]
fn a_disturbed_cell_has_the_highest_energy_and_gradient() {
    let pictures = pictures(30, 64);
    let gaussian = fitted(&pictures, &config());
    let mut odd = pictures[0].clone();
    for y in 40..48 {
        for x in 16..24 {
            odd.pixels[y * 64 + x] = if (x + y) % 2 == 0 { 1.0 } else { 0.0 };
        }
    }
    let found = &gaussian.evaluate(&Batch::of([&odd]), Wanted::ALL)[0];
    let peak = (0..256).max_by(|&a, &b| found.local.values[a].total_cmp(&found.local.values[b])).unwrap();
    assert!((4..6).contains(&(peak % 16)) && (10..12).contains(&(peak / 16)), "{peak}");
    // Features reach three cells far: most of the squared gradient lies in 24 × 24 of 64 × 64 pixels.
    let gradient = found.gradient.as_ref().unwrap();
    let squared = |i: usize| f64::from(gradient[i]).powi(2);
    let near = |i: &usize| (8..32).contains(&(i % 64)) && (32..56).contains(&(i / 64));
    let share = (0..64 * 64).filter(near).map(squared).sum::<f64>() / (0..64 * 64).map(squared).sum::<f64>();
    assert!(share > 0.5, "{share}");
}

#[test]
fn gradients_of_both_forms_agree_with_finite_differences() {
    let pictures = pictures(20, 32);
    let gaussian = fitted(&pictures[1..], &config());
    for form in [Form::Quadratic, Form::Distance] {
        let evaluate =
            |picture: &Image| gaussian.evaluate_as(form, &Batch::of([picture]), Wanted::ALL).remove(0);
        let gradient = evaluate(&pictures[0]).gradient.unwrap();
        let energy =
            |picture: &Image| -> f64 { evaluate(picture).local.values.iter().map(|&v| f64::from(v)).sum() };
        // Along the gradient itself, where single precision leaves enough digits.
        let norm: f64 = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        let step = 1e-2 / norm.max(1.0);
        let moved = |sign: f64| {
            let mut picture = pictures[0].clone();
            for (p, &g) in picture.pixels.iter_mut().zip(&gradient) {
                *p += (sign * step * f64::from(g) / norm) as f32;
            }
            energy(&picture)
        };
        let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        assert!((slope / norm - 1.0).abs() < 0.02, "{form:?}: {slope} {norm}");
    }
}

#[test]
fn a_distance_is_the_root_of_twice_the_energy() {
    let pictures = pictures(8, 32);
    let gaussian = fitted(&pictures, &config());
    let [energies, distances] = [Form::Quadratic, Form::Distance]
        .map(|form| gaussian.evaluate_as(form, &Batch::of(&pictures[..1]), Wanted::ALL).remove(0));
    let [energies, distances] =
        [energies, distances].map(|e| [e.local.values, e.free.unwrap().values].concat());
    for (energy, distance) in energies.iter().zip(&distances) {
        assert!(
            (distance * distance - 2.0 * energy.max(0.0)).abs() < 1e-4 * (1.0 + energy),
            "{energy} {distance}"
        );
    }
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let pictures = pictures(8, 32);
    let gaussian = fitted(&pictures, &config());
    let together = gaussian.evaluate(&Batch::of(&pictures), Wanted::ALL);
    assert_eq!(together[3], gaussian.evaluate(&Batch::of([&pictures[3]]), Wanted::ALL)[0]);
}

#[test]
fn one_picture_is_too_few() {
    let error = FeatureBank::new(&[&pictures(1, 32)[0]], 1, &config()).err().unwrap();
    assert_eq!(error, GaussianError::TooFewPictures { found: 1 });
}

/// Pictures that share one pattern in varying strength.
fn under_one_cause(count: usize) -> Vec<Image> {
    let edge = 64;
    let mut pictures = pictures(count, edge);
    for (n, picture) in pictures.iter_mut().enumerate() {
        let strength = 0.25 * ((n * 7 % count) as f32 / count as f32 - 0.5);
        for (i, pixel) in picture.pixels.iter_mut().enumerate() {
            *pixel += strength * ((i / edge) as f32 / 4.0).sin();
        }
    }
    pictures
}

#[test]
fn what_varies_in_whole_pictures_does_not_hide_a_small_defect() {
    let mut pictures = under_one_cause(48);
    let normal = pictures.pop().unwrap();
    let mut odd = normal.clone();
    for y in 40..44 {
        for x in 16..24 {
            odd.pixels[y * 64 + x] += 0.15;
        }
    }
    let contrast = |factors: usize| -> f32 {
        let gaussian = fitted(&pictures, &GaussianConfig { factors, ..config() });
        assert_eq!(gaussian.variation.values.len(), factors * gaussian.mean.len());
        let [normal, odd] = [&normal, &odd].map(|p| gaussian.local_energies(&Batch::of([p])).remove(0));
        let defect = 10 * 16 + 5;
        odd.values[defect] / normal.values.iter().copied().fold(0.0, f32::max)
    };
    let (without, with) = (contrast(0), contrast(3));
    assert!(with > 1.3 * without, "{with} {without}");
}

#[test]
fn pictures_without_any_structure_can_be_normal() {
    let flat = |value: f32| Image { width: 32, height: 32, channels: 1, pixels: vec![value; 32 * 32] };
    let mut all = vec![flat(0.4); 100];
    let odd = &pictures(1, 32)[0];
    // The last is not among the pictures that the principal axes come from.
    for last in [flat(0.4), odd.clone()] {
        *all.last_mut().unwrap() = last;
        let gaussian = fitted(&all, &config());
        let highest = |picture: &Image| {
            let local = gaussian.local_energies(&Batch::of([picture])).remove(0);
            assert!(local.values.iter().all(|e| e.is_finite()), "{:?}", local.values);
            local.values.iter().copied().fold(0.0, f32::max)
        };
        let (odd, normal) = (highest(odd), highest(&flat(0.4)));
        assert!(odd > 5.0 * normal, "{odd} {normal}");
    }
}

/// Pictures of a bright square on a dark ground, moved by some pixels, with noise.
fn squares(count: usize, right: usize, seed: u64) -> Vec<Image> {
    let edge = 64;
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let inside =
                |i: usize| (24 + right..44 + right).contains(&(i % edge)) && (20..40).contains(&(i / edge));
            let pixels = (0..edge * edge)
                .map(|i| if inside(i) { 0.7 } else { 0.2 } + 0.05 * rng.random::<f32>())
                .collect();
            Image { width: edge, height: edge, channels: 1, pixels }
        })
        .collect()
}

fn highest(map: &Map) -> f32 {
    map.values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[test]
fn free_energies_excuse_a_displaced_part_and_no_defect() {
    let gaussian = fitted(&squares(30, 0, 1), &GaussianConfig { shift_px: 0, ..config() });
    let normal = squares(1, 0, 2).remove(0);
    let displaced = squares(1, CELL, 2).remove(0);
    let mut defective = normal.clone();
    for y in 8..16 {
        for x in 48..56 {
            defective.pixels[y * 64 + x] = if (x + y) % 2 == 0 { 0.7 } else { 0.2 };
        }
    }
    let batch = Batch::of([&normal, &displaced, &defective]);
    let found = gaussian.evaluate(&batch, Wanted { free: true, gradient: false });
    let [of_normal, of_displaced, of_defective] = [0, 1, 2].map(|i| {
        assert!(found[i].gradient.is_none());
        (highest(&found[i].local), highest(found[i].free.as_ref().unwrap()))
    });
    // Without the prior of the displacement, the displaced part would cost what the normal one does.
    assert!(of_displaced.0 > 5.0 * of_normal.0, "{of_displaced:?} {of_normal:?}");
    assert!(of_displaced.1 < 0.5 * of_displaced.0, "{of_displaced:?}");
    assert!(of_defective.1 > 0.75 * of_defective.0, "{of_defective:?}");
    // One term of the sum is the local energy itself, with at least the share that it has among nine.
    let most = 9f32.ln();
    let pairs = |e: &Evaluated| e.local.values.clone().into_iter().zip(e.free.clone().unwrap().values);
    assert!(found.iter().flat_map(pairs).all(|(local, free)| free <= local + most));
}

#[test]
fn without_displacement_free_energies_are_the_local_ones() {
    let pictures = pictures(12, 32);
    let gaussian = fitted(&pictures, &GaussianConfig { displacement_px: 0.0, ..config() });
    let found = gaussian.evaluate(&Batch::of(&pictures), Wanted { free: true, gradient: false });
    assert!(found.iter().all(|found| found.free.as_ref() == Some(&found.local)));
    // A displacement of next to nothing is none.
    let nearly = Gaussian { displacement_px: 0.1, ..gaussian };
    let close = nearly.evaluate(&Batch::of(&pictures), Wanted { free: true, gradient: false });
    for (found, close) in found.iter().zip(&close) {
        let pairs = found.local.values.iter().zip(&close.free.as_ref().unwrap().values);
        pairs
            .for_each(|(local, free)| assert!((local - free).abs() < 1e-3 * (1.0 + local), "{local} {free}"));
    }
}
