//! Where analytics put what they say.

use super::{Body, Signal};
use crate::fixed::Ts;

/// Where analytics put what they say about one symbol at one event.
///
/// Bounded: one event can cause at most [`Outbox::SIGNALS_MAX`] signals of one symbol.
#[derive(Debug)]
pub struct Outbox {
    signals: Vec<Signal>,
    ts_event: Ts,
    seq: u64,
    symbol: u32,
    ordinal: u16,
}

impl Outbox {
    /// More than all windows, monitors and strategies together can say at one event.
    pub const SIGNALS_MAX: usize = 4096;
    /// Signals beyond have this ordinal, too: rows of joins at the end of the input. The one above is of
    /// digests.
    const ORDINAL_MAX: u16 = u16::MAX - 1;

    /// An empty outbox; allocates once.
    pub fn new() -> Outbox {
        Outbox {
            signals: Vec::with_capacity(Self::SIGNALS_MAX),
            ts_event: Ts(0),
            seq: 0,
            symbol: 0,
            ordinal: 0,
        }
    }

    /// From now on, signals are about this symbol, caused by the event with this `seq`.
    #[inline]
    pub fn at(&mut self, ts_event: Ts, seq: u64, symbol: u32) {
        debug_assert!(
            self.signals.is_empty(),
            "signals of the symbol before were not taken"
        );
        self.ts_event = ts_event;
        self.seq = seq;
        self.symbol = symbol;
        self.ordinal = 0;
    }

    /// Says `body` for the current event's time.
    pub fn say(&mut self, rule: u8, body: Body) {
        self.say_at(self.ts_event, rule, body);
    }

    /// Says `body` for another time, such as a window's end.
    pub fn say_at(&mut self, ts_event: Ts, rule: u8, body: Body) {
        assert!(
            self.signals.len() < Self::SIGNALS_MAX,
            "an event caused too many signals"
        );
        let signal = Signal::new(ts_event, self.seq, self.symbol, rule, self.ordinal, body);
        self.signals.push(signal);
        self.ordinal = (self.ordinal + 1).min(Self::ORDINAL_MAX);
    }

    /// Whom the signals are about.
    pub fn symbol(&self) -> u32 {
        self.symbol
    }

    /// The event time they hold for, unless they say another.
    pub fn ts_event(&self) -> Ts {
        self.ts_event
    }

    /// Whether nothing was said since the last [`Outbox::clear`].
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.signals.is_empty()
    }

    /// What was said, in order.
    #[inline]
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Forgets what was said; the numbering goes on.
    #[inline]
    pub fn clear(&mut self) {
        self.signals.clear();
    }
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new()
    }
}
