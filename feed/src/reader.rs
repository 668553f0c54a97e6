//! Packets in, events out onto the rings of the shards.
//!
//! One `turn` takes some packets from the source, puts their messages in order, decodes them, and
//! pushes the events in batches. Nothing is lost to a full ring: while an event waits for room,
//! no packet is taken.
//!
//! ```text
//! Source::poll ─► Arbiter ─► Protocol::decode ─► number, time, symbol ─► stage ─► ring of a shard
//!                   └──── held packets ────┘
//! ```
//!
//! Every accepted message and every event made here (`Tick`, `Gap`, `End`, and a `Symbol` where a
//! name is first met in another message) gets the next `seq`, before anything is filtered or
//! split. So the numbers are the same for any number of shards and any choice of symbols.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bus::ring::Sender;
use bus::{Anomalies, Anomaly, Event, Ts};

use crate::arbiter::{Arbiter, Bad, GapRule, LineStats, Offer, Release, SessionStats};
use crate::glimpse::Link;
use crate::groups::Groups;
use crate::moldudp64::{Blocks, Header, SessionId};
use crate::protocol::{Itch, Protocol};
use crate::quarantine::{Quarantine, QuarantineStats};
use crate::retransmit::{AskCounts, Asked};
use crate::source::{Framing, Line, Packet, Polled, Source, SourceError};
use crate::transport::Transports;

mod heal;
mod intake;
mod stage;

pub use crate::groups::shard_of;
use heal::Heal;
pub use heal::{HealRule, HealStats, Healed};
use intake::{Intake, Numbered, Run};
pub use stage::RingStats;

/// The most shards there can be.
pub const SHARDS_MAX: usize = 128;

/// How many gaps are listed; all are counted.
pub const GAPS_LISTED_MAX: usize = 1000;

/// How many anomalies are told as text; all are counted.
pub const EXAMPLES_MAX: usize = 64;

/// A turn ends after this many messages, so that they reach the rings while they are young.
const TURN_MESSAGES: u64 = 64;

/// A turn ends after this many packets, whatever is in them, unless the caller wants fewer.
const TURN_PACKETS_MAX: usize = 32;

/// What a reader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// Midnight of the trading day, where the feed's clock starts.
    pub midnight: Ts,
    /// How far apart `Tick` events are.
    pub tick_ns: i64,
    /// How far a tick stays behind the highest event time.
    pub out_of_order_ns: i64,
    /// How far an event time may leap ahead without a second one that confirms it.
    pub max_future_ns: i64,
    /// Ticks wait for the source that is farthest behind, but not for one that is farther behind than
    /// this. With 0 they wait for none: they follow the highest time of all.
    pub idle_after_ns: i64,
    /// Only these symbols are pushed, all if `None`. Names as people write them, without padding.
    pub symbols: Option<BTreeSet<String>>,
    /// Symbols that are on one shard together, and what is known of them from before.
    pub groups: Groups,
    /// The input ends before the first event after this time.
    pub until: Option<Ts>,
    /// For each shard the last `seq` that it has already. Shorter than the shards: 0 for the rest.
    pub resume_after: Vec<u64>,
    /// For live input that goes on after a stop: the last `seq` that any shard has, and its time.
    /// What came meanwhile is lost, and nobody knows how much: the shards are told of a gap first.
    pub after_stop: Option<(u64, Ts)>,
    /// For live input that goes on where it was left, or before that: nothing is lost. What a shard has already
    /// is left out as [`ReaderConfig::resume_after`] says.
    pub taken_up: Option<TakenUp>,
    /// When a missing message is lost.
    pub gaps: GapRule,
    /// Whether the input ends when all MoldUDP64 sessions have ended; a live feed does.
    pub end_at_session_end: bool,
    /// All times are later by this than the input says, for an input that is taken once more as
    /// that of another day. Where messages count from a midnight, and nothing remembers their
    /// times, the protocol is to be made with the later midnight instead.
    pub moved_ns: i64,
    /// A turn takes at most so many packets, at least one. With one, no packet ever waits for
    /// another that came after it.
    pub turn_packets_max: usize,
}

