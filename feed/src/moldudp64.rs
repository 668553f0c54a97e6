//! MoldUDP64 1.00, downstream: numbered messages in UDP packets.
//!
//! ```text
//! byte  0         10         18      20
//!       session   sequence   count   { length (2)  message (length) } * count
//! ```
//!
//! `sequence` is the first message's number. A count of 0 is a heartbeat, 0xFFFF the end of the
//! session; both carry the number that the next message would have, so a gap shows in them too.

use std::fmt;

/// The bytes before the first message.
pub const HEADER_BYTES: usize = 20;

/// The count that says that the session is over.
pub const END_OF_SESSION: u16 = 0xffff;

/// The name of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 10]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.0.trim_ascii().escape_ascii().to_string();
        f.pad(&text)
    }
}

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which session its numbers belong to.
    pub session: SessionId,
    /// The number of its first message; of the next one, where it carries none.
    pub sequence: u64,
    /// How many messages it carries, or [`END_OF_SESSION`].
    pub count: u16,
}

impl Header {
    /// The header at the front of a payload, and the blocks behind it; `None` where the payload
    /// is too short for one.
    #[inline]
    pub fn split(payload: &[u8]) -> Option<(Header, &[u8])> {
        let (header, blocks) = payload.split_first_chunk::<HEADER_BYTES>()?;
        let session = SessionId(*header.first_chunk().expect("ten of twenty bytes"));
        let sequence = u64::from_be_bytes(header[10..18].try_into().expect("eight bytes"));
        let count = u16::from_be_bytes([header[18], header[19]]);
        Some((
            Header {
                session,
                sequence,
                count,
            },
            blocks,
        ))
    }

    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..10].copy_from_slice(&self.session.0);
        bytes[10..18].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[18..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// How many messages it says that it carries.
    #[inline]
    pub fn message_count(&self) -> u16 {
        if self.count == END_OF_SESSION {
            0
        } else {
            self.count
        }
    }
}

/// Messages one after another, each behind its length in two big-endian bytes. Ends before the
/// first one that is not whole.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Blocks<'a> {
    /// The messages in `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Blocks<'a> {
        Blocks { rest: bytes }
    }

    /// The next message, and the `N` bytes that it begins, if there are as many.
    #[inline(always)]
    pub fn next_ahead<const N: usize>(&mut self) -> Option<(&'a [u8], Option<&'a [u8; N]>)> {
        let (len_bytes, rest) = self.rest.split_first_chunk::<2>()?;
        let (message, behind) = rest.split_at_checked(u16::from_be_bytes(*len_bytes).into())?;
        self.rest = behind;
        Some((message, rest.first_chunk()))
    }

    /// What was not walked over yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        Some(self.next_ahead::<0>()?.0)
    }
}

/// How many of `count` messages are whole in `blocks`, and how many bytes are left behind them.
pub fn whole(blocks: &[u8], count: u16) -> (u16, usize) {
    let mut walk = Blocks::new(blocks);
    let whole = walk.by_ref().take(count.into()).count();
    (whole as u16, walk.rest().len())
}

/// Counts the messages of packets that no packet before had: where several lines bring each, it counts once.
/// A message that comes behind a later one, and did not come before, is not counted.
#[derive(Clone, Debug, Default)]
pub struct FirstCopies {
    /// The number behind the last counted one, of each session.
    next: Vec<(SessionId, u64)>,
}

impl FirstCopies {
    /// How many messages of a packet no packet before had. Those without a number all are new.
    pub fn count(&mut self, payload: &[u8]) -> u64 {
        let Some((header, _)) = Header::split(payload) else {
            return 0;
        };
        let count = u64::from(header.message_count());
        if header.sequence == 0 || count == 0 {
            return count;
        }
        let end = header.sequence.saturating_add(count);
        let mut sessions = self.next.iter_mut();
        let Some((_, next)) = sessions.find(|(session, _)| *session == header.session) else {
            self.next.push((header.session, end));
            return count;
        };
        let before = std::mem::replace(next, end.max(*next));
        end.saturating_sub(before).min(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hex_blocks: &[u8], count: u16, want: (u16, usize)) {
        assert_eq!(whole(hex_blocks, count), want);
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let session = SessionId(*b"000010059B");
        let header = Header {
            session,
            sequence: 14_757_721,
            count: 3,
        };
        let mut payload = header.to_bytes().to_vec();
        payload.push(7);
        assert_eq!(Header::split(&payload), Some((header, &[7u8][..])));
        assert_eq!(Header::split(&payload[..19]), None);
        assert_eq!(session.to_string(), "000010059B");
        assert_eq!(SessionId([0; 10]).to_string(), "\\x00".repeat(10));
    }

    #[test]
    fn only_whole_messages_are_walked() {
        check(&[], 0, (0, 0));
        check(&[], 5, (0, 0));
        check(&[0, 1, 9, 0, 2, 9, 9], 2, (2, 0));
        check(&[0, 1, 9, 0, 2, 9, 9], 1, (1, 4));
        check(&[0, 1, 9, 0, 2, 9], 2, (1, 3));
        check(&[0, 0, 0, 0], 3, (2, 0));
        check(&[0xff, 0xff, 1], 1, (0, 3));
    }

    #[test]
    fn a_heartbeat_and_an_end_carry_no_messages() {
        let session = SessionId(*b"S         ");
        for count in [0, END_OF_SESSION] {
            assert_eq!(
                Header {
                    session,
                    sequence: 1,
                    count
                }
                .message_count(),
                0
            );
        }
        assert_eq!(
            Header {
                session,
                sequence: 1,
                count: 9
            }
            .message_count(),
            9
        );
        assert_eq!(session.to_string(), "S");
    }

    #[test]
    fn what_both_lines_bring_counts_once() {
        let packet = |sequence: u64, count: u16| {
            let session = SessionId(*b"SESSION   ");
            Header {
                session,
                sequence,
                count,
            }
            .to_bytes()
        };
        let mut copies = FirstCopies::default();
        let packets = [
            (1, 3),
            (1, 3),
            (4, 2),
            (3, 4),
            (7, 0),
            (7, END_OF_SESSION),
            (10, 2),
            (1, 9),
        ];
        let counts = packets.map(|(sequence, count)| copies.count(&packet(sequence, count)));
        assert_eq!(counts, [3, 0, 2, 1, 0, 0, 2, 0]);
        assert_eq!(copies.count(b"short"), 0);
    }
}
