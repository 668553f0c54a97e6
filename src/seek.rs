//! The books of a complete run at any time, without its log from the beginning.
//!
//! An index has the books as they stood at some places of each shard's log, far enough apart that
//! all of them take a fraction of the log, and near enough that what lies between two is read in a
//! moment. It is made of the log alone, when somebody first asks, and thrown away when it does not
//! fit: nothing but the wait depends on it.
//!
//! ```text
//! RUN/index/index.json       which symbols and which places there are
//! RUN/index/SHARD-N.books    the books of a shard at its N-th place, in the form of a checkpoint
//!
//! log  ──────┬──────────────┬───x──────────┬──────   x: the last event up to the time asked for
//!          place 0        place 1        place 2     from place 1 on, at most up to place 2
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use book::Books;
use bus::checkpoint::{self, Checkpoint, Head};
use bus::disk::RealFolder;
use bus::log::{LogError, LogReader, Record};
use bus::state::{StateError, StateReader, Versions};
use bus::{Event, Kind, Ts};
use serde::{Deserialize, Serialize};

use crate::pipeline;
use crate::run_dir;
use crate::savepoint::Origin;

/// The format of the description.
const SCHEMA: &str = "tapeline-index/1";
const FILE: &str = "index.json";

/// So many events lie between two places at least.
pub const EVENTS_MIN: u64 = 1 << 20;
/// And so many for each live order, so that what is kept of the books stays small beside the log.
const EVENTS_PER_ORDER: u64 = 4;

/// Where a run's books can be looked up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    schema: String,
    /// What of the settings decides results, as checkpoints have it.
    config_hash: u64,
    shards: Vec<Shard>,
}

/// Of one shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shard {
    /// The log's own name.
    uuid: [u8; 16],
    /// When its last event was.
    last_ts: i64,
    symbols: Vec<Named>,
    places: Vec<Place>,
}

/// A symbol of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its number in the run.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Those of its quantities.
    pub decimals: u8,
}

/// A place of a log at which the books are known.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    /// All that is below this cell is in the books.
    cell: u64,
    /// No event below it is later than this.
    before_max: i64,
    /// No event from it on is earlier than this.
    after_min: i64,
}

/// Books at a time.
#[derive(Debug)]
pub struct At {
    /// All of them, or the one that was asked for.
    pub books: Books,
    /// When the last thing happened to each of them.
    pub last: BTreeMap<u32, Ts>,
}

/// Why there is no index, or none that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeekError {
    /// The log that it is made of cannot be read.
    Log(LogError),
    /// A file of it cannot be read or written.
    Index(String),
}

