//! Orders, and what is said of them, in shared memory: one writer, and any number of readers in other
//! processes, which it knows nothing of.
//!
//! A file of fixed records, mapped by all. The writer never waits: who is too slow is overrun, and told
//! how many records it lost. `bus/include/tapeline_ring.h` is a reader in C, and
//! `bus/include/tapeline_ring.py` one in Python.
//!
//! ```text
//! words of 64 bits, as the machine has them
//! word 0       what it is        1  version of this layout    2  bytes of a record (128)
//!      3       how many records there is room for, a power of two
//!      4       where the first is, in bytes (4096)
//!      5       where this run began: its first record has the number behind this one
//!      6, 7    the boot of the machine in which it was written last
//!      8       the number of the last record
//!      16      1 while there is a writer, 2 once it has ended in order
//! record n is at 4096 + (n - 1) % room * 128; numbers begin at 1
//! ```
//!
//! A record's first word is its number, written last, and 0 while it is being written. So a reader takes
//! the first word, the record, and the first word again; and there is a checksum besides, for readers
//! whose language promises no order of reads.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::file::sync_folder;
use super::id::OrderId;
use super::row::{Row, RowKind};
use super::{Gateway, GatewayError};
use crate::event::Side;
use crate::fixed::Price;
use crate::mem::{self, SharedWords};

/// `TAPERING` in little-endian bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"TAPERING");
const VERSION: u64 = 1;
const HEADER_WORDS: usize = 512;
const WORDS: usize = 16;

const VERSION_AT: usize = 1;
const RECORD_BYTES_AT: usize = 2;
const ROOM_AT: usize = 3;
const FIRST_AT: usize = 4;
const BASE_AT: usize = 5;
const BOOT_AT: usize = 6;
const HEAD_AT: usize = 8;
const STATE_AT: usize = 16;

const WRITING: u64 = 1;
const ENDED: u64 = 2;

/// What stands for a number that was not said.
pub const NOT_SAID: i64 = i64::MIN;

/// One record.
///
/// ```text
/// word 0  number       1  checksum of words 0 and 2 to 15: see `check_of`
///      2  SendingTime  3  TransactTime, nanoseconds since 1970, UTC
///      4  bytes: kind (`D` order, `F` cancel, `8` report, `9` cancel reject), side (`B`, `S` or 0),
///         ExecType, OrdStatus, flags (1: may have been sent before; 2: the name was longer),
///         TimeInForce, 2 zeros
///      5  price        6  quantity      7  last price      8  last quantity      9  filled
///      10 symbol, 8 bytes padded with spaces
///      11 to 14  the order's name, 32 bytes padded with zeros
///      15 MsgSeqNum
/// ```
///
/// Prices are in units of 1e-9, quantities in the symbol's; what was not said is [`NOT_SAID`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    words: [u64; WORDS],
}

