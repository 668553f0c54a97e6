//! The run's conclusions as Parquet tables, for DuckDB, Polars and pandas.
//!
//! Start with [`Tables`], which sorts signals into tables; `schema` lists every column; `table`
//! writes columns of any table; `orders` joins an order with what became of it; `read` reads the
//! tables back, for `verify` and for tests.
//!
//! ```text
//! windows   a row per window that is said      lates        trades that no window took
//! alerts    spread alerts raised and cleared   breaks       broken prints
//! regimes   changes of volatility regime       adjustments  windows that keep a broken print
//! signals   what a strategy saw                digests      a digest per symbol and minute
//! orders    orders, refused or sent            books        the last books, level by level
//! joins     rows of joins, where there are any   best         best prices of instruments, the same
//!
//! order_states, executions, positions    what FIX sessions said, or a simulated venue, where there are any
//! ```
//!
//! Times are `timestamp[ns, UTC]`, prices are float64 as analysts want them, and symbols are a
//! dictionary. Where a float is not enough there are whole numbers beside it: `price_e9` is in
//! units of 1e-9, and `notional_units` and `notional_nanos` are whole units of currency and the
//! rest in 1e-9, so that both can be summed without passing 64 bits. (A decimal column would be
//! exact too, but makes pandas a hundred times slower.) Quantities are whole numbers, in units of 10 to
//! the power of minus `qty_decimals`, which is 0 for shares and contracts.
//!
//! The only place that knows `parquet`.

mod best;
mod events;
mod features;
mod fills;
mod joins;
mod orders;
mod read;
mod schema;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bus::oms::Date;
use bus::signal::{LateReason, Window, WindowFlow, WindowStanding};
use bus::{Body, Level, Notional, Price, Side, Signal, Ts};
use parquet::data_type::ByteArray;

pub use events::Events;
pub use fills::{FillCounts, write_fills};
pub use joins::{JOIN_COLUMNS, JoinName};
pub use read::{OrderRow, Rows, Status, WindowRow, read_books, read_orders, read_windows};

use best::BestTable;
use features::FeatureTable;
use joins::JoinTable;
use orders::Orders;
use table::{Cell, Table};

/// What the numbers in signals stand for, and what to say of the run in each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Symbols by number; one without a name is called by its number, `#42`.
    pub symbols: Vec<Option<String>>,
    /// In units of 10 to the power of minus what the quantities of each are; 0 where nothing is said.
    pub decimals: Vec<u8>,
    /// Windows by rule: `1s`. A rule without a name is called by its number, in each of these.
    pub windows: Vec<WindowName>,
    /// Spread monitors by rule.
    pub spreads: Vec<String>,
    /// Volatility regimes by rule.
    pub regimes: Vec<String>,
    /// Strategies by rule.
    pub strategies: Vec<String>,
    /// What is said of each decision, in this order; without any there is no such table.
    pub features: Vec<String>,
    /// Joins by rule; without any there is no such table.
    pub joins: Vec<JoinName>,
    /// Instruments by rule, and the names of their members; without any there is no such table.
    pub instruments: Vec<(String, Vec<String>)>,
    /// The trading date, for order ids.
    pub date: Date,
    /// Its midnight, from which a digest's minutes are counted.
    pub midnight: Ts,
}

/// What is said of a window in each of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowName {
    /// As the configuration calls it.
    pub name: String,
    /// `tumbling`.
    pub kind: &'static str,
    /// Which trades count in it.
    pub policy: &'static str,
}

