//! Volume, notional, prices and counts of trades over tumbling windows of event time.
//!
//! ```text
//!         start            end          end + lateness
//!   ────────┼───────────────┼─────────────────┼──────────►  watermark
//!           │ trades count  │ trades count,   │ the window was said;
//!           │               │ and as late     │ its trades are said as `Late`
//! ```
//!
//! Of each window of a symbol one pane is current: the latest that a trade fell into. A trade
//! that is in all current panes, and in time for them, which is nearly every trade, is found by
//! three comparisons and no division. Earlier panes wait beside the current one in a ring until
//! the watermark closes them.

use bus::planted::{self, Bug};
use bus::signal::{Body, Broken, Late, LateReason, Window};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Flags, Kind, Notional, Price, Qty, Ts};

use crate::intent::Intents;
use crate::suite::{Analytic, Moment};
use crate::view::View;

/// One tumbling window, aligned to 1970-01-01 00:00 UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowConfig {
    /// For people: `1s`.
    pub name: String,
    /// Its length.
    pub size_ns: i64,
    /// How long after its end trades still count.
    pub lateness_ns: i64,
    /// How much farther than by a window trades may be ahead of the watermark, as where time waits for
    /// one of several sources.
    pub ahead_ns: i64,
}

impl WindowConfig {
    /// One second, five seconds and a minute, each 200 ms late at most.
    pub fn standard() -> Vec<WindowConfig> {
        let window = |name: &str, seconds: i64| WindowConfig {
            name: name.into(),
            size_ns: seconds * Ts::SECOND_NS,
            lateness_ns: Ts::SECOND_NS / 5,
            ahead_ns: 0,
        };
        vec![window("1s", 1), window("5s", 5), window("1m", 60)]
    }

    /// How many panes before the current one may wait. One more than lateness asks for, so that
    /// trades may run ahead of the watermark by a window.
    fn waiting_max(&self) -> usize {
        let waits_ns = self.lateness_ns.saturating_add(self.ahead_ns);
        let late = waits_ns / self.size_ns + i64::from(waits_ns % self.size_ns > 0);
        (late as usize).saturating_add(2)
    }
}

/// The windows of one symbol.
#[derive(Clone, Copy, Debug)]
pub struct Vwap {
    /// The first of this symbol's panes in [`Common::panes`].
    first: u32,
    /// Bit by window: whether panes of it wait. Of most symbols none do, and theirs stay untouched.
    waiting: u16,
    due: Ts,
    /// The time that all current panes have in common, `[from, until)`; empty while one of them
    /// is not in use.
    from: i64,
    until: i64,
}

/// What the symbols of a shard share: the windows and the memory for panes.
#[derive(Debug)]
pub struct Common {
    windows: Vec<Spec>,
    /// For each symbol: the current pane of each window, then the waiting ones of each window.
    /// Reserved for all symbols, filled as they appear.
    panes: Vec<Pane>,
    panes_per_symbol: usize,
}

/// A window, worked out.
#[derive(Clone, Copy, Debug)]
struct Spec {
    size_ns: i64,
    lateness_ns: i64,
    /// Where its waiting panes stand among a symbol's, and how many.
    waiting_first: usize,
    waiting_max: usize,
}

/// The sums of one window, `[start, end)`. No trades means that it is not in use.
#[derive(Clone, Copy, Debug)]
struct Pane {
    notional: i128,
    start: i64,
    end: i64,
    open: i64,
    high: i64,
    low: i64,
    close: i64,
    volume: i64,
    trade_count: u32,
    late_count: u32,
}

const _: () = assert!(size_of::<Pane>() == 80 && size_of::<Vwap>() == 32);

impl Pane {
    /// Not in use: no time lies in it.
    const NONE: Pane = Pane {
        notional: 0,
        start: i64::MAX,
        end: i64::MIN,
        open: 0,
        high: 0,
        low: 0,
        close: 0,
        volume: 0,
        trade_count: 0,
        late_count: 0,
    };