impl Record {
    fn of(seq: u64, row: &Row<'_>) -> Record {
        let said = |number: Option<i64>| number.unwrap_or(NOT_SAID) as u64;
        let side = match row.side {
            Side::Buy => b'B',
            Side::Sell => b'S',
            Side::None => 0,
        };
        let is_long = row.id.len() > OrderId::BYTES;
        let flags = u8::from(row.poss_resend) | u8::from(is_long) << 1;
        let kinds = [
            row.kind as u8,
            side,
            row.exec_type,
            row.status,
            flags,
            row.time_in_force,
            0,
            0,
        ];
        let mut symbol = [b' '; 8];
        let len = row.symbol.len().min(symbol.len());
        symbol[..len].copy_from_slice(&row.symbol[..len]);
        let mut id = [0; OrderId::BYTES];
        let len = row.id.len().min(id.len());
        id[..len].copy_from_slice(&row.id[..len]);
        let mut words = [0; WORDS];
        words[0] = seq;
        words[2] = said(row.sent.map(|time| time.0));
        words[3] = said(row.transacted.map(|time| time.0));
        words[4] = u64::from_le_bytes(kinds);
        words[5] = said(row.price.map(|price| price.0));
        words[6] = said(row.qty.map(|qty| qty.0));
        words[7] = said(row.last_price.map(|price| price.0));
        words[8] = said(row.last_qty.map(|qty| qty.0));
        words[9] = said(row.filled.map(|qty| qty.0));
        words[10] = u64::from_le_bytes(symbol);
        for (word, bytes) in words[11..15].iter_mut().zip(id.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words[15] = row.msg_seq;
        words[1] = check_of(&words);
        Record { words }
    }

    /// Its number.
    pub fn seq(&self) -> u64 {
        self.words[0]
    }

    /// The letter of its kind: see [`RowKind`].
    pub fn kind(&self) -> u8 {
        self.words[4] as u8
    }

    /// The order's name, where it is one of ours.
    pub fn order_id(&self) -> Option<OrderId> {
        let mut id = [0; OrderId::BYTES];
        for (bytes, word) in id.as_chunks_mut().0.iter_mut().zip(&self.words[11..15]) {
            *bytes = word.to_le_bytes();
        }
        OrderId::parse(&id)
    }

    /// The limit, where there is one.
    pub fn price(&self) -> Option<Price> {
        let units = self.words[5] as i64;
        (units != NOT_SAID).then_some(Price(units))
    }

    /// All of it, as it lies in memory.
    pub fn words(&self) -> &[u64; WORDS] {
        &self.words
    }
}

/// FNV-1a with words in place of bytes, over words 0 and 2 to 15.
fn check_of(words: &[u64; WORDS]) -> u64 {
    let covered = words[..1].iter().chain(&words[2..]);
    covered.fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The writer of a ring. See the module.
///
/// What was written outlives this process at once, and the machine from [`Gateway::finish`] on. A ring
/// that is gone on with has each of its run's orders once, as far back as it has room for: one that
/// comes again, flagged as possibly sent before, is taken and left out.
#[derive(Debug)]
pub struct Ring {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
    words: SharedWords,
    room: u64,
    head: u64,
    base: u64,
    /// Orders that this run had written before it was gone on with, sorted.
    had: Vec<OrderId>,
}

impl Ring {
    /// The least and the most records that a ring may have room for; it is a power of two.
    pub const ROOM: std::ops::RangeInclusive<u64> = 64..=(1 << 24);

    /// For a new run: a new file, or one that runs before wrote to, whose numbers go on.
    pub fn begin(path: &Path, room: u64) -> Result<Ring, GatewayError> {
        let mut ring = Ring::open(path, room)?;
        ring.base = ring.head;
        ring.had.clear();
        ring.words[BASE_AT].store(ring.base, Ordering::Release);
        Ok(ring)
    }

    /// For a run that goes on, with the numbers, and with the orders that it had written, in order.
    pub fn resume(path: &Path, room: u64) -> Result<(Ring, Vec<OrderId>), GatewayError> {
        let mut ring = Ring::open(path, room)?;
        let ids = orders_of(&ring.words, ring.room, ring.base, ring.head);
        ring.had.clone_from(&ids);
        ring.had.sort_unstable();
        Ok((ring, ids))
    }

    /// The orders of the last run in a ring that another may write to; none where there is no file.
    pub fn ids(path: &Path) -> Result<Vec<OrderId>, GatewayError> {
        if !path.exists() {
            return Ok(Vec::new());
        }
        let reader = Reader::open(path)?;
        let word = |at: usize| reader.words[at].load(Ordering::Acquire);
        let (base, head) = (word(BASE_AT), word(HEAD_AT));
        Ok(orders_of(&reader.words, reader.room, base, head))
    }

    fn open(path: &Path, room: u64) -> Result<Ring, GatewayError> {
        assert!(room.is_power_of_two() && Ring::ROOM.contains(&room));
        let fail = |tried: &str, error| GatewayError::io(path.display(), tried, &error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| fail("open", error))?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => GatewayError::new(path.display(), super::IN_USE),
            fs::TryLockError::Error(error) => fail("lock", error),
        })?;
        let len = file
            .metadata()
            .map_err(|error| fail("look at", error))?
            .len();
        let bytes = bytes_of(room);
        // Its length is there before its first word is, so what has none was never begun.
        let mut magic = [0; 8];
        let is_begun = len >= 8 && file.read_exact_at(&mut magic, 0).is_ok() && magic != [0; 8];
        if !is_begun {
            // Written, not only made longer: a page without a place on the disk cannot be stored to.
            let zeros = vec![0; 1 << 16];
            let mut at = 0;
            while at < bytes {
                let part = (bytes - at).min(zeros.len() as u64);
                let written = file.write_all_at(&zeros[..part as usize], at);
                written.map_err(|error| fail("make", error))?;
                at += part;
            }
            file.sync_all()
                .and_then(|()| sync_folder(path))
                .map_err(|error| fail("make", error))?;
        }
        let words = share(&file, path, room, is_begun)?;
        if !is_begun {
            let header = [
                (VERSION_AT, VERSION),
                (RECORD_BYTES_AT, RECORD_BYTES),
                (ROOM_AT, room),
                (FIRST_AT, (HEADER_WORDS * 8) as u64),
            ];
            for (at, word) in header {
                words[at].store(word, Ordering::Relaxed);
            }
            words[0].store(MAGIC, Ordering::Release);
        }
        check_header(&words, Some(room)).map_err(|what| GatewayError::new(path.display(), what))?;
        let head = last_of(&words, room);
        words[HEAD_AT].store(head, Ordering::Release);
        for (at, word) in boot().into_iter().enumerate() {
            words[BOOT_AT + at].store(word, Ordering::Relaxed);
        }
        words[STATE_AT].store(WRITING, Ordering::Release);
        let base = words[BASE_AT].load(Ordering::Acquire);
        Ok(Ring {
            path: path.to_owned(),
            _file: file,
            words,
            room,
            head,
            base,
            had: Vec::new(),
        })
    }

