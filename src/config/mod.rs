//! The one configuration: read once, checked as a whole, handed out as plain structs.
//!
//! Nothing below `src/` reads a flag, a file of settings or the environment, and every default
//! stands here.

mod parts;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::log::Retention;
use bus::oms::{Encoder, FixConfig};
use feed::protocol::Wire;
use feed::retransmit::AskRule;
use serde::{Deserialize, Serialize};

use crate::session::TradingDay;

pub use units::{Ratio, Size, Span, Speed};

/// All settings. `tapeline config show` prints them with their defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where packets come from.
    pub source: Source,
    /// Threads and rings.
    pub run: Run,
    /// What the program asks of the machine.
    pub host: Host,
    /// How event time moves.
    pub time: Time,
    /// The durable log.
    pub log: Log,
    /// What need not be replayed after a crash.
    pub checkpoint: Checkpoint,
    /// What books keep.
    pub book: Book,
    /// Tumbling event-time windows by name; the order of their names is their number.
    pub windows: Windows,
    /// The spread monitor.
    pub spread: Spread,
    /// The volatility regime.
    pub regime: Regime,
    /// The momentum strategy.
    pub momentum: Momentum,
    /// Checks before an order leaves.
    pub risk: Risk,
    /// Where orders go.
    pub orders: Orders,
    /// What a shard is told to hold at most.
    pub limits: Limits,
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Live only: the multicast groups of the lines, A first.
    pub lines: Vec<SocketAddrV4>,
    /// Live only: the address of the interface that joins the groups.
    pub interface: std::net::Ipv4Addr,
    /// Live only: the kernel's receive buffer for each line.
    pub receive_buffer: Size,
    /// Live only: stop, in order, when every session has said its end.
    pub end_at_session_end: bool,
    /// Captures only: take these destination ports; all when empty.
    pub ports: Vec<u16>,
    /// Captures only: the protocol, `itch`, `iex`, `lobster`, `dbn`, `mdp3`, `pitch`
    /// or `binance`; otherwise
    /// told by how the first file begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Trading date, `2026-01-05`; otherwise from the capture, the file's name, or today.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Reference data of instruments: a CSV with a column `symbol`, and of `tick`, `lot`, `currency`
    /// and `isin` those there are. Stands beside the symbols' results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<PathBuf>,
    /// The exchange's time zone.
    pub timezone: String,
    /// What to do about missing messages.
    pub gaps: Gaps,
    /// Live only: whom to ask for what no line brought.
    pub retransmit: Retransmit,
}

/// What to do about missing messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gaps {
    /// How long, in arrival time, to wait for another line to bring them. Where both lines bring
    /// packets, `reorder_packets` decides much sooner; this is for when one is silent.
    pub wait: Span,
    /// How many packets a line may be out of order: once every line has brought more than these
    /// behind the missing one, it is lost.
    pub reorder_packets: u32,
    /// How many packets to hold meanwhile.
    pub hold_packets: u32,
}

/// Asking for what no line brought, by MoldUDP64 requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retransmit {
    /// Whom, `127.0.0.1:26500`; nobody is asked otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddrV4>,
    /// How long something is missing on every line before it is asked for.
    pub after: Span,
    /// How long the first answer is waited for; twice as long each further time.
    pub timeout: Span,
    /// How many requests in a row may bring nothing. Then the messages are lost.
    pub tries: u32,
    /// The most requests in a second.
    pub requests_per_second: u32,
    /// Do not ask for more than so many messages in a row.
    pub messages_max: u64,
    /// Ask for what came before a session was joined, too. The books are whole then, but what
    /// these messages cause happens late, orders included.
    pub from_first: bool,
}

impl Retransmit {
    /// When to ask.
    pub fn rule(&self) -> AskRule {
        AskRule {
            after_ns: self.after.0.max(0) as u64,
            timeout_ns: self.timeout.0.max(0) as u64,
            tries_max: self.tries,
            interval_ns: (SECOND / i64::from(self.requests_per_second.max(1))) as u64,
        }
    }
}

/// Threads and rings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// How many shards.
    pub shards: usize,
    /// Which threads there are. Results are the same.
    pub model: Model,
    /// Cores: the reader's, then each shard's, or the one of all of them; chosen when empty.
    pub cpus: Vec<usize>,
    /// Events a ring holds.
    pub ring_events: usize,
    /// `max`, or a multiple of the recorded pace.
    pub speed: Speed,
}

