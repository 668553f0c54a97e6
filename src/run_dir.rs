//! What a run directory holds, and how it comes to be whole.
//!
//! ```text
//! RUN/manifest.json        what ran, on what, with what result; rewritten when the run ends
//! RUN/config.toml          every setting the run had
//! RUN/log/shard-N/         the durable log: every event in, every signal and order out
//! RUN/log/part-P/          the same from where another number of shards took over
//! RUN/checkpoints/         states of shards, so that not all of the log must be replayed
//! RUN/savepoints/NAME/     a state of the whole run, for any number of shards
//! RUN/orders/shard-N.fix   the FIX messages as sent
//! RUN/orders/shard-N.reports, .session   what both sides of a FIX session said, and its numbers
//! RUN/tables/*.parquet     windows, alerts, regimes, signals, orders, books: made from the log
//! RUN/latch                what stops orders; with RUN/latch.audit, who turned it
//! RUN/limits               limits of orders together, if any; with RUN/limits.audit, who changed them
//! RUN/quarantine.bin       what was not understood, if anything
//! RUN/reference.csv        the reference data the run had, if any
//! RUN/symbols.json         what became of each symbol
//! RUN/digests.csv          a digest for each symbol and minute
//! RUN/index/               its books at some places of the log, once somebody asked for a book
//! RUN/latency/             HdrHistogram files
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bus::disk::{Directory, Files};
use bus::log::{Corruption, Damage, LogError, LogReader, Record};
use bus::oms::Latch;
use bus::oms::limits::{Key, Page};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{Config, Risk};
use crate::kill::LimitChange;
use crate::reference::{Instrument, Reference};
use crate::series;

/// In the directory of a log that was cut by hand.
const REPAIRED: &str = "REPAIRED";
/// Beside the logs of a part, once all of them are there.
const BEGUN: &str = "BEGUN";

/// What stops orders.
const LATCH: &str = "latch";
/// What limits them together.
const LIMITS: &str = "limits";

/// The manifest's format.
pub const SCHEMA: &str = "tapeline-manifest/1";

/// Of runs by versions that did not say it.
fn quantity() -> String {
    "quantity".into()
}

/// What ran, on what, with what result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// How far it came.
    pub state: State,
    /// The program's version.
    pub version: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// How long it ran, all its parts together, in seconds.
    pub elapsed_s: f64,
    /// `replay` or `live`.
    pub mode: String,
    /// What it read.
    pub inputs: Vec<Input>,
    /// The trading date.
    pub date: String,
    /// The exchange's time zone.
    pub timezone: String,
    /// The date's midnight there, ns since 1970.
    pub midnight_ns: i64,
    /// What a whole quantity is one of: `shares`, `contracts`, `units`, or `quantity` where that is not
    /// known.
    #[serde(default = "quantity")]
    pub unit: String,
    /// What was asked of a replay.
    pub options: Options,
    /// SHA-256 of `config.toml`.
    pub config_sha256: String,
    /// With how many shards, from where on. Never empty.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Where the log no longer reaches back to the beginning: the first event, ns since 1970, from
    /// which on tables and digests are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_from_ns: Option<i64>,
    /// How often it was gone on with.
    #[serde(default)]
    pub resumed: u32,
    /// Whether the run was begun with a latch of its own, so that a missing one was taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latch: bool,
    /// For whom orders are; empty in runs of versions that did not say so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub addressee: String,
    /// How records reach the disk.
    pub log_backend: String,
    /// The machine.
    pub host: BTreeMap<String, String>,
    /// What was counted.
    pub counts: Counts,
    /// The lines, with their counts.
    pub lines: Vec<Line>,
    /// Messages that no line brought: first sequence and count.
    pub gaps: Vec<Gap>,
    /// The sessions that a live run followed, by their names of ten letters: the number of the first message
    /// that it did not see. Not there while it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sessions: BTreeMap<String, u64>,
    /// What was asked for because no line brought it, where that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retransmission: Option<Retransmission>,
    /// What did not hold of books, where `book.check` looks, and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub breaches: BTreeMap<String, u64>,
    /// The first of them in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breach_examples: Vec<String>,
    /// That nothing of the input is between the times that were asked for, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<String>,
    /// Symbols that the settings name and the input does not have, by the key that names them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, Vec<String>>,
    /// How books were made whole after a loss, where that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshots>,
    /// What was left out of books because of `[limits]`, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Full>,
    /// What was kept of what was not understood, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantined>,
    /// What was wrong, and how often.
    pub anomalies: BTreeMap<String, u64>,
    /// The first of them in words.
    pub anomaly_examples: Vec<String>,
    /// SHA-256 over `digests.csv`: equal for equal results.
    pub digest: String,
}