    /// How many records this run has written, those before it was gone on with included.
    pub fn rows(&self) -> u64 {
        self.head - self.base
    }

    /// Writes a record.
    pub fn put(&mut self, row: &Row<'_>) {
        let seq = self.head + 1;
        let record = Record::of(seq, row);
        let slot = &self.words[slot_at(self.room, seq)..][..WORDS];
        slot[0].store(0, Ordering::Relaxed);
        // Nothing of the new record is seen before the old one is seen to be going.
        fence(Ordering::Release);
        for (place, word) in slot.iter().zip(record.words).skip(1) {
            place.store(word, Ordering::Relaxed);
        }
        slot[0].store(seq, Ordering::Release);
        self.words[HEAD_AT].store(seq, Ordering::Release);
        self.head = seq;
    }
}

const RECORD_BYTES: u64 = (WORDS * 8) as u64;

fn bytes_of(room: u64) -> u64 {
    (HEADER_WORDS * 8) as u64 + room * RECORD_BYTES
}

/// Where a record's words begin.
fn slot_at(room: u64, seq: u64) -> usize {
    HEADER_WORDS + ((seq - 1) & (room - 1)) as usize * WORDS
}

fn share(file: &File, path: &Path, room: u64, is_begun: bool) -> Result<SharedWords, GatewayError> {
    let count = HEADER_WORDS + room as usize * WORDS;
    mem::share_words(file, count).map_err(|error| {
        // One of another size has a header that says so better than a length does.
        let header = mem::share_words(file, HEADER_WORDS)
            .ok()
            .filter(|_| is_begun);
        let what = header.and_then(|words| check_header(&words, Some(room)).err());
        let what = what.unwrap_or_else(|| error.to_string());
        GatewayError::new(path.display(), what)
    })
}

/// How many records there is room for.
fn check_header(words: &[AtomicU64], want: Option<u64>) -> Result<u64, String> {
    let word = |at: usize| words[at].load(Ordering::Acquire);
    if word(0) != MAGIC {
        return Err("no ring of orders by its first word".into());
    }
    if word(VERSION_AT) != VERSION {
        return Err(format!("layout {}, want {VERSION}", word(VERSION_AT)));
    }
    let first = (HEADER_WORDS * 8) as u64;
    if (word(RECORD_BYTES_AT), word(FIRST_AT)) != (RECORD_BYTES, first) {
        return Err(format!(
            "records of {} bytes from byte {}, want {RECORD_BYTES} from {first}",
            word(RECORD_BYTES_AT),
            word(FIRST_AT)
        ));
    }
    let room = word(ROOM_AT);
    if !room.is_power_of_two() || !Ring::ROOM.contains(&room) {
        return Err(format!("room for {room} records, want a power of two"));
    }
    match want {
        Some(want) if want != room => Err(format!(
            "room for {room} records, want {want}, as orders.ring.records says"
        )),
        _ => Ok(room),
    }
}