impl Run {
    /// How many threads spin.
    pub fn hot_threads(&self) -> usize {
        match self.model {
            Model::Pipeline => self.shards + 1,
            Model::RunToCompletion => 1,
        }
    }
}

impl Model {
    /// As the settings have it.
    pub const fn name(self) -> &'static str {
        match self {
            Model::Pipeline => "pipeline",
            Model::RunToCompletion => "run-to-completion",
        }
    }
}

impl Durability {
    /// As the settings have it.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::Durable => "durable",
            Durability::Fast => "fast",
        }
    }
}

/// Which threads a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The reader has one and each shard has one, with a ring between: the most throughput.
    Pipeline,
    /// One thread receives, decodes, concludes and sends, packet by packet: the least latency,
    /// for what one core can take.
    RunToCompletion,
}

/// What the program asks of the machine. What is refused is said in one line, and done without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// Real-time priority (SCHED_FIFO) of the hot threads, 1 to 98; 0 for none. Only on isolated
    /// cores, and where the kernel does not stop real-time threads.
    pub fifo_priority: u8,
    /// Keep all memory from being moved to disk.
    pub lock_memory: bool,
    /// Pages for large arrays.
    pub huge_pages: HugePages,
}

/// Which pages large arrays are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HugePages {
    /// Ordinary ones.
    Off,
    /// Huge ones where the system has some.
    Advised,
    /// From those that were set aside (`vm.nr_hugepages`); `advised` where they do not suffice.
    Reserved,
}

/// How event time moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Time {
    /// How often, in event time, windows and hold times are looked at.
    pub tick: Span,
    /// How far an event may be behind the latest one.
    pub out_of_order: Span,
    /// How far a single event may be ahead of its neighbours.
    pub max_future: Span,
}

/// The durable log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// When orders leave: once what caused them is on the disk, or at once.
    pub durability: Durability,
    /// How records reach the disk.
    pub backend: Backend,
    /// Size of one segment file.
    pub segment: Size,
    /// Largest frame.
    pub frame: Size,
    /// Oldest record that may wait for its frame to fill; orders do not wait for it.
    pub commit_age: Span,
    /// Move complete segments, compressed, to this directory, or `s3://bucket/folder` in builds
    /// with the feature `object-store`; the log is read there as if it were here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Remove the oldest segments for good where a shard's log takes more, here and in the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Size>,
    /// Remove for good what was written longer ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_age: Option<Span>,
}

impl Log {
    /// What is moved and removed while a run goes on; `None` for nothing.
    pub fn retention(&self) -> Option<Retention> {
        let retention = Retention {
            bytes_max: self.keep.map(|size| size.0),
            age_max: self
                .keep_age
                .map(|span| Duration::from_nanos(span.0.max(0) as u64)),
            tier: self.tier.clone(),
        };
        (retention != Retention::default()).then_some(retention)
    }
}

/// What books keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Book {
    /// `l3`, or `l2` to do without the order in which orders are executed.
    pub depth: Depth,
}

/// What is kept of each price of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Its quantity and its orders, in the order in which they will be executed.
    L3,
    /// Its quantity and the number of its orders.
    L2,
}

/// Checkpoints: what need not be replayed after a crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// How often one is made of each shard, by a thread beside them; `0s` for never.
    pub every: Span,
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

/// When orders leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once what caused them is on the disk.
    Durable,
    /// At once; a crash may forget the causes of orders that left.
    Fast,
}

/// How records reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// io_uring where the kernel allows it, else plain.
    Auto,
    /// `pwrite` and `fdatasync` on a thread of their own.
    Plain,
}

/// Named windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Windows(pub BTreeMap<String, Window>);

/// One window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Only `tumbling` so far.
    #[serde(default)]
    pub kind: WindowKind,
    /// Its length.
    pub size: Span,
    /// How long after its end trades still count.
    #[serde(default = "no_span")]
    pub lateness: Span,
}

/// The kinds of window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// One after another without overlap.
    #[default]
    Tumbling,
}

/// The spread monitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spread {
    /// Raise when the spread is at least this ...
    pub threshold: Ratio,
    /// ... for this long.
    pub hold: Span,
    /// Clear when it is at most this ...
    pub clear: Ratio,
    /// ... for this long.
    pub clear_hold: Span,
}