/// A part of a run, with logs of its own: another begins where the number of shards changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// How many shards it has.
    pub shards: usize,
    /// For each shard of the part before, the `seq` of the last event that counts there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<u64>,
    /// The savepoint that it begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub savepoint: Option<String>,
}

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs, or was killed: `tapeline replay --resume` goes on with it.
    Running,
    /// It was stopped in order before the input ended.
    Stopped,
    /// It came to the end of its input.
    Complete,
}

/// One input file, or one multicast group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Input {
    /// Path or address.
    pub path: PathBuf,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the file as it lies on the disk; empty for the network.
    pub sha256: String,
    /// What it is, in words.
    pub format: String,
}

/// What was asked of a replay beyond the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Only these symbols.
    pub symbols: Vec<String>,
    /// Conclude nothing before, ns since 1970.
    pub from_ns: Option<i64>,
    /// Stop at, ns since 1970.
    pub to_ns: Option<i64>,
    /// By how much all times are later than the input says: it was taken as that of another day.
    #[serde(default, skip_serializing_if = "is_zero_ns")]
    pub moved_ns: i64,
}

/// What joins counted beside their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinCounts {
    /// Left records that met nothing.
    pub unmatched: u64,
    /// Records that came after the watermark had passed their time.
    pub late: u64,
    /// Records that were one too many.
    pub dropped: u64,
    /// Records beyond the most that one left record meets.
    pub beyond: u64,
}

impl JoinCounts {
    fn is_nothing(&self) -> bool {
        *self == JoinCounts::default()
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Packets read.
    pub packets: u64,
    /// Payload bytes in them.
    pub bytes: u64,
    /// Messages, each counted once whatever lines brought it.
    pub messages: u64,
    /// By the protocol's message type.
    pub by_type: BTreeMap<String, u64>,
    /// Events that shards took in; those for all symbols count once for each shard.
    pub events: u64,
    /// Messages lost for good.
    pub lost_messages: u64,
    /// Symbols whose book lost messages.
    pub stale_symbols: u64,
    /// Windows closed.
    pub windows: u64,
    /// Trades too late for their window.
    pub late: u64,
    /// Spread alerts raised and cleared.
    pub alerts: u64,
    /// The same of rules, of declared monitors, of patterns and of instruments.
    #[serde(default)]
    pub rule_alerts: u64,
    /// Partial matches of patterns that were one too many.
    #[serde(default)]
    pub dropped_matches: u64,
    /// Rows of joins.
    #[serde(default, skip_serializing_if = "is_none")]
    pub joins: u64,
    /// What joins counted beside.
    #[serde(default, skip_serializing_if = "JoinCounts::is_nothing")]
    pub join_counts: JoinCounts,
    /// Changes of the best prices of instruments.
    #[serde(default, skip_serializing_if = "is_none")]
    pub best: u64,
    /// What models did in this process, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelCounts>,
    /// Changes of regime.
    pub regimes: u64,
    /// Signals of the strategy `momentum`; each asks for an order.
    pub signals: u64,
    /// Orders that were asked for, by `momentum`, rules and strategies together: those that the risk gate
    /// passed, and those that it refused.
    #[serde(default)]
    pub decisions: u64,
    /// Orders the risk gate passed.
    pub orders: u64,
    /// Orders it refused.
    pub rejects: u64,
    /// Orders handed to the peer.
    pub sent: u64,
    /// Orders the kill flag held back.
    pub killed: u64,
    /// Orders sent again after a crash, flagged as possible repeats.
    pub resent: u64,
    /// Orders that a session over FIX was asked for again and did not repeat: the peer has none of them.
    #[serde(default)]
    pub withheld: u64,
    /// Orders that left through a session, of which the peer had said nothing at the end.
    #[serde(default)]
    pub unanswered: u64,
    /// Orders that a limit of orders together refused, or the throttle, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
}

/// What a model did in one process. Times are of this machine, and no result has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCounts {
    /// Inferences.
    pub runs: u64,
    /// Those above the budget, where there is one.
    pub over_budget: u64,
    /// The longest, where there is a budget.
    pub longest_ns: u64,
    /// Those that ended without a number.
    pub failed: u64,
}

