//! From what a run ended with to what its directory holds.
//!
//! Tables and digests are made from the logs, so a run that was killed and resumed ends with the
//! same ones as a run that was not.

mod paper;

use std::collections::BTreeMap;
use std::fs;

use book::Breach;
use bus::log::{LogError, LogReader, Record};
use bus::oms::Date;
use bus::signal::SignalKind;
use bus::{Anomaly, Body, Side, Signal, Ts};
use feed::reader::{HealStats, ReaderStats, RecoveryStats};
use fix::Blotter;

use crate::config::{Config, OrderMode};
use crate::latency::Latency;
use crate::pipeline::Outcome;
use crate::reference::Reference;
use crate::run_dir::{
    Counts, Digests, Full, Gap, JoinCounts, LastHeal, Line, Manifest, ModelCounts, Piece,
    Quarantined, Retransmission, RunDir, Snapshots, State, SymbolResult,
};
use crate::session::TradingDay;
use crate::shard::{Finished, ShardCounts};
use crate::tables::{self, BookRow, Names, Tables};

/// Levels of each final book that are kept.
const DEPTH_LEVELS: usize = 10;
/// Gaps that a manifest lists.
const GAPS_MAX: usize = 1_000;

/// What a finished run amounts to.
pub struct Results {
    /// As written to the run directory.
    pub manifest: Manifest,
    /// By name.
    pub symbols: Vec<SymbolResult>,
    /// Over all shards.
    pub latency: Latency,
}

/// Writes everything that a run directory holds at the end, the manifest last.
pub fn conclude(
    dir: &RunDir,
    config: &Config,
    day: &TradingDay,
    outcome: &Outcome,
    mut manifest: Manifest,
) -> Result<Results, String> {
    bus::failpoint!("results-begun");
    let names = names(config, day, &outcome.shards);
    let pieces = dir.pieces(&manifest.parts);
    let blotters = match (config.orders.has_session(), config.orders.mode) {
        (true, _) => read_blotters(dir, config.run.shards)?,
        (false, Some(OrderMode::Paper)) => {
            let name_of = |number| symbol_name(&names, number);
            vec![read_paper(&pieces, names.date, name_of)?]
        }
        (false, _) => Vec::new(),
    };
    let refused = write_tables(dir, &names, &pieces, &outcome.shards, &blotters)?;
    let digests = digests(&names, &pieces)?;
    let symbols = symbols(&names, &dir.read_reference()?, &outcome.shards);
    dir.write_symbols(&symbols)?;
    bus::failpoint!("results-symbols");
    let mut latency = Latency::new();
    for shard in &outcome.shards {
        latency.merge(&shard.latency);
    }
    let latency_dir = dir.latency_dir();
    latency
        .write(&latency_dir)
        .map_err(|e| format!("{}: {e}", latency_dir.display()))?;
    bus::failpoint!("results-latency");
    manifest.kept_from_ns = kept_from(&pieces)?.map(|ts| ts.0);
    manifest.digest = dir.write_digests(&digests)?;
    bus::failpoint!("results-digests");
    manifest.state = if outcome.is_stopped {
        State::Stopped
    } else {
        State::Complete
    };
    manifest.elapsed_s += outcome.elapsed.as_secs_f64();
    manifest.log_backend = outcome.log_backend.clone();
    manifest.counts = counts(&outcome.reader, &outcome.shards, &symbols);
    manifest.counts.refused = refused;
    let withheld = blotters.iter().map(|one| one.withheld_count() as u64);
    manifest.counts.withheld = withheld.sum();
    if config.orders.has_session() {
        let unanswered = blotters.iter().map(|one| one.unanswered_count() as u64);
        manifest.counts.unanswered = unanswered.sum();
    }
    manifest.lines = lines(&outcome.reader);
    manifest.gaps = gaps(&outcome.reader);
    if manifest.mode == "live" {
        manifest.sessions = sessions(&outcome.reader);
    }
    // With --symbols the others do not come in, wherever they are.
    let wanted = &manifest.options.symbols;
    manifest.absent = config.absent(|name| {
        let is_left_out = !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name);
        is_left_out || symbols.iter().any(|symbol| symbol.symbol == name)
    });
    manifest.outside = outside(&manifest, &outcome.reader, day);
    manifest.retransmission = outcome.reader.recovery.map(retransmission);
    manifest.snapshot = outcome.reader.heal.as_ref().map(snapshots);
    manifest.quarantine = quarantined(&outcome.reader);
    manifest.anomalies = anomalies(&outcome.reader, &outcome.shards);
    (manifest.breaches, manifest.breach_examples) = breaches(&names, day, &outcome.shards);
    manifest.full = full(config, &manifest.anomalies);
    manifest.anomaly_examples = examples(&names, day, outcome);
    dir.write_manifest(&manifest)?;
    Ok(Results {
        manifest,
        symbols,
        latency,
    })
}

