//! From pictures to a detector and through its file, for every training method.

use std::time::Instant;

use groundstate::artifact::{self, ArtifactError};
use groundstate::calibrate::{Basis, Conformal};
use groundstate::detector::{Detail, Detector};
use groundstate::image::{Colour, Fit, Image, Map, Reach, Registration, Tone};
use groundstate::model::{Batch, Energy, EnergyModel, Evaluated, Learned, NetworkConfig, Reference, Wanted};
use groundstate::model::{FeatureBank, Form, GaussianConfig, Sight};
use groundstate::regions::Bounds;
use groundstate::score::SCORE_NAMES;
use groundstate::train::{
    Control, MethodName, OptimiserConfig, Progress, Stage, TrainConfig, TrainError, train,
};
use groundstate_nn::{Activation, LastLayer, Layer, Network, Node, Parameters};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const EDGE: usize = 32;

/// Grey waves with noise, as three equal channels.
fn pictures(count: usize) -> Vec<Image> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    (0..count)
        .map(|_| {
            let pixels = (0..EDGE * EDGE).flat_map(|i| {
                let wave = 0.5 + 0.3 * ((i % EDGE) as f32 / 3.0).sin();
                [wave + 0.05 * rng.random_range(-1.0..1.0f32); 3]
            });
            Image { width: EDGE, height: EDGE, channels: 3, pixels: pixels.collect() }
        })
        .collect()
}

fn config(method: MethodName) -> TrainConfig {
    TrainConfig {
        method,
        size: Some(EDGE),
        budget_seconds: 1e6,
        network: NetworkConfig { width: 4, ..Default::default() },
        optimiser: OptimiserConfig { steps: Some(4), batch: Some(4), ..Default::default() },
        ..Default::default()
    }
}

fn trained(config: &TrainConfig) -> Detector {
    train(config, pictures(12), Instant::now(), &mut |_| Control::Continue).unwrap()
}

#[test]
fn every_method_trains_and_its_file_gives_the_same_scores() {
    let folder = tempfile::tempdir().unwrap();
    let mut configs: Vec<TrainConfig> = MethodName::ALL.into_iter().map(config).collect();
    configs.push(TrainConfig { on_reference: true, ..config(MethodName::Contrast) });
    configs.push(TrainConfig { on_reference: true, ..config(MethodName::Dsm) });
    configs.push(TrainConfig { on_reference: true, ..config(MethodName::Cd) });
    for config in configs {
        let detector = trained(&config);
        let path = folder.path().join("model.gsm");
        artifact::save(&detector, &path).unwrap();
        let loaded = artifact::load(&path).unwrap();
        let picture = &pictures(13)[12];
        let (before, after) = (detector.inspect(picture), loaded.inspect(picture));
        assert_eq!(before.scores, after.scores, "{}", config.method);
        assert_eq!(before.maps, after.maps);
        assert_eq!(before.p_value, after.p_value);
        assert_eq!(before.scores.len(), SCORE_NAMES.len());
        assert!(before.scores.values().all(|score| score.is_finite()));
        assert_eq!(loaded.record, detector.record);
    }
}

#[test]
fn on_a_reference_local_energies_are_read_and_alone_the_gradient() {
    for method in [MethodName::Dsm, MethodName::Cd] {
        for (on_reference, part) in [(false, "gradient"), (true, "energy_z")] {
            let detector = trained(&TrainConfig { on_reference, ..config(method) });
            let map = format!("{:?}", detector.default_map).to_lowercase();
            let map_part = part.replace('_', "");
            assert!(detector.default_score.starts_with(part), "{method}: {}", detector.default_score);
            assert!(map.starts_with(&map_part), "{method}: {map}");
        }
    }
}

