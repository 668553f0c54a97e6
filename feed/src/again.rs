//! Messages out again: those of a source in their order, once, and a capture made of some of them.

use std::io::{self, Write};
use std::ops::ControlFlow;

use bus::Ts;

use crate::arbiter::{Arbiter, GapRule, Offer, Release};
use crate::moldudp64::{Blocks, END_OF_SESSION, HEADER_BYTES, Header, SessionId};
use crate::source::{Framing, Packet, Place, Polled, Source, SourceError};

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A message, and when its packet was captured.
    Message(&'a [u8], Option<Ts>),
    /// So many messages that no line brought.
    Gap(u64),
}

/// What a walk came across.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Messages handed out.
    pub messages: u64,
    /// Messages that no line brought.
    pub lost: u64,
    /// Packets that were wrong, and things that the source stumbled over.
    pub wrong: u64,
    /// The first of these.
    pub first: Option<(Place, String)>,
}

impl Walked {
    fn wrong(&mut self, place: Place, what: String) {
        self.wrong += 1;
        self.first.get_or_insert((place, what));
    }
}

/// Hands out the messages of MoldUDP64 packets and of ITCH files, arbitrated, until `each` has enough.
pub fn walk<S: Source>(
    source: &mut S,
    rule: GapRule,
    mut each: impl FnMut(Next<'_>) -> ControlFlow<()>,
) -> Result<Walked, SourceError> {
    let mut arbiter = Arbiter::new(rule);
    let mut walked = Walked::default();
    loop {
        let (is_enough, is_end) = match source.poll()? {
            Polled::Packet(packet) => (walked.packet(&mut arbiter, &packet, &mut each), false),
            Polled::Empty => (ControlFlow::Continue(()), false),
            Polled::Trouble(trouble) => {
                walked.wrong(trouble.place, trouble.what);
                (ControlFlow::Continue(()), false)
            }
            Polled::End => {
                arbiter.finish();
                (ControlFlow::Continue(()), true)
            }
        };
        let is_enough = match is_enough {
            ControlFlow::Continue(()) => walked.release(&mut arbiter, &mut each),
            enough => enough,
        };
        if is_end || is_enough.is_break() {
            return Ok(walked);
        }
    }
}

impl Walked {
    fn packet(
        &mut self,
        arbiter: &mut Arbiter,
        packet: &Packet<'_>,
        each: &mut impl FnMut(Next<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if packet.framing == Framing::LengthPrefixed {
            let (_, left, enough) =
                self.messages(packet.payload, 0, u64::MAX, packet.ts_recv, each);
            if left > 0 && enough.is_continue() {
                let what = format!("{left} bytes behind the last whole message");
                self.wrong(packet.place, what);
            }
            return enough;
        }
        match arbiter.offer(packet) {
            Offer::Now(turn) => {
                let (_, blocks) = Header::split(packet.payload).expect("it was offered");
                let (skip, count) = (u64::from(turn.skip), u64::from(turn.count));
                let (found, left, enough) =
                    self.messages(blocks, skip, count, packet.ts_recv, each);
                enough?;
                arbiter.accept(turn, found as u16);
                if found < count || left > 0 {
                    let what = crate::arbiter::Bad::Cut.what();
                    self.wrong(packet.place, what.into());
                }
            }
            Offer::Nothing => {}
            Offer::Bad(bad) => self.wrong(packet.place, bad.what().into()),
        }
        ControlFlow::Continue(())
    }

    fn release(
        &mut self,
        arbiter: &mut Arbiter,
        each: &mut impl FnMut(Next<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        while let Some(release) = arbiter.release() {
            match release {
                Release::Packet(packet) => {
                    let (skip, count) = (packet.skip.into(), packet.count.into());
                    self.messages(packet.blocks, skip, count, packet.ts_recv, each)
                        .2?;
                }
                Release::Gap(gap) => {
                    self.lost += gap.count;
                    each(Next::Gap(gap.count))?;
                }
                Release::Dropped { place, sequence } => {
                    let what = format!("sequence {sequence} is far ahead, and nothing confirms it");
                    self.wrong(place, what);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// How many whole messages there were, how many bytes are left, and whether it is enough.
    fn messages(
        &mut self,
        blocks: &[u8],
        skip: u64,
        count: u64,
        ts: Option<Ts>,
        each: &mut impl FnMut(Next<'_>) -> ControlFlow<()>,
    ) -> (u64, usize, ControlFlow<()>) {
        let mut walk = Blocks::new(blocks);
        let mut found = 0;
        while found < count {
            let Some(message) = walk.next() else { break };
            found += 1;
            if found <= skip {
                continue;
            }
            self.messages += 1;
            if each(Next::Message(message, ts)).is_break() {
                return (found, 0, ControlFlow::Break(()));
            }
        }
        (found, walk.rest().len(), ControlFlow::Continue(()))
    }
}

/// Where packets of a written capture come from and go to.
const SOURCE: ([u8; 4], u16) = ([10, 0, 1, 1], 31_001);
const GROUP: ([u8; 4], u16) = ([239, 192, 1, 1], 26_400);
/// The name of its session.
const SESSION: SessionId = SessionId(*b"TAPELINE01");
/// A packet's payload fits into an Ethernet frame with room to spare.
const PAYLOAD_BYTES_MAX: usize = 1_400;
const LINK_BYTES: usize = 14 + 20 + 8;

/// Writes a pcap, in nanoseconds, of MoldUDP64 packets: one session on one line, numbered from 1.
pub struct PcapWriter<W> {
    out: W,
    payload: Vec<u8>,
    count: u16,
    ts: Ts,
    /// The number of the first message in the packet at hand.
    sequence: u64,
    identification: u16,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file's header.
    pub fn new(mut out: W) -> io::Result<PcapWriter<W>> {
        for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1] {
            out.write_all(&word.to_le_bytes())?;
        }
        Ok(PcapWriter {
            out,
            payload: vec![0; HEADER_BYTES],
            count: 0,
            ts: Ts(0),
            sequence: 1,
            identification: 0,
        })
    }

    /// Takes the next message; those of one time share packets. Times do not go back: one that does
    /// counts as the last.
    pub fn message(&mut self, ts: Ts, message: &[u8]) -> io::Result<()> {
        let is_full = self.payload.len() + 2 + message.len() > PAYLOAD_BYTES_MAX;
        if ts > self.ts || is_full {
            self.flush()?;
        }
        self.ts = self.ts.max(ts);
        let length = (message.len() as u16).to_be_bytes();
        self.payload.extend_from_slice(&length);
        self.payload.extend_from_slice(message);
        self.count += 1;
        Ok(())
    }

    /// Leaves out so many numbers, so that what was lost before is lost for the next reader, too.
    pub fn gap(&mut self, messages: u64) -> io::Result<()> {
        self.flush()?;
        self.sequence = self.sequence.saturating_add(messages);
        Ok(())
    }

    /// Ends the session, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.packet(END_OF_SESSION)?;
        Ok(self.out)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        self.packet(self.count)?;
        self.sequence += u64::from(self.count);
        self.payload.truncate(HEADER_BYTES);
        self.count = 0;
        Ok(())
    }

    fn packet(&mut self, count: u16) -> io::Result<()> {
        let header = Header {
            session: SESSION,
            sequence: self.sequence,
            count,
        };
        self.payload[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        let bytes = (LINK_BYTES + self.payload.len()) as u32;
        let ns = self.ts.0.max(0) as u64;
        for word in [
            (ns / 1_000_000_000) as u32,
            (ns % 1_000_000_000) as u32,
            bytes,
            bytes,
        ] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        let frame = frame(self.identification, self.payload.len() as u16);
        self.identification = self.identification.wrapping_add(1);
        self.out.write_all(&frame)?;
        self.out.write_all(&self.payload)
    }
}

/// Ethernet, IPv4 and UDP in front of a payload. A UDP checksum of 0 says that there is none.
fn frame(identification: u16, payload_bytes: u16) -> [u8; LINK_BYTES] {
    let mut frame = [0; LINK_BYTES];
    let [_, b, c, d] = GROUP.0;
    frame[..6].copy_from_slice(&[1, 0, 0x5e, b & 0x7f, c, d]);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
    let ip = &mut frame[14..34];
    ip[..2].copy_from_slice(&[0x45, 0]);
    ip[2..4].copy_from_slice(&(payload_bytes + 28).to_be_bytes());
    ip[4..6].copy_from_slice(&identification.to_be_bytes());
    ip[6..10].copy_from_slice(&[0x40, 0, 16, 17]);
    ip[12..16].copy_from_slice(&SOURCE.0);
    ip[16..20].copy_from_slice(&GROUP.0);
    let words = ip.chunks_exact(2);
    let sum: u32 = words
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame[34..36].copy_from_slice(&SOURCE.1.to_be_bytes());
    frame[36..38].copy_from_slice(&GROUP.1.to_be_bytes());
    frame[38..40].copy_from_slice(&(payload_bytes + 8).to_be_bytes());
    frame
}

/// Which ITCH messages belong to some symbols and some time: of the time before it, what books,
/// states and names are made of.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// Symbols as the feed pads them; all if `None`.
    symbols: Option<Vec<[u8; 8]>>,
    /// In nanoseconds since midnight.
    from_ns: Option<u64>,
    /// The first message after this ends it.
    until_ns: Option<u64>,
    /// The numbers that the wanted symbols have.
    locates: Vec<u16>,
    met: Vec<[u8; 8]>,
    /// The latest time of all messages.
    last_ns: u64,
}

/// The types that change no book, state or name: trades, auctions, and what is said of them.
const PRINTS: &[u8] = b"PQBINO";

impl Slice {
    /// Of these symbols, in this time.
    pub fn new(
        symbols: Option<Vec<[u8; 8]>>,
        from_ns: Option<u64>,
        until_ns: Option<u64>,
    ) -> Slice {
        Slice {
            symbols,
            from_ns,
            until_ns,
            locates: Vec::new(),
            met: Vec::new(),
            last_ns: 0,
        }
    }

    /// Whether a message belongs to it; a break when nothing more does.
    pub fn keeps(&mut self, message: &[u8]) -> ControlFlow<(), bool> {
        let Some((head, _)) = message.split_first_chunk::<11>() else {
            return ControlFlow::Continue(false);
        };
        let ns = time_of(head);
        self.last_ns = self.last_ns.max(ns);
        if self.until_ns.is_some_and(|until| ns > until) {
            return ControlFlow::Break(());
        }
        let locate = u16::from_be_bytes([head[1], head[2]]);
        if let Some(symbols) = &self.symbols {
            let named = match head[0] {
                b'R' => message.get(11..19),
                // Captures that begin mid-day name a symbol with its orders.
                b'A' | b'F' => message.get(24..32),
                _ => None,
            };
            let wanted = named.and_then(|name| symbols.iter().find(|want| *want == name));
            if let Some(name) = wanted
                && !self.locates.contains(&locate)
            {
                self.locates.push(locate);
                self.met.push(*name);
            }
            if locate != 0 && !self.locates.contains(&locate) {
                return ControlFlow::Continue(false);
            }
        }
        let is_before = self.from_ns.is_some_and(|from| ns < from);
        ControlFlow::Continue(!(is_before && PRINTS.contains(&head[0])))
    }

    /// When the last message happened, in nanoseconds since midnight, where all were before its time.
    pub fn ended_before(&self) -> Option<u64> {
        let from_ns = self.from_ns?;
        (self.last_ns < from_ns).then_some(self.last_ns)
    }

    /// The wanted symbols that were not met.
    pub fn missing(&self) -> impl Iterator<Item = &[u8; 8]> {
        let wanted = self.symbols.iter().flatten();
        wanted.filter(|name| !self.met.contains(name))
    }
}

/// When a message happened, in nanoseconds since midnight.
pub fn time_of(head: &[u8; 11]) -> u64 {
    head[5..]
        .iter()
        .fold(0, |ns, byte| ns << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, locate: u16, ns: u64, rest: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend(locate.to_be_bytes());
        message.extend([0, 0]);
        message.extend(&ns.to_be_bytes()[2..]);
        message.extend(rest);
        message
    }

    #[test]
    fn a_slice_keeps_what_its_books_need() {
        let mut slice = Slice::new(Some(vec![*b"AAA     ", *b"CCC     "]), Some(100), Some(200));
        let mut keeps =
            |kind, locate, ns, rest: &[u8]| slice.keeps(&message(kind, locate, ns, rest));
        let (yes, no) = (ControlFlow::Continue(true), ControlFlow::Continue(false));
        assert_eq!(keeps(b'S', 0, 1, b"O"), yes);
        assert_eq!(keeps(b'R', 7, 2, b"AAA     "), yes);
        assert_eq!(keeps(b'R', 8, 2, b"BBB     "), no);
        // Before it: orders and their changes, and no prints.
        assert_eq!(keeps(b'A', 7, 3, &[0; 25]), yes);
        assert_eq!(keeps(b'E', 7, 99, b""), yes);
        assert_eq!(keeps(b'P', 7, 99, b""), no);
        assert_eq!(keeps(b'E', 8, 150, b""), no);
        assert_eq!(keeps(b'P', 7, 100, b""), yes);
        assert_eq!(keeps(b'D', 7, 200, b""), yes);
        assert_eq!(keeps(b'D', 8, 201, b""), ControlFlow::Break(()));
        assert_eq!(slice.keeps(b"short"), no);
        assert!(slice.missing().eq([b"CCC     "]));
    }

    #[test]
    fn a_written_packet_is_one_that_we_read() {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        writer.message(Ts(1_000_000_001), b"one").unwrap();
        writer.message(Ts(1_000_000_001), b"two").unwrap();
        writer.gap(5).unwrap();
        writer.message(Ts(3), b"three").unwrap();
        let bytes = writer.finish().unwrap();
        let mut at = 24;
        let mut packets = Vec::new();
        while at < bytes.len() {
            let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
            let frame = &bytes[at + 16..at + 16 + len];
            let sum: u32 = frame[14..34]
                .chunks(2)
                .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the IP checksum");
            let (header, blocks) = Header::split(&frame[LINK_BYTES..]).unwrap();
            let messages: Vec<_> = Blocks::new(blocks).map(<[u8]>::to_vec).collect();
            packets.push((header.sequence, header.count, messages));
            at += 16 + len;
        }
        assert_eq!(
            packets,
            [
                (1, 2, vec![b"one".to_vec(), b"two".to_vec()]),
                (8, 1, vec![b"three".to_vec()]),
                (9, END_OF_SESSION, vec![]),
            ]
        );
    }
}