/// Says it where nothing of the input is between the times that were asked for. Only what is before the end
/// of what is wanted was read.
fn outside(manifest: &Manifest, reader: &ReaderStats, day: &TradingDay) -> Option<String> {
    let options = &manifest.options;
    match (
        reader.first_ts.zip(reader.last_ts),
        options.from_ns.map(Ts),
        options.to_ns.map(Ts),
    ) {
        (None, _, Some(until)) if reader.messages > 0 => Some(format!(
            "nothing of the input is before --to, {}: no message was taken in",
            day.shown(until)
        )),
        (Some((first, last)), Some(from), _) if last < from => Some(format!(
            "nothing of the input is at --from, {}, or later: what was read is from {} to {}",
            day.shown(from),
            day.shown(first),
            day.shown(last)
        )),
        _ => None,
    }
}

/// What did not hold of books, and the first of it in words.
fn breaches(
    names: &Names,
    day: &TradingDay,
    shards: &[Finished],
) -> (BTreeMap<String, u64>, Vec<String>) {
    let (mut counts, mut examples) = (BTreeMap::new(), Vec::new());
    for shard in shards {
        let found = shard.core.breaches();
        for (breach, count) in Breach::ALL.into_iter().zip(found.counts) {
            if count > 0 {
                *counts.entry(breach.name().to_string()).or_default() += count;
            }
        }
        examples.extend(found.examples.iter().map(|(breach, event)| {
            format!(
                "after message {} at {}, {}: {}: {:?} {:?} order {} price {} qty {}",
                event.seq,
                day.shown(event.ts_event),
                symbol_name(names, event.symbol),
                breach.name(),
                event.kind,
                event.side,
                event.order,
                event.price,
                event.qty
            )
        }));
    }
    (counts, examples)
}

/// What `[limits]` left out.
fn full(config: &Config, anomalies: &BTreeMap<String, u64>) -> Option<Full> {
    let events = *anomalies.get(Anomaly::Full.name())?;
    Some(Full {
        events,
        symbols: config.limits.symbols,
        orders: config.limits.orders,
        levels: config.limits.levels,
    })
}

fn quarantined(reader: &ReaderStats) -> Option<Quarantined> {
    let kept = reader.quarantine?;
    let quarantined = Quarantined {
        records: kept.records,
        bytes: kept.bytes,
        left_out: kept.left_out,
    };
    (quarantined != Quarantined::default()).then_some(quarantined)
}

/// What was said of the orders of each shard.
pub fn read_blotters(dir: &RunDir, shards: usize) -> Result<Vec<Blotter>, String> {
    (0..shards)
        .map(|shard| Blotter::read(&dir.reports_path(shard)).map_err(|e| e.to_string()))
        .collect()
}

/// What a simulated venue said of a run's orders: they are in its log.
pub fn read_paper(
    pieces: &[Piece],
    date: Date,
    name_of: impl Fn(u32) -> String,
) -> Result<Blotter, String> {
    paper::blotter(date, name_of, Signals::open(pieces)?)
}