    /// With its first trade.
    fn new(start: i64, end: i64, trade: &Trade) -> Pane {
        let price = trade.price;
        let mut pane = Pane {
            start,
            end,
            open: price,
            high: price,
            low: price,
            ..Pane::NONE
        };
        pane.add_late(trade);
        pane
    }

    #[inline]
    fn is_used(&self) -> bool {
        self.trade_count > 0
    }

    #[inline]
    fn has(&self, ts: i64) -> bool {
        self.start <= ts && ts < self.end
    }

    #[inline]
    fn add(&mut self, trade: &Trade) {
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.close = trade.price;
        self.volume += trade.qty;
        self.notional += trade.notional;
        self.trade_count += 1;
    }

    /// As `add`, for a trade that may have come after the window's end.
    fn add_late(&mut self, trade: &Trade) {
        self.add(trade);
        self.late_count += u32::from(trade.watermark >= self.end);
    }

    fn save(&self, out: &mut StateWriter<'_>) {
        out.i128(self.notional);
        for word in [
            self.start,
            self.end,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
        ] {
            out.i64(word);
        }
        out.u32(self.trade_count);
        out.u32(self.late_count);
    }

    fn load(from: &mut StateReader<'_>) -> Result<Pane, StateError> {
        let pane = Pane {
            notional: from.i128()?,
            start: from.i64()?,
            end: from.i64()?,
            open: from.i64()?,
            high: from.i64()?,
            low: from.i64()?,
            close: from.i64()?,
            volume: from.i64()?,
            trade_count: from.u32()?,
            late_count: from.u32()?,
        };
        match pane.is_used() && pane.start < pane.end {
            true => Ok(pane),
            false => Err(from.error("a window with a trade in it")),
        }
    }

    fn say(&self, rule: usize, out: &mut bus::Outbox) {
        debug_assert!(self.is_used(), "an empty window is not said");
        let body = Body::Window(Window {
            start: Ts(self.start),
            open: Price(self.open),
            high: Price(self.high),
            low: Price(self.low),
            close: Price(self.close),
            volume: Qty(self.volume),
            notional: Notional(self.notional),
            trade_count: self.trade_count,
            late_count: self.late_count,
            revision: 0,
            is_final: true,
        });
        out.say_at(Ts(self.end), rule as u8, body);
    }
}

/// A trade, as the panes need it.
#[derive(Clone, Copy, Debug)]
struct Trade {
    ts: i64,
    price: i64,
    qty: i64,
    notional: i128,
    watermark: i64,
}

impl Common {
    /// At most so many windows, because a rule's number has to tell them apart in a report.
    pub const WINDOWS_MAX: usize = 16;
    /// At most so many panes for one symbol, because all may close at one event.
    pub const PANES_MAX: usize = 256;

    /// What is wrong with these windows, if anything.
    pub(crate) fn problem(windows: &[WindowConfig]) -> Option<String> {
        if windows.len() > Self::WINDOWS_MAX {
            return Some(format!(
                "{} windows, want at most {}",
                windows.len(),
                Self::WINDOWS_MAX
            ));
        }
        let mut panes = 0;
        for window in windows {
            let name = &window.name;
            if window.size_ns <= 0 {
                return Some(format!(
                    "window {name}: size {} ns, want above 0",
                    window.size_ns
                ));
            }
            if window.lateness_ns < 0 {
                let lateness = window.lateness_ns;
                return Some(format!(
                    "window {name}: lateness {lateness} ns, want 0 or above"
                ));
            }
            panes = window.waiting_max().saturating_add(panes + 1);
            if panes > Self::PANES_MAX {
                let waits_ns = window.lateness_ns.saturating_add(window.ahead_ns);
                return Some(format!(
                    "window {name}: lateness of {} times its size needs more than {} open panes",
                    waits_ns / window.size_ns,
                    Self::PANES_MAX
                ));
            }
        }
        None
    }

