//! Every direction and shift at once, coarsely.

use std::f32::consts::TAU;
use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use rustfft::algorithm::Radix4;
use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftDirection};

use super::Pose;
use super::proxy::Proxy;
use crate::image::Map;

/// Directions that are tried; an even number.
const ANGLES: usize = 48;
/// The picture and as much empty space again, so that shifts do not wrap around; a power of two.
const EDGE: usize = 2 * Proxy::COARSE;
/// Candidates for refinement.
const CANDIDATES: usize = 3;

/// Correlates pictures with the template in all directions.
#[derive(Clone)]
pub(super) struct Searcher {
    /// Conjugate spectra of the turned templates, two a spectrum: T₁ + i T₂, so that one inverse
    /// transform gives both correlations as its real and imaginary part.
    spectra: Vec<Vec<Complex32>>,
    forward: Arc<Radix4<f32>>,
    inverse: Arc<Radix4<f32>>,
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searcher").field("angles", &ANGLES).finish_non_exhaustive()
    }
}

impl Searcher {
    pub(super) fn new(template: &Map) -> Self {
        // The planner would compile every algorithm of the library into this crate.
        let plan = |direction| Arc::new(Radix4::new(EDGE, direction));
        let (forward, inverse) = (plan(FftDirection::Forward), plan(FftDirection::Inverse));
        let spectrum = |number: usize| {
            // Aligning by −angle turns the template by +angle.
            let turned = Pose { angle: -angle(number), ..Pose::IDENTITY }.align_map(template);
            let mut spectrum = padded(&turned);
            transform(&mut spectrum, &forward);
            spectrum.iter_mut().for_each(|v| *v = v.conj());
            spectrum
        };
        let pair = |number: usize| {
            let imaginary = spectrum(number + 1);
            let pairs = spectrum(number).into_iter().zip(imaginary);
            pairs.map(|(a, b)| a + Complex32::i() * b).collect()
        };
        let spectra = (0..ANGLES).into_par_iter().step_by(2).map(pair).collect();
        Self { spectra, forward, inverse }
    }

    /// The directions that fit best, each with its best shift, best first; neighbouring directions
    /// count as one.
    pub(super) fn best(&self, picture: &Map) -> Vec<Pose> {
        let mut spectrum = padded(picture);
        transform(&mut spectrum, &self.forward);
        let peaks: Vec<(f32, Pose)> = (0..ANGLES)
            .into_par_iter()
            .step_by(2)
            .flat_map_iter(|number| {
                let pairs = spectrum.iter().zip(&self.spectra[number / 2]);
                let mut correlation: Vec<Complex32> = pairs.map(|(a, b)| a * b).collect();
                transform(&mut correlation, &self.inverse);
                [peak(&correlation, number, |v| v.re), peak(&correlation, number + 1, |v| v.im)]
            })
            .collect();
        let is_local = |i: usize| {
            let around = [peaks[(i + ANGLES - 1) % ANGLES].0, peaks[(i + 1) % ANGLES].0];
            around.iter().all(|&other| peaks[i].0 >= other)
        };
        let mut best: Vec<&(f32, Pose)> = (0..ANGLES).filter(|&i| is_local(i)).map(|i| &peaks[i]).collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.iter().take(CANDIDATES).map(|(_, pose)| *pose).collect()
    }
}

fn angle(number: usize) -> f32 {
    number as f32 * TAU / ANGLES as f32
}

/// The highest correlation and the pose that it stands for. The turned template T(R⁻¹ q) shifted by
/// s is the picture, so the pose is (angle, s).
fn peak(correlation: &[Complex32], number: usize, part: impl Fn(&Complex32) -> f32) -> (f32, Pose) {
    let highest = (0..correlation.len())
        .max_by(|&a, &b| part(&correlation[a]).total_cmp(&part(&correlation[b])))
        .expect("the plane is not empty");
    let signed = |i: usize| if i < EDGE / 2 { i as f32 } else { i as f32 - EDGE as f32 };
    let share = |i: usize| signed(i) / Proxy::COARSE as f32;
    let pose = Pose { angle: angle(number), right: share(highest % EDGE), down: share(highest / EDGE) };
    (part(&correlation[highest]), pose)
}

fn padded(map: &Map) -> Vec<Complex32> {
    let mut plane = vec![Complex32::ZERO; EDGE * EDGE];
    for (row, values) in plane.chunks_exact_mut(EDGE).zip(map.values.chunks_exact(map.width)) {
        for (to, &value) in row.iter_mut().zip(values) {
            to.re = value;
        }
    }
    plane
}

/// Two-dimensional transform, without scaling.
fn transform(plane: &mut [Complex32], fft: &Radix4<f32>) {
    for _ in 0..2 {
        fft.process(plane);
        transpose(plane);
    }
}

fn transpose(plane: &mut [Complex32]) {
    for y in 0..EDGE {
        for x in 0..y {
            plane.swap(y * EDGE + x, x * EDGE + y);
        }
    }
}
