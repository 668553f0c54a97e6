//! `tapeline book`

use book::{Books, BooksConfig};
use bus::fixed::Scaled;
use bus::log::{LogReader, Record};
use bus::{Kind, Level, Phase, Price, Qty, Side, Ts};
use tapeline::run_dir::{Manifest, Piece, RunDir, State};
use tapeline::savepoint::Origin;
use tapeline::seek::{self, At, EVENTS_MIN, Index};
use tapeline::session::TradingDay;
use tapeline::term::Style;

use super::{Failure, Talk, damage};
use crate::cli;

pub fn book(args: &cli::Book, talk: Talk) -> Result<(), Failure> {
    let (dir, manifest) = RunDir::open(&args.run).map_err(Failure::usage)?;
    let config = dir.read_config().map_err(Failure::usage)?;
    let day = talk.day(&manifest)?;
    let at = args
        .at
        .as_ref()
        .map(|text| day.parse(text))
        .transpose()
        .map_err(Failure::usage)?;
    let origin = Origin {
        dir: &dir,
        parts: &manifest.parts,
        config: &config,
        midnight: day.midnight,
        from: manifest.options.from_ns.map(Ts),
    };
    let Some(symbol) = &args.symbol else {
        return all(&origin, &manifest, at, &day, talk);
    };
    let wanted = symbol.trim().to_ascii_uppercase();
    let mut met = Vec::new();
    let pieces = dir.pieces(&manifest.parts);
    let is_whole = |piece: &Piece| LogReader::open(&piece.dir).map(|log| log.first_cell() == 0);
    let whole: Result<Vec<bool>, _> = pieces.iter().map(is_whole).collect();
    let found = if whole.map_err(Failure::log)?.contains(&false) {
        if at.is_some() {
            return Err(Failure::usage(
                "the log's first segments were removed (log.keep, log.keep_age), so a book can \
                 only be shown as it is at the end: without --at",
            ));
        }
        restored(&origin, &wanted, &mut met)?
    } else {
        match sought(&origin, &manifest, &wanted, at, &mut met, talk)? {
            Some(found) => found,
            None => rebuild(&pieces, &wanted, at, &mut met, config.books())?,
        }
    };
    if let Some(found) = found {
        if let (Some(at), None) = (at, found.last) {
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
        return show(&found, args, &wanted, &manifest.unit, &day, talk);
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
    last: Option<Ts>,
    /// All of the run is before the time that was asked for.
    is_past: bool,
}

/// The book at the end, from the newest checkpoint and what the log has since.
fn restored(
    origin: &Origin<'_>,
    wanted: &str,
    met: &mut Vec<String>,
) -> Result<Option<Found>, Failure> {
    for shard in 0..origin.shards() {
        let mut start = origin.start(shard, u64::MAX).map_err(Failure::shard)?;
        let log = origin.dir.log_dir(origin.part(), shard);
        let log = LogReader::open_from(&log, start.recovery.cell()).map_err(Failure::log)?;
        start.recovery.replay(log).map_err(Failure::shard)?;
        let core = start.recovery.into_core().map_err(Failure::shard)?;
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

/// Whether a run is complete and kept its number of shards.
fn can_have_index(manifest: &Manifest) -> bool {
    manifest.state == State::Complete && manifest.parts.len() <= 1
}

/// The index of a run's books, made now if it has none and `is_asked`; none of one that is not
/// complete, or changed its number of shards.
fn index(
    origin: &Origin<'_>,
    manifest: &Manifest,
    is_asked: bool,
    talk: Talk,
) -> Result<Option<Index>, Failure> {
    if !can_have_index(manifest) {
        return Ok(None);
    }
    let found = Index::open(origin);
    if found.is_some() || !is_asked {
        return Ok(found);
    }
    if manifest.counts.events > 4 * EVENTS_MIN {
        talk.say("indexing the books of the run, which is done once");
    }
    match Index::make(origin, EVENTS_MIN) {
        Ok(index) => Ok(Some(index)),
        Err(error) if error.is_damage() => Err(damage::refused(error, origin.dir, origin.parts)),
        Err(error) => {
            talk.say(format_args!("no index was made: {error}"));
            Ok(None)
        }
    }
}

/// The book by the run's index; none where there is no index that can be used, and then whether
/// there is such a symbol.
fn sought(
    origin: &Origin<'_>,
    manifest: &Manifest,
    wanted: &str,
    at: Option<Ts>,
    met: &mut Vec<String>,
    talk: Talk,
) -> Result<Option<Option<Found>>, Failure> {
    let Some(index) = index(origin, manifest, at.is_some(), talk)? else {
        return Ok(None);
    };
    let Some((shard, named)) = index.symbols().find(|(_, named)| named.name == wanted) else {
        met.extend(index.symbols().map(|(_, named)| named.name.clone()));
        return Ok(Some(None));
    };
    match index.books(origin, shard, Some(named.number), at.unwrap_or(Ts::MAX)) {
        Ok(found) => Ok(Some(Some(Found {
            last: found.last.get(&named.number).copied(),
            books: found.books,
            symbol: named.number,
            decimals: named.decimals,
            is_past: at.is_some_and(|at| index.is_past(at)),
        }))),
        Err(error) if error.is_damage() => Err(damage::refused(error, origin.dir, origin.parts)),
        Err(error) => {
            talk.say(format_args!("the index cannot be used: {error}"));
            Ok(None)
        }
    }
}

/// The best prices of all symbols.
fn all(
    origin: &Origin<'_>,
    manifest: &Manifest,
    at: Option<Ts>,
    day: &TradingDay,
    talk: Talk,
) -> Result<(), Failure> {
    let Some(index) = index(origin, manifest, true, talk)? else {
        let run = origin.dir.path().display();
        // Why none was made is said already.
        return Err(match can_have_index(manifest) {
            true => Failure::io(format!(
                "{run}: best prices of all symbols want an index in the run's directory; name a symbol"
            )),
            false => Failure::usage(format!(
                "{run}: best prices of all symbols are shown of a complete run that kept its number \
                 of shards; name a symbol"
            )),
        });
    };
    let at_or_end = at.unwrap_or(Ts::MAX);
    if let Some(at) = at
        && index.is_past(at)
    {
        talk.say(format_args!(
            "the run ends before {}: these are the books at its end",
            day.shown(at)
        ));
    }
    let mut shards = Vec::new();
    for shard in 0..origin.shards() {
        let found = index.books(origin, shard, None, at_or_end);
        shards.push(found.map_err(|error| match error.is_damage() {
            true => damage::refused(error, origin.dir, origin.parts),
            false => Failure::io(format!(
                "the index cannot be used: {error}; without {} it is made anew",
                seek::dir(origin).display()
            )),
        })?);
    }
    let mut symbols: Vec<_> = index.symbols().collect();
    symbols.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    // Those to which something happened by then.
    let known = symbols.into_iter().filter_map(|(shard, named)| {
        let At { books, last } = &shards[shard];
        last.get(&named.number).map(|ts| (books, named, *ts))
    });
    if talk.json {
        let rows: Vec<serde_json::Value> = known
            .map(|(books, named, ts)| {
                let quote = books.quote(named.number);
                let side = |price: Price, qty: Qty| match qty.0 {
                    0 => serde_json::Value::Null,
                    qty => serde_json::json!([price.to_string(), qty]),
                };
                serde_json::json!({
                    "symbol": named.name, "qty_decimals": named.decimals,
                    "phase": phase(books.phase(named.number)),
                    "stale": books.is_stale(named.number), "last_event": day.shown(ts),
                    "bid": side(quote.bid, quote.bid_qty), "ask": side(quote.ask, quote.ask_qty),
                })
            })
            .collect();
        let at = at.map(|at| day.shown(at));
        let said = serde_json::json!({
            "schema": "tapeline-books/1", "at": at, "timezone": day.told_zone(),
            "unit": manifest.unit, "symbols": rows,
        });
        return talk.data(&format!("{said}\n"));
    }
    let style = Style::stdout();
    let mut text = style.dim(&format!(
        "{:<9} {:>10} {:>12}   {:<12} {:<10} {:<11} {}\n",
        "symbol", manifest.unit, "bid", "ask", manifest.unit, "phase", "last event"
    ));
    for (books, named, ts) in known {
        let quote = books.quote(named.number);
        let cells = |price: Price, qty: Qty| match qty.0 {
            0 => (String::new(), "-".to_string()),
            qty => (Scaled(qty, named.decimals).to_string(), price.to_string()),
        };
        let (bid_qty, bid) = cells(quote.bid, quote.bid_qty);
        let (ask_qty, ask) = cells(quote.ask, quote.ask_qty);
        let stale = if books.is_stale(named.number) {
            ", stale"
        } else {
            ""
        };
        text.push_str(&format!(
            "{:<9} {bid_qty:>10} {bid:>12}   {ask:<12} {ask_qty:<10} {:<11} {}{stale}\n",
            named.name,
            phase(books.phase(named.number)),
            day.shown(ts)
        ));
    }
    talk.data(&text)
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unknown => "unknown",
        Phase::Trading => "trading",
        Phase::Halted => "halted",
        Phase::QuoteOnly => "quotes only",
    }
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
    let (mut last, mut last_seq) = (None, None);
    let mut end = Ts::MIN;
    let logs = pieces.iter().map(Piece::records);
    let logs: Vec<_> = logs.collect::<Result<_, _>>().map_err(Failure::log)?;
    for item in logs.into_iter().flatten() {
        let (_, record) = item.map_err(Failure::log)?;
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
        if at.is_some_and(|at| event.ts_event > at) {
            // Times may go back, so what comes later is not after `at` for certain; but a book
            // has no other order than the feed's.
            if symbol == Some(event.symbol) && !event.kind.is_for_all() {
                break;
            }
            continue;
        }
        // Every shard's log has the gaps: another shard's are behind already.
        if event.kind == Kind::Gap && last_seq.is_some_and(|last| event.seq <= last) {
            continue;
        }
        // Orders are entered before a symbol is named only in captures that begin mid-day, and
        // there the reader names it first.
        if symbol == Some(event.symbol) || event.kind == Kind::Gap {
            books.apply(&event);
            if event.kind != Kind::Gap {
                (last, last_seq) = (Some(event.ts_event), Some(event.seq));
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
    unit: &str,
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
    let time = last.map_or("-".to_string(), |ts| day.shown(ts));
    let phase = phase(books.phase(*symbol));
    if talk.json {
        let side = |levels: &[Level]| -> Vec<serde_json::Value> {
            let level = |l: &Level| serde_json::json!([l.price.to_string(), l.qty.0, l.orders]);
            levels.iter().map(level).collect()
        };
        let mut said = serde_json::json!({
            "schema": "tapeline-book/1", "symbol": name, "last_event": time, "phase": phase,
            "stale": books.is_stale(*symbol), "timezone": day.told_zone(), "unit": unit,
            "bids": side(&bids), "asks": side(&asks),
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
    let mut text = format!(
        "{}  {phase}, last event {time} {}{stale}\n",
        style.bold(name),
        day.told_zone()
    );
    let head = format!(
        "{:>7} {:>10} {:>12}   {:<12} {:<10} {:<7}\n",
        "orders", unit, "bid", "ask", unit, "orders"
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
