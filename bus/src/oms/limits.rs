//! Limits that hold now: a file which the run has mapped, so that a person changes them while it runs,
//! and they last over its end.
//!
//! ```text
//! word 0, 1    what it is, and its version
//!      8..     slots of 24 words: what it is and a checksum of its name, the name in 7 words, and
//!              16 limits
//! slot 0       the firm; 1 each session; 2 to 18 strategies; then symbols, in the order of their coming
//! ```
//!
//! A limit is one word: its value in the lower 48 bits, and in the upper 16 a checksum over value and
//! place. So there is no half of a change, and a word that is damaged is known to be: it lets nothing
//! through. A slot counts once its first word is there, which is written last.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::mem::{self, SharedWords};
use crate::oms::latch::StrategyName;
use crate::signal::Whose;

const MAGIC: u64 = u64::from_le_bytes(*b"TAPELIMS");
const VERSION: u64 = 1;
const SLOTS_AT: usize = 8;
const SLOT_WORDS: usize = 24;
const NAME_AT: usize = 1;
const LIMITS_AT: usize = 8;
const STRATEGIES_MAX: usize = 17;
const SYMBOLS_MAX: usize = 256;
const SLOTS: usize = 2 + STRATEGIES_MAX + SYMBOLS_MAX;
const WORDS: usize = SLOTS_AT + SLOTS * SLOT_WORDS;

/// The most orders, or messages, in a second that a limit may say.
pub const RATE_MAX: usize = 10_000;

/// The value that says that there is no limit.
const NONE: u64 = (1 << 48) - 1;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Limit {
    /// Quantity of one order; units of quantity.
    QtyMax,
    /// Price times quantity of one order; whole units of currency.
    NotionalMax,
    /// A symbol's position, with all of one side that is open, to either side; units of quantity.
    PositionMax,
    /// Position and open orders of each symbol at their worst, added up; whole units of currency.
    GrossMax,
    /// The same with long and short against each other; whole units of currency.
    NetMax,
    /// Orders that are open.
    OpenOrdersMax,
    /// Orders in any second of the machine's time.
    OrdersPerSecond,
    /// Orders and cancels in any second of the machine's time.
    MessagesPerSecond,
    /// What is lost by fills and by the live book; whole units of currency.
    LossMax,
}

impl Limit {
    /// Every one, in the order of the page.
    pub const ALL: [Limit; 9] = [
        Limit::QtyMax,
        Limit::NotionalMax,
        Limit::PositionMax,
        Limit::GrossMax,
        Limit::NetMax,
        Limit::OpenOrdersMax,
        Limit::OrdersPerSecond,
        Limit::MessagesPerSecond,
        Limit::LossMax,
    ];

    /// Its key in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Limit::QtyMax => "qty_max",
            Limit::NotionalMax => "notional_max",
            Limit::PositionMax => "position_max",
            Limit::GrossMax => "gross_max",
            Limit::NetMax => "net_max",
            Limit::OpenOrdersMax => "open_orders_max",
            Limit::OrdersPerSecond => "orders_per_second",
            Limit::MessagesPerSecond => "messages_per_second",
            Limit::LossMax => "loss_max",
        }
    }

    /// The largest value that it may have.
    pub const fn largest(self) -> u64 {
        match self {
            Limit::OrdersPerSecond | Limit::MessagesPerSecond => RATE_MAX as u64,
            _ => NONE - 1,
        }
    }

    /// Whether there is such a limit of these orders together. A position is one symbol's.
    pub const fn is_of(self, whose: Whose) -> bool {
        !matches!(
            (self, whose),
            (Limit::PositionMax, Whose::Session | Whose::Firm)
                | (
                    Limit::OrdersPerSecond | Limit::MessagesPerSecond,
                    Whose::Symbol
                )
                | (Limit::MessagesPerSecond, Whose::Strategy)
        )
    }
}

