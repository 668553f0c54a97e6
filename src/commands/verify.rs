//! `tapeline verify`

mod checkpoints;
mod divergence;
mod lobster;
mod mbp10;
mod reference;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use analytics::{Policy, Shape};
use book::{Books, BooksConfig};
use bus::log::{LogReader, Record};
use bus::{Kind, Level, Price, Qty, Side, Ts};
use exchange::{Depth, SymbolTruth, Truth};
use serde_json::Value;
use tapeline::config::Config;
use tapeline::run_dir::{Manifest, Piece, RunDir, State, SymbolResult};
use tapeline::series::Series;
use tapeline::session::TradingDay;
use tapeline::tables;
use tapeline::term::{Style, count};

use super::{Failure, Talk, damage, series};
use crate::cli;

/// Prices of the truth are in 1e-4, ours in 1e-9.
const E4_TO_E9: i64 = 100_000;
/// The most orders and levels that books can be told to hold.
const HELD_MAX: u32 = (1 << 26) - 1;
/// Differences shown.
const SHOWN_MAX: usize = 10;

/// What was compared, and what differed.
#[derive(Debug, Default)]
pub struct Verified {
    pub symbols: usize,
    pub levels: usize,
    pub trades: u64,
    pub windows: usize,
    /// Windows of the truth that the run was not told to have.
    pub undeclared: BTreeSet<&'static str>,
    /// Symbol, and in what it differs.
    pub differences: Vec<(String, String)>,
    /// Symbols that differ and are not marked stale.
    pub unmarked: BTreeSet<String>,
    /// Symbols marked stale.
    pub marked: BTreeSet<String>,
    /// Symbols whose messages were lost on all lines, by the truth.
    pub lost_symbols: Vec<String>,
    /// What the truth says and the run cannot be held against, and why, where that is not plain.
    pub not_compared: Vec<String>,
    /// Which part of the input is compared, where it is not all of it.
    pub partial: Option<String>,
}

impl Verified {
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }
}

pub fn verify(args: &cli::Verify, talk: Talk) -> Result<(), Failure> {
    match args.against.to_str() {
        Some("reference") if Series::is_at(&args.run) => each_against_reference(&args.run, talk),
        _ if Series::is_at(&args.run) => Err(Failure::usage(format!(
            "{}: holds several runs, and what they are held against is of one session: name one of \
             them, or `--against reference` for all",
            args.run.display()
        ))),
        Some("reference") => against_reference(&args.run, talk),
        Some("snapshots") => {
            let run = Whole::open(&args.run, talk)?;
            let outcome = snapshots::compare(&run.manifest, &run.pieces, &run.config)?;
            divergence::report(&outcome, &run, talk)
        }
        Some(text) if text.starts_with("lobster:") => {
            let folder = Path::new(&text["lobster:".len()..]);
            let run = Whole::open(&args.run, talk)?;
            let outcome = lobster::compare(folder, &run.pieces, &run.config, talk)?;
            divergence::report(&outcome, &run, talk)
        }
        Some(text) if text.starts_with("mbp10:") => {
            let file = Path::new(&text["mbp10:".len()..]);
            let run = Whole::open(&args.run, talk)?;
            let outcome = mbp10::compare(file, &run.pieces, &run.config)?;
            divergence::report(&outcome, &run, talk)
        }
        _ => against_file(args, talk),
    }
}

/// All runs of a folder of several, to the first that is not as its reference.
fn each_against_reference(path: &Path, talk: Talk) -> Result<(), Failure> {
    let series = Series::open(path).map_err(Failure::usage)?;
    for leg in &series.runs {
        if leg.done.is_none() {
            return Err(series::unfinished(path, leg));
        }
        if !talk.json {
            talk.data(&format!("{} ", Style::stdout().bold(&leg.name)))?;
        }
        against_reference(&path.join(&leg.name), talk).map_err(|failure| failure.of(&leg.name))?;
    }
    Ok(())
}

/// A run of which the log has everything.
struct Whole {
    dir: RunDir,
    manifest: Manifest,
    pieces: Vec<Piece>,
    config: Config,
    day: TradingDay,
}