#[test]
fn what_the_default_score_needs_is_the_same_as_in_everything() {
    for method in MethodName::ALL {
        let detector = trained(&config(method));
        let prepared: Vec<Image> = pictures(14)[12..].iter().map(|p| detector.prepare(p)).collect();
        let [all, some] =
            [Detail::Everything, Detail::Default].map(|d| detector.inspect_prepared(&prepared, d));
        for (all, some) in all.iter().zip(&some) {
            assert_eq!((all.score, all.p_value), (some.score, some.p_value), "{method}");
            assert!(some.scores.iter().all(|(name, score)| all.scores[name] == *score));
            assert_eq!((&all.maps.energy, &all.maps.energy_z), (&some.maps.energy, &some.maps.energy_z));
            assert_eq!(detector.peak(all), detector.peak(some));
            let gradient = method == MethodName::Dsm || method == MethodName::Cd;
            assert_eq!(some.maps.gradient.is_some(), gradient, "{method}");
            let free = matches!(method, MethodName::Gaussian | MethodName::Product);
            assert_eq!(some.maps.free.is_some(), free, "{method}");
            assert_eq!(some.scores.len(), if gradient { SCORE_NAMES.len() } else { 7 }, "{method}");
        }
    }
}

#[test]
fn a_product_has_two_networks_and_is_calibrated_on_every_picture() {
    let steps = OptimiserConfig {
        steps: Some(400),
        batch: Some(4),
        learning_rate: Some(2e-3),
        average_decay: 0.9,
        ..Default::default()
    };
    let product = TrainConfig {
        optimiser: steps,
        register: false,
        size: Some(2 * EDGE),
        network: NetworkConfig { width: 4, ..Default::default() },
        ..config(MethodName::Product)
    };
    // Stripes that stand still, and stripes that lie anywhere, as on a surface: there two more closed forms a network.
    for (speed, closed_forms, score) in [(0, 1, "energy_z_top"), (997, 5, "energy_moderated_top")] {
        let striped = |number: usize| Image {
            width: 2 * EDGE,
            height: 2 * EDGE,
            channels: 3,
            pixels: (0..12 * EDGE * EDGE)
                .map(|i| 0.4 + 0.01 * number as f32 + 0.1 * ((i + speed * number) as f32 / 9.0).sin())
                .collect(),
        };
        let learn = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let normal = (0..12).map(striped).collect();
            pool.install(|| train(&product, normal, Instant::now(), &mut |_| Control::Continue)).unwrap()
        };
        // Side by side.
        let detector = learn(3);
        let notes = &detector.record.notes;
        assert_eq!(detector.energy.networks().len(), 2, "{notes:?}");
        let references = detector.energy.references();
        assert_eq!((references.len(), &detector.default_score[..]), (closed_forms, score));
        assert!(references.iter().all(|reference| reference.form == Form::Distance));
        assert_eq!((detector.record.steps, detector.record.held_out), (800, 12));
        assert_eq!(detector.record.config["optimiser"]["steps"], 400);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gsm");
        artifact::save(&detector, &path).unwrap();
        let loaded = artifact::load(&path).unwrap();
        let mut picture = striped(5);
        let good = detector.inspect(&picture);
        assert_eq!(good.scores, loaded.inspect(&picture).scores);
        if speed == 0 {
            // One after another.
            assert_eq!(good.scores, learn(1).inspect(&picture).scores);
        }
        for y in 12..22 {
            picture.pixels[(y * 2 * EDGE + 10) * 3..][..30].fill(1.0);
        }
        let bad = detector.inspect(&picture);
        assert!(bad.score > good.score && bad.p_value == 1.0 / 13.0, "{} {}", bad.score, good.score);
    }
}

#[test]
fn a_product_without_time_or_pictures_for_networks_is_the_closed_form() {
    let gaussian = trained(&config(MethodName::Gaussian));
    let mut hurried = config(MethodName::Product);
    (hurried.budget_seconds, hurried.optimiser.steps) = (0.1, None);
    for (config, note) in [(hurried, "no time for networks"), (config(MethodName::Product), "left out")] {
        let detector = trained(&config);
        assert!(detector.energy.networks().is_empty());
        assert!(detector.record.notes[0].contains(note), "{:?}", detector.record.notes);
        assert_eq!(detector.inspect(&pictures(1)[0]).scores, gaussian.inspect(&pictures(1)[0]).scores);
    }
    let few = train(&config(MethodName::Product), pictures(7), Instant::now(), &mut |_| Control::Continue);
    assert!(few.unwrap().record.notes[0].starts_with("fewer than 8 pictures"));
}

