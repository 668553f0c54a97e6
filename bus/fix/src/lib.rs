//! FIX: messages, as bytes and back.
//!
//! Read in this order: `version` (which FIX), `frame` (a stream of bytes into messages), `message`
//! (a message into fields), `value` (a field into a number, a price, a time), `writer` (the way
//! back), `tags` (the numbers of the fields that this crate itself speaks of).
//! Knows nothing of sockets, clocks, threads, strategies or order books.

#![forbid(unsafe_code)]

pub mod frame;
pub mod message;
pub mod tags;
pub mod value;
pub mod version;
pub mod writer;

pub use frame::{Framed, Framer};
pub use message::{DataTags, Fields, Garbled, Message, parse};
pub use version::{ApplVersion, Version};
pub use writer::Writer;