/// How many rows each table got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    #[allow(missing_docs)]
    pub windows: u64,
    #[allow(missing_docs)]
    pub alerts: u64,
    #[allow(missing_docs)]
    pub regimes: u64,
    #[allow(missing_docs)]
    pub signals: u64,
    /// Refused ones included.
    pub orders: u64,
    #[allow(missing_docs)]
    pub lates: u64,
    #[allow(missing_docs)]
    pub breaks: u64,
    #[allow(missing_docs)]
    pub adjustments: u64,
    #[allow(missing_docs)]
    pub digests: u64,
    /// 0 where there is no such table.
    pub features: u64,
    /// 0 where there is no such table.
    pub joins: u64,
    /// The same.
    pub best: u64,
    /// Outcomes of orders that were never said: 0 unless the stream is damaged.
    pub outcomes_without_order: u64,
    /// Orders that a limit of orders together refused, or the throttle, by the reason in the table.
    pub refused: BTreeMap<String, u64>,
}

/// A table that could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Which file.
    pub path: PathBuf,
    /// What happened, and what was expected.
    pub what: String,
}

impl TableError {
    fn new(path: &Path, what: impl fmt::Display) -> TableError {
        TableError {
            path: path.to_path_buf(),
            what: what.to_string(),
        }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for TableError {}

/// Writes the tables of one run. Each has its final name only when it is whole, at
/// [`Tables::finish`].
///
/// Memory: one row group of each table, all orders (see `orders`), and some 32 bytes for each symbol and
/// minute.
pub struct Tables {
    labels: Labels,
    windows: Table,
    alerts: Table,
    regimes: Table,
    signals: Table,
    lates: Table,
    breaks: Table,
    adjustments: Table,
    digests: Table,
    /// By minute and symbol: events and value. Shards say theirs at their own moments, so that the
    /// order in which they come is not the table's.
    minutes: BTreeMap<(u32, u32), (u64, u64)>,
    features: Option<FeatureTable>,
    joins: Option<JoinTable>,
    best: Option<BestTable>,
    /// A window of which more may follow.
    window: Option<WindowParts>,
    orders_table: Table,
    orders: Orders,
    midnight: Ts,
}

impl Tables {
    /// Empty tables in this folder.
    pub fn create(folder: &Path, names: &Names) -> Result<Tables, TableError> {
        let table = |name, schema| Table::create(folder, name, schema, &metadata(name, names));
        Ok(Tables {
            labels: Labels::new(names),
            windows: table("windows", schema::WINDOWS)?,
            alerts: table("alerts", schema::ALERTS)?,
            regimes: table("regimes", schema::REGIMES)?,
            signals: table("signals", schema::SIGNALS)?,
            lates: table("lates", schema::LATES)?,
            breaks: table("breaks", schema::BREAKS)?,
            adjustments: table("adjustments", schema::ADJUSTMENTS)?,
            window: None,
            digests: table("digests", schema::DIGESTS)?,
            minutes: BTreeMap::new(),
            features: FeatureTable::create(folder, names)?,
            joins: JoinTable::create(folder, names)?,
            best: BestTable::create(folder, names)?,
            orders_table: table("orders", schema::ORDERS)?,
            orders: Orders::new(names.date),
            midnight: names.midnight,
        })
    }

    /// Adds the next signal of the run; rows keep this order, but for those of digests.
    pub fn push(&mut self, signal: &Signal) -> Result<(), TableError> {
        let Some(body) = signal.body() else {
            let what = format!("event {}: a {:?} without content", signal.seq, signal.kind);
            return Err(self.windows.error(what));
        };
        if let (Some(parts), Body::WindowFlow(_) | Body::WindowStanding(_)) =
            (&mut self.window, body)
        {
            return match parts.take(signal, body) {
                true => Ok(()),
                false => Err(self.windows.error(format!(
                    "event {}: more of a window that is not the one before it",
                    signal.seq
                ))),
            };
        }
        self.push_window()?;
        let labels = &self.labels;
        let symbol = labels.symbol(signal.symbol);
        let decimals = labels.decimals(signal.symbol);
        let (ts, seq) = (Cell::Long(signal.ts_event.0), Cell::Long(signal.seq as i64));
        match body {
            Body::Window(window) => {
                self.window = Some(WindowParts {
                    signal: *signal,
                    window,
                    flow: None,
                    standing: None,
                });
                Ok(())
            }
            Body::WindowFlow(_) | Body::WindowStanding(_) => {
                let what = format!("event {}: more of a window that was not said", signal.seq);
                Err(self.windows.error(what))
            }
            Body::Adjust(x) => self.adjustments.push(&[
                Cell::Long(x.start.0),
                ts,
                Cell::Text(&symbol),
                Cell::Text(&labels.windows.get(signal.rule)),
                Cell::Text(&labels.policies.get(signal.rule)),
                Cell::Long(x.match_number as i64),
                price(x.price),
                Cell::Long(x.qty.0),
                Cell::Long(x.window_count.into()),
                Cell::Text(&x.reason.name().into()),
                seq,
                Cell::Int(decimals.into()),
            ]),
            Body::Late(x) => self.lates.push(&[
                ts,
                Cell::Text(&symbol),
                Cell::Text(&labels.windows.get(signal.rule)),
                price(x.price),
                Cell::Long(x.qty.0),
                Cell::Long(x.late_ns),
                Cell::Text(match x.reason {
                    LateReason::Closed => &labels.closed,
                    LateReason::Future => &labels.future,
                }),
                seq,
                Cell::Int(decimals.into()),
            ]),
            Body::Spread(x) => self.alerts.push(&[
                ts,
                Cell::Text(&symbol),
                Cell::Text(&labels.spreads.get(signal.rule)),
                Cell::Text(if x.raised {
                    &labels.raised
                } else {
                    &labels.cleared
                }),
                Cell::Double(x.bps),
                price(x.bid),
                price(x.ask),
                Cell::Long(x.since.0),
                seq,
            ]),
            Body::Regime(x) => self.regimes.push(&[
                ts,
                Cell::Text(&symbol),
                Cell::Text(&labels.regimes.get(signal.rule)),
                Cell::Text(&x.from.name().into()),
                Cell::Text(&x.to.name().into()),
                Cell::Double(x.bps),
                seq,
            ]),
            Body::Momentum(x) => self.signals.push(&[
                ts,
                Cell::Text(&symbol),
                Cell::Text(&labels.strategies.get(signal.rule)),
                Cell::Text(&side_name(x.side).into()),
                Cell::Double(x.move_bps),
                Cell::Double(x.imbalance),
                price(x.quote.bid),
                price(x.quote.ask),
                Cell::Long(x.quote.bid_qty.0),
                Cell::Long(x.quote.ask_qty.0),
                seq,
                Cell::Int(decimals.into()),
            ]),
            Body::Order(x) => self
                .orders
                .add(signal, x)
                .map_err(|what| self.orders_table.error(what)),
            Body::Reject(x) => self
                .orders
                .refuse(signal, x)
                .map_err(|what| self.orders_table.error(what)),
            Body::Sent(x) => {
                self.orders.settle(signal, x);
                Ok(())
            }
            Body::Digest(x) => {
                // A minute told twice keeps the later value, which includes the earlier.
                let minute = self.minutes.entry((x.minute, signal.symbol)).or_default();
                *minute = (minute.0 + x.events, x.value);
                Ok(())
            }
            // Of them the tables of reports are made, when all have been said.
            Body::Report(_) => Ok(()),
            Body::Features(x) => match &mut self.features {
                Some(table) => table.push(signal, &x, symbol, labels.strategies.get(signal.rule)),
                None => Err(self.signals.error(format!(
                    "event {}: features, and the settings have none",
                    signal.seq
                ))),
            },
            Body::Join(x) => match &mut self.joins {
                Some(table) => table.push(signal, &x, labels),
                None => Err(self.signals.error(format!(
                    "event {}: a row of a join, and the settings have none",
                    signal.seq
                ))),
            },
            Body::Best(x) => match &mut self.best {
                Some(table) => table.push(signal, &x, labels),
                None => Err(self.signals.error(format!(
                    "event {}: best prices of an instrument, and the settings have none",
                    signal.seq
                ))),
            },
            Body::Broken(x) => self.breaks.push(&[
                ts,
                Cell::Text(&symbol),
                Cell::Long(x.match_number as i64),
                seq,
            ]),
        }
    }

    /// Writes the row of the window before, of which all has been said.
    fn push_window(&mut self) -> Result<(), TableError> {
        let Some(parts) = self.window.take() else {
            return Ok(());
        };
        let (x, signal, labels) = (parts.window, &parts.signal, &self.labels);
        let decimals = labels.decimals(signal.symbol);
        let notional = per_unit(x.notional, decimals);
        let (units, nanos) = split(notional);
        let units = i64::try_from(units)
            .map_err(|_| self.windows.error("a notional beyond 9.2e18 units"))?;
        let (kind, policy) = (&labels.kinds, &labels.policies);
        let flow = parts.flow;
        let standing = parts.standing;
        let long = |value: Option<i64>| value.map_or(Cell::Null, Cell::Long);
        let double = |value: Option<f64>| value.map_or(Cell::Null, Cell::Double);
        let sides = flow.and_then(|flow| Some((flow.bought?.0, flow.sold.0)));
        let imbalance = sides.filter(|(bought, sold)| bought + sold > 0);
        let squares = flow.and_then(|flow| flow.squares);
        let sizes = flow.and_then(|flow| flow.sizes);
        // The one division of each; the sums are exact.
        let mean =
            |sum: i128, ns: i64, scale: f64| (ns > 0).then(|| sum as f64 / ns as f64 / scale);
        let money = Price::SCALE as f64;
        let priced = |of: fn(&WindowStanding) -> i128| {
            standing.and_then(|x| mean(of(&x), x.priced_ns, money))
        };
        let quoted = |of: fn(&WindowStanding) -> i128, scale: f64| {
            standing.and_then(|x| mean(of(&x), x.quoted_ns, scale))
        };
        self.windows.push(&[
            Cell::Long(x.start.0),
            Cell::Long(signal.ts_event.0),
            Cell::Text(&labels.symbol(signal.symbol)),
            Cell::Text(&labels.windows.get(signal.rule)),
            Cell::Text(&kind.get(signal.rule)),
            price(x.open),
            price(x.high),
            price(x.low),
            price(x.close),
            Cell::Long(x.volume.0),
            x.notional.per(x.volume).map_or(Cell::Null, price),
            Cell::Double(notional.to_f64()),
            Cell::Long(i64::from(x.trade_count)),
            Cell::Long(i64::from(x.late_count)),
            Cell::Int(x.revision as i32),
            Cell::Bool(x.is_final),
            Cell::Text(&policy.get(signal.rule)),
            Cell::Long(units),
            Cell::Int(nanos),
            Cell::Long(signal.seq as i64),
            Cell::Int(decimals.into()),
            long(sides.map(|sides| sides.0)),
            long(sides.map(|sides| sides.1)),
            double(imbalance.map(|(bought, sold)| (bought - sold) as f64 / (bought + sold) as f64)),
            double(squares.map(|squares| squares as f64 / 1e18)),
            long(
                flow.filter(|_| squares.is_some())
                    .map(|flow| flow.return_count.into()),
            ),
            long(sizes.map(|sizes| sizes[0].0)),
            long(sizes.map(|sizes| sizes[1].0)),
            long(sizes.map(|sizes| sizes[2].0)),
            double(priced(|x| x.price_ns)),
            double(quoted(|x| x.spread_ns, money)),
            double(quoted(|x| x.bid_qty_ns, 1.0)),
            double(quoted(|x| x.ask_qty_ns, 1.0)),
            long(standing.map(|x| x.ofi.0)),
            long(standing.map(|x| x.moves.into())),
            long(standing.map(|x| x.priced_ns)),
            long(standing.map(|x| x.quoted_ns)),
        ])
    }

    /// Writes the digests' rows, by minute and then by symbol.
    fn push_minutes(&mut self) -> Result<(), TableError> {
        const MINUTE_NS: i64 = 60 * Ts::SECOND_NS;
        for ((minute, symbol), (events, value)) in std::mem::take(&mut self.minutes) {
            self.digests.push(&[
                Cell::Long(self.midnight.plus_ns(i64::from(minute) * MINUTE_NS).0),
                Cell::Text(&self.labels.symbol(symbol)),
                Cell::Int(minute as i32),
                Cell::Text(&ByteArray::from(format!("{value:016x}").as_str())),
                Cell::Long(events as i64),
            ])?;
        }
        Ok(())
    }

    /// Writes what is still in memory, and gives every table its final name.
    pub fn finish(mut self) -> Result<TableCounts, TableError> {
        self.push_window()?;
        self.push_minutes()?;
        let outcomes_without_order = self.orders.outcomes_without_order();
        let refused = self.orders.write(&mut self.orders_table, &self.labels)?;
        Ok(TableCounts {
            windows: self.windows.finish()?,
            alerts: self.alerts.finish()?,
            regimes: self.regimes.finish()?,
            signals: self.signals.finish()?,
            lates: self.lates.finish()?,
            breaks: self.breaks.finish()?,
            adjustments: self.adjustments.finish()?,
            digests: self.digests.finish()?,
            features: match self.features {
                Some(table) => table.finish()?,
                None => 0,
            },
            joins: match self.joins {
                Some(table) => table.finish()?,
                None => 0,
            },
            best: match self.best {
                Some(table) => table.finish()?,
                None => 0,
            },
            orders: self.orders_table.finish()?,
            outcomes_without_order,
            refused,
        })
    }
}

/// What was said of one window so far.
struct WindowParts {
    signal: Signal,
    window: Window,
    flow: Option<WindowFlow>,
    standing: Option<WindowStanding>,
}

impl WindowParts {
    /// Takes more of this window; says whether it is of this one.
    fn take(&mut self, signal: &Signal, body: Body) -> bool {
        let of = |signal: &Signal| (signal.seq, signal.symbol, signal.rule, signal.ts_event);
        let is_same = of(signal) == of(&self.signal);
        match body {
            Body::WindowFlow(flow) => {
                is_same && flow.start == self.window.start && self.flow.replace(flow).is_none()
            }
            Body::WindowStanding(standing) => {
                let is_first = self.standing.replace(standing).is_none();
                is_same && standing.start == self.window.start && is_first
            }
            _ => false,
        }
    }
}

/// One level of one book: both sides at the same depth. The symbol is a number when written, and
/// a name when read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookRow<S> {
    /// Which symbol.
    pub symbol: S,
    /// How deep: 0 is the touch.
    pub level: u32,
    /// The bid there; `None` where the side is not as deep.
    pub bid: Option<Level>,
    /// The ask there.
    pub ask: Option<Level>,
}

/// Writes the `books` table; says how many rows.
pub fn write_books(
    folder: &Path,
    names: &Names,
    rows: impl IntoIterator<Item = BookRow<u32>>,
) -> Result<u64, TableError> {
    let labels = Labels::new(names);
    let mut table = Table::create(folder, "books", schema::BOOKS, &metadata("books", names))?;
    for row in rows {
        let [bid_px, bid_qty, bid_orders, bid_e9] = level(row.bid);
        let [ask_px, ask_qty, ask_orders, ask_e9] = level(row.ask);
        table.push(&[
            Cell::Text(&labels.symbol(row.symbol)),
            Cell::Int(row.level as i32),
            bid_px,
            bid_qty,
            bid_orders,
            ask_px,
            ask_qty,
            ask_orders,
            bid_e9,
            ask_e9,
            Cell::Int(labels.decimals(row.symbol).into()),
        ])?;
    }
    table.finish()
}

fn level(level: Option<Level>) -> [Cell<'static>; 4] {
    level.map_or([Cell::Null; 4], |level| {
        let orders = Cell::Long(i64::from(level.orders));
        [
            price(level.price),
            Cell::Long(level.qty.0),
            orders,
            Cell::Long(level.price.0),
        ]
    })
}

fn price(price: Price) -> Cell<'static> {
    if price.is_some() {
        Cell::Double(price.to_f64())
    } else {
        Cell::Null
    }
}