#[test]
fn a_product_that_is_stopped_is_what_it_has_become_so_far() {
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut seen = Vec::new();
        let mut observer = |progress: &Progress| {
            seen.push(progress.clone());
            if progress.stage == Stage::Learn { Control::Stop } else { Control::Continue }
        };
        let config = config(MethodName::Product);
        let detector = pool.install(|| train(&config, pictures(12), Instant::now(), &mut observer)).unwrap();
        let notes = &detector.record.notes[0];
        assert!(notes.contains("training was stopped after 1 steps"), "{notes}");
        // Alone, the second network is not begun; side by side, it may have taken its first step.
        let steps = seen.iter().filter(|progress| progress.stage == Stage::Learn).count();
        assert!((1..=threads).contains(&steps), "{steps} steps with {threads} threads");
        assert!(seen.iter().all(|progress| progress.done.is_none_or(|done| (0.0..=1.0).contains(&done))));
    }
}

#[test]
fn stated_steps_and_seed_give_the_same_energy() {
    for method in [MethodName::Contrast, MethodName::Dsm, MethodName::Cd] {
        let picture = &pictures(13)[12];
        let scores = |seed| trained(&TrainConfig { seed, ..config(method) }).inspect(picture).scores;
        assert_eq!(scores(3), scores(3), "{method}");
        assert_ne!(scores(3), scores(4), "{method}");
    }
}

#[test]
fn pictures_set_apart_calibrate_and_nothing_else() {
    let apart = TrainConfig { calibration_share: 0.5, ..config(MethodName::Gaussian) };
    let detector = trained(&apart);
    let calibration = &detector.calibration;
    assert_eq!((detector.record.pictures, calibration.image.count()), (6, 6));
    assert_eq!((calibration.basis, calibration.past.len()), (Basis::HeldOut, 0));
    // Six of the twelve pictures have just the scores and peaks that the calibration holds.
    let inspections: Vec<_> = pictures(12).iter().map(|picture| detector.inspect(picture)).collect();
    let held = |conformal: &Conformal, of: f64| conformal.scores().any(|score| score == of);
    let scores = inspections.iter().filter(|i| held(&calibration.image, i.score)).count();
    let peaks = inspections.iter().filter(|i| held(&calibration.map, detector.peak(i))).count();
    assert_eq!((scores, peaks), (6, 6));
    for share in [-0.1, 0.95, f64::NAN] {
        let config = TrainConfig { calibration_share: share, ..config(MethodName::Gaussian) };
        assert!(config.check().unwrap_err().to_string().starts_with("calibration_share is"));
    }
}

#[test]
fn logarithms_are_taken_where_asked_for_or_where_contrast_grows_with_brightness() {
    // Waves of one contrast, in light that wanders over the picture or does not.
    let with_light = |wander: f32| -> Vec<Image> {
        let lit = |(number, picture): (usize, Image)| {
            let light = |i: usize| 1.0 + wander * ((i / EDGE + 5 * number) as f32 / 4.0).sin();
            let pixels = picture.pixels.iter().enumerate().map(|(i, v)| v * light(i / 3)).collect();
            Image { pixels, ..picture }
        };
        pictures(13).into_iter().enumerate().map(lit).collect()
    };
    let train = |config: &TrainConfig, pictures: &[Image]| {
        train(config, pictures.to_vec(), Instant::now(), &mut |_| Control::Continue).unwrap()
    };
    let tone = |method, pictures: &[Image]| train(&config(method), pictures).preprocessing.tone;
    assert_eq!(tone(MethodName::Gaussian, &with_light(0.4)), Tone::Logarithmic);
    assert_eq!(tone(MethodName::Gaussian, &with_light(0.0)), Tone::Linear);
    assert_eq!(tone(MethodName::Contrast, &with_light(0.4)), Tone::Linear);
    let stated = TrainConfig { tone: Some(Tone::Linear), ..config(MethodName::Gaussian) };
    assert_eq!(train(&stated, &with_light(0.4)).preprocessing.tone, Tone::Linear);
    let in_tiles = TrainConfig { fit: Fit::Tile, ..config(MethodName::Product) };
    assert_eq!(in_tiles.preprocessing().tone, Tone::Linear);

    // Light is taken out first: what is left of a darker picture has the logarithms that it should.
    let new = &pictures(13)[12];
    let darker = Image { pixels: new.pixels.iter().map(|v| 0.6 * v).collect(), ..*new };
    let toned =
        |tone| train(&TrainConfig { tone: Some(tone), ..config(MethodName::Gaussian) }, &pictures(12));
    let score = |detector: &Detector, picture| detector.inspect(picture).scores["energy"];
    let (linear, logarithmic) = (toned(Tone::Linear), toned(Tone::Logarithmic));
    assert_eq!(logarithmic.preprocessing.tone, Tone::Logarithmic);
    let expected = score(&logarithmic, new);
    assert!((score(&logarithmic, &darker) / expected - 1.0).abs() < 1e-3);
    assert!((score(&linear, new) / expected - 1.0).abs() > 1e-2);
}

