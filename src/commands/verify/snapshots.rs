//! A run against the snapshots that its own feed sends: each is held against the book that changes alone
//! have made up to the snapshot's own number.
//!
//! The log has no numbers of the feed, and a snapshot that a book does not need leaves no event. So the
//! run's input is read once more, by the same reader and protocol, which makes the same events with the
//! same numbers; beside them the protocol tells what each message says of its feed's numbers
//! (`Protocol::told`). With that, a snapshot's number becomes a place in the log:
//!
//! ```text
//! input    change 7 ─ change 8 ─ change 9 ─ snapshot as of 8 ─ ...
//! log      event 21 ─ event 22 ─ event 23                          compared behind event 22
//! ```
//!
//! Not compared, and counted by why: a snapshot that begins its book, or is ahead of the changes; one
//! whose number is inside of several changes that came as one, or beyond the input, or from before the book began
//! or what is remembered; one without a number; one of a book that lacks something.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use bus::ring;
use bus::{Event, Kind, Price, Qty, Side, Ts};
use feed::moldudp64::SessionId;
use feed::protocol::{
    Basis, Binance, Coinbase, Fault, Mdp3, Notes, Protocol, Snapshot, Tardis, Told, Wire,
};
use feed::reader::{Reader, Turned};
use feed::source::{Capture, Framing};
use serde_json::json;
use tapeline::config::Config;
use tapeline::pipeline;
use tapeline::run_dir::{Manifest, Piece};
use tapeline::term::count;

use super::checkpoints::{Checkpoint, Place, Row, Waiting, Walk, size_e9, symbols};
use super::divergence::Outcome;
use crate::commands::{Failure, replay};

/// So many events wait in the ring at most.
const RING_EVENTS: usize = 4096;
/// So many messages of a group are remembered, to find a snapshot's number among them.
const MESSAGES_MAX: usize = 1 << 18;
/// So many levels and orders of snapshots are remembered until the log is read.
const ROWS_MAX: usize = 1 << 24;

/// Why a snapshot is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Begins,
    Ahead,
    Within,
    Early,
    Beyond,
    Unnumbered,
    InParts,
    Stale,
    NotThere,
    TooMany,
}

impl Why {
    const fn text(self) -> &'static str {
        match self {
            Why::Begins => "begin their book",
            Why::Ahead => "are ahead of the changes",
            Why::Within => "have a number inside of changes that came as one",
            Why::Early => "are from before their book began, or before what is remembered",
            Why::Beyond => "have a number that the input does not come to",
            Why::Unnumbered => "have no number",
            Why::InParts => "lack a part",
            Why::Stale => "are of a book that lacks something",
            Why::NotThere => "are of a symbol that the run leaves out",
            Why::TooMany => "are more than are remembered",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Why::Begins => "begins",
            Why::Ahead => "ahead",
            Why::Within => "within_changes",
            Why::Early => "early",
            Why::Beyond => "beyond",
            Why::Unnumbered => "unnumbered",
            Why::InParts => "in_parts",
            Why::Stale => "stale",
            Why::NotThere => "left_out",
            Why::TooMany => "too_many",
        }
    }
}

