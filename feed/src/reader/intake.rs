//! From messages in order to numbered events with a good time, each on its way to its shard.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bus::ring::Sender;
use bus::{Anomalies, Anomaly, Event, Flags, Kind, Qty, Ts};

use super::stage::Stage;
use super::{EXAMPLES_MAX, GAPS_LISTED_MAX, GapSeen, Position, ReaderConfig, SHARDS_MAX, TakenUp};
use crate::arbiter::Gap;
use crate::groups::{Groups, padded};
use crate::moldudp64::{Blocks, SessionId};
use crate::protocol::{Fault, Notes, Protocol};
use crate::quarantine::{Item, Quarantine, Refused};
use crate::source::{Packet, Place, Trouble};

/// Symbols are numbered by 16 bits in ITCH; a greater number has no state of its own.
const SYMBOLS: usize = 1 << 16;

/// Stands for a file without sessions, or for a line of them, among the sources.
fn file_source(line: u8) -> SessionId {
    let mut id = *b"\0file     ";
    id[9] = line;
    SessionId(id)
}

/// So many troubles of the source are told behind all else.
const TROUBLES_MAX: usize = 16;

/// Messages that are read in one go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub(super) ts_recv: Option<Ts>,
    pub(super) place: Place,
    /// Whose messages they are, by [`Times::source_of`].
    pub(super) source: u8,
    /// How many messages of the packet lie before these bytes.
    pub(super) before: u64,
    pub(super) skip: u64,
    pub(super) count: u64,
}

/// A message and where it stands.
#[derive(Clone, Copy)]
struct At<'a> {
    run: &'a Run,
    /// Which message of the packet, from 1.
    index: u64,
    message: &'a [u8],
    /// What comes behind it.
    rest: &'a [u8],
    /// The bytes of all that are read in one go.
    all_bytes: usize,
}

impl At<'_> {
    /// Where it stands, and which message it is there.
    fn place(&self) -> (Place, u64) {
        let behind_bytes = self.all_bytes - self.rest.len() - self.message.len() - 2;
        self.run.place.of_message(self.index, behind_bytes)
    }
}

/// Messages in, numbered and timed events onto the stage.
#[derive(Debug)]
pub(super) struct Intake<P> {
    protocol: P,
    pub(super) stage: Stage,
    routes: Box<[Route]>,
    /// Stands in [`Route::shard`] for symbols that were not asked for: one past the last shard.
    nowhere: u8,
    symbols: Option<BTreeSet<[u8; 8]>>,
    groups: Groups,
    pub(super) times: Times,
    pub(super) seq: u64,
    pub(super) messages: u64,
    pub(super) by_type: [u64; 256],
    /// The input is to end before the message that is at hand.
    pub(super) is_cut: bool,
    pub(super) troubles: u64,
    /// Those of them behind which a file was not read on.
    pub(super) unread: u64,
    pub(super) anomalies: Anomalies,
    pub(super) examples: Vec<String>,
    pub(super) gaps: Vec<GapSeen>,
    doubt: Doubt,
    /// What a message was translated to.
    translated: Vec<Event>,
    /// By how much all times are later than the input says.
    moved_ns: i64,
    /// The arrival of what [`Intake::stage_now`] says.
    now_recv: Option<Ts>,
    /// Where what is refused goes, if anywhere.
    pub(super) quarantine: Option<Quarantine>,
    /// Refused messages of the packet at hand, whose numbers are still to be said.
    refused: Vec<RefusedMessage>,
    /// By `seq`, events that must come again.
    again: BTreeMap<u64, Event>,
    /// The first that came otherwise.
    otherwise: Option<String>,
    /// The last event was `End`.
    is_over: bool,
}

/// A message that was refused.
#[derive(Debug)]
struct RefusedMessage {
    fault: Fault,
    place: Place,
    /// Which message it is at its place.
    number: u64,
    ts_recv: Option<Ts>,
    /// Which it was of those that were read in one go.
    index: u64,
    message: Vec<u8>,
}

/// What a packet's messages are numbered by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    pub(super) line: u8,
    /// The session, and the number of the packet's first message; `None` for those without.
    pub(super) first: Option<(SessionId, u64)>,
}

/// A message at the end of a packet or piece whose time leaps ahead, where no clock of arrivals
/// says whether it may: there is none, or it is ahead of all times. It waits for the message behind it, in the next packet, so that it does
/// not matter how messages lie in packets.
#[derive(Debug)]
struct Doubt {
    /// The message behind its length, and then the next one; empty while there is none.
    blocks: Vec<u8>,
    run: Run,
    /// It is being taken now, and cannot be in doubt again.
    is_settling: bool,
}

