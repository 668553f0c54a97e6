//! A session as a capture of two multicast lines: MoldUDP64 1.00 over UDP, in a nanosecond pcap.
//!
//! Messages that follow each other within `HOLD_NS` share a packet. A packet is sent with its
//! last message, and captured on line A some microseconds later, on line B a little after that.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use crate::file::Output;
use crate::impair::{Loss, Reorder, Way};
use crate::packet::{self, COUNT_END, MOLD_HEADER_BYTES, Route};
use crate::random::Random;
use crate::session::{Date, Session};
use crate::truth::Truth;

/// A packet waits no longer than this for its second and later messages.
const HOLD_NS: u64 = 50_000;

/// Enough for any network, and few enough messages that losing a packet is no disaster.
const PAYLOAD_BYTES_MAX: usize = 1400;
const MESSAGES_MAX: u16 = 30;

/// After the last message: so many heartbeats, then so many packets that end the session. The
/// last of them is never lost.
const HEARTBEATS_AFTER: u64 = 3;
const ENDS: u64 = 5;

/// How a session is captured. The default is two lines in perfect order.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureOptions {
    /// The multicast groups and ports of lines A and B.
    pub groups: [SocketAddrV4; 2],
    /// The MoldUDP64 session, ten characters.
    pub mold_session: [u8; 10],
    /// From the exchange to the capture of line A.
    pub delay_ns: u64,
    /// From line A to line B.
    pub lag_b_ns: u64,
    /// The mean of what is added to both at random, for each packet and line anew. It never
    /// changes the order within a line.
    pub jitter_ns: u64,
    /// A line that was silent for so long says that it lives. The protocol's habit is a second,
    /// but a sample session is over too soon to show that.
    pub heartbeat_ns: u64,
    /// For everything random below, and the jitter; the session has a seed of its own.
    pub seed: u64,
    /// The probability that line A loses a packet. At 1 the capture holds line B alone, apart
    /// from the last packet that ends the session; so for `loss_b` and line A.
    pub loss_a: f64,
    /// The probability that line B loses a packet. One that line A has lost is delivered by
    /// line B whatever this says, so that the two lines together are always complete, but for
    /// `drop_both`.
    pub loss_b: f64,
    /// Message sequence numbers, from 1. The packets that hold them are lost on both lines, and
    /// `Truth::lost` says which messages went with them. Numbers that never occur drop nothing.
    pub drop_both: Vec<u64>,
    /// The probability that a line delivers a packet twice.
    pub duplicate: f64,
    /// A displaced packet is delivered after at most so many later packets of its line.
    pub reorder: u32,
    /// The share of packets that are displaced, when `reorder` is not 0.
    pub reorder_share: f64,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            groups: [
                SocketAddrV4::new(Ipv4Addr::new(239, 192, 1, 1), 26_400),
                SocketAddrV4::new(Ipv4Addr::new(239, 192, 2, 1), 26_401),
            ],
            mold_session: *b"0000000001",
            delay_ns: 8_000,
            lag_b_ns: 4_000,
            jitter_ns: 1_500,
            heartbeat_ns: 250_000_000,
            seed: 1,
            loss_a: 0.0,
            loss_b: 0.0,
            drop_both: Vec::new(),
            duplicate: 0.0,
            reorder: 0,
            reorder_share: 0.05,
        }
    }
}

impl CaptureOptions {
    /// Whether all is within its bounds.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with the first field that is not.
    pub fn check(&self) -> io::Result<()> {
        let bad = |what: String| {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("capture: {what}"),
            ))
        };
        let probabilities = [
            ("loss_a", self.loss_a),
            ("loss_b", self.loss_b),
            ("duplicate", self.duplicate),
            ("reorder_share", self.reorder_share),
        ];
        for (field, got) in probabilities {
            if !(0.0..=1.0).contains(&got) {
                return bad(format!("{field} is {got}, want a probability from 0 to 1"));
            }
        }
        if self.reorder > 1000 {
            return bad(format!(
                "reorder is {}, want at most 1000 packets",
                self.reorder
            ));
        }
        if !(1_000_000..=60_000_000_000).contains(&self.heartbeat_ns) {
            return bad(format!(
                "heartbeat_ns is {}, want 1 ms to 60 s",
                self.heartbeat_ns
            ));
        }
        for (field, got) in [
            ("delay_ns", self.delay_ns),
            ("lag_b_ns", self.lag_b_ns),
            ("jitter_ns", self.jitter_ns),
        ] {
            if got > 1_000_000_000 {
                return bad(format!("{field} is {got}, want at most one second"));
            }
        }
        match self.groups.iter().find(|group| !group.ip().is_multicast()) {
            Some(group) => bad(format!("{group} is no multicast group")),
            None => Ok(()),
        }
    }
}

