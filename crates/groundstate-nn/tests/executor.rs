//! The fast executor computes what the plain one does, on every backend, for shapes of every kind; and
//! neither threads nor neighbours in the batch change a bit of it.

mod networks;

use groundstate_nn::plain::{Plain, Tensors};
use groundstate_nn::{Activation, Backend, Executor, ExecutorOptions, Layer, Network, Parameters, Purpose};
use networks::{conv, everything, image, network, node, numbers_f32, parameters, standardised};

/// Relative to the largest value of an array. Sums of up to 1152 products in f32 are within about 1e-6;
/// Winograd's transforms add a few 1e-6 per layer, and its weight gradients a few more.
const TOLERANCE: f64 = 3e-5;

/// Everything an executor computes.
struct Results {
    energies: Vec<f32>,
    input: Vec<f32>,
    first: Tensors<f32>,
    second: Tensors<f32>,
}

struct Case {
    network: Network,
    parameters: Parameters,
    size: (usize, usize),
    x: Vec<f32>,
    v: Vec<f32>,
    levels: Vec<f32>,
    p: Vec<f32>,
    de: Vec<f32>,
}

impl Case {
    fn new(network: Network, images: usize, height: usize, width: usize) -> Case {
        let picture = images * height * width * network.input_channels();
        let (h, w) = network.output_size(height, width).expect("the picture fits");
        let levels = if network.takes_noise_level() { numbers_f32(images, 5) } else { vec![] };
        Case {
            parameters: parameters(&network, 11),
            size: (height, width),
            x: numbers_f32(picture, 1),
            v: numbers_f32(picture, 2),
            levels,
            p: numbers_f32(images * h * w * network.output_channels(), 3),
            de: numbers_f32(images * h * w * network.output_channels(), 4),
            network,
        }
    }

    fn images(&self) -> usize {
        self.x.len() / (self.size.0 * self.size.1 * self.network.input_channels())
    }

    fn executor(&self, batch: usize, backend: Backend) -> Executor {
        let options = ExecutorOptions { backend: Some(backend), ..Default::default() };
        let mut executor =
            Executor::with_options(&self.network, batch, self.size.0, self.size.1, options).unwrap();
        executor.load(&self.parameters);
        executor
    }

    fn run(&self, executor: &mut Executor) -> Results {
        let tensors = |p: &Parameters| p.iter().map(|(_, _, v)| v.to_vec()).collect();
        let energies = executor.forward(&self.x, &self.levels).to_vec();
        let mut first = self.parameters.zeros_like();
        executor.parameter_gradient(&self.de, &mut first);
        let input = executor.input_gradient(&self.p).to_vec();
        let mut second = self.parameters.zeros_like();
        executor.second_order(&self.v, &self.de, &mut second);
        Results { energies, input, first: tensors(&first), second: tensors(&second) }
    }

    fn plain(&self) -> Results {
        let tensors = Plain::<f64>::tensors(&self.parameters);
        let plain = Plain::new(&self.network, tensors, self.size.0, self.size.1).unwrap();
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
        let values = plain.forward(&wide(&self.x), &wide(&self.levels));
        let (v, p, de) = (wide(&self.v), wide(&self.p), wide(&self.de));
        let all = |t: Tensors<f64>| t.iter().map(|t| narrow(t)).collect();
        Results {
            energies: narrow(values.energies()),
            input: narrow(&plain.input_gradient(&values, &p)),
            first: all(plain.parameter_gradient(&values, &de)),
            second: all(plain.second_order(&values, &v, &p, &de)),
        }
    }

    /// All backends agree with the plain executor; room for one more image than there are.
    fn check(&self, name: &str) {
        let expected = self.plain();
        for backend in Backend::available() {
            let found = self.run(&mut self.executor(self.images() + 1, backend));
            let name = format!("{name}, {}", backend.name());
            close(&found.energies, &expected.energies, &format!("{name}: energies"));
            close(&found.input, &expected.input, &format!("{name}: input gradient"));
            for (i, (found, expected)) in found.first.iter().zip(&expected.first).enumerate() {
                close(found, expected, &format!("{name}: parameter gradient {i}"));
            }
            for (i, (found, expected)) in found.second.iter().zip(&expected.second).enumerate() {
                close(found, expected, &format!("{name}: second order {i}"));
            }
        }
    }
}

fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f64, |m, &e| m.max(f64::from(e).abs()));
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(f) - f64::from(e)).abs();
        assert!(error <= TOLERANCE * largest, "{what}, {i}: {f}, plain {e}, largest {largest}");
    }
}

