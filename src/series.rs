//! Several runs, one after the other, in one directory: days, or rounds of the same input.
//!
//! ```text
//! DIR/series.json     which runs, how far each came, and what it counted; rewritten after each
//! DIR/config.toml     every setting, the same for all
//! DIR/reference.csv   the reference data they have, if any
//! DIR/2026-01-05/     a run directory like any other, see `run_dir`
//! DIR/2026-01-06/
//! ```
//!
//! What a day or a round knows of those before is nothing: its books begin empty, its windows with
//! its first event, its numbers of symbols are its own, and its ClOrdIDs have its date. So each is
//! what it would be alone, and a crash costs no more than the run that it was in.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run_dir::{self, Counts, Manifest, State};

/// The name of the description.
pub const FILE: &str = "series.json";
/// Its format.
pub const SCHEMA: &str = "tapeline-series/1";

/// What runs one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// Days, or rounds.
    pub kind: Kind,
    /// How far it came.
    pub state: State,
    /// Only these symbols.
    pub symbols: Vec<String>,
    /// Conclude nothing before, as it was asked for.
    pub from: Option<String>,
    /// Stop at, as it was asked for.
    pub to: Option<String>,
    /// In which zone's clock the two are, where it is not the venue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// The runs, in their order.
    pub runs: Vec<Leg>,
    /// SHA-256 over the runs' names and digests, once all are complete.
    pub digest: String,
}

/// Why there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Each of another day's input.
    Days,
    /// Each of the same input, which is taken as that of a later day.
    Rounds,
}

impl Kind {
    /// One of them, for people.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Days => "day",
            Kind::Rounds => "round",
        }
    }
}

/// One of the runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leg {
    /// The name of its folder.
    pub name: String,
    /// The date that its input is of.
    pub date: String,
    /// The exchange's time zone.
    pub timezone: String,
    /// Taken as that of so many days later.
    pub days_later: u32,
    /// Its input.
    pub files: Vec<PathBuf>,
    /// What became of it; none before it is complete.
    pub done: Option<Done>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// What was counted.
    pub counts: Counts,
    /// How many anomalies there were.
    pub anomalies: u64,
    /// Its digest.
    pub digest: String,
}

impl Done {
    /// Of a run that is complete.
    pub fn of(manifest: &Manifest) -> Done {
        Done {
            elapsed_s: manifest.elapsed_s,
            counts: manifest.counts.clone(),
            anomalies: manifest.anomalies.values().sum(),
            digest: manifest.digest.clone(),
        }
    }
}

impl Series {
    /// Whether a directory holds several runs.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(FILE).is_file()
    }

    /// Reads the description of those in a directory.
    pub fn open(dir: &Path) -> Result<Series, String> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let series: Series = serde_json::from_str(&text)
            .map_err(|e| format!("{}, line {}: {e}", path.display(), e.line()))?;
        if series.schema != SCHEMA {
            return Err(format!(
                "{}: schema `{}`, want `{SCHEMA}`",
                path.display(),
                series.schema
            ));
        }
        // Names become paths, below this directory and nowhere else.
        let is_plain = |name: &str| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !name.is_empty() && name.bytes().all(is_known)
        };
        if let Some(leg) = series.runs.iter().find(|leg| !is_plain(&leg.name)) {
            return Err(format!(
                "{}: `{}` is no name of a run",
                path.display(),
                leg.name
            ));
        }
        Ok(series)
    }

    /// Writes the description, so that a crash leaves the old one or the new one.
    pub fn write(&self, dir: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| format!("{}: {e}", dir.join(FILE).display()))?;
        run_dir::write_whole(dir, FILE, format!("{text}\n").as_bytes())
    }

    /// Takes note that a run is complete.
    pub fn finish(&mut self, index: usize, manifest: &Manifest) {
        self.runs[index].done = Some(Done::of(manifest));
        let done: Option<Vec<&Done>> = self.runs.iter().map(|leg| leg.done.as_ref()).collect();
        if let Some(done) = done {
            let line = |(leg, done): (&Leg, &Done)| format!("{} {}\n", leg.name, done.digest);
            let lines: String = self.runs.iter().zip(done).map(line).collect();
            self.digest = run_dir::sha256(lines.as_bytes());
            self.state = State::Complete;
        }
    }

    /// Of rounds, which are all of one input: the first that came to something else than the one
    /// before it.
    pub fn differing(&self) -> Option<(&Leg, &Leg)> {
        let pairs = self.runs.windows(2).map(|pair| (&pair[0], &pair[1]));
        let digest = |leg: &Leg| leg.done.as_ref().map(|done| done.digest.clone());
        let mut both = pairs.filter(|(a, b)| a.done.is_some() && b.done.is_some());
        match self.kind {
            Kind::Days => None,
            Kind::Rounds => both.find(|(before, after)| digest(before) != digest(after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(digests: &[Option<&str>]) -> Series {
        let leg = |(index, digest): (usize, &Option<&str>)| Leg {
            name: format!("round-{index}"),
            date: "2026-01-05".into(),
            timezone: "UTC".into(),
            days_later: index as u32,
            files: Vec::new(),
            done: digest.map(|digest| Done {
                elapsed_s: 0.0,
                counts: Counts::default(),
                anomalies: 0,
                digest: digest.into(),
            }),
        };
        Series {
            schema: SCHEMA.into(),
            version: String::new(),
            kind: Kind::Rounds,
            state: State::Running,
            symbols: Vec::new(),
            from: None,
            to: None,
            tz: None,
            runs: digests.iter().enumerate().map(leg).collect(),
            digest: String::new(),
        }
    }

    #[test]
    fn a_round_that_differs_is_found() {
        let check = |digests: &[Option<&str>], want: Option<&str>| {
            let series = series(digests);
            let found = series.differing().map(|(_, leg)| leg.name.as_str());
            assert_eq!(found, want);
        };
        check(&[Some("a"), Some("a"), None], None);
        check(&[Some("a"), Some("a"), Some("b")], Some("round-2"));
        check(&[Some("a"), None, Some("b")], None);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let dir = std::env::temp_dir().join(format!("tapeline-series-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut series = series(&[None]);
        series.write(&dir).unwrap();
        assert_eq!(Series::open(&dir).unwrap(), series);
        series.runs[0].name = "../elsewhere".into();
        series.write(&dir).unwrap();
        let error = Series::open(&dir).unwrap_err();
        assert!(error.contains("is no name of a run"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
