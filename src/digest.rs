//! A digest of all that was concluded of a symbol, minute by minute: equal digests mean equal
//! books, quotes and signals, whatever the date, the speed, the shards or the machine.

use bus::state::{StateError, StateReader, StateWriter};
use bus::{Event, Flags, Quote, Signal, SignalKind, Ts};

const MINUTE_NS: i64 = 60 * Ts::SECOND_NS;

/// One symbol's digest of the minute it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolDigest {
    value: u64,
    events: u64,
    minute: u32,
    /// The first moment after the minute; `Ts::MIN` before the first event.
    end: Ts,
}

/// A minute that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Which minute after midnight.
    pub minute: u32,
    /// How many events it had.
    pub events: u64,
    /// The digest of it and all before.
    pub value: u64,
    /// Its end.
    pub end: Ts,
}

impl SymbolDigest {
    /// Of a symbol without events.
    pub const EMPTY: SymbolDigest = SymbolDigest {
        value: 0,
        events: 0,
        minute: 0,
        end: Ts::MIN,
    };

    /// Saves it.
    pub fn save(&self, out: &mut StateWriter<'_>) {
        out.u64(self.value);
        out.u64(self.events);
        out.u32(self.minute);
        out.i64(self.end.0);
    }

    /// As it was when it was saved.
    pub fn load(from: &mut StateReader<'_>) -> Result<SymbolDigest, StateError> {
        Ok(SymbolDigest {
            value: from.u64()?,
            events: from.u64()?,
            minute: from.u32()?,
            end: Ts(from.i64()?),
        })
    }

    /// Moves on to the minute of `ts_event`; what is over is returned if it had events. Time that
    /// goes back stays in the minute it came in.
    #[inline]
    pub fn enter(&mut self, ts_event: Ts, midnight: Ts) -> Option<Closed> {
        if ts_event < self.end {
            return None;
        }
        self.enter_next(ts_event, midnight)
    }

    #[cold]
    fn enter_next(&mut self, ts_event: Ts, midnight: Ts) -> Option<Closed> {
        let closed = self.close();
        let minute = ts_event.since(midnight).max(0) / MINUTE_NS;
        self.minute = minute as u32;
        self.end = midnight.plus_ns((minute + 1).saturating_mul(MINUTE_NS));
        closed
    }

    /// Ends the minute if it had events.
    pub fn close(&mut self) -> Option<Closed> {
        (self.events > 0).then(|| self.finish())
    }

    /// Ends the minute whether or not it had events, so that what came after the last one counts.
    pub fn finish(&mut self) -> Closed {
        let events = std::mem::take(&mut self.events);
        Closed {
            minute: self.minute,
            events,
            value: self.value,
            end: self.end,
        }
    }

    /// Takes in an event. Who entered an order does not count: it is in no book, and earlier versions did
    /// not say it.
    #[inline]
    pub fn event(&mut self, event: &Event, midnight: Ts) {
        self.events += 1;
        let order_b = match event.flags.has(Flags::ATTRIBUTED) {
            true => 0,
            false => event.order_b,
        };
        let head = u64::from(event.kind as u8) << 8 | u64::from(event.side as u8);
        let ids = event.order.wrapping_mul(ODD_A) ^ order_b.wrapping_mul(ODD_B);
        let money = (event.price.0 as u64).wrapping_mul(ODD_C) ^ (event.qty.0 as u64);
        self.mix(head ^ ids ^ money.rotate_left(17) ^ (event.ts_event.since(midnight) as u64));
    }

    /// Takes in the quote after the event, where that changed it.
    #[inline]
    pub fn quote(&mut self, quote: &Quote) {
        self.mix(
            (quote.bid.0 as u64).wrapping_mul(ODD_A)
                ^ (quote.ask.0 as u64).wrapping_mul(ODD_B)
                ^ (quote.bid_qty.0 as u64).wrapping_mul(ODD_C)
                ^ (quote.ask_qty.0 as u64).rotate_left(32),
        );
    }

    /// Takes in a signal. What the gateway did, and digests themselves, do not count.
    pub fn signal(&mut self, signal: &Signal, midnight: Ts) {
        if matches!(signal.kind, SignalKind::Sent | SignalKind::Digest) {
            return;
        }
        self.mix(u64::from(signal.kind as u8) << 32 | u64::from(signal.rule));
        self.mix(signal.seq ^ u64::from(signal.ordinal) << 48);
        self.mix(signal.ts_event.since(midnight) as u64);
        for word in words(signal, midnight) {
            self.mix(word as u64);
        }
    }