/// Where a symbol's events go.
#[derive(Clone, Copy, Debug)]
struct Route {
    shard: u8,
    /// [`Notes::NAMES`] once the name is known.
    known: u8,
}

/// What is known of event time.
#[derive(Debug)]
pub(super) struct Times {
    tick_ns: i64,
    out_of_order_ns: i64,
    max_future_ns: i64,
    /// 0 where sources are not told apart.
    idle_after_ns: i64,
    /// The sources met so far; none where they are not told apart.
    sources: Vec<SourceTime>,
    until: Ts,
    pub(super) first: Option<Ts>,
    /// The time of the event before.
    last: Ts,
    /// The highest good time; `Ts::MIN` before the first.
    highest: Ts,
    /// When the packet with the highest time arrived.
    highest_recv: Option<Ts>,
    /// The last tick.
    tick: Ts,
    /// From this time on, an event needs a closer look: a tick is due, or it is too far ahead.
    horizon: Ts,
    /// Each event needs a closer look: it was told before, by a run that was stopped.
    is_again: bool,
}

/// What is known of the time of one source.
#[derive(Clone, Copy, Debug)]
struct SourceTime {
    id: SessionId,
    /// Its highest good time, and that of its latest event; `Ts::MIN` before the first.
    highest: Ts,
    last: Ts,
}

/// At most so many sources have a time of their own; others share that of the last.
const SOURCES_MAX: usize = 255;

impl Times {
    /// The number of a source, where sources are told apart: a session, or for files that have none
    /// [`file_source`].
    #[inline]
    pub(super) fn source_of(&mut self, id: SessionId) -> u8 {
        match self.idle_after_ns {
            0 => 0,
            _ => self.find_source(id),
        }
    }

    #[cold]
    fn find_source(&mut self, id: SessionId) -> u8 {
        let found = self.sources.iter().position(|source| source.id == id);
        let index = found.unwrap_or_else(|| {
            if self.sources.len() < SOURCES_MAX {
                self.sources.push(SourceTime {
                    id,
                    highest: Ts::MIN,
                    last: Ts::MIN,
                });
            }
            self.sources.len() - 1
        });
        index as u8
    }

    /// The time of the event before, of the same source where sources are told apart.
    fn last_of(&self, source: u8) -> Ts {
        let of = self.sources.get(usize::from(source));
        of.map_or(self.last, |source| source.last)
    }

    /// The highest good time, of this source where sources are told apart.
    fn highest_of(&self, source: u8) -> Ts {
        let of = self.sources.get(usize::from(source));
        let of = of.filter(|source| source.highest > Ts::MIN);
        of.map_or(self.highest, |source| source.highest)
    }

    /// A source has an event of this time: up to where all sources are that are not idle, if the
    /// highest time of all is then this one.
    fn advance(&mut self, source: u8, ts: Ts, highest: Ts) -> Ts {
        let Some(own) = self.sources.get_mut(usize::from(source)) else {
            return highest;
        };
        own.highest = own.highest.max(ts);
        own.last = ts;
        let idle_ns = self.idle_after_ns;
        let spoke = self.sources.iter().map(|source| source.highest);
        let awake = spoke.filter(|ts| *ts > Ts::MIN && highest.since(*ts) <= idle_ns);
        awake.min().unwrap_or(highest)
    }

    pub(super) fn highest_some(&self) -> Option<Ts> {
        self.first.map(|_| self.highest)
    }

    /// To be called when the highest time or the last tick changed, or may have.
    fn set_horizon(&mut self) {
        let tick_due = self
            .tick
            .plus_ns(self.tick_ns)
            .plus_ns(self.out_of_order_ns);
        let too_far = self.highest.plus_ns(self.max_future_ns).plus_ns(1);
        self.horizon = tick_due.min(too_far).min(self.until.plus_ns(1));
        if self.idle_after_ns > 0 || self.is_again {
            // A tick may become due by the event of a source that lags.
            self.horizon = Ts::MIN;
        }
    }
}

