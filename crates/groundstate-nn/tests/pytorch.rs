//! The executors and the optimiser agree with numbers that PyTorch computed; see
//! `reference/make_reference.py`.

use std::collections::BTreeMap;

use groundstate_nn::plain::Plain;
use groundstate_nn::{AdamW, AdamWSettings, Backend, Executor, ExecutorOptions, Network, Parameters};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    nodes: Network,
    size: [usize; 3],
    parameters: BTreeMap<String, Tensor>,
    x: Vec<f32>,
    noise_levels: Vec<f32>,
    p: Vec<f32>,
    de: Vec<f32>,
    energies: Vec<f64>,
    input_gradient: Vec<f64>,
    parameter_gradient: BTreeMap<String, Vec<f64>>,
    sigma: f64,
    noise: Vec<f32>,
    matching_loss: f64,
    matching_gradient: BTreeMap<String, Vec<f64>>,
    adamw: Steps,
}

#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Steps {
    settings: AdamWSettings,
    rates: Vec<f64>,
    parameters: BTreeMap<String, Vec<f64>>,
}

fn reference() -> (Reference, Parameters) {
    let reference: Reference = serde_json::from_str(include_str!("reference/reference.json")).unwrap();
    let tensors = reference.parameters.iter();
    let tensors = tensors.map(|(n, t)| (n.as_str(), t.shape.as_slice(), t.values.as_slice()));
    let parameters = Parameters::from_tensors(&reference.nodes, tensors).unwrap();
    (reference, parameters)
}

/// Errors stay below `tolerance` times the largest value.
fn close<T: Copy + Into<f64>>(found: &[T], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        let f: f64 = f.into();
        assert!((f - e).abs() <= tolerance * largest, "{what}, {i}: {f}, PyTorch {e}");
    }
}

fn all_close(found: &Parameters, expected: &BTreeMap<String, Vec<f64>>, tolerance: f64, what: &str) {
    assert_eq!(found.iter().len(), expected.len());
    for (name, _, values) in found.iter() {
        close(values, &expected[name], tolerance, &format!("{what}, {name}"));
    }
}

/// v of denoising score matching, from the score ∂(Σ e)/∂x: half the loss's derivative would be σ(σ g − n).
fn direction<T: Copy + Into<f64>>(score: &[T], reference: &Reference) -> (Vec<f64>, f64) {
    let sigma = reference.sigma;
    let residual = score.iter().zip(&reference.noise).map(|(&g, &n)| sigma * g.into() - f64::from(n));
    let residual: Vec<f64> = residual.collect();
    let count = residual.len() as f64;
    let loss = residual.iter().map(|r| r * r).sum::<f64>() / count;
    (residual.iter().map(|r| 2.0 * sigma * r / count).collect(), loss)
}

#[test]
fn the_plain_executor_agrees_in_double_precision() {
    // The file keeps nine digits.
    let tolerance = 1e-8;
    let (reference, parameters) = reference();
    let [_, h, w] = reference.size;
    let tensors = Plain::<f64>::tensors(&parameters);
    let plain = Plain::new(&reference.nodes, tensors, h, w).unwrap();
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let values = plain.forward(&wide(&reference.x), &wide(&reference.noise_levels));
    close(values.energies(), &reference.energies, tolerance, "energies");
    let input = plain.input_gradient(&values, &wide(&reference.p));
    close(&input, &reference.input_gradient, tolerance, "input gradient");
    let ones = vec![1.0; reference.de.len()];
    let (v, loss) = direction(&plain.input_gradient(&values, &ones), &reference);
    assert!((loss - reference.matching_loss).abs() < tolerance * loss);
    let first = plain.parameter_gradient(&values, &wide(&reference.de));
    let second = plain.second_order(&values, &v, &ones, &vec![0.0; ones.len()]);
    for (i, (name, _, _)) in parameters.iter().enumerate() {
        close(&first[i], &reference.parameter_gradient[name], tolerance, name);
        close(&second[i], &reference.matching_gradient[name], tolerance, name);
    }
}

#[test]
fn the_fast_executor_agrees_on_every_backend() {
    let tolerance = 1e-5;
    let (reference, parameters) = reference();
    let [n, h, w] = reference.size;
    for backend in Backend::available() {
        let options = ExecutorOptions { backend: Some(backend), ..Default::default() };
        let mut executor = Executor::with_options(&reference.nodes, n, h, w, options).unwrap();
        executor.load(&parameters);
        let energies = executor.forward(&reference.x, &reference.noise_levels);
        close(energies, &reference.energies, tolerance, "energies");
        close(executor.input_gradient(&reference.p), &reference.input_gradient, tolerance, "input gradient");
        let mut first = parameters.zeros_like();
        executor.parameter_gradient(&reference.de, &mut first);
        all_close(&first, &reference.parameter_gradient, tolerance, "parameter gradient");
        let ones = vec![1.0; reference.de.len()];
        let (v, loss) = direction(executor.input_gradient(&ones), &reference);
        assert!((loss - reference.matching_loss).abs() < tolerance * loss);
        let v: Vec<f32> = v.iter().map(|&v| v as f32).collect();
        let mut second = parameters.zeros_like();
        executor.second_order(&v, &vec![0.0; ones.len()], &mut second);
        all_close(&second, &reference.matching_gradient, tolerance, "score matching");
    }
}

#[test]
fn adamw_takes_pytorchs_steps() {
    let (reference, mut parameters) = reference();
    let mut gradient = parameters.zeros_like();
    for (name, _, values) in gradient.iter_mut() {
        let found = reference.parameter_gradient[name].iter();
        values.iter_mut().zip(found).for_each(|(v, &g)| *v = g as f32);
    }
    let mut adamw = AdamW::new(reference.adamw.settings, &parameters).unwrap();
    for (step, &rate) in reference.adamw.rates.iter().enumerate() {
        let mut scaled = gradient.clone();
        scaled.scale(1.0 - 0.7 * step as f32);
        adamw.step(&mut parameters, &scaled, rate);
    }
    all_close(&parameters, &reference.adamw.parameters, 1e-5, "AdamW");
}