    /// Memory for up to `symbols_max` symbols; allocates once.
    pub fn new(windows: &[WindowConfig], symbols_max: usize) -> Common {
        assert_eq!(Self::problem(windows), None);
        let mut panes_per_symbol = windows.len();
        let specs = windows.iter().map(|window| {
            let waiting_first = panes_per_symbol;
            panes_per_symbol += window.waiting_max();
            Spec {
                size_ns: window.size_ns,
                lateness_ns: window.lateness_ns,
                waiting_first,
                waiting_max: window.waiting_max(),
            }
        });
        let windows = specs.collect();
        let panes_max = symbols_max * panes_per_symbol;
        assert!(u32::try_from(panes_max).is_ok(), "{panes_max} panes");
        let panes = Vec::with_capacity(panes_max);
        bus::mem::on_huge_pages(&panes);
        Common {
            windows,
            panes,
            panes_per_symbol,
        }
    }

    /// Asks the caches for the current panes of the symbol that appeared as this one, from 0.
    #[inline(always)]
    pub(crate) fn prefetch(&self, place: usize) {
        let first = place.wrapping_mul(self.panes_per_symbol);
        // The end of the last lies in the line in which the next begins.
        for pane in 0..=self.windows.len() {
            bus::mem::prefetch(&self.panes, first.wrapping_add(pane));
        }
    }

    /// What the panes of a symbol take, in bytes.
    pub fn bytes_per_symbol(&self) -> usize {
        self.panes_per_symbol * size_of::<Pane>()
    }
}

impl Analytic for Vwap {
    type Common = Common;

    fn new(common: &mut Common) -> Vwap {
        let first = common.panes.len();
        let end = first + common.panes_per_symbol;
        debug_assert!(
            end <= common.panes.capacity(),
            "panes for all symbols are reserved"
        );
        common.panes.resize(end, Pane::NONE);
        Vwap {
            first: u32::try_from(first).expect("looked at when it was reserved"),
            waiting: 0,
            due: Ts::MAX,
            from: i64::MAX,
            until: i64::MIN,
        }
    }

    #[inline]
    fn on_event(
        &mut self,
        common: &mut Common,
        moment: &Moment,
        view: &mut View,
        out: &mut bus::Outbox,
        _intents: &mut Intents,
    ) {
        let fill = &moment.applied.fill;
        if fill.qty.0 > 0 {
            self.on_trade(common, moment, view, out);
        }
        if moment.event.kind == Kind::Break {
            view.broken_count += 1;
            out.say(
                0,
                Body::Broken(Broken {
                    match_number: moment.event.order_b,
                }),
            );
        }
    }

    fn on_watermark(
        &mut self,
        common: &mut Common,
        watermark: Ts,
        _view: &mut View,
        out: &mut bus::Outbox,
    ) {
        if self.due > watermark {
            return;
        }
        let Common {
            windows,
            panes,
            panes_per_symbol,
        } = common;
        let panes = &mut panes[self.first as usize..][..*panes_per_symbol];
        for (rule, spec) in windows.iter().enumerate() {
            // What ends by then is closed.
            let end_max = watermark.0.saturating_sub(spec.lateness_ns);
            let (current, waiting) = spec.of(panes, rule);
            self.say_waiting(waiting, end_max, rule, out);
            if current.is_used() && current.end <= end_max {
                current.say(rule, out);
                *current = Pane::NONE;
            }
        }
        self.due = self.next_close(windows, panes);
        self.find_common(&panes[..windows.len()]);
    }

    #[inline]
    fn due(&self) -> Ts {
        self.due
    }

    fn save(&self, common: &Common, out: &mut StateWriter<'_>) {
        out.u32(common.panes_per_symbol as u32);
        for pane in &common.panes[self.first as usize..][..common.panes_per_symbol] {
            out.bool(pane.is_used());
            if pane.is_used() {
                pane.save(out);
            }
        }
        out.i64(self.due.0);
    }