/// A line's counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Line {
    pub name: String,
    pub packets: u64,
    pub messages: u64,
    pub duplicates: u64,
    pub gap_messages: u64,
    pub filled_by_other: u64,
    pub lost: u64,
    /// Packets that the kernel dropped because the reader did not keep up.
    #[serde(default)]
    pub kernel_drops: u64,
}

/// Messages that no line brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Sequence number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What was asked for because no line brought it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retransmission {
    /// Requests.
    pub requests: u64,
    /// Those of them that the system did not take.
    pub unsent: u64,
    /// Messages in them, each counted once.
    pub asked: u64,
    /// Messages that an answer brought before any line did.
    pub recovered: u64,
    /// Messages that were lost all the same.
    pub given_up: u64,
}

/// How books were made whole after a loss. Of the last time that the run was gone on with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshots {
    /// How often all books became stale, a beginning within a session and an interruption included.
    pub losses: u64,
    /// Snapshots that came.
    pub came: u64,
    /// How often asking brought none.
    pub failed: u64,
    /// How often more came meanwhile than `source.snapshot.buffer`.
    pub overflows: u64,
    /// Whether nobody was asked any more at the end, since too many attempts in a row failed.
    pub given_up: bool,
    /// How often all books were made whole.
    pub heals: u64,
    /// The last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastHeal>,
}

/// Books that were made whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastHeal {
    /// The first message of the feed behind it.
    pub sequence: u64,
    /// When that was: the highest event time before, ns since 1970.
    pub ts_event_ns: i64,
    /// The number of its event in the log.
    pub seq: u64,
    /// How many symbols are whole since.
    pub symbols: u64,
    /// How many orders they have.
    pub orders: u64,
}

/// What was left out for want of room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Full {
    /// Events that found no room: counted as `full`.
    pub events: u64,
    /// `limits.symbols`: numbers from here on have no book.
    pub symbols: usize,
    /// `limits.orders` of a shard.
    pub orders: usize,
    /// `limits.levels` of a shard.
    pub levels: usize,
}

impl Full {
    /// In a sentence.
    pub fn text(&self) -> String {
        format!(
            "{} events found no room and are in no book: limits.symbols is {}, limits.orders {}, \
             limits.levels {}; the books that lack them are stale or missing",
            crate::term::count(self.events),
            self.symbols,
            self.orders,
            self.levels
        )
    }
}

/// What was kept of what was not understood.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Records in `quarantine.bin`.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What `source.quarantine.max_bytes` left no room for.
    pub left_out: u64,
}

/// What became of one symbol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SymbolResult {
    /// Its name; `#123` where the feed did not say it.
    pub symbol: String,
    /// Its number in this run.
    pub number: u32,
    /// Which shard had it.
    pub shard: usize,
    /// Whether messages that may have been its own were lost.
    pub stale: bool,
    /// How often its messages did not fit its book.
    pub evidence: u32,
    /// Prints that count.
    pub trades: u64,
    /// Quantities, here and in the tables, are in units of 10 to the power of minus this; 0 for shares.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub qty_decimals: u8,
    /// Their shares.
    pub volume: i64,
    /// Their notional in 1e-9, as text because it passes 64 bits; with a point only where quantities
    /// have decimals and it does not come out even.
    pub notional_e9: String,
    /// VWAP of the session.
    pub vwap: Option<String>,
    /// Last price.
    pub last: Option<String>,
    /// Volatility regime at the end.
    pub regime: String,
    /// What the reference data say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Instrument>,
    /// Best bid and ask with sizes, at the end.
    pub bid: Option<(String, i64)>,
    #[allow(missing_docs)]
    pub ask: Option<(String, i64)>,
}

fn is_zero_ns(number: &i64) -> bool {
    *number == 0
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl Piece {
    /// Its records, as far as they count.
    pub fn records(
        &self,
    ) -> Result<impl Iterator<Item = Result<(u64, Record), LogError>> + use<>, LogError> {
        let seq_end = self.seq_end;
        let counts = move |item: &Result<(u64, Record), LogError>| match item {
            Ok((_, Record::Event(event))) => event.seq < seq_end,
            Ok((_, Record::Signal(signal))) => signal.seq < seq_end,
            Err(_) => true,
        };
        Ok(LogReader::open(&self.dir)?.filter(counts))
    }
}

/// The log of one shard of one part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which part.
    pub part: usize,
    /// Which shard of it.
    pub shard: usize,
    /// Of how many.
    pub shards: usize,
    /// Where it is.
    pub dir: PathBuf,
    /// Events from this `seq` on, and what they caused, do not count: the part after has them.
    pub seq_end: u64,
}