impl ReaderConfig {
    /// Everything there is, with a tick each 100 ms.
    pub fn new(midnight: Ts) -> ReaderConfig {
        ReaderConfig {
            midnight,
            tick_ns: 100_000_000,
            out_of_order_ns: 0,
            max_future_ns: 5_000_000_000,
            idle_after_ns: 0,
            symbols: None,
            groups: Groups::default(),
            until: None,
            resume_after: Vec::new(),
            after_stop: None,
            taken_up: None,
            gaps: GapRule::default(),
            end_at_session_end: false,
            moved_ns: 0,
            turn_packets_max: TURN_PACKETS_MAX,
        }
    }
}

/// An input that is taken up again, and what is known already of what comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenUp {
    /// Where.
    pub at: Position,
    /// What symbols were called by then, in eight letters; one that is not here is told when it is met.
    pub names: BTreeMap<u32, u64>,
    /// Events behind that place which shards have: each shard's last one at least. They must come again, since
    /// what shards lack is told apart by its number.
    pub known: Vec<Event>,
}

/// How far a reader is in a session. With the names of symbols, this is all that decides what it makes of the
/// messages that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last `seq` that was given.
    pub seq: u64,
    /// All messages below this number were taken in, and no other.
    pub next: u64,
    /// Which session.
    pub session: SessionId,
    /// The time of the last message; `Ts::MIN` before the first.
    pub last: Ts,
    /// The highest of all good times; `Ts::MIN` before the first.
    pub highest: Ts,
    /// The last tick, or where one would have been before the first message; `Ts::MIN` before that.
    pub tick: Ts,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It worked off this many messages, which may be none (a heartbeat).
    Worked {
        /// How many.
        messages: u64,
    },
    /// It did nothing: the source has nothing now.
    Empty,
    /// It took no packet: a ring is full.
    Full,
    /// It did nothing, and will not do anything any more: all is on the rings, `End` included.
    Ended,
}

/// Why a reader cannot go on.
#[derive(Debug)]
pub enum ReadError {
    /// The input cannot be read.
    Source(SourceError),
    /// A ring is full and its shard is gone.
    ShardGone {
        /// Which shard.
        shard: usize,
    },
    /// An input that was taken up again does not say what it said before.
    Otherwise {
        /// What.
        what: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Source(error) => error.fmt(f),
            ReadError::ShardGone { shard } => write!(f, "shard {shard} has stopped"),
            ReadError::Otherwise { what } => f.write_str(what),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Source(error) => Some(error),
            ReadError::ShardGone { .. } | ReadError::Otherwise { .. } => None,
        }
    }
}

impl From<SourceError> for ReadError {
    fn from(error: SourceError) -> ReadError {
        ReadError::Source(error)
    }
}

/// A gap, and where it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapSeen {
    /// Which session.
    pub session: SessionId,
    /// The first missing feed sequence number.
    pub first: u64,
    /// How many messages are missing.
    pub count: u64,
    /// The highest event time before it.
    pub ts_event: Ts,
    /// The `seq` of its event.
    pub seq: u64,
}

/// What a reader met.
#[derive(Clone, Debug)]
pub struct ReaderStats {
    /// Packets polled.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages delivered, in order and once each, refused ones included.
    pub messages: u64,
    /// The same by their type letter; a message of no bytes has none.
    pub by_type: [u64; 256],
    /// The last `seq` given.
    pub seq: u64,
    /// The first accepted event time.
    pub first_ts: Option<Ts>,
    /// The highest accepted event time.
    pub last_ts: Option<Ts>,
    /// Things that the source stumbled over. Not in `anomalies`.
    pub troubles: u64,
    /// Files of which the rest was not read, because nothing leads on behind what is wrong.
    pub unread: u64,
    /// Everything wrong in packets and messages.
    pub anomalies: Anomalies,
    /// The first of both, one line each, with their places.
    pub examples: Vec<String>,
    /// The first gaps.
    pub gaps: Vec<GapSeen>,
    /// What each line brought, by its index in [`ReaderStats::line_names`].
    pub lines: Vec<LineStats>,
    /// The lines' names.
    pub line_names: Vec<Line>,
    /// Packets that the system dropped, by line; empty for files.
    pub dropped: Vec<u64>,
    /// The MoldUDP64 sessions.
    pub sessions: Vec<SessionStats>,
    /// The rings, by shard.
    pub rings: Vec<RingStats>,
    /// What was asked for because no line brought it, where that is done at all.
    pub recovery: Option<RecoveryStats>,
    /// How books were made whole after a loss, where that is done at all.
    pub heal: Option<HealStats>,
    /// What was kept of all that was not understood, where it is kept at all.
    pub quarantine: Option<QuarantineStats>,
}

