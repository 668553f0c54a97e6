//! A small exchange that makes sample sessions: it matches orders of its own simulated traders,
//! publishes what happens as Nasdaq TotalView-ITCH 5.0, and writes down the truth beside it.
//!
//! Start with `day`, which is the order of events; `flow` decides what arrives, with `mood`
//! (what traders believe), `pace` (when) and `agenda` (what is planned) under it; `exchange`
//! matches, on `book`, and `auction` crosses. `wire` is the layout of the messages, `truth` the
//! other output. `capture` puts the messages into packets on two lines, which `impair` loses,
//! doubles and reorders; `file` is how bytes reach the disk.
//!
//! Knows nothing of the pipeline, and shares no code with it, so that each can prove the other
//! wrong. Equal sessions give equal bytes, on every machine.
//!
//! ```no_run
//! use exchange::{CaptureOptions, Session, write_pcap};
//! let session = Session { symbols: 64, seconds: 60, seed: 7, ..Session::default() };
//! let options = CaptureOptions { loss_a: 0.05, loss_b: 0.05, ..CaptureOptions::default() };
//! let truth = write_pcap(&session, "session.pcap.zst".as_ref(), &options)?;
//! truth.write("session.truth.json".as_ref())?;
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]

mod agenda;
mod auction;
mod book;
mod capture;
mod day;
mod exchange;
mod file;
mod flow;
mod impair;
mod mood;
mod pace;
mod packet;
mod random;
mod session;
mod symbols;
mod truth;
mod wire;

pub use capture::{Capture, CaptureOptions, write_pcap};
pub use day::run;
pub use file::{ItchOptions, Output, write_itch};
pub use session::{BadSession, Date, OPEN_NS, Session, UTC_OFFSET_HOURS};
pub use truth::{Depth, LEVELS_MAX, SCHEMA, SymbolTruth, Truth, Window, Windows};
pub use wire::{LENGTHS, MESSAGE_BYTES_MAX};