impl fmt::Display for SeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeekError::Log(error) => error.fmt(f),
            SeekError::Index(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for SeekError {}

impl SeekError {
    /// Whether the log is not what was written.
    pub fn is_damage(&self) -> bool {
        matches!(self, SeekError::Log(error) if error.is_damage())
    }
}

fn other(error: impl fmt::Display) -> SeekError {
    SeekError::Index(error.to_string())
}

impl Index {
    /// That of a run, if it has one that fits it.
    pub fn open(origin: &Origin<'_>) -> Option<Index> {
        let text = fs::read(dir(origin).join(FILE)).ok()?;
        let index: Index = serde_json::from_slice(&text).ok()?;
        let is_ours = index.schema == SCHEMA
            && index.config_hash == origin.config_hash()
            && index.shards.len() == origin.shards();
        let is_of_log = |(number, shard): (usize, &Shard)| {
            let log = LogReader::open(&origin.dir.log_dir(origin.part(), number));
            log.is_ok_and(|log| log.uuid() == Some(shard.uuid)) && !shard.places.is_empty()
        };
        let fits = is_ours && index.shards.iter().enumerate().all(is_of_log);
        fits.then_some(index)
    }

    /// Makes that of a run that is complete and has one part, from its logs, with so many events
    /// between two places at least: [`EVENTS_MIN`], unless for a test.
    pub fn make(origin: &Origin<'_>, events_min: u64) -> Result<Index, SeekError> {
        let to = dir(origin);
        // Another process may be at it, too: each has a folder of its own, and the first one that
        // is done gives it the name.
        let beside = to.with_file_name(format!(".index-{}", std::process::id()));
        let made = Index::write(origin, &beside, events_min).and_then(|index| {
            let renamed = fs::rename(&beside, &to).or_else(|_| {
                fs::remove_dir_all(&to)?;
                fs::rename(&beside, &to)
            });
            match renamed {
                Ok(()) => Ok(index),
                Err(e) => Err(SeekError::Index(format!("{}: {e}", to.display()))),
            }
        });
        if made.is_err() {
            let _ = fs::remove_dir_all(&beside);
        }
        made
    }

    fn write(origin: &Origin<'_>, into: &Path, events_min: u64) -> Result<Index, SeekError> {
        let shards: Result<Vec<Shard>, SeekError> = thread::scope(|scope| {
            let spawn = |shard| scope.spawn(move || walk_all(origin, shard, into, events_min));
            let all: Vec<_> = (0..origin.shards()).map(spawn).collect();
            let joined = all.into_iter().map(|one| one.join());
            joined.map(|one| one.expect("does not panic")).collect()
        });
        let index = Index {
            schema: SCHEMA.into(),
            config_hash: origin.config_hash(),
            shards: shards?,
        };
        let text = serde_json::to_string(&index).expect("always JSON");
        run_dir::write_whole(into, FILE, format!("{text}\n").as_bytes())
            .map_err(SeekError::Index)?;
        Ok(index)
    }

    /// How many places of the logs it has.
    pub fn place_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.places.len()).sum()
    }

    /// All symbols, with their shards.
    pub fn symbols(&self) -> impl Iterator<Item = (usize, &Named)> {
        let shards = self.shards.iter().enumerate();
        shards.flat_map(|(shard, of)| of.symbols.iter().map(move |named| (shard, named)))
    }

    /// Whether all of the run is before a time.
    pub fn is_past(&self, at: Ts) -> bool {
        self.shards.iter().all(|shard| shard.last_ts < at.0)
    }

    /// The books of a shard, or one of them, after every event up to a time.
    ///
    /// A book has no other order than the feed's: where times go back, it is as before its first
    /// event that is later.
    pub fn books(
        &self,
        origin: &Origin<'_>,
        shard: usize,
        wanted: Option<u32>,
        at: Ts,
    ) -> Result<At, SeekError> {
        let places = &self.shards[shard].places;
        let is_before = |place: &Place| place.before_max <= at.0;
        // The first has nothing before it.
        let from = places.partition_point(is_before).saturating_sub(1);
        let end = places[from..].iter().find(|place| place.after_min > at.0);
        let path = dir(origin).join(name_of(shard, from));
        let bytes =
            fs::read(&path).map_err(|e| SeekError::Index(format!("{}: {e}", path.display())))?;
        let state = Checkpoint::parse(bytes, path.clone()).map_err(other)?;
        let mut found = At {
            books: Books::new(origin.config.books()).map_err(other)?,
            last: BTreeMap::new(),
        };
        load(&mut state.state(), wanted, &mut found)
            .map_err(|e| SeekError::Index(format!("{}: {e}", path.display())))?;
        let log = origin.dir.log_dir(origin.part(), shard);
        let records = LogReader::open_from(&log, places[from].cell).map_err(SeekError::Log)?;
        // Books that come no further.
        let mut over = BTreeSet::new();
        for item in records {
            let (cell, record) = item.map_err(SeekError::Log)?;
            if end.is_some_and(|end| cell >= end.cell) {
                break;
            }
            let Record::Event(event) = record else {
                continue;
            };
            if event.kind == Kind::Gap && event.ts_event <= at {
                found.books.apply(&event);
            }
            let is_ours = wanted.is_none_or(|wanted| event.symbol == wanted);
            if event.kind.is_for_all() || !is_ours {
                continue;
            }
            if event.ts_event > at {
                if wanted.is_some() {
                    break;
                }
                over.insert(event.symbol);
            } else if over.is_empty() || !over.contains(&event.symbol) {
                found.books.apply(&event);
                found.last.insert(event.symbol, event.ts_event);
            }
        }
        Ok(found)
    }
}

/// Where the index of a run stands.
pub fn dir(origin: &Origin<'_>) -> PathBuf {
    origin.dir.path().join("index")
}

