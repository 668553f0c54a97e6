//! A checkpoint of books and analytics, changed by the fuzzer, and what must hold.
//!
//! The first byte of the input says where the changes go. In the file: then it must be refused,
//! since every byte of it is under a checksum. In the state, before the checksums are made: then it
//! may be a state that nobody was ever in, and what is asked is less. Loading ends, with an error
//! or without, and what was loaded is a state: saved and loaded again it is the same, and it takes
//! in events.

use std::path::PathBuf;
use std::sync::LazyLock;

use analytics::{Intents, SuiteConfig, Suites};
use book::{Books, BooksConfig, Depth};
use bus::checkpoint::{self, Checkpoint, Head};
use bus::disk::{Folder, FolderFaults, SimFolder};
use bus::state::{StateError, StateReader, StateWriter, Versions};
use bus::{Event, Kind, Outbox, Price, Qty, Side, Ts};

use crate::input::Input;

const SYMBOLS: u32 = 4;
const CHANGES_MAX: usize = 12;
const NAME: &str = "fuzzed.ckpt";

const HEAD: Head = Head {
    uuid: *b"a log of a fuzz.",
    cell: 400,
    last_seq: 300,
    shard: 0,
    shards: 1,
    build_hash: 1,
    config_hash: 2,
    made_ns: 3,
    versions: Versions::NEWEST,
};

/// Some symbols' books and analytics.
struct State {
    books: Books,
    suites: Suites,
    out: Outbox,
    intents: Intents,
}

impl State {
    fn new() -> State {
        let books = BooksConfig {
            orders_max: 1024,
            levels_max: 1024,
            symbols_max: SYMBOLS,
            depth: Depth::L3,
        };
        State {
            books: Books::new(books).expect("memory for small books"),
            suites: Suites::new(SuiteConfig::standard(SYMBOLS as usize - 1)),
            out: Outbox::new(),
            intents: Intents::new(),
        }
    }

    fn take(&mut self, event: &Event) {
        let applied = self.books.apply(event);
        let symbol = event.symbol;
        let quote = self.books.quote(symbol);
        let (phase, stale) = (self.books.phase(symbol), self.books.is_stale(symbol));
        self.out.at(event.ts_event, event.seq, symbol);
        self.suites.on_event(
            event,
            &applied,
            &quote,
            phase,
            stale,
            &mut self.out,
            &mut self.intents,
        );
        self.out.clear();
        self.intents.clear();
        if event.seq.is_multiple_of(16) {
            let (ts, seq) = (event.ts_event, event.seq);
            self.suites
                .on_watermark(ts, seq, &mut self.out, Outbox::clear);
        }
    }

    fn save(&self, out: &mut StateWriter<'_>) {
        self.books.save_shared(out);
        self.suites.save_shared(out);
        let books = self.books.saving();
        for symbol in 1..SYMBOLS {
            books.save(symbol, out);
            self.suites.save(symbol, out);
        }
    }

    fn load(from: &mut StateReader<'_>) -> Result<State, StateError> {
        let mut state = State::new();
        state.books.load_shared(from, true)?;
        state.suites.load_shared(from)?;
        for symbol in 1..SYMBOLS {
            state.books.load(symbol, true, from)?;
            state.suites.load(symbol, from)?;
        }
        from.end()?;
        Ok(state)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, HEAD.versions);
        self.save(&mut out);
        out.finish().expect("memory takes everything");
        bytes
    }
}

/// A little market: orders that come, trade and go, a few milliseconds apart.
fn event(number: u64) -> Event {
    let random = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let ts = Ts(1_767_625_200_000_000_000 + number as i64 * 40_000_000);
    Event {
        ts_event: ts,
        ts_recv: ts,
        seq: number + 1,
        order: random >> 8 & 0x3f,
        order_b: 1_000 + number,
        price: Price(1_000_000 + (random >> 20 & 0xf) as i64 * 100),
        qty: Qty((random >> 30 & 0xff) as i64 + 1),
        symbol: (random >> 40) as u32 % (SYMBOLS - 1) + 1,
        side: if random >> 63 == 0 {
            Side::Buy
        } else {
            Side::Sell
        },
        ..Event::new(match random >> 50 & 7 {
            0..=3 => Kind::Add,
            4 => Kind::Replace,
            5 => Kind::Execute,
            6 => Kind::Trade,
            _ => Kind::Delete,
        })
    }
}

/// The state that is changed.
static STATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = State::new();
    for number in 0..300 {
        state.take(&event(number));
    }
    let bytes = state.bytes();
    let loaded = load(&bytes).expect("what was saved is loaded");
    assert!(loaded.bytes() == bytes, "and is the same");
    bytes
});

fn load(body: &[u8]) -> Result<State, StateError> {
    State::load(&mut StateReader::new(body, HEAD.versions))
}

fn file(body: &[u8]) -> Vec<u8> {
    let mut folder = SimFolder::new(FolderFaults::default());
    checkpoint::write(&mut folder, NAME, &HEAD, |out| out.bytes(body))
        .expect("no faults were asked for");
    folder.read(NAME).expect("just written")
}

/// Does with a checkpoint what `bytes` say, and checks what must hold.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let is_file = input.byte().is_some_and(|byte| byte % 4 == 0);
    let whole = if is_file { file(&STATE) } else { STATE.clone() };
    let mut changed = whole.clone();
    for _ in 0..CHANGES_MAX {
        let Some(what) = input.byte() else { break };
        change(&mut changed, what, &mut input);
    }
    if is_file {
        let is_same = changed == whole;
        let parsed = Checkpoint::parse(changed, PathBuf::from(NAME));
        assert_eq!(parsed.is_ok(), is_same, "{:?}", parsed.err());
        return;
    }
    let parsed = Checkpoint::parse(file(&changed), PathBuf::from(NAME)).expect("good checksums");
    let Ok(mut state) = State::load(&mut parsed.state()) else {
        return;
    };
    let saved = state.bytes();
    let again = load(&saved).expect("what was saved is loaded");
    assert!(again.bytes() == saved, "and is the same");
    for number in 300..364 {
        state.take(&event(number));
    }
}

fn change(bytes: &mut Vec<u8>, what: u8, input: &mut Input<'_>) {
    let at = usize::from(input.short()) % bytes.len().max(1);
    match what % 7 {
        0 => {
            let mask = input.byte().unwrap_or(0).max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
        1 => {
            let value = input.number();
            if let Some(place) = bytes.get_mut(at..at + 8) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        }
        2 => {
            let value = input.number();
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&(value as u32).to_le_bytes());
            }
        }
        3 => bytes.truncate(at),
        4 => {
            let count = usize::from(input.byte().unwrap_or(0)).min(bytes.len() - at);
            bytes.drain(at..at + count);
        }
        5 => {
            let (count, value) = (input.byte().unwrap_or(0), input.byte().unwrap_or(0));
            bytes.splice(at..at, std::iter::repeat_n(value, usize::from(count)));
        }
        _ => {
            let from = usize::from(input.short()) % bytes.len().max(1);
            let count = usize::from(input.byte().unwrap_or(0)).min(bytes.len() - at.max(from));
            bytes.copy_within(from..from + count, at);
        }
    }
}
