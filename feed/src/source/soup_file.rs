//! Files of a recorded SoupBinTCP session: what the server sent, from the login's answer on, packet
//! behind packet as they lay in the stream.
//!
//! The login's answer says session and number of the first message, and the others are counted from
//! there; so the messages become MoldUDP64 packets with those numbers. A recording that begins within
//! a session has none. A client's packets, heartbeats and debug text are passed over.

use bus::soupbintcp::{LENGTH_MAX, Packet, whole};
use bus::{Event, Kind, Ts};

use super::input::Input;
use super::itch_time;
use super::record::{Piece, Record, Step, ending};
use crate::moldudp64::{END_OF_SESSION, HEADER_BYTES, Header, SessionId};
use crate::protocol::{Itch, Protocol};

/// What is looked at in one go.
const WINDOW_BYTES: usize = 16 << 10;
/// A packet that is made here has no more bytes than this, and the one message that passes it.
const PACKET_BYTES: usize = 4 << 10;
/// A message stands behind length(2) and type(1) there, and behind length(2) here.
const EXTRA_BYTES: i16 = 1;
/// So many packets at the start must look right.
const LOOK_PACKETS: usize = 8;
const LOOK_BYTES: usize = 1_024;

const _: () = assert!(WINDOW_BYTES > 2 + LENGTH_MAX as usize);
// An arbiter holds packets of up to 9,216 bytes.
const _: () = assert!(HEADER_BYTES + PACKET_BYTES + LENGTH_MAX as usize + 2 < 9_216);

pub(super) struct SoupFile {
    session: SessionId,
    /// The number of the next message; 0 before a login's answer said one.
    sequence: u64,
    /// How many messages a packet holds at most.
    messages_max: usize,
    /// Bytes of the packets handed out last, which are skipped at the next step.
    behind: u64,
    is_over: bool,
}

/// Whether the input looks like a server's side of a session that carries ITCH.
pub(super) fn look(input: &mut Input) -> bool {
    let bytes = input.peek(LOOK_BYTES);
    let itch = Itch::new(Ts(0));
    let mut at = 0;
    for _ in 0..LOOK_PACKETS {
        let packet = match whole(&bytes[at..]) {
            Ok(Some(len)) => {
                let packet = Packet::parse(&bytes[at..at + len]);
                at += len;
                packet
            }
            Ok(None) => break,
            Err(_) => return false,
        };
        match packet {
            // Nothing in an ITCH file looks like this.
            Ok(Packet::Accepted { .. } | Packet::Rejected { .. }) => return true,
            Ok(Packet::Sequenced(message)) => {
                if itch
                    .decode(message, &mut Event::new(Kind::Nothing))
                    .is_err()
                {
                    return false;
                }
            }
            Ok(Packet::Unsequenced(_)) | Err(_) => return false,
            Ok(
                Packet::Debug(_)
                | Packet::ServerHeartbeat
                | Packet::EndOfSession
                | Packet::Login(_)
                | Packet::ClientHeartbeat
                | Packet::Logout,
            ) => {}
        }
    }
    at > 0
}

/// What stands at a place of the stream.
enum Found {
    /// Messages up to there; the byte behind them.
    Messages(usize),
    /// The session's end, and the byte behind it.
    End(usize),
    /// Nothing to hand out up to there.
    Nothing(usize),
    /// No whole packet.
    Cut,
    /// Something wrong behind so many bytes, and whether the stream can be read on behind it.
    Wrong(usize, String, Option<usize>),
}

impl SoupFile {
    pub(super) fn new(messages_max: usize) -> SoupFile {
        assert!(messages_max > 0, "a packet of no messages would never end");
        SoupFile {
            session: SessionId([b' '; 10]),
            sequence: 0,
            messages_max,
            behind: 0,
            is_over: false,
        }
    }