impl Whole {
    /// Which part of its input is compared, where that is not all of it.
    fn partial(&self) -> Option<String> {
        let options = &self.manifest.options;
        let mut parts = Vec::new();
        if !options.symbols.is_empty() {
            parts.push(format!(
                "the symbols {} (--symbols)",
                options.symbols.join(", ")
            ));
        }
        if let Some(to_ns) = options.to_ns {
            parts.push(format!(
                "what came up to {} (--to)",
                self.day.shown(Ts(to_ns))
            ));
        }
        match self.manifest.state {
            State::Complete => {}
            State::Stopped => parts.push("what came before it was stopped".into()),
            State::Running => parts.push("what its logs have: it runs, or was killed".into()),
        }
        (!parts.is_empty()).then(|| format!("of its input only {}", parts.join(", of that ")))
    }

    /// That the run lost messages, which its books therefore lack, if it did.
    fn lost(&self) -> Option<String> {
        let lost = self.manifest.counts.lost_messages;
        let gaps = self.manifest.anomalies.get("gap").copied().unwrap_or(0);
        match (lost, gaps) {
            (0, 0) => None,
            (0, _) => Some(format!(
                "the run lost messages in {} gaps, nobody knows how many: its books lack them",
                count(gaps)
            )),
            _ => Some(format!(
                "the run lost {} messages: its books lack them",
                count(lost)
            )),
        }
    }

    fn open(run: &Path, talk: Talk) -> Result<Whole, Failure> {
        let (dir, manifest) = RunDir::open(run).map_err(Failure::usage)?;
        let config = dir.read_config().map_err(Failure::usage)?;
        let day = talk.day(&manifest)?;
        let pieces = dir.pieces(&manifest.parts);
        for piece in &pieces {
            let log = LogReader::open(&piece.dir).map_err(Failure::log)?;
            if log.first_cell() != 0 {
                return Err(Failure::usage(format!(
                    "{}: the log's first segments were removed (log.keep, log.keep_age), so its \
                     books cannot be built again from their beginning",
                    piece.dir.display()
                )));
            }
        }
        Ok(Whole {
            dir,
            manifest,
            pieces,
            config,
            day,
        })
    }
}

fn against_reference(run: &Path, talk: Talk) -> Result<(), Failure> {
    let run = Whole::open(run, talk)?;
    let outcome = reference::compare(&run.dir, &run.pieces, &run.config)?;
    divergence::report(&outcome, &run, talk)
}

/// Where a run changed its number of shards, the same books go through all logs.
fn books_of(pieces: &[Piece], config: &Config) -> BooksConfig {
    let shards = pieces.iter().map(|piece| piece.shards).max();
    let shards = shards.unwrap_or(1) as u32;
    let books = config.books();
    BooksConfig {
        orders_max: books.orders_max.saturating_mul(shards).min(HELD_MAX),
        levels_max: books.levels_max.saturating_mul(shards).min(HELD_MAX),
        ..books
    }
}

/// What a run cannot be held against, with all that it can be.
fn unknown_truth(path: &Path, why: &dyn Display) -> String {
    format!(
        "{}: {why}; want --against reference, snapshots, lobster:DIR, mbp10:FILE.dbn, a truth that \
         `tapeline sample` wrote (JSON), or checkpoints of books (JSON)",
        path.display()
    )
}

/// A truth of `tapeline sample`, or books that somebody else built.
fn against_file(args: &cli::Verify, talk: Talk) -> Result<(), Failure> {
    let path = &args.against;
    let fail = |error: &dyn Display| Failure::io(format!("{}: {error}", path.display()));
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        // As little of a file as of a word that is known.
        ErrorKind::NotFound => Failure::io(unknown_truth(path, &error)),
        _ => fail(&error),
    })?;
    let truth: Value =
        serde_json::from_slice(&bytes).map_err(|e| Failure::usage(unknown_truth(path, &e)))?;
    if !checkpoints::is_of(&truth) {
        // What else is wrong with one of ours is told with its key.
        if truth.get("symbols").is_none() {
            let why = "a JSON of something else";
            return Err(Failure::usage(unknown_truth(path, &why)));
        }
        return against_truth(args, &truth, talk);
    }
    let run = Whole::open(&args.run, talk)?;
    let outcome = checkpoints::compare(path, &truth, &run.pieces, &run.config)?;
    divergence::report(&outcome, &run, talk)
}