/// Whose limits: which orders count together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// All of the run.
    Firm,
    /// Those of each session.
    Session,
    /// Those of a strategy.
    Strategy(String),
    /// Those of a symbol.
    Symbol(String),
}

impl Of {
    /// What kind of orders these are.
    pub const fn whose(&self) -> Whose {
        match self {
            Of::Firm => Whose::Firm,
            Of::Session => Whose::Session,
            Of::Strategy(_) => Whose::Strategy,
            Of::Symbol(_) => Whose::Symbol,
        }
    }

    fn name(&self) -> &str {
        match self {
            Of::Firm => "firm",
            Of::Session => "session",
            Of::Strategy(name) | Of::Symbol(name) => name,
        }
    }
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Of::Firm | Of::Session => f.write_str(self.name()),
            Of::Strategy(name) => write!(f, "strategy.{name}"),
            Of::Symbol(name) => write!(f, "symbol.{name}"),
        }
    }
}

/// A limit by its key: `firm.gross_max`, `strategy.momentum.open_orders_max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whose.
    pub of: Of,
    /// Which.
    pub limit: Limit,
}

impl Key {
    /// Reads one; or what was expected.
    pub fn parse(text: &str) -> Result<Key, String> {
        let bad = || {
            let names = Limit::ALL.map(Limit::name).join(", ");
            format!(
                "`{text}` is no limit: want firm.LIMIT, session.LIMIT, strategy.NAME.LIMIT or \
                 symbol.NAME.LIMIT, with one of {names}"
            )
        };
        let (of, limit) = text.rsplit_once('.').ok_or_else(bad)?;
        let limit = Limit::ALL.into_iter().find(|one| one.name() == limit);
        let limit = limit.ok_or_else(bad)?;
        let of = match of.split_once('.') {
            None if of == "firm" => Of::Firm,
            None if of == "session" => Of::Session,
            Some(("strategy", name)) => Of::Strategy(name.into()),
            Some(("symbol", name)) if (1..=8).contains(&name.len()) => Of::Symbol(name.into()),
            _ => return Err(bad()),
        };
        match limit.is_of(of.whose()) {
            true => Ok(Key { of, limit }),
            false => Err(format!(
                "`{text}`: there is no {} of a {}",
                limit.name(),
                of.whose().name()
            )),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.of, self.limit.name())
    }
}

/// A page that cannot be used, or a change that was not made.
#[derive(Debug)]
pub struct PageError {
    /// Which file, and what was found and expected.
    pub what: String,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for PageError {}

/// The page, mapped.
#[derive(Debug)]
pub struct Page {
    path: PathBuf,
    file: File,
    words: SharedWords,
    identity: (u64, u64),
}

impl Page {
    /// What a file holds that limits nothing.
    pub fn fresh() -> Vec<u8> {
        let mut words = vec![0; WORDS];
        (words[0], words[1]) = (MAGIC, VERSION);
        for (slot, name) in [(0, "firm"), (1, "session")] {
            let at = SLOTS_AT + slot * SLOT_WORDS;
            let name = StrategyName::new(name).expect("short");
            words[at] = head(slot, &name.words());
            words[at + NAME_AT..at + LIMITS_AT].copy_from_slice(&name.words());
            for limit in Limit::ALL {
                let at = at + LIMITS_AT + limit as usize;
                words[at] = sealed(at, NONE);
            }
        }
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Maps a file.
    pub fn open(path: &Path) -> Result<Page, PageError> {
        let fail = |e: io::Error| PageError {
            what: match e.kind() {
                io::ErrorKind::NotFound => format!("{}: there are no such limits", path.display()),
                _ => format!("{}: {e}", path.display()),
            },
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        let about = file.metadata().map_err(fail)?;
        let words = mem::share_words(&file, WORDS).map_err(fail)?;
        let page = Page {
            path: path.to_path_buf(),
            file,
            words,
            identity: (about.dev(), about.ino()),
        };
        let found = [page.word(0), page.word(1)];
        if found != [MAGIC, VERSION] {
            return Err(page.error(format!(
                "damaged, or of another version: its first words are {:016x} and {}, want {MAGIC:016x} \
                 and {VERSION}",
                found[0], found[1]
            )));
        }
        Ok(page)
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its path still leads to the file that is mapped.
    pub fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|about| {
            (about.dev(), about.ino()) == self.identity
                && about.len() >= (WORDS * size_of::<u64>()) as u64
        })
    }

    fn word(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::Acquire)
    }

