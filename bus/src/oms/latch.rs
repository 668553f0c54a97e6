//! What stops orders from outside: one page of memory that the engine and whoever stops it share.
//!
//! The page is a file, so a stop outlives every process and the machine; who stops writes to memory
//! and needs nothing of the engine, which may hang. All that is unclear counts as stopped: a file
//! that is missing, short, of another form, or half changed.
//!
//! ```text
//! word 0       what it is
//!      1       its version
//!      2       checksum of words 0 and 1 and of both tables
//!      3       the change that last asked for cancels
//!      8       the gate: its kind in the upper half, the number of the change in the lower
//!      64..    stopped symbols, a word each: their letters, or 0
//!      320..   stopped strategies, 8 words each: 1 or 0, then up to 56 letters
//! ```
//!
//! The gate is the one word that is looked at before each send. It has a cache line to itself, which
//! stays in the reader's cache as long as nobody writes.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::mem::{self, SharedWords};

const WORDS: usize = 512;
const MAGIC: u64 = u64::from_le_bytes(*b"TAPELTCH");
const VERSION: u64 = 1;

const CHECK_AT: usize = 2;
const CANCEL_AT: usize = 3;
const GATE_AT: usize = 8;
const SYMBOLS_AT: usize = 64;
const STRATEGIES_AT: usize = 320;
const STRATEGY_WORDS: usize = 8;
const END: usize = STRATEGIES_AT + STRATEGY_WORDS * Latch::STRATEGIES_MAX;

const OPEN: u32 = u32::from_le_bytes(*b"OPEN");
const PART: u32 = u32::from_le_bytes(*b"PART");
const SHUT: u32 = u32::from_le_bytes(*b"SHUT");

/// How long a change waits for another one to be over.
const LOCK_MAX: Duration = Duration::from_secs(2);

/// What the gate lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everything.
    Open,
    /// All but some symbols or strategies.
    Part,
    /// Nothing.
    Shut,
    /// Its word is none that is ever written: nothing.
    Damaged,
}

/// What is to be stopped, or let go again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// A symbol, by its letters.
    Symbol(String),
    /// A strategy, by its name.
    Strategy(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Symbol(name) => write!(f, "symbol {name}"),
            Scope::Strategy(name) => write!(f, "strategy {name}"),
        }
    }
}

/// A strategy's name as the page has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrategyName([u64; STRATEGY_WORDS - 1]);

impl StrategyName {
    /// The longest name.
    pub const BYTES_MAX: usize = 56;