fn against_truth(args: &cli::Verify, value: &Value, talk: Talk) -> Result<(), Failure> {
    let truth = Truth::read(&args.against)
        .map_err(|e| Failure::io(format!("{}: {e}", args.against.display())))?;
    let mut verified = compare(&args.run, &truth)?;
    verified.not_compared.extend(unknown(value));
    if talk.json {
        let said = serde_json::json!({
            "schema": "tapeline-verify/1", "oracle": "truth", "equal": verified.is_equal(),
            "symbols": verified.symbols, "levels": verified.levels, "trades": verified.trades,
            "windows": verified.windows, "marked_stale": verified.marked,
            "lost_symbols": verified.lost_symbols, "unmarked": verified.unmarked,
            "differences": verified.differences, "partial": verified.partial,
            "fields_not_compared": verified.not_compared,
        });
        talk.data(&format!("{said}\n"))?;
    } else {
        talk.data(&text(&verified))?;
    }
    judge(&verified)
}

/// Equal: fine. Different where lost messages explain it: input. Otherwise: verification.
pub fn judge(verified: &Verified) -> Result<(), Failure> {
    if verified.is_equal() {
        return Ok(());
    }
    if verified.unmarked.is_empty() {
        return Err(Failure::input(
            "the run differs from the truth only in symbols that lost messages, and marks them",
        ));
    }
    let names: Vec<&str> = verified
        .unmarked
        .iter()
        .take(SHOWN_MAX)
        .map(String::as_str)
        .collect();
    Err(Failure::verification(format!(
        "{} symbols differ from the truth and are not marked stale: {}",
        verified.unmarked.len(),
        names.join(", ")
    )))
}

/// What was compared, for people.
pub fn text(verified: &Verified) -> String {
    let style = Style::stdout();
    let verdict = if verified.is_equal() {
        style.good("equal")
    } else {
        style.bad(&format!("{} differences", verified.differences.len()))
    };
    let mut text = format!(
        "{} {verdict}: {} symbols, {} levels of final books, {} trades, {} windows by volume, \
         notional and VWAP\n",
        style.bold("truth   "),
        verified.symbols,
        count(verified.levels as u64),
        count(verified.trades),
        count(verified.windows as u64)
    );
    if let Some(partial) = &verified.partial {
        text.push_str(&format!("{} {partial}\n", style.bold("partial ")));
    }
    if !verified.not_compared.is_empty() {
        text.push_str(&format!(
            "not compared: {}\n",
            verified.not_compared.join(", ")
        ));
    }
    if !verified.undeclared.is_empty() {
        let names: Vec<&str> = verified.undeclared.iter().copied().collect();
        text.push_str(&format!(
            "{} the run has no windows called {}: its settings declare others\n",
            style.bold("windows "),
            names.join(", ")
        ));
    }
    if !verified.lost_symbols.is_empty() {
        text.push_str(&format!(
            "{} messages of {} symbols were lost on all lines; {} symbols are marked stale, {} of \
             the lost ones among them\n",
            style.bold("lost    "),
            verified.lost_symbols.len(),
            verified.marked.len(),
            verified
                .lost_symbols
                .iter()
                .filter(|name| verified.marked.contains(*name))
                .count()
        ));
    }
    for (symbol, what) in verified.differences.iter().take(SHOWN_MAX) {
        let mark = if verified.marked.contains(symbol) {
            " (marked stale)"
        } else {
            ""
        };
        text.push_str(&format!("         {symbol}{mark}: {what}\n"));
    }
    if verified.differences.len() > SHOWN_MAX {
        let more = verified.differences.len() - SHOWN_MAX;
        text.push_str(&format!("         and {more} more\n"));
    }
    text
}

/// A window of either side: by symbol, name and start since midnight.
type Windows = BTreeMap<(String, String, i64), Sums>;

