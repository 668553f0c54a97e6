//! A stream of bytes into messages.
//!
//! ```text
//! 8=FIX.4.4 | 9=63 | 35=A | ... | 10=128 |
//!                    <---- 63 ---->
//! ```
//!
//! A message ends with the first CheckSum field at or behind where BodyLength puts it. When that is
//! not just there, or the sum is another one, the message is garbled: it is told and left out, and
//! its number will be missed. What cannot be a beginning is left out up to the next `8=FIX`.

use std::fmt;
use std::ops::Range;

/// Ends each field.
pub const SOH: u8 = 1;

/// Cuts a stream. Holds at most one unfinished message, and that up to a stated size.
#[derive(Clone, Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where in `buffer` what was not yet handed out begins.
    start: usize,
    message_bytes_max: usize,
}

/// What stands at the front of the stream; see [`Framer::bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A message whose length and sum are right.
    Message(Range<usize>),
    /// Bytes that are none, and why.
    Garbled(Range<usize>, Fault),
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They do not begin with `8=FIX`.
    Beginning,
    /// The second field is not a BodyLength of one to nine digits.
    Length,
    /// The message would be longer than what is allowed.
    TooLong {
        /// The length it claims, or has.
        bytes: usize,
    },
    /// CheckSum is not where BodyLength puts it.
    LengthWrong {
        /// What BodyLength says.
        says: usize,
        /// What it should say.
        is: usize,
    },
    /// The sum is another one.
    Sum {
        /// What CheckSum says, when it is three digits.
        says: Option<u8>,
        /// What it should say.
        is: u8,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Beginning => f.write_str("want 8=FIX"),
            Fault::Length => f.write_str("want a BodyLength as the second field"),
            Fault::TooLong { bytes } => write!(f, "{bytes} bytes are more than allowed"),
            Fault::LengthWrong { says, is } => write!(f, "BodyLength is {says}, want {is}"),
            Fault::Sum {
                says: Some(says),
                is,
            } => {
                write!(f, "CheckSum is {says:03}, want {is:03}")
            }
            Fault::Sum { says: None, is } => {
                write!(f, "CheckSum is no three digits, want {is:03}")
            }
        }
    }
}

const BEGINNING: &[u8] = b"8=FIX";
/// `8=FIXT.1.1` and its end are 11 bytes; more than this is no BeginString.
const BEGINNING_BYTES_MAX: usize = 16;
/// `9=`, nine digits and their end.
const LENGTH_BYTES_MAX: usize = 12;
/// `10=`, three digits and their end.
const TRAILER_BYTES: usize = 7;

impl Framer {
    /// The least that messages may be allowed to take.
    pub const MESSAGE_BYTES_MIN: usize = 256;

    /// For messages of up to so many bytes.
    pub fn new(message_bytes_max: usize) -> Framer {
        assert!(message_bytes_max >= Framer::MESSAGE_BYTES_MIN);
        Framer {
            buffer: Vec::new(),
            start: 0,
            message_bytes_max,
        }
    }