/// The volatility regime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regime {
    /// How often the mid price is sampled.
    pub sample: Span,
    /// Half-life of the volatility estimate.
    pub half_life: Span,
    /// Half-life of the symbol's own long-run volatility, which the ratios refer to.
    pub baseline: Span,
    /// Samples before the first verdict.
    pub warmup_samples: u32,
    /// What `stressed` and `calm` are measured in.
    pub measure: Measure,
    /// Stressed above this.
    pub stressed: f64,
    /// Calm below this.
    pub calm: f64,
    /// How far back, as a share of the threshold, it must come to leave a state.
    pub hysteresis: f64,
    /// The long-run volatility is taken as at least this, per square root of a second.
    pub floor: Ratio,
}

/// What the thresholds of a regime are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Multiples of the symbol's own long-run volatility.
    Baseline,
    /// Basis points per square root of a second.
    Absolute,
}

/// The momentum strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Momentum {
    /// Whether it runs.
    pub enabled: bool,
    /// Over how long the micro-price's move is measured.
    pub lookback: Span,
    /// Smallest move ...
    pub threshold: Ratio,
    /// ... and smallest in multiples of what the symbol's volatility lets expect.
    pub sigmas: f64,
    /// Smallest imbalance at the touch, 0 to 1.
    pub imbalance: f64,
    /// Rest after an order.
    pub cooldown: Span,
    /// Shares of an order.
    pub qty: u32,
}

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
    /// Blocks every send while this file exists, from any process and over restarts.
    pub kill_file: Option<PathBuf>,
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
    /// SenderCompID (49).
    pub sender: String,
    /// TargetCompID (56).
    pub target: String,
    /// What to do with orders of which nobody knows, after a crash, whether they left.
    pub in_doubt: InDoubt,
}

/// What a shard is told to hold at most. Memory is taken as it is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Symbol numbers, from 0.
    pub symbols: usize,
    /// Live orders.
    pub orders: usize,
    /// Price levels with orders.
    pub levels: usize,
}

fn no_span() -> Span {
    Span(0)
}

const MILLI: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLI;

impl Default for Source {
    fn default() -> Source {
        Source {
            lines: Vec::new(),
            interface: std::net::Ipv4Addr::UNSPECIFIED,
            receive_buffer: Size(8 << 20),
            end_at_session_end: true,
            ports: Vec::new(),
            protocol: None,
            date: None,
            reference: None,
            timezone: "America/New_York".into(),
            gaps: Gaps::default(),
            retransmit: Retransmit::default(),
        }
    }
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps {
            wait: Span(SECOND),
            reorder_packets: 64,
            hold_packets: 1024,
        }
    }
}

impl Default for Retransmit {
    fn default() -> Retransmit {
        Retransmit {
            server: None,
            after: Span(2 * MILLI),
            timeout: Span(20 * MILLI),
            tries: 6,
            requests_per_second: 1_000,
            messages_max: 1_000_000,
            from_first: false,
        }
    }
}

impl Default for Run {
    fn default() -> Run {
        Run {
            shards: 1,
            model: Model::Pipeline,
            cpus: Vec::new(),
            ring_events: 65_536,
            speed: Speed::Max,
        }
    }
}

impl Default for Host {
    fn default() -> Host {
        Host {
            fifo_priority: 0,
            lock_memory: false,
            huge_pages: HugePages::Advised,
        }
    }
}

impl Default for Time {
    fn default() -> Time {
        Time {
            tick: Span(100 * MILLI),
            out_of_order: Span(0),
            max_future: Span(5 * SECOND),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            durability: Durability::Durable,
            backend: Backend::Auto,
            segment: Size(64 << 20),
            frame: Size(256 << 10),
            commit_age: Span(5 * MILLI),
            tier: None,
            keep: None,
            keep_age: None,
        }
    }
}

impl Default for Book {
    fn default() -> Book {
        Book { depth: Depth::L3 }
    }
}

impl Default for Checkpoint {
    fn default() -> Checkpoint {
        Checkpoint {
            every: Span(300 * SECOND),
        }
    }
}

impl Default for Windows {
    fn default() -> Windows {
        let window = |size: i64| Window {
            kind: WindowKind::Tumbling,
            size: Span(size),
            lateness: Span(200 * MILLI),
        };
        let named = [("1m", 60 * SECOND), ("1s", SECOND), ("5s", 5 * SECOND)];
        Windows(
            named
                .into_iter()
                .map(|(name, size)| (name.to_string(), window(size)))
                .collect(),
        )
    }
}

