//! Journals that were damaged, drop copies that were changed, and reports that make no sense: nothing of
//! it panics, and what is made of it adds up.
//!
//! Draws are made from a seed, which a failure names: `TAPELINE_SEED=7 cargo test -p fix --test hostile`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use fix::journal::Entry;
use fix::recon::{Ledger, reconcile};
use fix::{Blotter, Journal, Version, Writer, copy};

/// xorshift64*: the same draws from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn seed() -> u64 {
    let from_env = std::env::var("TAPELINE_SEED").ok();
    let seed = from_env.map_or(20_260_105, |seed| seed.parse().expect("a number"));
    println!("TAPELINE_SEED={seed}");
    seed
}

/// A file that goes away.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        Place(std::env::temp_dir().join(format!("fix-hostile-{}-{name}", std::process::id())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An order, a request or a report, of few names and of values that may be anything.
fn message(random: &mut Random) -> (bool, Vec<u8>) {
    let mut writer = Writer::new();
    let kind = random.of(&["D", "F", "G", "8", "8", "8", "8", "8", "9", "j", "A"]);
    writer.begin(kind.as_bytes());
    let names = ["a", "b", "c", "d"];
    let amounts = [
        "0",
        "1",
        "40",
        "100",
        "-5",
        "9.5",
        "99999999999999999999",
        "",
        "x",
    ];
    let mut put = |random: &mut Random, tag, values: &[&str], one_in| {
        if random.below(one_in) > 0 {
            writer.text(tag, random.of(values));
        }
    };
    put(random, 11, &names, 8);
    put(random, 41, &names, 2);
    put(random, 17, &["e1", "e2", "e3", "e4", "0"], 8);
    put(random, 19, &["e1", "e2", "e3", "q"], 2);
    put(random, 20, &["0", "1", "2", "3"], 2);
    put(
        random,
        150,
        &["0", "F", "1", "2", "4", "5", "8", "E", "G", "H", "I", "?"],
        8,
    );
    put(
        random,
        39,
        &["0", "1", "2", "4", "5", "8", "A", "C", "E", "?"],
        8,
    );
    put(random, 55, &["X", "Y", ""], 4);
    put(random, 54, &["1", "2", "5", "?"], 4);
    for tag in [38, 44, 32, 31, 14, 45] {
        put(random, tag, &amounts, 4);
    }
    put(random, 103, &["5", "0"], 2);
    put(random, 911, &["0", "1"], 9);
    put(random, 97, &["Y", "N"], 2);
    let is_ours = matches!(kind, "D" | "F" | "G");
    (is_ours, writer.finish(Version::Fix44).to_vec())
}

fn entries(random: &mut Random) -> Vec<Entry> {
    let count = 1 + random.below(40);
    let mut entries = vec![Entry::Begins(1)];
    for seq in 1..=count {
        entries.push(match random.below(16) {
            0 => Entry::Withheld(random.below(seq + 1)),
            1 => Entry::Refused(random.below(seq + 1), b"no".to_vec()),
            2 => Entry::Reset,
            3 => Entry::Came(0, b"8=FIX.4.4\x01nothing".to_vec()),
            _ => match message(random) {
                (true, bytes) => Entry::Sent(seq, bytes),
                (false, bytes) => Entry::Came(seq as i64, bytes),
            },
        });
    }
    entries
}

fn blotter(entries: &[Entry]) -> Blotter {
    let mut blotter = Blotter::default();
    entries.iter().for_each(|entry| blotter.apply(entry));
    blotter
}