    /// Puts what was received behind what is there.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.start = 0;
    }

    /// What was not handed out yet.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The bytes of what [`Framer::advance`] has just told of.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next message, or what is none; `None` when more has to be received first.
    pub fn advance(&mut self) -> Option<Framed> {
        let start = self.start;
        let held = &self.buffer[start..];
        if held.is_empty() {
            return None;
        }
        if !held.starts_with(BEGINNING) {
            if BEGINNING.starts_with(held) {
                return None;
            }
            return Some(self.skip(0, Fault::Beginning));
        }
        let seen = &held[..held.len().min(BEGINNING_BYTES_MAX)];
        let Some(end) = seen.iter().position(|&byte| byte == SOH) else {
            return (held.len() >= BEGINNING_BYTES_MAX)
                .then(|| self.skip(BEGINNING.len(), Fault::Length));
        };
        let length_at = end + 1;
        let seen = &held[length_at..held.len().min(length_at + LENGTH_BYTES_MAX)];
        let Some(end) = seen.iter().position(|&byte| byte == SOH) else {
            let can_be = seen.len() < LENGTH_BYTES_MAX
                && (b"9=".starts_with(&seen[..seen.len().min(2)]))
                && seen.iter().skip(2).all(u8::is_ascii_digit);
            return (!can_be).then(|| self.skip(BEGINNING.len(), Fault::Length));
        };
        let digits = seen[..end].strip_prefix(b"9=").unwrap_or_default();
        if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
            return Some(self.skip(BEGINNING.len(), Fault::Length));
        }
        let says = digits
            .iter()
            .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        let body_at = length_at + end + 1;
        let body_end = body_at + says;
        if body_end + TRAILER_BYTES > self.message_bytes_max {
            let fault = Fault::TooLong {
                bytes: body_end + TRAILER_BYTES,
            };
            return Some(self.skip(BEGINNING.len(), fault));
        }
        if held.len() < body_end + TRAILER_BYTES {
            // What claims too much is found out by a later message, or by the silence.
            return None;
        }
        let trailer = &held[body_end..body_end + TRAILER_BYTES];
        if held[body_end - 1] == SOH && trailer.starts_with(b"10=") && trailer[6] == SOH {
            let is = checksum(&held[..body_end]);
            let says = three_digits(&trailer[3..6]);
            let range = start..start + body_end + TRAILER_BYTES;
            self.start = range.end;
            return Some(if says == Some(is) {
                Framed::Message(range)
            } else {
                Framed::Garbled(range, Fault::Sum { says, is })
            });
        }
        self.find_end(start, body_at, says)
    }

    /// Where a message ends whose length is wrong.
    #[cold]
    fn find_end(&mut self, start: usize, body_at: usize, says: usize) -> Option<Framed> {
        let held = &self.buffer[start..];
        let from = body_at + says - 1;
        let found = held[from..]
            .windows(4)
            .position(|window| window == b"\x0110=")
            .map(|at| from + at + 1);
        let end = found.and_then(|at| {
            let end = held[at..].iter().position(|&byte| byte == SOH)?;
            Some((at, at + end + 1))
        });
        match end {
            Some((at, end)) => {
                let range = start..start + end;
                self.start = range.end;
                let fault = if at - body_at == says {
                    let is = checksum(&self.buffer[start..start + at]);
                    Fault::Sum { says: None, is }
                } else {
                    Fault::LengthWrong {
                        says,
                        is: at - body_at,
                    }
                };
                Some(Framed::Garbled(range, fault))
            }
            None if held.len() > self.message_bytes_max => {
                let bytes = held.len();
                Some(self.skip(BEGINNING.len(), Fault::TooLong { bytes }))
            }
            None => None,
        }
    }

    /// Leaves out what stands before the next beginning behind `from`.
    #[cold]
    fn skip(&mut self, from: usize, fault: Fault) -> Framed {
        let held = &self.buffer[self.start..];
        let next = held[from..]
            .windows(BEGINNING.len())
            .position(|window| window == BEGINNING)
            .map(|at| from + at);
        // Without one, the last bytes may be the front of one.
        let skipped = next.unwrap_or_else(|| {
            let fronts = (1..BEGINNING.len()).rev();
            let front = fronts
                .into_iter()
                .find(|&len| held.len() >= from + len && held.ends_with(&BEGINNING[..len]));
            held.len() - front.unwrap_or(0)
        });
        let range = self.start..self.start + skipped;
        self.start = range.end;
        Framed::Garbled(range, fault)
    }
}

/// The sum of all bytes, as CheckSum has it.
#[inline]
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

