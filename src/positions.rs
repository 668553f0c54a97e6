//! How far a live run came in the session that it reads, beside its logs: `positions` in the run's folder.
//!
//! The log has no numbers of the feed. So about once a second the watching thread adds a line: up to which
//! event all messages below which number of the session were taken in. A run that goes on after a kill asks
//! the server from the last such number on that all its logs have reached, and passes over as many messages
//! of each symbol as the logs have behind it.
//!
//! ```text
//! last event's seq, the next message's number, the session's ten letters
//! 48211 48196     DAY001
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::Kind;
use bus::log::Record;
use feed::moldudp64::SessionId;
use feed::reader::{PassOver, Position};

use crate::run_dir::{Manifest, RunDir};

/// A line is written so often.
const EVERY: Duration = Duration::from_millis(500);

/// From where a live run goes on in its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoesOn {
    /// The session.
    pub session: SessionId,
    /// The number of the first message that is wanted.
    pub next: u64,
    /// What is known already of the messages from there on.
    pub pass_over: PassOver,
    /// Books lacked something when it was stopped.
    pub is_stale: bool,
}

/// Writes how far a run is.
#[derive(Debug)]
pub struct Positions {
    path: PathBuf,
    file: File,
    written: Option<(Instant, Position)>,
}

impl Positions {
    /// The file of a run, which lines are added to.
    pub fn open(dir: &RunDir) -> Result<Positions, String> {
        let path = dir.positions_path();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
        let written = None;
        Ok(Positions {
            path,
            file,
            written,
        })
    }

    /// Adds how far the run is, if that changed and the last line is old enough. An error is told, and does
    /// not end the run: it would only ask for more when it goes on.
    pub fn note(&mut self, at: Position) -> Option<String> {
        let is_old = |(when, last): (Instant, Position)| when.elapsed() >= EVERY && last != at;
        if !self.written.is_none_or(is_old) {
            return None;
        }
        self.written = Some((Instant::now(), at));
        let line = line(&at)?;
        let written = self.file.write_all(line.as_bytes());
        written
            .err()
            .map(|e| format!("{}: {e}", self.path.display()))
    }
}

/// A position as text; `None` where the session's name is none.
fn line(at: &Position) -> Option<String> {
    let name = std::str::from_utf8(&at.session.0).ok()?;
    let is_text = name
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    is_text.then(|| format!("{} {} {name}\n", at.seq, at.next))
}

/// What a line says; `None` where it is none, as a crash may leave it.
fn parse(line: &str) -> Option<Position> {
    let (seq, rest) = line.strip_suffix('\n')?.split_once(' ')?;
    let (next, name) = rest.split_once(' ')?;
    Some(Position {
        seq: seq.parse().ok()?,
        next: next.parse().ok()?,
        session: SessionId(name.as_bytes().try_into().ok()?),
    })
}

/// From where a run of one session goes on; `None` where that is not known: it has lost something in the
/// meantime, or nothing was written yet. What lies beyond its logs is taken out of the file.
pub fn goes_on(dir: &RunDir, manifest: &Manifest) -> Result<Option<GoesOn>, String> {
    if let [(name, next)] = &manifest.sessions.iter().collect::<Vec<_>>()[..] {
        let Some(session) = name.as_bytes().try_into().ok().map(SessionId) else {
            return Ok(None);
        };
        let pass_over = behind(dir, manifest, u64::MAX)?.unwrap_or_default();
        return Ok(Some(GoesOn {
            session,
            next: **next,
            pass_over,
            is_stale: manifest.counts.stale_symbols > 0,
        }));
    }
    let path = dir.positions_path();
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let reached = reached(dir, manifest)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let good = lines
        .iter()
        .take_while(|line| parse(line).is_some_and(|at| at.seq <= reached))
        .count();
    write(&path, &lines[..good].concat()).map_err(|e| format!("{}: {e}", path.display()))?;
    let Some(at) = good.checked_sub(1).and_then(|last| parse(lines[last])) else {
        return Ok(None);
    };
    let pass_over = behind(dir, manifest, at.seq)?;
    Ok(pass_over.map(|pass_over| GoesOn {
        session: at.session,
        next: at.next,
        pass_over,
        // Nothing is written of a run whose books wait for a snapshot.
        is_stale: false,
    }))
}

/// The last event to which all shards of the part came that the run was in; those of a part that was only
/// begun have none of their own.
fn reached(dir: &RunDir, manifest: &Manifest) -> Result<u64, String> {
    let mut reached: BTreeMap<usize, u64> = BTreeMap::new();
    for piece in dir.pieces(&manifest.parts) {
        if !piece.dir.is_dir() {
            continue;
        }
        let fail = |e: bus::log::LogError| format!("{}: {e}", piece.dir.display());
        let mut last = 0;
        for item in piece.records().map_err(fail)? {
            if let (_, Record::Event(event)) = item.map_err(fail)? {
                last = event.seq - u64::from(event.kind == Kind::End);
            }
        }
        let least = reached.entry(piece.part).or_insert(u64::MAX);
        *least = last.min(*least);
    }
    Ok(reached.into_values().max().unwrap_or(0))
}

/// How many messages of each symbol the logs have behind an event, and what all symbols are called; `None`
/// where something was lost since, so that they cannot be counted.
fn behind(dir: &RunDir, manifest: &Manifest, seq: u64) -> Result<Option<PassOver>, String> {
    let mut found = PassOver::default();
    let mut messages: BTreeMap<u32, u64> = BTreeMap::new();
    for piece in dir.pieces(&manifest.parts) {
        if !piece.dir.is_dir() {
            continue;
        }
        let fail = |e: bus::log::LogError| format!("{}: {e}", piece.dir.display());
        for item in piece.records().map_err(fail)? {
            let (_, Record::Event(event)) = item.map_err(fail)? else {
                continue;
            };
            if event.kind == Kind::Symbol {
                found.names.insert(event.symbol, event.order);
            }
            if event.seq <= seq {
                continue;
            }
            if event.kind == Kind::Gap {
                return Ok(None);
            }
            // What the reader made itself is of no message. What goes to all shards is counted once.
            let is_counted = event.code != 0 && (!event.kind.is_for_all() || piece.shard == 0);
            *messages.entry(event.symbol).or_default() += u64::from(is_counted);
        }
    }
    found.messages = messages.into_iter().filter(|(_, n)| *n > 0).collect();
    Ok(Some(found))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_line_and_a_torn_one_is_none() {
        let at = Position {
            seq: 48_211,
            next: 48_196,
            session: SessionId(*b"    DAY001"),
        };
        let text = line(&at).unwrap();
        assert_eq!(text, "48211 48196     DAY001\n");
        assert_eq!(parse(&text), Some(at));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
        assert_eq!(parse("48211 48196 DAY001\n"), None);
        let session = SessionId([0xff; 10]);
        assert_eq!(line(&Position { session, ..at }), None);
    }
}
