//! What the processor can do at most: multiply-adds of values in registers.

use std::hint::black_box;
use std::time::Instant;

use groundstate_nn::Backend;

/// Independent sums: enough to hide the latency of a multiply-add.
const SUMS: usize = 12;
/// Multiply-adds of each sum in one run, which is shorter than what a busy machine grants at a time.
const ROUNDS: usize = 200_000;

/// Best of some runs on this thread, in 10⁹ operations per second, a multiply-add counting as two.
pub(crate) fn gflops(backend: Backend) -> f64 {
    let best = (0..100).map(|_| time(backend)).min_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (flops, seconds) = best.expect("some runs");
    1e-9 * flops / seconds
}

/// Operations and seconds of one run.
fn time(backend: Backend) -> (f64, f64) {
    let start = Instant::now();
    let lanes = match backend {
        // SAFETY: the backend is available only where the processor has its instructions.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => unsafe { avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => unsafe { avx2() },
        _ => portable(),
    };
    (2.0 * (lanes * SUMS * ROUNDS) as f64, start.elapsed().as_secs_f64())
}

/// Products and sums of as many lanes as the build target has for certain.
fn portable() -> usize {
    let (a, b) = (black_box([0.999f32; 8]), black_box([0.001f32; 8]));
    let mut sums = [[0f32; 8]; SUMS / 2];
    for _ in 0..2 * ROUNDS {
        for sum in &mut sums {
            for i in 0..8 {
                sum[i] = sum[i] * a[i] + b[i];
            }
        }
    }
    black_box(sums);
    8
}

#[cfg(target_arch = "x86_64")]
macro_rules! peak {
    ($name:ident, $features:literal, $lanes:literal, $splat:ident, $mul_add:ident) => {
        #[target_feature(enable = $features)]
        fn $name() -> usize {
            use std::arch::x86_64::{$mul_add, $splat};
            let (a, b) = (black_box($splat(0.999)), black_box($splat(0.001)));
            let mut sums = [$splat(0.0); SUMS];
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = $mul_add(*sum, a, b);
                }
            }
            black_box(sums);
            $lanes
        }
    };
}
#[cfg(target_arch = "x86_64")]
peak!(avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
peak!(avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