    /// Takes in anything else, such as the digest of a final book.
    #[inline]
    pub fn mix(&mut self, word: u64) {
        let mixed = (self.value ^ word).wrapping_mul(ODD_A);
        self.value = mixed ^ mixed >> 29;
    }
}

/// A signal's words; those that are moments count from midnight, so that the date does not matter.
pub fn words(signal: &Signal, midnight: Ts) -> impl Iterator<Item = i64> + '_ {
    // A join's row that met a record has the time of it.
    let is_met = signal.kind == SignalKind::Join
        && matches!(
            signal.words().nth(5).map(|word| word >> 8 & 0xff),
            Some(1 | 2)
        );
    signal
        .words()
        .enumerate()
        .map(move |(index, word)| match (signal.kind, index) {
            (SignalKind::Join, 6) if is_met => Ts(word).since(midnight),
            (SignalKind::Window | SignalKind::WindowFlow, 0)
            | (SignalKind::WindowStanding | SignalKind::Adjust, 0)
            | (SignalKind::Spread, 4) => Ts(word).since(midnight),
            // Until when an order may stand, where that is a moment.
            (SignalKind::Order, 5) | (SignalKind::Reject, 8) if word > 0 => {
                Ts(word).since(midnight)
            }
            _ => word,
        })
}

// Odd constants with well-spread bits (the 64-bit golden ratio, and two of xxHash's primes).
const ODD_A: u64 = 0x9e37_79b9_7f4a_7c15;
const ODD_B: u64 = 0xc2b2_ae3d_27d4_eb4f;
const ODD_C: u64 = 0x1656_67b1_9e37_79f9;

#[cfg(test)]
mod tests {
    use super::*;
    use bus::{Body, Kind, Price, Qty};

    fn digest(midnight: Ts, change: impl Fn(&mut Event)) -> u64 {
        let mut digest = SymbolDigest::EMPTY;
        for second in [1, 2] {
            let mut event = Event {
                ts_event: midnight.plus_ns(second * Ts::SECOND_NS),
                order: 7,
                price: Price(5),
                qty: Qty(second),
                ..Event::new(Kind::Add)
            };
            change(&mut event);
            assert_eq!(digest.enter(event.ts_event, midnight), None);
            digest.event(&event, midnight);
            digest.quote(&Quote::EMPTY);
        }
        let body = Body::Broken(bus::signal::Broken { match_number: 3 });
        digest.signal(&Signal::new(midnight, 1, 2, 3, 4, body), midnight);
        digest.close().unwrap().value
    }

    #[test]
    fn the_date_does_not_matter_and_everything_else_does() {
        let base = digest(Ts(0), |_| {});
        assert_eq!(base, digest(Ts(86_400 * Ts::SECOND_NS), |_| {}));
        assert_eq!(
            base,
            digest(Ts(0), |e| e.ts_recv = Ts(9)),
            "arrival does not matter"
        );
        for (what, other) in [
            ("order", digest(Ts(0), |e| e.order += 1)),
            ("order_b", digest(Ts(0), |e| e.order_b += 1)),
            ("price", digest(Ts(0), |e| e.price.0 += 1)),
            ("qty", digest(Ts(0), |e| e.qty.0 += 1)),
            ("time", digest(Ts(0), |e| e.ts_event.0 += 1)),
            ("kind", digest(Ts(0), |e| e.kind = Kind::Delete)),
        ] {
            assert_ne!(base, other, "{what}");
        }
    }

    #[test]
    fn a_minute_closes_when_the_next_begins() {
        let mut digest = SymbolDigest::EMPTY;
        let event = |s: i64| Event {
            ts_event: Ts(s * Ts::SECOND_NS),
            ..Event::new(Kind::Add)
        };
        let mut closed = Vec::new();
        for second in [1, 59, 60, 30, 200] {
            closed.extend(digest.enter(event(second).ts_event, Ts(0)));
            digest.event(&event(second), Ts(0));
        }
        closed.extend(digest.close());
        let minutes: Vec<_> = closed.iter().map(|c| (c.minute, c.events)).collect();
        assert_eq!(minutes, [(0, 2), (1, 2), (3, 1)]);
    }
}
