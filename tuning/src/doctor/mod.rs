//! What a host does to latency, found out without changing anything.
//!
//! Start with `checks`, the list of what is looked at; each check is a function of what is `seen`:
//! files below a root (`tree`, `cpus`, `mounts`) and answers of the system (`probe`). `examine`
//! asks them all, and `script` writes what can be done about it as a shell script.

pub mod checks;
pub mod cpus;
pub mod mounts;
pub mod probe;
pub mod script;
pub mod seen;
pub mod tree;

use probe::Probe;
use seen::{Aim, Seen};
use tree::{Answer, Tree};

/// How a check came out, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Figures taken here mislead, or data may be lost.
    Fail,
    /// It costs latency, or makes it vary.
    Warn,
    /// Could not be checked.
    Unknown,
    /// As it should be.
    Pass,
}

impl Verdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Fail => "FAIL",
            Verdict::Warn => "WARN",
            Verdict::Unknown => "UNKNOWN",
            Verdict::Pass => "PASS",
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sets a kernel parameter.
    Sysctl(&'static str, String),
    /// Writes a value to a file.
    Put(String, String),
    /// Writes a value to a file of each of these cores, below `/sys/devices/system/cpu/cpuN/`.
    PutEach(String, cpus::Cpus, &'static str),
    /// Adds a boot parameter.
    Boot(String),
    /// Runs a command, which lasts or not as the text says.
    Run(String, &'static str),
}

/// What can be done about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing is to be done.
    Nothing,
    /// This, here, as root.
    Do(Vec<Step>),
    /// It cannot be set from here: what to ask of whoever runs what is below.
    Ask(String),
    /// A person must decide, buy or set up something.
    Choose(String),
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it came out.
    pub verdict: Verdict,
    /// The measured value, or why it could not be checked.
    pub value: String,
    /// What to do.
    pub remedy: Remedy,
}

impl Found {
    /// As it should be.
    pub fn pass(value: impl Into<String>) -> Found {
        Found {
            verdict: Verdict::Pass,
            value: value.into(),
            remedy: Remedy::Nothing,
        }
    }

    /// Costs latency.
    pub fn warn(value: impl Into<String>, remedy: Remedy) -> Found {
        Found {
            verdict: Verdict::Warn,
            value: value.into(),
            remedy,
        }
    }

    /// Misleads, or loses data.
    pub fn fail(value: impl Into<String>, remedy: Remedy) -> Found {
        Found {
            verdict: Verdict::Fail,
            value: value.into(),
            remedy,
        }
    }

    /// Could not be checked.
    pub fn unknown(why: impl Into<String>, remedy: Remedy) -> Found {
        Found {
            verdict: Verdict::Unknown,
            value: why.into(),
            remedy,
        }
    }
}

/// One check.
#[derive(Debug)]
pub struct Check {
    /// Its name, which stays as it is.
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Why it matters, in a sentence.
    pub why: &'static str,
    /// Where the value comes from.
    pub from: &'static str,
    /// Whether there are settings of this host that mend it, somewhere: on bare metal, say.
    pub is_settable: bool,
    /// The check; an error says why nothing could be found out.
    pub look: fn(&Seen<'_>) -> Answer<Found>,
}

/// A check with what it found.
#[derive(Debug)]
pub struct Line {
    /// The check.
    pub check: &'static Check,
    /// What it found.
    pub found: Found,
}

/// What all checks found.
#[derive(Debug)]
pub struct Report {
    /// What kind of place this is.
    pub place: String,
    /// The cores that were looked at for hot threads.
    pub hot: String,
    /// The worst first, and the more important first among equals.
    pub lines: Vec<Line>,
}

impl Report {
    /// How many came out so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.lines
            .iter()
            .filter(|line| line.found.verdict == verdict)
            .count()
    }
}

/// Asks every check.
pub fn examine(tree: &Tree, probe: &dyn Probe, aim: &Aim) -> Report {
    let seen = Seen::new(tree, probe, aim);
    let mut lines: Vec<Line> = checks::all()
        .map(|check| {
            let looked = (check.look)(&seen);
            let mut found = looked.unwrap_or_else(|why| Found::unknown(why, Remedy::Nothing));
            found.value = shown(&found.value);
            Line { check, found }
        })
        .collect();
    lines.sort_by_key(|line| line.found.verdict);
    Report {
        place: shown(&seen.place.describe()),
        hot: seen.hot.to_string(),
        lines,
    }
}

/// A value as it can be shown: files may hold anything.
fn shown(text: &str) -> String {
    const SHOWN: usize = 400;
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN)
        .collect()
}
