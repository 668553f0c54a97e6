//! Says when a spread has been wide for a while, and when it is narrow again.
//!
//! ```text
//!   bps
//!   raise ──────────┌──────hold──────┬─────
//!                   │                │     └──┐
//!   clear ───┐ ┌────┘                │        └───hold────┬──
//!            └─┘                     │                    │
//!                                 raised               cleared
//! ```
//!
//! An alert is timed by event time: the moment at which the hold time ended, however late the
//! event or tick is that shows it. While a quote says nothing (halted, one side missing,
//! crossed, messages lost) a hold time that runs is dropped, and an alert that stands stays.

use bus::signal::{Body, Spread as Alert};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Quote, Ts};

use crate::intent::Intents;
use crate::number::{Bps, double_mid, double_spread, excess, spread_bps};
use crate::suite::{Analytic, Moment};
use crate::view::View;

/// When to say that a spread is wide.
#[derive(Clone, Debug, PartialEq)]
pub struct SpreadConfig {
    /// Raise when the spread is at least this share of the mid price ...
    pub threshold: Bps,
    /// ... for this long.
    pub hold_ns: i64,
    /// Clear when it is at most this ...
    pub clear: Bps,
    /// ... for this long.
    pub clear_hold_ns: i64,
}

impl Default for SpreadConfig {
    fn default() -> SpreadConfig {
        SpreadConfig {
            threshold: Bps::whole(20),
            hold_ns: 100_000_000,
            clear: Bps::whole(15),
            clear_hold_ns: 0,
        }
    }
}

impl SpreadConfig {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.clear > self.threshold || self.clear.0 < 0 {
            return Some(format!(
                "spread: clears at {}, want between 0 and the threshold of {}",
                self.clear, self.threshold
            ));
        }
        if self.hold_ns < 0 || self.clear_hold_ns < 0 {
            return Some("spread: a hold time is negative".into());
        }
        None
    }
}

/// The spread monitor of one symbol.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// When the hold time that runs ends; `MAX` while none runs.
    due: Ts,
    /// Since when it runs.
    holding_since: Ts,
    /// Since when the alert stands, if one does.
    raised_at: Ts,
    raised: bool,
}

impl Analytic for Spread {
    type Common = SpreadConfig;

    fn new(_config: &mut SpreadConfig) -> Spread {
        Spread {
            due: Ts::MAX,
            holding_since: Ts(0),
            raised_at: Ts(0),
            raised: false,
        }
    }

    #[inline]
    fn on_time(&mut self, _config: &mut SpreadConfig, now: Ts, view: &mut View, out: &mut Outbox) {
        if self.due <= now {
            self.on_hold_end(view, out);
        }
    }

    #[inline]
    fn on_event(
        &mut self,
        config: &mut SpreadConfig,
        moment: &Moment,
        view: &mut View,
        out: &mut Outbox,
        _intents: &mut Intents,
    ) {
        if !moment.moved {
            return;
        }
        let passed = view.is_measurable() && self.is_past(config, &view.quote);
        if !passed {
            self.due = Ts::MAX;
        } else if self.due == Ts::MAX {
            self.begin_hold(config, moment.event.ts_event, view, out);
        }
    }

    #[inline]
    fn due(&self) -> Ts {
        self.due
    }

    fn save(&self, _config: &SpreadConfig, out: &mut StateWriter<'_>) {
        out.i64(self.due.0);
        out.i64(self.holding_since.0);
        out.i64(self.raised_at.0);
        out.bool(self.raised);
    }

    fn load(_config: &mut SpreadConfig, from: &mut StateReader<'_>) -> Result<Spread, StateError> {
        Ok(Spread {
            due: Ts(from.i64()?),
            holding_since: Ts(from.i64()?),
            raised_at: Ts(from.i64()?),
            raised: from.bool()?,
        })
    }
}

impl Spread {
    /// Whether the quote speaks for the other state than the one we are in.
    #[inline]
    fn is_past(&self, config: &SpreadConfig, quote: &Quote) -> bool {
        let (spread, mid) = (double_spread(quote), double_mid(quote));
        if self.raised {
            excess(spread, mid, config.clear) <= 0
        } else {
            excess(spread, mid, config.threshold) >= 0
        }
    }

    #[cold]
    fn begin_hold(&mut self, config: &SpreadConfig, ts: Ts, view: &mut View, out: &mut Outbox) {
        let hold_ns = if self.raised {
            config.clear_hold_ns
        } else {
            config.hold_ns
        };
        self.holding_since = ts;
        self.due = ts.plus_ns(hold_ns);
        if hold_ns == 0 {
            self.on_hold_end(view, out);
        }
    }

    #[cold]
    fn on_hold_end(&mut self, view: &mut View, out: &mut Outbox) {
        let at = self.due;
        self.due = Ts::MAX;
        // Messages may have been lost, or the symbol halted, without a word about its quote.
        if !view.is_measurable() {
            return;
        }
        let since = if self.raised {
            self.raised_at
        } else {
            self.holding_since
        };
        self.raised = !self.raised;
        self.raised_at = at;
        view.spread_alert = self.raised;
        let Quote { bid, ask, .. } = view.quote;
        let bps = spread_bps(&view.quote);
        out.say_at(
            at,
            0,
            Body::Spread(Alert {
                raised: self.raised,
                bps,
                bid,
                ask,
                since,
            }),
        );
    }
}
