//! What a capture holds: lines, sessions, gaps, doubles, message types, symbols, rates.
//!
//! Reads as the reader does, and keeps counts instead of events. Not made for speed.

use bus::{Anomalies, Anomaly, Event, Kind, Ts};

use crate::arbiter::{Arbiter, Bad, GapRule, LineStats, Offer, Release, SessionStats};
use crate::moldudp64::{Blocks, Header};
use crate::protocol::Protocol;
use crate::reader::{EXAMPLES_MAX, GAPS_LISTED_MAX, not_ours};
use crate::source::{Framing, Line, Packet, Place, Polled, Source, SourceError};
use crate::transport::Transports;

/// How many of the busiest symbols are listed.
pub const BUSIEST_MAX: usize = 20;

/// The lengths of time for which the busiest one is sought.
pub const PEAK_BUCKETS_NS: [i64; 3] = [1_000_000, 10_000_000, 1_000_000_000];

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Packets, and the bytes of their payloads.
    pub packets: u64,
    #[allow(missing_docs)]
    pub bytes: u64,
    /// Packets that were pieces of ITCH files.
    pub pieces: u64,
    /// Packets that are not MoldUDP64, or whatever the protocol comes in: another protocol, most
    /// likely.
    pub not_moldudp64: u64,
    /// Where the first of them stands.
    pub first_not_moldudp64: Option<Place>,
    /// The lines, and what each brought.
    pub lines: Vec<(Line, LineStats)>,
    /// The MoldUDP64 sessions, each with its lines.
    pub sessions: Vec<SessionStats>,
    /// The first gaps of all lines together: session index, first missing number, how many.
    pub gaps: Vec<(u16, u64, u64)>,
    /// Messages in order and once each.
    pub messages: u64,
    /// The same by type, types that the protocol does not have included.
    pub by_type: [u64; 256],
    /// Messages that are not right, of unknown types included.
    pub refused: u64,
    /// How many symbols were met.
    pub symbols: usize,
    /// The busiest ones.
    pub busiest: Vec<Busy>,
    /// First and highest event time.
    pub event_span: Option<(Ts, Ts)>,
    /// First and last arrival time.
    pub capture_span: Option<(Ts, Ts)>,
    /// The busiest stretch of each of [`PEAK_BUCKETS_NS`], by event time.
    pub peaks: [Peak; 3],
    /// Messages with an event time before the one before, and the largest such step back.
    pub backwards: u64,
    #[allow(missing_docs)]
    pub backwards_max_ns: i64,
    /// Everything wrong in packets and messages.
    pub anomalies: Anomalies,
    /// Things that the source stumbled over.
    pub troubles: u64,
    /// The first of both, those of the source before the others, with their places.
    pub examples: Vec<(Place, String)>,
}

/// A symbol and how busy it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Its number.
    pub symbol: u32,
    /// Its name, empty where no message said it.
    pub name: String,
    /// How many messages were about it.
    pub messages: u64,
}

/// The busiest stretch of some length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// How long.
    pub bucket_ns: i64,
    /// How many messages.
    pub messages: u64,
    /// When it began.
    pub start: Ts,
}

/// Reads a source to its end and says what it holds.
pub fn inspect<S: Source, P: Protocol>(
    source: &mut S,
    protocol: P,
    rule: GapRule,
) -> Result<Report, SourceError> {
    let mut arbiter = Arbiter::new(rule);
    let mut survey = Survey::new(protocol);
    loop {
        match source.poll()? {
            Polled::Packet(packet) => survey.packet(&mut arbiter, &packet),
            Polled::Empty => {}
            Polled::Trouble(trouble) => {
                // Where a file is cut comes last, and is told before all else.
                let index = survey.report.troubles as usize;
                survey.report.troubles += 1;
                if index < EXAMPLES_MAX {
                    let example = (trouble.place, trouble.what);
                    survey.report.examples.insert(index, example);
                }
            }
            Polled::End => break,
        }
        survey.release(&mut arbiter);
    }
    arbiter.finish();
    survey.release(&mut arbiter);
    Ok(survey.finish(&arbiter, source.lines()))
}

/// The counts in the making.
struct Survey<P> {
    protocol: P,
    transports: Transports,
    translated: Vec<Event>,
    report: Report,
    /// Messages and name, by symbol.
    symbols: Vec<(u64, u64)>,
    /// The stretch at hand of each length.
    current: [Peak; 3],
    last: Option<Ts>,
}