fn name_of(shard: usize, place: usize) -> String {
    format!("{shard}-{place}.books")
}

/// One walk through a shard's log, which leaves its books at every place.
fn walk_all(
    origin: &Origin<'_>,
    shard: usize,
    into: &Path,
    events_min: u64,
) -> Result<Shard, SeekError> {
    let mut folder = RealFolder::open(into).map_err(other)?;
    let log = origin.dir.log_dir(origin.part(), shard);
    let log = LogReader::open(&log).map_err(SeekError::Log)?;
    let uuid = log.uuid().unwrap_or_default();
    let mut books = Books::new(origin.config.books()).map_err(other)?;
    let (mut last, mut symbols) = (BTreeMap::new(), BTreeMap::new());
    let mut places: Vec<Place> = Vec::new();
    let (mut before_max, mut last_seq, mut last_ts, mut since) = (i64::MIN, 0, i64::MIN, u64::MAX);
    for item in log {
        let (cell, record) = item.map_err(SeekError::Log)?;
        let Record::Event(event) = record else {
            continue;
        };
        let is_far = || since >= EVENTS_PER_ORDER * u64::from(books.stats().orders);
        if since >= events_min && is_far() {
            since = 0;
            let head = Head {
                uuid,
                cell,
                last_seq,
                shard: shard as u32,
                shards: origin.shards() as u32,
                build_hash: pipeline::hash_of(env!("CARGO_PKG_VERSION")),
                config_hash: origin.config_hash(),
                made_ns: 0,
                versions: Versions::NEWEST,
            };
            save(
                &mut folder,
                &name_of(shard, places.len()),
                &head,
                &books,
                &last,
            )?;
            places.push(Place {
                cell,
                before_max,
                after_min: i64::MAX,
            });
        }
        since += 1;
        last_seq = event.seq;
        last_ts = last_ts.max(event.ts_event.0);
        if event.kind == Kind::Symbol {
            symbols.entry(event.symbol).or_insert_with(|| named(&event));
        }
        if event.kind.is_for_all() && event.kind != Kind::Gap {
            continue;
        }
        before_max = before_max.max(event.ts_event.0);
        // Each place gets the least of what follows it up to the next, and below, of all.
        if let Some(place) = places.last_mut() {
            place.after_min = place.after_min.min(event.ts_event.0);
        }
        books.apply(&event);
        if event.kind != Kind::Gap {
            last.insert(event.symbol, event.ts_event);
        }
    }
    let mut after_min = i64::MAX;
    for place in places.iter_mut().rev() {
        after_min = after_min.min(place.after_min);
        place.after_min = after_min;
    }
    Ok(Shard {
        uuid,
        last_ts,
        symbols: symbols.into_values().collect(),
        places,
    })
}

/// What a symbol is called, by the event that says it.
fn named(event: &Event) -> Named {
    Named {
        number: event.symbol,
        name: String::from_utf8_lossy(&event.order.to_be_bytes())
            .trim_end()
            .to_string(),
        decimals: event.order_b.min(18) as u8,
    }
}

fn save(
    folder: &mut RealFolder,
    name: &str,
    head: &Head,
    books: &Books,
    last: &BTreeMap<u32, Ts>,
) -> Result<(), SeekError> {
    let symbols: Vec<u32> = books.symbols().collect();
    let saving = books.saving();
    let written = checkpoint::write(folder, name, head, |out| {
        books.save_shared(out);
        out.u32(symbols.len() as u32);
        for &symbol in &symbols {
            out.u32(symbol);
            let ts = last.get(&symbol).copied();
            out.i64(ts.unwrap_or(Ts::MIN).0);
            saving.save(symbol, out);
        }
    });
    written.map(drop).map_err(other)
}

fn load(from: &mut StateReader<'_>, wanted: Option<u32>, into: &mut At) -> Result<(), StateError> {
    into.books.load_shared(from, true)?;
    for _ in 0..from.u32()? {
        let (symbol, ts) = (from.u32()?, Ts(from.i64()?));
        let keep = wanted.is_none_or(|wanted| symbol == wanted);
        into.books.load(symbol, keep, from)?;
        if keep && ts != Ts::MIN {
            into.last.insert(symbol, ts);
        }
    }
    from.end()
}
