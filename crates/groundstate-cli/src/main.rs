//! The `groundstate` command.
#![forbid(unsafe_code)]
fn main() {}
