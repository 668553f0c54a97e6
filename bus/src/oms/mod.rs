//! How orders leave: as FIX messages, to a file, to an address, or to both; as lines of JSON, and as
//! records in shared memory.
//!
//! Read in this order: `fix` (an order as bytes), `id` (an order's name), then the gateways
//! `file` and `tcp`, and `sim`, their simulated twin; `row` (what a message says), and the gateways
//! that say it in another form, `json` and `ring`. `latch` is what other processes stop orders
//! with, and `limits` what they limit them with. `digits` writes numbers and times.
//! Knows nothing of strategies, of risk, or of what is durable: the caller decides what may leave.

mod digits;
pub mod file;
pub mod fix;
pub mod id;
pub mod json;
pub mod latch;
pub mod limits;
pub mod ring;
pub mod row;
pub mod sim;
pub mod tcp;

use std::fmt;
use std::io;

pub use digits::Date;
pub use file::{File, Resumed};
pub use fix::{About, BadConfig, BadMessage, Encoder, FixConfig, Message, NewOrder};
pub use id::{OrderId, OrderKey};
pub use json::Json;
pub use latch::{Latch, LatchError};
pub use ring::Ring;
pub use row::{Row, RowKind};
pub use sim::{Answer, Sim};
pub use tcp::{Tcp, TcpConfig};

/// Takes encoded messages out of the process, whole and in order.
///
/// `send` only copies into a buffer of fixed size; `turn` does the system calls. An `Err` is
/// final: what the peer has got is no longer known, so every later call fails in the same way.
pub trait Gateway {
    /// The number that the next message is to have. Whoever has none of its own gives back that of
    /// the caller; `None`: it would take no message now.
    fn next_msg_seq(&mut self, callers: u64) -> Option<u64> {
        Some(callers)
    }

    /// Whether `send` would take a message of this length now.
    fn has_room(&mut self, message_bytes: usize) -> bool;

    /// Hands one encoded message to the peer; never blocks. `Ok(false)`: not now, ask again.
    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError>;

    /// One bounded piece of work, never blocking on the peer; how many bytes moved.
    fn turn(&mut self) -> Result<usize, GatewayError>;

    /// How many bytes were taken and are still in this process: a crash would lose them.
    fn waiting(&self) -> usize;

    /// Gets everything taken so far out, in bounded time, and closes.
    fn finish(&mut self) -> Result<(), GatewayError>;

    /// For people: `orders.fix`, `127.0.0.1:9878`.
    fn describe(&self) -> String;
}

/// A gateway that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayError {
    /// Which file, or which address.
    pub peer: String,
    /// What happened, and what was expected.
    pub what: String,
}

/// What a file says that another process writes to.
const IN_USE: &str = "in use by another process";

impl GatewayError {
    /// Whether another process has the file.
    pub fn is_in_use(&self) -> bool {
        self.what == IN_USE
    }

    /// A failure of this peer.
    pub fn new(peer: impl fmt::Display, what: impl fmt::Display) -> GatewayError {
        GatewayError {
            peer: peer.to_string(),
            what: what.to_string(),
        }
    }

    /// What was tried, and what the system said.
    fn io(peer: impl fmt::Display, tried: &str, error: &io::Error) -> GatewayError {
        GatewayError::new(peer, format_args!("{tried}: {error}"))
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.peer, self.what)
    }
}

impl std::error::Error for GatewayError {}

/// The gateways that take messages as they are. A session over FIX is another one, which the program
/// has.
#[derive(Debug)]
pub enum Real {
    /// A file of messages.
    File(File),
    /// An address.
    Tcp(Tcp),
    /// Lines of JSON.
    Json(Json),
    /// Shared memory.
    Ring(Ring),
}

impl Gateway for Real {
    fn has_room(&mut self, message_bytes: usize) -> bool {
        match self {
            Real::File(file) => file.has_room(message_bytes),
            Real::Tcp(tcp) => tcp.has_room(message_bytes),
            Real::Json(json) => json.has_room(message_bytes),
            Real::Ring(ring) => ring.has_room(message_bytes),
        }
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        match self {
            Real::File(file) => file.send(message),
            Real::Tcp(tcp) => tcp.send(message),
            Real::Json(json) => json.send(message),
            Real::Ring(ring) => ring.send(message),
        }
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        match self {
            Real::File(file) => file.turn(),
            Real::Tcp(tcp) => tcp.turn(),
            Real::Json(json) => json.turn(),
            Real::Ring(ring) => ring.turn(),
        }
    }

