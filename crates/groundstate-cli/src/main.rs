//! The `groundstate` command: train, inspect, calibrate, drift, evaluate, benchmark, demo, info.
//!
//! This file is the table of contents. Each command has a file of its own with its arguments as
//! typed, their resolution and the work; commands share [`train::train_dataset`],
//! [`evaluate::evaluate_dataset`] and [`report::write_report`].
#![forbid(unsafe_code)]

mod arguments;
mod benchmark;
mod calibrate;
mod console;
mod cost;
mod demo;
mod drift;
mod evaluate;
#[cfg(test)]
mod fuzz;
mod info;
mod inputs;
mod inspect;
mod interrupt;
mod outcome;
mod overlay;
mod pipeline;
mod progress;
mod promise;
mod report;
mod table;
mod train;
mod train_report;

use clap::{Parser, Subcommand};

use console::Console;

/// Visual anomaly detection and localization with energy-based models.
///
/// From images of normal parts only, `train` makes a model file; `inspect` says of new images whether
/// they are normal, with a score, a p-value and a heat map.
#[derive(Parser)]
#[command(name = "groundstate", version, after_help = outcome::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    globals: arguments::Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Arguments),
    Inspect(inspect::Arguments),
    Calibrate(calibrate::Arguments),
    Drift(drift::Arguments),
    Evaluate(evaluate::Arguments),
    Benchmark(benchmark::Arguments),
    Demo(demo::Arguments),
    Info(info::Arguments),
}

fn main() -> std::process::ExitCode {
    let Cli { globals, command } = Cli::parse();
    let console = Console { quiet: globals.quiet };
    let result = globals.start_threads().and_then(|()| match command {
        Command::Train(arguments) => train::run(arguments, &console),
        Command::Inspect(arguments) => inspect::run(arguments, &console),
        Command::Calibrate(arguments) => calibrate::run(arguments, &console),
        Command::Drift(arguments) => drift::run(arguments, &console),
        Command::Evaluate(arguments) => evaluate::run(arguments, &console),
        Command::Benchmark(arguments) => benchmark::run(arguments, &globals, &console),
        Command::Demo(arguments) => demo::run(arguments, &console),
        Command::Info(arguments) => info::run(arguments),
    });
    outcome::exit_code(result, &console)
}