fn logs_of_part(folder: PathBuf, part: usize) -> PathBuf {
    match part {
        0 => folder,
        _ => folder.join(format!("part-{part}")),
    }
}

fn of_part(folder: PathBuf, part: usize, shard: usize) -> PathBuf {
    logs_of_part(folder, part).join(format!("shard-{shard}"))
}

/// A run directory.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the directory; refuses one that holds anything.
    pub fn create(path: &Path) -> Result<RunDir, String> {
        let fail = |e: io::Error| format!("{}: {e}", path.display());
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(format!(
                        "{}: the directory exists and is not empty; name another, or go on with a \
                         run by --resume",
                        path.display()
                    ));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path).map_err(fail)?
            }
            Err(e) => return Err(fail(e)),
        }
        Ok(RunDir {
            path: path.to_path_buf(),
        })
    }

    /// A directory that is there already, whatever it holds.
    pub fn at(path: &Path) -> RunDir {
        RunDir {
            path: path.to_path_buf(),
        }
    }

    /// A directory that holds a run.
    pub fn open(path: &Path) -> Result<(RunDir, Manifest), String> {
        let dir = RunDir::at(path);
        let file = dir.manifest_path();
        let text = fs::read_to_string(&file).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound if path.join(series::FILE).exists() => format!(
                "{}: holds several runs, each in a folder of its own: name one of those",
                path.display()
            ),
            io::ErrorKind::NotFound => format!(
                "{}: not a run directory: there is no such file (a run that was killed before \
                     it wrote one has sent nothing: delete its directory and begin it anew)",
                file.display()
            ),
            _ => format!("{}: not a run directory: {e}", file.display()),
        })?;
        let mut manifest: Manifest = serde_json::from_str(&text)
            .map_err(|e| format!("{}, line {}: {e}", file.display(), e.line()))?;
        if manifest.schema != SCHEMA {
            return Err(format!(
                "{}: schema `{}`, want `{SCHEMA}`",
                file.display(),
                manifest.schema
            ));
        }
        if manifest.parts.is_empty() {
            // Runs of version 0.1 had one part, and did not say so.
            let shards = dir.read_config()?.run.shards;
            manifest.parts.push(Part {
                shards,
                ..Part::default()
            });
        }
        Ok((dir, manifest))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `manifest.json`
    pub fn manifest_path(&self) -> PathBuf {
        self.path.join("manifest.json")
    }

    /// `config.toml`
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `log/shard-N`, or `log/part-P/shard-N` for parts after the first.
    pub fn log_dir(&self, part: usize, shard: usize) -> PathBuf {
        of_part(self.path.join("log"), part, shard)
    }

    /// `latch`
    pub fn latch_path(&self) -> PathBuf {
        self.path.join(LATCH)
    }

    /// Makes a latch that stops nothing, unless there is one.
    pub fn make_latch(&self) -> Result<(), String> {
        match self.latch_path().exists() {
            true => Ok(()),
            false => self.write_whole(LATCH, &Latch::fresh()),
        }
    }

    /// `limits`
    pub fn limits_path(&self) -> PathBuf {
        self.path.join(LIMITS)
    }

    /// Makes the limits of orders together as these settings have them, unless they are there.
    pub fn make_limits(&self, risk: &Risk) -> Result<(), String> {
        if !risk.is_guarded() || self.limits_path().exists() {
            return Ok(());
        }
        self.write_limits(as_set(risk))
    }

    /// Makes the limits anew, in place of what is there: as these settings have them, with all that
    /// persons changed since, by the record. Says how many changes those are.
    pub fn remake_limits(&self, risk: &Risk) -> Result<usize, String> {
        let changes = LimitChange::all(&self.limits_path())?;
        self.write_limits(as_set(risk).chain(changes.iter().cloned()))?;
        Ok(changes.len())
    }

    fn write_limits(&self, limits: impl Iterator<Item = (Key, Option<u64>)>) -> Result<(), String> {
        // Whole before it has its name: a run that is killed here has none, or all.
        let beside = format!("{LIMITS}.begun");
        self.write_whole(&beside, &Page::fresh())?;
        let path = self.path.join(&beside);
        let page = Page::open(&path).map_err(|error| error.to_string())?;
        for (key, value) in limits {
            let set = page.set(&key, value);
            set.map_err(|error| error.to_string())?;
        }
        drop(page);
        fs::rename(&path, self.limits_path())
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|e| format!("{}: {e}", self.limits_path().display()))
    }

    /// `quarantine.bin`
    pub fn quarantine_path(&self) -> PathBuf {
        self.path.join("quarantine.bin")
    }

    /// `checkpoints/shard-N`, or `checkpoints/part-P/shard-N`.
    pub fn checkpoints_dir(&self, part: usize, shard: usize) -> PathBuf {
        of_part(self.path.join("checkpoints"), part, shard)
    }

    /// Notes that all shards of a part have their logs. Nothing is taken in before, so that a log
    /// which is missing from then on was lost.
    pub fn mark_begun(&self, part: usize) -> Result<(), String> {
        let folder = logs_of_part(self.path.join("log"), part);
        match folder.join(BEGUN).exists() {
            true => Ok(()),
            false => write_whole(&folder, BEGUN, b""),
        }
    }

    /// Finds the first log of a part that is gone although the part had begun.
    pub fn check_logs(&self, part: usize, shards: usize) -> Result<(), LogError> {
        (0..shards).try_for_each(|shard| self.check_log(part, shard))
    }

    /// The same of one shard.
    pub fn check_log(&self, part: usize, shard: usize) -> Result<(), LogError> {
        let dir = self.log_dir(part, shard);
        let is_begun = logs_of_part(self.path.join("log"), part)
            .join(BEGUN)
            .exists();
        if is_begun && (!dir.is_dir() || Directory::new(&dir).list()?.is_empty()) {
            return Err(LogError::Corrupt(Box::new(Corruption {
                path: dir,
                segment: 0,
                offset: 0,
                cell: 0,
                damage: Damage::Gone,
            })));
        }
        Ok(())
    }

    /// Notes that a log was cut, and that orders caused by events up to `seq` may have left
    /// without its knowing.
    pub fn mark_repaired(&self, part: usize, shard: usize, seq: u64) -> Result<(), String> {
        let seq = seq.max(self.repaired(part, shard)?);
        write_whole(
            &self.log_dir(part, shard),
            REPAIRED,
            format!("{seq}\n").as_bytes(),
        )
    }

    /// Orders caused by events up to this `seq` may have left without the log's knowing; 0 of a
    /// log that was never cut.
    pub fn repaired(&self, part: usize, shard: usize) -> Result<u64, String> {
        let path = self.log_dir(part, shard).join(REPAIRED);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let number = text.trim().parse();
                number.map_err(|_| format!("{}: want a number, found {text:?}", path.display()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }

    /// `savepoints`
    pub fn savepoints_dir(&self) -> PathBuf {
        self.path.join("savepoints")
    }

    /// The logs that a run's results are made from, part by part and in each by shard.
    pub fn pieces(&self, parts: &[Part]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (part, Part { shards, .. }) in parts.iter().enumerate() {
            let after = parts.get(part + 1);
            pieces.extend((0..*shards).map(|shard| Piece {
                part,
                shard,
                shards: *shards,
                dir: self.log_dir(part, shard),
                seq_end: after.map_or(u64::MAX, |after| after.cut[shard].saturating_add(1)),
            }));
        }
        pieces
    }

    /// `positions`: how far a live run came in its session.
    pub fn positions_path(&self) -> PathBuf {
        self.path.join("positions")
    }

    /// `orders/shard-N.reports`: what both sides of a FIX session said of orders.
    pub fn reports_path(&self, shard: usize) -> PathBuf {
        self.path
            .join("orders")
            .join(format!("shard-{shard}.reports"))
    }

    /// `orders/shard-N.session`: a FIX session's numbers and messages, where the settings name no
    /// other place.
    pub fn session_path(&self, shard: usize) -> PathBuf {
        self.path
            .join("orders")
            .join(format!("shard-{shard}.session"))
    }

    /// `orders/shard-N.jsonl`
    pub fn json_path(&self, shard: usize) -> PathBuf {
        self.path
            .join("orders")
            .join(format!("shard-{shard}.jsonl"))
    }

    /// `orders/shard-N.ring`, where the settings name no other folder.
    pub fn ring_path(&self, shard: usize) -> PathBuf {
        self.path.join("orders").join(format!("shard-{shard}.ring"))
    }

    /// `orders/shard-N.fix`
    pub fn orders_path(&self, shard: usize) -> PathBuf {
        self.path.join("orders").join(format!("shard-{shard}.fix"))
    }

    /// `tables`
    pub fn tables_dir(&self) -> PathBuf {
        self.path.join("tables")
    }

    /// `latency`
    pub fn latency_dir(&self) -> PathBuf {
        self.path.join("latency")
    }

    /// Writes the manifest, so that a crash leaves the old one or the new one.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), String> {
        // Only a path that is not UTF-8 has no JSON.
        let text = serde_json::to_string_pretty(manifest)
            .map_err(|e| format!("{}: {e}", self.manifest_path().display()))?;
        self.write_whole("manifest.json", format!("{text}\n").as_bytes())
    }

    /// Reads the configuration the run had.
    pub fn read_config(&self) -> Result<Config, String> {
        Config::read(&self.config_path()).map_err(|e| e.to_string())
    }

    /// `reference.csv`
    pub fn reference_path(&self) -> PathBuf {
        self.path.join("reference.csv")
    }

    /// Reads the reference data that the run began with; none if it had none.
    pub fn read_reference(&self) -> Result<Reference, String> {
        let path = self.reference_path();
        match path.exists() {
            true => Reference::read(&path).map(|(reference, _)| reference),
            false => Ok(Reference::default()),
        }
    }

    /// Writes what became of the symbols.
    pub fn write_symbols(&self, symbols: &[SymbolResult]) -> Result<(), String> {
        let mut text = String::from("[\n");
        for (index, symbol) in symbols.iter().enumerate() {
            text.push_str(&serde_json::to_string(symbol).expect("always JSON"));
            text.push_str(if index + 1 < symbols.len() {
                ",\n"
            } else {
                "\n"
            });
        }
        text.push_str("]\n");
        self.write_whole("symbols.json", text.as_bytes())
    }

    /// Reads what became of the symbols.
    pub fn read_symbols(&self) -> Result<Vec<SymbolResult>, String> {
        let path = self.path.join("symbols.json");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text)
            .map_err(|e| format!("{}, line {}: {e}", path.display(), e.line()))
    }

    /// Writes `digests.csv`; returns the digest over it.
    pub fn write_digests(&self, digests: &Digests) -> Result<String, String> {
        let text = digests.to_csv();
        self.write_whole("digests.csv", text.as_bytes())?;
        Ok(sha256(text.as_bytes()))
    }

    /// Reads `digests.csv`.
    pub fn read_digests(&self) -> Result<Digests, String> {
        let path = self.path.join("digests.csv");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Digests::from_csv(&text)
            .map_err(|(line, what)| format!("{}, line {line}: {what}", path.display()))
    }

    /// Writes a file through a temporary one and a rename, both synced.
    pub fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        write_whole(&self.path, name, bytes)
    }

    /// Likewise, and only its owner may read it.
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        write_for(&self.path, name, bytes, Readers::Owner)
    }

    /// Writes `config.toml`.
    pub fn write_config(&self, config: &Config) -> Result<(), String> {
        write_config(&self.path, config)
    }
}