/// What is compared of a window.
#[derive(Clone, Copy, PartialEq)]
struct Sums {
    volume: i64,
    notional: i128,
    trades: u64,
    /// First, highest, lowest and last price.
    ohlc: [Option<f64>; 4],
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sums {
            volume,
            notional,
            trades,
            ohlc,
        } = self;
        let [open, high, low, close] = ohlc.map(or_none);
        write!(
            f,
            "volume {volume}, notional {notional}, {trades} trades, open {open}, high {high}, low {low}, \
             close {close}"
        )
    }
}

/// What stands in a difference that is of no symbol.
const SESSION: &str = "(session)";

/// What a truth says that is not known here, by its names.
fn unknown(truth: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut look = |of: &Value, front: &str, known: &[&str]| {
        let fields = of.as_object().into_iter().flatten();
        let strange = fields.filter(|(key, _)| !known.contains(&key.as_str()));
        found.extend(strange.map(|(key, _)| format!("{front}{key}")));
    };
    // A session's seed is how it was made, and nothing that happened in it.
    let of_session = [
        "schema",
        "date",
        "seed",
        "messages",
        "by_type",
        "lost",
        "lost_symbols",
        "symbols",
    ];
    let of_symbol = [
        "symbol",
        "locate",
        "bids",
        "asks",
        "live_orders",
        "trades",
        "volume",
        "notional_e4",
        "broken",
        "windows",
    ];
    look(truth, "", &of_session);
    for symbol in truth["symbols"].as_array().into_iter().flatten() {
        look(symbol, "symbols.", &of_symbol);
        look(&symbol["windows"], "symbols.windows.", &WINDOWS_OF_TRUTH);
    }
    found
}

/// What the logs say of a symbol: orders on its book at the end, and trades that were broken.
#[derive(Clone, Copy, Default)]
struct OfLog {
    live_orders: u64,
    broken: u64,
}

/// The same of all symbols, by their numbers; `None` where the logs do not begin at their beginning.
fn of_logs(pieces: &[Piece], config: &Config) -> Result<Option<BTreeMap<u32, OfLog>>, Failure> {
    let mut found: BTreeMap<u32, OfLog> = BTreeMap::new();
    let fresh = || Books::new(books_of(pieces, config)).map_err(Failure::io);
    let is_one = pieces.iter().all(|piece| piece.part == 0);
    let mut books = fresh()?;
    for (index, piece) in pieces.iter().enumerate() {
        if LogReader::open(&piece.dir)
            .map_err(Failure::log)?
            .first_cell()
            != 0
        {
            return Ok(None);
        }
        if is_one && index > 0 {
            books = fresh()?;
        }
        for item in piece.records().map_err(Failure::log)? {
            let (_, Record::Event(event)) = item.map_err(Failure::log)? else {
                continue;
            };
            if !event.kind.is_for_all() {
                found.entry(event.symbol).or_default().broken +=
                    u64::from(event.kind == Kind::Break);
            }
            books.apply(&event);
        }
        if is_one || index + 1 == pieces.len() {
            let mut levels = Vec::new();
            for (&symbol, of_log) in &mut found {
                for side in [Side::Buy, Side::Sell] {
                    levels.clear();
                    books.depth(symbol, side, usize::MAX, &mut levels);
                    let orders = levels.iter().map(|level| u64::from(level.orders));
                    of_log.live_orders += orders.sum::<u64>();
                }
            }
        }
    }
    Ok(Some(found))
}

