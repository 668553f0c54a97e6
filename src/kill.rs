//! Whether orders may leave: what a person says through a latch, and what this process found out by
//! itself; and the record of who stopped what, and who let it go.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bus::oms::latch::{Gate, Latch, Scope, StrategyName};
use bus::oms::limits::{Key, Of};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Strategy};
use crate::guard::Guard;
use crate::run_dir::RunDir;
use crate::throttle::Throttle;

/// Why this process lets nothing leave, whatever the latch says. One bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Why {
    /// The kill file is there.
    File = 1,
    /// From a log something else is concluded than the shard concluded.
    Diverged = 2,
    /// The latch is missing or damaged, or another file is in its place.
    Latch = 4,
    /// The same of the limits of orders together.
    Limits = 8,
}

/// What stops orders, looked at before each send.
#[derive(Debug, Default)]
pub struct Kill {
    here: AtomicU32,
    latch: Option<Latch>,
    /// By the number that orders have of them.
    strategies: Vec<Option<StrategyName>>,
    /// What limits them together, where anything does.
    guard: Option<Guard>,
    /// How fast a shard's may leave, where that is said.
    throttle: Option<Throttle>,
    /// The strategies whose orders leave in pairs, a bit for each number that orders have of them.
    paired: u32,
}

impl Kill {
    /// With the latch at `path`, and what to tell people if it cannot be used: nothing leaves then.
    pub fn open(path: &Path, config: &Config) -> (Kill, Option<String>) {
        let strategies = strategies(config);
        let names = strategies.iter().map(|name| StrategyName::new(name));
        let mut kill = Kill {
            strategies: names.collect(),
            throttle: config.risk.throttle.as_ref().map(|said| said.setting()),
            paired: paired(config),
            ..Kill::default()
        };
        match Latch::open(path) {
            Ok(latch) => {
                kill.latch = Some(latch);
                let said = kill.said();
                (kill, said)
            }
            Err(error) => {
                kill.set(Why::Latch);
                let said = format!(
                    "{error}: no order leaves; `tapeline unkill` makes it whole, then the run goes \
                     on with --resume"
                );
                (kill, Some(said))
            }
        }
    }

    /// With limits of orders together, in the file at `path`; what to tell people if they cannot be
    /// used: nothing leaves then. `is_told`: what becomes of orders is heard, so that the other side's
    /// word counts and not the log's.
    pub fn guarded(&mut self, path: &Path, config: &Config, is_told: bool) -> Option<String> {
        let (shards, strategies) = (config.run.shards, strategies(config));
        match Guard::open(path, shards, &strategies, is_told) {
            Ok(guard) => {
                let damage = guard.page().damage();
                // They may have been set while the run had one shard.
                let is_set = |(key, _): &(Key, i64)| key.of == Of::Session;
                let mistaken = config
                    .no_sessions()
                    .filter(|_| guard.page().all().iter().any(is_set));
                let path = guard.page().path().display().to_string();
                self.guard = Some(guard);
                if let Some(why) = mistaken {
                    self.set(Why::Limits);
                    return Some(format!(
                        "{path}: session: {why}: no order leaves; `tapeline limits RUN --set \
                         session.LIMIT=none` takes such a limit away, then the run goes on with --resume"
                    ));
                }
                let damage = damage?;
                self.set(Why::Limits);
                Some(format!("{damage}: no order leaves"))
            }
            Err(error) => {
                self.set(Why::Limits);
                Some(format!("{error}: no order leaves"))
            }
        }
    }

    /// How fast a shard's orders may leave, where that is said.
    pub fn throttle(&self) -> Option<Throttle> {
        self.throttle
    }

    /// The strategies whose orders leave in pairs, or not at all: a bit for each.
    #[inline]
    pub fn paired(&self) -> u32 {
        self.paired
    }

    /// What limits orders together.
    #[inline]
    pub fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    fn said(&self) -> Option<String> {
        let latch = self.latch.as_ref()?;
        let path = latch.path().display();
        match latch.gate() {
            Gate::Open => None,
            Gate::Part => Some(format!("{path}: orders of {} are stopped", listed(latch))),
            Gate::Shut | Gate::Damaged => Some(format!(
                "{path}: all orders are stopped, until `tapeline unkill`"
            )),
        }
    }

    /// Nothing leaves from now on, for this reason too.
    pub fn set(&self, why: Why) {
        self.here.fetch_or(why as u32, Ordering::AcqRel);
    }

    /// This reason is gone.
    pub fn clear(&self, why: Why) {
        self.here.fetch_and(!(why as u32), Ordering::AcqRel);
    }