impl<P: Protocol> Intake<P> {
    pub(super) fn new(protocol: P, config: &ReaderConfig, rings: Vec<Sender>) -> Intake<P> {
        let shards = rings.len();
        assert!(
            (1..=SHARDS_MAX).contains(&shards),
            "{shards} shards, want 1 to {SHARDS_MAX}"
        );
        let is_filtered = config.symbols.is_some();
        let nowhere = shards as u8;
        let groups = &config.groups;
        // What has no name yet may be of a group. Number 0 is no symbol, and has none.
        let may_be_of_a_group =
            |symbol| !groups.is_none() && !groups.is_named(symbol) && symbol != 0;
        let route = |symbol| Route {
            shard: if is_filtered || may_be_of_a_group(symbol) {
                nowhere
            } else {
                groups.shard_of(symbol, shards) as u8
            },
            known: 0,
        };
        Intake {
            protocol,
            nowhere,
            stage: Stage::new(rings, &config.resume_after),
            groups: groups.clone(),
            routes: (0..SYMBOLS as u32).map(route).collect(),
            symbols: config
                .symbols
                .as_ref()
                .map(|names| names.iter().map(|name| padded(name)).collect()),
            times: Times {
                tick_ns: config.tick_ns,
                out_of_order_ns: config.out_of_order_ns,
                max_future_ns: config.max_future_ns,
                idle_after_ns: config.idle_after_ns,
                sources: Vec::with_capacity(match config.idle_after_ns {
                    0 => 0,
                    _ => SOURCES_MAX,
                }),
                until: config.until.unwrap_or(Ts::MAX),
                first: None,
                last: Ts::MIN,
                highest: Ts::MIN,
                highest_recv: None,
                tick: Ts::MIN,
                horizon: Ts::MIN,
                is_again: false,
            },
            seq: 0,
            messages: 0,
            by_type: [0; 256],
            is_cut: false,
            troubles: 0,
            unread: 0,
            anomalies: Anomalies::default(),
            examples: Vec::with_capacity(EXAMPLES_MAX + TROUBLES_MAX),
            gaps: Vec::with_capacity(GAPS_LISTED_MAX),
            doubt: Doubt {
                blocks: Vec::with_capacity(256),
                run: Run::default(),
                is_settling: false,
            },
            translated: Vec::with_capacity(if P::IS_TRANSLATED { 256 } else { 0 }),
            moved_ns: config.moved_ns,
            now_recv: None,
            quarantine: None,
            refused: Vec::new(),
            again: BTreeMap::new(),
            otherwise: None,
            is_over: false,
        }
    }

    /// When a packet arrived, as this run has it.
    #[inline]
    pub(super) fn received(&self, ts_recv: Option<Ts>) -> Option<Ts> {
        ts_recv.map(|ts| ts.plus_ns(self.moved_ns))
    }

    /// A piece of a file; says how many messages it had.
    pub(super) fn piece(&mut self, packet: &Packet<'_>) -> u64 {
        let run = Run {
            ts_recv: self.received(packet.ts_recv),
            place: packet.place,
            source: self.times.source_of(file_source(packet.line)),
            before: 0,
            skip: 0,
            count: u64::MAX,
        };
        let (found, left) = self.messages(packet.payload, run);
        if self.has_refused() {
            let (line, first) = (packet.line, None);
            self.keep_refused(Numbered { line, first });
        }
        if left > 0 && !self.is_cut {
            let what = format!("{left} bytes behind the last whole message");
            self.anomaly(Anomaly::BadPacket, packet.place, format_args!("{what}"));
            self.keep_rest(packet, left, None, &what);
        }
        found
    }

    /// Reads what the arbiter numbers; says how many whole ones there were, those to skip included,
    /// and how many bytes are left behind them, or in them behind their messages.
    #[inline]
    pub(super) fn blocks(&mut self, blocks: &[u8], run: Run) -> (u64, usize) {
        if P::NUMBERS_PACKETS {
            self.packets(blocks, run)
        } else {
            self.messages(blocks, run)
        }
    }

    /// The messages of packets that are numbered as a whole.
    fn packets(&mut self, blocks: &[u8], run: Run) -> (u64, usize) {
        let mut walk = Blocks::new(blocks);
        let (mut found, mut left) = (0, 0);
        while found < run.count && !self.is_cut {
            let Some(packet) = walk.next() else { break };
            found += 1;
            if found > run.skip {
                let (skip, count) = (0, u64::MAX);
                left += self.messages(packet, Run { skip, count, ..run }).1;
            }
        }
        (found, left + walk.rest().len())
    }

