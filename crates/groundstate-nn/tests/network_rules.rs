//! A list of layers that breaks a rule is refused with a message that names the place; sizes, receptive
//! fields and counts agree with hand calculation.

mod networks;

use groundstate_nn::{Activation, Layer, Network, NetworkError, Node, Parameters, ParametersError};
use networks::{conv, everything, image, network, node};

fn refusal(nodes: Vec<Node>) -> String {
    Network::new(nodes).expect_err("the list breaks a rule").to_string()
}

#[test]
fn each_broken_rule_is_named() {
    let silu = Activation::Silu;
    let cases: Vec<(Vec<Node>, &str)> = vec![
        (vec![], "no nodes"),
        (vec![node(Layer::Coordinates, &[])], "node 0 is a coordinates layer; the image must be node 0"),
        (vec![image(1), image(1)], "node 1 is a image layer"),
        (vec![image(1), conv(1, 1, 3, 1, silu)], "node 1 (conv) reads node 1; inputs must be earlier"),
        (vec![image(1), conv(5, 1, 3, 1, silu)], "node 1 (conv) reads node 5"),
        (vec![image(1), node(Layer::Add, &[0])], "node 1 (add) has 1 inputs, expected at least 2"),
        (vec![image(1), node(Layer::Upsample, &[0, 0])], "has 2 inputs, expected 1"),
        (vec![image(0)], "node 0 (image) has 0 channels"),
        (vec![image(1), conv(0, 5000, 3, 1, silu)], "5000 channels, expected 1 to 4096"),
        (vec![image(1), conv(0, 1, 5, 1, silu)], "a 5×5 convolution of stride 1 does not exist"),
        (vec![image(1), conv(0, 1, 4, 1, silu)], "a 4×4 convolution of stride 1 does not exist"),
        (
            vec![image(3), conv(0, 2, 3, 1, silu), node(Layer::Add, &[0, 1])],
            "adds 3 channels of node 0 to 2 channels of node 1",
        ),
        (
            vec![image(3), conv(0, 3, 3, 2, silu), node(Layer::Add, &[0, 1])],
            "joins node 0 at 1/1 of the picture's resolution and node 1 at 1/2",
        ),
        (vec![image(1), node(Layer::Upsample, &[0])], "leaves the range of resolutions"),
        (vec![image(1), conv(0, 1, 3, 1, silu), conv(0, 1, 3, 1, silu)], "node 1 (conv) is read by no other"),
        (vec![image(1), node(Layer::NoiseLevel, &[]), node(Layer::NoiseLevel, &[])], "second noise level"),
    ];
    for (nodes, expected) in cases {
        let found = refusal(nodes);
        assert!(found.contains(expected), "{found:?} should contain {expected:?}");
    }
}

