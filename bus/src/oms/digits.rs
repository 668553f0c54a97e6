//! Numbers, dates and times as ASCII, without allocation and without floats.

use crate::fixed::{Price, Ts};

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Such as 2026.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// The UTC day that `ts` lies in.
    pub const fn of(ts: Ts) -> Date {
        Date::of_day(ts.0.div_euclid(DAY_NS))
    }

    /// The day that is `days` after 1970-01-01.
    ///
    /// After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`:
    /// years are counted from March, so that the leap day comes last, in eras of 400 years.
    const fn of_day(days: i64) -> Date {
        const ERA_DAYS: i64 = 146_097;
        let since_march_of_0 = days + 719_468;
        let era = since_march_of_0.div_euclid(ERA_DAYS);
        let day = since_march_of_0.rem_euclid(ERA_DAYS);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month_after_march = (5 * day + 2) / 153;
        let day = day - (153 * month_after_march + 2) / 5 + 1;
        let is_next_year = month_after_march >= 10;
        let month = if is_next_year {
            month_after_march - 9
        } else {
            month_after_march + 3
        };
        // 64-bit nanoseconds reach from 1677 to 2262, so the year fits.
        let year = era * 400 + year + is_next_year as i64;
        Date {
            year: year as u16,
            month: month as u8,
            day: day as u8,
        }
    }

    /// How many days it is after 1970-01-01: the inverse of [`Date::of_day`], by the same paper's
    /// `days_from_civil`.
    pub(super) const fn days(self) -> i64 {
        let year = self.year as i64 - (self.month <= 2) as i64;
        let era = year.div_euclid(400);
        let year = year - era * 400;
        let months = (self.month as i64 + 9) % 12;
        let day = (153 * months + 2) / 5 + self.day as i64 - 1;
        era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
    }

    /// As `20260105`.
    pub(super) const fn digits(self) -> [u8; 8] {
        let [a, b] = pair(self.year as u32 / 100);
        let [c, d] = pair(self.year as u32 % 100);
        let [e, f] = pair(self.month as u32);
        let [g, h] = pair(self.day as u32);
        [a, b, c, d, e, f, g, h]
    }
}

impl From<(u16, u8, u8)> for Date {
    fn from((year, month, day): (u16, u8, u8)) -> Date {
        Date { year, month, day }
    }
}

const DAY_NS: i64 = 86_400 * Ts::SECOND_NS;
const DAY_MS: i64 = 86_400_000;
const MS_NS: i64 = 1_000_000;

/// 0 to 99 as two digits each: one load in place of a division per digit.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + n as u8 / 10, b'0' + n as u8 % 10];
        n += 1;
    }
    pairs
};

#[inline]
pub(super) const fn pair(n: u32) -> [u8; 2] {
    PAIRS[n as usize]
}

/// How many bytes [`Clockface::write`] makes.
pub(super) const TIME_BYTES: usize = 21;

/// Writes times as FIX 4.4 has them, `20260105-14:30:00.123`: UTC and milliseconds, which is the
/// finest that FIX 4.4 allows. Remembers the day, because the next time is mostly of the same.
#[derive(Clone, Debug)]
pub(super) struct Clockface {
    day: i64,
    digits: [u8; 8],
}

impl Clockface {
    pub(super) fn new() -> Clockface {
        Clockface {
            day: 0,
            digits: Date::of_day(0).digits(),
        }
    }

    /// Writes straight to where it is to stand: what is copied from elsewhere right after it was written
    /// in small pieces has to wait for them.
    #[inline]
    pub(super) fn write(&mut self, ts: Ts, out: &mut [u8; TIME_BYTES]) {
        let ms = ts.0.div_euclid(MS_NS);
        let day = ms.div_euclid(DAY_MS);
        if day != self.day {
            self.turn_page(day);
        }
        let ms = (ms - day * DAY_MS) as u32;
        let (seconds, ms) = (ms / 1_000, ms % 1_000);
        let (minutes, second) = (seconds / 60, seconds % 60);
        out[..8].copy_from_slice(&self.digits);
        out[8] = b'-';
        out[9..11].copy_from_slice(&pair(minutes / 60));
        out[11] = b':';
        out[12..14].copy_from_slice(&pair(minutes % 60));
        out[14] = b':';
        out[15..17].copy_from_slice(&pair(second));
        out[17] = b'.';
        out[18] = b'0' + (ms / 100) as u8;
        out[19..21].copy_from_slice(&pair(ms % 100));
    }

    #[cold]
    fn turn_page(&mut self, day: i64) {
        self.day = day;
        self.digits = Date::of_day(day).digits();
    }
}