/// Picture → conv → `layer` → conv to one channel.
fn middle(channels: usize, layer: groundstate_nn::Node) -> Network {
    network(vec![
        image(channels),
        conv(0, channels, 1, 1, Activation::Silu),
        layer,
        conv(2, 1, 1, 1, Activation::Identity),
    ])
}

#[test]
fn every_kernel_at_odd_sizes_and_channel_counts() {
    for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (4, 2)] {
        for (inputs, outputs, height, width) in [(1, 1, 2, 2), (3, 5, 5, 7), (9, 17, 6, 3), (24, 40, 9, 10)] {
            for activation in [Activation::Silu, Activation::LeakyRelu, Activation::Identity] {
                let case =
                    Case::new(middle(inputs, conv(1, outputs, kernel, stride, activation)), 2, height, width);
                case.check(&format!(
                    "{kernel}×{kernel} s{stride}, {inputs}→{outputs}, {height}×{width}, {activation:?}"
                ));
            }
        }
    }
}

#[test]
fn first_layers_read_pictures_of_any_number_of_channels() {
    for (channels, height, width) in
        [(1, 2, 2), (2, 6, 4), (3, 8, 10), (4, 4, 6), (5, 6, 6), (9, 4, 4), (3, 7, 5)]
    {
        for (kernel, stride) in [(3, 1), (4, 2), (3, 2)] {
            let first = |input| conv(input, 20, kernel, stride, Activation::Silu);
            let last = |input| conv(input, 1, 1, 1, Activation::Identity);
            let name = format!("{kernel}×{kernel} s{stride} of {channels}, {height}×{width}");
            let direct = network(vec![image(channels), first(0), last(1)]);
            Case::new(direct, 2, height, width).check(&name);
            let nodes = vec![
                image(channels),
                node(Layer::Coordinates, &[]),
                node(Layer::NoiseLevel, &[]),
                node(Layer::Concat, &[2, 0, 1]),
                standardised(first(3)),
                last(4),
            ];
            Case::new(network(nodes), 2, height, width).check(&format!("{name}, joined"));
            let nodes = vec![
                image(channels),
                node(Layer::Coordinates, &[]),
                node(Layer::Concat, &[0, 1, 0]),
                first(2),
                last(3),
            ];
            Case::new(network(nodes), 2, height, width).check(&format!("{name}, joined twice"));
        }
    }
}

#[test]
fn the_last_layer_may_have_many_channels() {
    for outputs in [2, 5, 16, 40] {
        let silu = Activation::Silu;
        let network = network(vec![
            image(3),
            conv(0, 12, 4, 2, silu),
            standardised(conv(1, 20, 4, 2, silu)),
            node(Layer::Upsample, &[2]),
            node(Layer::Concat, &[1, 3]),
            node(Layer::AveragePool, &[4]),
            conv(5, outputs, 1, 1, Activation::Identity),
        ]);
        Case::new(network, 2, 12, 20).check(&format!("{outputs} features"));
    }
}

#[test]
fn pictures_of_one_pixel() {
    for (kernel, stride) in [(1, 1), (3, 1), (3, 2)] {
        Case::new(middle(3, conv(1, 20, kernel, stride, Activation::Silu)), 3, 1, 1).check("one pixel");
        Case::new(middle(3, conv(1, 20, kernel, stride, Activation::Silu)), 1, 1, 9).check("one row");
    }
}

#[test]
fn wide_layers_with_winograd_at_any_size() {
    for (channels, height, width) in [(16, 4, 4), (32, 7, 13), (48, 17, 6), (64, 33, 30), (128, 12, 16)] {
        let layer = standardised(conv(1, channels, 3, 1, Activation::Silu));
        Case::new(middle(channels, layer), 2, height, width)
            .check(&format!("{channels} at {height}×{width}"));
    }
}

#[test]
fn a_network_with_every_layer() {
    for (width, height, columns) in [(3, 8, 12), (16, 16, 20), (35, 12, 8)] {
        Case::new(everything(width), 3, height, columns).check(&format!("width {width}"));
    }
}

#[test]
fn layers_that_read_the_picture_directly() {
    let nodes = vec![
        image(5),
        node(Layer::Add, &[0, 0]),
        node(Layer::AveragePool, &[1]),
        node(Layer::Upsample, &[2]),
        node(Layer::Concat, &[3, 0, 3]),
        conv(4, 1, 3, 1, Activation::Silu),
    ];
    Case::new(network(nodes), 2, 6, 10).check("picture layers");
    let nodes = vec![image(1), node(Layer::AveragePool, &[0])];
    Case::new(network(nodes), 2, 5, 4).check("no parameters");
}