    /// Notes whether the kill file is there, and whether the latch is where it was; what to tell
    /// people, once.
    pub fn look(&self, kill_file: Option<&Path>) -> Option<String> {
        match kill_file {
            Some(path) if path.exists() => self.set(Why::File),
            _ => self.clear(Why::File),
        }
        let is_set = |why: Why| self.here.load(Ordering::Acquire) & why as u32 != 0;
        if let Some(guard) = &self.guard
            && !is_set(Why::Limits)
            && !guard.page().is_in_place()
        {
            self.set(Why::Limits);
            return Some(format!(
                "{}: the limits were taken away or replaced: no order leaves",
                guard.page().path().display()
            ));
        }
        let latch = self.latch.as_ref()?;
        let was = is_set(Why::Latch);
        if was || latch.is_in_place() {
            return None;
        }
        self.set(Why::Latch);
        Some(format!(
            "{}: the latch was taken away or replaced: no order leaves; `tapeline unkill` makes one, \
             then the run goes on with --resume",
            latch.path().display()
        ))
    }

    /// Whether everything may leave.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.here.load(Ordering::Acquire) == 0 && self.latch.as_ref().is_none_or(Latch::is_open)
    }

    /// Whether this process lets nothing leave by itself.
    pub fn is_shut_here(&self) -> bool {
        self.here.load(Ordering::Acquire) != 0
    }

    /// Whether an order of this symbol and this strategy may not leave.
    #[cold]
    pub fn stops(&self, symbol: &[u8; 8], rule: u8) -> bool {
        let strategy = self.strategies.get(usize::from(rule));
        let strategy = strategy.and_then(Option::as_ref);
        let latch = self.latch.as_ref();
        self.is_shut_here() || latch.is_some_and(|latch| latch.stops(symbol, strategy))
    }

    /// The change of the latch that last asked for cancels; 0 for none.
    #[inline]
    pub fn cancels(&self) -> u64 {
        self.latch.as_ref().map_or(0, Latch::cancels)
    }
}

fn listed(latch: &Latch) -> String {
    let standing = latch.standing();
    let mut names = standing.symbols;
    names.extend(standing.strategies);
    names.join(", ")
}

fn paired(config: &Config) -> u32 {
    let first = 1 + config.rules.0.len();
    let strategies = config.strategies.0.values().enumerate();
    let pairs = strategies.filter(|(_, strategy)| matches!(strategy, Strategy::Pairs { .. }));
    pairs.fold(0, |paired, (index, _)| paired | 1 << (first + index))
}

/// The names of strategies, by the number that orders have of them.
pub fn strategies(config: &Config) -> Vec<String> {
    let rules = config.rules.0.keys().cloned();
    std::iter::once("momentum".to_string())
        .chain(rules)
        .chain(config.strategies.0.keys().cloned())
        .collect()
}

/// Where a run's latch is.
pub fn path_of(config: &Config, dir: &RunDir) -> PathBuf {
    let own = || dir.latch_path();
    config.risk.latch.clone().unwrap_or_else(own)
}

/// One change, as the record has it: a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, RFC 3339.
    pub at: String,
    /// `kill` or `unkill`.
    pub did: String,
    /// `all`, `symbol AAPL`, `strategy momentum`.
    pub scope: String,
    /// Whether cancels were asked for.
    pub cancel: bool,
    /// The user's number, and name where the system has one.
    pub uid: u32,
    #[allow(missing_docs)]
    pub user: Option<String>,
    /// The process.
    pub pid: u32,
    /// What the person said.
    pub reason: String,
    /// The number of the change.
    pub change: u32,
}

impl Change {
    /// One that is made now, by whoever runs this process.
    pub fn now(did: &str, scope: &Scope, cancel: bool, reason: &str, change: u32) -> Change {
        let uid = own_uid();
        Change {
            at: jiff::Timestamp::now().to_string(),
            did: did.into(),
            scope: scope.to_string(),
            cancel,
            uid,
            user: name_of(uid),
            pid: std::process::id(),
            reason: reason.into(),
            change,
        }
    }

    /// Adds it to the record beside a latch, durably.
    pub fn record(&self, latch: &Path) -> Result<(), String> {
        record(latch, self)
    }

    /// The last one in the record; `None` where there is none, or it is not whole.
    pub fn last(latch: &Path) -> Option<Change> {
        let text = fs::read_to_string(record_path(latch)).ok()?;
        serde_json::from_str(text.lines().last()?).ok()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change {
            at,
            did,
            scope,
            uid,
            reason,
            ..
        } = self;
        let user = self.user.as_deref().unwrap_or("no name");
        write!(f, "{at}: {did} {scope} by {user} ({uid}): {reason}")
    }
}

