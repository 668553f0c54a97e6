//! One stream of numbered messages out of several lines that each carry all of it.
//!
//! The first copy of a message wins. What comes too early is held until what is missing came from
//! any line, or is given up:
//!
//! ```text
//!            expected        front
//!  delivered    |    hole      |  held       (hole)   held
//! ──────────────┼──────────────┼───────────┼────────┼──────────►  sequence
//! ```
//!
//! The first hole of a session is *lost* when one of these is true; each is judged when a packet
//! arrives, and by nothing but the packets and their arrival times, so that the same input always
//! loses the same messages (a live line that is silent moves the time, too: [`Arbiter::pass`]):
//!
//! - every line that is alive has brought more than `reorder_max` packets from beyond the hole
//!   (a line is alive when its last packet is less than `alive_ns` old),
//! - `wait_ns` have passed since the first packet came from beyond it,
//! - the hold has no free slot left,
//! - the input ends.
//!
//! Holes wait beside each other, not one after the other. The wait starts anew when a packet comes in
//! order or shows the hole to be smaller, or a heartbeat says that nothing is missing: so a forged
//! packet somewhat ahead is outlived by the true ones.
//!
//! Where messages can be asked for elsewhere ([`GapRule::recovery`]), a hole of not too many messages
//! is not lost by the first two rules before [`Arbiter::give_up`] said that nobody has it. Who has
//! it decides no result: what is recovered is delivered in its place.
//!
//! A session that is joined in its middle begins with such a hole in front of its first packet;
//! it is given up by the same rules, but not before a second packet came: so packets that are
//! swapped at the join are still put in order. It counts as lost with [`GapRule::is_join_loss`] only.
//!
//! A packet more than `jump_max` beyond all others is put aside until a second one near it says
//! the same. One forged packet therefore cannot make the arbiter skip a session. For each second
//! that the session was silent, a million messages more are believed: excerpts of a day have such
//! jumps.

use bus::Ts;

use crate::moldudp64::{END_OF_SESSION, Header, SessionId, whole};
use crate::retransmit::Missing;
use crate::source::{Packet, Place};

mod hold;
mod line;
mod session;

use hold::Hold;
pub use line::LineStats;
pub use session::SessionStats;
use session::{Early, Held, NO_HOLE, Session};

/// How many sessions there can be. Each is small; a forged packet can make one.
pub const SESSIONS_MAX: usize = 256;

/// When a missing message is lost, and how much can be held until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRule {
    /// By how many packets every line may pass a hole.
    pub reorder_max: u32,
    /// How long a hole may stay, by arrival times.
    pub wait_ns: i64,
    /// A line that was silent for longer is not waited for.
    pub alive_ns: i64,
    /// How many packets can be held, over all sessions.
    pub hold_packets: usize,
    /// How large each may be, header included.
    pub hold_packet_bytes: usize,
    /// How far ahead a packet may be without another that confirms it, in messages.
    pub jump_max: u64,
    /// Whether what came before a session was joined counts as lost: it does where orders leave.
    pub is_join_loss: bool,
    /// A session that was followed before, and the number of the first message that did not come then: what is
    /// missing from there on is lost like anything else.
    pub goes_on: Option<(SessionId, u64)>,
    /// Whether missing messages can be asked for.
    pub recovery: Option<RecoveryRule>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryRule {
    /// The line that brings the answers. It is not waited for like the others.
    pub line: u8,
    /// The largest hole, in messages.
    pub messages_max: u64,
    /// Whether the beginning of a session that was joined later is asked for, too.
    pub is_from_first: bool,
}

impl Default for GapRule {
    fn default() -> GapRule {
        GapRule {
            reorder_max: 64,
            wait_ns: 20_000_000,
            // Three heartbeats, which come once a second.
            alive_ns: 3_000_000_000,
            hold_packets: 1024,
            hold_packet_bytes: 9216,
            jump_max: 1_000_000,
            is_join_loss: false,
            goes_on: None,
            recovery: None,
        }
    }
}

/// Messages that no line brought in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which session; see [`Arbiter::sessions`].
    pub session: u16,
    /// The first missing number.
    pub first: u64,
    /// How many are missing.
    pub count: u64,
}

/// What to do with an offered packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Read its messages now, and then say to [`Arbiter::accept`] how many there were.
    Now(Turn),
    /// Nothing: it is held, was there before, or carries no messages.
    Nothing,
    /// Nothing: it is wrong, for this reason.
    Bad(Bad),
}

/// The right to read a packet now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    session: u16,
    line: u8,
    sequence: u64,
    /// How many messages at the packet's front were delivered before.
    pub skip: u16,
    /// How many messages the packet says that it carries, those to skip included.
    pub count: u16,
}

