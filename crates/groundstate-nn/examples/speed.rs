//! Times an energy network of 480,000 weights: `speed [A|B] [threads] [seconds] [backend]`.
//!
//! A: 16 pictures of 64×64; B: 8 of 128×128. For each operation it prints the median and least wall time.
//! Run it with `--release`; `tests/reference/time_pytorch.py` prints the same for PyTorch.

use std::time::{Duration, Instant};

use groundstate_nn::{
    Activation, Backend, Executor, ExecutorOptions, LastLayer, Layer, Network, Node, Parameters, Purpose,
};

fn network() -> Network {
    let mut nodes = vec![Node { layer: Layer::Image { channels: 3 }, inputs: vec![] }];
    for (out_channels, kernel, stride) in
        [(32, 3, 1), (64, 4, 2), (64, 3, 1), (128, 4, 2), (128, 3, 1), (128, 3, 1)]
    {
        let layer =
            Layer::Conv { out_channels, kernel, stride, activation: Activation::Silu, standardise: false };
        nodes.push(Node { layer, inputs: vec![nodes.len() - 1] });
    }
    let last = Layer::Conv {
        out_channels: 1,
        kernel: 1,
        stride: 1,
        activation: Activation::Identity,
        standardise: false,
    };
    nodes.push(Node { layer: last, inputs: vec![nodes.len() - 1] });
    Network::new(nodes).expect("a valid network")
}

/// Median and least time of a call, in milliseconds.
fn time(limit: Duration, mut call: impl FnMut()) -> (f64, f64) {
    call();
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || start.elapsed() < limit {
        let begin = Instant::now();
        call();
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (batch, side) = if arguments.first().is_some_and(|a| a == "B") { (8, 128) } else { (16, 64) };
    let threads = arguments.get(1).map_or(1, |a| a.parse().expect("a number of threads"));
    let seconds = arguments.get(2).map_or(3.0, |a| a.parse().expect("a number of seconds"));
    let named =
        |name: &String| Backend::available().into_iter().find(|b| b.name() == name).expect("a backend");
    let backend = arguments.get(3).map_or_else(Backend::detect, named);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| run(batch, side, backend, Duration::from_secs_f64(seconds)));
}

fn run(batch: usize, side: usize, backend: Backend, limit: Duration) {
    let network = network();
    let parameters = Parameters::initialise_with(&network, 1, LastLayer::Random);
    let x: Vec<f32> = (0..batch * side * side * 3).map(|i| (i as f32 * 0.37).sin()).collect();
    let (h, w) = network.output_size(side, side).expect("the picture fits");
    let (de, v) = (vec![1.0; batch * h * w], x.clone());
    let executor = |purpose| {
        let options = ExecutorOptions { purpose, backend: Some(backend) };
        let mut executor =
            Executor::with_options(&network, batch, side, side, options).expect("a valid size");
        executor.load(&parameters);
        executor
    };
    let cost = 2e-6 * batch as f64 * network.multiply_adds(side, side).expect("the picture fits") as f64;
    println!("{batch} pictures of {side}×{side}, {}, {cost:.0} MFLOP forward", backend.name());
    let print = |name: &str, passes: f64, (median, least): (f64, f64)| {
        println!("{name:30} {median:8.2} ms, least {least:8.2} ms, {:6.1} GFLOP/s", passes * cost / median);
    };
    let mut energies = executor(Purpose::Energies);
    print(
        "energies",
        1.0,
        time(limit, || {
            energies.forward(&x, &[]);
        }),
    );
    let mut input = executor(Purpose::InputGradient);
    print(
        "energies + input gradient",
        2.0,
        time(limit, || {
            input.forward(&x, &[]);
            input.input_gradient(&de);
        }),
    );
    let mut first = executor(Purpose::ParameterGradient);
    let mut gradient = parameters.zeros_like();
    print(
        "energies + parameter gradient",
        3.0,
        time(limit, || {
            gradient.set_zero();
            first.load(&parameters);
            first.forward(&x, &[]);
            first.parameter_gradient(&de, &mut gradient);
        }),
    );
    print("load", 0.0, time(limit / 4, || first.load(&parameters)));
    let mut second = executor(Purpose::SecondOrder);
    print(
        "second order (all of it)",
        6.0,
        time(limit, || {
            gradient.set_zero();
            second.load(&parameters);
            second.forward(&x, &[]);
            second.input_gradient(&de);
            second.second_order(&v, &de, &mut gradient);
        }),
    );
}
