//! What joined streams are made of.

use bus::signal::JoinValue;
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Applied, Event, Quote, Ts};

use crate::view::View;

/// Which records of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its prints.
    Trades,
    /// Its best prices, whenever they or their sizes are others, or are known again after a loss.
    Quotes,
}

/// One of a symbol's trades or quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub ts: Ts,
    pub seq: u64,
    pub value: JoinValue,
    /// Whether it says something: a quote that may lack something does not.
    pub is_known: bool,
}

const _: () = assert!(size_of::<Record>() == 64);

impl Record {
    pub(super) fn trade(event: &Event, applied: &Applied) -> Record {
        Record {
            ts: event.ts_event,
            seq: event.seq,
            value: JoinValue::Trade(applied.fill),
            is_known: true,
        }
    }

    pub(super) fn quote(event: &Event, view: &View) -> Record {
        Record {
            ts: event.ts_event,
            seq: event.seq,
            value: JoinValue::Quote(view.quote),
            is_known: !view.stale,
        }
    }

    /// From here on, until a record says otherwise, nothing is known.
    pub(super) fn lost(ts: Ts, seq: u64) -> Record {
        Record {
            ts,
            seq,
            value: JoinValue::Quote(Quote::EMPTY),
            is_known: false,
        }
    }

    /// Before which others it stands.
    pub(super) fn key(&self) -> (Ts, u64) {
        (self.ts, self.seq)
    }

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        out.i64(self.ts.0);
        out.u64(self.seq);
        out.bool(matches!(self.value, JoinValue::Trade(_)));
        self.value.to_words().iter().for_each(|word| out.i64(*word));
        out.bool(self.is_known);
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<Record, StateError> {
        let (ts, seq, is_trade) = (Ts(from.i64()?), from.u64()?, from.bool()?);
        let words = [from.i64()?, from.i64()?, from.i64()?, from.i64()?];
        let value = JoinValue::from_words(is_trade, words);
        Ok(Record {
            ts,
            seq,
            value: value.ok_or_else(|| from.error("a trade or a quote"))?,
            is_known: from.bool()?,
        })
    }
}
