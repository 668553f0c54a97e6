//! An input in memory, so that no disk and no decompressor is part of what is measured, and when
//! each of its packets is due.

use std::io;
use std::path::{Path, PathBuf};

use bus::Ts;
use feed::moldudp64::FirstCopies;
use feed::source::{Capture, CaptureOptions, Framing, Line, Polled, Source};

use super::units::Rate;

/// A tape holds at most so many bytes of payload.
const BYTES_MAX: usize = 1 << 30;

/// Where a packet is, and when it is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: usize,
    /// Nanoseconds from the start, by the schedule that was laid last.
    pub(super) due_ns: u64,
    /// When it was captured or, without that, when its first message happened.
    ts: Ts,
    pub(super) bytes: u32,
    /// Messages that no packet before it had.
    pub(super) messages: u16,
    pub(super) line: u8,
    pub(super) framing: Framing,
}

/// How a tape is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pacing {
    /// So many messages a second, evenly.
    Rate(Rate),
    /// As recorded, so many times as fast.
    Recorded(f64),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Tape {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) lines: Vec<Line>,
    /// The time of the first packet, with a date.
    pub first_ts: Ts,
    /// Messages, each counted once.
    pub messages: u64,
    /// How long playing it takes, by the schedule that was laid last.
    pub length_ns: u64,
    /// Whether the input had more than a tape holds.
    pub is_cut: bool,
}

/// A session to make where no capture is given.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many symbols.
    pub symbols: u32,
    /// Equal seeds give equal bytes.
    pub seed: u64,
    /// Seconds of continuous trading.
    pub seconds: u32,
    /// Messages a second.
    pub rate: u32,
}

impl Tape {
    fn empty() -> Tape {
        Tape {
            bytes: Vec::new(),
            entries: Vec::new(),
            lines: Vec::new(),
            first_ts: Ts(0),
            messages: 0,
            length_ns: 0,
            is_cut: false,
        }
    }

    /// Reads captures. `midnight` dates inputs that have times of day only.
    pub fn read(files: &[PathBuf], ports: Option<Vec<u16>>, midnight: Ts) -> Result<Tape, String> {
        let options = CaptureOptions {
            ports,
            itch_messages_max: 1,
            ..CaptureOptions::default()
        };
        let mut source = Capture::open(files, options).map_err(|e| e.to_string())?;
        let mut tape = Tape::empty();
        let mut numbered = FirstCopies::default();
        loop {
            match source.poll().map_err(|e| e.to_string())? {
                Polled::Packet(packet) => {
                    let messages = match packet.framing {
                        Framing::LengthPrefixed => 1,
                        Framing::MoldUdp64 => numbered.count(packet.payload) as u16,
                        Framing::IexTp
                        | Framing::Mdp3(_)
                        | Framing::Pitch(_)
                        | Framing::Records(_) => {
                            return Err("the input is of another protocol, want ITCH".into());
                        }
                    };
                    let ts = match (packet.ts_recv, packet.ts_due()) {
                        (Some(ts), _) => ts,
                        (None, Some(ts)) => midnight.plus_ns(ts.0),
                        (None, None) => tape.entries.last().map_or(midnight, |e| e.ts),
                    };
                    if !tape.push(ts, packet.line, packet.framing, messages, packet.payload) {
                        break;
                    }
                }
                Polled::Empty => {}
                Polled::Trouble(trouble) => {
                    let place = trouble.place;
                    let file = files
                        .get(usize::from(place.file))
                        .map_or(Path::new("?"), |f| f);
                    return Err(format!(
                        "{}, byte {}: {}",
                        file.display(),
                        place.offset_bytes,
                        trouble.what
                    ));
                }
                Polled::End => break,
            }
        }
        tape.lines = source.lines().to_vec();
        if tape.messages == 0 {
            return Err("the input has no message".into());
        }
        Ok(tape)
    }