/// Messages that were left out of both lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lost {
    /// First and last sequence number of each run.
    runs: Vec<[u64; 2]>,
    locates: BTreeSet<u16>,
}

struct Line {
    route: Route,
    reorder: Reorder,
    identification: u16,
    /// When this line delivered last.
    at_ns: u64,
}

/// Puts messages into packets, and packets into a pcap.
pub struct Capture<W> {
    out: W,
    options: CaptureOptions,
    midnight_ns: u64,
    lines: [Line; 2],
    loss: Loss,
    lost: Lost,
    random: Random,
    /// The packet in the making, header included.
    payload: Vec<u8>,
    count: u16,
    first_ns: u64,
    last_ns: u64,
    /// The sequence number of the next message.
    sequence: u64,
    /// Frames by capture time, until nothing earlier can come. The second number keeps those of
    /// one time in the order in which they were made.
    pending: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>>,
    made: u64,
    /// Frames to be used again.
    spare: Vec<Vec<u8>>,
}

impl<W: Write> Capture<W> {
    /// Writes the file header.
    ///
    /// # Errors
    ///
    /// When `options` do not pass their `check`, or `out` fails.
    pub fn new(mut out: W, date: Date, options: &CaptureOptions) -> io::Result<Self> {
        options.check()?;
        out.write_all(&packet::PCAP_HEADER)?;
        let line = |index: u8| Line {
            route: Route {
                source: packet::source(index + 1),
                group: options.groups[usize::from(index)],
                number: index + 1,
            },
            reorder: Reorder::new(options, u64::from(index)),
            identification: 0,
            at_ns: 0,
        };
        Ok(Self {
            out,
            midnight_ns: date.midnight_unix_ns(),
            lines: [line(0), line(1)],
            loss: Loss::new(options),
            lost: Lost::default(),
            random: Random::new(options.seed, 99),
            payload: vec![0; MOLD_HEADER_BYTES],
            count: 0,
            first_ns: 0,
            last_ns: 0,
            sequence: 1,
            pending: BinaryHeap::new(),
            made: 0,
            spare: Vec::new(),
            options: options.clone(),
        })
    }