    /// Where the limits of these orders are; `None` where there are none.
    pub fn slot(&self, of: &Of) -> Option<usize> {
        let name = StrategyName::new(of.name())?.words();
        self.find(of.whose(), &name)
    }

    /// The same for a symbol by its letters.
    #[inline]
    pub fn symbol_slot(&self, letters: &[u8; 8]) -> Option<usize> {
        let mut name = [0; 7];
        // As a name has them, without the spaces.
        name[0] = u64::from_le_bytes(letters.map(|b| if b == b' ' { 0 } else { b }));
        self.find(Whose::Symbol, &name)
    }

    fn find(&self, whose: Whose, name: &[u64; 7]) -> Option<usize> {
        for slot in slots_of(whose) {
            let at = SLOTS_AT + slot * SLOT_WORDS;
            if self.word(at) == 0 {
                return None;
            }
            let words = self.words[at + NAME_AT..at + LIMITS_AT].iter();
            if words
                .zip(name)
                .all(|(word, name)| word.load(Ordering::Relaxed) == *name)
            {
                return Some(slot);
            }
        }
        None
    }

    /// The limit; `None` where there is none. One that is damaged is 0.
    #[inline]
    pub fn limit(&self, slot: usize, limit: Limit) -> Option<i64> {
        let at = SLOTS_AT + slot * SLOT_WORDS + LIMITS_AT + limit as usize;
        match opened(at, self.word(at)) {
            Some(NONE) => None,
            Some(value) => Some(value as i64),
            None => Some(0),
        }
    }

    /// The limit that this key names, as it holds now.
    pub fn get(&self, key: &Key) -> Option<i64> {
        self.limit(self.slot(&key.of)?, key.limit)
    }

    /// All limits that there are.
    pub fn all(&self) -> Vec<(Key, i64)> {
        let mut all = Vec::new();
        for slot in 0..SLOTS {
            let Some(of) = self.of(slot) else { continue };
            for limit in Limit::ALL {
                if let Some(value) = self.limit(slot, limit) {
                    let of = of.clone();
                    all.push((Key { of, limit }, value));
                }
            }
        }
        all
    }

    fn of(&self, slot: usize) -> Option<Of> {
        let at = SLOTS_AT + slot * SLOT_WORDS;
        if self.word(at) == 0 {
            return None;
        }
        let words = self.words[at + NAME_AT..at + LIMITS_AT].iter();
        let bytes: Vec<u8> = words
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .take_while(|byte| *byte != 0)
            .collect();
        let name = String::from_utf8_lossy(&bytes).into_owned();
        Some(match slot {
            0 => Of::Firm,
            1 => Of::Session,
            slot if slot < 2 + STRATEGIES_MAX => Of::Strategy(name),
            _ => Of::Symbol(name),
        })
    }

    /// What is wrong with what the file holds, if anything: it lets nothing through then.
    pub fn damage(&self) -> Option<String> {
        for slot in 0..SLOTS {
            let at = SLOTS_AT + slot * SLOT_WORDS;
            let found = self.word(at);
            if found == 0 && slot > 1 {
                continue;
            }
            let mut name = [0; 7];
            for (word, at) in name.iter_mut().zip(at + NAME_AT..) {
                *word = self.word(at);
            }
            let want = head(slot, &name);
            if found != want {
                return Some(format!(
                    "{}: damaged: slot {slot} begins with {found:016x}, want {want:016x}",
                    self.path.display()
                ));
            }
            for limit in Limit::ALL {
                let at = at + LIMITS_AT + limit as usize;
                if opened(at, self.word(at)).is_none() {
                    return Some(format!(
                        "{}: damaged: {} of slot {slot} is {:016x}, which is never written",
                        self.path.display(),
                        limit.name(),
                        self.word(at)
                    ));
                }
            }
        }
        None
    }

