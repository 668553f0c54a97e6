//! Orders, and the checks before they leave.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use book::{PaperConfig, Shows};
use bus::oms::limits::{Key, Limit, Of};
use bus::oms::{Encoder, FixConfig, Ring};
use feed::protocol::Wire;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SECOND;
use super::fix::Fix;
use super::ouch::Ouch;
use super::soup::is_host_and_port;
use super::units::{Ratio, Span};

/// Checks before an order leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Risk {
    /// Most shares of one order.
    pub qty_max: u32,
    /// Most currency of one order, in whole units.
    pub notional_max: u64,
    /// Furthest a price may be from the live book.
    pub collar: Ratio,
    /// Most orders of a symbol in a second of event time.
    pub orders_per_second: u32,
    /// Furthest a price may be from the last trade; before the first trade no order passes then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collar_last: Option<Ratio>,
    /// For how long the same side, price and quantity may not come again, at most a second.
    #[serde(skip_serializing_if = "is_no_span")]
    pub duplicate_window: Span,
    /// Symbols that may not be traded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restricted: Vec<String>,
    /// When orders may leave, in the venue's time: `"09:30-16:00"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Refuse what an earlier order of ours, of the symbol's other side, could trade with.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refuse_self_trade: bool,
    /// Most of one side of a symbol, over the run, all that was sent counted as filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_max: Option<u64>,
    /// Most currency of all orders of a symbol, over the run, in whole units ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gross_max: Option<u64>,
    /// ... and of those of one side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_max: Option<u64>,
    /// Blocks every send while this file exists, from any process and over restarts.
    pub kill_file: Option<PathBuf>,
    /// The latch that `tapeline kill` turns, for all runs with these settings; each run has its own
    /// otherwise. Relative to the settings' folder. While there is none, no order leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latch: Option<PathBuf>,
    /// How fast orders of a session leave, and what becomes of those that would be too fast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Limits of all orders of the run together, by what is out and what came back; looked at when an
    /// order is sent. Where none of these tables is there, nothing of this is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firm: Option<Together>,
    /// The same for the orders of each session, which is that of a shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Together>,
    /// The same for those of a strategy: `momentum`, or a rule's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub strategy: BTreeMap<String, Together>,
    /// The same for those of a symbol.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub symbol: BTreeMap<String, Together>,
}

/// How fast orders leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Orders of a session in a second of the machine's time.
    pub orders_per_second: u32,
    /// How many may leave at once after a pause.
    #[serde(default = "one")]
    pub burst: u32,
    /// What becomes of those that come faster.
    pub over: TooFast,
    /// How many may wait, at most 4000; those behind are refused.
    #[serde(default = "thousand")]
    pub queue_max: u32,
}

/// What becomes of orders that come faster than they may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooFast {
    /// They wait, and a stop still stops them.
    Queue,
    /// They are refused.
    Reject,
}

fn one() -> u32 {
    1
}

fn thousand() -> u32 {
    1_000
}

impl Throttle {
    fn check(&self) -> Result<(), String> {
        let bounds = [
            ("orders_per_second", self.orders_per_second, 1_000_000),
            ("burst", self.burst, 10_000),
            // More would keep a shard from taking events.
            ("queue_max", self.queue_max, 4_000),
        ];
        match bounds
            .iter()
            .find(|(_, value, most)| !(1..=*most).contains(value))
        {
            None => Ok(()),
            Some((name, value, most)) => {
                Err(format!("risk.throttle.{name} is {value}, want 1 to {most}"))
            }
        }
    }

    /// For a shard.
    pub fn setting(&self) -> crate::throttle::Throttle {
        crate::throttle::Throttle {
            orders_per_second: self.orders_per_second,
            burst: self.burst,
            queue_max: match self.over {
                TooFast::Queue => Some(self.queue_max as usize),
                TooFast::Reject => None,
            },
        }
    }
}

/// Limits of orders that count together; none where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "`bus::oms::limits::Limit` says what each is")]
pub struct Together {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qty_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notional_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gross_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_orders_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_max: Option<u64>,
}

impl Together {
    fn limits(&self) -> impl Iterator<Item = (Limit, u64)> {
        let Together {
            qty_max,
            notional_max,
            position_max,
            gross_max,
            net_max,
            open_orders_max,
            orders_per_second,
            messages_per_second,
            loss_max,
        } = *self;
        let said = [
            (Limit::QtyMax, qty_max),
            (Limit::NotionalMax, notional_max),
            (Limit::PositionMax, position_max),
            (Limit::GrossMax, gross_max),
            (Limit::NetMax, net_max),
            (Limit::OpenOrdersMax, open_orders_max),
            (Limit::OrdersPerSecond, orders_per_second),
            (Limit::MessagesPerSecond, messages_per_second),
            (Limit::LossMax, loss_max),
        ];
        let said = said.into_iter();
        said.filter_map(|(limit, value)| Some((limit, value?)))
    }
}