/// A notional of quantities in so many decimals, in 1e-9 of the currency; what is smaller is cut.
fn per_unit(notional: Notional, decimals: u8) -> Notional {
    Notional(notional.0 / 10i128.pow(decimals.into()))
}

/// Whole units of currency, and the rest in 1e-9; the rest is never negative.
fn split(notional: Notional) -> (i128, i32) {
    let scale = i128::from(Price::SCALE);
    (
        notional.0.div_euclid(scale),
        notional.0.rem_euclid(scale) as i32,
    )
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
        Side::None => "none",
    }
}

fn metadata(table: &str, names: &Names) -> Vec<(&'static str, String)> {
    let Date { year, month, day } = names.date;
    vec![
        ("tapeline.schema_version", schema::VERSION.to_string()),
        ("tapeline.table", table.to_string()),
        ("tapeline.date", format!("{year:04}-{month:02}-{day:02}")),
        (
            "tapeline.price_scale",
            "columns *_e9 are in units of 1e-9".to_string(),
        ),
    ]
}

/// Every text that rows repeat, made once.
struct Labels {
    symbols: Vec<Option<ByteArray>>,
    decimals: Vec<u8>,
    windows: Rules,
    spreads: Rules,
    regimes: Rules,
    strategies: Rules,
    kinds: Rules,
    policies: Rules,
    raised: ByteArray,
    cleared: ByteArray,
    closed: ByteArray,
    future: ByteArray,
}