    /// Reads messages; says how many whole ones there were, those to skip included, and how many
    /// bytes are left behind them.
    #[inline]
    pub(super) fn messages(&mut self, blocks: &[u8], run: Run) -> (u64, usize) {
        if !self.doubt.blocks.is_empty() && !self.doubt.is_settling {
            self.settle(blocks, run.skip);
            if self.is_cut {
                return (0, blocks.len());
            }
        }
        let mut walk = Blocks::new(blocks);
        let mut found = walk.by_ref().take(run.skip as usize).count() as u64;
        while found < run.count {
            let Some((message, ahead)) = walk.next_ahead() else {
                break;
            };
            found += 1;
            self.messages += 1;
            let symbol = self.protocol.symbol(message);
            let route = self.routes[symbol as usize % SYMBOLS];
            let slot = self.stage.slot(usize::from(route.shard));
            let decoded = match ahead {
                Some(ahead) if !P::IS_TRANSLATED => {
                    self.protocol.decode_ahead(ahead, message.len(), slot)
                }
                _ => decode_last(&self.protocol, message, slot),
            };
            match decoded {
                Ok(notes) => {
                    if P::IS_TRANSLATED {
                        slot.ts_event = slot.ts_event.plus_ns(self.moved_ns);
                    }
                    let ts = slot.ts_event;
                    let is_in_order = ts >= self.times.last && ts < self.times.horizon;
                    self.by_type[usize::from(slot.code)] += 1;
                    if P::IS_TRANSLATED || !is_in_order || notes.0 & !route.known != 0 {
                        let at = At {
                            run: &run,
                            index: run.before + found,
                            message,
                            rest: walk.rest(),
                            all_bytes: blocks.len(),
                        };
                        let event = *slot;
                        if !self.accept_slowly(event, notes, at) {
                            break;
                        }
                        continue;
                    }
                    self.seq += 1;
                    slot.seq = self.seq;
                    slot.ts_recv = run.ts_recv.unwrap_or(ts);
                    self.times.last = ts;
                    self.times.highest = self.times.highest.max(ts);
                    self.stage.commit(usize::from(route.shard));
                }
                Err(fault) => {
                    let at = At {
                        run: &run,
                        index: run.before + found,
                        message,
                        rest: walk.rest(),
                        all_bytes: blocks.len(),
                    };
                    self.refuse(fault, at);
                }
            }
        }
        (found, walk.rest().len())
    }

    /// An event that goes to all shards, tells or needs a symbol's name, or has a time that a
    /// tick is due before, or that is out of order. Says whether to go on.
    #[cold]
    #[inline(never)]
    fn accept_slowly(&mut self, mut event: Event, notes: Notes, at: At<'_>) -> bool {
        let last = self.times.last_of(at.run.source);
        if event.ts_event >= self.times.horizon {
            if self.is_in_doubt(event.ts_event, &at) {
                self.keep_in_doubt(&at, event.code);
                return true;
            }
            if !self.look_at_time(&mut event, &at) {
                return false;
            }
        }
        let behind_ns = self.times.highest_of(at.run.source).since(event.ts_event);
        if event.ts_event < last && behind_ns > self.times.out_of_order_ns {
            let by_ns = last.since(event.ts_event);
            let (place, number) = at.place();
            let what = format_args!("message {number}: time goes back by {by_ns} ns");
            self.anomaly(Anomaly::TimeBackwards, place, what);
        }
        self.times.last = event.ts_event;
        self.times.highest = self.times.highest.max(event.ts_event);
        event.ts_recv = at.run.ts_recv.unwrap_or(event.ts_event);
        if P::IS_TRANSLATED {
            self.stage_translated(&event, &at);
            return true;
        }
        if notes.0 & Notes::FOR_ALL != 0 {
            self.stage_for_all(event);
            return true;
        }
        let known = self.routes[event.symbol as usize % SYMBOLS].known;
        if notes.0 & !known != 0
            && let Some(name) = self.protocol.name(at.message)
        {
            self.learn(event.symbol, name);
            if notes.0 & Notes::DEFINES == 0 {
                self.stage_one(Event {
                    ts_event: event.ts_event,
                    ts_recv: event.ts_recv,
                    order: name,
                    symbol: event.symbol,
                    ..Event::new(Kind::Symbol)
                });
            }
        }
        self.stage_one(event);
        true
    }

    /// Holds an event against the one of this number that a shard has, if it is known.
    #[cold]
    fn compare(&mut self, event: &Event) {
        if let Some(known) = self.again.remove(&event.seq)
            && !is_the_same(&known, event)
        {
            let what = format!(
                "the session does not say again what the log has: event {} was {}, and is {}",
                event.seq,
                in_short(&known),
                in_short(event)
            );
            self.otherwise.get_or_insert(what);
        }
        if self.again.is_empty() {
            self.once_more_no_more();
        }
    }

    fn once_more_no_more(&mut self) {
        self.again.clear();
        self.times.is_again = false;
        self.times.set_horizon();
    }

