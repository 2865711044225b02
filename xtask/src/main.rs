//! `cargo xtask`: what contributors do, a subcommand each.
//!
//! Each runs the commands of the project that are there anyway, and shows them as it goes: what one of them takes beside
//! that is in its own help or its first lines.

mod planted;
mod ptx;
mod step;
mod tasks;

use std::process::ExitCode;

use clap::Parser;

use tasks::Task;

/// What contributors do, a subcommand each
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

fn main() -> ExitCode {
    match tasks::run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