impl Default for Spread {
    fn default() -> Spread {
        Spread {
            threshold: Ratio(2_000),
            hold: Span(100 * MILLI),
            clear: Ratio(1_500),
            clear_hold: Span(0),
        }
    }
}

impl Default for Regime {
    fn default() -> Regime {
        Regime {
            sample: Span(SECOND / 4),
            half_life: Span(2 * SECOND),
            baseline: Span(30 * SECOND),
            warmup_samples: 20,
            measure: Measure::Baseline,
            stressed: 2.0,
            calm: 0.5,
            hysteresis: 0.2,
            floor: Ratio(20),
        }
    }
}

impl Default for Momentum {
    fn default() -> Momentum {
        Momentum {
            enabled: true,
            lookback: Span(SECOND),
            threshold: Ratio(500),
            sigmas: 3.0,
            imbalance: 0.5,
            cooldown: Span(5 * SECOND),
            qty: 100,
        }
    }
}

impl Default for Risk {
    fn default() -> Risk {
        Risk {
            qty_max: 5_000,
            notional_max: 250_000,
            collar: Ratio(30_000),
            orders_per_second: 5,
            kill_file: None,
        }
    }
}

impl Default for Orders {
    fn default() -> Orders {
        Orders {
            file: true,
            tcp: None,
            sender: "TAPELINE".into(),
            target: "OMS".into(),
            in_doubt: InDoubt::Possresend,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            symbols: 65_536,
            orders: 16 << 20,
            levels: 8 << 20,
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    /// Which file.
    pub path: PathBuf,
    /// In which line, from 1, where that is known.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let fail = |what: String| ConfigError {
            path: path.to_path_buf(),
            line: None,
            what,
        };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        Config::parse(&text, path)
    }