/// Stands in [`Turn::session`] for a packet that has no number.
const UNNUMBERED: u16 = u16::MAX;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Too short for a header.
    Short,
    /// It is of no session that is known, and not exactly one header and its messages.
    NotMoldUdp64,
    /// It is no segment of IEX-TP, where the input is.
    NotIexTp,
    /// It is no packet of MDP 3.0, where the input is.
    NotMdp3,
    /// It is no unit of PITCH, where the input is.
    NotPitch,
    /// Its messages are not whole, or bytes are left behind them; the whole ones count.
    Cut,
    /// Its numbers run over 64 bits.
    Overflow,
    /// It comes too early, and is too large to be held.
    TooLarge,
    /// One session more than there can be.
    Sessions,
}

impl Bad {
    /// For people: what was found, what was expected.
    pub const fn what(self) -> &'static str {
        match self {
            Bad::Short => "payload is shorter than a MoldUDP64 header of 20 bytes",
            Bad::NotMoldUdp64 => "payload is not a MoldUDP64 packet",
            Bad::NotIexTp => "payload is not an IEX-TP segment of a known feed",
            Bad::NotMdp3 => "payload is not an MDP 3.0 packet",
            Bad::NotPitch => "payload is not a PITCH unit",
            Bad::Cut => "message count does not match the payload's bytes",
            Bad::Overflow => "sequence number and count pass 64 bits",
            Bad::TooLarge => "packet is out of order and too large to be held",
            Bad::Sessions => "more sessions than 256",
        }
    }
}

/// Something that became ready, in order.
#[derive(Debug)]
pub enum Release<'a> {
    /// A held packet whose turn has come.
    Packet(Released<'a>),
    /// Messages are given up; what is behind them follows.
    Gap(Gap),
    /// A packet that was put aside is dropped: nothing confirmed its far jump.
    Dropped {
        /// Where it stood.
        place: Place,
        /// Its number.
        sequence: u64,
    },
}

/// A held packet whose turn has come. It is accepted already.
#[derive(Clone, Copy, Debug)]
pub struct Released<'a> {
    /// Its messages, and maybe more bytes behind them.
    pub blocks: &'a [u8],
    /// How many messages at its front were delivered before.
    pub skip: u16,
    /// How many whole messages it has, those to skip included.
    pub count: u16,
    /// When it arrived.
    pub ts_recv: Option<Ts>,
    /// Where it stood.
    pub place: Place,
    /// Which line brought it.
    pub line: u8,
    /// Which session.
    pub session: SessionId,
    /// The number of its first message, those to skip included.
    pub sequence: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Arbiter {
    rule: GapRule,
    sessions: Vec<Session>,
    /// The session of the last packet: almost always that of the next one too.
    current: usize,
    hold: Hold,
    /// Packets and messages without a number, by line.
    unnumbered: Vec<LineStats>,
    now: Option<Ts>,
    /// When the first hole has waited long enough.
    deadline: Ts,
    /// Whether something may be ready.
    has_work: bool,
    is_ending: bool,
    /// The slot that the last release lent out.
    lent: Option<u32>,
}

impl Arbiter {
    /// Reserves the hold.
    pub fn new(rule: GapRule) -> Arbiter {
        assert!(
            rule.hold_packets >= 2,
            "one slot to hold a packet, and one for the next"
        );
        Arbiter {
            rule,
            sessions: Vec::new(),
            current: 0,
            hold: Hold::new(&rule),
            unnumbered: Vec::new(),
            now: None,
            deadline: Ts::MAX,
            has_work: false,
            is_ending: false,
            lent: None,
        }
    }

    /// Takes note of a MoldUDP64 packet and says what to do with it. Everything that
    /// [`Arbiter::release`] has must have been taken before.
    #[inline]
    pub fn offer(&mut self, packet: &Packet<'_>) -> Offer {
        debug_assert!(!self.has_work, "what is ready comes before the next packet");
        let Some((header, blocks)) = Header::split(packet.payload) else {
            return Offer::Bad(Bad::Short);
        };
        if packet.ts_recv.is_some() {
            self.now = packet.ts_recv;
        }
        if header.sequence == 0 {
            return self.offer_unnumbered(packet, &header, blocks);
        }
        let index = match self.sessions.get(self.current) {
            Some(session) if session.id == header.session => self.current,
            _ => match self.find(&header, packet, blocks) {
                Ok(index) => index,
                Err(bad) => return Offer::Bad(bad),
            },
        };
        let session = &mut self.sessions[index];
        (session.before, session.last) = (session.last, packet.ts_recv);
        let line = session.line(packet.line);
        line.arrived(packet, &header);
        let count = header.message_count();
        if header.sequence == session.expected
            && count != 0
            && header.sequence <= u64::MAX - u64::from(u16::MAX)
        {
            session.is_joining = false;
            return Offer::Now(Turn {
                session: index as u16,
                line: packet.line,
                sequence: header.sequence,
                skip: 0,
                count,
            });
        }
        self.offer_out_of_order(index, packet, &header, blocks)
    }

