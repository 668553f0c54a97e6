//! Built-in patterns: texts with parameters.

use crate::expr::pattern::Pattern;

/// A behaviour with a pattern of its own. Times are in nanoseconds, shares in basis points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known {
    /// So many orders that are taken back or changed before they are this old.
    QuoteStuffing {
        /// How many.
        messages: u16,
        /// How old at most.
        age_ns: i64,
    },
    /// So many orders of one side near its best price, a trade with an order of the other side, and so many
    /// of the first side taken back.
    Layering {
        /// How many orders, 2 or more.
        layers: u16,
        /// How many are taken back.
        cancels: u16,
        /// How far behind the best price at most.
        away_bps: f64,
    },
    /// So many trades in one direction, the mid goes so far with them, and who trades then goes against it.
    MomentumIgnition {
        /// How many trades, 2 or more.
        trades: u16,
        /// How far.
        move_bps: f64,
    },
    /// So many prints of one price and size, each taken from the other side than the one before.
    WashPrints {
        /// How many, 2 or more.
        prints: u16,
        /// Of at least this size.
        qty_min: i64,
    },
    /// An order that has stood for so long is taken, and the market then shows who took it a profit.
    LatencyArbitrage {
        /// How long it has stood.
        age_ns: i64,
        /// How much profit.
        edge_bps: f64,
    },
}

impl Known {
    /// As text, in the language of patterns.
    pub fn text(&self, within_ns: i64) -> String {
        let start = match *self {
            Known::QuoteStuffing { messages, age_ns } => {
                format!("cancel|replace[age < {age_ns}ns] times {messages}")
            }
            Known::Layering {
                layers,
                cancels,
                away_bps,
            } => format!(
                "add[side != 'none' and away <= {away_bps}bps] \
                 then add[side == first.side and away <= {away_bps}bps] times {} \
                 then trade[side == first.side] \
                 then cancel[side == first.side and age < {within_ns}ns] times {cancels}",
                layers.saturating_sub(1).max(1)
            ),
            Known::MomentumIgnition { trades, move_bps } => format!(
                "trade[side != 'none'] then trade[side == first.side] times {} \
                 then trade[side == 'sell' and mid - first.mid >= {move_bps}bps \
                 and first.side == 'buy' or side == 'buy' and first.mid - mid >= {move_bps}bps \
                 and first.side == 'sell']",
                trades.saturating_sub(1).max(1)
            ),
            Known::WashPrints { prints, qty_min } => format!(
                "trade[side != 'none' and qty >= {qty_min}] \
                 then trade[qty == first.qty and price == first.price and side != 'none' \
                 and side != prev.side] times {}",
                prints.saturating_sub(1).max(1)
            ),
            Known::LatencyArbitrage { age_ns, edge_bps } => format!(
                "trade[side != 'none' and age >= {age_ns}ns] \
                 then any[first.side == 'buy' and bid - first.price >= {edge_bps}bps \
                 or first.side == 'sell' and first.price - ask >= {edge_bps}bps]"
            ),
        };
        format!("{start} within {within_ns}ns")
    }

    /// Ready to be looked for.
    pub fn pattern(&self, within_ns: i64) -> Result<Pattern, String> {
        let text = self.text(within_ns);
        Pattern::parse(&text).map_err(|error| format!("`{text}`: {error}"))
    }
}