    /// The events that a message is translated to.
    fn stage_translated(&mut self, event: &Event, at: &At<'_>) {
        let mut events = std::mem::take(&mut self.translated);
        let result = self.protocol.translate(at.message, event, &mut events);
        for event in events.drain(..) {
            if event.kind.is_for_all() {
                self.stage_for_all(event);
                continue;
            }
            if event.kind == Kind::Symbol {
                self.learn(event.symbol, event.order);
            }
            self.stage_one(event);
        }
        self.translated = events;
        if let Err(fault) = result {
            let (place, number) = at.place();
            let what = format_args!("message {number}: {fault}");
            self.anomaly(fault.anomaly(), place, what);
        }
    }

    /// A symbol's name is known from now on, and with it whether it was asked for.
    pub(super) fn learn(&mut self, symbol: u32, name: u64) {
        let symbols = self.symbols.as_ref();
        let is_asked_for = symbols.is_none_or(|names| names.contains(&name.to_be_bytes()));
        self.groups.bind(symbol, name.to_be_bytes());
        let shard = if is_asked_for {
            self.groups.shard_of(symbol, self.stage.shards()) as u8
        } else {
            self.nowhere
        };
        self.routes[symbol as usize % SYMBOLS] = Route {
            shard,
            known: Notes::NAMES,
        };
    }

    fn stage_one(&mut self, mut event: Event) {
        self.seq += 1;
        event.seq = self.seq;
        if !P::IS_TRANSLATED && self.times.is_again {
            self.compare(&event);
        }
        let shard = self.routes[event.symbol as usize % SYMBOLS].shard;
        self.stage.put(usize::from(shard), event);
    }

    fn stage_for_all(&mut self, mut event: Event) {
        self.seq += 1;
        event.seq = self.seq;
        if !P::IS_TRANSLATED && self.times.is_again {
            self.compare(&event);
        }
        for shard in 0..self.stage.shards() {
            self.stage.put(shard, event);
        }
    }

    /// Looks at an event whose time is at the horizon or beyond: mends it if it is far ahead of
    /// all others, makes the tick that is due before it, and says whether to go on at all.
    #[cold]
    #[inline(never)]
    fn look_at_time(&mut self, event: &mut Event, at: &At<'_>) -> bool {
        let run = at.run;
        let next = Blocks::new(at.rest)
            .next()
            .and_then(|message| self.protocol.ts_event(message))
            .map(|ts| match P::IS_TRANSLATED {
                true => ts.plus_ns(self.moved_ns),
                false => ts,
            });
        if self.is_rogue(event.ts_event, next, run) {
            let is_first = self.times.first.is_none();
            let good = if is_first {
                next.unwrap_or(event.ts_event)
            } else {
                self.times.highest_of(run.source)
            };
            let by_ns = event.ts_event.since(good);
            let (place, number) = at.place();
            let what = format_args!("message {number}: time is {by_ns} ns ahead of all others");
            self.anomaly(Anomaly::TimeFuture, place, what);
            event.ts_event = good;
            event.flags = event.flags.with(Flags::BAD_TS);
        }
        if event.ts_event > self.times.until {
            self.is_cut = true;
            return false;
        }
        let highest = self.times.highest.max(event.ts_event);
        let reached = self.times.advance(run.source, event.ts_event, highest);
        let tick = reached
            .plus_ns(-self.times.out_of_order_ns)
            .floor(self.times.tick_ns);
        if self.times.first.is_none() {
            self.times.first = Some(event.ts_event);
            self.times.last = event.ts_event;
            self.times.tick = tick;
        } else if tick > self.times.tick {
            self.times.tick = tick;
            let ts_recv = run.ts_recv.unwrap_or(tick);
            self.stage_for_all(Event {
                ts_event: tick,
                ts_recv,
                ..Event::new(Kind::Tick)
            });
        }
        if highest > self.times.highest || self.times.idle_after_ns == 0 {
            self.times.highest_recv = run.ts_recv;
        }
        self.times.highest = highest;
        self.times.set_horizon();
        true
    }

    /// Whether only a message that is still to come can say if a time is true.
    fn is_in_doubt(&self, ts: Ts, at: &At<'_>) -> bool {
        let times = &self.times;
        let is_first = times.first.is_none();
        let is_leap = is_first || ts.since(times.highest) > times.max_future_ns;
        let is_last = at.rest.is_empty() && !self.doubt.is_settling;
        is_leap && is_last && self.is_true_by_clock(ts, at.run).is_none()
    }

    /// What the clock of arrivals says of a time that leaps ahead: it may, after as much silence; it may not, where
    /// that clock is behind it; and nothing, where there is none, or it is ahead of all times. Who catches up gets
    /// hours in seconds.
    fn is_true_by_clock(&self, ts: Ts, run: &Run) -> Option<bool> {
        let times = &self.times;
        let (now, before) = run.ts_recv.zip(times.highest_recv)?;
        times.first?;
        let leap_ns = ts.since(times.highest);
        if leap_ns.saturating_sub(now.since(before)) <= times.max_future_ns {
            return Some(true);
        }
        (ts.since(now) > times.max_future_ns).then_some(false)
    }