/// What became of messages that no line brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryStats {
    /// What was asked for.
    pub asked: AskCounts,
    /// Messages that an answer brought first.
    pub recovered: u64,
    /// Messages that were lost all the same.
    pub given_up: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Reader<S, P = Itch> {
    source: S,
    arbiter: Arbiter,
    intake: Intake<P>,
    transports: Transports,
    phase: Phase,
    end_at_session_end: bool,
    /// The line that brings what was asked for.
    recovery_line: Option<u8>,
    /// Makes books whole by snapshots.
    heal: Option<Box<Heal>>,
    given_up: u64,
    packets: u64,
    bytes: u64,
    /// How many packets the next turn takes at most. One, after the source had nothing: then
    /// nobody waits behind that packet, and its events leave before the source is asked again.
    /// Twice as many as before, each time that a turn came to its bound: then packets do wait, and
    /// more at once take less time for each.
    turn_packets: usize,
    turn_packets_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Packets are taken.
    Reading,
    /// No packet is taken any more; what is held comes out.
    Draining,
    /// `End` is staged.
    Ended,
}

impl<S: Source> Reader<S, Itch> {
    /// A reader of ITCH, with one ring for each shard.
    pub fn new(source: S, config: ReaderConfig, rings: Vec<Sender>) -> Reader<S, Itch> {
        let protocol = Itch::new(config.midnight);
        Reader::with_protocol(source, protocol, config, rings)
    }
}

impl<S: Source, P: Protocol> Reader<S, P> {
    /// A reader of any protocol, with one ring for each shard.
    pub fn with_protocol(
        source: S,
        protocol: P,
        config: ReaderConfig,
        rings: Vec<Sender>,
    ) -> Reader<S, P> {
        assert!(config.tick_ns > 0, "ticks have a distance");
        assert!(config.turn_packets_max > 0, "a turn takes a packet");
        assert!(
            config.out_of_order_ns >= 0 && config.max_future_ns >= 0 && config.idle_after_ns >= 0,
            "spans are not negative"
        );
        let mut intake = Intake::new(protocol, &config, rings);
        if let Some((seq, ts)) = config.after_stop {
            intake.after_stop(seq, ts);
        }
        if let Some(taken_up) = &config.taken_up {
            intake.take_up(taken_up);
        }
        Reader {
            source,
            arbiter: Arbiter::new(config.gaps),
            end_at_session_end: config.end_at_session_end,
            recovery_line: config.gaps.recovery.map(|rule| rule.line),
            heal: None,
            given_up: 0,
            intake,
            transports: Transports::default(),
            phase: Phase::Reading,
            packets: 0,
            bytes: 0,
            turn_packets: 1,
            turn_packets_max: match config.gaps.recovery {
                // A turn that begins with room for its packets must not run out of it.
                Some(_) => config
                    .turn_packets_max
                    .min(config.gaps.hold_packets.div_ceil(4)),
                None => config.turn_packets_max,
            },
        }
    }

    /// With a place for what is not understood.
    pub fn with_quarantine(mut self, quarantine: Option<Quarantine>) -> Reader<S, P> {
        self.intake.quarantine = quarantine;
        self
    }

    /// With whom to ask for snapshots, to make books whole after a loss. For ITCH, whose messages are
    /// numbered one by one; `is_stale` says that they lack something to begin with.
    pub fn with_snapshots(
        mut self,
        snapshots: Option<(Link, HealRule)>,
        is_stale: bool,
    ) -> Reader<S, P> {
        assert!(snapshots.is_none() || P::FRAMING == Framing::MoldUdp64 && !P::IS_TRANSLATED);
        self.heal = snapshots.map(|(link, rule)| Box::new(Heal::new(link, rule)));
        if let Some(heal) = self.heal.as_mut().filter(|_| is_stale) {
            heal.lost();
        }
        self
    }