fn names(config: &Config, day: &TradingDay, shards: &[Finished]) -> Names {
    let (mut symbols, mut decimals): (Vec<Option<String>>, Vec<u8>) = Default::default();
    for shard in shards {
        for number in shard.core.symbols() {
            let index = number as usize;
            symbols.resize(symbols.len().max(index + 1), None);
            decimals.resize(symbols.len(), 0);
            decimals[index] = shard.core.decimals(number);
            let name = String::from_utf8_lossy(shard.core.name(number))
                .trim_end()
                .to_string();
            symbols[index] = (!name.is_empty()).then_some(name);
        }
    }
    let (year, month, date) = day.ymd();
    Names {
        symbols,
        decimals,
        windows: config
            .windows
            .in_order()
            .map(|(name, window)| tables::WindowName {
                name: name.clone(),
                kind: window.shape().name(),
                policy: window.policy().name(),
            })
            .collect(),
        // A rule's number is its place plus one, in alerts and in orders.
        spreads: (with_rules("spread", config).into_iter())
            .chain(config.monitors.0.keys().cloned())
            .chain(config.patterns.0.keys().cloned())
            .chain(config.instruments.alerts())
            .collect(),
        // As models' numbers are theirs in regimes.
        regimes: (std::iter::once("volatility".to_string()))
            .chain(config.regimes.0.keys().cloned())
            .collect(),
        strategies: crate::kill::strategies(config),
        features: config.features.0.keys().cloned().collect(),
        joins: config.joins.names(),
        instruments: config.instruments.names(),
        date: bus::oms::Date {
            year,
            month,
            day: date,
        },
        midnight: day.midnight,
    }
}

fn with_rules(first: &str, config: &Config) -> Vec<String> {
    let rules = config.rules.0.keys().cloned();
    std::iter::once(first.to_string()).chain(rules).collect()
}

fn write_tables(
    dir: &RunDir,
    names: &Names,
    pieces: &[Piece],
    shards: &[Finished],
    blotters: &[Blotter],
) -> Result<BTreeMap<String, u64>, String> {
    let folder = dir.tables_dir();
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        bus::failpoint!("tables-removed");
    }
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut out = Tables::create(&folder, names).map_err(|e| e.to_string())?;
    bus::failpoint!("tables-begun");
    for signal in Signals::open(pieces)? {
        out.push(&signal?).map_err(|e| e.to_string())?;
    }
    bus::failpoint!("tables-half");
    let counts = out.finish().map_err(|e| e.to_string())?;
    let mut rows = Vec::new();
    for (shard, number) in by_number(shards) {
        let books = shard.core.books();
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        books.depth(number, Side::Buy, DEPTH_LEVELS, &mut bids);
        books.depth(number, Side::Sell, DEPTH_LEVELS, &mut asks);
        for level in 0..bids.len().max(asks.len()) {
            rows.push(BookRow {
                symbol: number,
                level: level as u32,
                bid: bids.get(level).copied(),
                ask: asks.get(level).copied(),
            });
        }
    }
    tables::write_books(&folder, names, rows).map_err(|e| e.to_string())?;
    if !blotters.is_empty() {
        tables::write_fills(&folder, names, blotters).map_err(|e| e.to_string())?;
    }
    // The manifest is about to say that the run is complete: its tables' names must last, too.
    fs::File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| format!("{}: {e}", folder.display()))?;
    bus::failpoint!("tables-made");
    Ok(counts.refused)
}

/// All symbols in the order of their numbers, with their shards.
fn by_number(shards: &[Finished]) -> Vec<(&Finished, u32)> {
    let mut all: Vec<(&Finished, u32)> = shards
        .iter()
        .flat_map(|shard| shard.core.symbols().map(move |number| (shard, number)))
        .collect();
    all.sort_by_key(|(_, number)| *number);
    all
}

