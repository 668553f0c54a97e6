//! ITCH 5.0 with a `match`, field by field, as chapter 4 of the specification lists them.

use bus::{Anomaly, Event, Flags, Kind, Price, Qty, Side, Ts};

/// Types and lengths.
pub(crate) const LENGTHS: [(u8, usize); 23] = [
    (b'S', 12),
    (b'R', 39),
    (b'H', 25),
    (b'Y', 20),
    (b'L', 26),
    (b'V', 35),
    (b'W', 12),
    (b'K', 28),
    (b'J', 35),
    (b'h', 21),
    (b'A', 36),
    (b'F', 40),
    (b'E', 31),
    (b'C', 36),
    (b'X', 23),
    (b'D', 19),
    (b'U', 35),
    (b'P', 44),
    (b'Q', 40),
    (b'B', 19),
    (b'I', 50),
    (b'N', 20),
    (b'O', 48),
];

fn number(message: &[u8], at: usize, bytes: usize) -> u64 {
    message[at..at + bytes]
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

fn price(message: &[u8], at: usize) -> Price {
    Price(number(message, at, 4) as i64 * 100_000)
}

fn qty(message: &[u8], at: usize, bytes: usize) -> Result<Qty, Anomaly> {
    let units = number(message, at, bytes);
    i64::try_from(units).map(Qty).map_err(|_| Anomaly::BadField)
}

fn side(letter: u8, neither: &[u8]) -> Result<Side, Anomaly> {
    match letter {
        b'B' => Ok(Side::Buy),
        b'S' => Ok(Side::Sell),
        letter if neither.contains(&letter) => Ok(Side::None),
        _ => Err(Anomaly::BadField),
    }
}

fn printable(qty: Qty) -> Flags {
    if qty.0 > 0 {
        Flags::PRINTABLE
    } else {
        Flags(0)
    }
}

pub(crate) fn decode(midnight: Ts, m: &[u8]) -> Result<Event, Anomaly> {
    let &code = m.first().ok_or(Anomaly::BadLength)?;
    let known = LENGTHS.iter().find(|(letter, _)| *letter == code);
    let &(_, length) = known.ok_or(Anomaly::UnknownType)?;
    if m.len() != length {
        return Err(Anomaly::BadLength);
    }
    let mut event = Event::new(Kind::Info);
    event.code = code;
    event.symbol = number(m, 1, 2) as u32;
    event.ts_event = Ts(midnight.0 + number(m, 5, 6) as i64);
    match code {
        b'S' => {
            event.kind = Kind::System;
            event.order = number(m, 11, 1);
        }
        b'R' => {
            event.kind = Kind::Symbol;
            event.order = number(m, 11, 8);
            event.qty = qty(m, 21, 4)?;
        }
        b'H' => {
            event.kind = Kind::Status;
            event.order = number(m, 19, 1);
            if !b"HPQT".contains(&m[19]) {
                return Err(Anomaly::BadField);
            }
        }
        b'Y' | b'N' => event.order = number(m, 19, 1),
        b'L' => event.order = number(m, 25, 1),
        b'V' => {}
        b'W' => event.order = number(m, 11, 1),
        b'K' => {
            event.order = number(m, 23, 1);
            event.price = price(m, 24);
        }
        b'J' => {
            event.price = price(m, 19);
            event.order = number(m, 31, 4);
        }
        b'h' => {
            event.kind = if m[19] == b'Q' {
                Kind::Status
            } else {
                Kind::Info
            };
            event.order = number(m, 20, 1);
            if !b"HT".contains(&m[20]) {
                return Err(Anomaly::BadField);
            }
        }
        b'A' | b'F' => {
            event.kind = Kind::Add;
            event.order = number(m, 11, 8);
            event.side = side(m[19], b"")?;
            event.qty = qty(m, 20, 4)?;
            event.price = price(m, 32);
            if m[0] == b'F' {
                event.order_b = number(m, 36, 4);
                event.flags = match event.qty.0 {
                    0 => Flags(0),
                    _ => Flags::ATTRIBUTED,
                };
            }
        }
        b'E' => {
            event.kind = Kind::Execute;
            event.order = number(m, 11, 8);
            event.qty = qty(m, 19, 4)?;
            event.order_b = number(m, 23, 8);
            event.flags = printable(event.qty);
        }
        b'C' => {
            event.kind = Kind::ExecuteAt;
            event.order = number(m, 11, 8);
            event.qty = qty(m, 19, 4)?;
            event.order_b = number(m, 23, 8);
            event.price = price(m, 32);
            event.flags = match m[31] {
                b'Y' => printable(event.qty),
                b'N' => Flags(0),
                _ => return Err(Anomaly::BadField),
            };
        }
        b'X' => {
            event.kind = Kind::Cancel;
            event.order = number(m, 11, 8);
            event.qty = qty(m, 19, 4)?;
        }
        b'D' => {
            event.kind = Kind::Delete;
            event.order = number(m, 11, 8);
        }
        b'U' => {
            event.kind = Kind::Replace;
            event.order = number(m, 11, 8);
            event.order_b = number(m, 19, 8);
            event.qty = qty(m, 27, 4)?;
            event.price = price(m, 31);
        }
        b'P' => {
            event.kind = Kind::Trade;
            event.order = number(m, 11, 8);
            event.side = side(m[19], b"")?;
            event.qty = qty(m, 20, 4)?;
            event.price = price(m, 32);
            event.order_b = number(m, 36, 8);
            event.flags = printable(event.qty);
        }
        b'Q' => {
            event.kind = Kind::Cross;
            event.qty = qty(m, 11, 8)?;
            event.price = price(m, 27);
            event.order_b = number(m, 31, 8);
            event.flags = printable(event.qty);
        }
        b'B' => {
            event.kind = Kind::Break;
            event.order_b = number(m, 11, 8);
        }
        b'I' => {
            event.kind = Kind::Imbalance;
            event.order = number(m, 11, 8);
            event.qty = qty(m, 19, 8)?;
            event.side = side(m[27], b"NOP")?;
            event.price = price(m, 44);
        }
        b'O' => {
            event.order = number(m, 19, 1);
            event.price = price(m, 28);
        }
        _ => unreachable!("every listed type is matched"),
    }
    Ok(event)
}

/// Where the symbol's name stands, by type.
pub(crate) fn name_at(code: u8) -> Option<usize> {
    match code {
        b'R' | b'H' | b'Y' | b'K' | b'J' | b'h' | b'N' | b'O' => Some(11),
        b'L' => Some(15),
        b'Q' => Some(19),
        b'A' | b'F' | b'P' => Some(24),
        b'I' => Some(28),
        _ => None,
    }
}
