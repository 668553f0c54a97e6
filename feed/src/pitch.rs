//! Cboe's sequenced units: numbered messages in UDP packets, little-endian.
//!
//! ```text
//! byte 0        2       3      4           8
//!      length   count   unit   sequence    { length (1, itself included)  type  rest } * count
//!      of all                  of the first
//! ```
//!
//! That is MoldUDP64 in another order of bytes, and so it is read: [`Units::as_mold`] writes the one
//! as the other, where a unit at a port is a session. A count of 0 is a heartbeat with the number of
//! the next message; a sequence of 0 is none. Before each message stand its unit and when its packet
//! was received, in nanoseconds since 1970.

use bus::Ts;

use crate::moldudp64::{Header, SessionId};
use crate::protocol::pitch::is_type;

/// The bytes before the first message.
pub const HEADER_BYTES: usize = 8;
/// What stands before each message of [`Units::as_mold`].
pub const PREFIX_BYTES: usize = 9;

/// Whether a payload is a sequenced unit of known messages, to its last byte.
#[inline(always)]
pub fn is_pitch(payload: &[u8]) -> bool {
    payload
        .first_chunk::<2>()
        .map(|two| u16::from_le_bytes(*two).into())
        == Some(payload.len())
        && is_whole(payload)
}

/// Whether a unit says the length that its datagram had on the wire, as datagrams of other feeds do not.
pub(crate) fn is_as_long(payload: &[u8], wire_bytes: u32) -> bool {
    let said = payload.first_chunk::<2>();
    said.is_none_or(|two| u32::from(u16::from_le_bytes(*two)) == wire_bytes)
}

#[cold]
fn is_whole(payload: &[u8]) -> bool {
    let Some((header, mut rest)) = payload.split_first_chunk::<HEADER_BYTES>() else {
        return false;
    };
    for _ in 0..header[2] {
        let len = usize::from(rest.first().copied().unwrap_or(0));
        match rest.split_at_checked(len) {
            Some(([_, code, ..], behind)) if is_type(*code) => rest = behind,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// Turns sequenced units into MoldUDP64 packets.
#[derive(Debug, Default)]
pub struct Units {
    packet: Vec<u8>,
}

impl Units {
    /// The same messages as a MoldUDP64 packet; what is wrong with the unit otherwise. Messages that
    /// are not whole are left out, which the packet's count then shows.
    pub fn as_mold(
        &mut self,
        payload: &[u8],
        port: u16,
        ts_recv: Option<Ts>,
    ) -> Result<&[u8], &'static str> {
        let Some((header, mut rest)) = payload.split_first_chunk::<HEADER_BYTES>() else {
            return Err("payload is shorter than a PITCH unit header of 8 bytes");
        };
        let (count, unit) = (header[2], header[3]);
        self.packet.clear();
        let mold = Header {
            session: name(port, unit),
            sequence: u32::from_le_bytes(header[4..].try_into().expect("four")).into(),
            count: count.into(),
        };
        self.packet.extend_from_slice(&mold.to_bytes());
        for _ in 0..count {
            let len = usize::from(rest.first().copied().unwrap_or(0));
            let Some((message, behind)) = rest.split_at_checked(len).filter(|_| len >= 2) else {
                break;
            };
            let len = (PREFIX_BYTES + len) as u16;
            self.packet.extend_from_slice(&len.to_be_bytes());
            self.packet.push(unit);
            let received = ts_recv.unwrap_or(Ts(0)).0;
            self.packet.extend_from_slice(&received.to_le_bytes());
            self.packet.extend_from_slice(message);
            rest = behind;
        }
        self.packet.extend_from_slice(rest);
        Ok(&self.packet)
    }
}

/// A session's name as MoldUDP64 has it: the port and the unit.
fn name(port: u16, unit: u8) -> SessionId {
    let mut bytes = *b"P     .   ";
    let mut put = |range: std::ops::Range<usize>, mut rest: u16| {
        for byte in bytes[range].iter_mut().rev() {
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    };
    put(1..6, port);
    put(7..10, unit.into());
    SessionId(bytes)
}
