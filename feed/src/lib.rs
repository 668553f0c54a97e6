//! Exchange bytes in, events out.
//!
//! Read in this order: `source` (where packets come from), `link` (Ethernet to UDP), `moldudp64`,
//! `iextp`, `mdp3`, `pitch`, `transport` and `arbiter` (sequence numbers, lines A and B), `retransmit` (when to
//! ask for what no line brought), `glimpse` (snapshots for what nobody has any more), `protocol` (messages to events), `groups` (symbols that are on one shard together), `reader`
//! (all of it together, into the shards' rings), `quarantine` (what was refused), `inspect` (what a
//! capture holds), `again` (messages as they came, into a capture once more), `dbn_writer` (events into a
//! DBN file).
//! Knows nothing of books, analytics or logs.

#![forbid(unsafe_code)]

pub mod again;
pub mod arbiter;
pub mod dbn_writer;
pub mod glimpse;
pub mod groups;
pub mod iextp;
pub mod inspect;
pub mod link;
pub mod mdp3;
pub mod moldudp64;
pub mod pitch;
pub mod protocol;
pub mod quarantine;
pub mod reader;
pub mod retransmit;
pub mod source;
pub mod transmit;
pub mod transport;
