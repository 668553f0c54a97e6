//! CME MDP 3.0 packets: several messages under one number, little-endian.
//!
//! ```text
//! byte 0        4            12
//!      sequence send time    { size (2, itself included)  message (size - 2) } *
//!      of the   ns since
//!      packet   1970
//! message:      block length (2)  template (2)  schema (2) = 1  version (2)  block, groups
//! ```
//!
//! A channel numbers its packets, not its messages, and a heartbeat takes a number too. So
//! [`Packets::as_mold`] makes a MoldUDP64 packet of one message, numbered like the packet, out of
//! each; that message is the packet's messages, each behind its length and these bytes:
//!
//! ```text
//! byte 0          8         12           14
//!      send time  sequence  channel      message
//! ```
//!
//! Nothing in a packet says of which channel it is. CME sends feed A of a channel to port 14nnn and
//! feed B to port 15nnn; the other ports are a channel each. A channel that goes back to 1 at a later
//! send time, or to any lower number after an hour, starts anew, as each does each week: that is
//! another session. What
//! comes in loops, snapshots and replayed definitions, is numbered by its loop and so has no number
//! here.

use crate::moldudp64::{Header, SessionId};
use crate::protocol::mdp3::is_template;

/// The bytes before the first message.
pub const HEADER_BYTES: usize = 12;
/// What stands before each message of [`Packets::as_mold`].
pub const PREFIX_BYTES: usize = 14;
/// Size, block length, template, schema and version.
const MESSAGE_BYTES: usize = 10;

/// So often a channel can start anew.
const STARTS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// After so long a silence a lower number is one of a new start, even if it is not 1.
const SILENCE_NS: u64 = 3_600_000_000_000;

/// Templates of snapshots, which come in loops, and of definitions, which may.
const SNAPSHOTS: [u16; 4] = [38, 44, 52, 53];
const DEFINITIONS: [u16; 6] = [27, 29, 41, 54, 55, 56];
/// Where a definition says how many its loop has; that is all ones outside of loops.
const LOOP_AT: usize = 1;

/// Whether a payload's first message is of a schema and template of MDP 3.0, and inside it.
#[inline(always)]
pub fn is_mdp3(payload: &[u8]) -> bool {
    payload.get(18..20) == Some(&[1, 0]) && begins_right(payload)
}

#[cold]
fn begins_right(payload: &[u8]) -> bool {
    let Some(word) = words(payload, HEADER_BYTES) else {
        return false;
    };
    let [size, block, template, _, version] = word;
    let (size, block) = (usize::from(size), usize::from(block));
    size >= MESSAGE_BYTES + block
        && HEADER_BYTES + size <= payload.len()
        && is_template(template)
        && (1..=64).contains(&version)
}

/// Whether the first message, where there is one, says the schema of MDP 3.0: datagrams of other feeds on
/// the same group do not, and their numbers must not be taken for the channel's.
pub(crate) fn is_of_schema(payload: &[u8]) -> bool {
    payload.get(18..20).is_none_or(|schema| schema == [1, 0])
}

/// The five words in front of a message.
fn words(payload: &[u8], at: usize) -> Option<[u16; 5]> {
    let bytes = payload.get(at..at + MESSAGE_BYTES)?;
    let mut words = [0; 5];
    for (word, two) in words.iter_mut().zip(bytes.chunks_exact(2)) {
        *word = u16::from_le_bytes([two[0], two[1]]);
    }
    Some(words)
}

/// Turns packets into MoldUDP64 packets.
#[derive(Debug, Default)]
pub struct Packets {
    packet: Vec<u8>,
    channels: Vec<Channel>,
}

/// What is remembered of a channel.
#[derive(Clone, Copy, Debug)]
struct Channel {
    port: u16,
    /// The highest number since it started, and its send time.
    sequence: u32,
    sent: u64,
    /// How often it started anew, and when it last did.
    starts: usize,
    started: u64,
}