#[test]
fn serialised_networks_come_back_and_broken_ones_are_refused() {
    let original = everything(4);
    let json = serde_json::to_string(&original).unwrap();
    assert_eq!(serde_json::from_str::<Network>(&json).unwrap(), original);
    let error = serde_json::from_str::<Network>(r#"[{"layer": {"kind": "add"}}]"#).unwrap_err();
    assert!(error.to_string().contains("the image must be node 0"), "{error}");
}

#[test]
fn sizes_follow_the_table_of_layers() {
    let last = || conv(1, 1, 1, 1, Activation::Identity);
    let size = |layer: Node| network(vec![image(1), layer, last()]).output_size(7, 10);
    assert_eq!(size(conv(0, 2, 3, 1, Activation::Silu)), Ok((7, 10)));
    assert_eq!(size(conv(0, 2, 3, 2, Activation::Silu)), Ok((4, 5)));
    assert_eq!(size(conv(0, 2, 4, 2, Activation::Silu)), Ok((3, 5)));
    assert_eq!(size(node(Layer::AveragePool, &[0])), Ok((3, 5)));
    let error =
        network(vec![image(1), conv(0, 2, 4, 2, Activation::Silu), last()]).output_size(1, 8).unwrap_err();
    assert!(matches!(error, NetworkError::Size { node: 1, found_height: 0, .. }), "{error}");
}

#[test]
fn paths_that_round_differently_are_refused_and_multiples_fit() {
    let net = everything(4);
    assert_eq!(net.size_multiple(), 4);
    assert_eq!(net.total_stride(), 2);
    assert_eq!(net.output_size(8, 12), Ok((4, 6)));
    let error = net.output_size(10, 8).unwrap_err();
    assert!(error.to_string().contains("multiples of 4 always fit"), "{error}");
}

#[test]
fn receptive_fields_agree_with_hand_calculation() {
    let field = |nodes| network(nodes).receptive_field();
    let silu = Activation::Silu;
    assert_eq!(field(vec![image(1), conv(0, 1, 1, 1, silu)]), 1);
    // 3×3 stride 1, then 4×4 stride 2: 1 → 4 → 6.
    assert_eq!(field(vec![image(1), conv(0, 2, 3, 1, silu), conv(1, 1, 4, 2, silu)]), 6);
    // Pool, then 3×3, then upsample: 1 cell → 3 pooled rows → 6 pixels.
    let nodes =
        vec![image(1), node(Layer::AveragePool, &[0]), conv(1, 1, 3, 1, silu), node(Layer::Upsample, &[2])];
    assert_eq!(field(nodes), 6);
}

#[test]
fn receptive_fields_are_what_a_changed_pixel_reaches() {
    use groundstate_nn::plain::Plain;
    let net = everything(2);
    let parameters = networks::parameters(&net, 3);
    let side = 64;
    let plain = Plain::<f64>::new(&net, Plain::<f64>::tensors(&parameters), side, side).unwrap();
    let values = plain.forward(&networks::numbers(side * side * 3, 1), &[0.5]);
    let cells = side / 2;
    let mut widest = 0;
    for cell in [cells / 2, cells / 2 + 1] {
        let mut de = vec![0.0; cells * cells];
        de[cell * cells + cell] = 1.0;
        let gradient = plain.input_gradient(&values, &de);
        let rows: Vec<usize> = (0..side)
            .filter(|y| gradient[y * side * 3..(y + 1) * side * 3].iter().any(|&g| g != 0.0))
            .collect();
        widest = widest.max(rows[rows.len() - 1] - rows[0] + 1);
    }
    assert_eq!(net.receptive_field(), widest);
}

#[test]
fn counts_agree_with_hand_calculation() {
    let net = network(vec![
        image(3),
        networks::standardised(conv(0, 8, 3, 1, Activation::Silu)),
        conv(1, 1, 4, 2, Activation::Identity),
    ]);
    assert_eq!(net.parameter_count(), 27 * 8 + 8 + 8 + 128 + 1);
    assert_eq!(net.multiply_adds(6, 10), Ok(60 * 27 * 8 + 15 * 128));
    let shapes = net.parameter_shapes();
    assert_eq!(shapes[0], ("conv1.weight".to_owned(), vec![3, 3, 3, 8]));
    assert_eq!(shapes[2], ("conv1.gain".to_owned(), vec![8]));
}

#[test]
fn saved_parameters_load_and_wrong_ones_are_named() {
    let net = everything(3);
    let original = networks::parameters(&net, 5);
    let tensors: Vec<_> = original.iter().collect();
    let reversed = tensors.iter().rev().copied();
    assert_eq!(Parameters::from_tensors(&net, reversed).unwrap(), original);
    let load = |tensors: &[(&str, &[usize], &[f32])]| Parameters::from_tensors(&net, tensors.iter().copied());
    assert!(
        matches!(load(&tensors[1..]), Err(ParametersError::Missing { name, .. }) if name == "conv4.weight")
    );
    let mut wrong = tensors.clone();
    wrong[0].0 = "conv99.weight";
    assert!(matches!(load(&wrong), Err(ParametersError::Unknown { .. })));
    wrong[0] = tensors[1];
    assert!(matches!(load(&wrong), Err(ParametersError::Repeated { .. })));
    wrong[0] = (tensors[0].0, &[3, 3], tensors[0].2);
    assert!(matches!(load(&wrong), Err(ParametersError::Shape { .. })));
    wrong[0] = (tensors[0].0, tensors[0].1, &tensors[0].2[1..]);
    assert!(matches!(load(&wrong), Err(ParametersError::Length { .. })));
    let mut broken = tensors[0].2.to_vec();
    broken[4] = f32::NAN;
    wrong[0] = (tensors[0].0, tensors[0].1, &broken);
    assert!(matches!(load(&wrong), Err(ParametersError::NotFinite { index: 4, .. })));
}

#[test]
fn initialised_energies_start_at_zero_and_activations_keep_their_spread() {
    use groundstate_nn::plain::Plain;
    let deep = |standardise: bool| {
        let mut nodes = vec![image(3)];
        for i in 0..6 {
            let layer = conv(i, 32, 3, 1, Activation::Silu);
            nodes.push(if standardise { networks::standardised(layer) } else { layer });
        }
        nodes.push(conv(6, 1, 1, 1, Activation::Identity));
        network(nodes)
    };
    let x: Vec<f32> = networks::numbers_f32(24 * 24 * 3, 8).iter().map(|v| v * 3f32.sqrt()).collect();
    for net in [deep(false), deep(true)] {
        let run = |parameters: &Parameters| {
            let plain = Plain::<f32>::new(&net, Plain::<f32>::tensors(parameters), 24, 24).unwrap();
            plain.forward(&x, &[]).energies().to_vec()
        };
        assert!(run(&Parameters::initialise(&net, 1)).iter().all(|&e| e == 0.0));
        let random = Parameters::initialise_with(&net, 1, groundstate_nn::LastLayer::Random);
        let energies = run(&random);
        let square = energies.iter().map(|e| e * e).sum::<f32>() / energies.len() as f32;
        // One output channel of a random network: its own variance is spread by a factor of a few.
        assert!((0.1..10.0).contains(&square), "mean square {square}");
        assert_eq!(random, Parameters::initialise_with(&net, 1, groundstate_nn::LastLayer::Random));
    }
}