/// Where a log's beginning was removed, as `log.keep` and `log.keep_age` do: its first event.
fn kept_from(pieces: &[Piece]) -> Result<Option<Ts>, String> {
    let mut first = None;
    for piece in pieces {
        if LogReader::open(&piece.dir)
            .map_err(|e| e.to_string())?
            .first_cell()
            == 0
        {
            continue;
        }
        let mut records = piece.records().map_err(|e| e.to_string())?;
        let event = records.find_map(|item| match item {
            Ok((_, Record::Event(event))) => Some(Ok(event.ts_event)),
            Ok(_) => None,
            Err(error) => Some(Err(error.to_string())),
        });
        first = first.max(event.transpose()?);
    }
    Ok(first)
}

fn digests(names: &Names, pieces: &[Piece]) -> Result<Digests, String> {
    let mut digests = Digests::default();
    for signal in Signals::open(pieces)? {
        let signal = signal?;
        if let Some(Body::Digest(digest)) = signal.body() {
            digests.add(&symbol_name(names, signal.symbol), &digest);
        }
    }
    Ok(digests)
}

/// A symbol's name, or `#42`.
fn symbol_name(names: &Names, number: u32) -> String {
    let name = names.symbols.get(number as usize).cloned().flatten();
    name.unwrap_or_else(|| format!("#{number}"))
}

fn symbols(names: &Names, reference: &Reference, shards: &[Finished]) -> Vec<SymbolResult> {
    let mut results = Vec::new();
    for (index, shard) in shards.iter().enumerate() {
        for number in shard.core.symbols() {
            let view = shard.core.suites().view(number);
            let quote = shard.core.books().quote(number);
            let side = |price: bus::Price, qty: bus::Qty| {
                price.is_some().then(|| (price.to_string(), qty.0))
            };
            let symbol = symbol_name(names, number);
            results.push(SymbolResult {
                reference: reference.get(&symbol).cloned(),
                symbol,
                number,
                shard: index,
                stale: shard.core.books().is_stale(number),
                evidence: shard.core.books().evidence(number),
                trades: u64::from(view.trade_count),
                qty_decimals: shard.core.decimals(number),
                volume: view.volume.0,
                notional_e9: notional_e9(view.notional, shard.core.decimals(number)),
                vwap: view.vwap().map(|price| price.to_string()),
                last: (view.trade_count > 0).then(|| view.last_price.to_string()),
                regime: view.regime.name().to_string(),
                bid: side(quote.bid, quote.bid_qty),
                ask: side(quote.ask, quote.ask_qty),
            });
        }
    }
    results.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    results
}

/// A notional in 1e-9 of the currency, whatever the quantities' unit was.
fn notional_e9(notional: bus::Notional, decimals: u8) -> String {
    let text = bus::fixed::decimal_text(notional.0, decimals.into());
    match decimals {
        0 => text,
        _ => text.trim_end_matches('0').trim_end_matches('.').to_string(),
    }
}

fn counts(reader: &ReaderStats, shards: &[Finished], symbols: &[SymbolResult]) -> Counts {
    let signals = |kind: SignalKind| -> u64 {
        shards
            .iter()
            .map(|shard| shard.counts.signals[kind.index()])
            .sum()
    };
    let total = |of: fn(&Finished) -> u64| shards.iter().map(of).sum();
    Counts {
        packets: reader.packets,
        bytes: reader.bytes,
        messages: reader.messages,
        by_type: by_type(reader),
        events: total(|shard| shard.counts.events),
        lost_messages: reader.gaps.iter().map(|gap| gap.count).sum(),
        stale_symbols: symbols.iter().filter(|symbol| symbol.stale).count() as u64,
        windows: signals(SignalKind::Window),
        late: signals(SignalKind::Late),
        alerts: signals(SignalKind::Spread),
        rule_alerts: total(|shard| shard.counts.signals[ShardCounts::RULES]),
        dropped_matches: total(|shard| shard.core.suites().dropped_matches()),
        joins: signals(SignalKind::Join),
        join_counts: join_counts(shards),
        best: signals(SignalKind::Best),
        models: models(shards),
        regimes: signals(SignalKind::Regime),
        signals: signals(SignalKind::Momentum),
        decisions: signals(SignalKind::Order) + signals(SignalKind::Reject),
        orders: signals(SignalKind::Order),
        rejects: signals(SignalKind::Reject),
        sent: total(|shard| shard.counts.sent),
        killed: total(|shard| shard.counts.killed),
        resent: total(|shard| shard.counts.resent),
        withheld: 0,
        unanswered: 0,
        refused: BTreeMap::new(),
    }
}

