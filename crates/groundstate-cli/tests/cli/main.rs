//! Drives the real `groundstate` program on small made-up data.

mod benchmark;
mod calibrate;
mod demo;
mod drift;
mod evaluate;
mod files;
mod help;
mod inspect;
mod interrupt;
mod model_files;
mod program;
mod resume;
mod roi;
mod train;
mod white_level;
