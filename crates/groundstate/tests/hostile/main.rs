//! Hostile input: mutated files through everything that reads them, a short while under `cargo test`.
//!
//! Nothing here may panic, take more memory than is stated, or be accepted and then not work.
//! `GROUNDSTATE_FUZZ_CASES` asks for more cases of each target, `GROUNDSTATE_FUZZ_SEED` for others; both
//! are in the message of a failure, with the file that caused it. docs/robustness.md says what was run.

mod config;
mod corpus;
mod fuzz;
mod images;
mod large;
mod model;
mod mutate;
mod parts;

/// Tells how much memory a case took.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