    /// Keeps a message until it can be judged; it counts then.
    fn keep_in_doubt(&mut self, at: &At<'_>, code: u8) {
        self.messages -= 1;
        self.by_type[usize::from(code)] -= 1;
        let len_bytes = at.message.len() as u16;
        self.doubt
            .blocks
            .extend_from_slice(&len_bytes.to_be_bytes());
        self.doubt.blocks.extend_from_slice(at.message);
        let (place, number) = at.place();
        self.doubt.run = Run {
            place,
            before: number - 1,
            skip: 0,
            count: 1,
            ..*at.run
        };
    }

    /// Takes the message that was in doubt, with the one behind it: the first of `blocks` that was
    /// not delivered before, if there is one.
    #[cold]
    #[inline(never)]
    fn settle(&mut self, blocks: &[u8], skip: u64) {
        if self.doubt.blocks.is_empty() {
            return;
        }
        let mut doubtful = std::mem::take(&mut self.doubt.blocks);
        let mut walk = Blocks::new(blocks);
        walk.by_ref().take(skip as usize).for_each(drop);
        let rest = walk.rest();
        if let Some(next) = walk.next() {
            doubtful.extend_from_slice(&rest[..2 + next.len()]);
        }
        self.doubt.is_settling = true;
        self.messages(&doubtful, self.doubt.run);
        self.doubt.is_settling = false;
        if self.has_refused() {
            let (line, first) = (0, None);
            self.keep_refused(Numbered { line, first });
        }
        doubtful.clear();
        self.doubt.blocks = doubtful;
    }

    /// Whether a time is so far ahead that it cannot be true: the next message takes it back, or
    /// the clock of the arrivals did not leap with it.
    fn is_rogue(&self, ts: Ts, next: Option<Ts>, run: &Run) -> bool {
        let times = &self.times;
        let leap_ns = ts.since(times.highest);
        let is_first = times.first.is_none();
        if !is_first && leap_ns <= times.max_future_ns {
            return false;
        }
        if let Some(next) = next {
            return ts.since(next) > times.max_future_ns;
        }
        self.is_true_by_clock(ts, run) == Some(false)
    }

    /// Events are numbered on from `seq`, and all shards are told that something is missing before
    /// the first.
    pub(super) fn after_stop(&mut self, seq: u64, ts_event: Ts) {
        self.seq = seq;
        self.anomalies.count(Anomaly::Gap);
        self.stage_for_all(Event {
            ts_event,
            ts_recv: ts_event,
            ..Event::new(Kind::Gap)
        });
    }

    /// Events are numbered on from a place, as if there had been no stop.
    pub(super) fn take_up(&mut self, taken_up: &TakenUp) {
        assert!(!P::IS_TRANSLATED, "what a translation remembers is gone");
        let TakenUp { at, names, known } = taken_up;
        self.seq = at.seq;
        for (&symbol, &name) in names {
            self.learn(symbol, name);
        }
        let known = known.iter().filter(|event| event.seq > at.seq);
        self.again = known.map(|event| (event.seq, *event)).collect();
        let times = &mut self.times;
        times.is_again = !self.again.is_empty();
        times.first = (at.highest > Ts::MIN).then_some(at.highest);
        (times.last, times.highest, times.tick) = (at.last, at.highest, at.tick);
        if times.idle_after_ns > 0 {
            times.sources.push(SourceTime {
                id: at.session,
                highest: at.highest,
                last: at.last,
            });
        }
        if times.first.is_some() {
            times.set_horizon();
        }
    }

    /// Where it is, behind all messages of a session below `next`.
    pub(super) fn position(&self, session: SessionId, next: u64) -> Position {
        Position {
            seq: self.seq - u64::from(self.is_over),
            next,
            session,
            last: self.times.last,
            highest: self.times.highest,
            tick: self.times.tick,
        }
    }

    /// Whether what comes was told before.
    pub(super) fn is_again(&self) -> bool {
        self.times.is_again
    }

    /// What came otherwise than before, once.
    #[inline]
    pub(super) fn otherwise(&mut self) -> Option<String> {
        match self.otherwise {
            None => None,
            Some(_) => self.otherwise.take(),
        }
    }

