//! What was sent, by session and number, to send it again to who asks.

use std::collections::VecDeque;

use crate::moldudp64::{Blocks, HEADER_BYTES, Header, SessionId};

/// No answer is longer than what any network takes whole.
pub const ANSWER_BYTES_MAX: usize = 1_400;

/// How many sessions are kept. A capture has one or two.
const SESSIONS_MAX: usize = 256;

/// The newest messages of each session, up to a number of bytes.
#[derive(Debug)]
pub struct Store {
    sessions: Vec<Kept>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Kept {
    id: SessionId,
    /// In the order of their numbers, which have gaps where the input has.
    packets: VecDeque<Piece>,
}

/// The messages of one packet.
#[derive(Debug)]
struct Piece {
    first: u64,
    count: u16,
    blocks: Box<[u8]>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

impl Store {
    /// An empty one.
    pub fn new(bytes_max: usize) -> Store {
        Store {
            sessions: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Keeps a packet's whole messages; false where they were kept before, or there are none.
    pub fn keep(&mut self, header: &Header, blocks: &[u8]) -> bool {
        let (count, left) = crate::moldudp64::whole(blocks, header.message_count());
        let is_in_range = header
            .sequence
            .checked_add(u64::from(count))
            .is_some_and(|_| header.sequence > 0);
        let Some(index) = self.find(header.session).filter(|_| is_in_range) else {
            return false;
        };
        let packets = &mut self.sessions[index].packets;
        let first = header.sequence;
        let behind = packets.partition_point(|piece| piece.first <= first);
        let end = first + u64::from(count);
        let is_kept = behind > 0 && packets[behind - 1].end() >= end;
        if count == 0 || is_kept {
            return false;
        }
        let blocks = &blocks[..blocks.len() - left];
        self.bytes += blocks.len();
        packets.insert(
            behind,
            Piece {
                first,
                count,
                blocks: blocks.into(),
            },
        );
        while self.bytes > self.bytes_max && packets.len() > 1 {
            let oldest = packets.pop_front().expect("there are two");
            self.bytes -= oldest.blocks.len();
        }
        true
    }

    fn find(&mut self, id: SessionId) -> Option<usize> {
        if let Some(index) = self.sessions.iter().position(|kept| kept.id == id) {
            return Some(index);
        }
        if self.sessions.len() == SESSIONS_MAX {
            return None;
        }
        self.sessions.push(Kept {
            id,
            packets: VecDeque::new(),
        });
        Some(self.sessions.len() - 1)
    }

    /// The answer to a request: as many of its messages, from its first one on, as one packet
    /// takes. False where the first one is not there.
    pub fn answer(&self, request: &Header, answer: &mut Vec<u8>) -> bool {
        answer.clear();
        answer.resize(HEADER_BYTES, 0);
        let (from, mut count) = (request.sequence, 0);
        let found = self.sessions.iter().find(|kept| kept.id == request.session);
        let Some(packets) = found.map(|kept| &kept.packets) else {
            return false;
        };
        let start = packets.partition_point(|piece| piece.first <= from);
        for piece in packets.range(start.saturating_sub(1)..) {
            let next = from + u64::from(count);
            if piece.end() <= next {
                continue;
            }
            if piece.first > next {
                break;
            }
            for message in Blocks::new(&piece.blocks).skip((next - piece.first) as usize) {
                let is_full = answer.len() + 2 + message.len() > ANSWER_BYTES_MAX && count > 0;
                if count == request.message_count() || is_full {
                    break;
                }
                answer.extend_from_slice(&(message.len() as u16).to_be_bytes());
                answer.extend_from_slice(message);
                count += 1;
            }
            if from + u64::from(count) < piece.end() {
                break;
            }
        }
        let header = Header { count, ..*request };
        answer[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        count > 0
    }

    /// The first message of a session from this number on that is there.
    pub fn next_from(&self, session: SessionId, from: u64) -> Option<u64> {
        let kept = self.sessions.iter().find(|kept| kept.id == session)?;
        let start = kept.packets.partition_point(|piece| piece.end() <= from);
        let piece = kept.packets.get(start)?;
        Some(piece.first.max(from))
    }

    /// The sessions, each with the number that its next message would have.
    pub fn ends(&self) -> impl Iterator<Item = (SessionId, u64)> {
        let end = |kept: &Kept| kept.packets.back().map_or(1, Piece::end);
        self.sessions.iter().map(move |kept| (kept.id, end(kept)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(*b"0000000001");

    fn header(sequence: u64, count: u16) -> Header {
        Header {
            session: SESSION,
            sequence,
            count,
        }
    }

    /// Messages that are their own numbers, `wide` bytes each.
    fn blocks(first: u64, count: u16, wide: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in first..first + u64::from(count) {
            bytes.extend_from_slice(&(wide as u16).to_be_bytes());
            bytes.extend(std::iter::repeat_n(number as u8, wide));
        }
        bytes
    }

    /// Which messages an answer brings.
    fn answer(store: &Store, request: Header) -> Vec<u8> {
        let mut answer = Vec::new();
        if !store.answer(&request, &mut answer) {
            return Vec::new();
        }
        assert!(answer.len() <= ANSWER_BYTES_MAX);
        let (header, blocks) = Header::split(&answer).unwrap();
        assert_eq!(header.sequence, request.sequence);
        let whole = crate::moldudp64::whole(blocks, header.count);
        assert_eq!(whole, (header.count, 0));
        Blocks::new(blocks).map(|message| message[0]).collect()
    }

    #[test]
    fn answers_cross_packets_and_stop_at_what_is_not_there() {
        let mut store = Store::new(1 << 20);
        for (first, count) in [(1, 3), (6, 2), (4, 2), (10, 5)] {
            assert!(store.keep(&header(first, count), &blocks(first, count, 4)));
        }
        assert!(!store.keep(&header(4, 2), &blocks(4, 2, 4)), "a copy");
        assert!(!store.keep(&header(15, 0), &[]), "a heartbeat");
        assert_eq!(answer(&store, header(2, 5)), [2, 3, 4, 5, 6]);
        assert_eq!(answer(&store, header(7, 100)), [7]);
        assert_eq!(answer(&store, header(8, 1)), [0u8; 0]);
        assert_eq!(answer(&store, header(14, 65_534)), [14]);
        assert_eq!(answer(&store, header(15, 1)), [0u8; 0]);
        assert_eq!(answer(&store, header(u64::MAX, 9)), [0u8; 0]);
        assert_eq!(answer(&store, header(3, 0)), [0u8; 0]);
        let other = Header {
            session: SessionId(*b"other     "),
            ..header(1, 1)
        };
        assert_eq!(answer(&store, other), [0u8; 0]);
        let next = |from| store.next_from(SESSION, from);
        assert_eq!([next(1), next(3), next(8)], [Some(1), Some(3), Some(10)]);
        assert_eq!([next(14), next(15)], [Some(14), None]);
        assert_eq!(store.ends().collect::<Vec<_>>(), [(SESSION, 15)]);
    }

    #[test]
    fn an_answer_is_one_packet_and_the_oldest_messages_go() {
        let mut store = Store::new(4_000);
        for first in (1..=100).step_by(10) {
            store.keep(&header(first, 10), &blocks(first, 10, 50));
        }
        assert_eq!(answer(&store, header(1, 10)), [0u8; 0]);
        // 26 messages of 52 bytes and a header of 20 are 1,372 bytes.
        let want: Vec<u8> = (50..76).collect();
        assert_eq!(answer(&store, header(50, 51)), want);
    }
}