pub fn compare(manifest: &Manifest, pieces: &[Piece], config: &Config) -> Result<Outcome, Failure> {
    let files = files(manifest)?;
    let mut capture = replay::open(&files, config)?;
    let wire = replay::wire(&mut capture, config)?;
    // A run of a version that did not look may be of several inputs.
    replay::check_together(&capture, wire, &files, config)?;
    let input = Input {
        capture,
        config,
        midnight: Ts(manifest.midnight_ns),
        until: manifest.options.to_ns.map(Ts),
        moved_ns: manifest.options.moved_ns,
    };
    let mut found = match wire {
        Wire::Mdp3 => input.read(Mdp3::new())?,
        Wire::Binance => input.read(Binance::new())?,
        Wire::Coinbase => input.read(Coinbase::new())?,
        Wire::Tardis => input.read(Tardis::new())?,
        Wire::Itch | Wire::Iex | Wire::Lobster | Wire::Dbn | Wire::Bitstamp | Wire::Pitch => {
            return Err(Failure::usage(format!(
                "the run's input is {}, which shows no books as a whole among its changes; want one of \
                 MDP 3.0, Binance, Coinbase or tardis.dev",
                wire.title()
            )));
        }
    };
    found.end();
    let all = found.claims.len() as u64 + found.passed.values().sum::<u64>();
    if all == 0 {
        return Err(Failure::usage("the run's input has no snapshot of a book"));
    }
    let Found {
        claims, mut passed, ..
    } = found;
    let names = symbols(pieces)?;
    let numbers: BTreeMap<u32, (&String, u8)> = names
        .iter()
        .map(|(name, known)| (known.number, (name, known.decimals)))
        .collect();
    let mut waiting: BTreeMap<u32, Vec<Waiting>> = BTreeMap::new();
    for claim in claims {
        match numbers.get(&claim.symbol) {
            Some((name, decimals)) => waiting.entry(claim.symbol).or_default().push(Waiting {
                checkpoint: claim.checkpoint(name, *decimals),
                name: (*name).clone(),
                decimals: *decimals,
            }),
            None => *passed.entry(Why::NotThere).or_default() += 1,
        }
    }
    let number = |one: &Waiting| match one.checkpoint.place {
        Place::Message(seq) => seq,
        Place::Time(_) | Place::Changes(_) | Place::End => unreachable!("all have a message"),
    };
    for of_symbol in waiting.values_mut() {
        of_symbol.sort_by_key(|one| std::cmp::Reverse(number(one)));
    }
    let symbols = waiting.len();
    let mut walk = Walk::new(waiting, true, pieces, config)?;
    let divergence = walk.all(pieces)?;
    if divergence.is_none() {
        let left: usize = walk.waiting.values().map(Vec::len).sum();
        passed
            .entry(Why::NotThere)
            .and_modify(|n| *n += left as u64)
            .or_insert(left as u64);
    }
    *passed.entry(Why::Stale).or_default() += walk.stale;
    passed.retain(|_, n| *n > 0);
    let not: u64 = passed.values().sum();
    let why: Vec<String> = passed
        .iter()
        .map(|(why, n)| format!("{} {}", count(*n), why.text()))
        .collect();
    let why = why.join(", ");
    if walk.checkpoints == 0 {
        return Err(Failure::input(format!(
            "none of {all} snapshots can be compared: {why}"
        )));
    }
    let mut compared = format!(
        "{} of {} snapshots, of {symbols} symbols, {} levels",
        count(walk.checkpoints),
        count(all),
        count(walk.compared)
    );
    if not > 0 {
        compared.push_str(&format!("; not the others: {why}"));
    }
    let by_why: BTreeMap<&str, u64> = passed.iter().map(|(why, n)| (why.key(), *n)).collect();
    Ok(Outcome {
        not_compared: Vec::new(),
        oracle: "snapshots",
        compared,
        counts: json!({
            "snapshots": all, "compared": walk.checkpoints, "symbols": symbols,
            "levels": walk.compared, "not_compared": by_why,
        }),
        divergence,
    })
}

/// The files that the run read, which must be there and as long as they were.
fn files(manifest: &Manifest) -> Result<Vec<PathBuf>, Failure> {
    if manifest.mode != "replay" {
        return Err(Failure::usage(
            "a live run has no files to read again; replay its capture, and verify that",
        ));
    }
    let mut files = Vec::new();
    for input in &manifest.inputs {
        let path = &input.path;
        let told = std::fs::metadata(path)
            .map_err(|error| Failure::io(format!("{}: {error}", path.display())))?;
        if told.len() != input.bytes {
            return Err(Failure::usage(format!(
                "{}: {} bytes, and the run read {}: want the file that the run was made from",
                path.display(),
                told.len(),
                input.bytes
            )));
        }
        files.push(path.clone());
    }
    Ok(files)
}

/// What a protocol was given, and what came of it.
struct Heard {
    events: usize,
    told: Told,
}

/// A protocol that is listened to.
struct Watched<P> {
    inner: P,
    heard: Rc<RefCell<VecDeque<Heard>>>,
}

impl<P: Protocol> Protocol for Watched<P> {
    const FRAMING: Framing = P::FRAMING;
    const NUMBERS_PACKETS: bool = P::NUMBERS_PACKETS;
    const IS_TRANSLATED: bool = P::IS_TRANSLATED;

    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        self.inner.decode(message, event)
    }

    fn symbol(&self, message: &[u8]) -> u32 {
        self.inner.symbol(message)
    }

    fn code(&self, message: &[u8]) -> Option<u8> {
        self.inner.code(message)
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        self.inner.ts_event(message)
    }

    fn name(&self, message: &[u8]) -> Option<u64> {
        self.inner.name(message)
    }

    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let mut told = self.inner.told(message);
        let before = out.len();
        let result = self.inner.translate(message, event, out);
        let events = out.len() - before;
        if let Told::Snapshot(snapshot) = &mut told
            && snapshot.symbol == 0
        {
            // It is met with this message.
            let mut made = out[before..].iter();
            let named = made.find(|event| event.kind == Kind::Symbol);
            snapshot.symbol = named.map_or(0, |event| event.symbol);
        }
        self.heard.borrow_mut().push_back(Heard { events, told });
        result
    }

    fn lost(&mut self, session: SessionId, out: &mut Vec<Event>) -> bool {
        let before = out.len();
        let is_told = self.inner.lost(session, out);
        let (events, told) = (out.len() - before, Told::Nothing);
        self.heard.borrow_mut().push_back(Heard { events, told });
        is_told
    }
}