fn join_counts(shards: &[Finished]) -> JoinCounts {
    let mut counts = analytics::JoinCounts::default();
    for shard in shards {
        counts.merge(&shard.core.suites().join_counts());
    }
    JoinCounts {
        unmatched: counts.unmatched,
        late: counts.late,
        dropped: counts.dropped,
        beyond: counts.beyond,
    }
}

/// What models did, of all shards together.
fn models(shards: &[Finished]) -> BTreeMap<String, ModelCounts> {
    let mut models: BTreeMap<String, ModelCounts> = BTreeMap::new();
    let of_shards = shards
        .iter()
        .flat_map(|shard| shard.core.suites().model_counts());
    for (name, counts) in of_shards {
        let model = models.entry(name.to_string()).or_default();
        model.runs += counts.runs;
        model.over_budget += counts.over;
        model.longest_ns = model.longest_ns.max(counts.longest_ns);
        model.failed += counts.failed;
    }
    models
}

/// How far each session came, of those whose names are text.
fn sessions(reader: &ReaderStats) -> BTreeMap<String, u64> {
    let named = reader.sessions.iter().filter_map(|session| {
        let name = std::str::from_utf8(&session.id.0).ok()?;
        let is_text = name
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic());
        is_text.then(|| (name.to_owned(), session.next))
    });
    named.collect()
}

/// Message counts by the type's letter, or its number where that is none.
pub fn by_type(reader: &ReaderStats) -> BTreeMap<String, u64> {
    let letter = |code: usize| match u8::try_from(code) {
        Ok(code) if code.is_ascii_graphic() => char::from(code).to_string(),
        _ => format!("0x{code:02x}"),
    };
    let counts = reader
        .by_type
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0);
    counts.map(|(code, count)| (letter(code), *count)).collect()
}

/// The lines' counts by name.
pub fn lines(reader: &ReaderStats) -> Vec<Line> {
    let named = reader.line_names.iter().zip(&reader.lines).enumerate();
    named
        .map(|(index, (line, stats))| Line {
            name: line.name.clone(),
            packets: stats.packets,
            messages: stats.messages,
            duplicates: stats.duplicates,
            gap_messages: stats.missing,
            filled_by_other: stats.filled_by_others(),
            lost: stats.lost,
            kernel_drops: reader.dropped.get(index).copied().unwrap_or(0),
        })
        .collect()
}

fn gaps(reader: &ReaderStats) -> Vec<Gap> {
    let seen = reader.gaps.iter().take(GAPS_MAX);
    seen.map(|gap| Gap {
        first: gap.first,
        count: gap.count,
    })
    .collect()
}

fn retransmission(stats: RecoveryStats) -> Retransmission {
    Retransmission {
        requests: stats.asked.requests,
        unsent: stats.asked.unsent,
        asked: stats.asked.messages,
        recovered: stats.recovered,
        given_up: stats.given_up,
    }
}

fn snapshots(stats: &HealStats) -> Snapshots {
    Snapshots {
        losses: stats.losses,
        came: stats.snapshots,
        failed: stats.failed,
        overflows: stats.overflows,
        given_up: stats.is_given_up,
        heals: stats.heals,
        last: stats.last.map(|last| LastHeal {
            sequence: last.sequence,
            ts_event_ns: last.ts_event.0,
            seq: last.seq,
            symbols: last.symbols,
            orders: last.orders,
        }),
    }
}

