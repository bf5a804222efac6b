//! Our side of the comparison with PyTorch: answers the commands of `compare.py`, one line each.
//!
//! | command | does | answers |
//! |---|---|---|
//! | `open NETWORK SIDE BATCH THREADS` | builds it; writes network, parameters and inputs to the folder | `ok` |
//! | `numbers` | writes energies, gradients and one optimiser step to the folder | `ok` |
//! | `time OPERATION CALLS` | runs the operation once, then `CALLS` times | milliseconds of each call |
//!
//! Arrays are raw little-endian f32 in the order of `groundstate-nn`.

use std::io::{BufRead, stdin};
use std::path::{Path, PathBuf};
use std::time::Instant;

use groundstate::model::NetworkConfig;
use groundstate::sampler::{Langevin, LangevinConfig};
use groundstate_nn::{
    Activation, AdamW, AdamWSettings, Backend, Executor, ExecutorOptions, LastLayer, Layer, Network, Node,
    Parameters, Purpose, WeightAverage,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Settings of the training steps, the same in `compare.py`.
const LEARNING_RATE: f64 = 1e-4;
const GRADIENT_CLIP: f64 = 1.0;
const AVERAGE_DECAY: f64 = 0.998;
const NOISE_LEVEL: f32 = 0.1;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: peer FOLDER"));
    let mut opened = None;
    for line in stdin().lock().lines() {
        let line = line.expect("commands are text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match (words.as_slice(), &mut opened) {
            (&["open", network, side, batch, threads], opened) => {
                let [side, batch, threads] = [side, batch, threads].map(|n| n.parse().expect("a number"));
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                let subject = Subject::new(network, side, batch);
                subject.write_inputs(&folder);
                *opened = Some((pool, subject));
                "ok".to_owned()
            }
            (["numbers"], Some((pool, subject))) => {
                pool.install(|| subject.write_numbers(&folder));
                "ok".to_owned()
            }
            (["time", operation, calls], Some((pool, subject))) => {
                let calls = calls.parse().expect("a number of calls");
                let times = time(pool, subject, operation, calls);
                times.iter().map(|ms| format!("{ms:.4}")).collect::<Vec<_>>().join(" ")
            }
            _ => panic!("unknown command, or nothing is open: {line}"),
        };
        println!("{answer}");
    }
}

fn time(pool: &ThreadPool, subject: &mut Subject, operation: &str, calls: usize) -> Vec<f64> {
    let mut run = || {
        let start = Instant::now();
        pool.install(|| subject.run(operation));
        start.elapsed().as_secs_f64() * 1e3
    };
    run();
    (0..calls).map(|_| run()).collect()
}

/// Networks A and B (one list of layers, 480,000 weights), or the product's own.
fn network(name: &str) -> Network {
    match name {
        "A" | "B" => plain_network(),
        "default" => NetworkConfig::default().network(3, false).expect("a valid network"),
        "default-dsm" => NetworkConfig::default().network(3, true).expect("a valid network"),
        _ => panic!("network {name:?}, expected A, B, default or default-dsm"),
    }
}

fn plain_network() -> Network {
    let mut nodes = vec![Node { layer: Layer::Image { channels: 3 }, inputs: vec![] }];
    for (out_channels, kernel, stride, activation) in [
        (32, 3, 1, Activation::Silu),
        (64, 4, 2, Activation::Silu),
        (64, 3, 1, Activation::Silu),
        (128, 4, 2, Activation::Silu),
        (128, 3, 1, Activation::Silu),
        (128, 3, 1, Activation::Silu),
        (1, 1, 1, Activation::Identity),
    ] {
        let layer = Layer::Conv { out_channels, kernel, stride, activation, standardise: false };
        nodes.push(Node { layer, inputs: vec![nodes.len() - 1] });
    }
    Network::new(nodes).expect("a valid network")
}

