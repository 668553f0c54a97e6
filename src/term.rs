//! What people see on a terminal: colours where they are wanted, progress, numbers one can read.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Whether to use colours: on a terminal, unless `NO_COLOR` is set to anything.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    is_on: bool,
}

impl Style {
    /// For what is written to stdout.
    pub fn stdout() -> Style {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Style {
            is_on: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.is_on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something of less weight.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Something good.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something to look at.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Something bad.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }
}

/// A line on stderr. A terminal that is gone is no reason to end a run.
pub fn complain(message: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
}

/// One line on stderr that is written again and again, on a terminal only.
#[derive(Debug)]
pub struct Progress {
    is_on: bool,
    last: Instant,
}

impl Progress {
    /// Silent where stderr is no terminal, or when asked to be.
    pub fn new(is_quiet: bool) -> Progress {
        let is_on = !is_quiet && std::io::stderr().is_terminal();
        Progress {
            is_on,
            last: Instant::now(),
        }
    }

    /// Shows the line that `text` makes, at most ten times a second.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_on && self.last.elapsed() >= Duration::from_millis(100) {
            self.last = Instant::now();
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K{}", text()).and_then(|()| out.flush());
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.is_on {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

/// `12,345,678`
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.23 M`, for rates.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e9 => (v / 1e9, " G"),
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e3 => (v / 1e3, " k"),
        v => (v, ""),
    };
    format!("{scaled:.2}{unit}")
}

/// `1.25 us`, with the unit that suits.
pub fn nanos(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.2} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(short(14_200_000.0), "14.20 M");
        assert_eq!(nanos(999), "999 ns");
        assert_eq!(nanos(1_250), "1.25 us");
        assert_eq!(nanos(2_000_000_000), "2.00 s");
    }
}