#[test]
fn neighbours_in_the_batch_change_no_bit() {
    let case = Case::new(everything(16), 5, 16, 12);
    for backend in Backend::available() {
        let all = case.run(&mut case.executor(5, backend));
        let mut single = case.executor(3, backend);
        for image in [3, 0, 4] {
            let part = |values: &[f32]| {
                let len = values.len() / 5;
                values[image * len..(image + 1) * len].to_vec()
            };
            assert_eq!(single.forward(&part(&case.x), &part(&case.levels)), part(&all.energies));
            assert_eq!(single.input_gradient(&part(&case.p)), part(&all.input));
        }
    }
}

#[test]
fn wide_layers_for_few_tiles_change_no_bit() {
    for (kernel, stride) in [(3, 1), (4, 2)] {
        let layer = standardised(conv(1, 120, kernel, stride, Activation::Silu));
        let case = Case::new(middle(128, layer), 1, 12, 10);
        case.check(&format!("{kernel}×{kernel}, few tiles"));
        for backend in Backend::available() {
            // An executor for more pictures keeps weights transformed; one for few has each pass transform them.
            let (many, few) =
                (case.run(&mut case.executor(9, backend)), case.run(&mut case.executor(1, backend)));
            assert_eq!(many.energies, few.energies);
            assert_eq!(many.input, few.input);
        }
    }
}

#[test]
fn large_pictures_that_go_through_in_groups_change_no_bit() {
    let case = Case::new(everything(16), 3, 192, 160);
    let mut all = case.executor(3, Backend::detect());
    let energies = all.forward(&case.x, &case.levels).to_vec();
    let gradient = all.input_gradient(&case.p).to_vec();
    let mut single = case.executor(1, Backend::detect());
    for image in 0..3 {
        let part = |values: &[f32]| {
            let len = values.len() / 3;
            values[image * len..(image + 1) * len].to_vec()
        };
        assert_eq!(single.forward(&part(&case.x), &part(&case.levels)), part(&energies));
        assert_eq!(single.input_gradient(&part(&case.p)), part(&gradient));
    }
    let mut second = case.parameters.zeros_like();
    all.second_order(&case.v, &case.de, &mut second);
    assert!(second.l2_norm() > 0.0 && second.is_finite());
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let wide = |channels| middle(channels, standardised(conv(1, channels, 3, 1, Activation::Silu)));
    // Weight gradients of small maps are shared out by channels, those of large ones by tiles. Of large pictures each
    // thread takes its own while there are enough.
    let cases = [
        Case::new(everything(16), 3, 192, 160),
        Case::new(everything(20), 3, 24, 20),
        Case::new(wide(128), 1, 16, 16),
        Case::new(wide(128), 1, 8, 8),
        Case::new(wide(32), 2, 64, 64),
    ];
    for (case, backend) in cases.iter().flat_map(|c| Backend::available().into_iter().map(move |b| (c, b))) {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| case.run(&mut case.executor(4, backend)))
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            let many = run(threads);
            assert_eq!(one.energies, many.energies);
            assert_eq!(one.input, many.input);
            assert_eq!(one.first, many.first);
            assert_eq!(one.second, many.second);
        }
    }
}

#[test]
fn nan_in_one_image_stays_there_and_leaves_no_trace() {
    let mut case = Case::new(everything(16), 3, 16, 16);
    for backend in Backend::available() {
        let mut executor = case.executor(3, backend);
        let clean = case.run(&mut executor);
        let (x, map) = (case.x.len() / 3, clean.energies.len() / 3);
        let kept = std::mem::replace(&mut case.x[x + 7 * 16 * 3], f32::NAN);
        let spoilt = case.run(&mut executor);
        assert!(spoilt.energies[map..2 * map].iter().any(|e| e.is_nan()));
        assert!(spoilt.input[x..2 * x].iter().any(|e| e.is_nan()));
        assert!(spoilt.first[0].iter().chain(&spoilt.second[0]).any(|v| v.is_nan()));
        for range in [0..map, 2 * map..3 * map] {
            assert_eq!(spoilt.energies[range.clone()], clean.energies[range]);
        }
        for range in [0..x, 2 * x..3 * x] {
            assert_eq!(spoilt.input[range.clone()], clean.input[range]);
        }
        case.x[x + 7 * 16 * 3] = kept;
        let again = case.run(&mut executor);
        assert_eq!(again.energies, clean.energies);
        assert_eq!(again.input, clean.input);
        assert_eq!(again.first, clean.first);
        assert_eq!(again.second, clean.second);
    }
}