/// Where orders go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Write FIX messages to files in the run directory.
    pub file: bool,
    /// Send them to this TCP address as well, `127.0.0.1:9878`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// SenderCompID (49); `{shard}` in it stands for the shard's number.
    pub sender: String,
    /// TargetCompID (56).
    pub target: String,
    /// What to do with orders of which nobody knows, after a crash, whether they left.
    pub in_doubt: InDoubt,
    /// Whether they are meant for a counterparty. Without it, they go where the rest of this says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<OrderMode>,
    /// Send them through FIX sessions, one of each shard, instead of to a file or an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Send them through OUCH sessions, one of each shard, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ouch: Option<Ouch>,
    /// The simulated venue, for the mode `paper`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paper: Option<Simulation>,
    /// Say them, and what sessions hear of them, as lines of JSON too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonLines>,
    /// Say them in shared memory too, for other processes of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<SharedRing>,
}

/// Lines of JSON: see `bus/ORDERS.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonLines {
    /// Where they go.
    pub to: JsonTo,
}

/// Where lines of JSON go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonTo {
    /// To a file of each shard in the run directory.
    File,
    /// To stdout, those of all shards.
    Stdout,
}

/// A ring of records of each shard: see `bus/ORDERS.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharedRing {
    /// How many records it has room for: a power of two.
    pub records: u64,
    /// The folder of the rings, whose numbers go on from run to run; the run's own when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

impl Default for SharedRing {
    fn default() -> SharedRing {
        SharedRing {
            records: 1 << 16,
            folder: None,
        }
    }
}

impl SharedRing {
    fn check(&self) -> Result<(), String> {
        let bounds = Ring::ROOM;
        if !self.records.is_power_of_two() || !bounds.contains(&self.records) {
            return Err(format!(
                "orders.ring.records is {}, want a power of two from {} to {}",
                self.records,
                bounds.start(),
                bounds.end()
            ));
        }
        Ok(())
    }
}

/// A simulated venue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Simulation {
    /// How long an order is on its way, at least.
    pub latency: Span,
    /// How long a report is on its way back to the strategies, at least.
    pub report_latency: Span,
    /// Half of the orders, and of the reports, take up to so much longer, half of the rest up to as much again, and so on.
    pub jitter: Span,
    /// Which orders those are is drawn from this.
    pub seed: u64,
    /// Most orders of a symbol that are on their way or stand.
    pub open_max: u32,
    /// What the feed shows of a queue. Where it is not said, the protocol says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueShown>,
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation {
            latency: Span(1_000_000),
            report_latency: Span(1_000_000),
            jitter: Span(0),
            seed: 1,
            open_max: 16,
            queue: None,
        }
    }
}

/// What a feed shows of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueShown {
    /// Each order: places are exact.
    Orders,
    /// What is at each price: cancels are behind us as long as they can be.
    Levels,
}

impl Simulation {
    /// As the books take it.
    pub fn config(&self, symbols_max: usize) -> PaperConfig {
        PaperConfig {
            symbols_max: symbols_max as u32,
            open_max: self.open_max,
            latency_ns: self.latency.0,
            report_latency_ns: self.report_latency.0,
            jitter_ns: self.jitter.0,
            seed: self.seed,
            shows: match self.queue {
                Some(QueueShown::Orders) => Shows::Orders,
                Some(QueueShown::Levels) | None => Shows::Levels,
            },
        }
    }
}

/// Whether orders are meant for a counterparty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderMode {
    /// Everything but the wire: orders end in a file, and no connection is made.
    Shadow,
    /// The same, and a simulated venue on the live books fills them.
    Paper,
    /// They go to the counterparties that the settings name, and whoever starts the run names each
    /// of them once more.
    Live,
}

/// What to do with orders of which nobody knows, after a crash, whether they left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InDoubt {
    /// Send them again under the same ClOrdID, flagged `PossResend=Y`.
    Possresend,
    /// Ask the TCP peer for each (OrderStatusRequest), and send again, flagged, what it does not
    /// know.
    Query,
    /// Send a cancel for each (OrderCancelRequest).
    Cancel,
    /// Refuse to go on, and name them.
    Halt,
}

impl Risk {
    /// Whether orders are counted together.
    pub fn is_guarded(&self) -> bool {
        self.firm.is_some()
            || self.session.is_some()
            || !self.strategy.is_empty()
            || !self.symbol.is_empty()
    }

