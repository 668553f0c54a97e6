//! What can be declared, and what of it is wrong.

use std::ops::Range;

use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Ts};

use super::pane::Pane;
use super::sizes::BUCKETS;
use super::{Policy, Share, Windows, load_some, save_some};

/// A declared window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredConfig {
    /// For people.
    pub name: String,
    /// Which trades are in one.
    pub shape: Shape,
    /// How long after its end trades still count.
    pub lateness_ns: i64,
    /// Whether it is said at its end already, and again when a late trade has changed it.
    pub revise: bool,
    /// Which trades count.
    pub policy: Policy,
    /// What is said beside prices, volume, notional and counts.
    pub aggregates: Vec<Aggregate>,
    /// Names of symbols, padded with spaces; all symbols where it is empty.
    pub symbols: Vec<[u8; 8]>,
}

/// Which trades are in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One window after another.
    Tumbling {
        #[allow(missing_docs)]
        size_ns: i64,
    },
    /// A window of this size begins every `slide_ns`.
    Sliding {
        #[allow(missing_docs)]
        size_ns: i64,
        #[allow(missing_docs)]
        slide_ns: i64,
    },
    /// From the start of a period on, said each `slide_ns` if something is new.
    Cumulative {
        #[allow(missing_docs)]
        period_ns: i64,
        #[allow(missing_docs)]
        slide_ns: i64,
    },
    /// Trades that follow each other within `gap_ns`.
    Session {
        #[allow(missing_docs)]
        gap_ns: i64,
    },
    /// So many trades, in the order of their arrival.
    Count {
        #[allow(missing_docs)]
        trades: u32,
    },
    /// Trades in the order of their arrival until they have this quantity together.
    Volume {
        #[allow(missing_docs)]
        qty: i64,
    },
}

/// What may be said of a window beside prices, volume, notional and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Volume that buyers and that sellers took, and their imbalance.
    Sides,
    /// Sum of squared returns.
    RealizedVariance,
    /// Quantiles of the trades' sizes.
    Sizes,
    /// Time-weighted last price, spread and quantities at the best prices; order-flow imbalance.
    Standing,
}

/// Which groups of aggregates a window needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) sides: bool,
    pub(super) returns: bool,
    pub(super) sizes: bool,
    pub(super) standing: bool,
}

impl Shape {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Shape::Tumbling { .. } => "tumbling",
            Shape::Sliding { .. } => "sliding",
            Shape::Cumulative { .. } => "cumulative",
            Shape::Session { .. } => "session",
            Shape::Count { .. } => "count",
            Shape::Volume { .. } => "volume",
        }
    }

    /// Whether its windows have fixed times.
    pub(super) const fn is_aligned(self) -> bool {
        matches!(
            self,
            Shape::Tumbling { .. } | Shape::Sliding { .. } | Shape::Cumulative { .. }
        )
    }

    /// The length of a pane.
    const fn step_ns(self) -> i64 {
        match self {
            Shape::Tumbling { size_ns } => size_ns,
            Shape::Sliding { slide_ns, .. } | Shape::Cumulative { slide_ns, .. } => slide_ns,
            Shape::Session { gap_ns } => gap_ns,
            Shape::Count { .. } | Shape::Volume { .. } => 1,
        }
    }
}

impl DeclaredConfig {
    /// Panes that a window may be behind or ahead, above which memory would not be worth it.
    const PANES_MAX: i64 = 4096;
    /// Records that the windows may say of a symbol at one event, so that there is room for the rest.
    const SIGNALS_MAX: usize = Outbox::SIGNALS_MAX - 512;

    fn wants(&self) -> Wants {
        let has = |aggregate| self.aggregates.contains(&aggregate);
        Wants {
            sides: has(Aggregate::Sides),
            returns: has(Aggregate::RealizedVariance),
            sizes: has(Aggregate::Sizes),
            standing: has(Aggregate::Standing),
        }
    }

    /// How many records say one window.
    pub fn signals_per_window(&self) -> usize {
        let wants = self.wants();
        let flow = wants.sides || wants.returns || wants.sizes;
        1 + usize::from(flow) + usize::from(wants.standing)
    }