fn anomalies(reader: &ReaderStats, shards: &[Finished]) -> BTreeMap<String, u64> {
    let mut all = reader.anomalies;
    for shard in shards {
        all.merge(&shard.core.anomalies());
    }
    let mut named: BTreeMap<String, u64> = all
        .iter()
        .map(|(anomaly, count)| (anomaly.name().to_string(), count))
        .collect();
    if reader.troubles > 0 {
        named.insert("input_trouble".into(), reader.troubles);
    }
    if reader.unread > 0 {
        named.insert("input_unread".into(), reader.unread);
    }
    named
}

/// The first anomalies in words: those of the reader with their places in the input, those of the
/// books with the event's number in the input and what it says.
fn examples(names: &Names, day: &TradingDay, outcome: &Outcome) -> Vec<String> {
    let mut examples = outcome.reader.examples.clone();
    for shard in &outcome.shards {
        for (anomaly, event) in shard.core.examples() {
            examples.push(format!(
                "message {} at {}, {}: {}: {:?} {:?} order {} price {} qty {}",
                event.seq,
                day.shown(event.ts_event),
                symbol_name(names, event.symbol),
                anomaly.name(),
                event.kind,
                event.side,
                event.order,
                event.price,
                event.qty
            ));
        }
    }
    examples
}

/// The signals of all shards in one order that does not depend on how many there were: by cause,
/// then symbol. What a gateway did follows its order, wherever that leaves it among the rest.
struct Signals {
    /// The parts that are not begun, the next one last.
    later: Vec<Vec<Piece>>,
    shards: Vec<Records>,
    heads: Vec<Option<(Key, Signal)>>,
}

type Records = Box<dyn Iterator<Item = Result<(u64, Record), LogError>>>;

/// `seq`, symbol, and the order within the shard's own log.
type Key = (u64, u32);

impl Signals {
    fn open(pieces: &[Piece]) -> Result<Signals, String> {
        let parts = pieces.chunk_by(|a, b| a.part == b.part);
        let mut later: Vec<Vec<Piece>> = parts.map(<[Piece]>::to_vec).collect();
        later.reverse();
        Ok(Signals {
            later,
            shards: Vec::new(),
            heads: Vec::new(),
        })
    }

    /// Begins the next part; false if there is none.
    fn begin(&mut self) -> Result<bool, String> {
        let Some(pieces) = self.later.pop() else {
            return Ok(false);
        };
        self.shards.clear();
        self.heads.clear();
        for (shard, piece) in pieces.iter().enumerate() {
            let records = piece.records().map_err(|e| e.to_string())?;
            self.shards.push(Box::new(records));
            self.heads.push(None);
            self.advance(shard)?;
        }
        Ok(true)
    }

    fn advance(&mut self, shard: usize) -> Result<(), String> {
        let before = self.heads[shard].map_or((0, 0), |(key, _)| key);
        self.heads[shard] = None;
        for item in &mut self.shards[shard] {
            let (_, record) = item.map_err(|e| e.to_string())?;
            if let Record::Signal(signal) = record {
                let key = before.max((signal.seq, signal.symbol));
                self.heads[shard] = Some((key, signal));
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Signal>, String> {
        loop {
            let keys = self.heads.iter().enumerate();
            let first = keys
                .filter_map(|(shard, head)| head.map(|(key, signal)| (key, shard, signal)))
                .min_by_key(|(key, shard, _)| (*key, *shard));
            if let Some((_, shard, signal)) = first {
                self.advance(shard)?;
                return Ok(Some(signal));
            }
            if !self.begin()? {
                return Ok(None);
            }
        }
    }
}

impl Iterator for Signals {
    type Item = Result<Signal, String>;

    fn next(&mut self) -> Option<Result<Signal, String>> {
        let taken = self.take();
        if taken.is_err() {
            // After an error there is nothing more; it was said once.
            self.heads.clear();
            self.later.clear();
        }
        taken.transpose()
    }
}

/// The time of day of the first and last event, for a summary.
pub fn span(reader: &ReaderStats, day: &TradingDay) -> Option<(String, String)> {
    let text = |ts: Ts| day.shown(ts);
    Some((text(reader.first_ts?), text(reader.last_ts?)))
}