/// Adds a line of JSON to the record beside a file, durably.
fn record(beside: &Path, said: &impl Serialize) -> Result<(), String> {
    let path = record_path(beside);
    let text = serde_json::to_string(said).expect("always JSON");
    let append = || -> io::Result<()> {
        let is_new = !path.exists();
        let mut file = File::options().append(true).create(true).open(&path)?;
        // One write: two processes' lines do not mix.
        file.write_all(format!("{text}\n").as_bytes())?;
        file.sync_all()?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        match is_new {
            true => File::open(folder.unwrap_or(Path::new(".")))?.sync_all(),
            false => Ok(()),
        }
    };
    append().map_err(|e| format!("{}: {e}", path.display()))
}

/// A limit that was changed, as the record has it: a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitChange {
    /// When, RFC 3339.
    pub at: String,
    /// `limit`; `limit failed` where what the line before says was not done; `limits remade` where the
    /// settings and the lines before were put together anew.
    pub did: String,
    /// Which: `firm.gross_max`.
    pub key: String,
    /// What it was, and is; none where there was, or is, no limit.
    pub old: Option<i64>,
    #[allow(missing_docs)]
    pub new: Option<i64>,
    /// The user's number, and name where the system has one.
    pub uid: u32,
    #[allow(missing_docs)]
    pub user: Option<String>,
    /// The process.
    pub pid: u32,
    /// What the person said.
    pub reason: String,
}

impl LimitChange {
    /// One that is made now, by whoever runs this process.
    pub fn now(key: &str, old: Option<i64>, new: Option<i64>, reason: &str) -> LimitChange {
        let uid = own_uid();
        LimitChange {
            at: jiff::Timestamp::now().to_string(),
            did: "limit".into(),
            key: key.into(),
            old,
            new,
            uid,
            user: name_of(uid),
            pid: std::process::id(),
            reason: reason.into(),
        }
    }

    /// Adds it to the record beside the limits, durably.
    pub fn record(&self, limits: &Path) -> Result<(), String> {
        record(limits, self)
    }

    /// All that hold, of the record beside the limits, in their order: what failed is not among them.
    pub fn all(limits: &Path) -> Result<Vec<(Key, Option<u64>)>, String> {
        let path = record_path(limits);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let mut changes: Vec<LimitChange> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let bad =
                |what: &dyn fmt::Display| format!("{}, line {number}: {what}", path.display());
            let said: LimitChange = serde_json::from_str(line).map_err(|error| bad(&error))?;
            match &said.did[..] {
                "limit" => changes.push(said),
                // What the line before it says was not done.
                "limit failed" => drop(changes.pop_if(|last| last.key == said.key)),
                "limits remade" => {}
                other => return Err(bad(&format!("want a limit's change, found `{other}`"))),
            }
        }
        let keyed = changes.into_iter().map(|said| {
            let key = Key::parse(&said.key)?;
            Ok((key, said.new.map(i64::cast_unsigned)))
        });
        keyed.collect()
    }
}

fn own_uid() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |about| about.uid())
}

/// The record beside a latch.
pub fn record_path(latch: &Path) -> PathBuf {
    let mut name = latch.as_os_str().to_owned();
    name.push(".audit");
    PathBuf::from(name)
}

fn name_of(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut users = users.lines().map(|line| line.split(':'));
    users.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_string())
    })
}

#[cfg(test)]
mod tests {
    use bus::oms::limits::Page;

    use super::*;

    #[test]
    fn limits_of_sessions_that_groups_would_falsify_let_nothing_leave() {
        let path = std::env::temp_dir().join(format!("tapeline-kill-{}", std::process::id()));
        fs::write(&path, Page::fresh()).unwrap();
        let key = Key::parse("session.open_orders_max").unwrap();
        Page::open(&path).unwrap().set(&key, Some(3)).unwrap();
        let said = |shards: usize, groups: &str| {
            let text = format!("{groups}[run]\nshards = {shards}\n");
            let config = Config::parse(&text, Path::new("t.toml")).unwrap();
            let mut kill = Kill::default();
            let said = kill.guarded(&path, &config, false);
            assert_eq!(said.is_none(), kill.is_open());
            said
        };
        let groups = "[groups.g]\nsymbols = [\"A\", \"B\"]\n";
        assert_eq!(said(1, groups), None);
        assert_eq!(said(2, ""), None);
        let said = said(2, groups).unwrap();
        assert!(
            said.contains("session: a session's limits count symbols"),
            "{said}"
        );
        assert!(said.contains("--set session.LIMIT=none"), "{said}");
        fs::remove_file(&path).unwrap();
    }
}