/// The last whole record: a writer that was killed may have written one more than it said.
fn last_of(words: &[AtomicU64], room: u64) -> u64 {
    let said = words[HEAD_AT].load(Ordering::Acquire);
    let next = said.wrapping_add(1);
    match take(words, room, next.max(1)) {
        Some(record) if record.seq() == next => next,
        _ => said,
    }
}

/// The orders among these records.
fn orders_of(words: &[AtomicU64], room: u64, base: u64, head: u64) -> Vec<OrderId> {
    let first = base.max(head.saturating_sub(room)) + 1;
    (first..=head)
        .filter_map(|seq| take(words, room, seq))
        .filter(|record| record.kind() == RowKind::Order as u8)
        .filter_map(|record| record.order_id())
        .collect()
}

/// The record of this number, where it is there and whole.
fn take(words: &[AtomicU64], room: u64, seq: u64) -> Option<Record> {
    let slot = &words[slot_at(room, seq)..][..WORDS];
    if slot[0].load(Ordering::Acquire) != seq {
        return None;
    }
    let mut record = Record { words: [0; WORDS] };
    for (word, place) in record.words.iter_mut().zip(slot) {
        *word = place.load(Ordering::Relaxed);
    }
    // The second look comes after all of the record.
    fence(Ordering::Acquire);
    let is_whole = slot[0].load(Ordering::Relaxed) == seq && record.words[0] == seq;
    (is_whole && check_of(&record.words) == record.words[1]).then_some(record)
}

/// The machine's boot, as it names it; zeros where it does not.
fn boot() -> [u64; 2] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).unwrap_or(0);
    [(number >> 64) as u64, number as u64]
}

impl Gateway for Ring {
    fn has_room(&mut self, _: usize) -> bool {
        true
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        let Some(row) = Row::of(message) else {
            return Ok(true);
        };
        if !row.is_among(&self.had) {
            self.put(&row);
        }
        Ok(true)
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        Ok(0)
    }