#[test]
fn each_fold_is_scored_by_a_training_without_it_and_a_new_picture_by_all_of_them() {
    let cross = TrainConfig { cross_conformal: true, ..config(MethodName::Gaussian) };
    let detector = trained(&cross);
    let calibration = &detector.calibration;
    assert_eq!((detector.record.pictures, calibration.image.count(), detector.folds.len()), (12, 12, 3));
    assert_eq!(calibration.basis, Basis::CrossConformal);
    // The detector of all pictures is that of any training of them.
    let plain = trained(&config(MethodName::Gaussian));
    let new = &pictures(13)[12];
    let inspection = detector.inspect(new);
    assert_eq!(inspection.scores, plain.inspect(new).scores);
    let (mut above, mut peaks_above) = (0, 0);
    for fold in 0..3 {
        let (mut others, mut members) = (Vec::new(), Vec::new());
        for (number, picture) in pictures(12).into_iter().enumerate() {
            if number % 3 == fold { &mut members } else { &mut others }.push(picture);
        }
        // All pictures have decided on the tone.
        let of_all = TrainConfig { tone: Some(plain.preprocessing.tone), ..config(MethodName::Gaussian) };
        let without = train(&of_all, others, Instant::now(), &mut |_| Control::Continue).unwrap();
        let of = |picture: &Image| {
            let inspection = without.inspect(picture);
            (inspection.score, without.peak(&inspection))
        };
        let (score, peak) = of(new);
        assert_eq!((inspection.folds[fold].score, inspection.folds[fold].peak), (score, peak));
        above += members.iter().filter(|member| of(member).0 >= score).count();
        peaks_above += members.iter().filter(|member| of(member).1 >= peak).count();
    }
    assert_eq!(inspection.p_value, (1 + above) as f64 / 13.0);
    let p_value = calibration.map.p_value_of(&inspection.folds.iter().map(|f| f.peak).collect::<Vec<_>>());
    assert_eq!(p_value, (1 + peaks_above) as f64 / 13.0);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gsm");
    artifact::save(&detector, &path).unwrap();
    let loaded = artifact::load(&path).unwrap();
    let after = loaded.inspect(new);
    assert_eq!((&inspection.folds, inspection.p_value), (&after.folds, after.p_value));
    assert_eq!((&loaded.calibration, &loaded.record), (&detector.calibration, &detector.record));
}

#[test]
fn with_folds_a_region_needs_peaks_that_are_high_in_all_of_their_maps() {
    let cross = TrainConfig { cross_conformal: true, ..config(MethodName::Gaussian) };
    let mut detector = trained(&cross);
    detector.calibration = detector.calibration.with_rates(Some(0.3), Some(0.3)).unwrap();
    let mut odd = pictures(1).remove(0);
    for at in (0..8).flat_map(|y| (0..8).map(move |x| (y + 12) * EDGE + x + 4)) {
        odd.pixels[at * 3..at * 3 + 3].fill(1.0);
    }
    let mut inspection = detector.inspect(&odd);
    assert!(inspection.flagged && inspection.p_value == 1.0 / 13.0);
    assert!(!detector.segment(&inspection, 64, 64, 1).regions.is_empty());
    // One fold that sees nothing leaves a p-value of 5 / 13.
    inspection.folds[0].peak = f64::NEG_INFINITY;
    assert!(detector.segment(&inspection, 64, 64, 1).regions.is_empty());
}

