//! A journal of orders, and a session's store, changed by the fuzzer, and what must hold.
//!
//! The input says what is written, and then what is changed in the file. Whatever that is: reading
//! and opening agree on what is there, and on whether it is refused; what is refused is left as it is;
//! what is there was written, in order and from the beginning, since every record is under a
//! checksum; and where it can be gone on with, the next record follows what was read.

use std::fs;
use std::path::{Path, PathBuf};

use bus::Ts;
use fix::journal::{Entry, Journal};
use fix::{Blotter, FileStore, Safe, Store};

use crate::input::Input;

const ENTRIES_MAX: usize = 24;
const CHANGES_MAX: usize = 12;

/// A file of this process that is gone at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("fuzz-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Text that is at times a message about an order.
fn text(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.byte().unwrap_or(0);
    if kind % 2 == 0 {
        let fields = format!(
            "8=FIX.4.4\x0135={}\x0134={}\x0111=O{}\x01150={}\x0139={}\x0138={}\x0132={}\x0131={}\x01",
            ["D", "8", "9", "F"][usize::from(kind / 2 % 4)],
            input.number(),
            input.byte().unwrap_or(0) % 4,
            char::from(b'0' + input.byte().unwrap_or(0) % 24),
            char::from(b'0' + input.byte().unwrap_or(0) % 24),
            input.number(),
            input.number(),
            input.number(),
        );
        return fields.into_bytes();
    }
    let len = usize::from(input.byte().unwrap_or(0));
    (0..len).map_while(|_| input.byte()).collect()
}

fn entry(kind: u8, input: &mut Input<'_>) -> Entry {
    match kind % 6 {
        0 => Entry::Begins(input.number()),
        1 => Entry::Sent(input.number(), text(input)),
        2 => Entry::Came(input.number() as i64, text(input)),
        3 => Entry::Withheld(input.number()),
        4 => Entry::Refused(input.number(), text(input)),
        _ => Entry::Reset,
    }
}

/// Changes bytes, and how many there are; at most twice as many as before.
fn change(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    let len_max = bytes.len() * 2 + 64;
    for _ in 0..CHANGES_MAX {
        let Some(what) = input.byte() else { return };
        let at = usize::from(input.short()) % (bytes.len() + 1);
        match what % 6 {
            0 => bytes.truncate(at),
            1 => bytes.resize((bytes.len() + at).min(len_max), 0),
            2 if at < bytes.len() => bytes[at] ^= 1 << (what / 8 % 8),
            3 if at < bytes.len() => bytes[at] = input.byte().unwrap_or(0),
            4 if at < bytes.len() => drop(bytes.remove(at)),
            5 => {
                // A piece of it once more, as a machine may write one twice.
                let end = (at + usize::from(input.byte().unwrap_or(0))).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.extend(piece);
                bytes.truncate(len_max);
            }
            _ => {}
        }
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    let read = Journal::read(path, |entry| found.push(entry));
    read.map(|()| found).map_err(|error| error.to_string())
}

fn check_journal(mut input: Input<'_>) {
    let place = Place::new("journal");
    let mut written = Vec::new();
    let mut journal = Journal::open(&place.0, |_| unreachable!("it is new")).expect("a new file");
    for _ in 0..ENTRIES_MAX {
        let Some(kind) = input.byte().filter(|kind| *kind != 255) else {
            break;
        };
        let next = entry(kind, &mut input);
        journal.append(&next).expect("a file takes it");
        written.push(next);
    }
    drop(journal);
    let whole = fs::read(&place.0).expect("just written");
    assert_eq!(read(&place.0).as_ref(), Ok(&written));
    let mut bytes = whole.clone();
    change(&mut bytes, &mut input);
    fs::write(&place.0, &bytes).expect("a file takes it");
    let found = read(&place.0);
    let mut opened = Vec::new();
    let journal = Journal::open(&place.0, |entry| opened.push(entry));
    match (found, journal) {
        (Err(said), Err(error)) => {
            assert_eq!(said, error.to_string());
            assert_eq!(fs::read(&place.0).expect("it is there"), bytes);
        }
        (Ok(found), Ok(mut journal)) => {
            assert_eq!(found, opened);
            assert!(bytes != whole || found == written);
            for entry in found.iter().filter(|entry| !written.contains(entry)) {
                panic!("{entry:?} was never written");
            }
            let mut blotter = Blotter::default();
            for entry in &found {
                blotter.apply(entry);
            }
            blotter.positions();
            journal
                .append(&Entry::Withheld(7))
                .expect("a file takes it");
            drop(journal);
            let mut want = found;
            want.push(Entry::Withheld(7));
            assert_eq!(read(&place.0), Ok(want));
        }
        (found, journal) => panic!("read: {found:?}, opened: {:?}", journal.err()),
    }
}

fn check_store(mut input: Input<'_>) {
    let place = Place::new("store");
    let open = || FileStore::open(&place.0, Safe::Process, Ts(5));
    let mut store = open().expect("a new file");
    let mut sent = Vec::new();
    for _ in 0..ENTRIES_MAX {
        let Some(kind) = input.byte().filter(|kind| *kind != 255) else {
            break;
        };
        match kind % 4 {
            0 | 1 => {
                let (seq, message) = (store.next_out(), text(&mut input));
                store.save(seq, &message).expect("a file takes it");
                sent.push(message);
            }
            2 => {
                let next = store.next_in() + 1;
                store.set_next_in(next).expect("a file takes it");
            }
            _ => {
                store.reset(Ts(i64::from(kind))).expect("a file takes it");
                sent.clear();
            }
        }
    }
    let (next_out, next_in) = (store.next_out(), store.next_in());
    drop(store);
    let same = open().expect("what was written is read");
    assert_eq!((same.next_out(), same.next_in()), (next_out, next_in));
    drop(same);
    let mut bytes = fs::read(&place.0).expect("just written");
    change(&mut bytes, &mut input);
    fs::write(&place.0, &bytes).expect("a file takes it");
    match open() {
        Err(_) => assert_eq!(fs::read(&place.0).expect("it is there"), bytes),
        Ok(mut store) => {
            // Every number below the next one is of a message, or of none.
            let mut message = Vec::new();
            for seq in 1..store.next_out().min(2 * ENTRIES_MAX as u64) {
                message.clear();
                let _ = store.load(seq, &mut message).expect("it was read once");
            }
            let seq = store.next_out();
            store.save(seq, b"after").expect("a file takes it");
            drop(store);
            let again = open().expect("what was written is read");
            assert_eq!(again.next_out(), seq + 1);
        }
    }
}

/// Does with a file what `bytes` say, and checks what must hold.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte().unwrap_or(0) % 2 {
        0 => check_journal(input),
        _ => check_store(input),
    }
}
