//! Kernels one by one, on one thread: `cargo bench -p groundstate-nn`.
//!
//! Each benchmark runs a network of one convolution (and a 1×1 one to a single channel, about a hundredth
//! of the work), so that all of the executor's own cost is in. Throughput counts two operations per
//! multiply-add of the direct algorithm: `Gelem/s` reads as GFLOP/s. Below each result stands the best
//! sample's share of the peak, which is measured first: multiply-adds in registers, as many as the
//! processor takes. Winograd's share can be above 100 %, since it does with fewer. `closed_form` has the parts of
//! the closed-form energy for one picture of 256 × 256 pixels.

mod closed_form;
mod peak;

use std::cell::Cell;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use groundstate_nn::{
    Activation, Backend, Executor, ExecutorOptions, LastLayer, Layer, Network, Node, Parameters, Purpose,
};

struct Kernel {
    name: &'static str,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    side: usize,
    batch: usize,
}

const KERNELS: [Kernel; 5] = [
    Kernel { name: "3x3 3→32", inputs: 3, outputs: 32, kernel: 3, stride: 1, side: 64, batch: 16 },
    Kernel { name: "4x4 s2 32→64", inputs: 32, outputs: 64, kernel: 4, stride: 2, side: 64, batch: 4 },
    Kernel {
        name: "3x3 64→64 (Winograd)",
        inputs: 64,
        outputs: 64,
        kernel: 3,
        stride: 1,
        side: 32,
        batch: 8,
    },
    Kernel { name: "3x3 s2 64→128", inputs: 64, outputs: 128, kernel: 3, stride: 2, side: 32, batch: 8 },
    Kernel {
        name: "3x3 128→128 (Winograd)",
        inputs: 128,
        outputs: 128,
        kernel: 3,
        stride: 1,
        side: 16,
        batch: 16,
    },
];

/// Picture → the kernel → 1×1 to one channel.
fn network(kernel: &Kernel) -> Network {
    let conv = |input, out_channels, kernel, stride, activation| Node {
        layer: Layer::Conv { out_channels, kernel, stride, activation, standardise: false },
        inputs: vec![input],
    };
    Network::new(vec![
        Node { layer: Layer::Image { channels: kernel.inputs }, inputs: vec![] },
        conv(0, kernel.outputs, kernel.kernel, kernel.stride, Activation::Silu),
        conv(1, 1, 1, 1, Activation::Identity),
    ])
    .expect("a valid network")
}

/// Benchmarks a call of `flops` operations and prints the best sample's share of `peak`, in GFLOP/s.
fn bench(
    group: &mut BenchmarkGroup<WallTime>,
    name: &str,
    (flops, peak): (u64, f64),
    mut call: impl FnMut(),
) {
    let best = Cell::new(f64::INFINITY);
    group.bench_function(name, |b| {
        b.iter_custom(|count| {
            let start = Instant::now();
            (0..count).for_each(|_| call());
            let time = start.elapsed();
            best.set(best.get().min(time.as_secs_f64() / count as f64));
            time
        });
    });
    let rate = 1e-9 * flops as f64 / best.get();
    if rate > 0.0 {
        println!("{name:37} {rate:.0} GFLOP/s at best, {:.0} % of the peak", 100.0 * rate / peak);
    }
}

fn kernels(criterion: &mut Criterion) {
    let peaks: Vec<(Backend, f64)> = Backend::available().into_iter().map(|b| (b, peak::gflops(b))).collect();
    for (backend, peak) in &peaks {
        println!("peak of one thread, {}: {peak:.0} GFLOP/s", backend.name());
    }
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first pool");
    for kernel in &KERNELS {
        let network = network(kernel);
        let parameters = Parameters::initialise_with(&network, 1, LastLayer::Random);
        let (side, batch) = (kernel.side, kernel.batch);
        let x: Vec<f32> = (0..batch * side * side * kernel.inputs).map(|i| (i as f32 * 0.37).sin()).collect();
        let (h, w) = network.output_size(side, side).expect("the picture fits");
        let de = vec![1.0; batch * h * w];
        let flops = 2 * batch as u64 * network.multiply_adds(side, side).expect("the picture fits");
        let mut group = criterion.benchmark_group(kernel.name);
        group.throughput(Throughput::Elements(flops)).sample_size(10);
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
        for &(backend, peak) in &peaks {
            let options = ExecutorOptions { purpose: Purpose::ParameterGradient, backend: Some(backend) };
            let mut executor =
                Executor::with_options(&network, batch, side, side, options).expect("a valid size");
            executor.load(&parameters);
            let mut gradient = parameters.zeros_like();
            let name = |operation: &str| format!("{operation}/{}", backend.name());
            bench(&mut group, &name("forward"), (flops, peak), || {
                executor.forward(&x, &[]);
            });
            bench(&mut group, &name("input gradient"), (flops, peak), || {
                executor.input_gradient(&de);
            });
            bench(&mut group, &name("parameter gradient"), (flops, peak), || {
                executor.parameter_gradient(&de, &mut gradient);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, kernels, closed_form::closed_form);
criterion_main!(benches);