impl Packets {
    /// The same messages as a MoldUDP64 packet of one; what is wrong with the packet otherwise.
    /// Bytes that no whole message has are left behind the messages.
    pub fn as_mold(&mut self, payload: &[u8], port: u16) -> Result<&[u8], &'static str> {
        let Some((header, mut rest)) = payload.split_first_chunk::<HEADER_BYTES>() else {
            return Err("payload is shorter than an MDP 3.0 header of 12 bytes");
        };
        let sequence = u32::from_le_bytes(header[..4].try_into().expect("four"));
        let sent = u64::from_le_bytes(header[4..].try_into().expect("eight"));
        let port = match port {
            15_000..=15_999 => port - 1_000,
            port => port,
        };
        let in_loop = is_in_loop(payload);
        let session = if in_loop {
            name(port, 0)
        } else {
            name(port, self.starts_of(port, sequence, sent))
        };
        let header = Header {
            session,
            sequence: if in_loop { 0 } else { sequence.into() },
            count: 1,
        };
        self.packet.clear();
        self.packet.extend_from_slice(&header.to_bytes());
        self.packet.extend_from_slice(&[0, 0]);
        let from = self.packet.len();
        while let Some((&size, behind)) = rest.split_first_chunk::<2>() {
            let len = usize::from(u16::from_le_bytes(size)).saturating_sub(2);
            if len < MESSAGE_BYTES - 2 {
                break;
            }
            let Some((message, behind)) = behind.split_at_checked(len) else {
                break;
            };
            let Ok(len) = u16::try_from(PREFIX_BYTES + message.len()) else {
                break;
            };
            self.packet.extend_from_slice(&len.to_be_bytes());
            self.packet.extend_from_slice(&sent.to_le_bytes());
            self.packet.extend_from_slice(&sequence.to_le_bytes());
            self.packet.extend_from_slice(&port.to_le_bytes());
            self.packet.extend_from_slice(message);
            rest = behind;
        }
        self.packet.extend_from_slice(rest);
        let Ok(len) = u16::try_from(self.packet.len() - from) else {
            return Err("MDP 3.0 packet of more messages than 64 KiB hold");
        };
        self.packet[from - 2..from].copy_from_slice(&len.to_be_bytes());
        Ok(&self.packet)
    }

    /// How often the packet's channel had started anew when it was sent.
    fn starts_of(&mut self, port: u16, sequence: u32, sent: u64) -> usize {
        let found = self.channels.iter().position(|c| c.port == port);
        let index = found.unwrap_or_else(|| {
            self.channels.push(Channel {
                port,
                sequence,
                sent,
                starts: 0,
                started: 0,
            });
            self.channels.len() - 1
        });
        let channel = &mut self.channels[index];
        let later_ns = sent.saturating_sub(channel.sent);
        let is_new = later_ns > 0 && (sequence == 1 || later_ns > SILENCE_NS);
        if is_new && sequence < channel.sequence && channel.starts + 1 < STARTS.len() {
            channel.starts += 1;
            channel.started = sent;
            (channel.sequence, channel.sent) = (sequence, sent);
        }
        if sent < channel.started {
            return channel.starts - 1;
        }
        if sequence >= channel.sequence {
            (channel.sequence, channel.sent) = (sequence, sent.max(channel.sent));
        }
        channel.starts
    }
}

/// Whether a packet is of a feed that says all over and over.
fn is_in_loop(payload: &[u8]) -> bool {
    let Some([_, _, template, ..]) = words(payload, HEADER_BYTES) else {
        return false;
    };
    let at = HEADER_BYTES + MESSAGE_BYTES + LOOP_AT;
    let reports = payload.get(at..at + 4);
    SNAPSHOTS.contains(&template)
        || DEFINITIONS.contains(&template) && reports.is_some_and(|bytes| bytes != [0xff; 4])
}

/// The port of feed A in a session's name; `None` where it is none of ours.
pub(crate) fn port_of(session: SessionId) -> Option<u16> {
    let digits = session.0.strip_prefix(b"CME")?.first_chunk::<5>()?;
    let digits = std::str::from_utf8(digits).ok()?;
    digits.trim_ascii_start().parse().ok()
}

/// A session's name as MoldUDP64 has it: the port of feed A, and how often it started anew.
fn name(port: u16, starts: usize) -> SessionId {
    let mut bytes = *b"CME     . ";
    let mut rest = port;
    for byte in bytes[3..8].iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    bytes[9] = STARTS[starts];
    SessionId(bytes)
}
