//! Symbols that are on one shard.

use std::collections::BTreeMap;

use feed::groups::Groups;
use serde::{Deserialize, Deserializer, Serialize};

/// Named groups of symbols.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupConfigs(pub BTreeMap<String, Group>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The names of its symbols, two at least.
    #[serde(deserialize_with = "upper_case")]
    pub symbols: Vec<String>,
}

/// Names as feeds say them, like those on the command line.
fn upper_case<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    Ok(names.iter().map(|name| name.to_ascii_uppercase()).collect())
}

impl GroupConfigs {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, group) in &self.0 {
            let count = group.symbols.len();
            if count < 2 {
                return Err(format!(
                    "groups.{name}.symbols: {count} symbols, want two at least"
                ));
            }
            for symbol in &group.symbols {
                if symbol.is_empty() || symbol.len() > 8 {
                    return Err(format!(
                        "groups.{name}.symbols: `{symbol}`, want one to eight letters"
                    ));
                }
                match seen.insert(symbol, name) {
                    Some(other) if other == name => {
                        return Err(format!("groups.{name}.symbols: `{symbol}` is there twice"));
                    }
                    Some(other) => {
                        return Err(format!(
                            "groups.{name}.symbols: `{symbol}` is in group `{other}` too, want each \
                             in one"
                        ));
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// Whether one of them has both.
    pub(super) fn has(&self, one: &str, other: &str) -> bool {
        let has = |group: &Group, name: &str| group.symbols.iter().any(|symbol| symbol == name);
        let mut groups = self.0.values();
        groups.any(|group| has(group, one) && has(group, other))
    }

    /// As a reader and a shard know them, numbered in the order of their names, with others that are
    /// declared elsewhere behind them. Groups that have a symbol in common are one.
    pub fn joined(&self, others: Vec<Vec<String>>) -> Groups {
        let own = self.0.values().map(|group| group.symbols.clone());
        let mut all: Vec<Vec<String>> = Vec::new();
        for mut symbols in own.chain(others) {
            let meets = |group: &Vec<String>| group.iter().any(|name| symbols.contains(name));
            let first = all.iter().position(meets);
            let (mut met, apart): (Vec<_>, Vec<_>) = all.into_iter().partition(meets);
            all = apart;
            symbols = met.drain(..).flatten().chain(symbols).collect();
            all.insert(first.unwrap_or(all.len()), symbols);
        }
        Groups::new(all.iter().map(Vec::as_slice))
    }
}
