//! `tapeline replay --break`: on until a condition holds, and from there by hand
//!
//! One thread takes the events one by one through one core, so that all of it stands still at the
//! same event. Nothing is written, and orders go nowhere.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use analytics::Condition;
use bus::clock::MachineClock;
use bus::fixed::Scaled;
use bus::ring::{self, Receiver};
use bus::{Event, Flags, Kind, Level, Phase, Price, Side, Signal, Ts};
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Tardis, Wire,
};
use feed::reader::{Reader, Turned};
use feed::source::{Capture, Line, Paced, Polled, Source, SourceError};
use serde_json::{Value, json};
use tapeline::config::Config;
use tapeline::core::{Core, Sink};
use tapeline::pipeline::{self, Stop};
use tapeline::session::TradingDay;

use super::words::Words;
use super::{Failure, Talk, replay};
use crate::cli;

/// So many events wait in the ring at most.
const RING_EVENTS: usize = 4096;
/// So many of a symbol's last events are shown.
const LAST_EVENTS: usize = 8;
/// So many levels of a book are shown where nobody says how many.
const LEVELS: usize = 5;
/// How long a command is waited for before a signal is looked for.
const LISTEN: Duration = Duration::from_millis(50);
/// How long to rest before an input at a pace is asked again.
const REST: Duration = Duration::from_micros(100);

const HELP: &str = "\
step [N]            on to the N-th next event of the symbol (1)
continue            on to where the condition comes to hold again
book [SYMBOL] [N]   N levels of a book (of the symbol, 5)
events [SYMBOL]     a symbol's last events
quit                the end
help                this
The first letter is enough; an empty line is the last command once more.
";

/// A capture as fast as it can be read, or at a pace.
enum Input {
    Whole(Box<Capture>),
    Paced(Box<Paced<Capture, MachineClock>>),
}

impl Source for Input {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        match self {
            Input::Whole(source) => source.poll(),
            Input::Paced(source) => source.poll(),
        }
    }

    fn lines(&self) -> &[Line] {
        match self {
            Input::Whole(source) => source.lines(),
            Input::Paced(source) => source.lines(),
        }
    }
}

pub fn watch(args: &cli::Replay, condition: &str, talk: Talk, stop: &Stop) -> Result<(), Failure> {
    let (condition, symbol) = Condition::parse_of_symbol(condition)
        .map_err(|e| Failure::usage(format!("--break {condition:?}: {e}")))?;
    let config = replay::settings(args)?;
    if args.files.is_empty() {
        return Err(Failure::usage(
            "which captures? `tapeline replay FILE... --break 'AAPL.spread > 50bps'`",
        ));
    }
    if args.mode.is_some() || !args.confirm.is_empty() {
        return Err(Failure::usage(
            "--mode and --confirm say where orders go, and with --break none are sent",
        ));
    }
    super::check_regular(&args.files)?;
    if config.run.shards > 1 {
        talk.say("with --break one thread takes all symbols, in one shard");
    }
    let mut source = replay::open(&args.files, &config)?;
    for (full, name) in source.renamed() {
        talk.say(format_args!("{full} is called {name} here"));
    }
    let wire = replay::wire(&mut source, &config)?;
    let day = talk.told(replay::trading_day(&args.files, &config, talk)?)?;
    replay::check_together(&source, wire, &args.files, &config)?;
    let time = |text: &Option<String>| text.as_ref().map(|text| day.parse(text)).transpose();
    let from = time(&args.from).map_err(Failure::usage)?;
    let until = time(&args.to).map_err(Failure::usage)?;
    let input = match pipeline::paced(source, MachineClock::new(), config.run.speed) {
        Err(source) => Input::Whole(Box::new(source)),
        Ok(paced) => Input::Paced(Box::new(paced)),
    };
    let core = pipeline::core(&config, day.midnight, from).map_err(Failure::io)?;
    let (sender, events) = ring::ring(RING_EVENTS);
    let symbols = replay::symbols(args)?;
    let told = pipeline::reader_of(&config, day.midnight, &symbols, until, false);
    let is_by_hand = args.break_commands || std::io::stdin().is_terminal();
    let mut watch = Watch {
        files: &args.files,
        words: Words::new(&day),
        day: &day,
        talk,
        stop,
        config: &config,
        condition,
        wanted: symbol,
        from: from.unwrap_or(Ts::MIN),
        is_by_hand,
        is_prompted: is_by_hand && std::io::stdin().is_terminal() && !talk.json,
        lines: None,
        core,
        events,
        last: HashMap::new(),
        holding: HashMap::new(),
        taken: 0,
        turned: Instant::now(),
        is_met: false,
    };
    let midnight = day.midnight;
    let rings = vec![sender];
    match wire {
        Wire::Itch => watch.go(Reader::with_protocol(
            input,
            Itch::new(midnight),
            told,
            rings,
        )),
        Wire::Iex => watch.go(Reader::with_protocol(input, Iex::new(), told, rings)),
        Wire::Lobster => watch.go(Reader::with_protocol(
            input,
            Lobster::new(midnight),
            told,
            rings,
        )),
        Wire::Dbn => watch.go(Reader::with_protocol(input, Dbn::new(), told, rings)),
        Wire::Mdp3 => watch.go(Reader::with_protocol(input, Mdp3::new(), told, rings)),
        Wire::Binance => watch.go(Reader::with_protocol(input, Binance::new(), told, rings)),
        Wire::Tardis => watch.go(Reader::with_protocol(input, Tardis::new(), told, rings)),
        Wire::Coinbase => watch.go(Reader::with_protocol(input, Coinbase::new(), told, rings)),
        Wire::Bitstamp => watch.go(Reader::with_protocol(input, Bitstamp::new(), told, rings)),
        Wire::Pitch => watch.go(Reader::with_protocol(
            input,
            Pitch::new(midnight),
            told,
            rings,
        )),
    }
}

