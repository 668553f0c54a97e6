//! The `tapeline` program.

#![forbid(unsafe_code)]
#![allow(unreachable_pub, missing_docs)]

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::dispatch(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tapeline: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