impl<P: Protocol> Survey<P> {
    fn new(protocol: P) -> Survey<P> {
        let peaks = PEAK_BUCKETS_NS.map(|bucket_ns| Peak {
            bucket_ns,
            ..Peak::default()
        });
        Survey {
            protocol,
            transports: Transports::default(),
            translated: Vec::new(),
            report: Report {
                packets: 0,
                bytes: 0,
                pieces: 0,
                not_moldudp64: 0,
                first_not_moldudp64: None,
                lines: Vec::new(),
                sessions: Vec::new(),
                gaps: Vec::new(),
                messages: 0,
                by_type: [0; 256],
                refused: 0,
                symbols: 0,
                busiest: Vec::new(),
                event_span: None,
                capture_span: None,
                peaks,
                backwards: 0,
                backwards_max_ns: 0,
                anomalies: Anomalies::default(),
                troubles: 0,
                examples: Vec::new(),
            },
            symbols: vec![(0, 0); 1 << 16],
            current: peaks,
            last: None,
        }
    }

    fn packet(&mut self, arbiter: &mut Arbiter, packet: &Packet<'_>) {
        self.report.packets += 1;
        self.report.bytes += packet.payload.len() as u64;
        if let Some(ts) = packet.ts_recv {
            let (first, _) = self.report.capture_span.unwrap_or((ts, ts));
            self.report.capture_span = Some((first, ts));
        }
        match packet.framing {
            Framing::MoldUdp64 if P::FRAMING == Framing::MoldUdp64 => {
                self.datagram(arbiter, packet);
            }
            Framing::LengthPrefixed | Framing::Records(_) => {
                self.report.pieces += 1;
                let (found, left) = self.messages(packet.payload, 0, u64::MAX, packet.place);
                arbiter.count_unnumbered(packet, found);
                if left > 0 {
                    self.anomaly(
                        Anomaly::BadPacket,
                        packet.place,
                        format!("{left} bytes behind the last whole message"),
                    );
                }
            }
            other if other.is_like(P::FRAMING) => {
                let mut transports = std::mem::take(&mut self.transports);
                match transports.as_mold(packet) {
                    Ok(packet) => self.datagram(arbiter, &packet),
                    Err(what) => self.anomaly(Anomaly::BadPacket, packet.place, what.into()),
                }
                self.transports = transports;
            }
            Framing::MoldUdp64 | Framing::IexTp | Framing::Mdp3(_) | Framing::Pitch(_) => {
                self.bad_packet(packet.place, not_ours::<P>());
            }
        }
    }

    fn datagram(&mut self, arbiter: &mut Arbiter, packet: &Packet<'_>) {
        match arbiter.offer(packet) {
            Offer::Now(turn) => {
                let (_, blocks) = Header::split(packet.payload).expect("it was offered");
                let count = u64::from(turn.count);
                let (found, left) = self.blocks(blocks, turn.skip.into(), count, packet.place);
                arbiter.accept(turn, found as u16);
                if found < count || left > 0 {
                    self.bad_packet(packet.place, Bad::Cut);
                }
            }
            Offer::Nothing => {}
            Offer::Bad(bad) => self.bad_packet(packet.place, bad),
        }
    }

    fn release(&mut self, arbiter: &mut Arbiter) {
        while let Some(release) = arbiter.release() {
            match release {
                Release::Packet(packet) => {
                    let (skip, count) = (packet.skip.into(), packet.count.into());
                    self.blocks(packet.blocks, skip, count, packet.place);
                }
                Release::Gap(gap) => {
                    self.report.anomalies.count(Anomaly::Gap);
                    if self.report.gaps.len() < GAPS_LISTED_MAX {
                        self.report.gaps.push((gap.session, gap.first, gap.count));
                    }
                }
                Release::Dropped { place, sequence } => {
                    let what = format!("sequence {sequence} is far ahead, and nothing confirms it");
                    self.anomaly(Anomaly::BadPacket, place, what);
                }
            }
        }
    }

    /// As the reader does, whose numbers may be those of packets.
    fn blocks(&mut self, blocks: &[u8], skip: u64, count: u64, place: Place) -> (u64, usize) {
        if !P::NUMBERS_PACKETS {
            return self.messages(blocks, skip, count, place);
        }
        let mut walk = Blocks::new(blocks);
        let (mut found, mut left) = (0, 0);
        while found < count {
            let Some(packet) = walk.next() else { break };
            found += 1;
            if found > skip {
                left += self.messages(packet, 0, u64::MAX, place).1;
            }
        }
        (found, left + walk.rest().len())
    }

    /// Counts messages; says how many whole ones there were, and how many bytes are left.
    fn messages(&mut self, blocks: &[u8], skip: u64, count: u64, place: Place) -> (u64, usize) {
        let mut walk = Blocks::new(blocks);
        let mut found = 0;
        while found < count {
            let Some(message) = walk.next() else { break };
            found += 1;
            if found > skip {
                self.message(message, place, found);
            }
        }
        (found, walk.rest().len())
    }