/// The run's input.
struct Input<'a> {
    capture: Capture,
    config: &'a Config,
    midnight: Ts,
    until: Option<Ts>,
    moved_ns: i64,
}

impl Input<'_> {
    /// Reads it, as the run did; all symbols, since messages are numbered over all.
    fn read<P: Protocol>(self, inner: P) -> Result<Found, Failure> {
        let heard = Rc::new(RefCell::new(VecDeque::new()));
        let protocol = Watched {
            inner,
            heard: heard.clone(),
        };
        let mut told = pipeline::reader_of(self.config, self.midnight, &[], self.until, false);
        told.moved_ns = self.moved_ns;
        let (sender, mut events) = ring::ring(RING_EVENTS);
        let mut reader = Reader::with_protocol(self.capture, protocol, told, vec![sender]);
        let mut found = Found::default();
        // Events that belong to the message heard first.
        let mut taken = 0;
        let mut seq = 0;
        loop {
            while let Some(batch) = events.batch(RING_EVENTS) {
                let (first, second) = batch.slices();
                for event in first.iter().chain(second) {
                    // What the reader says itself comes from no message.
                    if matches!(event.kind, Kind::Tick | Kind::Gap | Kind::End) {
                        continue;
                    }
                    pass_silent(&heard, &mut taken, seq, &mut found);
                    (taken, seq) = (taken + 1, event.seq);
                    pass_silent(&heard, &mut taken, seq, &mut found);
                }
                let len = first.len() + second.len();
                batch.commit(len);
            }
            match reader.turn().map_err(Failure::io)? {
                Turned::Worked { .. } | Turned::Full | Turned::Empty => {}
                Turned::Ended if events.has_some() => {}
                Turned::Ended => break,
            }
        }
        pass_silent(&heard, &mut taken, seq, &mut found);
        Ok(found)
    }
}

/// Passes the messages heard of which all events were taken.
fn pass_silent(heard: &RefCell<VecDeque<Heard>>, taken: &mut usize, seq: u64, found: &mut Found) {
    let mut heard = heard.borrow_mut();
    while let Some(front) = heard.front()
        && front.events == *taken
    {
        let one = heard.pop_front().expect("it is there");
        *taken = 0;
        match one.told {
            Told::Nothing => {}
            Told::Changes { group, first, last } => found.changes(group, first, last, seq),
            Told::Snapshot(snapshot) => found.snapshot(snapshot),
        }
    }
}

/// A snapshot, and behind which message of the log it is to be met.
struct Claim {
    symbol: u32,
    number: u64,
    seq: u64,
    rows: Vec<(Side, Price, Qty)>,
    are_orders: bool,
    levels_max: Option<usize>,
    worst: [Option<Price>; 2],
}

impl Claim {
    fn checkpoint(&self, name: &str, decimals: u8) -> Checkpoint {
        let side = |side: Side, worst: Option<Price>| {
            let mut prices: BTreeMap<Price, (i128, u64)> = BTreeMap::new();
            for (_, price, qty) in self.rows.iter().filter(|(own, ..)| *own == side) {
                let of_price = prices.entry(*price).or_default();
                of_price.0 += size_e9(qty.0, decimals);
                of_price.1 += 1;
            }
            let is_in = |price: Price| {
                worst.is_none_or(|worst| match side {
                    Side::Buy => price >= worst,
                    _ => price <= worst,
                })
            };
            let prices = prices.into_iter().filter(|(price, _)| is_in(*price));
            let row = |(price, (size_e9, orders))| Row {
                price,
                size_e9,
                orders: self.are_orders.then_some(orders),
            };
            let mut rows: Vec<Row> = prices.map(row).collect();
            if side == Side::Buy {
                rows.reverse();
            }
            rows
        };
        Checkpoint {
            name: format!("snapshot as of {}", self.number),
            symbol: Some(name.to_string()),
            place: Place::Message(self.seq),
            sides: [
                Some(side(Side::Buy, self.worst[0])),
                Some(side(Side::Sell, self.worst[1])),
            ],
            shown: self.levels_max.unwrap_or(usize::MAX),
            worst: self.worst,
            best: [None; 2],
            levels: [None; 2],
            orders: [None; 2],
        }
    }
}

/// A group's messages: first and last number, and the last event of the log.
#[derive(Default)]
struct Group {
    messages: VecDeque<(u64, u64, u64)>,
    /// Snapshots whose numbers are still to come.
    ahead: Vec<Claim>,
}

/// What began a symbol's book.
#[derive(Clone, Copy)]
struct Begun {
    number: u64,
    /// The worst prices it showed: beyond them not all is known.
    worst: [Option<Price>; 2],
}