/// What is said of the session as a whole.
fn session(verified: &mut Verified, manifest: &Manifest, truth: &Truth) {
    let mut differ = |what: String| {
        verified.unmarked.insert(SESSION.into());
        verified.differences.push((SESSION.into(), what));
    };
    let counts = &manifest.counts;
    if manifest.date != truth.date {
        differ(format!(
            "date {}, the truth has {}",
            manifest.date, truth.date
        ));
    }
    if manifest.mode == "live" && manifest.resumed > 0 {
        let why = "messages and by_type, which a live run that went on counts anew";
        verified.not_compared.push(why.into());
    } else {
        let messages = counts.messages + counts.lost_messages;
        if messages != truth.messages {
            differ(format!(
                "{} messages and {} lost ones, the truth has {}",
                counts.messages, counts.lost_messages, truth.messages
            ));
        }
        let by_type: BTreeMap<String, u64> = truth
            .by_type
            .iter()
            .map(|(code, count)| (code.to_string(), *count))
            .collect();
        if counts.lost_messages > 0 {
            let why = "by_type, since nobody knows which were lost";
            verified.not_compared.push(why.into());
        } else if counts.by_type != by_type {
            differ(format!(
                "messages by type {:?}, the truth has {by_type:?}",
                counts.by_type
            ));
        }
    }
    let theirs = truth.lost.iter().map(|[first, last]| last - first + 1);
    let theirs: u64 = theirs.sum();
    if counts.lost_messages != theirs {
        // Where a network lost more, books say so themselves.
        verified.differences.push((
            SESSION.into(),
            format!(
                "{} lost messages, the truth has {theirs}",
                counts.lost_messages
            ),
        ));
    }
}

/// Compares a run's tables with the truth.
pub fn compare(run: &Path, truth: &Truth) -> Result<Verified, Failure> {
    let (dir, manifest) = RunDir::open(run).map_err(Failure::usage)?;
    let config = Config::read(&dir.config_path()).map_err(Failure::io)?;
    let declared = &config.windows.0;
    if manifest.state != State::Complete {
        // Nothing goes on behind damage.
        damage::check(&dir, &manifest)?;
        return Err(Failure::usage(format!(
            "{}: it did not come to its input's end, and a truth is of all of it: want a complete run, \
             and --resume goes on with it",
            run.display()
        )));
    }
    let options = &manifest.options;
    // Of a run of some time only windows can be held against what is true of a day.
    let is_timed = options.from_ns.is_some() || options.to_ns.is_some();
    let since_midnight = |ns: i64| ns - manifest.midnight_ns;
    let from_ns = options.from_ns.map_or(i64::MIN, since_midnight);
    let to_ns = options.to_ns.map_or(i64::MAX, since_midnight);
    let is_within = |name: &str, start_ns: i64| {
        let length_ns = length_of(name);
        start_ns >= from_ns && start_ns <= to_ns.saturating_sub(length_ns)
    };
    let is_asked_for = |name: &String| options.symbols.is_empty() || options.symbols.contains(name);
    let symbols = dir.read_symbols().map_err(Failure::io)?;
    let tables_dir = dir.tables_dir();
    let mut books: BTreeMap<String, [Vec<Level>; 2]> = BTreeMap::new();
    for row in tables::read_books(&tables_dir.join("books.parquet")).map_err(Failure::io)? {
        let row = row.map_err(Failure::io)?;
        let [bids, asks] = books.entry(row.symbol).or_default();
        bids.extend(row.bid);
        asks.extend(row.ask);
    }
    let midnight_ns = manifest.midnight_ns;
    let unlike = unlike_truth(&config);
    let mut windows = Windows::new();
    for row in tables::read_windows(&tables_dir.join("windows.parquet")).map_err(Failure::io)? {
        let row = row.map_err(Failure::io)?;
        let key = (row.symbol, row.name, row.start.0 - midnight_ns);
        let vwap = row.notional.per(row.volume).map(Price::to_f64);
        if vwap != row.vwap {
            return Err(Failure::verification(format!(
                "{} {} at {}: VWAP {} in the table, {} by its own sums",
                key.0,
                key.1,
                key.2,
                or_none(row.vwap),
                or_none(vwap)
            )));
        }
        // The truth knows the default windows; others may be declared beside them.
        let of_truth = WINDOWS_OF_TRUTH.contains(&key.1.as_str());
        if of_truth && !unlike.contains_key(key.1.as_str()) && is_within(&key.1, key.2) {
            let sums = Sums {
                volume: row.volume.0,
                notional: row.notional.0,
                trades: row.trade_count,
                ohlc: [row.open, row.high, row.low, row.close],
            };
            windows.insert(key, sums);
        }
    }
    let mut verified = Verified {
        lost_symbols: truth.lost_symbols.clone(),
        marked: symbols
            .iter()
            .filter(|s| s.stale)
            .map(|s| s.symbol.clone())
            .collect(),
        ..Verified::default()
    };
    verified.not_compared.extend(
        unlike
            .iter()
            .map(|(name, why)| format!("windows {name}, {why}")),
    );
    let mut of_logs = None;
    if is_timed {
        verified
            .not_compared
            .push("books, totals and counts, which are of the whole day".into());
    } else {
        session(&mut verified, &manifest, truth);
        of_logs = self::of_logs(&dir.pieces(&manifest.parts), &config)?;
        if of_logs.is_none() {
            verified
                .not_compared
                .push("live_orders and broken, since the log's first segments were removed".into());
        }
    }
    let mut parts = Vec::new();
    if is_timed {
        let day = TradingDay::new(&manifest.date, &manifest.timezone).map_err(Failure::usage)?;
        let shown = |ns: Option<i64>, or: &str| ns.map_or(or.into(), |ns| day.shown(Ts(ns)));
        parts.push(format!(
            "windows between {} and {} (--from, --to)",
            shown(options.from_ns, "the beginning"),
            shown(options.to_ns, "the end")
        ));
    }
    if !options.symbols.is_empty() {
        parts.push(format!(
            "the symbols {} (--symbols)",
            options.symbols.join(", ")
        ));
    }
    if !parts.is_empty() {
        verified.partial = Some(format!("of its input only {}", parts.join(", of that ")));
    }
    for expected in truth.symbols.iter().filter(|s| is_asked_for(&s.symbol)) {
        let found = symbols
            .iter()
            .find(|symbol| symbol.symbol == expected.symbol);
        let book = books.remove(&expected.symbol).unwrap_or_default();
        let before = verified.differences.len();
        if !is_timed {
            let of_log = of_logs.as_ref();
            let of_log = of_log.map(|all| {
                let number = found.map_or(0, |found| found.number);
                all.get(&number).copied().unwrap_or_default()
            });
            symbol(&mut verified, expected, found, &book, of_log);
        }
        let is_declared = |name: &str| declared.contains_key(name);
        let is_compared =
            |name: &str, start_ns: i64| !unlike.contains_key(name) && is_within(name, start_ns);
        window_rows(
            &mut verified,
            expected,
            &mut windows,
            is_declared,
            is_compared,
        );
        if verified.differences.len() > before && !verified.marked.contains(&expected.symbol) {
            verified.unmarked.insert(expected.symbol.clone());
        }
    }
    for ((name, window, start_ns), _) in windows {
        let what = format!("window {window} at {start_ns} ns, which the truth does not have");
        if !verified.marked.contains(&name) {
            verified.unmarked.insert(name.clone());
        }
        verified.differences.push((name, what));
    }
    Ok(verified)
}