    /// What is wrong with these, if anything.
    pub(crate) fn problem(declared: &[DeclaredConfig], ahead_ns: i64) -> Option<String> {
        if declared.len() > Windows::WINDOWS_MAX {
            let (count, max) = (declared.len(), Windows::WINDOWS_MAX);
            return Some(format!("{count} declared windows, want at most {max}"));
        }
        let mut signals = 0;
        for window in declared {
            if let Some(problem) = window.own_problem(ahead_ns) {
                return Some(format!("window {}: {problem}", window.name));
            }
            signals += window.signals_max(ahead_ns);
            if signals > Self::SIGNALS_MAX {
                return Some(format!(
                    "window {}: with those before it, {signals} records may be said at once of one \
                     symbol, want at most {}; fewer windows, longer slides or less lateness take less",
                    window.name,
                    Self::SIGNALS_MAX
                ));
            }
        }
        None
    }

    fn own_problem(&self, ahead_ns: i64) -> Option<String> {
        let above_zero = |what: &str, value: i64| {
            (value <= 0).then(|| format!("{what} is {value}, want above 0"))
        };
        let whole = |what: &str, long: i64, slide: i64| {
            (long % slide != 0).then(|| format!("{what} is no whole number of slides"))
        };
        let shape = match self.shape {
            Shape::Tumbling { size_ns } => above_zero("size", size_ns),
            Shape::Sliding { size_ns, slide_ns } => above_zero("size", size_ns)
                .or_else(|| above_zero("slide", slide_ns))
                .or_else(|| whole("size", size_ns, slide_ns)),
            Shape::Cumulative {
                period_ns,
                slide_ns,
            } => above_zero("period", period_ns)
                .or_else(|| above_zero("slide", slide_ns))
                .or_else(|| whole("period", period_ns, slide_ns))
                .or_else(|| {
                    (self.lateness_ns >= period_ns)
                        .then(|| "lateness is not shorter than the period".to_string())
                }),
            Shape::Session { gap_ns } => above_zero("gap", gap_ns),
            Shape::Count { trades } => above_zero("trades", trades.into()),
            Shape::Volume { qty } => above_zero("qty", qty),
        };
        if shape.is_some() {
            return shape;
        }
        if self.lateness_ns < 0 {
            return Some(format!("lateness {} ns, want 0 or above", self.lateness_ns));
        }
        let kind = self.shape.name();
        if !self.shape.is_aligned() {
            if self.wants().standing {
                return Some(format!(
                    "what is weighted with time needs windows of fixed times, not {kind}"
                ));
            }
            if self.revise {
                return Some(format!(
                    "only windows of fixed times are revised, not {kind}"
                ));
            }
        }
        if self.lateness_ns > 0 && matches!(self.shape, Shape::Count { .. } | Shape::Volume { .. })
        {
            return Some(format!(
                "{kind} windows take trades as they come: none is late, so lateness says nothing"
            ));
        }
        let panes = self.ring(ahead_ns);
        (panes > Self::PANES_MAX).then(|| {
            let max = Self::PANES_MAX;
            format!("needs {panes} open panes, want at most {max}: a longer slide takes fewer")
        })
    }

    /// How many panes of a window are of use at once.
    fn ring(&self, ahead_ns: i64) -> i64 {
        let step = self.shape.step_ns();
        if !self.shape.is_aligned() {
            return 0;
        }
        let panes = |ns: i64| ns / step + i64::from(ns % step > 0);
        let (late, ahead) = (panes(self.lateness_ns), panes(ahead_ns.max(0)));
        self.overlap()
            .saturating_add(late)
            .saturating_add(ahead + 2)
    }

    fn overlap(&self) -> i64 {
        match self.shape {
            Shape::Sliding { size_ns, slide_ns } => size_ns / slide_ns,
            _ => 1,
        }
    }

    /// How many records may be said at once.
    fn signals_max(&self, ahead_ns: i64) -> usize {
        let windows = match self.shape {
            Shape::Session { .. } => super::bars::SESSIONS_MAX + 1,
            Shape::Count { .. } | Shape::Volume { .. } => 2,
            _ => self.ring(ahead_ns) as usize,
        };
        windows * self.signals_per_window() + 1
    }
}