    fn load(common: &mut Common, from: &mut StateReader<'_>) -> Result<Vwap, StateError> {
        let panes = common.panes_per_symbol;
        if from.u32()? as usize != panes {
            return Err(from.error(format_args!("{panes} panes of windows")));
        }
        let mut vwap = Vwap::new(common);
        let own = &mut common.panes[vwap.first as usize..];
        for place in &mut *own {
            if from.bool()? {
                let pane = Pane::load(from)?;
                if !planted::is(Bug::WindowNotRestored) {
                    *place = pane;
                }
            }
        }
        vwap.due = Ts(from.i64()?);
        for (rule, spec) in common.windows.iter().enumerate() {
            let (_, waiting) = spec.of(own, rule);
            vwap.set_waiting(rule, waiting.iter().any(Pane::is_used));
        }
        vwap.find_common(&own[..common.windows.len()]);
        Ok(vwap)
    }
}

impl Vwap {
    #[inline]
    fn on_trade(
        &mut self,
        common: &mut Common,
        moment: &Moment,
        view: &mut View,
        out: &mut bus::Outbox,
    ) {
        let fill = &moment.applied.fill;
        let notional = fill.price * fill.qty;
        let first = view.trade_count == 0;
        view.high = if first {
            fill.price
        } else {
            view.high.max(fill.price)
        };
        view.low = view.low.min(fill.price);
        view.last_price = fill.price;
        view.last_qty = fill.qty;
        view.last_ts = moment.event.ts_event;
        view.volume += fill.qty;
        view.notional += notional;
        view.trade_count += 1;

        let trade = Trade {
            ts: moment.event.ts_event.0,
            price: fill.price.0,
            qty: fill.qty.0,
            notional: notional.0,
            watermark: moment.watermark.0,
        };
        if moment.event.flags.has(Flags::BAD_TS) {
            // It traded, so the session's totals have it; when, nobody knows.
            return say_late(&trade, 0, 0, LateReason::Future, out);
        }
        let panes = &mut common.panes[self.first as usize..][..common.panes_per_symbol];
        // In every current pane, and before the end of each.
        if self.from <= trade.ts && trade.ts.max(trade.watermark) < self.until {
            for pane in &mut panes[..common.windows.len()] {
                pane.add(&trade);
            }
        } else {
            self.on_other_trade(&common.windows, panes, &trade, out);
        }
    }

    /// At least one current pane is not the trade's, or has ended.
    #[cold]
    fn on_other_trade(
        &mut self,
        windows: &[Spec],
        panes: &mut [Pane],
        trade: &Trade,
        out: &mut bus::Outbox,
    ) {
        for (rule, spec) in windows.iter().enumerate() {
            if panes[rule].has(trade.ts) {
                panes[rule].add_late(trade);
            } else {
                self.other_pane(spec, rule, panes, trade, out);
            }
        }
        self.find_common(&panes[..windows.len()]);
    }

    /// Sets what the current panes have in common.
    fn find_common(&mut self, current: &[Pane]) {
        // A pane that is not in use makes it empty by itself.
        self.from = current
            .iter()
            .map(|pane| pane.start)
            .max()
            .unwrap_or(i64::MAX);
        self.until = current
            .iter()
            .map(|pane| pane.end)
            .min()
            .unwrap_or(i64::MIN);
    }

