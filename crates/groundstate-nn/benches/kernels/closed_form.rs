//! The parts of the closed-form energy, for one picture of 256 × 256 × 3 values: 4096 cells of 64 dimensions.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use groundstate_nn::{Backend, Pyramid, Quantised, Strided, lower_lengths};

const EDGE: usize = 256;
const CHANNELS: usize = 3;
const K: usize = 64;
const PACKED: usize = K * (K + 1) / 2;
const DIRECTIONS: usize = 24;

fn wave(length: usize) -> Vec<f32> {
    (0..length).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn bytes(length: usize) -> Vec<i8> {
    wave(length).iter().map(|v| (127.0 * v) as i8).collect()
}

pub(super) fn closed_form(criterion: &mut Criterion) {
    let picture: Vec<f32> = wave(EDGE * EDGE * CHANNELS).iter().map(|v| 0.5 + 0.4 * v).collect();
    let d = Pyramid::dimensions(CHANNELS);
    for backend in Backend::available() {
        let pyramid = Pyramid::with_backend(EDGE, EDGE, CHANNELS, backend);
        let (columns, rows) = (pyramid.columns(), pyramid.rows());
        let cells = columns * rows;
        let features = pyramid.forward(&picture);
        let (weights, axes) = (wave(cells * d), wave(d * K));
        let (values, scales) = lower_lengths(K);
        let (factors, of_factors) = (bytes(cells * values), vec![0.01; cells * scales]);
        let factors = Quantised { values: &factors, scales: &of_factors };
        let (directions, of_directions) = (bytes(DIRECTIONS * cells * K), vec![0.01; DIRECTIONS * cells]);
        let directions = Quantised { values: &directions, scales: &of_directions };
        let mut deviation = wave(cells * K);
        let mut group = criterion.benchmark_group(format!("closed form/{}", backend.name()));
        group.sample_size(20).warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_secs(1));
        group.bench_function("features", |b| b.iter(|| pyramid.forward(black_box(&picture))));
        group.bench_function("features, backward", |b| b.iter(|| pyramid.backward(&features, &weights)));
        group.bench_function("projection", |b| {
            let (mut row, mut out) = (vec![0.0; d * columns], vec![0.0; columns * K]);
            b.iter(|| {
                for y in 0..rows {
                    features.row(y, &mut row);
                    let row = Strided { values: &row, row: 1, column: columns };
                    backend.add_product(row, &axes, K, black_box(&mut out));
                }
            });
        });
        group.bench_function("variation", |b| {
            b.iter(|| {
                let mut coordinates = [0.0; DIRECTIONS];
                backend.add_dots(directions, K, &[&deviation], &mut coordinates);
                coordinates.iter_mut().for_each(|c| *c *= 1e-9);
                backend.add_rows(directions, K, &coordinates, &mut [&mut deviation]);
            });
        });
        group.bench_function("factors", |b| {
            let mut y = vec![0.0; cells * K];
            b.iter(|| {
                y.copy_from_slice(&deviation);
                backend.multiply_lower(factors, K, &mut [&mut y]);
            });
        });
        group.bench_function("factors, transposed", |b| {
            let mut y = vec![0.0; cells * K];
            b.iter(|| {
                y.copy_from_slice(&deviation);
                backend.multiply_transposed_lower(factors, K, &mut [&mut y]);
            });
        });
        group.bench_function("inverse factors of 64 covariances", |b| {
            let mut diagonal = vec![0.0; PACKED];
            (0..K).for_each(|i| diagonal[i * (i + 3) / 2] = 100.0);
            let products = wave(64 * PACKED);
            let mut covariances = vec![0.0; 64 * PACKED];
            b.iter(|| {
                covariances.copy_from_slice(&products);
                assert!(backend.inverse_factors(&mut covariances, K, 0.5, &diagonal));
            });
        });
        group.finish();
    }
}