/// What is to happen until the next stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The condition comes to hold.
    Holds,
    /// So many more events of a symbol.
    Steps { symbol: u32, left: u64 },
}

/// What a person wants.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Step(u64),
    Continue,
    Book(Option<String>, usize),
    Events(Option<String>),
    Quit,
    Help,
}

/// Reads a line; an error says what would be right.
fn wish(line: &str) -> Result<Wish, String> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default().to_ascii_lowercase();
    let rest: Vec<&str> = words.collect();
    let number = |text: &str| {
        let number = text.parse::<u64>().ok().filter(|number| *number > 0);
        number.ok_or_else(|| format!("`{text}` is no number above 0"))
    };
    let is = |name: &str| !command.is_empty() && name.starts_with(&command);
    let name = |text: &str| text.to_ascii_uppercase();
    match rest[..] {
        [] if is("step") => Ok(Wish::Step(1)),
        [count] if is("step") => Ok(Wish::Step(number(count)?)),
        [] if is("continue") => Ok(Wish::Continue),
        [] if is("book") => Ok(Wish::Book(None, LEVELS)),
        [one] if is("book") => match one.parse::<usize>() {
            Ok(levels) => Ok(Wish::Book(None, levels)),
            Err(_) => Ok(Wish::Book(Some(name(one)), LEVELS)),
        },
        [one, levels] if is("book") => Ok(Wish::Book(Some(name(one)), number(levels)? as usize)),
        [] if is("events") => Ok(Wish::Events(None)),
        [one] if is("events") => Ok(Wish::Events(Some(name(one)))),
        [] if is("quit") => Ok(Wish::Quit),
        [] if is("help") => Ok(Wish::Help),
        _ => Err(format!(
            "`{}` is no command; `help` lists them",
            line.trim()
        )),
    }
}

/// The lines of stdin, from a thread that alone is held up by them.
fn typed() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// What is concluded is kept by the core itself.
struct Unheard;

impl Sink for Unheard {
    fn event(&mut self, _: &Event) {}
    fn signal(&mut self, _: &Signal) {}
}

/// Since when a condition holds of a symbol.
#[derive(Clone, Copy, Debug)]
struct Holding {
    since: Ts,
    /// It was stopped at, and is not again before it ceases to hold.
    is_told: bool,
}