/// Writes `value` without leading zeros at the front of `out`; says how many digits.
#[inline]
pub(super) fn write_number(out: &mut [u8], mut value: u64) -> usize {
    let len = value.checked_ilog10().map_or(1, |log| log as usize + 1);
    let out = &mut out[..len];
    let mut end = len;
    while end >= 2 {
        end -= 2;
        out[end..end + 2].copy_from_slice(&pair((value % 100) as u32));
        value /= 100;
    }
    if end == 1 {
        out[0] = b'0' + value as u8;
    }
    len
}

/// Writes `value` with zeros in front, filling `out`; what does not fit is lost at the front.
#[inline]
pub(super) fn write_padded(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The most bytes that [`write_price`] makes: a sign, ten digits, a point, nine digits.
pub(super) const PRICE_BYTES_MAX: usize = 21;

/// Writes the exact decimal at the front of `out`, with at least two digits after the point, as
/// `Price`'s `Display` does; says how many bytes.
#[inline]
pub(super) fn write_price(out: &mut [u8], price: Price) -> usize {
    let units = price.0.unsigned_abs();
    let (whole, fraction) = (units / Price::SCALE as u64, units % Price::SCALE as u64);
    let mut len = 0;
    if price.0 < 0 {
        out[0] = b'-';
        len = 1;
    }
    len += write_number(&mut out[len..], whole);
    out[len] = b'.';
    len += 1;
    let (cents, rest) = (fraction / 10_000_000, fraction % 10_000_000);
    out[len..len + 2].copy_from_slice(&pair(cents as u32));
    len += 2;
    if rest != 0 {
        write_padded(&mut out[len..len + 7], rest);
        len += 7;
        while out[len - 1] == b'0' {
            len -= 1;
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use rust_decimal::Decimal;

    use super::*;

    fn price_text(units: i64) -> String {
        let mut out = [0; PRICE_BYTES_MAX];
        let len = write_price(&mut out, Price(units));
        std::str::from_utf8(&out[..len]).unwrap().to_string()
    }

    fn number_text(value: u64) -> String {
        let mut out = [0; 20];
        let len = write_number(&mut out, value);
        std::str::from_utf8(&out[..len]).unwrap().to_string()
    }

    /// Steps through the calendar day by day, by the rule that everyone knows.
    #[test]
    fn dates_are_those_of_the_calendar() {
        let mut date = Date {
            year: 1970,
            month: 1,
            day: 1,
        };
        for day in 0..106_751 {
            assert_eq!(Date::of_day(day), date, "day {day}");
            assert_eq!(date.days(), day);
            let year = date.year;
            let by = |n| year.is_multiple_of(n);
            let is_leap = by(4) && (!by(100) || by(400));
            let month_days = match date.month {
                2 => 28 + u8::from(is_leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            date.day += 1;
            if date.day > month_days {
                date.day = 1;
                date.month += 1;
            }
            if date.month > 12 {
                date.month = 1;
                date.year += 1;
            }
        }
        assert_eq!(
            Date::of(Ts(-1)),
            Date {
                year: 1969,
                month: 12,
                day: 31
            }
        );
        assert_eq!(Date::of(Ts::MIN).year, 1677);
        assert_eq!(Date::of(Ts::MAX).year, 2262);
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        let mut face = Clockface::new();
        let mut check = |ns: i64, want: &str| {
            let mut out = [0; TIME_BYTES];
            face.write(Ts(ns), &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), want);
        };
        check(0, "19700101-00:00:00.000");
        check(1_767_623_400_123_999_999, "20260105-14:30:00.123");
        check(1_767_657_599_999_999_999, "20260105-23:59:59.999");
        check(1_767_657_600_000_000_000, "20260106-00:00:00.000");
        check(-1, "19691231-23:59:59.999");
        check(951_782_400_000_000_000, "20000229-00:00:00.000");
    }

    #[test]
    fn numbers_have_no_leading_zeros() {
        let mut value = 1u64;
        for _ in 0..20 {
            for n in [value - 1, value, value + 1] {
                assert_eq!(number_text(n), n.to_string());
            }
            value = value.saturating_mul(10);
            if value == u64::MAX {
                break;
            }
        }
        assert_eq!(number_text(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn prices_are_exact_decimals() {
        let mut units: Vec<i64> = vec![0, 1, 10, 99, 100_000, 10_000_000, 999_999_999];
        units.extend([
            1_000_000_000,
            12_340_000_000,
            150_000_100_000,
            i64::MAX - 1,
            i64::MIN + 1,
        ]);
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            units.push((state >> (state & 63)) as i64 - (state & 3 == 0) as i64 * (1 << 40));
        }
        for unit in units.into_iter().filter(|&unit| unit != i64::MAX) {
            let text = price_text(unit);
            assert_eq!(text, Price(unit).to_string());
            let want = Decimal::from_i128_with_scale(unit as i128, 9);
            assert_eq!(Decimal::from_str(&text).unwrap(), want, "{unit}");
        }
    }
}