/// Writes the settings into a folder, as `config.toml`; only their owner may read them where a password is
/// among them.
pub fn write_config(folder: &Path, config: &Config) -> Result<(), String> {
    let readers = match config.has_password() {
        true => Readers::Owner,
        false => Readers::All,
    };
    write_for(folder, "config.toml", config.show().as_bytes(), readers)
}

/// Who may read a file: all that the process's mask lets, or its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    All,
    Owner,
}

/// Writes a file of a folder through a temporary one and a rename, both synced.
pub fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    write_for(folder, name, bytes, Readers::All)
}

fn write_for(folder: &Path, name: &str, bytes: &[u8], readers: Readers) -> Result<(), String> {
    let path = folder.join(name);
    let temporary = folder.join(format!(".{name}.new"));
    let write = || -> io::Result<()> {
        if let Some(errno) = bus::failpoint!(errno "file-fails") {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let mut file = match readers {
            Readers::All => File::create(&temporary)?,
            Readers::Owner => {
                // What a crash has left may be for all.
                match fs::remove_file(&temporary) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    Ok(()) | Err(_) => {}
                }
                let mut options = File::options();
                options.write(true).create_new(true).mode(0o600);
                options.open(&temporary)?
            }
        };
        file.write_all(bytes)?;
        bus::failpoint!("file-written");
        file.sync_all()?;
        bus::failpoint!("file-synced");
        fs::rename(&temporary, &path)?;
        bus::failpoint!("file-renamed");
        File::open(folder)?.sync_all()
    };
    write().map_err(|e| format!("{}: {e}", path.display()))
}