    /// Sets a limit, or takes it away; what it was before. The run sees it with its next order, and it
    /// is on the disk when this returns.
    pub fn set(&self, key: &Key, value: Option<u64>) -> Result<Option<i64>, PageError> {
        if value.is_some_and(|value| value > key.limit.largest()) {
            return Err(self.error(format!(
                "{key}: want at most {}, found {}",
                key.limit.largest(),
                value.expect("just seen")
            )));
        }
        let name = StrategyName::new(key.of.name())
            .ok_or_else(|| self.error(format!("{key}: want a name of 1 to 56 letters")))?
            .words();
        let _lock = self.lock()?;
        let slot = match self.find(key.of.whose(), &name) {
            Some(slot) => slot,
            None => self.begin(key, &name)?,
        };
        let at = SLOTS_AT + slot * SLOT_WORDS + LIMITS_AT + key.limit as usize;
        let before = self.limit(slot, key.limit);
        self.words[at].store(sealed(at, value.unwrap_or(NONE)), Ordering::Release);
        self.sync()?;
        Ok(before)
    }

    /// A slot for orders that had no limit so far.
    fn begin(&self, key: &Key, name: &[u64; 7]) -> Result<usize, PageError> {
        let mut slots = slots_of(key.of.whose());
        let free = slots.find(|slot| self.word(SLOTS_AT + slot * SLOT_WORDS) == 0);
        let Some(slot) = free else {
            let of = slots_of(key.of.whose()).len();
            return Err(self.error(format!(
                "{key}: {of} have limits, and there is room for no more"
            )));
        };
        let at = SLOTS_AT + slot * SLOT_WORDS;
        for (at, word) in (at + NAME_AT..).zip(name) {
            self.words[at].store(*word, Ordering::Release);
        }
        for limit in Limit::ALL {
            let at = at + LIMITS_AT + limit as usize;
            self.words[at].store(sealed(at, NONE), Ordering::Release);
        }
        self.sync()?;
        self.words[at].store(head(slot, name), Ordering::Release);
        Ok(slot)
    }

    fn lock(&self) -> Result<File, PageError> {
        let open = File::options().read(true).write(true).open(&self.path);
        let file = open.map_err(|e| self.error(format!("lock: {e}")))?;
        file.lock().map_err(|e| self.error(format!("lock: {e}")))?;
        Ok(file)
    }

    fn sync(&self) -> Result<(), PageError> {
        self.words
            .flush()
            .and_then(|()| self.file.sync_all())
            .map_err(|e| self.error(format!("sync: {e}")))
    }

    fn error(&self, what: impl fmt::Display) -> PageError {
        PageError {
            what: format!("{}: {what}", self.path.display()),
        }
    }

