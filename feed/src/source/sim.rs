//! A source that says what it was told to say, for tests.

use std::path::PathBuf;

use bus::Ts;

use super::{Framing, Line, Packet, Place, Polled, Source, SourceError, Trouble};

/// One thing for a [`SimSource`] to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimStep {
    /// A packet.
    Packet {
        /// When it was received.
        ts_recv: Option<Ts>,
        /// Which line brought it.
        line: u8,
        /// How messages lie in it.
        framing: Framing,
        /// What is in it.
        payload: Vec<u8>,
        /// How many bytes it had on the wire.
        wire_bytes: u32,
    },
    /// Nothing now.
    Empty,
    /// Something wrong, in these words.
    Trouble(String),
    /// The source fails for good, in these words.
    Fail(String),
}

impl SimStep {
    /// A whole MoldUDP64 packet.
    pub fn packet(ts_recv: Option<Ts>, line: u8, payload: &[u8]) -> SimStep {
        SimStep::Packet {
            ts_recv,
            line,
            framing: Framing::MoldUdp64,
            payload: payload.to_vec(),
            wire_bytes: payload.len() as u32,
        }
    }

    /// A piece of an ITCH file.
    pub fn messages(payload: &[u8]) -> SimStep {
        SimStep::Packet {
            ts_recv: None,
            line: 0,
            framing: Framing::LengthPrefixed,
            payload: payload.to_vec(),
            wire_bytes: payload.len() as u32,
        }
    }
}

/// Says each step of its script, then that it is at its end.
#[derive(Clone, Debug)]
pub struct SimSource {
    lines: Vec<Line>,
    script: Vec<SimStep>,
    /// The next step.
    next: usize,
    /// Where the packet to come stands: packets are numbered from 1, and their bytes counted as
    /// if they stood one behind the other.
    place: Place,
}

impl SimSource {
    /// A source with these lines and this script.
    pub fn new(lines: &[&str], script: Vec<SimStep>) -> SimSource {
        let lines = lines
            .iter()
            .map(|&name| Line { name: name.into() })
            .collect();
        let place = Place {
            packet: 1,
            ..Place::default()
        };
        SimSource {
            lines,
            script,
            next: 0,
            place,
        }
    }

    /// Adds to what is still to be said.
    pub fn push(&mut self, step: SimStep) {
        self.script.push(step);
    }
}

impl Source for SimSource {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let Some(step) = self.script.get(self.next) else {
            return Ok(Polled::End);
        };
        self.next += 1;
        let place = self.place;
        match step {
            SimStep::Packet {
                ts_recv,
                line,
                framing,
                payload,
                wire_bytes,
            } => {
                self.place.packet += 1;
                self.place.offset_bytes += payload.len() as u64;
                Ok(Polled::Packet(Packet {
                    ts_recv: *ts_recv,
                    line: *line,
                    framing: *framing,
                    payload,
                    wire_bytes: *wire_bytes,
                    place,
                }))
            }
            SimStep::Empty => Ok(Polled::Empty),
            SimStep::Trouble(what) => Ok(Polled::Trouble(Trouble::new(place, what.clone()))),
            SimStep::Fail(what) => {
                // It stays failed.
                self.next -= 1;
                let offset_bytes = Some(place.offset_bytes);
                Err(SourceError {
                    path: PathBuf::from("sim"),
                    offset_bytes,
                    what: what.clone(),
                })
            }
        }
    }

    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn peek_ts(&mut self) -> Option<Ts> {
        match self.script.get(self.next)? {
            SimStep::Packet {
                ts_recv,
                framing,
                payload,
                ..
            } => match framing {
                Framing::MoldUdp64
                | Framing::IexTp
                | Framing::Mdp3(_)
                | Framing::Pitch(_)
                | Framing::Records(_) => *ts_recv,
                Framing::LengthPrefixed => ts_recv.or_else(|| super::itch_time(payload)),
            },
            SimStep::Empty | SimStep::Trouble(_) | SimStep::Fail(_) => None,
        }
    }
}