#[test]
fn huge_and_tiny_values_saturate_as_the_activation_does() {
    let net = network(vec![image(1), conv(0, 1, 1, 1, Activation::Silu)]);
    let mut parameters = Parameters::zeros(&net);
    parameters.iter_mut().next().unwrap().2.fill(1.0);
    let x = [-1e30f32, -100.0, -88.0, -1e-30, 0.0, 1e-30, 88.0, 100.0, 1e30];
    for backend in Backend::available() {
        let options = ExecutorOptions { backend: Some(backend), ..Default::default() };
        let mut executor = Executor::with_options(&net, 1, 1, x.len(), options).unwrap();
        executor.load(&parameters);
        let energies = executor.forward(&x, &[]).to_vec();
        let slopes = executor.input_gradient(&[1.0; 9]).to_vec();
        for i in 0..x.len() {
            let z = f64::from(x[i]);
            let s = 1.0 / (1.0 + (-z.clamp(-87.3, 87.3)).exp());
            let (a, d) = (z * s, s + z * s * (1.0 - s));
            let near =
                |found: f32, exact: f64| (f64::from(found) - exact).abs() <= 1e-6 * exact.abs().max(1e-3);
            assert!(
                near(energies[i], a) || z == -1e30,
                "{}: f({z}) = {}, not {a}",
                backend.name(),
                energies[i]
            );
            assert!(near(slopes[i], d) || z == -1e30, "{}: f′({z}) = {}, not {d}", backend.name(), slopes[i]);
            assert!(energies[i].is_finite() && slopes[i].is_finite());
        }
    }
}

#[test]
fn every_purpose_gives_the_same_numbers() {
    let case = Case::new(everything(16), 2, 8, 8);
    let all = case.run(&mut case.executor(2, Backend::detect()));
    let executor = |purpose| {
        let options = ExecutorOptions { purpose, backend: None };
        let mut executor = Executor::with_options(&case.network, 2, 8, 8, options).unwrap();
        executor.load(&case.parameters);
        executor
    };
    let mut energies = executor(Purpose::Energies);
    assert_eq!(energies.forward(&case.x, &case.levels), all.energies);
    let mut input = executor(Purpose::InputGradient);
    input.forward(&case.x, &case.levels);
    assert_eq!(input.input_gradient(&case.p), all.input);
    let mut first = executor(Purpose::ParameterGradient);
    let mut gradient = case.parameters.zeros_like();
    first.forward(&case.x, &case.levels);
    first.parameter_gradient(&case.de, &mut gradient);
    assert!(gradient.iter().zip(&all.first).all(|((_, _, g), f)| g == f));
    assert!(energies.memory_bytes() < input.memory_bytes());
    assert!(input.memory_bytes() < first.memory_bytes());
}

#[test]
fn gradients_accumulate() {
    let case = Case::new(everything(8), 2, 8, 8);
    let mut executor = case.executor(2, Backend::detect());
    executor.forward(&case.x, &case.levels);
    let mut once = case.parameters.zeros_like();
    executor.parameter_gradient(&case.de, &mut once);
    let mut twice = once.clone();
    executor.parameter_gradient(&case.de, &mut twice);
    twice.axpy(-2.0, &once);
    assert!(twice.l2_norm() <= 1e-6 * once.l2_norm());
}

#[test]
#[should_panic(expected = "second_order must follow input_gradient")]
fn second_order_refuses_stale_adjoints() {
    let case = Case::new(everything(8), 2, 8, 8);
    let mut executor = case.executor(2, Backend::detect());
    executor.forward(&case.x, &case.levels);
    executor.input_gradient(&case.p);
    let mut gradient = case.parameters.zeros_like();
    executor.parameter_gradient(&case.de, &mut gradient);
    executor.second_order(&case.v, &case.de, &mut gradient);
}

#[test]
fn sizes_that_cannot_run_are_refused() {
    let net = everything(8);
    let refusal = |batch, h, w| Executor::new(&net, batch, h, w).err().expect("refused").to_string();
    assert!(refusal(0, 8, 8).contains("at least one image"), "{}", refusal(0, 8, 8));
    assert!(refusal(1, 10, 8).contains("multiples of 4"));
    assert!(refusal(1_000_000, 4096, 4096).contains("more than 2³¹ values"));
}

#[test]
fn executors_move_between_threads() {
    fn movable<T: Send + Sync>() {}
    movable::<Executor>();
}