    /// Messages are lost: all shards are told.
    pub(super) fn gap(&mut self, gap: &Gap, session: SessionId) {
        // What came before what is missing comes before it.
        self.settle(&[], 0);
        if self.is_cut {
            return;
        }
        if self.times.is_again {
            // How many events these messages were, nobody knows: what follows is behind all that shards have.
            let last = self.again.keys().next_back();
            self.seq = last.copied().unwrap_or(self.seq);
            self.once_more_no_more();
        }
        self.anomalies.count(Anomaly::Gap);
        let ts_event = self.times.highest_some().unwrap_or(Ts(0));
        let mut stale = std::mem::take(&mut self.translated);
        let is_told = self.protocol.lost(session, &mut stale);
        self.stage_for_all(Event {
            ts_event,
            ts_recv: ts_event,
            order: gap.first,
            qty: Qty(gap.count.min(i64::MAX as u64) as i64),
            flags: if is_told { Flags::STALE } else { Flags(0) },
            ..Event::new(Kind::Gap)
        });
        let seq = self.seq;
        for event in stale.drain(..) {
            self.stage_one(Event {
                ts_event,
                ts_recv: ts_event,
                ..event
            });
        }
        self.translated = stale;
        if self.gaps.len() < GAPS_LISTED_MAX {
            let Gap { first, count, .. } = *gap;
            self.gaps.push(GapSeen {
                session,
                first,
                count,
                ts_event,
                seq,
            });
        }
    }

    /// The decoder.
    pub(super) fn protocol(&self) -> &P {
        &self.protocol
    }

    /// Whether a message is delivered that became no event yet.
    pub(super) fn is_in_doubt_now(&self) -> bool {
        !self.doubt.blocks.is_empty()
    }

    /// Whether a symbol's name is known.
    pub(super) fn is_named(&self, symbol: u32) -> bool {
        let route = self.routes.get(symbol as usize);
        route.is_some_and(|route| route.known == Notes::NAMES)
    }

    /// Symbols with a name are numbered below this.
    pub(super) fn symbols_end(&self) -> u32 {
        let last = self.routes.iter().rposition(|r| r.known == Notes::NAMES);
        last.map_or(0, |last| last as u32 + 1)
    }

    /// An event of what is known now, whenever that was said.
    pub(super) fn stage_now(&mut self, event: Event) {
        let event = self.as_of_now(event);
        self.stage_one(event);
    }

    /// The same, for all shards.
    pub(super) fn stage_now_for_all(&mut self, event: Event) {
        let event = self.as_of_now(event);
        self.stage_for_all(event);
    }

    fn as_of_now(&self, event: Event) -> Event {
        let ts_event = self.times.highest_some().unwrap_or(Ts(0));
        Event {
            ts_event,
            ts_recv: self.now_recv.unwrap_or(ts_event),
            ..event
        }
    }

    /// When the last of what is known now arrived.
    pub(super) fn set_now(&mut self, ts_recv: Option<Ts>) {
        self.now_recv = ts_recv;
    }

    /// Something that went wrong beside the packets.
    pub(super) fn remark(&mut self, what: &str) {
        self.trouble(&Trouble::new(Place::default(), what.to_string()));
    }

    /// The last event of all.
    pub(super) fn end(&mut self) {
        self.settle(&[], 0);
        if self.times.is_again {
            let last = self.again.keys().next_back();
            let last = last.expect("something is to come again");
            self.otherwise.get_or_insert(format!(
                "the session ends before all came again that the log has: at event {}, of {last}",
                self.seq
            ));
            return;
        }
        let ts_event = self.times.highest_some().unwrap_or(Ts(0));
        self.stage_for_all(Event {
            ts_event,
            ts_recv: ts_event,
            ..Event::new(Kind::End)
        });
        self.is_over = true;
    }

    #[cold]
    fn refuse(&mut self, fault: Fault, at: At<'_>) {
        if let Some(code) = self.protocol.code(at.message) {
            self.by_type[usize::from(code)] += 1;
        }
        let (place, number) = at.place();
        let what = format_args!("message {number}: {fault}");
        self.anomaly(fault.anomaly(), place, what);
        // Changes that do not follow are understood, and their book says that it lacks some.
        if self.quarantine.is_some() && !matches!(fault, Fault::Missed { .. }) {
            self.refused.push(RefusedMessage {
                fault,
                place,
                number,
                // As the input says it.
                ts_recv: at.run.ts_recv.map(|ts| ts.plus_ns(-self.moved_ns)),
                index: at.index,
                message: at.message.to_vec(),
            });
        }
    }