    /// Takes some packets and pushes their events: [`Reader::take`], then [`Reader::push`].
    pub fn turn(&mut self) -> Result<Turned, ReadError> {
        let turned = self.take()?;
        self.push();
        Ok(turned)
    }

    /// The first half of a turn: takes some packets. Their events wait for [`Reader::push`],
    /// unless they fill a batch.
    pub fn take(&mut self) -> Result<Turned, ReadError> {
        if !self.intake.stage.flush() {
            return match self.intake.stage.gone() {
                Some(shard) => Err(ReadError::ShardGone { shard }),
                None => Ok(Turned::Full),
            };
        }
        if self.phase == Phase::Ended {
            return Ok(Turned::Ended);
        }
        if self.recovery_line.is_some() && self.phase == Phase::Reading {
            self.recover();
        }
        if let Some(heal) = &mut self.heal
            && heal.is_keeping()
        {
            heal.turn(&mut self.intake, self.phase == Phase::Reading);
            if heal.is_telling() {
                return Ok(Turned::Worked { messages: 0 });
            }
        }
        let before = self.intake.messages;
        let mut is_empty = false;
        let turn_packets = self.turn_packets;
        self.turn_packets = (2 * turn_packets).min(self.turn_packets_max);
        for polls in 0..turn_packets {
            if self.arbiter.has_ready() && self.release() {
                // One held packet is a packet.
            } else if self.phase == Phase::Draining {
                self.intake.end();
                self.phase = Phase::Ended;
            } else if !self.poll()? {
                is_empty = polls == 0;
                self.turn_packets = 1;
                break;
            }
            if self.intake.is_cut && self.phase != Phase::Ended {
                self.intake.end();
                self.phase = Phase::Ended;
            }
            if self.phase == Phase::Ended || self.intake.messages - before >= TURN_MESSAGES {
                break;
            }
        }
        let messages = self.intake.messages - before;
        if let Some(what) = self.intake.otherwise() {
            self.phase = Phase::Ended;
            return Err(ReadError::Otherwise { what });
        }
        Ok(if is_empty {
            Turned::Empty
        } else {
            Turned::Worked { messages }
        })
    }

    /// The second half of a turn: pushes what there is room for. The rest goes first next time.
    #[inline]
    pub fn push(&mut self) {
        self.intake.stage.flush();
    }

    /// Takes no more packets: what is held comes out, then `End`. For an orderly stop; `turn`
    /// until it says [`Turned::Ended`].
    pub fn finish(&mut self) {
        if self.phase == Phase::Reading {
            self.phase = Phase::Draining;
            self.arbiter.finish();
        }
    }

    /// Stops where it is, with no `End`: for an input that can be read again, by a reader that
    /// then leaves out what the shards have already.
    pub fn halt(&mut self) {
        self.phase = Phase::Ended;
    }