/// Fills, orders and positions are the same sums, worked out by another way.
fn assert_adds_up(blotter: &Blotter) {
    let mut filled: BTreeMap<usize, (i128, i128)> = BTreeMap::new();
    let mut net: BTreeMap<Vec<u8>, i128> = BTreeMap::new();
    for fill in blotter.executions().iter().filter(|fill| !fill.is_busted) {
        let order = &blotter.orders()[fill.order];
        assert!(fill.qty.0 > 0);
        let sums = filled.entry(fill.order).or_default();
        sums.0 += i128::from(fill.qty.0);
        sums.1 += i128::from(fill.qty.0) * i128::from(fill.price.0);
        let sign = if matches!(&order.side[..], b"1" | b"3") {
            1
        } else {
            -1
        };
        *net.entry(order.symbol.clone()).or_default() += sign * i128::from(fill.qty.0);
    }
    for (index, order) in blotter.orders().iter().enumerate() {
        let (qty, notional) = filled.get(&index).copied().unwrap_or_default();
        assert_eq!(i128::from(order.filled().0), qty, "{order:?}");
        assert_eq!(order.notional(), notional, "{order:?}");
        assert_eq!(
            blotter.find(&order.id).map(|found| &found.id),
            Some(&order.id)
        );
    }
    let positions = blotter.positions();
    assert_eq!(positions.len(), net.len());
    for (symbol, position) in positions {
        assert_eq!(position.net(), net[&symbol]);
    }
}

#[test]
fn reports_that_make_no_sense_still_add_up() {
    let mut random = Random(seed());
    for _ in 0..20_000 {
        let entries = entries(&mut random);
        let blotter = blotter(&entries);
        assert_adds_up(&blotter);
        // A record of orders agrees with itself, but for what it says of itself.
        let (one, other) = (Ledger::of(vec![blotter.clone()]), Ledger::of(vec![blotter]));
        for found in reconcile(&BTreeMap::new(), &one, Some(&other), false) {
            assert!(
                found.reports.is_none() || found.drop_copy.is_none(),
                "{found}"
            );
        }
    }
}

#[test]
fn a_damaged_journal_is_a_prefix_or_an_error() {
    let place = Place::new("journal");
    let mut random = Random(seed());
    for _ in 0..300 {
        let all = entries(&mut random);
        let _ = fs::remove_file(&place.0);
        let mut journal = Journal::open(&place.0, |_| {}).unwrap();
        all.iter().for_each(|entry| journal.append(entry).unwrap());
        drop(journal);
        let whole = fs::read(&place.0).unwrap();
        for _ in 0..20 {
            let mut bytes = whole.clone();
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes.truncate(at),
                2 => bytes[at..].fill(0),
                _ => bytes.extend_from_slice(&whole[at..]),
            }
            fs::write(&place.0, &bytes).unwrap();
            let mut found = Vec::new();
            match Journal::read(&place.0, |entry| found.push(entry)) {
                Ok(()) => assert!(all.starts_with(&found) || found.starts_with(&all)),
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.contains(&*place.0.to_string_lossy()), "{said}");
                    assert!(said.contains("byte "), "{said}");
                }
            }
            assert_adds_up(&blotter(&found));
        }
    }
}

#[test]
fn a_changed_drop_copy_is_whole_messages_or_an_error() {
    let place = Place::new("copy");
    let mut random = Random(seed());
    for _ in 0..300 {
        let mut whole = Vec::new();
        for _ in 0..1 + random.below(8) {
            let (_, bytes) = message(&mut random);
            whole.extend_from_slice(&bytes);
            whole.push(b'\n');
        }
        for _ in 0..20 {
            let mut bytes = whole.clone();
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes.truncate(at),
                _ => bytes.splice(at..at, *b"8=FIX").for_each(drop),
            }
            fs::write(&place.0, &bytes).unwrap();
            let mut last = 0;
            let read = copy::read(&place.0, |at, message| {
                assert!(at >= last, "in the file's order");
                last = at + message.len() as u64;
                assert!(message.starts_with(b"8=FIX") && message.ends_with(b"\x01"));
            });
            assert!(last <= bytes.len() as u64);
            if let Err(error) = read {
                assert!(error.to_string().contains(", byte "), "{error}");
            }
            let _ = Ledger::default().read_copy(&place.0);
        }
    }
}
