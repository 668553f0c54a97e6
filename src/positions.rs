//! How far a live run came in the session that it reads, beside its logs: `positions` in the run's folder.
//!
//! The log has no numbers of the feed. So twice a second the watching thread adds a line: up to which event all
//! messages below which number of the session were taken in, and what was known of time then. A run that goes on,
//! after a stop or a kill, asks the server from the last such number on that all its logs have reached, and
//! its reader makes the same events of the same messages, with the same numbers. Each shard gets those
//! that its log lacks.
//!
//! ```text
//! last event's seq, the next message's number, times in ns since 1970 (the last message's, the highest,
//! the last tick's), the session's ten letters
//! 48211 48196 1767605400120000000 1767605400120000000 1767605400100000000     DAY001
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::log::Record;
use bus::{Event, Kind, Ts};
use feed::moldudp64::SessionId;
use feed::reader::Position;

use crate::run_dir::{Manifest, Piece, RunDir};

/// A line is written so often.
const EVERY: Duration = Duration::from_millis(500);

/// From where a live run goes on in its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoesOn {
    /// The place.
    pub at: Position,
    /// What symbols were called up to there, as far as the logs go back.
    pub names: BTreeMap<u32, u64>,
    /// Symbols that were named behind it.
    pub named_later: BTreeSet<u32>,
    /// The last event of each log, where it is behind that place.
    pub known: Vec<Event>,
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
        match self.written.is_none_or(is_old) {
            true => self.add(at),
            false => None,
        }
    }

    /// Adds how far the run is.
    pub fn add(&mut self, at: Position) -> Option<String> {
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
    let Position {
        seq,
        next,
        session: _,
        last: Ts(last),
        highest: Ts(highest),
        tick: Ts(tick),
    } = at;
    is_text.then(|| format!("{seq} {next} {last} {highest} {tick} {name}\n"))
}

/// What a line says; `None` where it is none, as a crash may leave it.
fn parse(line: &str) -> Option<Position> {
    let mut fields = line.strip_suffix('\n')?.splitn(6, ' ');
    let mut field = || fields.next();
    Some(Position {
        seq: field()?.parse().ok()?,
        next: field()?.parse().ok()?,
        last: Ts(field()?.parse().ok()?),
        highest: Ts(field()?.parse().ok()?),
        tick: Ts(field()?.parse().ok()?),
        session: SessionId(field()?.as_bytes().try_into().ok()?),
    })
}

/// From where a run of one session goes on; `None` where that is not known: it has lost something in the
/// meantime, or nothing was written yet. What lies beyond its logs is taken out of the file.
pub fn goes_on(dir: &RunDir, manifest: &Manifest) -> Result<Option<GoesOn>, String> {
    let path = dir.positions_path();
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let pieces: Vec<Piece> = dir.pieces(&manifest.parts);
    let logs = pieces.iter().filter(|piece| piece.dir.is_dir());
    let logs: Vec<&Piece> = logs.collect();
    let (reached, known) = reached(&logs)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let good = lines
        .iter()
        .take_while(|line| parse(line).is_some_and(|at| at.seq <= reached))
        .count();
    write(&path, &lines[..good].concat()).map_err(|e| format!("{}: {e}", path.display()))?;
    let Some(at) = good.checked_sub(1).and_then(|last| parse(lines[last])) else {
        return Ok(None);
    };
    let mut goes_on = GoesOn {
        at,
        names: BTreeMap::new(),
        named_later: BTreeSet::new(),
        known,
        // Of a run that was killed nothing is written while its books wait for a snapshot.
        is_stale: !manifest.sessions.is_empty() && manifest.counts.stale_symbols > 0,
    };
    goes_on.known.retain(|event| event.seq > at.seq);
    let is_known = goes_on.look(&logs, manifest.kept_from_ns.is_none())?;
    Ok(is_known.then_some(goes_on))
}

impl GoesOn {
    /// Looks what the logs say of names, and whether nothing was lost behind the place: what comes again
    /// could not be counted.
    fn look(&mut self, logs: &[&Piece], is_whole: bool) -> Result<bool, String> {
        for piece in logs {
            let fail = |e: bus::log::LogError| format!("{}: {e}", piece.dir.display());
            for item in piece.records().map_err(fail)? {
                let (_, Record::Event(event)) = item.map_err(fail)? else {
                    continue;
                };
                let is_behind = event.seq > self.at.seq;
                match event.kind {
                    Kind::Gap if is_behind => return Ok(false),
                    // Where the log's beginning is gone, a directory may say what it said there.
                    Kind::Symbol if is_behind && (is_whole || event.code == 0) => {
                        self.named_later.insert(event.symbol);
                    }
                    Kind::Symbol if is_behind => {}
                    Kind::Symbol => {
                        self.names.insert(event.symbol, event.order);
                    }
                    _ => {}
                }
            }
        }
        // A directory may say a name again.
        let names = &self.names;
        self.named_later
            .retain(|symbol| !names.contains_key(symbol));
        Ok(true)
    }
}

/// The last event to which all shards of the part came that the run was in, and the last of each log. Those of
/// a part that was only begun have none of their own.
fn reached(logs: &[&Piece]) -> Result<(u64, Vec<Event>), String> {
    let mut reached: BTreeMap<usize, u64> = BTreeMap::new();
    let mut lasts = Vec::new();
    for piece in logs {
        let fail = |e: bus::log::LogError| format!("{}: {e}", piece.dir.display());
        let (mut seq, mut last) = (0, None);
        for item in piece.records().map_err(fail)? {
            if let (_, Record::Event(event)) = item.map_err(fail)? {
                let is_end = event.kind == Kind::End;
                seq = event.seq - u64::from(is_end);
                last = Some(event).filter(|_| !is_end).or(last);
            }
        }
        let least = reached.entry(piece.part).or_insert(u64::MAX);
        *least = seq.min(*least);
        lasts.extend(last);
    }
    Ok((reached.into_values().max().unwrap_or(0), lasts))
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
            last: Ts(17),
            highest: Ts(18),
            tick: Ts::MIN,
        };
        let text = line(&at).unwrap();
        assert_eq!(text, "48211 48196 17 18 -9223372036854775808     DAY001\n");
        assert_eq!(parse(&text), Some(at));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
        assert_eq!(parse("48211 48196 17 18 19 DAY001\n"), None);
        assert_eq!(parse("48211 48196     DAY001\n"), None);
        let session = SessionId([0xff; 10]);
        assert_eq!(line(&Position { session, ..at }), None);
    }
}
