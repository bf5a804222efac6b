//! Many random cases for the tests of this program, each made from its own number.
//!
//! `GROUNDSTATE_FUZZ_CASES` and `GROUNDSTATE_FUZZ_SEED` work as in the library's tests of hostile input.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Runs `check`, which panics if something is wrong and else says whether the input was accepted, on many
/// cases.
pub(crate) fn run(mut check: impl FnMut(&mut StdRng) -> bool) {
    let number = |variable: &str, otherwise| {
        std::env::var(variable).map_or(otherwise, |text| text.parse().expect("the variable is a number"))
    };
    let (cases, seed): (u64, u64) =
        (number("GROUNDSTATE_FUZZ_CASES", 500), number("GROUNDSTATE_FUZZ_SEED", 1));
    let mut accepted = 0u64;
    for case in 0..cases {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1 << 40).wrapping_add(case));
        match catch_unwind(AssertUnwindSafe(|| check(&mut rng))) {
            Ok(was_accepted) => accepted += u64::from(was_accepted),
            Err(panic) => {
                println!("case {case} of seed {seed}");
                resume_unwind(panic);
            }
        }
    }
    println!("{cases} cases, {accepted} accepted");
}