    /// The reader read the packet and found `whole` whole messages, those to skip included.
    #[inline]
    pub fn accept(&mut self, turn: Turn, whole: u16) {
        if turn.session == UNNUMBERED {
            self.unnumbered[usize::from(turn.line)].messages += u64::from(whole);
            return;
        }
        let session = &mut self.sessions[usize::from(turn.session)];
        let end = turn.sequence + u64::from(whole);
        let fresh = u64::from(whole.saturating_sub(turn.skip));
        if session.first.is_none() && fresh > 0 {
            session.first = Some(turn.sequence);
        }
        session.messages += fresh;
        session.expected = session.expected.max(end);
        let line = &mut session.lines[usize::from(turn.line)];
        line.stats.messages += u64::from(whole);
        line.stats.first_copies += fresh;
        line.stats.duplicates += u64::from(whole.min(turn.skip));
        line.received(turn.sequence, end, &session.given_up);
        if !session.held.is_empty() {
            // What waits may be next now, or wait for a smaller hole.
            self.has_work = true;
            if fresh > 0 {
                session.early.clear();
            }
        }
    }

    /// So late is it, and nothing came: for live lines that are silent.
    pub fn pass(&mut self, now: Ts) {
        if self.now.is_none_or(|before| before < now) {
            self.now = Some(now);
        }
    }

