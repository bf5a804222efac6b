use super::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

const EDGE: usize = 128;

/// A dark wedge with a bright head on a grey ground, in a pose.
fn part(pose: Pose, light: f32) -> Image {
    let shape = |x: f32, y: f32| {
        if (x - 0.25).hypot(y) < 0.1 {
            0.9
        } else if (-0.3..0.25).contains(&x) && y.abs() < 0.03 + 0.05 * (x + 0.3) {
            0.1
        } else {
            0.5
        }
    };
    let (sin, cos) = pose.angle.sin_cos();
    let at = |i: usize| {
        let centred = |p: usize| (p as f32 + 0.5) / EDGE as f32 - 0.5;
        let (x, y) = (centred(i % EDGE) - pose.right, centred(i / EDGE) - pose.down);
        light * shape(cos * x + sin * y, cos * y - sin * x)
    };
    Image { width: EDGE, height: EDGE, channels: 1, pixels: (0..EDGE * EDGE).map(at).collect() }
}

fn poses(count: usize, angle: f32, shift: f32) -> Vec<Pose> {
    let mut rng = StdRng::seed_from_u64(3);
    let mut up_to = |limit: f32| (2.0 * rng.random::<f32>() - 1.0) * limit;
    (0..count).map(|_| Pose { angle: up_to(angle), right: up_to(shift), down: up_to(shift) }).collect()
}

/// Largest difference between aligned pictures at the same pixel, averaged over pixels.
fn disagreement(pictures: &[Image]) -> f32 {
    let range = |i: usize| {
        let values = pictures.iter().map(|p| p.pixels[i]);
        let (low, high) = values.fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)));
        high - low
    };
    (0..EDGE * EDGE).map(range).sum::<f32>() / (EDGE * EDGE) as f32
}

#[test]
fn parts_in_any_direction_are_brought_to_one_pose() {
    let pictures: Vec<Image> = poses(24, 3.1, 0.1).iter().map(|&pose| part(pose, 1.0)).collect();
    let (registration, unexplained) = Registration::fit(&pictures);
    let registration = registration.unwrap();
    assert_eq!(registration.reach(), Reach::Free);
    assert!(unexplained.free < 0.1, "{unexplained:?}");
    let aligned: Vec<Image> = pictures.iter().map(|p| registration.pose(p).align(p)).collect();
    assert!(disagreement(&aligned) < 0.03 && disagreement(&pictures) > 0.2);
}

#[test]
fn darker_light_does_not_change_the_pose() {
    let pictures: Vec<Image> = poses(24, 3.1, 0.1).iter().map(|&pose| part(pose, 1.0)).collect();
    let registration = Registration::fit(&pictures).0.unwrap();
    let pose = poses(1, 3.0, 0.08)[0];
    let (bright, dark) = (registration.pose(&part(pose, 1.0)), registration.pose(&part(pose, 0.6)));
    assert!((bright.angle - dark.angle).abs() < 2e-3, "{bright:?} {dark:?}");
    assert!((bright.right - dark.right).hypot(bright.down - dark.down) < 2e-3, "{bright:?} {dark:?}");
}

#[test]
fn parts_a_little_out_of_place_need_no_search() {
    let pictures: Vec<Image> = poses(24, 0.05, 0.03).iter().map(|&pose| part(pose, 1.0)).collect();
    let (registration, _) = Registration::fit(&pictures);
    let registration = registration.unwrap();
    assert_eq!(registration.reach(), Reach::Near);
    let aligned: Vec<Image> = pictures.iter().map(|p| registration.pose(p).align(p)).collect();
    assert!(disagreement(&aligned) < 0.3 * disagreement(&pictures));
}

#[test]
fn parts_in_place_and_plain_noise_are_left_alone() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut noisy = |amount: f32, base: &Image| {
        let mut picture = base.clone();
        picture.pixels.iter_mut().for_each(|v| *v += amount * rng.random::<f32>());
        picture
    };
    let base = part(Pose::IDENTITY, 0.8);
    let in_place: Vec<Image> = (0..16).map(|_| noisy(0.05, &base)).collect();
    assert!(Registration::fit(&in_place).0.is_none());
    let empty = Image { pixels: vec![0.0; EDGE * EDGE], ..base };
    let noise: Vec<Image> = (0..16).map(|_| noisy(1.0, &empty)).collect();
    assert!(Registration::fit(&noise).0.is_none());
    assert!(Registration::fit(&vec![empty; 16]).0.is_none());
}

#[test]
fn a_map_of_the_aligned_picture_comes_back_to_its_place() {
    let pose = Pose { angle: 0.7, right: 0.1, down: -0.05 };
    let mut map = Map::filled(EDGE, EDGE, 0.0);
    for y in 30..38 {
        map.values[y * EDGE + 70..][..8].fill(1.0);
    }
    let aligned = pose.align_map(&map);
    let back = pose.restore_map(&aligned);
    let inside: f32 = (32..36).flat_map(|y| &back.values[y * EDGE + 72..][..4]).sum::<f32>() / 16.0;
    assert!(inside > 0.95, "{inside}");
    assert!((back.values.iter().sum::<f32>() - 64.0).abs() < 1.0);
}

#[test]
fn a_template_of_another_shape_is_refused() {
    assert!(Registration::new(Reach::Near, Map::filled(64, 64, 0.0)).unwrap_err().contains("64 × 64"));
    assert!(Registration::new(Reach::Near, Map::filled(128, 128, f32::NAN)).is_err());
}

#[test]
fn a_template_that_is_brighter_than_any_picture_can_be_is_refused() {
    let edge = Registration::TEMPLATE_PX;
    for value in [f32::NAN, f32::INFINITY, -1e30, 300.0] {
        let mut template = Map::filled(edge, edge, 0.0);
        template.values[77] = value;
        let error = Registration::new(Reach::Free, template).map(|_| ()).unwrap_err();
        assert_eq!(error, format!("the template holds {value}, expected at most 256, without its sign"));
    }
    // A single bright point is the most extreme picture there is.
    let mut point = Image { width: edge, height: edge, channels: 1, pixels: vec![0.0; edge * edge] };
    point.pixels[5000] = 1.0;
    let template = Proxy::of(&point).fine().clone();
    assert!(template.values[5000] > 100.0);
    let registration = Registration::new(Reach::Free, template).unwrap();
    assert!(registration.pose(&point).right.is_finite());
}