    /// The limits of orders together.
    pub fn together(&self) -> Vec<(Key, u64)> {
        let one = |of: Of, limits: &Together| {
            let limits = limits.limits();
            let keyed = limits.map(move |(limit, value)| {
                let of = of.clone();
                (Key { of, limit }, value)
            });
            keyed.collect::<Vec<_>>()
        };
        let firm = self.firm.iter().flat_map(|limits| one(Of::Firm, limits));
        let session = self.session.iter();
        let session = session.flat_map(|limits| one(Of::Session, limits));
        let strategy = self.strategy.iter();
        let strategy = strategy.flat_map(|(name, limits)| one(Of::Strategy(name.clone()), limits));
        let symbol = self.symbol.iter();
        let symbol = symbol.flat_map(|(name, limits)| one(Of::Symbol(name.clone()), limits));
        firm.chain(session).chain(strategy).chain(symbol).collect()
    }

    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        // The gate remembers as many times of orders for every symbol that there may be.
        if !(1..=200).contains(&self.orders_per_second) {
            return Err(format!(
                "risk.orders_per_second is {}, want 1 to 200",
                self.orders_per_second
            ));
        }
        if !(0..=SECOND).contains(&self.duplicate_window.0) {
            return Err(format!(
                "risk.duplicate_window is {}, want at most 1s",
                self.duplicate_window
            ));
        }
        for symbol in &self.restricted {
            if symbol.is_empty() || symbol.len() > 8 {
                return Err(format!(
                    "risk.restricted: `{symbol}`, want one to eight letters"
                ));
            }
        }
        for (name, max) in [
            ("position_max", self.position_max),
            ("gross_max", self.gross_max),
            ("net_max", self.net_max),
        ] {
            if max.is_some_and(|max| i64::try_from(max).is_err()) {
                return Err(format!("risk.{name} is above {}", i64::MAX));
            }
        }
        if let Some(throttle) = &self.throttle {
            throttle.check()?;
        }
        for (key, value) in self.together() {
            let key = Key::parse(&key.to_string()).map_err(|what| format!("risk: {what}"))?;
            let largest = key.limit.largest();
            if value > largest {
                return Err(format!("risk.{key} is {value}, want at most {largest}"));
            }
        }
        Ok(())
    }
}

