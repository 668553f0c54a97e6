//! IEX Transport Protocol 1.25: numbered messages in UDP packets, little-endian.
//!
//! ```text
//! byte 0        1         2         4        8        12       14     16      24        32
//!      version  reserved  protocol  channel  session  payload  count  offset  sequence  send time
//!      = 1                                            bytes           in the  of the    ns since
//! byte 40: { length (2)  message (length) } * count                   stream  first     1970
//! ```
//!
//! That is MoldUDP64 in another order of bytes, and so it is read: [`Segments::as_mold`] writes the
//! one as the other, and the arbiter, the gaps and the heartbeats (a count of 0) are the same.
//!
//! A sender may start its stream anew, from sequence 1, under the session number it had. A line that
//! goes back to 1 at a later send time says so; what was sent from then on, on any line, is a
//! session of its own.

use crate::moldudp64::{END_OF_SESSION, HEADER_BYTES as MOLD_BYTES, Header, SessionId};

/// The bytes before the first message.
pub const HEADER_BYTES: usize = 40;

/// TOPS 1.5, TOPS 1.6, DEEP 1.0.
const PROTOCOLS: [(u16, u8); 3] = [(0x8002, b't'), (0x8003, b'T'), (0x8004, b'D')];

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// So many times a stream can start anew.
const STARTS_MAX: usize = 100;

/// Two lines that start anew within this time do so together.
const TOGETHER_NS: i64 = 1_000_000_000;

/// Whether a payload begins as IEX's does: version, reserved byte and a known message protocol.
#[inline(always)]
pub fn is_iextp(payload: &[u8]) -> bool {
    payload.first() == Some(&1) && begins_right(payload)
}

#[cold]
fn begins_right(payload: &[u8]) -> bool {
    payload.len() >= HEADER_BYTES
        && payload[1] == 0
        && PROTOCOLS
            .iter()
            .any(|(id, _)| id.to_le_bytes() == payload[2..4])
}

/// Turns segments into MoldUDP64 packets.
#[derive(Debug, Default)]
pub struct Segments {
    packet: Vec<u8>,
    /// When the stream started anew, by send time.
    starts: Vec<i64>,
    /// By line, the last sequence and its send time.
    lines: Vec<(u64, i64)>,
}

impl Segments {
    /// The same messages as a MoldUDP64 packet; what is wrong with the segment otherwise. Messages
    /// that are not whole are left out, which the packet's count then shows.
    pub fn as_mold(&mut self, payload: &[u8], line: u8) -> Result<&[u8], &'static str> {
        let Some((header, mut rest)) = payload.split_first_chunk::<HEADER_BYTES>() else {
            return Err("payload is shorter than an IEX-TP header of 40 bytes");
        };
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight"));
        let protocol = PROTOCOLS.iter().find(|(id, _)| *id == word(2));
        let (Some((_, letter)), 1) = (protocol, header[0]) else {
            return Err("payload is not an IEX-TP segment of TOPS 1.5, TOPS 1.6 or DEEP 1.0");
        };
        let (count, sequence, sent) = (word(14), long(24), long(32) as i64);
        if count == END_OF_SESSION {
            return Err("IEX-TP segment of 65535 messages");
        }
        let channel = u32::from_le_bytes(header[4..8].try_into().expect("four"));
        let session = u32::from_le_bytes(header[8..12].try_into().expect("four"));
        let Some(&channel) = DIGITS.get(channel as usize) else {
            return Err("IEX-TP channel above 35");
        };
        let start = self.start_of(line, sequence, long(16), sent);
        let session = name(*letter, channel, session, start);
        self.packet.clear();
        let header = Header {
            session,
            sequence,
            count,
        };
        self.packet.extend_from_slice(&header.to_bytes());
        for _ in 0..count {
            let Some((&[low, high], behind)) = rest.split_first_chunk::<2>() else {
                break;
            };
            let len = usize::from(u16::from_le_bytes([low, high]));
            let Some((message, behind)) = behind.split_at_checked(len) else {
                break;
            };
            self.packet.extend_from_slice(&[high, low]);
            self.packet.extend_from_slice(message);
            rest = behind;
        }
        // Bytes that no message has are shown as what they are.
        self.packet.extend_from_slice(rest);
        Ok(&self.packet)
    }

    /// How often the stream had started anew when this was sent.
    fn start_of(&mut self, line: u8, sequence: u64, offset: u64, sent: i64) -> usize {
        let line = usize::from(line);
        if line >= self.lines.len() {
            self.lines.resize(line + 1, (0, i64::MIN));
        }
        let (last, last_sent) = self.lines[line];
        if sequence == 1 && offset == 0 && last > 1 && sent > last_sent {
            let newest = self.starts.last().copied().unwrap_or(i64::MIN);
            let is_new = sent.saturating_sub(newest) > TOGETHER_NS;
            if is_new && self.starts.len() < STARTS_MAX {
                self.starts.push(sent);
            }
        }
        if sent >= last_sent {
            self.lines[line] = (sequence, sent);
        }
        match self.starts.last() {
            Some(&newest) if sent >= newest => self.starts.len(),
            None => 0,
            Some(_) => self.starts.partition_point(|start| *start <= sent),
        }
    }
}

/// A session's name as MoldUDP64 has it, ten letters: the feed (`D` for DEEP, `T` for TOPS, `t` for
/// TOPS 1.5), the channel, and in the other eight, to the base 36, the session's number and how
/// often its stream had started anew.
fn name(letter: u8, channel: u8, session: u32, start: usize) -> SessionId {
    let mut bytes = [0; 10];
    bytes[0] = letter;
    bytes[1] = channel;
    let mut rest = u64::from(session) * (STARTS_MAX as u64 + 1) + start as u64;
    for byte in bytes[2..].iter_mut().rev() {
        *byte = DIGITS[(rest % 36) as usize];
        rest /= 36;
    }
    SessionId(bytes)
}

const _: () = assert!(MOLD_BYTES <= HEADER_BYTES);
// Eight letters of 36 hold every session with every start.
const _: () = assert!((u32::MAX as u64 + 1) * (STARTS_MAX as u64 + 1) < 36u64.pow(8));