#[test]
fn what_cannot_be_calibrated_cross_conformally_is_refused_with_what_can() {
    let cross = TrainConfig { cross_conformal: true, ..config(MethodName::Gaussian) };
    for method in MethodName::ALL.into_iter().filter(|&method| method != MethodName::Gaussian) {
        let error = TrainConfig { method, ..cross.clone() }.check().unwrap_err().to_string();
        assert!(error.starts_with("cross_conformal is set, expected method gaussian; "), "{error}");
        assert!(error.contains("calibration_share or `groundstate calibrate`"), "{error}");
    }
    let tiled = TrainConfig { fit: Fit::Tile, ..cross.clone() }.check().unwrap_err().to_string();
    assert!(tiled.contains("expected pictures that are scaled to one size"), "{tiled}");
    let both = TrainConfig { calibration_share: 0.5, ..cross.clone() }.check().unwrap_err().to_string();
    assert!(both.contains("expected calibration_share to be 0"), "{both}");
    let few = train(&cross, pictures(4), Instant::now(), &mut |_| Control::Continue).err().unwrap();
    assert!(matches!(few, TrainError::TooFewPictures { found: 4, expected: 5 }), "{few}");
    let enough = train(&cross, pictures(5), Instant::now(), &mut |_| Control::Continue).unwrap();
    assert_eq!(enough.calibration.image.count(), 5);
}

#[test]
fn a_region_is_shown_exactly_where_the_map_exceeds_its_threshold() {
    let detector = trained(&TrainConfig { calibration_share: 0.5, ..config(MethodName::Gaussian) });
    let mut odd = pictures(1).remove(0);
    for at in (0..8).flat_map(|y| (0..8).map(move |x| (y + 12) * EDGE + x + 4)) {
        odd.pixels[at * 3..at * 3 + 3].fill(1.0);
    }
    let inspection = detector.inspect(&odd);
    let found = detector.segment(&inspection, 64, 64, 1);
    let map = detector.map(&inspection, detector.default_map, 64, 64);
    let threshold = detector.calibration.map.threshold();
    for (value, defective) in map.values.iter().zip(&found.mask.defective) {
        assert_eq!(f64::from(*value) > threshold, *defective);
    }
    let Bounds { left, top, width, height } = found.regions[0].bounds;
    assert!(left < 16 && left + width > 16 && top < 32 && top + height > 32, "{:?}", found.regions);
    assert!(found.regions[0].peak <= detector.peak(&inspection) as f32);
    for normal in pictures(12) {
        let inspection = detector.inspect(&normal);
        let has_region = !detector.segment(&inspection, 64, 64, 1).regions.is_empty();
        assert!(!has_region || detector.peak(&inspection) > threshold);
    }
}

#[test]
fn a_stopped_training_keeps_a_model_and_says_so() {
    let config = config(MethodName::Contrast);
    let stop = &mut |progress: &groundstate::train::Progress| match progress.step {
        2 => Control::Stop,
        _ => Control::Continue,
    };
    let detector = train(&config, pictures(12), Instant::now(), stop).unwrap();
    assert_eq!(detector.record.steps, 2);
    assert!(detector.record.notes.iter().any(|note| note.contains("stopped after 2 steps")));
}

#[test]
fn a_training_that_runs_away_is_noticed_and_still_gives_a_finite_model() {
    let mut config = config(MethodName::Cd);
    config.optimiser = OptimiserConfig { steps: Some(40), learning_rate: Some(1e30), ..config.optimiser };
    let detector = trained(&config);
    assert!(
        detector.record.notes.iter().any(|note| note.contains("diverged")),
        "{:?}",
        detector.record.notes
    );
    assert!(detector.inspect(&pictures(1)[0]).score.is_finite());
    let folder = tempfile::tempdir().unwrap();
    artifact::save(&detector, &folder.path().join("m.gsm")).unwrap();
    assert_eq!(artifact::load(&folder.path().join("m.gsm")).unwrap().record, detector.record);
}

