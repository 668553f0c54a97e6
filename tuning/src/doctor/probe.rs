//! What no file says and the system must be asked: the machine itself, or recorded answers.

use std::collections::BTreeMap;

use super::tree::{Answer, Tree};

/// A limit of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Memory that may be locked.
    Memlock,
    /// Highest real-time priority.
    Rtprio,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Limit::Memlock => "memlock",
            Limit::Rtprio => "rtprio",
        }
    }
}

/// Questions to the system. None of them changes anything.
pub trait Probe {
    /// A limit of this process, the higher one of the two that it has; `None` for unlimited.
    fn limit(&self, limit: Limit) -> Answer<Option<u64>>;
    /// Whether `io_uring` may be used, or what the system says to that.
    fn io_uring(&self) -> Answer<Result<(), String>>;
    /// How far the processor's counter is from the kernel's clock, in parts per million.
    fn tsc_ppm(&self) -> Answer<f64>;
    /// Free bytes where `folder` is.
    fn free_bytes(&self, folder: &str) -> Answer<u64>;
    /// What a program prints that only asks, such as `ethtool -g eth0`.
    fn output(&self, command: &[&str]) -> Answer<String>;
}

/// Answers from the file `answers` of a made-up tree: `key = value` in a line, more of a value in
/// lines that begin with `|`.
#[derive(Debug)]
pub struct Recorded {
    answers: BTreeMap<String, String>,
}

impl Recorded {
    /// Reads the answers; without the file there are none.
    pub fn read(tree: &Tree) -> Recorded {
        let text = tree.text("/answers").unwrap_or_default();
        let mut answers = BTreeMap::new();
        let mut last = String::new();
        for line in text.lines() {
            if let Some(more) = line.strip_prefix('|') {
                if let Some(value) = answers.get_mut(&last) {
                    *value = format!("{value}\n{}", more.trim());
                }
            } else if let Some((key, value)) = line.split_once('=') {
                last = key.trim().to_string();
                answers.insert(last.clone(), value.trim().to_string());
            }
        }
        Recorded { answers }
    }

    fn answer(&self, key: &str) -> Answer<&str> {
        let found = self.answers.get(key).map(String::as_str);
        match found.map(|value| (value, value.strip_prefix("unknown: "))) {
            Some((_, Some(why))) => Err(why.to_string()),
            Some((value, None)) => Ok(value),
            None => Err(format!("`{key}` is not among the recorded answers")),
        }
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Answer<T> {
        let text = self.answer(key)?;
        text.parse()
            .map_err(|_| format!("`{key}` is recorded as `{}`", super::tree::clip(text)))
    }
}

impl Probe for Recorded {
    fn limit(&self, limit: Limit) -> Answer<Option<u64>> {
        let key = format!("limit {}", limit.name());
        match self.answer(&key)? {
            "unlimited" => Ok(None),
            _ => self.number(&key).map(Some),
        }
    }

    fn io_uring(&self) -> Answer<Result<(), String>> {
        Ok(match self.answer("io_uring")? {
            "allowed" => Ok(()),
            refusal => Err(refusal.to_string()),
        })
    }

    fn tsc_ppm(&self) -> Answer<f64> {
        let ppm: f64 = self.number("tsc_ppm")?;
        if ppm.is_finite() {
            Ok(ppm)
        } else {
            Err("`tsc_ppm` is no number".into())
        }
    }

    fn free_bytes(&self, _: &str) -> Answer<u64> {
        self.number("free_bytes")
    }

    fn output(&self, command: &[&str]) -> Answer<String> {
        self.answer(&command.join(" ")).map(str::to_string)
    }
}
