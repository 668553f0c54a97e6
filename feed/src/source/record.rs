//! What the file formats have in common: a step through a file, and when a record was captured.

use std::fmt;
use std::io::ErrorKind;

use bus::Ts;

use super::input::Input;

/// The longest record that is believed: tcpdump's own largest snapshot.
pub(super) const RECORD_BYTES_MAX: u32 = 262_144;
/// The most interfaces that one file may describe.
pub(super) const INTERFACES_MAX: usize = 4_096;

/// What a format found at its place of the file.
pub(super) enum Step {
    /// A record. It stays in the input until the next step.
    Record(Record),
    /// Something wrong; the next step goes on from there, or says `End`.
    Trouble { offset_bytes: u64, what: String },
    /// Something wrong from which nothing leads on: what lies behind it in the file is not read.
    Lost { offset_bytes: u64, what: String },
    /// The file is over.
    End,
    /// The machine could not read on.
    Failed { offset_bytes: u64, what: String },
}

/// One captured frame, or one piece of a file of messages.
pub(super) struct Record {
    /// Where it stands in `input.bytes()`.
    pub(super) at: usize,
    pub(super) len: usize,
    /// Where its header stands in the file.
    pub(super) offset_bytes: u64,
    pub(super) ts: Option<Ts>,
    /// Which of the file's interfaces saw it.
    pub(super) interface: usize,
    /// What it is made of, where that depends on how much is read at once.
    pub(super) piece: Option<Piece>,
}

/// Some messages of a file of messages, one behind the other in the file too.
pub(super) struct Piece {
    /// How many.
    pub(super) messages: u64,
    /// By how many bytes each is longer in the file than in the record.
    pub(super) extra_bytes: i16,
}

/// Where a capture came from, as the file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its link type, by the pcap registry; [`crate::link::link_type::name`] has the names.
    pub link_type: u16,
    /// The longest record that it writes; 0 for no limit.
    pub snaplen_bytes: u32,
    /// The unit of its times.
    pub resolution: Resolution,
    /// What is to be added to its times, in seconds.
    pub offset_s: i64,
    /// How many records of it were met so far.
    pub records: u64,
}

/// The unit of an interface's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Ten to the power of minus this, in seconds: 6 for microseconds.
    Decimal(u8),
    /// Two to the power of minus this, in seconds.
    Binary(u8),
}

impl Resolution {
    /// So many units in nanoseconds, rounded down; `None` if that passes the range of a [`Ts`],
    /// which ends in the year 2262.
    #[inline]
    pub(super) fn to_ns(self, units: u64) -> Option<i64> {
        let ns = match self {
            Resolution::Decimal(9) => Some(units),
            Resolution::Decimal(6) => units.checked_mul(1_000),
            Resolution::Decimal(n @ 0..=8) => units.checked_mul(10u64.pow(9 - u32::from(n))),
            Resolution::Decimal(n) => {
                // A unit so small that no count of it makes a nanosecond.
                Some(
                    10u64
                        .checked_pow(u32::from(n) - 9)
                        .map_or(0, |per_ns| units / per_ns),
                )
            }
            Resolution::Binary(n) => {
                let scaled = u128::from(units) * 1_000_000_000;
                u64::try_from(scaled.checked_shr(u32::from(n)).unwrap_or(0)).ok()
            }
        };
        ns.and_then(|ns| i64::try_from(ns).ok())
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resolution::Decimal(0) => f.write_str("1 s"),
            Resolution::Decimal(3) => f.write_str("1 ms"),
            Resolution::Decimal(6) => f.write_str("1 us"),
            Resolution::Decimal(9) => f.write_str("1 ns"),
            Resolution::Decimal(n) => write!(f, "10^-{n} s"),
            Resolution::Binary(n) => write!(f, "2^-{n} s"),
        }
    }
}

/// The step to take where the input has fewer bytes than the `want_bytes` of `what`: the end of
/// the file, in good order or not.
#[cold]
pub(super) fn ending(input: &Input, what: &str, want_bytes: u64) -> Step {
    let (offset_bytes, found_bytes) = (input.offset(), input.bytes().len());
    let wrapping = input.compression().name();
    match (found_bytes, input.failure()) {
        (_, Some(error)) if error.raw_os_error().is_some() => Step::Failed {
            offset_bytes,
            what: format!("cannot read on: {error}"),
        },
        (0, None) => Step::End,
        (_, None) => {
            let what = format!("cut {what}: {found_bytes} bytes, want {want_bytes}");
            Step::Trouble { offset_bytes, what }
        }
        (_, Some(error)) => {
            let is_cut = error.kind() == ErrorKind::UnexpectedEof;
            let how = if is_cut { "cut" } else { "damaged" };
            let stream = format!("the {wrapping} stream is {how}: {error}");
            let what = match found_bytes {
                0 => stream,
                _ => format!("cut {what}: {found_bytes} bytes, want {want_bytes}; {stream}"),
            };
            // What is left of a damaged stream cannot be known.
            match is_cut {
                true => Step::Trouble { offset_bytes, what },
                false => Step::Lost { offset_bytes, what },
            }
        }
    }
}

/// Four bytes at a place that the caller knows to be there.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize, is_big_endian: bool) -> u32 {
    let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if is_big_endian {
        u32::from_be_bytes(word)
    } else {
        u32::from_le_bytes(word)
    }
}

/// Two bytes at a place that the caller knows to be there.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize, is_big_endian: bool) -> u16 {
    let word = [bytes[at], bytes[at + 1]];
    if is_big_endian {
        u16::from_be_bytes(word)
    } else {
        u16::from_le_bytes(word)
    }
}
