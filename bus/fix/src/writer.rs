//! Fields into a message.
//!
//! For what the session says, and for orders off the hot path, whose own encoder is
//! `bus::oms::Encoder`. Fields are written in the order in which they come.

use std::io::Write;

use bus::{Price, Qty, Ts};

use crate::frame::{SOH, checksum};
use crate::version::Version;
use crate::{tags, value};

/// Writes one message after the other into the same room.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Room for BeginString and BodyLength, which are written last, then the rest.
    buffer: Vec<u8>,
}

/// `8=FIXT.1.1`, `9=` and the digits of a length, with their ends.
const FRONT_BYTES: usize = 11 + 2 + 20 + 1;

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

impl Writer {
    /// With room for a usual message; it grows where that is too little.
    pub fn new() -> Writer {
        Writer {
            buffer: Vec::with_capacity(1_024),
        }
    }

    /// Begins a message of this type.
    pub fn begin(&mut self, msg_type: &[u8]) -> &mut Writer {
        self.buffer.clear();
        self.buffer.resize(FRONT_BYTES, 0);
        self.bytes(tags::MSG_TYPE, msg_type)
    }

    /// A field of text. Control characters become `?`, so that no value can bring a field of its
    /// own.
    pub fn bytes(&mut self, tag: i32, text: &[u8]) -> &mut Writer {
        self.tag(tag);
        let shown = |&byte: &u8| if byte < b' ' { b'?' } else { byte };
        self.buffer.extend(text.iter().map(shown));
        self.buffer.push(SOH);
        self
    }

    /// A field of text.
    pub fn text(&mut self, tag: i32, text: &str) -> &mut Writer {
        self.bytes(tag, text.as_bytes())
    }

    /// A field of any bytes, behind one that says how many they are.
    pub fn data(&mut self, length_tag: i32, data_tag: i32, data: &[u8]) -> &mut Writer {
        self.number(length_tag, data.len() as u64).tag(data_tag);
        self.buffer.extend_from_slice(data);
        self.buffer.push(SOH);
        self
    }

    /// A whole number.
    pub fn number(&mut self, tag: i32, number: u64) -> &mut Writer {
        self.tag(tag);
        self.digits(number);
        self.buffer.push(SOH);
        self
    }

    /// `Y` or `N`.
    pub fn flag(&mut self, tag: i32, is: bool) -> &mut Writer {
        self.bytes(tag, if is { b"Y" } else { b"N" })
    }

