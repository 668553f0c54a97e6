//! What is set to happen during the session, decided before it begins.

use crate::random::Random;

/// Something that does not come from the flow of orders. Numbers are symbols by activity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Happening {
    /// The volatility is multiplied by `factor`.
    Storm {
        symbol: usize,
        until_ns: u64,
        factor: f64,
    },
    /// Market makers quote no nearer than `half` of the price on each side.
    Wide {
        symbol: usize,
        until_ns: u64,
        half: f64,
    },
    /// The fair price gains `per_second` of itself each second.
    Run {
        symbol: usize,
        until_ns: u64,
        per_second: f64,
    },
    /// Halted for news: orders can only be taken off.
    Halt { symbol: usize },
    /// Paused for volatility, with the collar of its reopening.
    Pause { symbol: usize },
    /// The pause goes on, with a wider collar.
    Extend { symbol: usize },
    /// Quotation only: orders rest for a cross.
    Quote {
        symbol: usize,
        reason: &'static [u8; 4],
    },
    /// The state of the coming cross is published.
    Imbalance { symbol: usize },
    /// The cross, and trading after it.
    Resume { symbol: usize },
    /// A fault on one market: no matching, then no cross either.
    Stop { symbol: usize },
    /// The fault is mended.
    Start { symbol: usize },
    /// An initial public offering may be quoted, and is to trade at `release_ns`.
    Offering { symbol: usize, release_ns: u64 },
    /// What is known of the price of a direct listing.
    DirectListing { symbol: usize, eligible: bool },
    /// The last trade is broken.
    Break { symbol: usize },
    /// The index has fallen to the first level of the market-wide breaker. So late in the day
    /// that halts nothing.
    Breach,
}

/// The symbols that begin the day untraded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Debuts {
    pub(crate) offering: Option<usize>,
    pub(crate) direct_listing: Option<usize>,
}

impl Debuts {
    pub(crate) fn new(symbols: usize) -> Self {
        if symbols < 3 {
            return Self::default();
        }
        Self {
            offering: Some(symbols - 1),
            direct_listing: Some(symbols - 2),
        }
    }

    pub(crate) fn has(&self, symbol: usize) -> bool {
        [self.offering, self.direct_listing].contains(&Some(symbol))
    }
}

/// All happenings between `open_ns` and `close_ns`, in order of time.
pub(crate) fn plan(
    symbols: usize,
    open_ns: u64,
    close_ns: u64,
    random: &mut Random,
) -> Vec<(u64, Happening)> {
    let length_ns = close_ns - open_ns;
    let at = |share: f64| open_ns + (length_ns as f64 * share) as u64;
    let mut plan = Vec::new();
    let mut add = |share: f64, happening| plan.push((at(share), happening));

    let debuts = Debuts::new(symbols);
    if let Some(symbol) = debuts.offering {
        add(
            0.03,
            Happening::Offering {
                symbol,
                release_ns: at(0.10),
            },
        );
        add(
            0.03,
            Happening::Quote {
                symbol,
                reason: b"IPOQ",
            },
        );
        for share in [0.05, 0.07, 0.09] {
            add(share, Happening::Imbalance { symbol });
        }
        add(0.10, Happening::Resume { symbol });
    }
    if let Some(symbol) = debuts.direct_listing {
        add(
            0.12,
            Happening::Quote {
                symbol,
                reason: b"IPOQ",
            },
        );
        add(
            0.13,
            Happening::DirectListing {
                symbol,
                eligible: false,
            },
        );
        for share in [0.14, 0.15, 0.16] {
            add(share, Happening::Imbalance { symbol });
        }
        add(
            0.17,
            Happening::DirectListing {
                symbol,
                eligible: true,
            },
        );
        add(0.18, Happening::Resume { symbol });
    }

    let symbol = 2 % symbols;
    add(0.30, Happening::Halt { symbol });
    add(
        0.34,
        Happening::Quote {
            symbol,
            reason: b"T3  ",
        },
    );
    for share in [0.35, 0.36, 0.37, 0.38, 0.39] {
        add(share, Happening::Imbalance { symbol });
    }
    add(0.40, Happening::Resume { symbol });

    let symbol = 5 % symbols;
    add(
        0.51,
        Happening::Storm {
            symbol,
            until_ns: at(0.62),
            factor: 10.0,
        },
    );
    add(0.55, Happening::Pause { symbol });
    for share in [0.56, 0.57] {
        add(share, Happening::Imbalance { symbol });
    }
    add(0.575, Happening::Extend { symbol });
    for share in [0.58, 0.59] {
        add(share, Happening::Imbalance { symbol });
    }
    add(0.60, Happening::Resume { symbol });

    let symbol = 8 % symbols;
    add(0.70, Happening::Stop { symbol });
    add(0.72, Happening::Start { symbol });

    for (share, rank) in [(0.48, 0), (0.66, 1), (0.80, 3)] {
        add(
            share,
            Happening::Break {
                symbol: rank % symbols,
            },
        );
    }
    add(0.92, Happening::Breach);

    // The active half has most of the weather, since it would hardly show in the other.
    let symbol_seconds = symbols as u64 * length_ns / 1_000_000_000;
    let anyone = |random: &mut Random| {
        let place = random.unit();
        ((place * place * symbols as f64) as usize).min(symbols - 1)
    };
    let until = |share: f64, seconds: f64| {
        let lasting_ns = (seconds * 1e9).min(length_ns as f64 * 0.2) as u64;
        at(share) + lasting_ns
    };
    for _ in 0..(symbol_seconds / 400).clamp(3, 2000) {
        let (symbol, share) = (anyone(random), random.between(0.04, 0.85));
        let until_ns = until(share, random.between(3.0, 12.0));
        let factor = random.between(5.0, 10.0);
        add(
            share,
            Happening::Storm {
                symbol,
                until_ns,
                factor,
            },
        );
    }
    for _ in 0..(symbol_seconds / 150).clamp(4, 5000) {
        let (symbol, share) = (anyone(random), random.between(0.02, 0.96));
        let until_ns = until(share, random.between(0.15, 0.8));
        let half = random.between(0.0015, 0.0045);
        add(
            share,
            Happening::Wide {
                symbol,
                until_ns,
                half,
            },
        );
    }
    for _ in 0..(symbol_seconds / 200).clamp(4, 5000) {
        let (symbol, share) = (anyone(random), random.between(0.02, 0.95));
        let until_ns = until(share, random.between(0.5, 3.0));
        let speed = random.between(0.0004, 0.0015);
        let per_second = if random.chance(0.5) { speed } else { -speed };
        add(
            share,
            Happening::Run {
                symbol,
                until_ns,
                per_second,
            },
        );
    }
    // Stable, so that what is planned for one moment happens in the order planned.
    plan.sort_by_key(|&(at_ns, _)| at_ns);
    plan
}