    fn waiting(&self) -> usize {
        0
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        // Zeros take the place of a file that was cut short under us.
        if self.words[0].load(Ordering::Acquire) != MAGIC {
            let what = "cut short while it was written to";
            return Err(GatewayError::new(self.path.display(), what));
        }
        self.words[STATE_AT].store(ENDED, Ordering::Release);
        self.words
            .flush()
            .map_err(|error| GatewayError::io(self.path.display(), "sync", &error))
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next record.
    Record(Record),
    /// The writer was faster: so many records are lost, and the next is the oldest that is there.
    Lost(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing, and the writer has ended in order.
    Ended,
}

/// A reader of a ring, as fast as it likes.
#[derive(Debug)]
pub struct Reader {
    words: SharedWords,
    room: u64,
    next: u64,
}

impl Reader {
    /// From the oldest record that is there.
    pub fn open(path: &Path) -> Result<Reader, GatewayError> {
        let fail = |tried: &str, error| GatewayError::io(path.display(), tried, &error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| fail("open", error))?;
        let header = mem::share_words(&file, HEADER_WORDS).map_err(|error| fail("map", error))?;
        let room =
            check_header(&header, None).map_err(|what| GatewayError::new(path.display(), what))?;
        let words = share(&file, path, room, true)?;
        let head = words[HEAD_AT].load(Ordering::Acquire);
        Ok(Reader {
            words,
            room,
            next: head.saturating_sub(room) + 1,
        })
    }

    /// The next record, or why there is none.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends where there is nothing yet"
    )]
    pub fn next(&mut self) -> Next {
        loop {
            let head = self.words[HEAD_AT].load(Ordering::Acquire);
            if self.next > head {
                return match self.words[STATE_AT].load(Ordering::Acquire) {
                    // What came before the end was said may have come since the look above.
                    ENDED if self.words[HEAD_AT].load(Ordering::Acquire) < self.next => Next::Ended,
                    ENDED => continue,
                    _ => Next::Nothing,
                };
            }
            if head - self.next < self.room
                && let Some(record) = take(&self.words, self.room, self.next)
            {
                self.next += 1;
                return Next::Record(record);
            }
            // Overrun, or just being overrun: the slot of the oldest may be going already.
            let head = self.words[HEAD_AT].load(Ordering::Acquire);
            let oldest = (head + 2).saturating_sub(self.room).max(self.next + 1);
            let lost = oldest - self.next;
            self.next = oldest;
            return Next::Lost(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::{Qty, Ts};

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("oms-ring-{name}-{}", std::process::id()));
            let _ = fs::remove_file(&path);
            Place(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn row(id: &OrderId, number: u64) -> Row<'_> {
        Row {
            kind: RowKind::Order,
            id: id.as_bytes(),
            msg_seq: number,
            sent: Some(Ts(1)),
            transacted: None,
            symbol: b"ABC",
            side: Side::Buy,
            qty: Some(Qty(100)),
            price: Some(Price(number as i64)),
            time_in_force: 0,
            poss_resend: false,
            exec_type: 0,
            status: 0,
            last_qty: None,
            last_price: None,
            filled: None,
        }
    }

    fn id(number: u64) -> OrderId {
        OrderId::new((2026, 1, 5), 0, number, 0, 0)
    }

    fn put(ring: &mut Ring, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            ring.put(&row(&id(number), number));
        }
    }

    #[test]
    fn who_is_overrun_is_told_how_much_is_lost() {
        let place = Place::new("overrun");
        let mut ring = Ring::begin(&place.0, 64).unwrap();
        let mut reader = Reader::open(&place.0).unwrap();
        assert_eq!(reader.next(), Next::Nothing);
        put(&mut ring, 1..=3);
        for number in 1..=3 {
            let Next::Record(record) = reader.next() else {
                panic!("record {number}")
            };
            assert_eq!(
                (record.seq(), record.order_id()),
                (number, Some(id(number)))
            );
            assert_eq!(record.price(), Some(Price(number as i64)));
        }
        assert_eq!(reader.next(), Next::Nothing);
        put(&mut ring, 4..=67);
        let Next::Record(record) = reader.next() else {
            panic!("as many as there is room for")
        };
        assert_eq!(record.seq(), 4);
        put(&mut ring, 68..=168);
        // From the second oldest on, since the oldest may be going.
        assert_eq!(reader.next(), Next::Lost(101));
        for number in 106..=168 {
            let Next::Record(record) = reader.next() else {
                panic!("record {number}")
            };
            assert_eq!(record.seq(), number);
        }
        assert_eq!(reader.next(), Next::Nothing);
        ring.finish().unwrap();
        assert_eq!(reader.next(), Next::Ended);
    }

    #[test]
    fn a_writer_that_was_killed_is_followed_without_a_repeat() {
        let place = Place::new("killed");
        let mut ring = Ring::begin(&place.0, 64).unwrap();
        put(&mut ring, 1..=10);
        assert!(Ring::begin(&place.0, 64).unwrap_err().is_in_use());
        // Killed between the record and its number's being said ...
        ring.words[HEAD_AT].store(9, Ordering::Release);
        drop(ring);
        let (ring, ids) = Ring::resume(&place.0, 64).unwrap();
        assert_eq!((ids.len(), ring.rows()), (10, 10));
        // ... and in the midst of one.
        let at = slot_at(64, 11);
        ring.words[at].store(11, Ordering::Release);
        ring.words[at + 5].store(77, Ordering::Release);
        drop(ring);
        let (mut ring, ids) = Ring::resume(&place.0, 64).unwrap();
        assert_eq!((ids.len(), ring.rows()), (10, 10));
        let again = |number: u64, flag: &str| {
            format!(
                "8=FIX.4.4\x0135=D\x0134={number}\x01{flag}11={}\x01",
                id(number)
            )
        };
        assert_eq!(ring.send(again(10, "97=Y\x01").as_bytes()), Ok(true));
        assert_eq!(ring.send(again(11, "97=Y\x01").as_bytes()), Ok(true));
        assert_eq!(ring.rows(), 11);
        drop(ring);
        // Another run goes on with the numbers, and has no orders yet.
        let mut ring = Ring::begin(&place.0, 64).unwrap();
        assert_eq!(ring.rows(), 0);
        put(&mut ring, 1..=1);
        assert_eq!((ring.head, Ring::ids(&place.0).unwrap()), (12, vec![id(1)]));
        drop(ring);
        let error = Ring::begin(&place.0, 128).unwrap_err().to_string();
        assert!(
            error.ends_with("room for 64 records, want 128, as orders.ring.records says"),
            "{error}"
        );
        fs::write(&place.0, [b'x'; 5000]).unwrap();
        let error = Ring::begin(&place.0, 64).unwrap_err().to_string();
        assert!(
            error.ends_with("no ring of orders by its first word"),
            "{error}"
        );
    }
}
