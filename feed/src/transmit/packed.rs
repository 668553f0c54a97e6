//! The messages of an ITCH file as the packets of a feed.
//!
//! Messages that follow each other within [`HOLD_NS`] share a packet, which is due with its last
//! message: how they lie in packets depends on the file only, not on the pace.

use bus::Ts;

use crate::moldudp64::{HEADER_BYTES, Header, SessionId};
use crate::source::{Framing, Line, Packet, Place, Polled, Source, SourceError, Trouble};

/// A packet waits no longer than this for its second and later messages.
const HOLD_NS: i64 = 50_000;
/// With one message more, of at most 1,024 bytes, a packet still fits a jumbo frame; with those of
/// ITCH it fits any.
const FULL_BYTES: usize = 1_340;
const MESSAGES_MAX: u16 = 30;

/// Packets of a source that brings single messages, each behind its length.
#[derive(Debug)]
pub struct Packed<S> {
    inner: S,
    session: SessionId,
    /// The number of the packet's first message.
    sequence: u64,
    payload: Vec<u8>,
    count: u16,
    first: Option<Ts>,
    last: Option<Ts>,
    place: Place,
    is_ready: bool,
    is_over: bool,
    trouble: Option<Trouble>,
    failed: Option<SourceError>,
}

impl<S: Source> Packed<S> {
    /// Numbers the messages of `inner` from 1 on.
    pub fn new(inner: S, session: SessionId) -> Packed<S> {
        Packed {
            inner,
            session,
            sequence: 1,
            payload: vec![0; HEADER_BYTES],
            count: 0,
            first: None,
            last: None,
            place: Place::default(),
            is_ready: false,
            is_over: false,
            trouble: None,
            failed: None,
        }
    }

    /// Goes on to a whole packet, or to something else that is to be told first.
    fn fill(&mut self) {
        while !self.is_ready && self.trouble.is_none() && !self.is_over {
            let due = self.inner.peek_ts();
            let is_late = match (self.first, due) {
                (Some(first), Some(due)) => due.since(first) > HOLD_NS,
                _ => false,
            };
            let is_full = self.count == MESSAGES_MAX || self.payload.len() >= FULL_BYTES;
            if self.count > 0 && (is_late || is_full) {
                self.is_ready = true;
                return;
            }
            match self.inner.poll() {
                Ok(Polled::Packet(packet)) if packet.framing == Framing::LengthPrefixed => {
                    self.payload.extend_from_slice(packet.payload);
                    if self.count == 0 {
                        (self.first, self.place) = (due, packet.place);
                    }
                    self.count += 1;
                    self.last = due.or(self.last);
                }
                Ok(Polled::Packet(packet)) => {
                    let what = "a packet among the messages of ITCH files".into();
                    self.trouble = Some(Trouble::new(packet.place, what));
                }
                Ok(Polled::Trouble(trouble)) => self.trouble = Some(trouble),
                Ok(Polled::Empty) => return,
                Ok(Polled::End) => {
                    self.is_over = true;
                    self.is_ready = self.count > 0;
                }
                Err(error) => {
                    self.failed = Some(error);
                    self.is_over = true;
                }
            }
        }
    }
}

impl<S: Source> Source for Packed<S> {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        if self.count == 0 && self.payload.len() > HEADER_BYTES {
            self.payload.truncate(HEADER_BYTES);
        }
        self.fill();
        if let Some(trouble) = self.trouble.take() {
            return Ok(Polled::Trouble(trouble));
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if !self.is_ready {
            return Ok(match self.is_over {
                true => Polled::End,
                false => Polled::Empty,
            });
        }
        let header = Header {
            session: self.session,
            sequence: self.sequence,
            count: self.count,
        };
        self.payload[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        self.sequence += u64::from(self.count);
        self.count = 0;
        self.is_ready = false;
        Ok(Polled::Packet(Packet {
            ts_recv: self.last,
            line: 0,
            framing: Framing::MoldUdp64,
            payload: &self.payload,
            wire_bytes: self.payload.len() as u32,
            place: self.place,
        }))
    }

    fn lines(&self) -> &[Line] {
        self.inner.lines()
    }

    fn peek_ts(&mut self) -> Option<Ts> {
        if self.count == 0 && self.payload.len() > HEADER_BYTES {
            self.payload.truncate(HEADER_BYTES);
        }
        self.fill();
        match self.is_ready && self.trouble.is_none() {
            true => self.last,
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moldudp64::Blocks;
    use crate::source::{SimSource, SimStep};

    /// A message of 11 bytes at this time, in a piece of its own.
    fn message(ns: u64) -> SimStep {
        let mut bytes = vec![0, 11, b'S', 0, 0, 0, 0];
        bytes.extend_from_slice(&ns.to_be_bytes()[2..]);
        SimStep::messages(&bytes)
    }

    #[test]
    fn messages_that_follow_each_other_share_a_packet() {
        let times = [0, 10_000, 50_000, 50_001, 200_000];
        let mut script: Vec<SimStep> = times.into_iter().map(message).collect();
        script.extend((0..31).map(|_| message(1_000_000)));
        script.push(SimStep::Trouble("cut".into()));
        let session = SessionId(*b"0000000001");
        let mut packed = Packed::new(SimSource::new(&["f"], script), session);
        let mut said = Vec::new();
        loop {
            let due = packed.peek_ts();
            match packed.poll().unwrap() {
                Polled::Packet(packet) => {
                    assert_eq!(packet.ts_recv, due);
                    let (header, blocks) = Header::split(packet.payload).unwrap();
                    assert_eq!(header.session, session);
                    assert_eq!(Blocks::new(blocks).count(), usize::from(header.count));
                    said.push(format!("{}+{}", header.sequence, header.count));
                }
                Polled::Trouble(trouble) => said.push(trouble.what),
                Polled::Empty => panic!("a script is never empty"),
                Polled::End => break,
            }
        }
        assert_eq!(said.join(" "), "1+3 4+1 5+1 6+30 cut 36+1");
    }
}