/// A part of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Its first moment, since midnight.
    pub from_ns: i64,
    /// The first one behind it.
    pub until_ns: i64,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Hours, String> {
        let part = |text: &str| -> Option<i64> {
            let mut fields = text.trim().split(':');
            let mut next = |below: i64| {
                let field = fields.next()?;
                let is_digits = field.len() == 2 && field.bytes().all(|b| b.is_ascii_digit());
                let number = field.parse::<i64>().ok().filter(|_| is_digits)?;
                (number < below).then_some(number)
            };
            let (hours, minutes) = (next(25)?, next(60)?);
            let ns = (hours * 60 + minutes) * 60 * SECOND;
            (fields.next().is_none() && ns <= 24 * 60 * 60 * SECOND).then_some(ns)
        };
        let (from, until) = text.split_once('-').unwrap_or(("", ""));
        match (part(from), part(until)) {
            (Some(from_ns), Some(until_ns)) if from_ns < until_ns => {
                Ok(Hours { from_ns, until_ns })
            }
            _ => Err(format!(
                "`{text}` is no part of a day (like \"09:30-16:00\")"
            )),
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |ns: i64| {
            let minutes = ns / (60 * SECOND);
            format!("{:02}:{:02}", minutes / 60, minutes % 60)
        };
        write!(f, "{}-{}", clock(self.from_ns), clock(self.until_ns))
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Hours, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

fn is_no_span(span: &Span) -> bool {
    span.0 == 0
}

impl Default for Risk {
    fn default() -> Risk {
        Risk {
            qty_max: 5_000,
            notional_max: 250_000,
            collar: Ratio(30_000),
            orders_per_second: 5,
            collar_last: None,
            duplicate_window: Span(0),
            restricted: Vec::new(),
            hours: None,
            refuse_self_trade: false,
            position_max: None,
            gross_max: None,
            net_max: None,
            kill_file: None,
            latch: None,
            throttle: None,
            firm: None,
            session: None,
            strategy: BTreeMap::new(),
            symbol: BTreeMap::new(),
        }
    }
}

impl Orders {
    /// A shard's SenderCompID.
    pub fn sender(&self, shard: usize) -> String {
        self.sender.replace(SHARD, &shard.to_string())
    }

    /// Whether each shard has a session, over FIX or OUCH, that hears what becomes of its orders.
    pub fn has_session(&self) -> bool {
        self.fix.is_some() || self.ouch.is_some()
    }

    /// Who gets the orders of so many shards: a name for each session, or the address.
    pub fn counterparties(&self, shards: usize) -> Vec<String> {
        let session = |shard: usize| format!("{}-{}", self.sender(shard), self.target);
        match (self.has_session(), &self.tcp) {
            (true, _) => (0..shards).map(session).collect(),
            (false, Some(address)) => vec![address.clone()],
            (false, None) if self.ring.is_some() => vec!["ring".into()],
            (false, None) => Vec::new(),
        }
    }

    /// For whom orders are, in words: what may be out already was meant for them.
    pub fn addressee(&self) -> String {
        let mode = match self.mode {
            Some(OrderMode::Shadow) => "shadow, ",
            Some(OrderMode::Live) => "live, ",
            Some(OrderMode::Paper) => "paper, ",
            None => "",
        };
        let way = match (&self.fix, &self.tcp) {
            (Some(_), _) => "FIX sessions",
            (None, _) if self.ouch.is_some() => "OUCH sessions",
            (None, Some(_)) => "TCP",
            (None, None) => "no connection",
        };
        let (sender, target) = (&self.sender, &self.target);
        format!("{mode}{sender} to {target} over {way}")
    }

    /// What is left of this without the wire, for a mode that has none. Ids and all decisions are the
    /// same.
    pub fn unwired(&mut self, mode: OrderMode) {
        self.mode = Some(mode);
        if mode == OrderMode::Paper {
            self.paper.get_or_insert_default();
        }
        self.file = true;
        self.tcp = None;
        self.fix = None;
        self.ouch = None;
        // Who reads them may act on them.
        self.ring = None;
        self.json = self.json.filter(|json| json.to == JsonTo::File);
        // There is nobody to ask: what left is in the file.
        if self.in_doubt == InDoubt::Query {
            self.in_doubt = InDoubt::Possresend;
        }
    }

    /// What a simulated venue is to know of the feed, where the settings do not say it.
    pub fn see(&mut self, wire: Wire, has_queues: bool) {
        if let (Some(OrderMode::Paper), Some(paper)) = (self.mode, &mut self.paper) {
            let shows_orders =
                has_queues && matches!(wire, Wire::Itch | Wire::Lobster | Wire::Pitch);
            paper.queue.get_or_insert(match shows_orders {
                true => QueueShown::Orders,
                false => QueueShown::Levels,
            });
        }
    }

    /// What no single field can know.
    pub(super) fn check(&self, shards: usize, has_queues: bool) -> Result<(), String> {
        if let Some(paper) = &self.paper {
            if let Some(problem) = paper.config(1).problem() {
                return Err(format!("orders.paper: {problem}"));
            }
            if paper.queue == Some(QueueShown::Orders) && !has_queues {
                return Err(
                    "orders.paper.queue is `orders`, and with book.depth `l2` no queues are kept; \
                     want `levels`"
                        .into(),
                );
            }
        }
        if self.in_doubt == InDoubt::Query && self.tcp.is_none() && !self.has_session() {
            return Err(
                "orders.in_doubt is `query`, but there is no orders.tcp, orders.fix or orders.ouch to ask"
                    .into(),
            );
        }
        if let Some(ring) = &self.ring {
            ring.check()?;
        }
        if let Some(ouch) = &self.ouch {
            if self.file || self.tcp.is_some() || self.fix.is_some() {
                return Err(
                    "orders.ouch keeps what it sends itself: with it, want orders.file = false and no \
                     orders.tcp or orders.fix"
                        .into(),
                );
            }
            ouch.check(shards)?;
        }
        if let Some(fix) = &self.fix {
            if self.file || self.tcp.is_some() {
                return Err(
                    "orders.fix keeps what it sends itself: with it, want orders.file = false and \
                     no orders.tcp"
                        .into(),
                );
            }
            if shards > 1 && !self.sender.contains(SHARD) {
                return Err(format!(
                    "orders.fix: {shards} shards have a session each, and orders.sender is `{}` for \
                     all of them; want {SHARD} in it",
                    self.sender
                ));
            }
            fix.check()?;
        }
        let fix = FixConfig {
            sender: self.sender(shards - 1),
            target: self.target.clone(),
            sender_sub: None,
            account: None,
        };
        Encoder::new(&fix).map_err(|e| format!("orders: {e}"))?;
        if let Some(address) = &self.tcp
            && !is_host_and_port(address)
        {
            return Err(format!(
                "orders.tcp is `{address}`, want HOST:PORT (like \"127.0.0.1:9878\")"
            ));
        }
        Ok(())
    }
}

/// What stands for a shard's number.
const SHARD: &str = "{shard}";

impl Default for Orders {
    fn default() -> Orders {
        Orders {
            file: true,
            tcp: None,
            sender: "TAPELINE".into(),
            target: "OMS".into(),
            in_doubt: InDoubt::Possresend,
            mode: None,
            fix: None,
            ouch: None,
            paper: None,
            json: None,
            ring: None,
        }
    }
}