/// What a truth calls its windows.
const WINDOWS_OF_TRUTH: [&str; 3] = ["1s", "5s", "1m"];

/// How long such a window is, in nanoseconds.
fn length_of(name: &str) -> i64 {
    match name {
        "1s" => Ts::SECOND_NS,
        "5s" => 5 * Ts::SECOND_NS,
        _ => 60 * Ts::SECOND_NS,
    }
}

/// Windows that have a truth's name and are another thing, and how.
fn unlike_truth(config: &Config) -> BTreeMap<&'static str, String> {
    let declared = WINDOWS_OF_TRUTH.into_iter().filter_map(|name| {
        let window = config.windows.0.get(name)?;
        let size_ns = length_of(name);
        let truth = Policy::AsPrinted;
        let why = if window.shape() != (Shape::Tumbling { size_ns }) {
            format!("which are declared otherwise than the truth's, tumbling of {name}")
        } else if window.policy() != truth {
            format!(
                "in which trades count by `{}` (eligible), in the truth's by `{}`",
                window.policy().name(),
                truth.name()
            )
        } else if !window.symbols.is_empty() {
            "which not all symbols have".into()
        } else {
            return None;
        };
        Some((name, why))
    });
    declared.collect()
}

fn symbol(
    verified: &mut Verified,
    expected: &SymbolTruth,
    found: Option<&SymbolResult>,
    book: &[Vec<Level>; 2],
    of_log: Option<OfLog>,
) {
    let name = &expected.symbol;
    let mut differ = |what: String| verified.differences.push((name.clone(), what));
    let Some(found) = found else {
        return differ("not in the run".into());
    };
    if found.trades != expected.trades || found.volume != expected.volume as i64 {
        differ(format!(
            "{} trades of {} shares, the truth has {} of {}",
            found.trades, found.volume, expected.trades, expected.volume
        ));
    }
    if found.number != u32::from(expected.locate) {
        differ(format!(
            "number {}, the truth has locate {}",
            found.number, expected.locate
        ));
    }
    if let Some(OfLog {
        live_orders,
        broken,
    }) = of_log
    {
        for (what, ours, theirs) in [
            (
                "orders on the book at the end",
                live_orders,
                expected.live_orders,
            ),
            ("broken trades", broken, expected.broken),
        ] {
            if ours != theirs {
                differ(format!("{ours} {what}, the truth has {theirs}"));
            }
        }
    }
    let notional = i128::from(expected.notional_e4) * i128::from(E4_TO_E9);
    if found.notional_e9 != notional.to_string() {
        differ(format!(
            "notional {}, the truth has {notional}",
            found.notional_e9
        ));
    }
    for (side, expected, found) in [
        ("bid", &expected.bids, &book[0]),
        ("ask", &expected.asks, &book[1]),
    ] {
        if expected.len() != found.len() {
            differ(format!(
                "{} {side} levels, the truth has {}",
                found.len(),
                expected.len()
            ));
        }
        for (depth, (expected, found)) in expected.iter().zip(found).enumerate() {
            if level(expected) != *found {
                differ(format!(
                    "{side} level {depth}: {}, the truth has {}",
                    level_text(found),
                    level_text(&level(expected))
                ));
            }
        }
    }
    verified.symbols += 1;
    verified.levels += book[0].len() + book[1].len();
    verified.trades += found.trades;
}