    /// Whether something waits for the time to pass.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.deadline != Ts::MAX
    }

    /// Whether [`Arbiter::release`] may have something.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.has_work || self.now.is_some_and(|now| now >= self.deadline)
    }

    /// The next thing that became ready; to be called until there is none.
    pub fn release(&mut self) -> Option<Release<'_>> {
        let lent = self.lent.take();
        self.hold.put_back(lent);
        if !self.has_ready() {
            return None;
        }
        self.has_work = true;
        for index in 0..self.sessions.len() {
            match self.step(index) {
                Step::Nothing => {}
                Step::Gap(gap) => return Some(Release::Gap(gap)),
                Step::Dropped(held) => {
                    self.hold.put_back(held.slot);
                    let (place, sequence) = (held.place, held.sequence);
                    return Some(Release::Dropped { place, sequence });
                }
                Step::Packet(held, skip) => {
                    self.lent = held.slot;
                    return Some(Release::Packet(Released {
                        blocks: self.hold.get(held.slot, held.len_bytes),
                        skip,
                        count: held.count,
                        ts_recv: held.ts_recv,
                        place: held.place,
                        line: held.line,
                        session: self.sessions[index].id,
                        sequence: held.sequence,
                    }));
                }
            }
        }
        self.has_work = false;
        let wait_ns = self.rule.wait_ns;
        let since = self.sessions.iter().filter_map(|s| s.hole.since).min();
        self.deadline = since.map_or(Ts::MAX, |since| since.plus_ns(wait_ns));
        None
    }

    /// The input has ended: all holes are given up by the next releases.
    pub fn finish(&mut self) {
        if self.is_ending {
            return;
        }
        self.is_ending = true;
        self.has_work = true;
        for session in &mut self.sessions {
            if let Some(held) = session.aside.take() {
                session.drop_held(held);
            }
        }
    }

    /// Whether there were sessions, and all of them are over.
    pub fn is_ended(&self) -> bool {
        !self.sessions.is_empty() && self.sessions.iter().all(Session::is_ended)
    }

    /// The first hole that can be asked for.
    pub fn missing(&self) -> Option<Missing> {
        let rule = self.rule.recovery?;
        self.sessions
            .iter()
            .find_map(|session| session.missing(&rule))
    }

    /// Whether there may be no room to hold so many packets more.
    pub fn is_full(&self, packets: usize) -> bool {
        self.hold.free.len() <= packets
    }

    /// Nobody has what is missing: it is lost by the usual rules.
    pub fn give_up(&mut self, missing: &Missing) {
        let found = self.sessions.iter_mut().find(|s| s.id == missing.session);
        let session = found.expect("what is missing is of a session");
        session.unrecoverable = missing.first + missing.count;
        self.has_work = true;
    }

    /// The name of a session, as numbered in a [`Gap`].
    pub fn session_id(&self, session: u16) -> Option<SessionId> {
        self.sessions.get(usize::from(session)).map(|s| s.id)
    }

    /// What is known of each session. After [`Arbiter::finish`], what a line lacks at its end
    /// counts as missing on it too.
    pub fn sessions(&self) -> Vec<SessionStats> {
        let mut all: Vec<SessionStats> = self
            .sessions
            .iter()
            .map(|session| session.stats(self.is_ending))
            .collect();
        let lines = all.iter_mut().flat_map(|session| &mut session.lines);
        for (line, stats) in lines {
            // Answers are pieces: what lies between them was not asked for.
            if self.is_recovery(*line) {
                (stats.gap_count, stats.missing) = (0, 0);
                (stats.lost, stats.out_of_order) = (0, 0);
            }
        }
        all
    }

    /// What each line brought, numbered or not, over all sessions; by the line's index.
    pub fn lines(&self) -> Vec<LineStats> {
        let mut lines = self.unnumbered.clone();
        for session in self.sessions() {
            for (index, stats) in session.lines {
                let index = usize::from(index);
                lines.resize(lines.len().max(index + 1), LineStats::default());
                lines[index].add(&stats);
            }
        }
        lines
    }

    fn is_recovery(&self, line: u8) -> bool {
        self.rule.recovery.is_some_and(|rule| rule.line == line)
    }

    /// Counts a packet that has no numbers at all, such as a piece of a file.
    pub fn count_unnumbered(&mut self, packet: &Packet<'_>, messages: u64) {
        let stats = self.unnumbered(packet.line);
        stats.packets += 1;
        stats.bytes += packet.payload.len() as u64;
        stats.messages += messages;
    }

    fn unnumbered(&mut self, line: u8) -> &mut LineStats {
        let index = usize::from(line);
        if index >= self.unnumbered.len() {
            self.unnumbered.resize(index + 1, LineStats::default());
        }
        &mut self.unnumbered[index]
    }

    /// A packet whose numbers were blanked, as in collections of single packets.
    #[cold]
    fn offer_unnumbered(&mut self, packet: &Packet<'_>, header: &Header, blocks: &[u8]) -> Offer {
        if !is_right(header, packet, blocks) {
            return Offer::Bad(Bad::NotMoldUdp64);
        }
        self.count_unnumbered(packet, 0);
        self.unnumbered(packet.line).count_kind(header.count);
        Offer::Now(Turn {
            session: UNNUMBERED,
            line: packet.line,
            sequence: 0,
            skip: 0,
            count: header.message_count(),
        })
    }

    /// The session of a packet that is not of the same one as the packet before.
    #[cold]
    fn find(&mut self, header: &Header, packet: &Packet<'_>, blocks: &[u8]) -> Result<usize, Bad> {
        if let Some(index) = self.sessions.iter().position(|s| s.id == header.session) {
            self.current = index;
            return Ok(index);
        }
        if !is_right(header, packet, blocks) {
            return Err(Bad::NotMoldUdp64);
        }
        if self.sessions.len() == SESSIONS_MAX {
            return Err(Bad::Sessions);
        }
        let mut session = Session::new(header.session, self.rule.hold_packets);
        let before = self.rule.goes_on.filter(|(id, _)| *id == header.session);
        if let Some((_, next)) = before {
            (session.expected, session.is_joining) = (next, false);
        }
        self.sessions.push(session);
        self.current = self.sessions.len() - 1;
        Ok(self.current)
    }

    /// A packet that is not simply the next one.
    #[cold]
    fn offer_out_of_order(
        &mut self,
        index: usize,
        packet: &Packet<'_>,
        header: &Header,
        blocks: &[u8],
    ) -> Offer {
        let now = self.now;
        let session = &mut self.sessions[index];
        let claimed = header.message_count();
        if header.sequence.checked_add(u64::from(u16::MAX)).is_none() {
            return Offer::Bad(Bad::Overflow);
        }
        // What a copy that is not read claims is only believed as far as its bytes go.
        let is_cut = packet.wire_bytes as usize > packet.payload.len();
        let is_late = header.sequence <= session.expected;
        let count = if is_late && !is_cut {
            claimed.min((blocks.len() / 2) as u16)
        } else {
            whole(blocks, claimed).0
        };
        let end = header.sequence + u64::from(count);
        self.has_work |= !session.held.is_empty();

        if is_late {
            if header.count == END_OF_SESSION {
                session.end = Some(session.end.unwrap_or(0).max(header.sequence));
            }
            if end > session.expected {
                let skip = (session.expected - header.sequence) as u16;
                session.is_joining = false;
                return Offer::Now(Turn {
                    session: index as u16,
                    line: packet.line,
                    sequence: header.sequence,
                    skip,
                    count: claimed,
                });
            }
            if count == 0 && header.sequence == session.expected {
                // This line says that nothing is missing yet.
                session.hole.since = session.hole.since.and(now);
                session.early.clear();
            }
            let line = &mut session.lines[usize::from(packet.line)];
            line.stats.messages += u64::from(count);
            line.stats.duplicates += u64::from(count);
            line.received(header.sequence, end, &session.given_up);
            return if count < claimed {
                Offer::Bad(Bad::Cut)
            } else {
                Offer::Nothing
            };
        }

        let mut held = Held {
            sequence: header.sequence,
            count,
            line: packet.line,
            slot: None,
            len_bytes: blocks.len() as u32,
            ts_recv: packet.ts_recv,
            place: packet.place,
        };
        let is_known = session.is_held(&held);
        if count > 0 && !is_known {
            held.slot = self.hold.keep(blocks);
            if held.slot.is_none() {
                return Offer::Bad(Bad::TooLarge);
            }
        }
        if session.is_far(&held, self.rule.jump_max) {
            let Some(first) = session.put_aside(held) else {
                self.hold_is_filling(index);
                self.has_work |= !self.sessions[index].dropped.is_empty();
                return Offer::Nothing;
            };
            session.take_in(first);
        }
        if header.count == END_OF_SESSION {
            session.end = Some(session.end.unwrap_or(0).max(header.sequence));
        }
        session.agreeing = session.agreeing.saturating_add(1);
        let line = &mut session.lines[usize::from(packet.line)];
        line.stats.messages += u64::from(count);
        line.received(header.sequence, end, &session.given_up);
        if is_known {
            line.stats.duplicates += u64::from(count);
        } else {
            session.insert(held);
        }
        session.came_early(Early {
            sequence: header.sequence,
            line: packet.line,
            at: now,
        });
        session.note_hole(now);
        self.has_work = true;
        self.hold_is_filling(index);
        if count < claimed {
            Offer::Bad(Bad::Cut)
        } else {
            Offer::Nothing
        }
    }

    /// The last free slot must stay free for the next packet: what waits here waits no longer.
    fn hold_is_filling(&mut self, index: usize) {
        if self.hold.free.is_empty() {
            let session = &mut self.sessions[index];
            session.must_give_up = true;
            if session.held.is_empty()
                && let Some(held) = session.aside.take()
            {
                session.drop_held(held);
            }
            self.has_work = true;
        }
    }

    /// The next thing that is ready in one session.
    fn step(&mut self, index: usize) -> Step {
        let rule = self.rule;
        let now = self.now;
        let is_ending = self.is_ending;
        let session = &mut self.sessions[index];
        if let Some(held) = session.dropped.pop_front() {
            return Step::Dropped(held);
        }
        loop {
            let Some(&front) = session.held.front() else {
                session.hole = NO_HOLE;
                session.early.clear();
                session.must_give_up = false;
                return Step::Nothing;
            };
            if front.sequence <= session.expected {
                session.held.pop_front();
                let skip = (session.expected - front.sequence).min(u64::from(front.count)) as u16;
                session.count_released(&front, skip);
                if front.end() <= session.expected {
                    self.hold.put_back(front.slot);
                    continue;
                }
                session.expected = front.end();
                return Step::Packet(front, skip);
            }
            session.note_hole(now);
            session.must_give_up &= self.hold.free.is_empty();
            if !(is_ending || session.must_give_up || session.is_hole_lost(&rule, now)) {
                return Step::Nothing;
            }
            let gap = Gap {
                session: index as u16,
                first: session.expected,
                count: front.sequence - session.expected,
            };
            session.expected = front.sequence;
            if std::mem::take(&mut session.is_joining) && !rule.is_join_loss {
                continue;
            }
            session.count_lost(&gap);
            return Step::Gap(gap);
        }
    }
}

/// Any bytes make a header. Only a packet that is right to its last byte is believed where its
/// session is not known yet.
fn is_right(header: &Header, packet: &Packet<'_>, blocks: &[u8]) -> bool {
    let count = header.message_count();
    let (found, left) = whole(blocks, count);
    let is_cut = packet.wire_bytes as usize > packet.payload.len();
    if is_cut {
        found > 0
    } else {
        found == count && left == 0
    }
}

enum Step {
    Nothing,
    Packet(Held, u16),
    Gap(Gap),
    Dropped(Held),
}