    /// Whether refused messages wait for [`Intake::keep_refused`].
    #[inline(always)]
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Keeps the refused messages of a packet, now that their numbers are known.
    #[cold]
    pub(super) fn keep_refused(&mut self, numbered: Numbered) {
        let Some(quarantine) = &mut self.quarantine else {
            return;
        };
        for refused in self.refused.drain(..) {
            let why = refused.fault.to_string();
            // Where packets are numbered, so are all messages in them.
            let ahead = match P::NUMBERS_PACKETS {
                true => 0,
                false => refused.index - 1,
            };
            let number = |(session, first): (SessionId, u64)| (session, first.wrapping_add(ahead));
            quarantine.keep(&Refused {
                anomaly: Some(refused.fault.anomaly()),
                line: numbered.line,
                ts_recv: refused.ts_recv,
                numbered: numbered.first.map(number),
                message: refused.number.min(u16::MAX.into()) as u16,
                ..Refused::new(Item::Message, refused.place, &why, &refused.message)
            });
        }
    }

    /// Keeps what is left behind the last whole message of a packet.
    #[cold]
    pub(super) fn keep_rest(
        &mut self,
        packet: &Packet<'_>,
        left: usize,
        numbered: Option<(SessionId, u64)>,
        why: &str,
    ) {
        if let Some(quarantine) = &mut self.quarantine {
            let raw = &packet.payload[packet.payload.len() - left.min(packet.payload.len())..];
            quarantine.keep(&Refused {
                anomaly: Some(Anomaly::BadPacket),
                line: packet.line,
                ts_recv: packet.ts_recv,
                numbered,
                ..Refused::new(Item::Rest, packet.place, why, raw)
            });
        }
    }

    /// A packet that is not understood.
    #[cold]
    pub(super) fn bad_packet(&mut self, packet: &Packet<'_>, what: &str) {
        self.anomaly(Anomaly::BadPacket, packet.place, format_args!("{what}"));
        if let Some(quarantine) = &mut self.quarantine {
            quarantine.keep(&Refused {
                anomaly: Some(Anomaly::BadPacket),
                framing: packet.framing,
                line: packet.line,
                ts_recv: packet.ts_recv,
                wire_bytes: packet.wire_bytes,
                ..Refused::new(Item::Packet, packet.place, what, packet.payload)
            });
        }
    }

    #[cold]
    pub(super) fn trouble(&mut self, trouble: &Trouble) {
        self.troubles += 1;
        self.unread += u64::from(trouble.is_lost);
        if let Some(quarantine) = &mut self.quarantine
            && !trouble.raw.is_empty()
        {
            let item = match trouble.is_line {
                true => Item::Line,
                false => Item::Bytes,
            };
            let Trouble { what, raw, .. } = trouble;
            quarantine.keep(&Refused::new(item, trouble.place, what, raw));
        }
        // However much else was wrong, where a file is cut is told.
        let max = EXAMPLES_MAX + TROUBLES_MAX;
        self.example(
            "trouble",
            max,
            trouble.place,
            format_args!("{}", trouble.what),
        );
    }

    #[cold]
    pub(super) fn anomaly(&mut self, anomaly: Anomaly, place: Place, what: fmt::Arguments<'_>) {
        self.anomalies.count(anomaly);
        self.example(anomaly.name(), EXAMPLES_MAX, place, what);
    }

    fn example(&mut self, name: &str, max: usize, place: Place, what: fmt::Arguments<'_>) {
        if self.examples.len() < max {
            let Place {
                file,
                packet,
                offset_bytes,
                message_extra_bytes: _,
            } = place;
            let at = format_args!("file {file}, packet {packet} at byte {offset_bytes}");
            self.examples.push(format!("{name}: {at}: {what}"));
        }
    }
}

/// Whether two events are what the same message says, whenever it arrived.
fn is_the_same(a: &Event, b: &Event) -> bool {
    let is_bad = a.flags.has(Flags::BAD_TS) || b.flags.has(Flags::BAD_TS);
    let said = |event: &Event| {
        let ids = (event.symbol, event.order, event.order_b);
        (event.kind, event.side, ids, event.price, event.qty)
    };
    said(a) == said(b) && (is_bad || a.ts_event == b.ts_event)
}

/// An event, for people.
fn in_short(event: &Event) -> String {
    let Event {
        kind,
        symbol,
        order,
        ts_event,
        ..
    } = event;
    format!(
        "{kind:?} of symbol {symbol}, order {order}, at {}",
        ts_event.0
    )
}

/// A message at the end of its packet, apart, so that the usual one has its decoder for itself.
#[inline(never)]
fn decode_last<P: Protocol>(
    protocol: &P,
    message: &[u8],
    event: &mut Event,
) -> Result<Notes, Fault> {
    protocol.decode(message, event)
}