/// What is found in an input.
#[derive(Default)]
struct Found {
    groups: HashMap<u32, Group>,
    begun: HashMap<u32, Begun>,
    /// Snapshots of which not all parts came, by symbol.
    open: HashMap<u32, Snapshot>,
    claims: Vec<Claim>,
    rows: usize,
    passed: BTreeMap<Why, u64>,
}

impl Found {
    fn pass(&mut self, why: Why) {
        *self.passed.entry(why).or_default() += 1;
    }

    fn changes(&mut self, id: u32, first: u64, last: u64, seq: u64) {
        let group = self.groups.entry(id).or_default();
        match group.messages.back_mut() {
            // Several messages of one packet have its number.
            Some(newest) if (newest.0, newest.1) == (first, last) => {
                newest.2 = seq;
                return;
            }
            // It began anew, and numbers of before mean something else.
            Some(newest) if last < newest.1 => group.messages.clear(),
            _ => {}
        }
        group.messages.push_back((first, last, seq));
        if group.messages.len() > MESSAGES_MAX {
            group.messages.pop_front();
        }
        if !group.ahead.is_empty() {
            for claim in std::mem::take(&mut group.ahead) {
                self.place(id, claim);
            }
        }
    }

    /// A snapshot, or a part of one.
    fn snapshot(&mut self, mut snapshot: Snapshot) {
        let symbol = snapshot.symbol;
        let open = self.open.remove(&symbol);
        if snapshot.part > 1 {
            // That some are missing was counted with the first.
            let Some(open) = open else { return };
            if open.part + 1 != snapshot.part || open.number != snapshot.number {
                return self.pass(Why::InParts);
            }
            let mut rows = open.rows;
            rows.append(&mut snapshot.rows);
            (snapshot.rows, snapshot.basis) = (rows, open.basis);
        } else if open.is_some() {
            self.pass(Why::InParts);
        }
        if snapshot.part < snapshot.parts {
            self.open.insert(symbol, snapshot);
            return;
        }
        let mut worst = [None, None];
        if snapshot.levels_max.is_none() && !snapshot.are_orders {
            for (side, price, _) in &snapshot.rows {
                let worst = &mut worst[usize::from(*side == Side::Sell)];
                *worst = Some(match (*worst, side) {
                    (None, _) => *price,
                    (Some(worst), Side::Buy) => (*price).min(worst),
                    (Some(worst), _) => (*price).max(worst),
                });
            }
        }
        let number = snapshot.number;
        match snapshot.basis {
            Basis::Whole => {}
            Basis::Begins | Basis::Ahead => {
                self.begun.insert(symbol, Begun { number, worst });
                return self.pass(match snapshot.basis {
                    Basis::Begins => Why::Begins,
                    _ => Why::Ahead,
                });
            }
            Basis::Unnumbered => return self.pass(Why::Unnumbered),
        }
        let begun = self.begun.get(&symbol).copied().unwrap_or(Begun {
            number: 0,
            worst: [None; 2],
        });
        if number < begun.number {
            return self.pass(Why::Early);
        }
        let better = |side: usize| match (worst[side], begun.worst[side]) {
            (Some(one), Some(other)) if side == 0 => Some(one.max(other)),
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.rows += snapshot.rows.len();
        if self.rows > ROWS_MAX {
            return self.pass(Why::TooMany);
        }
        let claim = Claim {
            symbol,
            number,
            seq: 0,
            worst: [better(0), better(1)],
            rows: snapshot.rows,
            are_orders: snapshot.are_orders,
            levels_max: snapshot.levels_max,
        };
        self.place(snapshot.group, claim);
    }

    /// Finds the message behind which a snapshot is to be met, if that came already.
    fn place(&mut self, id: u32, mut claim: Claim) {
        let group = self.groups.entry(id).or_default();
        let messages = &group.messages;
        if messages.back().is_none_or(|newest| newest.1 < claim.number) {
            group.ahead.push(claim);
            return;
        }
        let behind = messages.partition_point(|message| message.1 <= claim.number);
        let next = messages.get(behind);
        if next.is_some_and(|next| next.0 <= claim.number) {
            return self.pass(Why::Within);
        }
        match behind.checked_sub(1) {
            None => self.pass(Why::Early),
            Some(last) => {
                claim.seq = messages[last].2;
                self.claims.push(claim);
            }
        }
    }

    /// The input is over.
    fn end(&mut self) {
        let groups = self.groups.values();
        let beyond: usize = groups.map(|group| group.ahead.len()).sum();
        for (why, number) in [(Why::Beyond, beyond), (Why::InParts, self.open.len())] {
            *self.passed.entry(why).or_default() += number as u64;
        }
    }
}
