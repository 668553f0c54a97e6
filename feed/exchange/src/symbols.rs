//! The listed stocks: names, locate codes, prices, and how they differ.

use std::collections::BTreeSet;

use crate::exchange::TICK_E4;
use crate::random::{Random, exp};
use crate::wire::Name;

/// What stays the same all day.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    pub(crate) name: Name,
    pub(crate) locate: u16,
    /// Where it closed yesterday.
    pub(crate) close_e4: u32,
    pub(crate) market: u8,
    pub(crate) tier: u8,
}

impl Stock {
    /// The name without its padding.
    pub(crate) fn symbol(&self) -> String {
        String::from_utf8_lossy(&self.name).trim_end().to_owned()
    }
}

/// Market participants that show their name.
pub(crate) const PARTICIPANTS: [&[u8; 4]; 8] = [
    b"ALFA", b"BRVO", b"CHRL", b"DLTA", b"ECHO", b"FXTR", b"GOLF", b"HOTL",
];

/// Stocks from the most to the least active. Locates follow the alphabet, as on the real feed,
/// with gaps, so that neither order says anything of the other.
pub(crate) fn list(count: usize, random: &mut Random) -> Vec<Stock> {
    let mut names = BTreeSet::new();
    while names.len() < count {
        names.insert(name(random));
    }
    let mut locate = 0;
    let mut stocks: Vec<Stock> = names
        .into_iter()
        .map(|name| {
            locate += 1 + random.below(4) as u16;
            // Evenly spread in its logarithm between 3 and 900 dollars, thinned at both ends.
            let place = (random.unit() + random.unit()) / 2.0;
            let dollars = 3.0 * exp(place * 5.703_782);
            let ticks = (dollars * 10_000.0 / f64::from(TICK_E4)) as u32;
            Stock {
                name,
                locate,
                close_e4: ticks * TICK_E4,
                market: [b'Q', b'Q', b'G', b'S', b'N', b'A', b'P', b'Z'][random.index(8)],
                tier: if random.chance(0.4) { b'1' } else { b'2' },
            }
        })
        .collect();
    random.shuffle(&mut stocks);
    stocks
}

fn name(random: &mut Random) -> Name {
    const CONSONANTS: &[u8] = b"BCDFGHKLMNPRSTVWXZ";
    const VOWELS: &[u8] = b"AEIOUY";
    let letters = match random.below(100) {
        0..2 => 1,
        2..8 => 2,
        8..40 => 3,
        40..94 => 4,
        _ => 5,
    };
    let mut name = *b"        ";
    for letter in &mut name[..letters] {
        let from = if random.chance(0.35) {
            VOWELS
        } else {
            CONSONANTS
        };
        *letter = from[random.index(from.len())];
    }
    name
}

/// How active each of `count` stocks is, from the most to the least: Zipf's law, with the few
/// at the top held back.
pub(crate) fn activity(count: usize) -> Vec<f64> {
    (0..count).map(|rank| 1.0 / (rank as f64 + 2.7)).collect()
}