#[test]
fn too_few_pictures_and_settings_out_of_range_are_refused() {
    let attempt = |config: &TrainConfig, count| {
        train(config, pictures(count), Instant::now(), &mut |_| Control::Continue).err().unwrap()
    };
    let few = attempt(&config(MethodName::Gaussian), 2);
    assert!(matches!(few, TrainError::TooFewPictures { found: 2, .. }), "{few}");
    let few = attempt(&config(MethodName::Dsm), 5);
    assert!(matches!(few, TrainError::TooFewPictures { found: 5, .. }), "{few}");
    let odd = attempt(&TrainConfig { size: Some(40), ..config(MethodName::Cd) }, 12);
    assert!(odd.to_string().contains("multiple of 32"), "{odd}");
}

#[test]
fn the_gradient_map_of_a_linear_energy_is_exact() {
    // One 1×1 convolution: e = w · x + b, so ∂E/∂x is w at every pixel.
    let conv = Layer::Conv {
        out_channels: 1,
        kernel: 1,
        stride: 1,
        activation: Activation::Identity,
        standardise: false,
    };
    let image = Node { layer: Layer::Image { channels: 3 }, inputs: vec![] };
    let network = Network::new(vec![image, Node { layer: conv, inputs: vec![0] }]).unwrap();
    let mut parameters = Parameters::zeros(&network);
    for (name, _, values) in parameters.iter_mut() {
        let weights: &[f32] = if name.ends_with("weight") { &[0.25, -2.0, 0.5] } else { &[0.125] };
        values.copy_from_slice(weights);
    }
    let energy = Learned::new(network, parameters, None);
    let pictures = pictures(2);
    for (found, picture) in energy.evaluate(&Batch::of(&pictures), Wanted::ALL).iter().zip(&pictures) {
        assert_eq!(found.free.as_ref(), Some(&found.local));
        let gradient = found.gradient.as_ref().unwrap();
        for (gradient, (pixel, local)) in
            gradient.chunks_exact(3).zip(picture.pixels.chunks_exact(3).zip(&found.local.values))
        {
            assert_eq!(gradient, [0.25, -2.0, 0.5]);
            assert!((local - (0.25 * pixel[0] - 2.0 * pixel[1] + 0.5 * pixel[2] + 0.125)).abs() < 1e-6);
        }
    }
}

#[test]
fn a_tilted_energy_is_the_sum_of_its_parts() {
    let pictures = pictures(8);
    let all: Vec<&Image> = pictures.iter().collect();
    let gaussian = FeatureBank::new(&all, 1, &GaussianConfig::default()).unwrap().fit(None).unwrap();
    let reference = Reference { gaussian, form: Form::Distance, offset: 3.0, scale: 0.5 };
    let config = GaussianConfig { dimensions: 16, ..Default::default() };
    let network = NetworkConfig { width: 4, ..Default::default() }.network(3, false).unwrap();
    let networks = [1, 2].map(|seed| {
        let parameters = Parameters::initialise_with(&network, seed, LastLayer::Random);
        Learned::new(network.clone(), parameters, None)
    });
    let gaussian =
        FeatureBank::of_network(&networks[0], Sight::Full, &all, 1, &config).unwrap().fit(None).unwrap();
    let density = Reference { gaussian, form: Form::Distance, offset: 2.0, scale: 0.25 };
    let batch = Batch::of(&pictures[..1]);
    let learned = networks.clone().map(EnergyModel::Learned);
    let parts: Vec<Evaluated> = std::iter::once(EnergyModel::Reference(reference.clone()))
        .chain(learned)
        .map(|energy| energy.evaluate(&batch, Wanted::ALL).remove(0))
        .collect();
    let of_density = density.evaluate(&batch, Wanted::ALL).remove(0);
    let on_grid = |map: &Map| map.resize_bilinear(2 * map.width, 2 * map.height).values;
    let sum = EnergyModel::Tilted(vec![reference, density], networks.to_vec());
    let sum = sum.evaluate(&batch, Wanted::ALL).remove(0);
    let values: [fn(&Evaluated) -> &Vec<f32>; 3] =
        [|e| &e.local.values, |e| &e.free.as_ref().unwrap().values, |e| e.gradient.as_ref().unwrap()];
    // A cell of the density is four places of the sum.
    let of_density = [
        on_grid(&of_density.local),
        on_grid(of_density.free.as_ref().unwrap()),
        of_density.gradient.unwrap().iter().map(|g| 4.0 * g).collect(),
    ];
    for (of, of_density) in values.into_iter().zip(of_density) {
        let terms = of(&parts[0]).iter().zip(of_density).zip(of(&parts[1])).zip(of(&parts[2]));
        let expected = terms.map(|(((a, b), c), d)| a + b + c + d);
        assert!(of(&sum).iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4));
    }
}

