//! A field's value into a number, a price or a time, and times back into text.

use bus::{Price, Qty, Ts};

/// A whole number, zero or more. Zeros in front are taken; signs are not.
#[inline]
pub fn unsigned(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 20 {
        return None;
    }
    let mut number = 0u64;
    for &byte in value {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// A whole number with or without a minus.
pub fn signed(value: &[u8]) -> Option<i64> {
    match value.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(value)?).ok(),
    }
}

/// Whether this is a decimal number as FIX has them: an optional minus, digits, and at most one
/// point among or around them.
pub fn is_decimal(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let points = digits.iter().filter(|&&byte| byte == b'.').count();
    points <= 1
        && digits.len() > points
        && digits
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// A decimal number in units of 1e-9, exactly; `None` where it has finer digits or is too large.
#[inline]
fn nanos(value: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let mut units = 0i64;
    let mut seen = 0;
    let mut decimals = None;
    for &byte in digits {
        if byte == b'.' {
            if decimals.is_some() {
                return None;
            }
            decimals = Some(0);
            continue;
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        seen += 1;
        if let Some(decimals) = &mut decimals {
            *decimals += 1;
            if *decimals > 9 {
                if digit != 0 {
                    return None;
                }
                continue;
            }
        }
        units = units.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    if seen == 0 {
        return None;
    }
    let missing = 9 - decimals.unwrap_or(0).min(9);
    let units = units.checked_mul(10i64.pow(missing))?;
    Some(if is_negative { -units } else { units })
}

/// A price, exactly.
#[inline]
pub fn price(value: &[u8]) -> Option<Price> {
    nanos(value).map(Price).filter(|price| price.is_some())
}

/// A quantity, which here is a whole number; `100.00` is one.
#[inline]
pub fn qty(value: &[u8]) -> Option<Qty> {
    let (whole, fraction) = match value.iter().position(|&byte| byte == b'.') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &[][..]),
    };
    if !fraction.iter().all(|&byte| byte == b'0') {
        return None;
    }
    signed(whole).map(Qty)
}

/// Nanoseconds since 1970 of `20260105-14:30:00`, with up to twelve decimals, of which those beyond
/// nanoseconds are left out. The 60th second of a minute is the first of the next.
pub fn timestamp(value: &[u8]) -> Option<Ts> {
    let date = value.get(..8)?;
    if value.get(8) != Some(&b'-') {
        return None;
    }
    let time = time_of_day(value.get(9..)?)?;
    let day = days(date)?;
    day.checked_mul(DAY_NS)?.checked_add(time).map(Ts)
}

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// Nanoseconds since midnight of `14:30:00`, with up to twelve decimals.
pub fn time_of_day(value: &[u8]) -> Option<i64> {
    let (clock, rest) = (value.get(..8)?, &value[8..]);
    if clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    let hour = two(&clock[..2])?;
    let minute = two(&clock[3..5])?;
    let second = two(&clock[6..])?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction = match rest {
        [] => 0,
        [b'.', digits @ ..] if (1..=12).contains(&digits.len()) => {
            let used = &digits[..digits.len().min(9)];
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            unsigned(used)? as i64 * 10i64.pow(9 - used.len() as u32)
        }
        _ => return None,
    };
    Some((hour * 3_600 + minute * 60 + second) * SECOND_NS + fraction)
}

fn two(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .all(u8::is_ascii_digit)
        .then(|| i64::from(digits[0] - b'0') * 10 + i64::from(digits[1] - b'0'))
}

/// Days since 1970-01-01 of `20260105`; `None` when the calendar has no such day.
pub fn days(date: &[u8]) -> Option<i64> {
    if date.len() != 8 {
        return None;
    }
    let year = unsigned(&date[..4])? as i64;
    let month = unsigned(&date[4..6])? as i64;
    let day = unsigned(&date[6..])? as i64;
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if day < 1 || day > month_days {
        return None;
    }
    // Years are counted from March, so that the leap day comes last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// `ts` as `20260105-14:30:00.123`: what stands there up to the point when there are no
/// milliseconds, and how many bytes that is.
pub fn time_text(ts: Ts, with_milliseconds: bool) -> ([u8; 21], usize) {
    let date = bus::oms::Date::of(ts);
    let ms = ts.0.rem_euclid(DAY_NS) / 1_000_000;
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let mut out = *b"________-__:__:__.___";
    put(&mut out[..4], u64::from(date.year));
    put(&mut out[4..6], u64::from(date.month));
    put(&mut out[6..8], u64::from(date.day));
    put(&mut out[9..11], (seconds / 3_600) as u64);
    put(&mut out[12..14], (seconds / 60 % 60) as u64);
    put(&mut out[15..17], (seconds % 60) as u64);
    put(&mut out[18..], ms as u64);
    (out, if with_milliseconds { 21 } else { 17 })
}

fn put(out: &mut [u8], mut value: u64) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        assert_eq!(unsigned(b"0042"), Some(42));
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b"1.0",
            b"18446744073709551616",
            b" 1",
        ] {
            assert_eq!(unsigned(bad), None, "{bad:?}");
        }
        assert_eq!(signed(b"-7"), Some(-7));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"9223372036854775808"), None);
    }

    #[test]
    fn decimals() {
        for good in [&b"1"[..], b"-1.5", b".5", b"5.", b"002000.00"] {
            assert!(is_decimal(good), "{good:?}");
        }
        for bad in [&b""[..], b"-", b".", b"+1", b"1.2.3", b"1e5", b"--1"] {
            assert!(!is_decimal(bad), "{bad:?}");
            assert_eq!(price(bad), None, "{bad:?}");
        }
        assert_eq!(price(b"187.25"), Some(Price(187_250_000_000)));
        assert_eq!(price(b"-0.000000001"), Some(Price(-1)));
        assert_eq!(price(b"0.00000000100"), Some(Price(1)));
        assert_eq!(price(b"0.0000000001"), None);
        assert_eq!(price(b"9999999999"), None);
        assert_eq!(qty(b"002000.00"), Some(Qty(2_000)));
        assert_eq!(qty(b"-3"), Some(Qty(-3)));
        assert_eq!(qty(b"0.5"), None);
    }

    #[test]
    fn times_there_and_back() {
        let check = |text: &str, want: Option<i64>| {
            assert_eq!(timestamp(text.as_bytes()).map(|ts| ts.0), want, "{text}");
        };
        check("19700101-00:00:00", Some(0));
        check("20260105-14:30:00.123", Some(1_767_623_400_123_000_000));
        check(
            "20260105-14:30:00.123456789123",
            Some(1_767_623_400_123_456_789),
        );
        check("20000229-23:59:60", Some(951_868_800_000_000_000));
        for bad in [
            "20040415",
            "20260230-00:00:00",
            "20261301-00:00:00",
            "20260105 14:30:00",
            "20260105-24:00:00",
            "20260105-14:60:00",
            "20260105-14:30:61",
            "20260105-14:30:00.",
            "20260105-14:30:00,1",
            "20260105-1x:30:00",
            "99991231-00:00:00",
        ] {
            check(bad, None);
        }
        let mut state = 7u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let ms = (state >> 1) as i64 / 1_000_000;
            let ts = Ts(ms * 1_000_000);
            let (text, len) = time_text(ts, true);
            assert_eq!(timestamp(&text[..len]), Some(ts));
            let (text, len) = time_text(ts, false);
            assert_eq!(timestamp(&text[..len]), Some(Ts(ms / 1_000 * SECOND_NS)));
        }
    }
}
