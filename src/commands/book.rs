//! `tapeline book`

use book::{Books, BooksConfig};
use bus::fixed::Scaled;
use bus::log::{LogReader, Record};
use bus::{Event, Kind, Level, Phase, Side, Ts};
use tapeline::config::Config;
use tapeline::run_dir::{Manifest, Piece, RunDir};
use tapeline::savepoint::Origin;
use tapeline::session::TradingDay;
use tapeline::term::Style;

use super::{Failure, Talk};
use crate::cli;

pub fn book(args: &cli::Book, talk: Talk) -> Result<(), Failure> {
    let (dir, manifest) = RunDir::open(&args.run).map_err(Failure::usage)?;
    let config = dir.read_config().map_err(Failure::usage)?;
    let day = TradingDay::new(&manifest.date, &manifest.timezone).map_err(Failure::usage)?;
    let at = args
        .at
        .as_ref()
        .map(|text| day.parse(text))
        .transpose()
        .map_err(Failure::usage)?;
    let wanted = args.symbol.trim().to_ascii_uppercase();
    let mut met = Vec::new();
    let pieces = dir.pieces(&manifest.parts);
    let is_whole = |piece: &Piece| LogReader::open(&piece.dir).map(|log| log.first_cell() == 0);
    let whole: Result<Vec<bool>, _> = pieces.iter().map(is_whole).collect();
    let found = if whole.map_err(Failure::io)?.contains(&false) {
        if at.is_some() {
            return Err(Failure::usage(
                "the log's first segments were removed (log.keep, log.keep_age), so a book can \
                 only be shown as it is at the end: without --at",
            ));
        }
        restored(&dir, &manifest, &config, &day, &wanted, &mut met)?
    } else {
        rebuild(&pieces, &wanted, at, &mut met, config.books())?
    };
    if let Some(found) = found {
        if let (Some(at), None) = (at, &found.last) {
            return Err(Failure::usage(format!(
                "{wanted}: nothing happened to it up to {}; its first event in the run is later",
                day.shown(at)
            )));
        }
        if let (Some(at), true) = (at, found.is_past) {
            talk.say(format_args!(
                "the run ends before {}: this is the book at its end",
                day.shown(at)
            ));
        }
        return show(&found, args, &wanted, &day, talk);
    }
    let near = met
        .iter()
        .min_by_key(|name| strsim::damerau_levenshtein(&wanted, name));
    let hint = near.map_or(String::new(), |name| format!("; the nearest is {name}"));
    Err(Failure::usage(format!(
        "{wanted}: no such symbol among {} in the run{hint}",
        met.len()
    )))
}

/// A symbol's book, and what was the last that happened to it.
struct Found {
    books: Books,
    symbol: u32,
    /// Of its quantities.
    decimals: u8,
    last: Option<Event>,
    /// All of the run is before the time that was asked for.
    is_past: bool,
}

/// The book at the end, from the newest checkpoint and what the log has since.
fn restored(
    dir: &RunDir,
    manifest: &Manifest,
    config: &Config,
    day: &TradingDay,
    wanted: &str,
    met: &mut Vec<String>,
) -> Result<Option<Found>, Failure> {
    let origin = Origin {
        dir,
        parts: &manifest.parts,
        config,
        midnight: day.midnight,
        from: manifest.options.from_ns.map(Ts),
    };
    for shard in 0..origin.shards() {
        let mut start = origin.start(shard, u64::MAX).map_err(Failure::io)?;
        let log = dir.log_dir(origin.part(), shard);
        let log = LogReader::open_from(&log, start.recovery.cell()).map_err(Failure::io)?;
        start.recovery.replay(log).map_err(Failure::io)?;
        let core = start.recovery.into_core().map_err(Failure::io)?;
        let name = |symbol| {
            String::from_utf8_lossy(core.name(symbol))
                .trim_end()
                .to_string()
        };
        met.extend(core.symbols().map(name));
        let found = core.symbols().find(|symbol| name(*symbol) == wanted);
        if let Some(symbol) = found {
            return Ok(Some(Found {
                decimals: core.decimals(symbol),
                books: core.into_books(),
                symbol,
                last: None,
                is_past: false,
            }));
        }
    }
    Ok(None)
}