    fn message(&mut self, message: &[u8], place: Place, index: u64) {
        self.report.messages += 1;
        let mut event = Event::new(Kind::Nothing);
        let decoded = self.protocol.decode(message, &mut event);
        let code = match decoded {
            Ok(_) => Some(event.code),
            Err(_) => self.protocol.code(message),
        };
        if let Some(code) = code {
            self.report.by_type[usize::from(code)] += 1;
        }
        if let Err(fault) = decoded {
            self.report.refused += 1;
            self.anomaly(fault.anomaly(), place, format!("message {index}: {fault}"));
            return;
        }
        if P::IS_TRANSLATED {
            self.translate(message, &event, place, index);
        } else {
            let symbol = &mut self.symbols[event.symbol as usize];
            symbol.0 += 1;
            if let Some(name) = self.protocol.name(message) {
                symbol.1 = name;
            }
        }
        self.time(event.ts_event);
    }

    /// Whose symbols a message is about, and what their names are, by the events it makes.
    fn translate(&mut self, message: &[u8], event: &Event, place: Place, index: u64) {
        let mut events = std::mem::take(&mut self.translated);
        let result = self.protocol.translate(message, event, &mut events);
        let mut before = None;
        for made in events.drain(..) {
            let symbol = &mut self.symbols[made.symbol as usize];
            symbol.0 += u64::from(before != Some(made.symbol));
            if made.kind == Kind::Symbol {
                symbol.1 = made.order;
            }
            before = Some(made.symbol);
        }
        self.translated = events;
        if let Err(fault) = result {
            self.anomaly(fault.anomaly(), place, format!("message {index}: {fault}"));
        }
    }

    fn time(&mut self, ts: Ts) {
        let back_ns = self.last.map_or(0, |last| last.since(ts));
        if back_ns > 0 {
            self.report.backwards += 1;
            self.report.backwards_max_ns = self.report.backwards_max_ns.max(back_ns);
            self.report.anomalies.count(Anomaly::TimeBackwards);
        }
        self.last = Some(ts);
        let (first, highest) = self.report.event_span.unwrap_or((ts, ts));
        self.report.event_span = Some((first, highest.max(ts)));
        for (current, peak) in self.current.iter_mut().zip(&mut self.report.peaks) {
            let start = ts.floor(current.bucket_ns);
            if current.start != start {
                (current.start, current.messages) = (start, 0);
            }
            current.messages += 1;
            if current.messages > peak.messages {
                *peak = *current;
            }
        }
    }

    fn bad_packet(&mut self, place: Place, bad: Bad) {
        if matches!(
            bad,
            Bad::Short | Bad::NotMoldUdp64 | Bad::NotIexTp | Bad::NotMdp3 | Bad::NotPitch
        ) {
            self.report.not_moldudp64 += 1;
            self.report.first_not_moldudp64.get_or_insert(place);
        }
        self.anomaly(Anomaly::BadPacket, place, bad.what().to_owned());
    }

    fn anomaly(&mut self, anomaly: Anomaly, place: Place, what: String) {
        self.report.anomalies.count(anomaly);
        self.example(place, what);
    }

    fn example(&mut self, place: Place, what: String) {
        if self.report.examples.len() < EXAMPLES_MAX {
            self.report.examples.push((place, what));
        }
    }

    fn finish(mut self, arbiter: &Arbiter, lines: &[Line]) -> Report {
        let stats = arbiter
            .lines()
            .into_iter()
            .chain(std::iter::repeat(LineStats::default()));
        self.report.lines = lines.iter().cloned().zip(stats).collect();
        self.report.sessions = arbiter.sessions();
        let mut busy: Vec<(usize, u64, u64)> = self
            .symbols
            .iter()
            .enumerate()
            .skip(1) // Number 0 is for what concerns all symbols.
            .filter(|(_, (messages, _))| *messages > 0)
            .map(|(symbol, &(messages, name))| (symbol, messages, name))
            .collect();
        self.report.symbols = busy.len();
        busy.sort_by_key(|&(symbol, messages, _)| (u64::MAX - messages, symbol));
        busy.truncate(BUSIEST_MAX);
        self.report.busiest = busy
            .into_iter()
            .map(|(symbol, messages, name)| Busy {
                symbol: symbol as u32,
                name: name_text(name),
                messages,
            })
            .collect();
        self.report
    }
}

/// A symbol's name as people write it; any byte that is no letter shows as a question mark.
fn name_text(name: u64) -> String {
    let bytes = name.to_be_bytes();
    let letters = bytes.trim_ascii_end().iter().filter(|byte| **byte != 0);
    letters
        .map(|&byte| {
            if byte.is_ascii_graphic() {
                byte as char
            } else {
                '?'
            }
        })
        .collect()
}