    /// The `seq` of the last event on a shard's ring, for latency stamps: once a turn is enough.
    #[inline]
    pub fn last_pushed(&self, shard: usize) -> Option<u64> {
        self.intake.stage.last_pushed(shard)
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The source, between turns.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// What was met so far. Copies; not for each turn.
    pub fn stats(&self) -> ReaderStats {
        let intake = &self.intake;
        ReaderStats {
            packets: self.packets,
            bytes: self.bytes,
            messages: intake.messages,
            by_type: intake.by_type,
            seq: intake.seq,
            first_ts: intake.times.first,
            last_ts: intake.times.highest_some(),
            troubles: intake.troubles,
            unread: intake.unread,
            anomalies: intake.anomalies,
            examples: intake.examples.clone(),
            gaps: intake.gaps.clone(),
            lines: self.arbiter.lines(),
            line_names: self.source.lines().to_vec(),
            dropped: self.source.dropped(),
            sessions: self.arbiter.sessions(),
            rings: intake.stage.stats(),
            recovery: self.recovery(),
            heal: self.heal.as_ref().map(|heal| heal.stats.clone()),
            quarantine: intake.quarantine.as_ref().map(Quarantine::stats),
        }
    }

    /// How far it is, where it reads one session, nothing waits, and no books wait for a snapshot. `End` does not
    /// count. Between turns, and not for each.
    pub fn position(&self) -> Option<Position> {
        let heals = self.heal.as_ref().is_some_and(|heal| heal.is_keeping());
        let is_settled = (!heals || self.phase == Phase::Ended)
            && !self.arbiter.is_waiting()
            && !self.arbiter.has_ready()
            && !self.intake.is_in_doubt_now();
        let sessions = self.arbiter.sessions();
        let [session] = &sessions[..] else {
            return None;
        };
        is_settled.then(|| self.intake.position(session.id, session.next))
    }

    /// Whether what comes was taken in before, by some of the shards at least.
    pub fn is_again(&self) -> bool {
        self.intake.is_again()
    }

    /// Whether something is missing that may still come.
    pub fn is_recovering(&self) -> bool {
        self.arbiter.missing().is_some()
    }

    /// Says to the source what is missing.
    #[cold]
    fn recover(&mut self) {
        let missing = self.arbiter.missing();
        // A busy machine takes in at once what came in a while, sooner than any answer. What there
        // is no room for waits where it is.
        let is_full = self.arbiter.is_full(self.turn_packets_max);
        let only_answers = missing.is_some() && is_full;
        let asked = self.source.recover(missing.as_ref(), only_answers);
        if let (Some(missing), Asked::GivenUp) = (missing, asked) {
            self.arbiter.give_up(&missing);
        }
    }

    fn recovery(&self) -> Option<RecoveryStats> {
        let line = usize::from(self.recovery_line?);
        let lines = self.arbiter.lines();
        Some(RecoveryStats {
            asked: self.source.asked().unwrap_or_default(),
            recovered: lines.get(line).map_or(0, |line| line.first_copies),
            given_up: self.given_up,
        })
    }

    /// Takes one packet; says whether there was anything.
    fn poll(&mut self) -> Result<bool, ReadError> {
        match self.source.poll()? {
            Polled::Packet(packet) => {
                bus::failpoint!("input-read");
                self.packets += 1;
                self.bytes += packet.payload.len() as u64;
                match packet.framing {
                    Framing::MoldUdp64 if P::FRAMING == Framing::MoldUdp64 => {
                        let (arbiter, intake) = (&mut self.arbiter, &mut self.intake);
                        take_packet(arbiter, intake, &mut self.heal, &packet, &packet);
                    }
                    Framing::LengthPrefixed | Framing::Records(_) => {
                        let found = self.intake.piece(&packet);
                        self.arbiter.count_unnumbered(&packet, found);
                    }
                    other if other.is_like(P::FRAMING) => {
                        let (arbiter, intake) = (&mut self.arbiter, &mut self.intake);
                        match self.transports.as_mold(&packet) {
                            Ok(mold) => take_packet(arbiter, intake, &mut None, &mold, &packet),
                            Err(what) => intake.bad_packet(&packet, what),
                        }
                    }
                    Framing::MoldUdp64 | Framing::IexTp | Framing::Mdp3(_) | Framing::Pitch(_) => {
                        self.intake.bad_packet(&packet, not_ours::<P>().what());
                    }
                }
                if self.end_at_session_end && self.arbiter.is_ended() {
                    self.finish();
                }
            }
            Polled::Trouble(trouble) => self.intake.trouble(&trouble),
            Polled::Empty => {
                if self.arbiter.is_waiting() {
                    self.pass();
                }
                return Ok(false);
            }
            Polled::End => self.finish(),
        }
        Ok(true)
    }

    /// Nothing came, and something waits: a live feed's silence counts, too.
    #[cold]
    fn pass(&mut self) {
        if let Some(now) = self.source.now() {
            self.arbiter.pass(now);
        }
    }

    /// Takes one thing that the arbiter has ready; says whether there was one.
    fn release(&mut self) -> bool {
        match self.arbiter.release() {
            None => return false,
            Some(Release::Packet(packet)) => {
                let run = Run {
                    ts_recv: self.intake.received(packet.ts_recv),
                    place: packet.place,
                    source: self.intake.times.source_of(packet.session),
                    before: 0,
                    skip: packet.skip.into(),
                    count: packet.count.into(),
                };
                let numbered = Numbered {
                    line: packet.line,
                    first: Some((packet.session, packet.sequence)),
                };
                let (whole, left) = self.intake.blocks(packet.blocks, run);
                if let Some(heal) = &mut self.heal
                    && heal.is_keeping()
                {
                    let header = Header {
                        session: packet.session,
                        sequence: packet.sequence,
                        count: packet.count,
                    };
                    let blocks = &packet.blocks[..packet.blocks.len() - left];
                    keep(heal, &header, blocks, &run, whole);
                }
                if self.intake.has_refused() {
                    self.intake.keep_refused(numbered);
                }
            }
            Some(Release::Gap(gap)) => {
                self.given_up += gap.count;
                if let Some(heal) = &mut self.heal {
                    heal.lost();
                }
                let session = self.arbiter.session_id(gap.session);
                self.intake
                    .gap(&gap, session.expect("a gap is of a session"));
            }
            Some(Release::Dropped { place, sequence }) => {
                let what =
                    format_args!("sequence {sequence} is far ahead, and no packet confirms it");
                self.intake.anomaly(Anomaly::BadPacket, place, what);
            }
        }
        if self.end_at_session_end && self.arbiter.is_ended() {
            self.finish();
        }
        true
    }
}

/// What is wrong with a datagram of another layout than the protocol's.
pub(crate) fn not_ours<P: Protocol>() -> Bad {
    match P::FRAMING {
        Framing::IexTp => Bad::NotIexTp,
        Framing::Mdp3(_) => Bad::NotMdp3,
        Framing::Pitch(_) => Bad::NotPitch,
        Framing::MoldUdp64 | Framing::LengthPrefixed | Framing::Records(_) => Bad::NotMoldUdp64,
    }
}

/// Offers a packet to the arbiter, and reads it if its turn is now. `as_it_came` is the same one
/// before it became a MoldUDP64 packet.
#[inline]
fn take_packet<P: Protocol>(
    arbiter: &mut Arbiter,
    intake: &mut Intake<P>,
    heal: &mut Option<Box<Heal>>,
    packet: &Packet<'_>,
    as_it_came: &Packet<'_>,
) {
    match arbiter.offer(packet) {
        Offer::Now(turn) => {
            let (header, blocks) = Header::split(packet.payload).expect("it was offered");
            let run = Run {
                ts_recv: intake.received(packet.ts_recv),
                place: packet.place,
                source: intake.times.source_of(header.session),
                before: 0,
                skip: turn.skip.into(),
                count: turn.count.into(),
            };
            let (whole, left) = intake.blocks(blocks, run);
            arbiter.accept(turn, whole as u16);
            if let Some(heal) = heal
                && heal.is_keeping()
            {
                let upto = blocks.len() - left;
                keep(heal, &header, &blocks[..upto], &run, whole);
            }
            if intake.has_refused() {
                intake.keep_refused(numbered(packet, &header));
            }
            let is_right = whole == u64::from(turn.count) && left == 0;
            if !is_right && !intake.is_cut {
                cut_packet(intake, packet, &header, whole, left);
            }
        }
        Offer::Nothing => {}
        Offer::Bad(bad) => intake.bad_packet(as_it_came, bad.what()),
    }
}

/// Shows the messages of a packet that were delivered with it: `whole` less those to skip.
#[cold]
fn keep(heal: &mut Heal, header: &Header, blocks: &[u8], run: &Run, whole: u64) {
    let mut walk = Blocks::new(blocks);
    let skipped = walk.by_ref().take(run.skip as usize).count() as u64;
    let first = header.sequence.wrapping_add(skipped);
    if header.sequence > 0 {
        let (session, count) = (header.session, whole - skipped);
        heal.keep(session, first, walk.rest(), count, run.ts_recv);
    }
}

fn numbered(packet: &Packet<'_>, header: &Header) -> Numbered {
    let (line, sequence) = (packet.line, header.sequence);
    Numbered {
        line,
        first: (sequence != 0).then_some((header.session, sequence)),
    }
}

/// A packet whose whole messages count, and whose rest does not.
#[cold]
fn cut_packet<P: Protocol>(
    intake: &mut Intake<P>,
    packet: &Packet<'_>,
    header: &Header,
    whole: u64,
    left: usize,
) {
    let what = Bad::Cut.what();
    intake.anomaly(Anomaly::BadPacket, packet.place, format_args!("{what}"));
    let first = numbered(packet, header).first;
    let next = first.map(|(session, first)| (session, first.wrapping_add(whole)));
    intake.keep_rest(packet, left, next, what);
}