    /// A price as an exact decimal, without zeros at its end.
    pub fn price(&mut self, tag: i32, price: Price) -> &mut Writer {
        self.tag(tag);
        if price.0 < 0 {
            self.buffer.push(b'-');
        }
        let units = price.0.unsigned_abs();
        let scale = Price::SCALE as u64;
        self.digits(units / scale);
        let fraction = units % scale;
        if fraction != 0 {
            let mut digits = *b".000000000";
            let mut rest = fraction;
            for byte in digits[1..].iter_mut().rev() {
                *byte = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            let end = digits.iter().rposition(|&byte| byte != b'0');
            self.buffer
                .extend_from_slice(&digits[..=end.unwrap_or_default()]);
        }
        self.buffer.push(SOH);
        self
    }

    /// A quantity.
    pub fn qty(&mut self, tag: i32, qty: Qty) -> &mut Writer {
        self.tag(tag);
        if qty.0 < 0 {
            self.buffer.push(b'-');
        }
        self.digits(qty.0.unsigned_abs());
        self.buffer.push(SOH);
        self
    }

    /// A time in UTC.
    pub fn time(&mut self, tag: i32, ts: Ts, with_milliseconds: bool) -> &mut Writer {
        let (text, len) = value::time_text(ts, with_milliseconds);
        self.bytes(tag, &text[..len])
    }

    /// A field as it was in another message.
    pub fn copied(&mut self, tag: i32, value: &[u8]) -> &mut Writer {
        self.tag(tag);
        self.buffer.extend_from_slice(value);
        self.buffer.push(SOH);
        self
    }

    /// What was written behind MsgType.
    pub fn body_after_type(&self) -> &[u8] {
        let written = &self.buffer[FRONT_BYTES..];
        let type_end = written.iter().position(|&byte| byte == SOH);
        &written[type_end.map_or(0, |end| end + 1)..]
    }

    /// Fields that are whole already, each with its end.
    pub fn raw(&mut self, fields: &[u8]) -> &mut Writer {
        debug_assert!(fields.is_empty() || fields.ends_with(&[SOH]));
        self.buffer.extend_from_slice(fields);
        self
    }

    /// The message, with its front and its sum.
    pub fn finish(&mut self, version: Version) -> &[u8] {
        assert!(self.buffer.len() > FRONT_BYTES, "begin comes before finish");
        let body_bytes = self.buffer.len() - FRONT_BYTES;
        let mut front = [0u8; FRONT_BYTES];
        let mut unused = &mut front[..];
        let begin_string = version.begin_string();
        write!(unused, "8={begin_string}\x019={body_bytes}\x01").expect("the front has its room");
        let front_bytes = FRONT_BYTES - unused.len();
        let start = FRONT_BYTES - front_bytes;
        self.buffer[start..FRONT_BYTES].copy_from_slice(&front[..front_bytes]);
        let sum = checksum(&self.buffer[start..]);
        let digits = [sum / 100, sum / 10 % 10, sum % 10].map(|digit| b'0' + digit);
        self.buffer.extend_from_slice(b"10=");
        self.buffer.extend_from_slice(&digits);
        self.buffer.push(SOH);
        &self.buffer[start..]
    }

    fn tag(&mut self, tag: i32) {
        if tag < 0 {
            self.buffer.push(b'-');
        }
        self.digits(u64::from(tag.unsigned_abs()));
        self.buffer.push(b'=');
    }

    fn digits(&mut self, mut number: u64) {
        let mut digits = [0u8; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.buffer.extend_from_slice(&digits[start..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataTags, Fields, Framed, Framer, parse};

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace('\x01', "|")
    }

    #[test]
    fn a_message_is_these_bytes() {
        let mut writer = Writer::new();
        writer
            .begin(b"D")
            .number(34, 7)
            .text(49, "US")
            .time(52, Ts(1_767_623_400_123_456_789), true)
            .text(56, "THEM")
            .text(11, "a\x0138=9")
            .qty(38, Qty(-300))
            .price(44, Price(187_250_000_000))
            .price(99, Price(-1))
            .price(31, Price(5_000_000_000))
            .flag(97, true)
            .data(95, 96, b"\x01=");
        assert_eq!(
            shown(writer.finish(Version::Fix44)),
            "8=FIX.4.4|9=114|35=D|34=7|49=US|52=20260105-14:30:00.123|56=THEM|11=a?38=9|38=-300|\
             44=187.25|99=-0.000000001|31=5|97=Y|95=2|96=|=|10=216|"
        );
        writer.begin(b"0").time(52, Ts(0), false);
        assert_eq!(
            shown(writer.finish(Version::Fixt11)),
            "8=FIXT.1.1|9=26|35=0|52=19700101-00:00:00|10=029|"
        );
    }

    /// Any fields, written, cut out of a stream that comes in pieces, and read again.
    #[test]
    fn what_is_written_is_what_is_read() {
        let mut state = 1u64;
        let mut random = |end: u64| {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) % end
        };
        let mut writer = Writer::new();
        let mut framer = Framer::new(1 << 16);
        let mut fields = Fields::default();
        for _ in 0..3_000 {
            let mut want: Vec<(i32, Vec<u8>)> = Vec::new();
            writer.begin(b"U1");
            for _ in 0..random(30) {
                let tag = 11 + random(9_000) as i32;
                let is_data = tags::length_of(tag).is_some()
                    || want
                        .last()
                        .is_some_and(|last| tags::length_of(tag) == Some(last.0));
                match random(5) {
                    0 => {
                        let data: Vec<u8> = (0..random(40)).map(|_| random(256) as u8).collect();
                        writer.data(95, 96, &data);
                        want.push((95, data.len().to_string().into_bytes()));
                        want.push((96, data));
                    }
                    1 => {
                        let price = Price(random(1 << 40) as i64 - (1 << 39));
                        writer.price(tag, price);
                        want.push((tag, Vec::new()));
                        let text = price.to_string();
                        want.last_mut().unwrap().1 = text.into_bytes();
                    }
                    _ if is_data => {}
                    _ => {
                        let text: Vec<u8> =
                            (0..random(20)).map(|_| b' ' + random(224) as u8).collect();
                        writer.bytes(tag, &text);
                        want.push((tag, text));
                    }
                }
            }
            let bytes = writer.finish(Version::Fix42).to_vec();
            let mut message = None;
            let piece = 1 + random(200) as usize;
            for piece in bytes.chunks(piece) {
                assert_eq!(message, None);
                framer.push(piece);
                message = framer.advance();
            }
            let Some(Framed::Message(range)) = message else {
                panic!("{message:?} of {}", shown(&bytes))
            };
            assert_eq!(framer.bytes(range.clone()), &bytes[..]);
            let message = parse(framer.bytes(range), &mut fields, &DataTags::default()).unwrap();
            let found: Vec<(i32, &[u8])> = message.fields().collect();
            assert_eq!(found.len(), want.len() + 4, "{message:?}");
            for (found, want) in found[3..].iter().zip(&want) {
                let (tag, text) = want;
                assert_eq!(found.0, *tag, "{message:?}");
                let same_price =
                    value::price(found.1).is_some() && value::price(found.1) == value::price(text);
                assert!(found.1 == &text[..] || same_price, "{message:?}");
            }
        }
    }
}