struct Watch<'a> {
    files: &'a [PathBuf],
    words: Words<'a>,
    day: &'a TradingDay,
    talk: Talk,
    stop: &'a Stop,
    config: &'a Config,
    condition: Condition,
    /// The symbol that it is of; any otherwise.
    wanted: Option<String>,
    from: Ts,
    is_by_hand: bool,
    is_prompted: bool,
    /// What is typed, once somebody was asked.
    lines: Option<mpsc::Receiver<std::io::Result<String>>>,
    core: Core,
    events: Receiver,
    last: HashMap<u32, VecDeque<Event>>,
    holding: HashMap<u32, Holding>,
    taken: u64,
    /// When the last turn began.
    turned: Instant,
    is_met: bool,
}

impl Watch<'_> {
    fn go<P: Protocol>(&mut self, mut reader: Reader<Input, P>) -> Result<(), Failure> {
        let mut until = Until::Holds;
        let mut before = Wish::Step(1);
        loop {
            let Some(event) = self.next(&mut reader)? else {
                return self.end();
            };
            let Some(symbol) = self.stops_at(&event, &mut until) else {
                continue;
            };
            self.is_met = true;
            let stopped = Instant::now();
            self.show_stop(&event, symbol)?;
            if !self.is_by_hand {
                return Ok(());
            }
            let Some(next) = self.ask(symbol, &mut before)? else {
                return Ok(());
            };
            until = next;
            if let Input::Paced(paced) = reader.source_mut() {
                paced.paused(stopped.elapsed().as_nanos() as u64);
            }
            // That has what it was stopped for meanwhile, too.
            self.stop.was_continued();
            self.turned = Instant::now();
        }
    }

    /// Takes in the next event; none at the end.
    fn next<P: Protocol>(
        &mut self,
        reader: &mut Reader<Input, P>,
    ) -> Result<Option<Event>, Failure> {
        loop {
            let before = std::mem::replace(&mut self.turned, Instant::now());
            if self.stop.was_continued()
                && let Input::Paced(paced) = reader.source_mut()
            {
                // Stopped by Ctrl-Z, or while it waited for a command.
                let away = self.turned.saturating_duration_since(before);
                paced.paused(away.as_nanos() as u64);
            }
            if self.stop.is_set() {
                return Err(Failure::interrupted("stopped by a signal"));
            }
            if let Some(batch) = self.events.batch(1) {
                let event = batch.slices().0[0];
                batch.commit(1);
                self.core.take(&[event], &mut Unheard);
                self.taken += 1;
                return Ok(Some(event));
            }
            match reader.turn().map_err(Failure::io)? {
                Turned::Worked { .. } | Turned::Full => {}
                Turned::Empty => thread::park_timeout(REST),
                Turned::Ended if self.events.has_some() => {}
                Turned::Ended => return Ok(None),
            }
        }
    }

    /// Whether to stop behind this event, and at which symbol.
    fn stops_at(&mut self, event: &Event, until: &mut Until) -> Option<u32> {
        if event.kind.is_for_all() {
            // Time alone may have made it hold long enough.
            return match (event.kind, &until) {
                (Kind::Tick, Until::Holds) => self.ripe(event.ts_event),
                _ => None,
            };
        }
        let last = self.last.entry(event.symbol).or_default();
        if last.len() == LAST_EVENTS {
            last.pop_front();
        }
        last.push_back(*event);
        // Several changes that are one have no state between them.
        if event.flags.has(Flags::MORE) {
            return None;
        }
        let holds = self.notice(event);
        match until {
            Until::Steps { symbol, left } if *symbol == event.symbol => {
                *left -= 1;
                (*left == 0).then_some(event.symbol)
            }
            Until::Steps { .. } => None,
            Until::Holds => holds.then_some(event.symbol),
        }
    }

    /// Asks the condition of an event's symbol; whether it came to hold, for as long as it must.
    fn notice(&mut self, event: &Event) -> bool {
        let symbol = event.symbol;
        let is_ours = event.ts_event >= self.from && self.is_wanted(symbol);
        if !is_ours || !self.condition.holds(&self.core.suites().view(symbol)) {
            self.holding.remove(&symbol);
            return false;
        }
        let holding = self.holding.entry(symbol).or_insert(Holding {
            since: event.ts_event,
            is_told: false,
        });
        let is_ripe = event.ts_event.since(holding.since) >= self.condition.hold_ns();
        let is_news = is_ripe && !holding.is_told;
        holding.is_told |= is_ripe;
        is_news
    }

    /// The first symbol of which it has held long enough by now.
    fn ripe(&mut self, now: Ts) -> Option<u32> {
        let hold_ns = self.condition.hold_ns();
        let is_ripe = |holding: &Holding| !holding.is_told && now.since(holding.since) >= hold_ns;
        let ripe = self.holding.iter().filter(|(_, holding)| is_ripe(holding));
        let symbol = ripe.map(|(symbol, _)| *symbol).min()?;
        self.holding.get_mut(&symbol)?.is_told = true;
        Some(symbol)
    }

    fn is_wanted(&self, symbol: u32) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_none_or(|wanted| self.name(symbol) == *wanted)
    }

    fn name(&self, symbol: u32) -> String {
        String::from_utf8_lossy(self.core.name(symbol))
            .trim_end()
            .to_string()
    }

    /// The symbol of this name, or the one that is stopped at.
    fn find(&self, name: Option<&String>, stopped_at: u32) -> Result<u32, String> {
        let Some(name) = name else {
            return Ok(stopped_at);
        };
        let found = self
            .core
            .symbols()
            .find(|symbol| self.name(*symbol) == *name);
        found.ok_or_else(|| format!("{name}: nothing was heard of such a symbol so far"))
    }

    /// The next line that is typed, or none at the end of them. A signal ends the wait.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let lines = self.lines.get_or_insert_with(typed);
        loop {
            if self.stop.is_set() {
                return Err(Failure::interrupted("stopped by a signal"));
            }
            match lines.recv_timeout(LISTEN) {
                Ok(line) => return line.map(Some).map_err(Failure::io),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Does what is asked for until that is to go on; none for the end.
    fn ask(&mut self, symbol: u32, before: &mut Wish) -> Result<Option<Until>, Failure> {
        loop {
            if self.is_prompted {
                let mut out = std::io::stdout().lock();
                // A terminal that is gone has no more lines either.
                let _ = write!(out, "(tapeline) ").and_then(|()| out.flush());
            }
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            let found = match line.trim().is_empty() {
                true => Ok(before.clone()),
                false => wish(&line),
            };
            let shown = match found.clone() {
                Ok(Wish::Step(left)) => {
                    *before = Wish::Step(left);
                    return Ok(Some(Until::Steps { symbol, left }));
                }
                Ok(Wish::Continue) => {
                    *before = Wish::Continue;
                    return Ok(Some(Until::Holds));
                }
                Ok(Wish::Quit) => return Ok(None),
                Ok(Wish::Book(name, levels)) => self
                    .find(name.as_ref(), symbol)
                    .map(|symbol| self.book(symbol, levels)),
                Ok(Wish::Events(name)) => self
                    .find(name.as_ref(), symbol)
                    .map(|symbol| self.last_events(symbol)),
                Ok(Wish::Help) => Ok((HELP.to_string(), json!({ "help": HELP }))),
                Err(what) => Err(what),
            };
            match shown {
                Ok((text, value)) => {
                    self.data(&text, &value)?;
                    *before = found.expect("it was shown");
                }
                Err(what) => self.talk.say(what),
            }
        }
    }

    /// Text for people, or an object in a line.
    fn data(&self, text: &str, value: &Value) -> Result<(), Failure> {
        match self.talk.json {
            true => self.talk.data(&format!("{value}\n")),
            false => self.talk.data(text),
        }
    }

    fn show_stop(&self, event: &Event, symbol: u32) -> Result<(), Failure> {
        let (book, book_json) = self.book(symbol, LEVELS);
        let (last, last_json) = self.last_events(symbol);
        let time = self.day.shown(event.ts_event);
        let name = self.name(symbol);
        let view = self.core.suites().view(symbol);
        let text = format!("{name} at {time}, event {}\n{last}{book}", event.seq);
        let regime = format!("{:?}", view.regime).to_lowercase();
        let said = json!({
            "schema": "tapeline-break/1",
            "symbol": name,
            "ts_event": event.ts_event.0,
            "time": time,
            "seq": event.seq,
            "events": self.taken,
            "regime": view.regime_known.then_some(regime),
            "trades": view.trade_count,
            "volume": view.volume.0,
            "book": book_json,
            "last_events": last_json,
        });
        self.data(&text, &said)
    }

    fn last_events(&self, symbol: u32) -> (String, Value) {
        let events = self.last.get(&symbol).into_iter().flatten();
        let lines: Vec<String> = events.map(|event| self.words.event(event)).collect();
        let text = lines.iter().map(|line| format!("  {line}\n")).collect();
        (text, json!(lines))
    }

    fn book(&self, symbol: u32, levels: usize) -> (String, Value) {
        let books = self.core.books();
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        books.depth(symbol, Side::Buy, levels, &mut bids);
        books.depth(symbol, Side::Sell, levels, &mut asks);
        let decimals = self.core.decimals(symbol);
        let phase = match books.phase(symbol) {
            Phase::Unknown => "unknown",
            Phase::Trading => "trading",
            Phase::Halted => "halted",
            Phase::QuoteOnly => "quotes only",
        };
        let is_stale = books.is_stale(symbol);
        let stale = if is_stale { ", stale" } else { "" };
        let mut text = format!("  {}  {phase}{stale}\n", self.name(symbol));
        let cells = |level: Option<&Level>| match level {
            Some(l) => (Scaled(l.qty.0, decimals).to_string(), l.price.to_string()),
            None => Default::default(),
        };
        for row in 0..bids.len().max(asks.len()) {
            let (bid_qty, bid) = cells(bids.get(row));
            let (ask_qty, ask) = cells(asks.get(row));
            text.push_str(&format!(
                "  {bid_qty:>10} {bid:>12}   {ask:<12} {ask_qty:<10}\n"
            ));
        }
        let side = |levels: &[Level]| -> Vec<Value> {
            let price = |price: Price| price.to_string();
            let level = |l: &Level| json!([price(l.price), l.qty.0, l.orders]);
            levels.iter().map(level).collect()
        };
        let value = json!({
            "symbol": self.name(symbol), "phase": phase, "stale": is_stale,
            "qty_decimals": decimals, "bids": side(&bids), "asks": side(&asks),
        });
        (text, value)
    }

    /// The input is over.
    fn end(&self) -> Result<(), Failure> {
        if self.is_met {
            self.talk
                .say(format_args!("the input ends after {} events", self.taken));
            return Ok(());
        }
        if let Some(wanted) = &self.wanted
            && !self
                .core
                .symbols()
                .any(|symbol| self.name(symbol) == *wanted)
        {
            return Err(Failure::input(format!(
                "{wanted}: no such symbol in the input"
            )));
        }
        let path = self.files[0].display();
        let hint = match self.core.symbols().next() {
            Some(_) => String::new(),
            None if self.config.source.protocol.is_none() => {
                format!("; {}", replay::not_recognised())
            }
            None => "; no message of the feed was found".to_string(),
        };
        Err(Failure::input(format!(
            "{path}: the condition came to hold at none of {} events{hint}",
            self.taken
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_say_why_not() {
        let check = |line: &str, want: Wish| assert_eq!(wish(line), Ok(want), "{line}");
        check("step", Wish::Step(1));
        check("s 20", Wish::Step(20));
        check(" CONTINUE ", Wish::Continue);
        check("b aapl 3", Wish::Book(Some("AAPL".into()), 3));
        check("book 7", Wish::Book(None, 7));
        check("e", Wish::Events(None));
        check("q", Wish::Quit);
        for line in ["", "step 0", "step x", "go", "quit now", "book A 0"] {
            assert!(wish(line).is_err(), "{line}");
        }
    }
}