/// The digest of each symbol's minutes, by name and minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests(pub BTreeMap<(String, u32), (u64, u64)>);

impl Digests {
    /// Adds one symbol's minute. A minute told twice keeps the later, which includes the earlier.
    pub fn add(&mut self, symbol: &str, digest: &bus::signal::Digest) {
        let entry = self
            .0
            .entry((symbol.to_string(), digest.minute))
            .or_default();
        *entry = (entry.0 + digest.events, digest.value);
    }

    fn to_csv(&self) -> String {
        let mut text = String::from("symbol,minute,events,digest\n");
        for ((symbol, minute), (events, value)) in &self.0 {
            let (h, m) = (minute / 60, minute % 60);
            text.push_str(&format!("{symbol},{h:02}:{m:02},{events},{value:016x}\n"));
        }
        text
    }

    fn from_csv(text: &str) -> Result<Digests, (usize, String)> {
        let mut digests = Digests::default();
        for (index, line) in text.lines().enumerate().skip(1) {
            let bad = || {
                (
                    index + 1,
                    format!("`{line}` is not symbol,minute,events,digest"),
                )
            };
            let fields: Vec<&str> = line.split(',').collect();
            let [symbol, minute, events, value] = fields[..] else {
                return Err(bad());
            };
            let (h, m) = minute.split_once(':').ok_or_else(bad)?;
            let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
            let minute = (number(h)? * 60 + number(m)?) as u32;
            let value = u64::from_str_radix(value, 16).map_err(|_| bad())?;
            digests
                .0
                .insert((symbol.to_string(), minute), (number(events)?, value));
        }
        Ok(digests)
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// Limits of orders together as settings have them.
fn as_set(risk: &Risk) -> impl Iterator<Item = (Key, Option<u64>)> {
    let limits = risk.together().into_iter();
    limits.map(|(key, value)| (key, Some(value)))
}

/// SHA-256 of a file and its size.
pub fn sha256_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hex(hash.finalize()), total));
        }
        hash.update(&buffer[..count]);
        total += count as u64;
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The machine, for a manifest.
pub fn host() -> BTreeMap<String, String> {
    let host = tuning::host::Host::read();
    [
        ("cpu", host.cpu),
        ("cores", host.cores.to_string()),
        ("kernel", host.kernel),
        ("clocksource", host.clocksource),
        ("governor", host.governor),
        ("huge_pages", host.huge_pages),
        ("isolated_cpus", host.isolated_cpus),
        ("virtual_machine", host.virtual_machine.to_string()),
        ("memory_mib", host.memory_mib.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_string(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_survive_their_text() {
        let mut digests = Digests::default();
        let digest = |minute, events, value| bus::signal::Digest {
            value,
            events,
            minute,
        };
        digests.add("MSFT", &digest(571, 3, u64::MAX));
        digests.add("AAPL", &digest(570, 2, 1));
        digests.add("AAPL", &digest(570, 5, 2));
        let text = digests.to_csv();
        assert_eq!(
            text,
            "symbol,minute,events,digest\n\
             AAPL,09:30,7,0000000000000002\n\
             MSFT,09:31,3,ffffffffffffffff\n"
        );
        assert_eq!(Digests::from_csv(&text), Ok(digests));
        assert_eq!(Digests::from_csv("head\nAAPL,09:30,7").unwrap_err().0, 2);
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let path = std::env::temp_dir().join(format!("tapeline-run-{}", std::process::id()));
        let dir = RunDir::create(&path).unwrap();
        assert!(RunDir::create(&path).is_ok(), "an empty one is fine");
        dir.write_whole("x", b"1").unwrap();
        let error = RunDir::create(&path).unwrap_err();
        assert!(error.contains("is not empty"), "{error}");
        assert!(
            RunDir::open(&path)
                .unwrap_err()
                .contains("not a run directory")
        );
        fs::remove_dir_all(&path).unwrap();
    }
}