    /// Takes the next message. Times must not go back.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn push(&mut self, ts_ns: u64, message: &[u8]) -> io::Result<()> {
        let is_full = self.count == MESSAGES_MAX
            || self.payload.len() + 2 + message.len() > PAYLOAD_BYTES_MAX;
        if self.count > 0 && (is_full || ts_ns > self.first_ns + HOLD_NS) {
            self.send_messages()?;
        }
        if self.count == 0 {
            self.heartbeats_until(ts_ns)?;
            self.first_ns = ts_ns;
        }
        self.payload
            .extend_from_slice(&(message.len() as u16).to_be_bytes());
        self.payload.extend_from_slice(message);
        self.count += 1;
        self.last_ns = ts_ns;
        Ok(())
    }

    /// Sends the last packet, some heartbeats, and the end of the session. Returns the writer,
    /// and the runs of sequence numbers and the locates of what both lines lost.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn finish(mut self) -> io::Result<(W, Vec<[u64; 2]>, BTreeSet<u16>)> {
        if self.count > 0 {
            self.send_messages()?;
        }
        let over_ns = self.last_ns + self.options.heartbeat_ns * HEARTBEATS_AFTER;
        self.heartbeats_until(over_ns + 1)?;
        for end in 1..=ENDS {
            self.last_ns += self.options.heartbeat_ns / ENDS;
            if end < ENDS {
                self.send_empty(COUNT_END)?;
            } else {
                self.set_header(COUNT_END);
                self.send([false; 2])?;
            }
        }
        for line in 0..2 {
            while let Some(frame) = self.lines[line].reorder.release(true) {
                self.enqueue(self.lines[line].at_ns + 1_000, frame);
            }
        }
        self.write_until(u64::MAX)?;
        Ok((self.out, self.lost.runs, self.lost.locates))
    }

    fn set_header(&mut self, count: u16) {
        let header = packet::mold_header(&self.options.mold_session, self.sequence, count);
        self.payload[..MOLD_HEADER_BYTES].copy_from_slice(&header);
    }

    fn send_messages(&mut self) -> io::Result<()> {
        self.set_header(self.count);
        let end = self.sequence + u64::from(self.count);
        let is_lost = self.loss.draw(self.sequence, end);
        if is_lost == [true; 2] {
            self.record_loss(end - 1);
        }
        self.send(is_lost)?;
        self.sequence = end;
        self.payload.truncate(MOLD_HEADER_BYTES);
        self.count = 0;
        Ok(())
    }

    #[cold]
    fn record_loss(&mut self, last: u64) {
        match self.lost.runs.last_mut() {
            Some(run) if run[1] + 1 == self.sequence => run[1] = last,
            _ => self.lost.runs.push([self.sequence, last]),
        }
        let mut rest = &self.payload[MOLD_HEADER_BYTES..];
        while let [high, low, tail @ ..] = rest {
            let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            self.lost
                .locates
                .insert(u16::from_be_bytes([message[1], message[2]]));
            rest = tail;
        }
    }

    /// Heartbeats for the silence between the last packet and `ts_ns`.
    fn heartbeats_until(&mut self, ts_ns: u64) -> io::Result<()> {
        while self.last_ns > 0 && self.last_ns + self.options.heartbeat_ns < ts_ns {
            self.last_ns += self.options.heartbeat_ns;
            self.send_empty(0)?;
        }
        Ok(())
    }

    fn send_empty(&mut self, count: u16) -> io::Result<()> {
        self.set_header(count);
        let is_lost = self.loss.draw(self.sequence, self.sequence);
        self.send(is_lost)
    }

    /// Sends what `payload` holds on both lines, at `last_ns`.
    fn send(&mut self, is_lost: [bool; 2]) -> io::Result<()> {
        for (line, is_lost) in is_lost.into_iter().enumerate() {
            let lag_ns = if line == 1 { self.options.lag_b_ns } else { 0 };
            let jitter_ns = self.random.exponential(self.options.jitter_ns as f64) as u64;
            let at_ns = self.last_ns + self.options.delay_ns + lag_ns + jitter_ns;
            let at_ns = at_ns.max(self.lines[line].at_ns);
            self.lines[line].at_ns = at_ns;
            self.deliver(line, at_ns, is_lost);
        }
        // Whatever comes later leaves the exchange no earlier than this packet.
        self.write_until(self.last_ns + self.options.delay_ns)
    }

    fn deliver(&mut self, line: usize, at_ns: u64, is_lost: bool) {
        // All is drawn before anything is lost, so that one option does not change the others.
        let way = self.lines[line].reorder.draw();
        let echo_ns = 1_000 + self.random.below(10_000);
        let one = &mut self.lines[line];
        one.identification = one.identification.wrapping_add(1);
        if !is_lost {
            let mut frame = self.spare.pop().unwrap_or_default();
            packet::frame(&one.route, one.identification, &self.payload, &mut frame);
            match way {
                Way::Once => self.enqueue(at_ns, frame),
                Way::Twice => {
                    let mut copy = self.spare.pop().unwrap_or_default();
                    copy.clone_from(&frame);
                    self.enqueue(at_ns, frame);
                    self.enqueue(at_ns + echo_ns, copy);
                }
                Way::Displaced(by) => one.reorder.hold(by, frame),
            }
        }
        while let Some(frame) = self.lines[line].reorder.release(false) {
            self.enqueue(at_ns, frame);
        }
    }

    fn enqueue(&mut self, at_ns: u64, frame: Vec<u8>) {
        self.made += 1;
        self.pending.push(Reverse((at_ns, self.made, frame)));
    }

    fn write_until(&mut self, until_ns: u64) -> io::Result<()> {
        while self
            .pending
            .peek()
            .is_some_and(|Reverse((at_ns, ..))| *at_ns < until_ns)
        {
            let Some(Reverse((at_ns, _, frame))) = self.pending.pop() else {
                break;
            };
            self.out.write_all(&packet::record_header(
                self.midnight_ns + at_ns,
                frame.len(),
            ))?;
            self.out.write_all(&frame)?;
            self.spare.push(frame);
        }
        Ok(())
    }
}

/// Simulates a session into a capture, compressed if the path ends in `.gz` or `.zst`. The
/// truth says what both lines lost.
///
/// # Errors
///
/// When the session or the options do not pass their `check`, or the file cannot be written.
pub fn write_pcap(session: &Session, path: &Path, options: &CaptureOptions) -> io::Result<Truth> {
    // Before a file that is there is emptied.
    session.check()?;
    options.check()?;
    let output = Output::create(path)?;
    let mut capture = Capture::new(output, session.date, options)?;
    let mut truth = crate::run(session, &mut |ts_ns, message| capture.push(ts_ns, message))?;
    let (output, lost, locates) = capture.finish()?;
    output.finish()?;
    truth.lost = lost;
    let is_lost = |locate: &u16| locates.contains(locate);
    truth.lost_symbols = truth
        .symbols
        .iter()
        .filter(|symbol| is_lost(&symbol.locate))
        .map(|symbol| symbol.symbol.clone())
        .collect();
    Ok(truth)
}