    /// For tests that damage it.
    #[cfg(test)]
    fn words(&self) -> &[std::sync::atomic::AtomicU64] {
        &self.words
    }
}

fn slots_of(whose: Whose) -> std::ops::Range<usize> {
    match whose {
        Whose::Firm => 0..1,
        Whose::Session => 1..2,
        Whose::Strategy => 2..2 + STRATEGIES_MAX,
        Whose::Symbol => 2 + STRATEGIES_MAX..SLOTS,
    }
}

fn head(slot: usize, name: &[u64; 7]) -> u64 {
    let mut sum = crc32c::crc32c(&(slot as u64).to_ne_bytes());
    for word in name {
        sum = crc32c::crc32c_append(sum, &word.to_ne_bytes());
    }
    1 << 32 | u64::from(sum)
}

fn sealed(at: usize, value: u64) -> u64 {
    value | u64::from(check(at, value)) << 48
}

#[inline]
fn opened(at: usize, word: u64) -> Option<u64> {
    let value = word & NONE;
    (word >> 48 == u64::from(check(at, value))).then_some(value)
}

/// Never that of a word of zeros.
#[inline]
fn check(at: usize, value: u64) -> u16 {
    let sum = crc32c::crc32c(&(value << 16 | at as u64).to_ne_bytes());
    ((sum ^ sum >> 16) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let name = format!("tapeline-limits-{name}-{}", std::process::id());
            let place = Place(std::env::temp_dir().join(name));
            std::fs::write(&place.0, Page::fresh()).unwrap();
            place
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[test]
    fn a_change_is_seen_by_who_has_the_page_and_by_who_comes_later() {
        let place = Place::new("set");
        let (run, person) = (Page::open(&place.0).unwrap(), Page::open(&place.0).unwrap());
        assert_eq!(run.all(), []);
        let keys = [
            "firm.gross_max",
            "session.messages_per_second",
            "strategy.momentum.open_orders_max",
            "symbol.AAPL.position_max",
        ];
        for (value, name) in (7..).zip(keys) {
            assert_eq!(person.set(&key(name), Some(value)).unwrap(), None);
            assert_eq!(run.get(&key(name)), Some(value as i64));
        }
        let all: Vec<String> = run.all().iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(all, keys);
        let slot = run.symbol_slot(b"AAPL    ").unwrap();
        assert_eq!(run.limit(slot, Limit::PositionMax), Some(10));
        assert_eq!(run.symbol_slot(b"AAP     "), None);
        assert_eq!(person.set(&key(keys[3]), None).unwrap(), Some(10));
        assert_eq!(run.get(&key(keys[3])), None);
        assert_eq!(Page::open(&place.0).unwrap().get(&key(keys[0])), Some(7));
        assert_eq!(run.damage(), None);
    }

    #[test]
    fn what_is_no_limit_or_too_much_is_said() {
        for text in [
            "gross_max",
            "firm.grossmax",
            "firm.a.gross_max",
            "symbol.NINELONGS.gross_max",
            "symbol..gross_max",
            "desk.gross_max",
        ] {
            let error = Key::parse(text).unwrap_err();
            assert!(error.contains("is no limit"), "{error}");
        }
        let error = Key::parse("firm.position_max").unwrap_err();
        assert_eq!(
            error,
            "`firm.position_max`: there is no position_max of a firm"
        );
        let place = Place::new("much");
        let page = Page::open(&place.0).unwrap();
        let error = page.set(&key("firm.orders_per_second"), Some(10_001));
        assert!(
            error
                .unwrap_err()
                .what
                .ends_with("want at most 10000, found 10001")
        );
        for number in 0..SYMBOLS_MAX {
            let key = key(&format!("symbol.S{number}.qty_max"));
            page.set(&key, Some(1)).unwrap();
        }
        let error = page.set(&key("symbol.MORE.qty_max"), Some(1)).unwrap_err();
        assert!(error.what.contains("room for no more"), "{error}");
    }

    /// Whatever bit of a limit flips, it becomes none that is greater.
    #[test]
    fn a_damaged_limit_lets_nothing_through() {
        let place = Place::new("damage");
        let page = Page::open(&place.0).unwrap();
        let key = key("firm.gross_max");
        page.set(&key, Some(1_000_000)).unwrap();
        let at = SLOTS_AT + LIMITS_AT + Limit::GrossMax as usize;
        let word = page.word(at);
        for bit in 0..64 {
            page.words()[at].store(word ^ 1 << bit, Ordering::Release);
            assert_eq!(page.get(&key), Some(0), "bit {bit}");
            assert!(page.damage().is_some());
        }
        page.words()[at].store(0, Ordering::Release);
        assert_eq!(page.get(&key), Some(0));
        std::fs::write(&place.0, [0; 100]).unwrap();
        let error = Page::open(&place.0).unwrap_err();
        assert!(error.what.contains("100 bytes, want"), "{error}");
    }
}
