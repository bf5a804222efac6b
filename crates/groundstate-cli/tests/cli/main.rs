//! Drives the real `groundstate` program on small made-up data.

mod benchmark;
mod demo;
mod evaluate;
mod files;
mod help;
mod inspect;
mod interrupt;
mod model_files;
mod program;
mod resume;
mod train;