#[test]
fn a_damaged_file_is_refused_wherever_the_damage_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gsm");
    artifact::save(&trained(&config(MethodName::Cd)), &path).unwrap();
    let sound = std::fs::read(&path).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..300 {
        let mut damaged = sound.clone();
        let at = rng.random_range(0..damaged.len());
        damaged[at] ^= 1 << rng.random_range(0..8);
        std::fs::write(&path, &damaged).unwrap();
        assert!(artifact::load(&path).is_err(), "bit flip at byte {at} went unnoticed");
        std::fs::write(&path, &sound[..at]).unwrap();
        assert!(matches!(artifact::load(&path), Err(ArtifactError::Format { .. })), "cut at byte {at}");
    }
}

/// A dark wedge on a bright ground, turned by `angle`, with a bright spot on the part where asked for.
fn turned_wedge(angle: f32, light: f32, spot: bool) -> Image {
    const SIZE: usize = 96;
    let (sin, cos) = angle.sin_cos();
    let value = |i: usize| {
        let centred = |p: usize| (p as f32 + 0.5) / SIZE as f32 - 0.5;
        let (x, y) = (centred(i % SIZE), centred(i / SIZE));
        let (along, across) = (cos * x + sin * y, cos * y - sin * x);
        let part = (-0.35..0.35).contains(&along) && across.abs() < 0.06 + 0.15 * (along + 0.35);
        match part {
            true if spot && (along - 0.2).hypot(across) < 0.05 => 0.9,
            true => 0.2 + 0.1 * (along * 20.0).sin(),
            false => 0.7,
        }
    };
    Image {
        width: SIZE,
        height: SIZE,
        channels: 1,
        pixels: (0..SIZE * SIZE).map(|i| light * value(i)).collect(),
    }
}

#[test]
fn a_defect_is_found_at_its_place_on_a_part_that_lies_in_any_direction_in_any_light() {
    let config = TrainConfig { size: Some(96), colour: Colour::Grey, ..config(MethodName::Gaussian) };
    let light = |i: usize| 0.8 + 0.01 * (i * 7 % 20) as f32;
    let normal: Vec<Image> = (0..40).map(|i| turned_wedge(i as f32 * 2.4, light(i), false)).collect();
    let detector = train(&config, normal, Instant::now(), &mut |_| Control::Continue).unwrap();
    let reach = detector.nuisance.registration.as_ref().map(Registration::reach);
    assert_eq!(reach, Some(Reach::Free));
    for angle in [0.3f32, 1.9, 4.4] {
        let (good, bad) = (turned_wedge(angle, 0.75, false), turned_wedge(angle, 0.75, true));
        let (good, bad) = (detector.inspect(&good), detector.inspect(&bad));
        assert!(bad.score > 1.5 * good.score, "{} {}", bad.score, good.score);
        assert!(bad.flagged);
        let map = detector.map(&bad, detector.default_map, 96, 96);
        let peak = (0..map.values.len()).max_by(|&a, &b| map.values[a].total_cmp(&map.values[b])).unwrap();
        let place = |turn: f32| 48.0 + 96.0 * 0.2 * turn;
        let (x, y) = (place(angle.cos()), place(angle.sin()));
        let distance = ((peak % 96) as f32 - x).hypot((peak / 96) as f32 - y);
        assert!(distance < 8.0, "{distance} px from the defect");
    }
}