    fn waiting(&self) -> usize {
        match self {
            Real::File(file) => file.waiting(),
            Real::Tcp(tcp) => tcp.waiting(),
            Real::Json(json) => json.waiting(),
            Real::Ring(ring) => ring.waiting(),
        }
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        match self {
            Real::File(file) => file.finish(),
            Real::Tcp(tcp) => tcp.finish(),
            Real::Json(json) => json.finish(),
            Real::Ring(ring) => ring.finish(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Real::File(file) => file.describe(),
            Real::Tcp(tcp) => tcp.describe(),
            Real::Json(json) => json.describe(),
            Real::Ring(ring) => ring.describe(),
        }
    }
}

/// All of these gateways, or none: every message goes to each of them once.
#[derive(Debug)]
pub struct Several<G> {
    gateways: Vec<G>,
}

impl<G: Gateway> Several<G> {
    /// With an empty list, messages are taken and go nowhere.
    pub fn new(gateways: Vec<G>) -> Several<G> {
        Several { gateways }
    }

    /// The gateways, in the order in which they are given messages.
    pub fn gateways(&self) -> &[G] {
        &self.gateways
    }
}

impl<G: Gateway> Gateway for Several<G> {
    fn next_msg_seq(&mut self, callers: u64) -> Option<u64> {
        let mut gateways = self.gateways.iter_mut();
        gateways.try_fold(callers, |seq, gateway| gateway.next_msg_seq(seq))
    }

    fn has_room(&mut self, message_bytes: usize) -> bool {
        self.gateways
            .iter_mut()
            .all(|gateway| gateway.has_room(message_bytes))
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        // All are asked before the first is given anything: one that had taken a message which
        // another refused would get it a second time when the caller asks again.
        if !self.has_room(message.len()) {
            return Ok(false);
        }
        for gateway in &mut self.gateways {
            let is_taken = gateway.send(message)?;
            assert!(is_taken, "{} had room and took nothing", gateway.describe());
        }
        Ok(true)
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        let mut moved_bytes = 0;
        for gateway in &mut self.gateways {
            moved_bytes += gateway.turn()?;
        }
        Ok(moved_bytes)
    }

    fn waiting(&self) -> usize {
        self.gateways.iter().map(Gateway::waiting).sum()
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        // Each is given its chance: a dead address must not keep orders out of the file.
        let mut result = Ok(());
        for gateway in &mut self.gateways {
            result = result.and(gateway.finish());
        }
        result
    }

    fn describe(&self) -> String {
        let names: Vec<String> = self.gateways.iter().map(Gateway::describe).collect();
        if names.is_empty() {
            "nowhere".to_string()
        } else {
            names.join(" and ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_one_keeps_the_message_from_all() {
        let mut both = Several::new(vec![Sim::new([]), Sim::new([Answer::Take, Answer::NotNow])]);
        assert_eq!(both.send(b"one"), Ok(true));
        assert_eq!(both.send(b"two"), Ok(false));
        assert_eq!(both.send(b"two"), Ok(true));
        both.finish().unwrap();
        for gateway in both.gateways() {
            assert_eq!(gateway.received(), [b"one", b"two"]);
        }
        assert_eq!(both.describe(), "simulated and simulated");
    }

    #[test]
    fn a_failure_of_one_is_the_failure_of_all_but_the_rest_is_finished() {
        let mut both = Several::new(vec![Sim::new([Answer::Take, Answer::Fail]), Sim::new([])]);
        assert_eq!(both.send(b"one"), Ok(true));
        let error = both.send(b"two").unwrap_err();
        assert_eq!(error.to_string(), "simulated: scripted failure");
        assert_eq!(both.finish().unwrap_err(), error);
        assert_eq!(both.gateways()[1].received(), [b"one"]);
    }

    #[test]
    fn without_gateways_messages_go_nowhere() {
        let mut none = Several::<Sim>::new(Vec::new());
        assert_eq!(none.send(b"one"), Ok(true));
        assert_eq!(none.turn(), Ok(0));
        assert_eq!(none.describe(), "nowhere");
    }
}