    /// It opens the next pane of this window, or is of an earlier one, or comes too late.
    fn other_pane(
        &mut self,
        spec: &Spec,
        rule: usize,
        panes: &mut [Pane],
        trade: &Trade,
        out: &mut bus::Outbox,
    ) {
        let start = Ts(trade.ts).floor(spec.size_ns).0;
        let end = start.saturating_add(spec.size_ns);
        if end.saturating_add(spec.lateness_ns) <= trade.watermark {
            let late_ns = trade.watermark.saturating_sub(end);
            return say_late(trade, late_ns, rule, LateReason::Closed, out);
        }
        let (current, waiting) = spec.of(panes, rule);
        if !current.is_used() {
            *current = Pane::new(start, end, trade);
        } else if start > current.start {
            // Trades normally run ahead of the watermark by less than a window. Where they do
            // not, what is further behind than there are panes closes before its time.
            let start_min = spec.waiting_from(start);
            self.say_waiting(waiting, start_min, rule, out);
            if current.start >= start_min {
                waiting[spec.slot(current.start)] = *current;
                self.set_waiting(rule, true);
            } else {
                current.say(rule, out);
            }
            *current = Pane::new(start, end, trade);
        } else if start >= spec.waiting_from(current.start) {
            let pane = &mut waiting[spec.slot(start)];
            if pane.is_used() {
                debug_assert_eq!(pane.start, start, "waiting panes have slots of their own");
                pane.add_late(trade);
            } else {
                *pane = Pane::new(start, end, trade);
                self.set_waiting(rule, true);
            }
        } else {
            let late_ns = trade.watermark.saturating_sub(end).max(0);
            return say_late(trade, late_ns, rule, LateReason::Closed, out);
        }
        self.due = self.due.min(Ts(end.saturating_add(spec.lateness_ns)));
    }

    fn set_waiting(&mut self, rule: usize, waits: bool) {
        self.waiting = self.waiting & !(1 << rule) | u16::from(waits) << rule;
    }

    fn waits(&self, rule: usize) -> bool {
        self.waiting >> rule & 1 != 0
    }

    /// Says and frees the waiting panes of a window that end by `end_max`, earliest first.
    fn say_waiting(
        &mut self,
        waiting: &mut [Pane],
        end_max: i64,
        rule: usize,
        out: &mut bus::Outbox,
    ) {
        if !self.waits(rule) {
            return;
        }
        // A free pane ends before everything, hence the look at its use; few panes wait.
        loop {
            let used = waiting.iter_mut().filter(|pane| pane.is_used());
            match used.min_by_key(|pane| pane.end) {
                Some(pane) if pane.end <= end_max => {
                    pane.say(rule, out);
                    *pane = Pane::NONE;
                }
                rest => return self.set_waiting(rule, rest.is_some()),
            }
        }
    }

    /// When the first of all open panes closes.
    fn next_close(&self, windows: &[Spec], panes: &mut [Pane]) -> Ts {
        let mut due = Ts::MAX;
        for (rule, spec) in windows.iter().enumerate() {
            let (current, waiting) = spec.of(panes, rule);
            let waiting = if self.waits(rule) { &*waiting } else { &[] };
            for pane in waiting
                .iter()
                .chain([&*current])
                .filter(|pane| pane.is_used())
            {
                due = due.min(Ts(pane.end.saturating_add(spec.lateness_ns)));
            }
        }
        due
    }
}

impl Spec {
    fn of<'a>(&self, panes: &'a mut [Pane], rule: usize) -> (&'a mut Pane, &'a mut [Pane]) {
        let (front, back) = panes.split_at_mut(self.waiting_first);
        (&mut front[rule], &mut back[..self.waiting_max])
    }

    /// The earliest start of a pane that may wait beside a current one that starts here.
    fn waiting_from(&self, current_start: i64) -> i64 {
        current_start.saturating_sub(self.size_ns.saturating_mul(self.waiting_max as i64))
    }

    fn slot(&self, start: i64) -> usize {
        (start / self.size_ns).rem_euclid(self.waiting_max as i64) as usize
    }
}

fn say_late(trade: &Trade, late_ns: i64, rule: usize, reason: LateReason, out: &mut bus::Outbox) {
    let (price, qty) = (Price(trade.price), Qty(trade.qty));
    out.say(
        rule as u8,
        Body::Late(Late {
            price,
            qty,
            late_ns,
            reason,
        }),
    );
}