/// One network at one size, with inputs, an optimiser and executors.
struct Subject {
    x: Vec<f32>,
    levels: Vec<f32>,
    /// Of the local energies, in gradients.
    weights: Vec<f32>,
    /// Of the locations, 0 or 1, in the training step.
    labels: Vec<f32>,
    /// Target of score matching.
    noise: Vec<f32>,
    chains: Vec<f32>,
    langevin: Langevin,
    rng: ChaCha8Rng,
    parameters: Parameters,
    gradient: Parameters,
    adamw: AdamW,
    average: WeightAverage,
    executors: Executors,
}

/// Executors of one network by purpose and number of pictures, built when first needed.
struct Executors {
    network: Network,
    side: usize,
    built: Vec<(Purpose, usize, Executor)>,
}

impl Executors {
    fn get(&mut self, purpose: Purpose, batch: usize, parameters: &Parameters) -> &mut Executor {
        let found = self.built.iter().position(|(p, b, _)| (*p, *b) == (purpose, batch));
        let index = found.unwrap_or_else(|| {
            let options = ExecutorOptions { purpose, backend: None };
            let mut executor =
                Executor::with_options(&self.network, batch, self.side, self.side, options).expect("a size");
            executor.load(parameters);
            self.built.push((purpose, batch, executor));
            self.built.len() - 1
        });
        &mut self.built[index].2
    }
}

impl Subject {
    fn new(name: &str, side: usize, batch: usize) -> Subject {
        let network = network(name);
        let parameters = Parameters::initialise_with(&network, 1, LastLayer::Random);
        let (h, w) = network.output_size(side, side).expect("the picture fits");
        let wave = |count: usize, pace: f32| (0..count).map(move |i| (i as f32 * pace).sin());
        let (values, cells) = (batch * side * side * 3, batch * h * w);
        let x: Vec<f32> = wave(values, 0.37).map(|v| 0.5 + 0.5 * v).collect();
        Subject {
            levels: if network.takes_noise_level() { vec![NOISE_LEVEL; batch] } else { Vec::new() },
            weights: wave(cells, 0.61).map(|v| 1.0 + 0.5 * v).collect(),
            labels: (0..cells).map(|i| f32::from(u8::from(i % 3 == 0))).collect(),
            noise: wave(values, 1.3).collect(),
            chains: x.clone(),
            x,
            langevin: LangevinConfig::default().check().expect("defaults are valid"),
            rng: ChaCha8Rng::seed_from_u64(1),
            gradient: parameters.zeros_like(),
            adamw: AdamW::new(AdamWSettings::default(), &parameters).expect("defaults are valid"),
            average: WeightAverage::new(AVERAGE_DECAY, &parameters).expect("a valid decay"),
            parameters,
            executors: Executors { network, side, built: Vec::new() },
        }
    }

    fn batch(&self) -> usize {
        self.x.len() / (3 * self.executors.side.pow(2))
    }

    fn write_inputs(&self, folder: &Path) {
        let network = &self.executors.network;
        let description = serde_json::json!({
            "nodes": network.nodes(),
            "shapes": network.parameter_shapes(),
            "multiply_adds": network.multiply_adds(self.executors.side, self.executors.side).expect("it fits"),
            "kernels": Backend::detect().name(),
        });
        std::fs::write(folder.join("network.json"), description.to_string()).expect("a folder to write to");
        write(folder, "parameters", &flat(&self.parameters));
        write(folder, "x", &self.x);
        write(folder, "levels", &self.levels);
        write(folder, "weights", &self.weights);
        write(folder, "labels", &self.labels);
        write(folder, "noise", &self.noise);
    }

    /// Runs everything once on fresh weights and writes the results.
    fn write_numbers(&mut self, folder: &Path) {
        let batch = self.batch();
        self.run("input_gradient");
        let executor = self.executors.get(Purpose::InputGradient, batch, &self.parameters);
        write(folder, "energies", executor.energy_map());
        write(folder, "input_gradient", executor.gradient_map());
        self.run("parameter_gradient");
        write(folder, "parameter_gradient", &flat(&self.gradient));
        self.gradient.set_zero();
        self.run(if self.levels.is_empty() { "train_step" } else { "train_step_dsm" });
        write(folder, "stepped", &flat(&self.parameters));
    }