    /// Puts the next messages into `out`, as a MoldUDP64 packet.
    pub(super) fn next(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Step {
        input.skip(std::mem::take(&mut self.behind));
        loop {
            if self.is_over {
                return Step::End;
            }
            out.clear();
            out.resize(HEADER_BYTES, 0);
            let offset_bytes = input.offset();
            let bytes = input.peek(WINDOW_BYTES);
            let window = &bytes[..bytes.len().min(WINDOW_BYTES)];
            let found = self.find(window, out);
            let sequence = self.sequence;
            let (behind, count, piece) = match found {
                Found::Messages(behind) => {
                    let count = self.count(sequence, out);
                    let piece = Piece {
                        messages: count.into(),
                        extra_bytes: EXTRA_BYTES,
                    };
                    (behind, count, Some(piece))
                }
                Found::End(behind) => (behind, END_OF_SESSION, None),
                Found::Nothing(behind) => {
                    input.skip(behind as u64);
                    continue;
                }
                Found::Cut => {
                    self.is_over = true;
                    let want = match input.bytes() {
                        [high, low, ..] => 2 + u16::from_be_bytes([*high, *low]),
                        _ => 2,
                    };
                    return ending(input, "SoupBinTCP packet", want.into());
                }
                Found::Wrong(at, what, behind) => {
                    let offset_bytes = offset_bytes + at as u64;
                    self.is_over = behind.is_none();
                    self.behind = behind.unwrap_or(0) as u64;
                    return match behind {
                        Some(_) => Step::Trouble { offset_bytes, what },
                        None => Step::Lost { offset_bytes, what },
                    };
                }
            };
            let header = Header {
                session: self.session,
                sequence,
                count,
            };
            out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
            self.behind = behind as u64;
            return Step::Record(Record {
                at: 0,
                len: out.len(),
                offset_bytes,
                ts: itch_time(&out[HEADER_BYTES..]),
                interface: 0,
                piece,
            });
        }
    }

    /// How many messages are in a packet that began with this number.
    fn count(&mut self, sequence: u64, out: &[u8]) -> u16 {
        let messages = crate::moldudp64::Blocks::new(&out[HEADER_BYTES..]).count();
        if sequence > 0 {
            self.sequence = sequence.saturating_add(messages as u64);
        }
        messages as u16
    }

    fn find(&mut self, window: &[u8], out: &mut Vec<u8>) -> Found {
        let (mut at, mut count) = (0, 0);
        loop {
            let is_full = count == self.messages_max || out.len() >= PACKET_BYTES;
            let packet = match whole(&window[at..]) {
                Ok(Some(len)) if !is_full => {
                    Packet::parse(&window[at..at + len]).map(|packet| (packet, at + len))
                }
                Err(bad) if count == 0 => Err(bad),
                Ok(_) | Err(_) => {
                    return match (count, at) {
                        (0, 0) => Found::Cut,
                        (0, _) => Found::Nothing(at),
                        (_, _) => Found::Messages(at),
                    };
                }
            };
            match packet {
                // The piece is to begin with its first message.
                Ok((Packet::Sequenced(_), _)) if count == 0 && at > 0 => return Found::Nothing(at),
                Ok((Packet::Sequenced(message), behind)) => {
                    out.extend_from_slice(&(message.len() as u16).to_be_bytes());
                    out.extend_from_slice(message);
                    (at, count) = (behind, count + 1);
                }
                // What is left is no message, or says something of what comes behind those so far.
                _ if count > 0 => return Found::Messages(at),
                Ok((
                    Packet::Debug(_)
                    | Packet::Unsequenced(_)
                    | Packet::ServerHeartbeat
                    | Packet::Login(_)
                    | Packet::ClientHeartbeat
                    | Packet::Logout,
                    behind,
                )) => at = behind,
                Ok((Packet::Accepted { session, sequence }, behind)) => {
                    (self.session, self.sequence) = (SessionId(session), sequence.max(1));
                    at = behind;
                }
                Ok((Packet::EndOfSession, behind)) => return Found::End(behind),
                Ok((Packet::Rejected { reason }, behind)) => {
                    let what = bus::soupbintcp::Fault::Rejected(reason).to_string();
                    return Found::Wrong(at, what, Some(behind));
                }
                Err(bad) => return Found::Wrong(at, bad.to_string(), None),
            }
        }
    }
}
