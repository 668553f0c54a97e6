//! `tapeline inspect`

use super::{Failure, Talk};
use crate::cli;

pub fn inspect(_args: &cli::Inspect, _talk: Talk) -> Result<(), Failure> {
    Err(Failure::usage("inspect"))
}