    fn run(&mut self, operation: &str) {
        let batch = self.batch();
        let Subject { x, levels, weights, parameters, gradient, executors, .. } = self;
        match operation {
            "forward" => {
                executors.get(Purpose::Energies, batch, parameters).forward(x, levels);
            }
            "input_gradient" => {
                let executor = executors.get(Purpose::InputGradient, batch, parameters);
                executor.forward(x, levels);
                executor.input_gradient(weights);
            }
            "parameter_gradient" => {
                gradient.set_zero();
                let executor = executors.get(Purpose::ParameterGradient, batch, parameters);
                executor.load(parameters);
                executor.forward(x, levels);
                executor.parameter_gradient(weights, gradient);
            }
            "train_step" => self.contrast(),
            "train_step_dsm" => self.score_matching(),
            "train_step_cd" => self.contrastive_divergence(),
            _ => panic!("unknown operation {operation:?}"),
        }
    }

    /// Method `contrast` from the corrupted pictures on: logistic regression of the locations' labels.
    fn contrast(&mut self) {
        let batch = self.batch();
        let executor = self.executors.get(Purpose::ParameterGradient, batch, &self.parameters);
        executor.load(&self.parameters);
        let energies = executor.forward(&self.x, &self.levels);
        let share = 1.0 / energies.len() as f32;
        let slope = |(e, t): (&f32, &f32)| share * (1.0 / (1.0 + (-e).exp()) - t);
        let weights: Vec<f32> = energies.iter().zip(&self.labels).map(slope).collect();
        executor.parameter_gradient(&weights, &mut self.gradient);
        self.update();
    }

    /// Method `dsm` from the noisy pictures on: the input gradient is to equal the noise.
    fn score_matching(&mut self) {
        let batch = self.batch();
        let executor = self.executors.get(Purpose::SecondOrder, batch, &self.parameters);
        executor.load(&self.parameters);
        let cells = executor.forward(&self.x, &self.levels).len();
        let found = executor.input_gradient(&vec![1.0; cells]);
        let share = 2.0 / found.len() as f32;
        let direction: Vec<f32> = found.iter().zip(&self.noise).map(|(g, n)| share * (g - n)).collect();
        executor.second_order(&direction, &vec![0.0; cells], &mut self.gradient);
        self.update();
    }

    /// Method `cd`: the product's Langevin chains, then E(x⁺) − E(x⁻) and the squares of both.
    fn contrastive_divergence(&mut self) {
        let batch = self.batch();
        let Subject { executors, parameters, chains, levels, langevin, rng, .. } = self;
        let executor = executors.get(Purpose::InputGradient, batch, parameters);
        executor.load(parameters);
        let ones = vec![1.0; executor.forward(chains, levels).len()];
        let gradient = |x: &[f32], slope: &mut [f32]| {
            executor.forward(x, levels);
            slope.copy_from_slice(executor.input_gradient(&ones));
        };
        langevin.run(chains, 1.0, gradient, rng);
        let both = [self.x.as_slice(), chains].concat();
        let executor = executors.get(Purpose::ParameterGradient, 2 * batch, parameters);
        executor.load(parameters);
        let energies = executor.forward(&both, levels);
        let share = 2.0 / energies.len() as f32;
        let slope = |(i, e): (usize, &f32)| {
            let sign = if 2 * i < energies.len() { 1.0 } else { -1.0 };
            share * (sign + 2.0 * e)
        };
        let weights: Vec<f32> = energies.iter().enumerate().map(slope).collect();
        executor.parameter_gradient(&weights, &mut self.gradient);
        self.update();
    }

    /// Clip, AdamW, weight average, and the gradient back to zero.
    fn update(&mut self) {
        self.gradient.clip(GRADIENT_CLIP);
        self.adamw.step(&mut self.parameters, &self.gradient, LEARNING_RATE);
        self.average.update(&self.parameters);
        self.gradient.set_zero();
    }
}

fn flat(parameters: &Parameters) -> Vec<f32> {
    parameters.iter().flat_map(|(_, _, values)| values).copied().collect()
}

fn write(folder: &Path, name: &str, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.join(name).with_extension("f32"), bytes).expect("a folder to write to");
}
