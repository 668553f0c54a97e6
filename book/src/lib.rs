//! The order books of one shard: every order by its id, in price-time queues, rebuilt from events.
//!
//! Start with `books`, which says what each kind of event does, and `ahead`, which has the memory
//! of later events on its way meanwhile. Under them, `book` is what is kept of one symbol, `orders`
//! finds an order by its reference, `levels` holds what is shown at one price, `ladder` has the
//! prices near the best one of a side and `far` the others, and `prices` brings them there and away.
//! `inspect` reads whole books for people and tests, `invariants` says what must hold of them, `state`
//! saves and loads them. `paper` lets orders of ours stand in the books without being in them. `reference` is the same once more in the plainest way, to hold the others against.
//! Knows nothing of exchanges, time, threads or files.

#![forbid(unsafe_code)]

mod ahead;
mod book;
mod books;
mod far;
mod inspect;
mod invariants;
mod ladder;
mod levels;
mod orders;
mod paper;
mod prices;
mod reference;
mod state;

pub use books::{Books, BooksConfig, BooksStats, Depth};
pub use invariants::{Breach, Look};
pub use paper::{Paper, PaperConfig, Shows};
pub use reference::{Queued, Reference};
pub use state::Saving;