fn three_digits(digits: &[u8]) -> Option<u8> {
    let [a, b, c] = *digits else { return None };
    if ![a, b, c].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [a, b, c] = [a, b, c].map(|digit| u32::from(digit - b'0'));
    u8::try_from(a * 100 + b * 10 + c).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its length and sum, `|` for the end of a field.
    fn message(body: &str) -> Vec<u8> {
        let body = body.replace('|', "\x01");
        let mut bytes = format!("8=FIX.4.4\x019={}\x01{body}", body.len()).into_bytes();
        let sum = checksum(&bytes);
        bytes.extend(format!("10={sum:03}\x01").into_bytes());
        bytes
    }

    /// What a stream is cut into, whatever the pieces it comes in.
    fn check(stream: &[u8], want: &[&str]) {
        for piece_bytes in [1, 2, 3, 7, 64, stream.len().max(1)] {
            let mut framer = Framer::new(512);
            let mut found = Vec::new();
            for piece in stream.chunks(piece_bytes) {
                framer.push(piece);
                while let Some(framed) = framer.advance() {
                    found.push(match framed {
                        Framed::Message(range) => {
                            let text = String::from_utf8_lossy(framer.bytes(range)).into_owned();
                            text.replace('\x01', "|")
                        }
                        Framed::Garbled(_, fault) => fault.to_string(),
                    });
                }
            }
            // Noise may come in pieces of any number; one mention of each run of it counts.
            found.dedup_by(|a, b| a == b && a.starts_with("want 8=FIX"));
            assert_eq!(found, want, "in pieces of {piece_bytes}");
        }
    }

    #[test]
    fn messages_are_cut_where_they_end() {
        let stream = [message("35=0|34=1|"), message("35=1|112=x|")].concat();
        check(
            &stream,
            &[
                "8=FIX.4.4|9=10|35=0|34=1|10=165|",
                "8=FIX.4.4|9=11|35=1|112=x|10=027|",
            ],
        );
    }

    #[test]
    fn noise_is_skipped_to_the_next_beginning() {
        let stream = [b"hello8=FI".to_vec(), message("35=0|34=1|")].concat();
        check(&stream, &["want 8=FIX", "8=FIX.4.4|9=10|35=0|34=1|10=165|"]);
    }

    #[test]
    fn a_wrong_sum_loses_that_message_only() {
        let mut bad = message("35=0|34=1|");
        let at = bad.len() - 2;
        bad[at] = b'9';
        let stream = [bad, message("35=0|34=1|")].concat();
        check(
            &stream,
            &[
                "CheckSum is 169, want 165",
                "8=FIX.4.4|9=10|35=0|34=1|10=165|",
            ],
        );
        let mut bad = message("35=0|34=1|");
        bad[at] = b'x';
        check(&bad, &["CheckSum is no three digits, want 165"]);
        let text = String::from_utf8(message("35=0|34=1|")).unwrap();
        let stream = [
            text.replace("10=165", "10=4").into_bytes(),
            message("35=0|34=1|"),
        ]
        .concat();
        check(
            &stream,
            &[
                "CheckSum is no three digits, want 165",
                "8=FIX.4.4|9=10|35=0|34=1|10=165|",
            ],
        );
    }

    #[test]
    fn a_length_that_is_too_small_loses_that_message_only() {
        let text = String::from_utf8(message("35=0|34=1|")).unwrap();
        let stream = [
            text.replace("9=10", "9=6").into_bytes(),
            message("35=0|34=1|"),
        ]
        .concat();
        check(
            &stream,
            &[
                "BodyLength is 6, want 10",
                "8=FIX.4.4|9=10|35=0|34=1|10=165|",
            ],
        );
    }

    #[test]
    fn a_length_that_reaches_into_the_next_message_takes_that_with_it() {
        let text = String::from_utf8(message("35=0|34=1|")).unwrap();
        let stream = [
            text.replace("9=10", "9=20").into_bytes(),
            message("35=0|34=2|"),
            message("35=0|34=3|"),
        ]
        .concat();
        check(
            &stream,
            &[
                "BodyLength is 20, want 42",
                "8=FIX.4.4|9=10|35=0|34=3|10=167|",
            ],
        );
    }

    #[test]
    fn a_length_that_is_none_or_too_large_is_refused_at_once() {
        let next = "8=FIX.4.4|9=10|35=0|34=1|10=165|";
        for (head, want) in [
            (
                "8=FIX.4.4|35=0|9=10|",
                "want a BodyLength as the second field",
            ),
            (
                "8=FIX.4.4|9=|35=0|",
                "want a BodyLength as the second field",
            ),
            (
                "8=FIX.4.4|9=-5|35=0|",
                "want a BodyLength as the second field",
            ),
            (
                "8=FIX.4.4|9=9999999999999|",
                "want a BodyLength as the second field",
            ),
            (
                "8=FIX with no end in sight",
                "want a BodyLength as the second field",
            ),
            ("8=FIX.4.4|9=999999|", "1000025 bytes are more than allowed"),
        ] {
            let mut stream = head.replace('|', "\x01").into_bytes();
            stream.extend(message("35=0|34=1|"));
            // Some is told in two pieces when it comes byte by byte; what counts is what is left.
            let mut framer = Framer::new(512);
            framer.push(&stream);
            let Some(Framed::Garbled(_, fault)) = framer.advance() else {
                panic!("{head}")
            };
            assert_eq!(fault.to_string(), want, "{head}");
            let Some(Framed::Message(range)) = framer.advance() else {
                panic!("{head}: the next message")
            };
            let text = String::from_utf8_lossy(framer.bytes(range)).replace('\x01', "|");
            assert_eq!(text, next);
        }
    }

    #[test]
    fn a_message_that_never_ends_is_given_up() {
        let mut framer = Framer::new(256);
        let mut garbled = false;
        framer.push(b"8=FIX.4.4\x019=5\x01");
        for _ in 0..100 {
            framer.push(b"35=0x34=");
            while let Some(framed) = framer.advance() {
                garbled |= matches!(framed, Framed::Garbled(..));
            }
            assert!(framer.rest().len() <= 256 + 8);
        }
        assert!(garbled);
    }
}