    /// Makes a session.
    pub fn make(sample: &Sample, midnight: Ts) -> Result<Tape, String> {
        let session = exchange::Session {
            symbols: sample.symbols,
            seconds: sample.seconds,
            seed: sample.seed,
            rate: sample.rate,
            ..exchange::Session::default()
        };
        session.check().map_err(|e| e.to_string())?;
        let mut tape = Tape::empty();
        tape.lines.push(Line {
            name: format!("sample, seed {}", sample.seed),
        });
        let mut framed = Vec::new();
        let put = &mut |ns: u64, message: &[u8]| -> io::Result<()> {
            framed.clear();
            framed.extend_from_slice(&(message.len() as u16).to_be_bytes());
            framed.extend_from_slice(message);
            tape.push(
                midnight.plus_ns(ns as i64),
                0,
                Framing::LengthPrefixed,
                1,
                &framed,
            );
            Ok(())
        };
        exchange::run(&session, put).map_err(|e| e.to_string())?;
        Ok(tape)
    }

    /// Whether it had room.
    fn push(&mut self, ts: Ts, line: u8, framing: Framing, messages: u16, payload: &[u8]) -> bool {
        if self.bytes.len() + payload.len() > BYTES_MAX {
            self.is_cut = true;
            return false;
        }
        if self.entries.is_empty() {
            self.first_ts = ts;
        }
        self.entries.push(Entry {
            at: self.bytes.len(),
            due_ns: 0,
            ts,
            bytes: payload.len() as u32,
            messages,
            line,
            framing,
        });
        self.bytes.extend_from_slice(payload);
        self.messages += u64::from(messages);
        true
    }

    /// Decides when each packet is due. At an even rate a packet is due when its first new message
    /// is; one that has none, with the message that comes next.
    pub fn schedule(&mut self, pacing: Pacing) {
        let mut messages = 0u64;
        let mut last_ns = 0;
        for entry in &mut self.entries {
            let due_ns = match pacing {
                Pacing::Rate(rate) => (messages as f64 * (1e9 / rate.0)) as u64,
                Pacing::Recorded(times) => {
                    (entry.ts.since(self.first_ts).max(0) as f64 / times) as u64
                }
            };
            // One record with a wrong time moves nothing else.
            last_ns = due_ns.max(last_ns);
            entry.due_ns = last_ns;
            messages += u64::from(entry.messages);
        }
        self.length_ns = last_ns;
    }

    /// Leaves out what comes after so many packets.
    pub fn cut(&mut self, packets: usize) {
        self.entries.truncate(packets);
        self.messages = self.entries.iter().map(|e| u64::from(e.messages)).sum();
    }

    /// SHA-256 of all payloads.
    pub fn sha256(&self) -> String {
        crate::run_dir::sha256(&self.bytes)
    }

    /// How many packets.
    pub fn packets(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Sample = Sample {
        symbols: 8,
        seed: 3,
        seconds: 1,
        rate: 2_000,
    };

    #[test]
    fn an_even_rate_is_even_and_a_recorded_one_is_scaled() {
        let mut tape = Tape::make(&SAMPLE, Ts(0)).unwrap();
        tape.schedule(Pacing::Rate(Rate(1e6)));
        let due: Vec<u64> = tape.entries.iter().take(4).map(|e| e.due_ns).collect();
        assert_eq!(due, [0, 1_000, 2_000, 3_000]);
        assert_eq!(tape.length_ns, (tape.messages - 1) * 1_000);
        tape.schedule(Pacing::Recorded(1.0));
        let length_ns = tape.length_ns;
        tape.schedule(Pacing::Recorded(4.0));
        assert_eq!(tape.length_ns, length_ns / 4);
        assert!(tape.entries.is_sorted_by_key(|entry| entry.due_ns));
    }

    #[test]
    fn the_same_seed_makes_the_same_tape() {
        let (a, b) = (Tape::make(&SAMPLE, Ts(0)), Tape::make(&SAMPLE, Ts(0)));
        assert_eq!(a.unwrap().bytes, b.unwrap().bytes);
    }
}
