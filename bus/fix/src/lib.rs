//! FIX: messages as bytes and back, and sessions of either side.
//!
//! Read in this order: `version` (which FIX), `frame` (a stream of bytes into messages), `message`
//! (a message into fields), `value` (a field into a number, a price, a time), `writer` (the way
//! back), `tags` (the numbers of the fields that this crate itself speaks of); `dictionary` (what
//! there may be) and `validate` (a message held against it); `store` (what a session remembers),
//! `schedule` (when it is open) and `session`, the state machine of either side; `net`, sessions over
//! TCP, `wire` and `tls`, how its connections are made and secured; `blotter`, how our orders stand by
//! what was said of them, and `journal`, which keeps what was said; `request`, what is asked about
//! orders; `copy`, messages out of a file, and `recon`, what several records of the same orders do not
//! agree about; `sim`, a counterparty that does with orders what a script says; `ouch`, our side of a
//! session over OUCH, which says what it hears as FIX does, and a venue of it.
//! Knows nothing of strategies or order books, starts no thread and reads no clock, but for the
//! handshakes of `tls`.
//!
//! **Where a shard's orders come in.** A [`Session`] is driven by whoever owns the socket. The hot
//! path's encoder writes a whole message under [`Store::next_out`]'s number, and
//! [`Session::send_encoded`] keeps it and puts it behind [`Session::output`]; what comes back is
//! given to [`Session::on_bytes`], and reports reach [`Application::on_message`] in order, once. The
//! shard writes `output` as it writes today's bytes, and calls [`Session::on_time`] in the turns in
//! which it has nothing else to do.

#![forbid(unsafe_code)]

pub mod blotter;
pub mod copy;
pub mod dictionary;
pub mod frame;
pub mod journal;
pub mod message;
pub mod net;
pub mod ouch;
pub mod recon;
pub mod records;
pub mod request;
pub mod schedule;
pub mod session;
pub mod sim;
pub mod store;
pub mod tags;
#[cfg(feature = "tls")]
pub mod tls;
pub mod validate;
pub mod value;
pub mod version;
pub mod wire;
pub mod writer;

pub use blotter::Blotter;
pub use dictionary::{Dictionary, DictionaryError};
pub use frame::{Framed, Framer};
pub use journal::Journal;
pub use message::{DataTags, Fields, Garbled, Message, parse};
pub use net::{Acceptor, Initiator};
pub use records::Safe;
pub use schedule::Schedule;
pub use session::{
    Application, Draft, Inbound, Note, Outbox, Received, Role, SendError, Session, SessionConfig,
    Verdict,
};
pub use store::{FileStore, Memory, Store};
pub use validate::{Checks, Flaw, Reason, Validator};
pub use version::{ApplVersion, Version};
pub use wire::Secured;
pub use writer::Writer;