fn rebuild(
    pieces: &[Piece],
    wanted: &str,
    at: Option<Ts>,
    met: &mut Vec<String>,
    config: BooksConfig,
) -> Result<Option<Found>, Failure> {
    let mut books = Books::new(config).map_err(Failure::io)?;
    let mut symbol = None;
    let mut decimals = 0;
    let mut last = None;
    let mut end = Ts::MIN;
    let logs = pieces.iter().map(Piece::records);
    let logs: Vec<_> = logs.collect::<Result<_, _>>().map_err(Failure::io)?;
    for item in logs.into_iter().flatten() {
        let (_, record) = item.map_err(Failure::io)?;
        let Record::Event(event) = record else {
            continue;
        };
        if event.kind == Kind::Symbol && symbol.is_none() {
            let name = String::from_utf8_lossy(&event.order.to_be_bytes())
                .trim_end()
                .to_string();
            if name == wanted {
                symbol = Some(event.symbol);
                decimals = event.order_b.min(18) as u8;
            }
            met.push(name);
        }
        end = end.max(event.ts_event);
        if at.is_some_and(|at| event.ts_event > at && !event.kind.is_for_all()) {
            // Times may go back, so what comes later is not after `at` for certain; but a book
            // has no other order than the feed's.
            if symbol == Some(event.symbol) {
                break;
            }
            continue;
        }
        // Orders are entered before a symbol is named only in captures that begin mid-day, and
        // there the reader names it first.
        if symbol == Some(event.symbol) || event.kind == Kind::Gap {
            books.apply(&event);
            if event.kind != Kind::Gap {
                last = Some(event);
            }
        }
    }
    Ok(symbol.map(|symbol| Found {
        books,
        symbol,
        decimals,
        last,
        is_past: at.is_some_and(|at| end < at),
    }))
}

fn show(
    found: &Found,
    args: &cli::Book,
    name: &str,
    day: &TradingDay,
    talk: Talk,
) -> Result<(), Failure> {
    let Found {
        books,
        symbol,
        decimals,
        last,
        ..
    } = found;
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    books.depth(*symbol, Side::Buy, args.depth, &mut bids);
    books.depth(*symbol, Side::Sell, args.depth, &mut asks);
    let time = last.map_or("-".to_string(), |event| day.shown(event.ts_event));
    let phase = match books.phase(*symbol) {
        Phase::Unknown => "unknown",
        Phase::Trading => "trading",
        Phase::Halted => "halted",
        Phase::QuoteOnly => "quotes only",
    };
    if talk.json {
        let side = |levels: &[Level]| -> Vec<serde_json::Value> {
            let level = |l: &Level| serde_json::json!([l.price.to_string(), l.qty.0, l.orders]);
            levels.iter().map(level).collect()
        };
        let mut said = serde_json::json!({
            "schema": "tapeline-book/1", "symbol": name, "last_event": time, "phase": phase,
            "stale": books.is_stale(*symbol), "bids": side(&bids), "asks": side(&asks),
        });
        // Quantities are in units of 10 to the power of minus this.
        if *decimals > 0 {
            said["qty_decimals"] = (*decimals).into();
        }
        return talk.data(&format!("{said}\n"));
    }
    let style = Style::stdout();
    let stale = if books.is_stale(*symbol) {
        ", stale: messages were lost"
    } else {
        ""
    };
    let mut text = format!("{}  {phase}, last event {time}{stale}\n", style.bold(name));
    let head = format!(
        "{:>7} {:>10} {:>12}   {:<12} {:<10} {:<7}\n",
        "orders", "shares", "bid", "ask", "shares", "orders"
    );
    text.push_str(&style.dim(&head));
    for row in 0..bids.len().max(asks.len()) {
        let cells = |level: Option<&Level>| match level {
            Some(l) => (
                l.orders.to_string(),
                Scaled(l.qty.0, *decimals).to_string(),
                l.price.to_string(),
            ),
            None => Default::default(),
        };
        let (bid_orders, bid_qty, bid) = cells(bids.get(row));
        let (ask_orders, ask_qty, ask) = cells(asks.get(row));
        text.push_str(&format!(
            "{bid_orders:>7} {bid_qty:>10} {bid:>12}   {ask:<12} {ask_qty:<10} {ask_orders:<7}\n"
        ));
    }
    talk.data(&text)
}
