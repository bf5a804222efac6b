//! Runs a target on many cases, each made from its own number, so that a failure can be repeated.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::ALLOCATOR;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Memory is counted for the whole process: every test here takes its turn before it does anything,
/// as even the making of another's inputs would be counted.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

/// Cases that a target gets under a plain `cargo test`.
const CASES: u64 = 500;

fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("the variable is a number"))
}

/// Whether more was asked for than what a plain `cargo test` has time for.
pub(crate) fn is_thorough() -> bool {
    number_from("GROUNDSTATE_FUZZ_CASES", CASES) > CASES
}

/// What a target made of a case.
pub(crate) enum Verdict {
    Accepted,
    Refused,
}

impl Turn {
    pub(crate) fn take() -> Self {
        Self(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes inputs with `make` and hands them to `check`, as [`Turn::run`] does.
    pub(crate) fn fuzz(
        &self,
        target: &str,
        mut make: impl FnMut(&mut StdRng) -> Vec<u8> + Send,
        check: impl Fn(&[u8]) -> Verdict + Send,
        limit: impl Fn(usize) -> usize + Send,
    ) {
        let cases = number_from("GROUNDSTATE_FUZZ_CASES", CASES);
        let seed = number_from("GROUNDSTATE_FUZZ_SEED", 1);
        let mut inputs = (0..cases)
            .map(|case| make(&mut StdRng::seed_from_u64(seed.wrapping_mul(1 << 40).wrapping_add(case))));
        // The work of a case is too little to be handed from thread to thread.
        let one_thread =
            rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
        one_thread.install(|| self.run(&format!("{target} of seed {seed}"), &mut inputs, check, limit));
    }

    /// Hands inputs to `check`, which panics if one does what it must not.
    ///
    /// A case may take at most `limit(length of the input)` bytes of memory.
    pub(crate) fn run(
        &self,
        target: &str,
        inputs: &mut dyn Iterator<Item = Vec<u8>>,
        check: impl Fn(&[u8]) -> Verdict,
        limit: impl Fn(usize) -> usize,
    ) {
        let (mut cases, mut accepted, mut most) = (0u64, 0u64, 0);
        for input in inputs {
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let verdict = catch_unwind(AssertUnwindSafe(|| check(&input)));
            let taken = ALLOCATOR.peak_usage().saturating_sub(before);
            most = most.max(taken);
            let problem = match verdict {
                Err(_) => "panics",
                Ok(_) if taken > limit(input.len()) => "takes too much memory",
                Ok(verdict) => {
                    accepted += u64::from(matches!(verdict, Verdict::Accepted));
                    cases += 1;
                    continue;
                }
            };
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-{cases}"));
            std::fs::write(&file, &input).expect("the folder for temporary files can be written to");
            panic!(
                "{target} {problem} at case {cases}: {taken} bytes of memory for an input of {}, which is in {}",
                input.len(),
                file.display()
            );
        }
        println!("{target}: {cases} cases, {accepted} accepted, at most {most} bytes of memory");
    }
}
