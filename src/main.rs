//! The `tapeline` program.

#![forbid(unsafe_code)]
#![allow(unreachable_pub, missing_docs)]

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    if let Ok(text) = std::env::var("TAPELINE_FAILPOINT")
        && let Err(what) = bus::failpoint::arm(&text)
    {
        tapeline::term::complain(format_args!("tapeline: {what}"));
        return ExitCode::from(2);
    }
    #[cfg(feature = "object-store")]
    bus::disk::tier::open_urls_with(objects::open);
    match commands::dispatch(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tapeline::term::complain(format_args!("tapeline: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}