    /// Reads and checks a text that came from `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let fail = |line, what| ConfigError {
            path: path.to_path_buf(),
            line,
            what,
        };
        let config: Config = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            fail(line, with_suggestion(error.message()))
        })?;
        config.check().map_err(|what| fail(None, what))?;
        Ok(config)
    }

    /// What no single field can know.
    pub fn check(&self) -> Result<(), String> {
        let positive = |name: &str, value: i64| {
            if value > 0 {
                Ok(())
            } else {
                Err(format!("{name} must be above zero"))
            }
        };
        if !(1..=64).contains(&self.run.shards) {
            return Err(format!("run.shards is {}, want 1 to 64", self.run.shards));
        }
        let (named, threads) = (self.run.cpus.len(), self.run.hot_threads());
        if named != 0 && named != threads {
            let whose = match self.run.model {
                Model::Pipeline => "one for the reader and one for each shard",
                Model::RunToCompletion => "one thread does it all (run.model)",
            };
            return Err(format!(
                "run.cpus names {named} cores, want {threads}: {whose}"
            ));
        }
        if !(2..=1 << 26).contains(&self.run.ring_events) {
            return Err(format!(
                "run.ring_events is {}, want 2 to 2^26",
                self.run.ring_events
            ));
        }
        positive("time.tick", self.time.tick.0)?;
        positive("time.max_future", self.time.max_future.0)?;
        positive("log.commit_age", self.log.commit_age.0)?;
        if self.checkpoint.every.0 < 0 {
            return Err("checkpoint.every must not be below zero".into());
        }
        if self.checkpoint.every.0 == 0 && self.log.retention().is_some() {
            return Err(
                "log.tier, log.keep and log.keep_age need checkpoints: checkpoint.every is 0s"
                    .into(),
            );
        }
        if let Some(tier) = &self.log.tier
            && let Err(why) = bus::disk::tier::check(tier)
        {
            return Err(format!("log.tier cannot be used: {why}"));
        }
        if self.log.keep_age.is_some_and(|age| age.0 <= 0) {
            return Err("log.keep_age must be above zero".into());
        }
        if self.orders.in_doubt == InDoubt::Query && self.orders.tcp.is_none() {
            return Err("orders.in_doubt is `query`, but there is no orders.tcp to ask".into());
        }
        let segment = self.log.segment.0;
        if !(64 << 10..=4 << 30).contains(&segment) || !segment.is_multiple_of(4096) {
            return Err(format!(
                "log.segment is {}, want 64KiB to 4GiB",
                self.log.segment
            ));
        }
        let frame = self.log.frame.0;
        if !(8 << 10..=4 << 20).contains(&frame)
            || !frame.is_multiple_of(4096)
            || frame > segment / 4
        {
            return Err(format!(
                "log.frame is {}, want 8KiB to 4MiB and at most a quarter of log.segment",
                self.log.frame
            ));
        }
        if self.windows.0.is_empty() || self.windows.0.len() > 16 {
            return Err(format!("{} windows, want 1 to 16", self.windows.0.len()));
        }
        for (name, window) in &self.windows.0 {
            positive(&format!("windows.{name}.size"), window.size.0)?;
        }
        if let Some(problem) = self.suite().problem() {
            return Err(problem);
        }
        // The gate remembers as many times of orders for every symbol that there may be.
        if !(1..=200).contains(&self.risk.orders_per_second) {
            return Err(format!(
                "risk.orders_per_second is {}, want 1 to 200",
                self.risk.orders_per_second
            ));
        }
        if let Some(name) = &self.source.protocol
            && Wire::named(name).is_none()
        {
            let known = Wire::ALL.map(Wire::name).join(", ");
            return Err(format!("source.protocol is {name:?}, want one of {known}"));
        }
        if !(2..=1 << 16).contains(&self.limits.symbols) {
            return Err(format!(
                "limits.symbols is {}, want 2 to 65536",
                self.limits.symbols
            ));
        }
        for (name, value) in [
            ("orders", self.limits.orders),
            ("levels", self.limits.levels),
        ] {
            if !(1_024..1 << 26).contains(&value) {
                return Err(format!("limits.{name} is {value}, want 1024 to 2^26 - 1"));
            }
        }
        if self.host.fifo_priority > tuning::realtime::PRIORITY_MAX {
            return Err(format!(
                "host.fifo_priority is {}, want 0 (none) to {}",
                self.host.fifo_priority,
                tuning::realtime::PRIORITY_MAX
            ));
        }
        for (index, line) in self.source.lines.iter().enumerate() {
            if !line.ip().is_multicast() || line.port() == 0 {
                return Err(format!(
                    "source.lines: {line} is no multicast group and port"
                ));
            }
            if self.source.lines[..index].contains(line) {
                return Err(format!("source.lines names {line} twice"));
            }
        }
        let date = self.source.date.as_deref().unwrap_or("2000-01-01");
        TradingDay::new(date, &self.source.timezone).map_err(|e| format!("source: {e}"))?;
        let fix = FixConfig {
            sender: self.orders.sender.clone(),
            target: self.orders.target.clone(),
            sender_sub: None,
            account: None,
        };
        Encoder::new(&fix).map_err(|e| format!("orders: {e}"))?;
        if let Some(address) = &self.orders.tcp {
            let port = address
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
                return Err(format!(
                    "orders.tcp is `{address}`, want HOST:PORT (like \"127.0.0.1:9878\")"
                ));
            }
        }
        let retransmit = &self.source.retransmit;
        positive("source.retransmit.timeout", retransmit.timeout.0)?;
        for (name, value, max) in [
            ("tries", retransmit.tries, 100),
            (
                "requests_per_second",
                retransmit.requests_per_second,
                1_000_000,
            ),
        ] {
            if !(1..=max).contains(&value) {
                return Err(format!(
                    "source.retransmit.{name} is {value}, want 1 to {max}"
                ));
            }
        }
        if retransmit.after.0 < 0 {
            return Err("source.retransmit.after must not be below zero".into());
        }
        if let Some(server) = retransmit.server
            && (server.ip().is_multicast() || server.port() == 0)
        {
            return Err(format!(
                "source.retransmit.server: {server} is no address and port of one machine"
            ));
        }
        if self.source.gaps.hold_packets == 0 {
            return Err("source.gaps.hold_packets must be above zero".into());
        }
        Ok(())
    }

    /// What of it decides results, as text: two runs for which this is equal conclude the same.
    pub fn decisive(&self) -> String {
        let mut decisive = Config {
            time: self.time.clone(),
            windows: self.windows.clone(),
            spread: self.spread.clone(),
            regime: self.regime.clone(),
            momentum: self.momentum.clone(),
            risk: self.risk.clone(),
            ..Config::default()
        };
        // Holds orders back when they are sent, and decides none.
        decisive.risk.kill_file = None;
        // The text as it was before books had a choice, so that older states fit still.
        let text = decisive.show().replace("[book]\ndepth = \"l3\"\n\n", "");
        match self.book.depth {
            Depth::L3 => text,
            Depth::L2 => text + "[book]\ndepth = \"l2\"\n",
        }
    }

    /// The whole configuration as TOML that [`Config::parse`] reads back.
    pub fn show(&self) -> String {
        toml::to_string(self).expect("a configuration is always TOML")
    }
}

