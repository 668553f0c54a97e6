//! Classic pcap files.
//!
//! ```text
//! file    magic(4) version(2+2) zone(4) sigfigs(4) snaplen(4) link type(4), then records
//! record  seconds(4) fraction(4) captured length(4) wire length(4), then the frame
//! ```
//!
//! The magic says the byte order, and whether the fraction counts micro- or nanoseconds.

use bus::Ts;

use super::input::Input;
use super::record::{Interface, RECORD_BYTES_MAX, Record, Resolution, Step, ending, u32_at};

const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;

pub(super) struct Pcap {
    is_big_endian: bool,
    /// How many nanoseconds the fraction counts in, and where a second is full.
    unit_ns: u64,
    fractions_max: u32,
    record_bytes_max: u32,
    /// Bytes of the record handed out last, which are skipped at the next step.
    behind: u64,
    /// The record here has a bad fraction, and that was already said.
    is_told: bool,
    is_over: bool,
}

/// The byte order and the unit of time, if these bytes are a pcap's first.
fn magic(start: &[u8]) -> Option<(bool, Resolution)> {
    match start {
        [0xd4, 0xc3, 0xb2, 0xa1, ..] => Some((false, Resolution::Decimal(6))),
        [0xa1, 0xb2, 0xc3, 0xd4, ..] => Some((true, Resolution::Decimal(6))),
        [0x4d, 0x3c, 0xb2, 0xa1, ..] => Some((false, Resolution::Decimal(9))),
        [0xa1, 0xb2, 0x3c, 0x4d, ..] => Some((true, Resolution::Decimal(9))),
        _ => None,
    }
}

impl Pcap {
    pub(super) fn is(start: &[u8]) -> bool {
        magic(start).is_some()
    }

    /// Reads the file header. The error says what is wrong with it.
    pub(super) fn start(
        input: &mut Input,
        interfaces: &mut Vec<Interface>,
    ) -> Result<Pcap, String> {
        let header = input.peek(FILE_HEADER_BYTES);
        if header.len() < FILE_HEADER_BYTES {
            let found = header.len();
            return Err(format!(
                "pcap file header of {found} bytes, want {FILE_HEADER_BYTES}"
            ));
        }
        let (is_big_endian, resolution) = magic(header).expect("asked for by is()");
        let snaplen_bytes = u32_at(header, 16, is_big_endian);
        // The upper half of the field tells of frame check sequences, which the lengths in the
        // IP header make irrelevant.
        let link_type = u32_at(header, 20, is_big_endian) as u16;
        input.skip(FILE_HEADER_BYTES as u64);
        interfaces.push(Interface {
            link_type,
            snaplen_bytes,
            resolution,
            offset_s: 0,
            records: 0,
        });
        let is_nano = resolution == Resolution::Decimal(9);
        Ok(Pcap {
            is_big_endian,
            unit_ns: if is_nano { 1 } else { 1_000 },
            fractions_max: if is_nano { 999_999_999 } else { 999_999 },
            record_bytes_max: match snaplen_bytes {
                0 => RECORD_BYTES_MAX,
                limit => limit.min(RECORD_BYTES_MAX),
            },
            behind: 0,
            is_told: false,
            is_over: false,
        })
    }

    #[inline]
    pub(super) fn next(&mut self, input: &mut Input) -> Step {
        input.skip(std::mem::take(&mut self.behind));
        if self.is_over {
            return Step::End;
        }
        let offset_bytes = input.offset();
        let header = input.peek(RECORD_HEADER_BYTES);
        if header.len() < RECORD_HEADER_BYTES {
            return self.over(ending(input, "record header", RECORD_HEADER_BYTES as u64));
        }
        let seconds = u32_at(header, 0, self.is_big_endian);
        let mut fraction = u32_at(header, 4, self.is_big_endian);
        let captured_bytes = u32_at(header, 8, self.is_big_endian);
        if captured_bytes > self.record_bytes_max {
            let limit = self.record_bytes_max;
            let what = format!("record of {captured_bytes} bytes, want at most {limit}");
            return self.over(Step::Lost { offset_bytes, what });
        }
        let record_bytes = RECORD_HEADER_BYTES + captured_bytes as usize;
        if input.peek(record_bytes).len() < record_bytes {
            return self.over(ending(input, "record", record_bytes as u64));
        }
        if fraction > self.fractions_max {
            if !self.is_told {
                self.is_told = true;
                let limit = self.fractions_max;
                let what = format!("fraction of a second {fraction}, want at most {limit}");
                return Step::Trouble { offset_bytes, what };
            }
            fraction = self.fractions_max;
        }
        self.is_told = false;
        self.behind = record_bytes as u64;
        let ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit_ns;
        Step::Record(Record {
            at: RECORD_HEADER_BYTES,
            len: captured_bytes as usize,
            offset_bytes,
            ts: Some(Ts(ns as i64)),
            interface: 0,
            piece: None,
        })
    }

    fn over(&mut self, last: Step) -> Step {
        self.is_over = true;
        last
    }
}