/// A declared window, worked out.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) shape: Shape,
    pub(super) policy: Policy,
    pub(super) lateness_ns: i64,
    pub(super) revise: bool,
    pub(super) symbols: Vec<[u8; 8]>,
    pub(super) wants: Wants,
    /// Pane 0 begins here; each is this long.
    pub(super) origin: i64,
    pub(super) step_ns: i64,
    /// How many panes a window has; 1 for those that grow.
    pub(super) overlap: i64,
    /// How many panes a period has, for those that grow; else 1.
    pub(super) period: i64,
    /// Panes that may be in use at once, by their numbers' remainder.
    pub(super) ring: i64,
    /// This window's part of a symbol's share of each.
    pub(super) panes: Range<usize>,
    pub(super) sizes: Range<usize>,
    pub(super) marks: Range<usize>,
    pub(super) bars: Range<usize>,
}

impl Spec {
    pub(super) fn new(
        config: &DeclaredConfig,
        origin: Ts,
        ahead_ns: i64,
        share: &mut Share,
    ) -> Spec {
        let mut symbols = config.symbols.clone();
        symbols.sort_unstable();
        let wants = config.wants();
        let (ring, overlap) = (config.ring(ahead_ns) as usize, config.overlap());
        let edges = 1 + usize::from(config.revise);
        // Beside the ring: what the two edges keep of panes put together, and of sizes; and room for
        // the sizes of a window that is put together anew.
        let (panes, sizes) = match config.shape {
            Shape::Tumbling { .. } => (ring, ring),
            Shape::Sliding { .. } => (ring + edges * (1 + overlap as usize), ring + 3),
            Shape::Cumulative { .. } => (ring + edges, ring + 3),
            Shape::Session { .. } => (super::bars::SESSIONS_MAX, super::bars::SESSIONS_MAX),
            Shape::Count { .. } | Shape::Volume { .. } => (1, 1),
        };
        let sizes = if wants.sizes { sizes * BUCKETS } else { 0 };
        // A start of each pane, and of each period that there may be windows of.
        let periods = match config.shape {
            Shape::Cumulative { period_ns, .. } => {
                let span_ns = config.lateness_ns.saturating_add(ahead_ns.max(0));
                (span_ns / period_ns) as usize + 3
            }
            _ => 0,
        };
        let marks = match wants.standing {
            true => ring + 1 + periods,
            false => 0,
        };
        let bars = if config.shape.is_aligned() { 0 } else { panes };
        let take = |from: &mut usize, count: usize| {
            let first = *from;
            *from += count;
            first..*from
        };
        Spec {
            shape: config.shape,
            policy: config.policy,
            lateness_ns: config.lateness_ns,
            revise: config.revise && config.lateness_ns > 0,
            symbols,
            wants,
            origin: origin.0,
            step_ns: config.shape.step_ns(),
            overlap,
            period: match config.shape {
                Shape::Cumulative {
                    period_ns,
                    slide_ns,
                } => period_ns / slide_ns,
                _ => 1,
            },
            ring: ring as i64,
            panes: take(&mut share.panes, panes),
            sizes: take(&mut share.sizes, sizes),
            marks: take(&mut share.marks, marks),
            bars: take(&mut share.bars, bars),
        }
    }

    /// Saves panes and sizes: those that hold something.
    pub(super) fn save(&self, panes: &[Pane], sizes: &[u32], out: &mut StateWriter<'_>) {
        let is_used = |pane: &Pane| *pane != Pane::EMPTY;
        save_some(panes, is_used, Pane::save, out);
        let is_used = |count: &u32| *count > 0;
        save_some(sizes, is_used, |count, out| out.u32(*count), out);
    }

    pub(super) fn load(
        &self,
        panes: &mut [Pane],
        sizes: &mut [u32],
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        load_some(panes, |from| Pane::load(from), from)?;
        load_some(sizes, |from| from.u32(), from)
    }
}
