//! Symbols that live on one shard, because something looks at them together.
//!
//! A group is named in the settings by its symbols' names, and a feed says names by and by. So a symbol's
//! group is decided by the first name that is said of its number, and stays: everything that is said of a
//! symbol goes to one shard, at any number of shards. What is said before the first name goes nowhere,
//! where there are groups.

use std::collections::BTreeMap;

/// The shard of a symbol that is in no group. Feeds number symbols from 1 on, so that taking turns
/// spreads both a feed's busy names and its alphabet.
#[inline]
pub const fn shard_of(symbol: u32, shards: usize) -> usize {
    symbol as usize % shards
}

/// A name as a feed says it: letters, and spaces behind them.
pub fn padded(name: &str) -> [u8; 8] {
    let mut bytes = [b' '; 8];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    bytes
}

/// Which symbols are together, and as far as their names were said, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The group of a name.
    by_name: BTreeMap<[u8; 8], u16>,
    /// By number, of which a name was said: its group and name, if it is in any.
    named: BTreeMap<u32, Option<Member>>,
}

/// A symbol of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group's number.
    pub group: u16,
    /// The name by which it is in it.
    pub name: [u8; 8],
}

impl Groups {
    /// Groups of these names, numbered in this order. A name is in one group at most; that is for the
    /// caller to see to.
    pub fn new<'a>(groups: impl IntoIterator<Item = &'a [String]>) -> Groups {
        let mut by_name = BTreeMap::new();
        for (group, names) in groups.into_iter().enumerate() {
            for name in names {
                by_name.insert(padded(name), group as u16);
            }
        }
        Groups {
            by_name,
            named: BTreeMap::new(),
        }
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.by_name.is_empty()
    }

    /// A name was said of a number. Its membership, if this is the first name of it and a group has it.
    pub fn bind(&mut self, symbol: u32, name: [u8; 8]) -> Option<Member> {
        if self.is_none() || self.named.contains_key(&symbol) {
            return None;
        }
        let group = self.by_name.get(&name).copied();
        let member = group.map(|group| Member { group, name });
        self.named.insert(symbol, member);
        member
    }

    /// A number had a name that no group has, whatever it is called now.
    pub fn is_apart(&mut self, symbol: u32) {
        if !self.is_none() {
            self.named.entry(symbol).or_insert(None);
        }
    }

    /// Takes over what others know of numbers.
    pub fn learn(&mut self, other: &Groups) {
        for (symbol, member) in &other.named {
            self.named.entry(*symbol).or_insert(*member);
        }
    }

    /// Whether a name was said of this number.
    pub fn is_named(&self, symbol: u32) -> bool {
        self.named.contains_key(&symbol)
    }

    /// Those whose names were said, by their numbers.
    pub fn members(&self) -> impl Iterator<Item = (u32, Member)> + '_ {
        let named = self.named.iter();
        named.filter_map(|(symbol, member)| Some((*symbol, (*member)?)))
    }

    /// The shard of a symbol, by what is known of it.
    pub fn shard_of(&self, symbol: u32, shards: usize) -> usize {
        match self.named.get(&symbol) {
            Some(Some(member)) => usize::from(member.group) % shards,
            Some(None) | None => shard_of(symbol, shards),
        }
    }

    /// The shard of a symbol that was called so first.
    pub fn shard_of_named(&self, symbol: u32, name: &str, shards: usize) -> usize {
        match self.by_name.get(&padded(name)) {
            Some(group) => usize::from(*group) % shards,
            None => shard_of(symbol, shards),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_decides_and_both_of_a_group_are_on_its_shard() {
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|n| n.to_string()).collect() };
        let all = [names(&["A", "B"]), names(&["C", "D"])];
        let mut groups = Groups::new(all.iter().map(Vec::as_slice));
        assert_eq!(
            groups.bind(7, padded("D")).map(|member| member.group),
            Some(1)
        );
        assert_eq!(groups.bind(7, padded("A")), None, "its second name");
        assert_eq!(groups.bind(8, padded("X")), None);
        assert_eq!(groups.bind(8, padded("B")), None, "its second name");
        assert_eq!(
            groups.bind(10, padded("C")).map(|member| member.group),
            Some(1)
        );
        for shards in 1..5 {
            assert_eq!(groups.shard_of(7, shards), groups.shard_of(10, shards));
            assert_eq!(groups.shard_of(8, shards), 8 % shards);
            assert_eq!(groups.shard_of(9, shards), 9 % shards);
            assert_eq!(groups.shard_of_named(7, "D", shards), 1 % shards);
        }
        let numbers: Vec<u32> = groups.members().map(|(symbol, _)| symbol).collect();
        assert_eq!(numbers, [7, 10]);
        let mut other = Groups::new(all.iter().map(Vec::as_slice));
        other.is_apart(10);
        other.learn(&groups);
        assert_eq!(other.shard_of(7, 2), 1);
        assert_eq!(other.shard_of(10, 3), 1, "what was known stays");
        assert_eq!(Groups::default().bind(1, padded("A")), None);
    }
}
