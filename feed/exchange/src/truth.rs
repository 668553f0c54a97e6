//! What really happened, as the matching engine saw it, and the file that says so.
//!
//! A trade is an `E` at the price of its resting order, a printable `C` at its own price, a `P`,
//! or a `Q` of more than 0 shares at the cross price. A `C` that is not printable is no trade,
//! since the `Q` after it counts the same shares. A broken trade stays counted as it was
//! printed, and is counted again in `broken`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The only format there is so far.
pub const SCHEMA: &str = "tapeline-truth/1";

/// How many levels a side are kept.
pub const LEVELS_MAX: usize = 10;

/// What a session's messages amount to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// `SCHEMA`.
    pub schema: String,
    /// The trading date, as 2026-01-05.
    pub date: String,
    /// The seed of the session.
    pub seed: u64,
    /// Messages published, of all types.
    pub messages: u64,
    /// Messages published by type; a type that did not occur is absent.
    pub by_type: BTreeMap<char, u64>,
    /// First and last MoldUDP64 sequence number of each run of messages that was left out of
    /// both lines of a capture. Books, trades and windows below still count them.
    pub lost: Vec<[u64; 2]>,
    /// The symbols that those messages belong to, sorted.
    pub lost_symbols: Vec<String>,
    /// By stock locate.
    pub symbols: Vec<SymbolTruth>,
}

/// What became of one symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolTruth {
    /// One to five capital letters.
    pub symbol: String,
    /// Its stock locate code on this day.
    pub locate: u16,
    /// The final bids, best first, at most `LEVELS_MAX`.
    pub bids: Vec<Depth>,
    /// The final asks, best first, at most `LEVELS_MAX`.
    pub asks: Vec<Depth>,
    /// Orders on the book at the end, at all levels.
    pub live_orders: u64,
    /// Trades, as defined above.
    pub trades: u64,
    /// Their shares.
    pub volume: u64,
    /// Their shares times their prices, in 1e-4 dollars.
    pub notional_e4: u64,
    /// Trades broken afterwards. They are in `trades` too.
    pub broken: u64,
    /// The windows that have a trade.
    pub windows: Windows,
}

/// One level of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u64, u32)", into = "(u32, u64, u32)")]
pub struct Depth {
    /// In 1e-4 dollars.
    pub price_e4: u32,
    /// Shares at this price.
    pub shares: u64,
    /// Orders at this price.
    pub orders: u32,
}

impl From<(u32, u64, u32)> for Depth {
    fn from((price_e4, shares, orders): (u32, u64, u32)) -> Self {
        Self {
            price_e4,
            shares,
            orders,
        }
    }
}

impl From<Depth> for (u32, u64, u32) {
    fn from(depth: Depth) -> Self {
        (depth.price_e4, depth.shares, depth.orders)
    }
}

/// The tumbling windows of one symbol, by length. All begin at multiples of their length since
/// midnight in New York.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// One second.
    #[serde(rename = "1s")]
    pub s1: Vec<Window>,
    /// Five seconds.
    #[serde(rename = "5s")]
    pub s5: Vec<Window>,
    /// One minute.
    #[serde(rename = "1m")]
    pub m1: Vec<Window>,
}

/// The trades of one symbol from `start_ns` until one window length later, which is not part
/// of it. In JSON it is an array of these fields in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 8]", into = "[u64; 8]")]
pub struct Window {
    /// Since midnight in New York.
    pub start_ns: u64,
    /// Shares.
    pub volume: u64,
    /// Shares times prices, in 1e-4 dollars. VWAP is this over `volume`.
    pub notional_e4: u64,
    /// How many trades.
    pub trades: u64,
    /// The price of the first trade.
    pub open_e4: u64,
    /// The highest price.
    pub high_e4: u64,
    /// The lowest price.
    pub low_e4: u64,
    /// The price of the last trade.
    pub close_e4: u64,
}

impl From<[u64; 8]> for Window {
    fn from(f: [u64; 8]) -> Self {
        let [
            start_ns,
            volume,
            notional_e4,
            trades,
            open_e4,
            high_e4,
            low_e4,
            close_e4,
        ] = f;
        Self {
            start_ns,
            volume,
            notional_e4,
            trades,
            open_e4,
            high_e4,
            low_e4,
            close_e4,
        }
    }
}

impl From<Window> for [u64; 8] {
    fn from(w: Window) -> Self {
        [
            w.start_ns,
            w.volume,
            w.notional_e4,
            w.trades,
            w.open_e4,
            w.high_e4,
            w.low_e4,
            w.close_e4,
        ]
    }
}

impl Windows {
    /// Counts a trade. Times never go back, so only the last window of each length can change.
    pub(crate) fn add(&mut self, ts_ns: u64, price_e4: u32, shares: u64) {
        add(&mut self.s1, 1_000_000_000, ts_ns, price_e4, shares);
        add(&mut self.s5, 5_000_000_000, ts_ns, price_e4, shares);
        add(&mut self.m1, 60_000_000_000, ts_ns, price_e4, shares);
    }
}

fn add(windows: &mut Vec<Window>, length_ns: u64, ts_ns: u64, price_e4: u32, shares: u64) {
    let start_ns = ts_ns - ts_ns % length_ns;
    let price = u64::from(price_e4);
    // 1e9 shares at 1e7 are 1e16, so a window of a million such trades still fits.
    let notional_e4 = price * shares;
    match windows.last_mut() {
        Some(last) if last.start_ns == start_ns => {
            last.volume += shares;
            last.notional_e4 += notional_e4;
            last.trades += 1;
            last.high_e4 = last.high_e4.max(price);
            last.low_e4 = last.low_e4.min(price);
            last.close_e4 = price;
        }
        _ => windows.push(Window {
            start_ns,
            volume: shares,
            notional_e4,
            trades: 1,
            open_e4: price,
            high_e4: price,
            low_e4: price,
            close_e4: price,
        }),
    }
}

impl Truth {
    /// Reads what `write` wrote.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not JSON of this shape, or has another schema.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bad = |what: String| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {what}", path.display()),
            )
        };
        let text = fs::read(path)?;
        let truth: Self = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        if truth.schema != SCHEMA {
            return Err(bad(format!("schema {:?}, want {SCHEMA:?}", truth.schema)));
        }
        Ok(truth)
    }

    /// Writes JSON with one symbol a line, so that two truths can be compared by line.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut out = io::BufWriter::new(fs::File::create(path)?);
        let head = serde_json::to_string(&self.head())?;
        let head = head.strip_suffix("]}").expect("symbols are the last field");
        writeln!(out, "{head}")?;
        for (index, symbol) in self.symbols.iter().enumerate() {
            serde_json::to_writer(&mut out, symbol)?;
            let last = index + 1 == self.symbols.len();
            out.write_all(if last { b"\n" } else { b",\n" })?;
        }
        out.write_all(b"]}\n")?;
        out.flush()
    }

    /// All but the symbols, which are most of it.
    fn head(&self) -> Self {
        Self {
            schema: self.schema.clone(),
            date: self.date.clone(),
            seed: self.seed,
            messages: self.messages,
            by_type: self.by_type.clone(),
            lost: self.lost.clone(),
            lost_symbols: self.lost_symbols.clone(),
            symbols: Vec::new(),
        }
    }
}
