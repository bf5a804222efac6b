//! Step rule, schedule, average and clipping against their formulas.

mod networks;

use groundstate_nn::{Activation, AdamW, AdamWSettings, Parameters, Schedule, WeightAverage};
use networks::{conv, image, network};

fn small() -> Parameters {
    let net = network(vec![image(1), conv(0, 1, 1, 1, Activation::Identity)]);
    Parameters::initialise_with(&net, 1, groundstate_nn::LastLayer::Random)
}

fn filled(value: f32) -> Parameters {
    let mut parameters = small();
    parameters.iter_mut().for_each(|(_, _, values)| values.fill(value));
    parameters
}

#[test]
fn the_first_step_moves_by_the_rate_and_decays_weights_only() {
    let mut parameters = filled(2.0);
    let settings = AdamWSettings { weight_decay: 0.5, ..Default::default() };
    let mut adamw = AdamW::new(settings, &parameters).unwrap();
    adamw.step(&mut parameters, &filled(-3.0), 0.1);
    let values: Vec<f32> = parameters.iter().map(|(_, _, v)| v[0]).collect();
    // Weight: 2 · (1 − 0.1 · 0.5) + 0.1; bias: 2 + 0.1.
    assert!((values[0] - 2.0).abs() < 1e-6 && (values[1] - 2.1).abs() < 1e-6, "{values:?}");
}

#[test]
fn adamw_finds_the_minimum_of_a_quadratic() {
    let mut parameters = filled(3.0);
    let settings = AdamWSettings { weight_decay: 0.0, ..Default::default() };
    let mut adamw = AdamW::new(settings, &parameters).unwrap();
    let schedule = Schedule::WarmUpCosine { peak: 0.1, last: 0.0, warm_up_steps: 10, steps: 400 };
    for step in 0..400 {
        let mut gradient = parameters.clone();
        gradient.axpy(-1.0, &filled(1.0));
        adamw.step(&mut parameters, &gradient, schedule.rate(step));
    }
    parameters.axpy(-1.0, &filled(1.0));
    assert!(parameters.l2_norm() < 1e-3, "{}", parameters.l2_norm());
}

#[test]
fn a_restored_optimiser_takes_the_same_steps() {
    let mut first = filled(1.0);
    let mut adamw = AdamW::new(AdamWSettings::default(), &first).unwrap();
    adamw.step(&mut first, &filled(0.3), 0.01);
    let mut second = first.clone();
    let mut restored: AdamW = serde_json::from_str(&serde_json::to_string(&adamw).unwrap()).unwrap();
    adamw.step(&mut first, &filled(-0.7), 0.02);
    restored.step(&mut second, &filled(-0.7), 0.02);
    assert_eq!(first, second);
}

#[test]
fn settings_out_of_range_are_named() {
    let refused = |settings| AdamW::new(settings, &small()).unwrap_err().to_string();
    let default = AdamWSettings::default();
    assert_eq!(refused(AdamWSettings { beta1: 1.0, ..default }), "beta1 is 1, expected a number in [0, 1)");
    assert!(refused(AdamWSettings { beta2: -0.1, ..default }).starts_with("beta2"));
    assert!(refused(AdamWSettings { epsilon: 0.0, ..default }).starts_with("epsilon"));
    assert!(refused(AdamWSettings { weight_decay: f64::NAN, ..default }).starts_with("weight_decay"));
    assert!(WeightAverage::new(1.0, &small()).is_err());
}

#[test]
fn the_schedule_rises_peaks_and_falls() {
    let schedule = Schedule::WarmUpCosine { peak: 1.0, last: 0.2, warm_up_steps: 4, steps: 14 };
    let rates: Vec<f64> = [0, 3, 4, 9, 14, 99].map(|s| schedule.rate(s)).to_vec();
    let expected = [0.25, 1.0, 1.0, 0.6, 0.2, 0.2];
    assert!(rates.iter().zip(expected).all(|(r, e)| (r - e).abs() < 1e-12), "{rates:?}");
    assert_eq!(Schedule::Constant { rate: 0.3 }.rate(7), 0.3);
}

#[test]
fn the_weight_average_is_the_normalised_exponential_mean() {
    let mut average = WeightAverage::new(0.5, &filled(9.0)).unwrap();
    for value in [1.0, 2.0, 4.0] {
        average.update(&filled(value));
    }
    let expected = (0.25 * 1.0 + 0.5 * 2.0 + 4.0) / 1.75;
    let (_, _, values) = average.parameters().iter().next().unwrap();
    assert!((values[0] - expected as f32).abs() < 1e-6, "{}", values[0]);
}

#[test]
fn clipping_keeps_direction_and_limits_the_norm() {
    let mut gradient = filled(3.0);
    let norm = gradient.clip(1.0);
    assert!((norm - 18f64.sqrt()).abs() < 1e-6);
    assert!((gradient.l2_norm() - 1.0).abs() < 1e-6);
    assert!((gradient.clip(5.0) - 1.0).abs() < 1e-6 && (gradient.l2_norm() - 1.0).abs() < 1e-6);
    let mut broken = filled(f32::NAN);
    assert!(broken.clip(1.0).is_nan());
}