fn or_none(number: Option<f64>) -> String {
    number.map_or("none".into(), |number| number.to_string())
}

fn level_text(level: &Level) -> String {
    format!(
        "{} in {} orders at {}",
        level.qty, level.orders, level.price
    )
}

fn level(depth: &Depth) -> Level {
    Level {
        price: Price(i64::from(depth.price_e4) * E4_TO_E9),
        qty: Qty(depth.shares as i64),
        orders: depth.orders,
    }
}

fn window_rows(
    verified: &mut Verified,
    expected: &SymbolTruth,
    windows: &mut Windows,
    is_declared: impl Fn(&str) -> bool,
    is_compared: impl Fn(&str, i64) -> bool,
) {
    let sizes = [
        ("1s", &expected.windows.s1),
        ("5s", &expected.windows.s5),
        ("1m", &expected.windows.m1),
    ];
    for (size, expected_windows) in sizes {
        // The run was told to have other windows.
        if !is_declared(size) {
            verified.undeclared.insert(size);
            continue;
        }
        let price = |e4: u64| Some(Price(e4 as i64 * E4_TO_E9).to_f64());
        for window in expected_windows {
            if !is_compared(size, window.start_ns as i64) {
                continue;
            }
            let key = (
                expected.symbol.clone(),
                size.to_string(),
                window.start_ns as i64,
            );
            let notional = i128::from(window.notional_e4) * i128::from(E4_TO_E9);
            let want = Sums {
                volume: window.volume as i64,
                notional,
                trades: window.trades,
                ohlc: [
                    price(window.open_e4),
                    price(window.high_e4),
                    price(window.low_e4),
                    price(window.close_e4),
                ],
            };
            let found = windows.remove(&key);
            verified.windows += 1;
            if found != Some(want) {
                let what = format!(
                    "window {size} at {} ns: {}, the truth has {}",
                    window.start_ns,
                    found.map_or("none".into(), |found| found.to_string()),
                    want
                );
                verified.differences.push((expected.symbol.clone(), what));
            }
        }
    }
}
