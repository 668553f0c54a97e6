//! Symbols that the settings name.

use std::collections::BTreeMap;

use super::{Config, Strategy};

impl Config {
    /// The symbols that the settings name and the input must have for that to say anything, in upper case, by the key
    /// that names them. Of a join's table not: it may be of more than one input has.
    pub fn named_symbols(&self) -> BTreeMap<String, Vec<String>> {
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = |key: String, symbols: &[String]| {
            if !symbols.is_empty() {
                let symbols = symbols.iter().map(|symbol| symbol.to_ascii_uppercase());
                named.insert(key, symbols.collect());
            }
        };
        for (key, join) in &self.joins.0 {
            name(format!("joins.{key}.symbols"), &join.symbols);
            name(format!("joins.{key}.with"), join.with.as_slice());
        }
        for (key, instrument) in &self.instruments.0 {
            name(format!("instruments.{key}.members"), &instrument.members);
        }
        for (key, group) in &self.groups.0 {
            name(format!("groups.{key}.symbols"), &group.symbols);
        }
        for (key, window) in &self.windows.0 {
            name(format!("windows.{key}.symbols"), &window.symbols);
        }
        for (key, strategy) in &self.strategies.0 {
            if let Strategy::Pairs { legs, .. } = strategy {
                name(format!("strategies.{key}.legs"), legs);
            }
        }
        let limited: Vec<String> = self.risk.symbol.keys().cloned().collect();
        name("risk.symbol".into(), &limited);
        named
    }

    /// Those of them that an input with these symbols does not have.
    pub fn absent(&self, has: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<String>> {
        let mut absent = self.named_symbols();
        for symbols in absent.values_mut() {
            symbols.retain(|symbol| !has(symbol));
        }
        absent.retain(|_, symbols| !symbols.is_empty());
        absent
    }
}

/// That settings name symbols which the input does not have, in a line; nothing where there are none.
pub fn absent_text(absent: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let keys = absent.iter();
    let keys: Vec<String> = keys
        .map(|(key, symbols)| format!("{key}: {}", symbols.join(", ")))
        .collect();
    (!keys.is_empty()).then(|| {
        format!(
            "symbols that the settings name and the input does not have: {}",
            keys.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn symbols_that_settings_name_are_told_by_their_keys() {
        let text = "[joins.j]\nkind = \"asof\"\nsymbols = [\"aa\", \"BB\"]\nwith = \"CC\"\n\
                    [instruments.i]\nmembers = [\"DD\", \"EE\"]\n\
                    [groups.g]\nsymbols = [\"AA\", \"FF\"]\n\
                    [strategies.p]\nkind = \"pairs\"\nlegs = [\"AA\", \"FF\"]\n\
                    [windows.w]\nsize = \"1s\"\nsymbols = [\"GG\"]\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        let absent = config.absent(|name| ["AA", "DD", "GG"].contains(&name));
        assert_eq!(
            absent_text(&absent).unwrap(),
            "symbols that the settings name and the input does not have: groups.g.symbols: FF; \
             instruments.i.members: EE; joins.j.symbols: BB; joins.j.with: CC; strategies.p.legs: FF"
        );
        assert_eq!(absent_text(&config.absent(|_| true)), None);
        assert_eq!(Config::default().named_symbols(), BTreeMap::new());
    }
}
