//! `tapeline verify`

mod checkpoints;
mod divergence;
mod lobster;
mod mbp10;
mod reference;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::Path;

use book::BooksConfig;
use bus::log::LogReader;
use bus::{Level, Price, Qty};
use exchange::{Depth, SymbolTruth, Truth};
use tapeline::config::Config;
use tapeline::run_dir::{Manifest, Piece, RunDir, SymbolResult};
use tapeline::series::Series;
use tapeline::session::TradingDay;
use tapeline::tables;
use tapeline::term::{Style, count};

use super::{Failure, Talk};
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
            let outcome = lobster::compare(folder, &run.pieces, &run.config)?;
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
            return Err(Failure::usage(format!(
                "{}: {} is not complete; `tapeline replay --resume {}` goes on",
                path.display(),
                leg.name,
                path.display()
            )));
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
            let log = LogReader::open(&piece.dir).map_err(Failure::io)?;
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

/// A truth of `tapeline sample`, or books that somebody else built.
fn against_file(args: &cli::Verify, talk: Talk) -> Result<(), Failure> {
    let path = &args.against;
    let fail = |error: &dyn Display| Failure::io(format!("{}: {error}", path.display()));
    let bytes = fs::read(path).map_err(|error| fail(&error))?;
    let truth: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| fail(&e))?;
    if !checkpoints::is_of(&truth) {
        return against_truth(args, talk);
    }
    let run = Whole::open(&args.run, talk)?;
    let outcome = checkpoints::compare(path, &truth, &run.pieces, &run.config)?;
    divergence::report(&outcome, &run, talk)
}

fn against_truth(args: &cli::Verify, talk: Talk) -> Result<(), Failure> {
    let truth = Truth::read(&args.against)
        .map_err(|e| Failure::io(format!("{}: {e}", args.against.display())))?;
    let verified = compare(&args.run, &truth)?;
    if talk.json {
        let said = serde_json::json!({
            "schema": "tapeline-verify/1", "oracle": "truth", "equal": verified.is_equal(),
            "symbols": verified.symbols, "levels": verified.levels, "trades": verified.trades,
            "windows": verified.windows, "marked_stale": verified.marked,
            "lost_symbols": verified.lost_symbols, "unmarked": verified.unmarked,
            "differences": verified.differences,
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

/// A window of either side: by symbol, name and start since midnight; volume, notional, trades.
type Windows = BTreeMap<(String, String, i64), (i64, i128, u64)>;

/// Compares a run's tables with the truth.
pub fn compare(run: &Path, truth: &Truth) -> Result<Verified, Failure> {
    let (dir, manifest) = RunDir::open(run).map_err(Failure::usage)?;
    let config = Config::read(&dir.config_path()).map_err(Failure::io)?;
    let declared = &config.windows.0;
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
        if WINDOWS_OF_TRUTH.contains(&key.1.as_str()) {
            windows.insert(key, (row.volume.0, row.notional.0, row.trade_count));
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
    for expected in &truth.symbols {
        let found = symbols
            .iter()
            .find(|symbol| symbol.symbol == expected.symbol);
        let book = books.remove(&expected.symbol).unwrap_or_default();
        let before = verified.differences.len();
        symbol(&mut verified, expected, found, &book);
        window_rows(&mut verified, expected, &mut windows, |name| {
            declared.contains_key(name)
        });
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

fn symbol(
    verified: &mut Verified,
    expected: &SymbolTruth,
    found: Option<&SymbolResult>,
    book: &[Vec<Level>; 2],
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
        for window in expected_windows {
            let key = (
                expected.symbol.clone(),
                size.to_string(),
                window.start_ns as i64,
            );
            let notional = i128::from(window.notional_e4) * i128::from(E4_TO_E9);
            let want = (window.volume as i64, notional, window.trades);
            let found = windows.remove(&key);
            verified.windows += 1;
            if found != Some(want) {
                let text = |(volume, notional, trades): (i64, i128, u64)| {
                    format!("volume {volume}, notional {notional}, {trades} trades")
                };
                let what = format!(
                    "window {size} at {} ns: {}, the truth has {}",
                    window.start_ns,
                    found.map_or("none".into(), text),
                    text(want)
                );
                verified.differences.push((expected.symbol.clone(), what));
            }
        }
    }
}
