//! Why a shard cannot go on.

use std::fmt;

use bus::log::LogError;
use bus::oms::GatewayError;

/// A shard that cannot go on.
#[derive(Debug)]
pub enum ShardError {
    /// The log failed.
    Log(LogError),
    /// The peer failed.
    Gateway(GatewayError),
    /// The log holds other signals than this program concludes from its events.
    Diverged {
        /// In which cell.
        cell: u64,
        /// What the log holds, and what was concluded.
        what: String,
    },
    /// Nobody knows whether orders left, and the configuration says not to go on then.
    InDoubt {
        /// Their ClOrdIDs.
        ids: Vec<String>,
    },
    /// An order that was decided before is not decided again by the same events.
    Unsaid {
        /// The order.
        what: String,
    },
    /// Something that was needed before the first event is not to be had.
    Setup(String),
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShardError::Log(error) => error.fmt(f),
            ShardError::Gateway(error) => error.fmt(f),
            ShardError::Diverged { cell, what } => write!(
                f,
                "the log does not fit this program or its configuration: cell {cell}: {what}"
            ),
            ShardError::InDoubt { ids } => write!(
                f,
                "{} orders may have left before the crash or not, and orders.in_doubt is `halt`: \
                 {}; ask the peer about them, and go on with --in-doubt possresend, query or cancel",
                ids.len(),
                ids.join(" ")
            ),
            ShardError::Unsaid { what } => write!(
                f,
                "an order that this run decided before is not decided again from the same events, \
                 so the program or its configuration has changed: {what}"
            ),
            ShardError::Setup(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ShardError {}

impl ShardError {
    /// Whether a log is damaged or does not fit, so that trying again will not help.
    pub fn is_damage(&self) -> bool {
        match self {
            ShardError::Log(error) => error.is_damage(),
            ShardError::Diverged { .. } => true,
            ShardError::Gateway(_)
            | ShardError::InDoubt { .. }
            | ShardError::Unsaid { .. }
            | ShardError::Setup(_) => false,
        }
    }
}

impl From<LogError> for ShardError {
    fn from(error: LogError) -> ShardError {
        ShardError::Log(error)
    }
}

impl From<GatewayError> for ShardError {
    fn from(error: GatewayError) -> ShardError {
        ShardError::Gateway(error)
    }
}