    /// `None` where it is longer, or empty.
    pub fn new(name: &str) -> Option<StrategyName> {
        if name.is_empty() || name.len() > Self::BYTES_MAX || name.contains('\0') {
            return None;
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let (words, _) = bytes.as_chunks();
        let mut name = [0; STRATEGY_WORDS - 1];
        for (word, bytes) in name.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        Some(StrategyName(name))
    }

    pub(super) fn words(&self) -> [u64; STRATEGY_WORDS - 1] {
        self.0
    }

    fn text(&self) -> String {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What a page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is let through.
    pub gate: Gate,
    /// The number of the last change.
    pub change: u32,
    /// Whether the last stop asked for cancels.
    pub cancels: bool,
    /// Stopped one by one.
    pub symbols: Vec<String>,
    #[allow(missing_docs)]
    pub strategies: Vec<String>,
}

/// A page that cannot be used as it is, or a change that was not made.
#[derive(Debug)]
pub struct LatchError {
    /// Which file.
    pub path: PathBuf,
    /// What was found, and what was expected.
    pub what: String,
    /// Whether there is no such file.
    pub is_missing: bool,
}

impl fmt::Display for LatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for LatchError {}

/// The page, mapped.
#[derive(Debug)]
pub struct Latch {
    path: PathBuf,
    file: File,
    words: SharedWords,
    /// Device and number of the file that is mapped.
    identity: (u64, u64),
}

impl Latch {
    /// The file's size.
    pub const BYTES: usize = WORDS * size_of::<u64>();
    /// The longest name of a symbol, in letters: events have room for no longer one.
    pub const SYMBOL_BYTES_MAX: usize = 8;
    /// How many symbols, and how many strategies, can be stopped one by one.
    pub const SYMBOLS_MAX: usize = STRATEGIES_AT - SYMBOLS_AT;
    #[allow(missing_docs)]
    pub const STRATEGIES_MAX: usize = 16;

    /// What a file holds that stops nothing.
    pub fn fresh() -> Vec<u8> {
        let mut words = [0u64; WORDS];
        (words[0], words[1]) = (MAGIC, VERSION);
        words[GATE_AT] = gate_word(OPEN, 0);
        words[CHECK_AT] = checksum(|at| words[at]);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Maps a file that is whole.
    pub fn open(path: &Path) -> Result<Latch, LatchError> {
        let latch = Latch::map(path)?;
        match latch.damage() {
            None => Ok(latch),
            Some(what) => Err(latch.error(what)),
        }
    }

    /// Maps a file to stop with, or to make it whole again, whatever it holds. One that is short is
    /// made longer, and one that is missing is made: then nothing is let through.
    pub fn force(path: &Path) -> Result<Latch, LatchError> {
        let fail = |tried: &str, e: io::Error| LatchError {
            path: path.to_path_buf(),
            what: format!("{tried}: {e}"),
            is_missing: false,
        };
        let options = &mut File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(|e| fail("open", e))?;
        let found = file.metadata().map_err(|e| fail("look at", e))?.len();
        if found < Self::BYTES as u64 {
            // Written, not only made longer: a page without a place on the disk cannot be stored to.
            let rest = vec![0; Self::BYTES - found as usize];
            std::os::unix::fs::FileExt::write_all_at(&file, &rest, found)
                .and_then(|()| file.sync_all())
                .and_then(|()| sync_folder(path))
                .map_err(|e| fail("make", e))?;
        }
        drop(file);
        Latch::map(path)
    }

    fn map(path: &Path) -> Result<Latch, LatchError> {
        let fail = |e: io::Error| LatchError {
            path: path.to_path_buf(),
            is_missing: e.kind() == io::ErrorKind::NotFound,
            what: match e.kind() {
                io::ErrorKind::NotFound => "there is no such latch".to_string(),
                _ => e.to_string(),
            },
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        let about = file.metadata().map_err(fail)?;
        let words = mem::share_words(&file, WORDS).map_err(fail)?;
        Ok(Latch {
            path: path.to_path_buf(),
            file,
            words,
            identity: (about.dev(), about.ino()),
        })
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with what the file holds, if anything.
    pub fn damage(&self) -> Option<String> {
        let word = |at: usize| self.words[at].load(Ordering::Acquire);
        if word(0) != MAGIC {
            return Some("damaged: no latch by its first word".into());
        }
        if word(1) != VERSION {
            return Some(format!("version {}, want {VERSION}", word(1)));
        }
        let (found, want) = (word(CHECK_AT), checksum(word));
        if found != want {
            return Some(format!(
                "damaged or half changed: checksum {found:08x}, want {want:08x}"
            ));
        }
        match self.gate() {
            Gate::Damaged => Some(format!(
                "damaged: its gate is {:016x}, which is never written",
                word(GATE_AT)
            )),
            Gate::Open | Gate::Part | Gate::Shut => None,
        }
    }

    /// Whether everything is let through: the one look before each send.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        kind_of(self.words[GATE_AT].load(Ordering::Acquire)) == OPEN
    }

    /// What is let through.
    pub fn gate(&self) -> Gate {
        match kind_of(self.words[GATE_AT].load(Ordering::Acquire)) {
            OPEN => Gate::Open,
            PART => Gate::Part,
            SHUT => Gate::Shut,
            _ => Gate::Damaged,
        }
    }

    /// Whether an order of this symbol and this strategy is stopped.
    #[cold]
    pub fn stops(&self, symbol: &[u8; 8], strategy: Option<&StrategyName>) -> bool {
        match self.gate() {
            Gate::Open => false,
            Gate::Shut | Gate::Damaged => true,
            Gate::Part => {
                let symbol = u64::from_le_bytes(*symbol);
                let slots = &self.words[SYMBOLS_AT..STRATEGIES_AT];
                let has_symbol = slots
                    .iter()
                    .any(|slot| slot.load(Ordering::Acquire) == symbol);
                // A strategy without a name on this page is stopped with any other.
                has_symbol
                    || self
                        .stopped()
                        .any(|name| strategy.is_none_or(|mine| *mine == name))
            }
        }
    }

    /// The change that last asked for cancels; 0 for none.
    #[inline(always)]
    pub fn cancels(&self) -> u64 {
        self.words[CANCEL_AT].load(Ordering::Relaxed)
    }

    /// Whether its path still leads to the file that is mapped: what others write to another file is
    /// not seen here.
    pub fn is_in_place(&self) -> bool {
        let about = fs::metadata(&self.path);
        about.is_ok_and(|about| {
            (about.dev(), about.ino()) == self.identity && about.len() >= Self::BYTES as u64
        })
    }

    /// All that it says.
    pub fn standing(&self) -> Standing {
        let letters = |word: u64| {
            let bytes = word.to_le_bytes();
            String::from_utf8_lossy(&bytes).trim_end().to_string()
        };
        let slots = self.words[SYMBOLS_AT..STRATEGIES_AT].iter();
        let symbols = slots.map(|slot| slot.load(Ordering::Acquire));
        Standing {
            gate: self.gate(),
            change: self.words[GATE_AT].load(Ordering::Acquire) as u32,
            cancels: self.cancels() != 0,
            symbols: symbols.filter(|word| *word != 0).map(letters).collect(),
            strategies: self.stopped().map(|name| name.text()).collect(),
        }
    }

    /// Stops at once what is in `scope`; the number of the change, once it is on the disk. With
    /// `cancel` the engine is asked to cancel what it has open of all that is stopped.
    ///
    /// Everything is stopped with a single store and without waiting for anybody. On a page that is
    /// damaged nobody knows what else was stopped, so then everything is, whatever the scope.
    pub fn stop(&self, scope: &Scope, cancel: bool) -> Result<u32, LatchError> {
        let change = if *scope == Scope::All || self.damage().is_some() {
            self.turn_to(|_| SHUT)
        } else {
            let _lock = self.lock()?;
            self.enter(scope)?;
            self.seal();
            self.turn_to(|kind| match kind {
                OPEN | PART => PART,
                _ => SHUT,
            })
        };
        if cancel {
            self.words[CANCEL_AT].store(u64::from(change), Ordering::Release);
        }
        self.sync()?;
        Ok(change)
    }

    /// Lets go again what is in `scope`; everything makes a damaged page whole. Refused if something
    /// was stopped since `seen`, the number of the change that the person knew of.
    pub fn let_go(&self, scope: &Scope, seen: u32) -> Result<u32, LatchError> {
        let _lock = self.lock()?;
        let gate = self.words[GATE_AT].load(Ordering::Acquire);
        if gate as u32 != seen {
            return Err(self.error("stopped again meanwhile, and nothing was let go"));
        }
        match scope {
            Scope::All => {
                (self.words[0].store(MAGIC, Ordering::Release));
                (self.words[1].store(VERSION, Ordering::Release));
                for word in &self.words[SYMBOLS_AT..END] {
                    word.store(0, Ordering::Release);
                }
            }
            Scope::Symbol(_) | Scope::Strategy(_) => {
                if let Some(what) = self.damage() {
                    return Err(self.error(format!("{what}; only all of it can be let go")));
                }
                self.leave(scope)?;
            }
        }
        self.seal();
        let has_entry = self.words[SYMBOLS_AT..END]
            .iter()
            .any(|word| word.load(Ordering::Acquire) != 0);
        let kind = match (scope, kind_of(gate)) {
            (Scope::All, _) => OPEN,
            // All was stopped, and stays so.
            (_, SHUT) => SHUT,
            (_, _) if has_entry => PART,
            (_, _) => OPEN,
        };
        if kind == OPEN {
            self.words[CANCEL_AT].store(0, Ordering::Release);
        }
        // What is stopped from here on must not be let go by this: the exchange fails then.
        self.sync()?;
        let change = seen.wrapping_add(1);
        let next = gate_word(kind, change);
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        if self.words[GATE_AT]
            .compare_exchange(gate, next, success, failure)
            .is_err()
        {
            return Err(self.error("stopped again meanwhile, and nothing was let go"));
        }
        self.sync()?;
        Ok(change)
    }

    fn turn_to(&self, kind: impl Fn(u32) -> u32) -> u32 {
        let next = |word: u64| {
            let change = (word as u32).wrapping_add(1);
            gate_word(kind(kind_of(word)), change)
        };
        let gate = &self.words[GATE_AT];
        let before = gate.update(Ordering::AcqRel, Ordering::Acquire, next);
        next(before) as u32
    }

    fn enter(&self, scope: &Scope) -> Result<(), LatchError> {
        match scope {
            Scope::All => Ok(()),
            Scope::Symbol(name) => {
                let word = self.symbol_word(name)?;
                let slots = &self.words[SYMBOLS_AT..STRATEGIES_AT];
                let holds = |want: u64| {
                    let mut slots = slots.iter();
                    slots.find(|slot| slot.load(Ordering::Acquire) == want)
                };
                if holds(word).is_some() {
                    return Ok(());
                }
                let Some(free) = holds(0) else {
                    return Err(self.error(format!(
                        "{} symbols are stopped already, and there is room for no more; stop all",
                        Self::SYMBOLS_MAX
                    )));
                };
                free.store(word, Ordering::Release);
                Ok(())
            }
            Scope::Strategy(name) => {
                let name = self.strategy_name(name)?;
                if self.stopped().any(|stopped| stopped == name) {
                    return Ok(());
                }
                let mut slots = self.strategies();
                let Some(free) = slots.find(|slot| slot[0].load(Ordering::Acquire) == 0) else {
                    return Err(self.error(format!(
                        "{} strategies are stopped already, and there is room for no more; stop all",
                        Self::STRATEGIES_MAX
                    )));
                };
                for (slot, word) in free[1..].iter().zip(name.0) {
                    slot.store(word, Ordering::Release);
                }
                free[0].store(1, Ordering::Release);
                Ok(())
            }
        }
    }

    fn leave(&self, scope: &Scope) -> Result<(), LatchError> {
        let found: Option<&[AtomicU64]> = match scope {
            Scope::All => None,
            Scope::Symbol(name) => {
                let word = self.symbol_word(name)?;
                let mut slots = self.words[SYMBOLS_AT..STRATEGIES_AT].chunks(1);
                slots.find(|slot| slot[0].load(Ordering::Acquire) == word)
            }
            Scope::Strategy(name) => {
                let name = self.strategy_name(name)?;
                self.strategies()
                    .find(|slot| name_in(slot).is_some_and(|stopped| stopped == name))
            }
        };
        let Some(slot) = found else {
            return Err(self.error(format!("{scope} is not stopped by itself")));
        };
        for word in slot {
            word.store(0, Ordering::Release);
        }
        Ok(())
    }

    fn symbol_word(&self, name: &str) -> Result<u64, LatchError> {
        let mut letters = [b' '; Self::SYMBOL_BYTES_MAX];
        match name.len() {
            1..=Self::SYMBOL_BYTES_MAX => letters[..name.len()].copy_from_slice(name.as_bytes()),
            _ => {
                return Err(self.error(format!("symbol `{name}`, want one to eight letters")));
            }
        }
        Ok(u64::from_le_bytes(letters))
    }

    fn strategy_name(&self, name: &str) -> Result<StrategyName, LatchError> {
        let max = StrategyName::BYTES_MAX;
        StrategyName::new(name)
            .ok_or_else(|| self.error(format!("strategy `{name}`, want 1 to {max} letters")))
    }

    fn strategies(&self) -> impl Iterator<Item = &[AtomicU64]> {
        self.words[STRATEGIES_AT..END].chunks_exact(STRATEGY_WORDS)
    }

    fn stopped(&self) -> impl Iterator<Item = StrategyName> {
        self.strategies().filter_map(name_in)
    }

    fn seal(&self) {
        let sum = checksum(|at| self.words[at].load(Ordering::Acquire));
        self.words[CHECK_AT].store(sum, Ordering::Release);
    }

    fn sync(&self) -> Result<(), LatchError> {
        self.words
            .flush()
            .and_then(|()| self.file.sync_all())
            .map_err(|e| self.error(format!("sync: {e}")))
    }

    /// Held until the file that it gives back is dropped.
    fn lock(&self) -> Result<File, LatchError> {
        let deadline = Instant::now() + LOCK_MAX;
        let open = File::options().read(true).write(true).open(&self.path);
        let file = open.map_err(|e| self.error(format!("lock: {e}")))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(self.error(format!(
                        "another process has been changing it for {LOCK_MAX:?}, and nothing was \
                         changed; all of it can be stopped all the same"
                    )));
                }
                Err(fs::TryLockError::Error(e)) => return Err(self.error(format!("lock: {e}"))),
            }
        }
    }

    fn error(&self, what: impl Into<String>) -> LatchError {
        LatchError {
            path: self.path.clone(),
            what: what.into(),
            is_missing: false,
        }
    }
}

fn gate_word(kind: u32, change: u32) -> u64 {
    u64::from(kind) << 32 | u64::from(change)
}

#[inline(always)]
fn kind_of(gate: u64) -> u32 {
    (gate >> 32) as u32
}

fn name_in(slot: &[AtomicU64]) -> Option<StrategyName> {
    if slot[0].load(Ordering::Acquire) == 0 {
        return None;
    }
    let mut name = [0; STRATEGY_WORDS - 1];
    for (word, slot) in name.iter_mut().zip(&slot[1..]) {
        *word = slot.load(Ordering::Acquire);
    }
    Some(StrategyName(name))
}

/// Over what it is and both tables. Not over the gate, whose few words tell themselves apart from
/// any other, and which is written without waiting for anybody.
fn checksum(word: impl Fn(usize) -> u64) -> u64 {
    let covered = [0, 1].into_iter().chain(SYMBOLS_AT..END);
    let sum = covered.fold(0, |sum, at| {
        crc32c::crc32c_append(sum, &word(at).to_ne_bytes())
    });
    u64::from(sum)
}

/// A new file's name lasts only when its folder is synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a test's own, gone at its end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let name = format!("tapeline-latch-{name}-{}", std::process::id());
            let memory = Path::new("/dev/shm");
            let folder = match memory.is_dir() {
                true => memory.to_path_buf(),
                false => std::env::temp_dir(),
            };
            let place = Place(folder.join(name));
            fs::write(&place.0, Latch::fresh()).unwrap();
            place
        }

        /// As an engine that starts now would see it: what it stops, or why all is stopped.
        fn seen(&self) -> Result<Latch, String> {
            Latch::open(&self.0).map_err(|e| e.what)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    const AAPL: &[u8; 8] = b"AAPL    ";
    const MSFT: &[u8; 8] = b"MSFT    ";

    fn strategy(name: &str) -> StrategyName {
        StrategyName::new(name).unwrap()
    }

    #[test]
    fn a_stop_is_seen_by_who_has_the_page_and_by_who_comes_later_until_it_is_let_go() {
        let place = Place::new("all");
        let (engine, person) = (place.seen().unwrap(), place.seen().unwrap());
        assert!(engine.is_open() && !engine.stops(AAPL, None));
        assert_eq!(person.stop(&Scope::All, true).unwrap(), 1);
        assert!(!engine.is_open() && engine.stops(AAPL, Some(&strategy("a"))));
        assert_eq!(engine.cancels(), 1);
        let later = place.seen().unwrap();
        assert_eq!(later.gate(), Gate::Shut);
        assert_eq!(person.let_go(&Scope::All, 1).unwrap(), 2);
        assert!(engine.is_open() && later.is_open());
        assert_eq!(engine.cancels(), 0);
    }

    #[test]
    fn symbols_and_strategies_are_stopped_by_themselves() {
        let place = Place::new("part");
        let (engine, person) = (place.seen().unwrap(), place.seen().unwrap());
        person.stop(&Scope::Symbol("AAPL".into()), false).unwrap();
        person.stop(&Scope::Symbol("AAPL".into()), false).unwrap();
        assert_eq!((engine.gate(), engine.cancels()), (Gate::Part, 0));
        let (a, b) = (strategy("a"), strategy("b"));
        assert!(engine.stops(AAPL, Some(&a)) && !engine.stops(MSFT, Some(&a)));
        person.stop(&Scope::Strategy("a".into()), false).unwrap();
        assert!(engine.stops(MSFT, Some(&a)) && !engine.stops(MSFT, Some(&b)));
        assert!(engine.stops(MSFT, None), "whose name nobody knows");
        let standing = place.seen().unwrap().standing();
        assert_eq!(standing.symbols, ["AAPL"]);
        assert_eq!(standing.strategies, ["a"]);
        // All on top, and taken away in another order: what is stopped by itself stays so.
        person.stop(&Scope::All, false).unwrap();
        let error = person.let_go(&Scope::Symbol("MSFT".into()), 4).unwrap_err();
        assert_eq!(error.what, "symbol MSFT is not stopped by itself");
        person.let_go(&Scope::Symbol("AAPL".into()), 4).unwrap();
        assert_eq!(engine.gate(), Gate::Shut);
        person.let_go(&Scope::All, 5).unwrap();
        person.stop(&Scope::Symbol("MSFT".into()), false).unwrap();
        person.let_go(&Scope::Symbol("MSFT".into()), 7).unwrap();
        assert!(engine.is_open() && place.seen().is_ok());
    }

    #[test]
    fn a_full_table_refuses_and_says_what_to_do() {
        let place = Place::new("full");
        let page = place.seen().unwrap();
        for number in 0..Latch::SYMBOLS_MAX {
            page.enter(&Scope::Symbol(format!("S{number}"))).unwrap();
        }
        let error = page.enter(&Scope::Symbol("MORE".into())).unwrap_err();
        assert!(error.what.contains("no more; stop all"), "{error}");
        for number in 0..Latch::STRATEGIES_MAX {
            page.enter(&Scope::Strategy(format!("s{number}"))).unwrap();
        }
        assert!(page.enter(&Scope::Strategy("more".into())).is_err());
        for bad in ["", "NINELONGS"] {
            assert!(page.enter(&Scope::Symbol(bad.into())).is_err());
        }
        assert!(page.enter(&Scope::Strategy("x".repeat(57))).is_err());
    }

    #[test]
    fn a_stop_that_comes_while_another_is_let_go_stands() {
        let place = Place::new("race");
        let (one, other) = (place.seen().unwrap(), place.seen().unwrap());
        let seen = one.stop(&Scope::All, false).unwrap();
        other.stop(&Scope::All, false).unwrap();
        let error = one.let_go(&Scope::All, seen).unwrap_err();
        assert!(error.what.contains("stopped again meanwhile"), "{error}");
        assert_eq!(place.seen().unwrap().gate(), Gate::Shut);
    }

    #[test]
    fn a_latch_that_is_cut_short_under_an_engine_stops_it() {
        let place = Place::new("cut");
        let engine = place.seen().unwrap();
        assert!(engine.is_open());
        let file = fs::File::options().write(true).open(&place.0).unwrap();
        file.set_len(0).unwrap();
        assert!(!engine.is_open() && engine.stops(AAPL, None));
        assert_eq!(engine.gate(), Gate::Damaged);
    }

    #[test]
    fn what_is_damaged_missing_or_half_changed_lets_nothing_through() {
        let fresh = Latch::fresh();
        // Every byte that counts, one after the other.
        let counts = (0..24).chain(64..72).chain(SYMBOLS_AT * 8..END * 8);
        let place = Place::new("damage");
        for at in counts {
            let mut bytes = fresh.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&place.0, &bytes).unwrap();
            // The number of the change is any.
            let is_change = (64..68).contains(&at);
            assert_eq!(place.seen().is_ok(), is_change, "byte {at}");
        }
        for bytes in [0, 1, Latch::BYTES - 1] {
            fs::write(&place.0, &fresh[..bytes]).unwrap();
            let want = format!("{bytes} bytes, want {}", Latch::BYTES);
            assert_eq!(place.seen().unwrap_err(), want);
        }
        fs::remove_file(&place.0).unwrap();
        assert_eq!(place.seen().unwrap_err(), "there is no such latch");
    }

    #[test]
    fn whatever_there_is_can_be_stopped_with_and_made_whole() {
        let place = Place::new("force");
        for bytes in [&b""[..], b"nonsense", &[0xff; Latch::BYTES]] {
            fs::write(&place.0, bytes).unwrap();
            let engine = Latch::map(&place.0).ok();
            let page = Latch::force(&place.0).unwrap();
            assert!(page.stops(AAPL, None), "before anything was said");
            // Nobody knows what else it stopped.
            let change = page.stop(&Scope::Symbol("AAPL".into()), false).unwrap();
            assert_eq!(page.gate(), Gate::Shut);
            if let Some(engine) = engine {
                assert_eq!(engine.gate(), Gate::Shut, "the same file, in place");
            }
            assert!(page.let_go(&Scope::Symbol("AAPL".into()), change).is_err());
            page.let_go(&Scope::All, change).unwrap();
            assert!(place.seen().unwrap().is_open());
        }
        fs::remove_file(&place.0).unwrap();
        let page = Latch::force(&place.0).unwrap();
        assert!(!page.is_open() && place.seen().is_err());
    }

    #[test]
    fn a_file_that_was_put_in_its_place_is_noticed() {
        let place = Place::new("place");
        let page = place.seen().unwrap();
        assert!(page.is_in_place());
        let beside = place.0.with_extension("new");
        fs::write(&beside, Latch::fresh()).unwrap();
        fs::rename(&beside, &place.0).unwrap();
        assert!(!page.is_in_place());
        fs::remove_file(&place.0).unwrap();
        assert!(!page.is_in_place());
    }

    /// A change is a row of stores; who makes it can be killed between any two. What a later start
    /// finds then is as before, or stops more, never less.
    #[test]
    fn a_change_that_is_cut_off_never_stops_less_than_before() {
        let place = Place::new("cut");
        let page = place.seen().unwrap();
        page.stop(&Scope::Symbol("MSFT".into()), false).unwrap();
        let before = fs::read(&place.0).unwrap();
        // Its store to the table, without the checksum and the gate that come behind.
        page.enter(&Scope::Symbol("AAPL".into())).unwrap();
        assert!(place.seen().is_err());
        page.seal();
        assert!(place.seen().unwrap().stops(AAPL, None));
        // The same while it is let go.
        fs::write(&place.0, &before).unwrap();
        page.leave(&Scope::Symbol("MSFT".into())).unwrap();
        assert!(place.seen().is_err());
        page.seal();
        assert!(!place.seen().unwrap().is_open(), "the gate comes last");
    }
}