/// Adds "did you mean" to serde's message about an unknown key.
fn with_suggestion(message: &str) -> String {
    let message = message.trim().replace('\n', " ");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some((&wrong, known)) = quoted.split_first().filter(|_| is_unknown) else {
        return message;
    };
    let close = known
        .iter()
        .map(|&name| (strsim::damerau_levenshtein(wrong, name), name))
        .min()
        .filter(|&(distance, name)| distance <= 1 + name.len() / 3);
    match close {
        Some((_, name)) => format!("unknown key `{wrong}`; did you mean `{name}`?"),
        None => message.replace("unknown field", "unknown key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("t.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn defaults_are_valid_and_survive_their_own_text() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(
            Config::parse(&config.show(), Path::new("t.toml")).unwrap(),
            config
        );
    }

    #[test]
    fn states_of_full_books_do_not_fit_books_without_queues() {
        let l3 = Config::default();
        // As it was when books had no choice: states that were made then fit still.
        assert!(l3.show().contains("[book]") && !l3.decisive().contains("[book]"));
        let l2 = Config::parse("[book]\ndepth = \"l2\"\n", Path::new("t.toml")).unwrap();
        assert_eq!(l2.book.depth, Depth::L2);
        assert_ne!(l2.decisive(), l3.decisive());
        assert_eq!(
            l2.decisive().replace("[book]\ndepth = \"l2\"\n", ""),
            l3.decisive()
        );
        assert!(
            error("[book]\ndepth = \"l1\"").contains("line 2: unknown key `l1`; did you mean `l")
        );
    }

    #[test]
    fn a_typo_is_refused_with_its_line_and_a_suggestion() {
        assert_eq!(
            error("[spread]\nhold = \"1s\"\ntreshold = \"20bps\"\n"),
            "t.toml, line 3: unknown key `treshold`; did you mean `threshold`?"
        );
        assert_eq!(
            error("[wndows.a]\n"),
            "t.toml, line 1: unknown key `wndows`; did you mean `windows`?"
        );
        assert!(error("[log]\ndurability = \"durabel\"").contains("did you mean `durable`?"));
        assert!(error("[log]\nzzzz = 1").contains("unknown key `zzzz`, expected one of"));
    }

    #[test]
    fn a_number_without_unit_says_so() {
        let said = error("[time]\ntick = \"100\"\n");
        assert!(
            said.starts_with("t.toml, line 2: `100` is not a number with one of the units"),
            "{said}"
        );
        assert!(error("[time]\ntick = 100\n").contains("line 2"));
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert!(error("[run]\nshards = 0").contains("run.shards is 0"));
        assert!(
            error("[run]\nshards = 2\ncpus = [0, 1]").contains("run.cpus names 2 cores, want 3")
        );
        assert!(
            error("[run]\nmodel = \"run-to-completion\"\ncpus = [0, 1]")
                .contains("run.cpus names 2 cores, want 1: one thread does it all")
        );
        assert!(error("[spread]\nclear = \"30bps\"").contains("spread: clears at 30bps"));
        assert!(error("[windows.a]\nsize = \"0s\"").contains("windows.a.size"));
        assert!(error("[limits]\norders = 0").contains("limits.orders"));
        let retransmit = |text: &str| error(&format!("[source.retransmit]\n{text}"));
        assert!(retransmit("tries = 0").contains("source.retransmit.tries is 0, want 1 to 100"));
        assert!(retransmit("server = \"239.1.1.1:9\"").contains("no address and port of one"));
        assert!(retransmit("timeout = \"0s\"").contains("source.retransmit.timeout must be above"));
        assert!(retransmit("serve = \"\"").contains("did you mean `server`?"));
        assert!(error("[host]\nfifo_priority = 99").contains("host.fifo_priority is 99"));
        assert!(error("[regime]\ncalm = 3.0").contains("regime: calm below 3"));
        // Stores of objects are opened by the program, where it has them; nothing here does.
        let elsewhere = "log.tier cannot be used: this program was built without the feature";
        assert!(error("[log]\ntier = \"s3://cold/runs\"").contains(elsewhere));
    }
}