impl Labels {
    fn new(names: &Names) -> Labels {
        let symbols = names
            .symbols
            .iter()
            .map(|name| name.as_deref().map(ByteArray::from));
        let window = |of: fn(&WindowName) -> String| {
            Rules::new(&names.windows.iter().map(of).collect::<Vec<_>>())
        };
        Labels {
            symbols: symbols.collect(),
            decimals: names.decimals.clone(),
            windows: window(|window| window.name.clone()),
            kinds: window(|window| window.kind.to_string()),
            policies: window(|window| window.policy.to_string()),
            spreads: Rules::new(&names.spreads),
            regimes: Rules::new(&names.regimes),
            strategies: Rules::new(&names.strategies),
            raised: "raised".into(),
            cleared: "cleared".into(),
            closed: "closed".into(),
            future: "future".into(),
        }
    }

    fn decimals(&self, number: u32) -> u8 {
        self.decimals.get(number as usize).copied().unwrap_or(0)
    }

    /// A copy shares the bytes.
    fn symbol(&self, number: u32) -> ByteArray {
        let named = self.symbols.get(number as usize).and_then(Option::as_ref);
        named.map_or_else(|| format!("#{number}").as_str().into(), Clone::clone)
    }
}

/// The names of one kind of rule, for every number that a rule can have.
struct Rules(Vec<ByteArray>);

impl Rules {
    fn new(names: &[String]) -> Rules {
        let name = |rule: u8| names.get(usize::from(rule)).cloned();
        let name_or_number = |rule: u8| name(rule).unwrap_or_else(|| rule.to_string());
        Rules(
            (0..=u8::MAX)
                .map(|rule| name_or_number(rule).as_str().into())
                .collect(),
        )
    }

    fn get(&self, rule: u8) -> ByteArray {
        self.0[usize::from(rule)].clone()
    }
}

#[cfg(test)]
mod tests;
