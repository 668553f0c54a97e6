//! The code that runs, made so that a model checker can steer it: see `build.rs`.
//!
//! `ring` is the product's ring on `rtrb` with loom's atomics; `bus` is the product's crate with
//! the threads of the log's plain disk under shuttle. Neither is a sketch: both are the sources,
//! with their types exchanged.

#![allow(warnings)]
#![allow(clippy::all)]

extern crate alloc;

pub mod files;

use std::cell::Cell;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;

/// Stands for the event, which the ring knows only as what it carries by default.
pub mod event {
    /// See the module.
    pub type Event = u64;
}

/// `rtrb`, from its source.
pub mod rtrb {
    include!(concat!(env!("OUT_DIR"), "/rtrb.rs"));
}

/// `bus/src/ring.rs` as it is.
pub mod ring {
    include!(concat!(env!("OUT_DIR"), "/ring.rs"));
}

/// The crate `bus`.
pub mod bus {
    include!(concat!(env!("OUT_DIR"), "/bus.rs"));
}

thread_local! {
    static MISTAKE: Cell<&'static str> = const { Cell::new("") };
}

/// Runs `work` with one mistake switched on. The checkers run all of a model's threads on the
/// thread that called them, so that tests beside it are not touched.
pub fn with_mistake(name: &'static str, work: impl FnOnce()) {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            MISTAKE.set("");
        }
    }
    let _off = Off;
    MISTAKE.set(name);
    work();
}

/// Whether this mistake is switched on.
pub fn is_on(name: &str) -> bool {
    MISTAKE.get() == name
}

/// The ordering that the source asks for, or none where the test wants it gone.
pub fn order(place: &str, asked: Ordering) -> Ordering {
    if is_on(place) {
        Ordering::Relaxed
    } else {
        asked
    }
}

/// A cell of loom's for each slot of a ring, touched whenever the slot is: loom finds two touches
/// that nothing puts in order.
pub struct Shadow(Vec<UnsafeCell<()>>);

impl core::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Shadow")
    }
}

impl Shadow {
    /// For a ring of this many slots.
    pub fn new(slots: usize) -> Shadow {
        Shadow((0..slots).map(|_| UnsafeCell::new(())).collect())
    }

    /// The slot is written.
    pub fn write(&self, slot: usize) {
        self.0[slot].with_mut(|_| ());
    }

    /// The slot is read.
    pub fn read(&self, slot: usize) {
        self.0[slot].with(|_| ());
    }
}

impl Drop for Shadow {
    /// Giving back the ring's memory touches all of it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.iter().for_each(|slot| slot.with_mut(|_| ()));
        }
    }
}
