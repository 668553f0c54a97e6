//! Joins of streams.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use analytics::joins::Table;
use analytics::{JoinConfig, JoinKind as Compiled, Right, Stream as Plain};
use feed::groups::padded;
use serde::{Deserialize, Serialize};

use super::units::Span;
use crate::reference::read_csv;
use crate::session::moment;
use crate::tables::{JOIN_COLUMNS, JoinName};

/// Named joins; the order of their names is their number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Joins(pub BTreeMap<String, Join>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// What a left record meets.
    pub kind: JoinKind,
    /// Which records of the left symbols.
    #[serde(default)]
    pub left: Stream,
    /// The left symbols; of `temporal`, where there is no list, all of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// Of `asof` and `interval`: the other symbol; each left symbol itself where it is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Of those: which records of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Stream>,
    /// Of `asof`: how old what is met may be; however old where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Span>,
    /// Of `interval`: how long before a left record ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Span>,
    /// ... and how long after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// Of `interval`: the most that one left record meets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_max: Option<usize>,
    /// Of `asof` and `interval`: how many records of each side are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<usize>,
    /// Whether a left record that meets nothing has a row: of `interval` not, of others it has, where
    /// nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<bool>,
    /// Of `temporal`: the table, as CSV. It is read once, and stands in `columns` and `rows` from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What its columns are called, behind `valid_from` and `symbol`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Its rows: from when on, for which symbol, and the columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Vec<String>>,
}

/// What a left record meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JoinKind {
    /// The latest of the other stream before it.
    AsOf,
    /// All of the other stream that are near in time.
    Interval,
    /// The row of a table that is valid then.
    Temporal,
}

/// Which records of a symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Its prints.
    #[default]
    Trades,
    /// Its best prices.
    Quotes,
}

/// A table is a piece of the settings, which every run keeps.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl From<Stream> for Plain {
    fn from(stream: Stream) -> Plain {
        match stream {
            Stream::Trades => Plain::Trades,
            Stream::Quotes => Plain::Quotes,
        }
    }
}

impl Join {
    /// Reads its table, if that is in a file; a relative path begins where the settings are.
    fn read_file(&mut self, name: &str, beside: &Path) -> Result<(), String> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let fail = |what: String| format!("joins.{name}.file: {what}");
        if !(self.columns.is_empty() && self.rows.is_empty()) {
            return Err(fail("want one of `file` and `rows`".into()));
        }
        let file = beside.parent().unwrap_or(Path::new("")).join(file);
        let (columns, rows) = read_csv(&file, FILE_BYTES_MAX).map_err(fail)?;
        let place = |wanted: &str| {
            let place = columns.iter().position(|column| column == wanted);
            place.ok_or_else(|| {
                let file = file.display();
                fail(format!("{file}, line 1: no column `{wanted}`"))
            })
        };
        let first = [place("valid_from")?, place("symbol")?];
        let others = (0..columns.len()).filter(|index| !first.contains(index));
        let others: Vec<usize> = others.collect();
        self.columns = others.iter().map(|index| columns[*index].clone()).collect();
        for (line, row) in rows {
            let cells = first.iter().chain(&others);
            let mut cells: Vec<String> = cells.map(|index| row[*index].clone()).collect();
            cells[1] = cells[1].to_ascii_uppercase();
            let wrong = |what: String| fail(format!("{}, line {line}: {what}", file.display()));
            moment(&cells[0]).map_err(wrong)?;
            check_symbol(&cells[1]).map_err(wrong)?;
            self.rows.push(cells);
        }
        self.file = None;
        Ok(())
    }

    /// The keys that its kind has, and no others.
    fn check_keys(&self) -> Result<(), String> {
        let kind = self.kind;
        let streams = kind != JoinKind::Temporal;
        let keys = [
            ("with", self.with.is_some(), streams),
            ("right", self.right.is_some(), streams),
            ("keep", self.keep.is_some(), streams),
            (
                "tolerance",
                self.tolerance.is_some(),
                kind == JoinKind::AsOf,
            ),
            ("before", self.before.is_some(), kind == JoinKind::Interval),
            ("after", self.after.is_some(), kind == JoinKind::Interval),
            (
                "rows_max",
                self.rows_max.is_some(),
                kind == JoinKind::Interval,
            ),
            ("columns", !self.columns.is_empty(), !streams),
            ("rows", !self.rows.is_empty(), !streams),
        ];
        let odd = keys
            .iter()
            .find(|(_, is_there, may_be)| *is_there && !may_be);
        match odd {
            Some((key, ..)) => Err(format!(".{key}: this kind of join has no `{key}`")),
            None => Ok(()),
        }
    }

    /// The left symbols, in upper case.
    fn left_symbols(&self) -> Vec<String> {
        if self.kind == JoinKind::Temporal && self.symbols.is_empty() {
            let names = self.rows.iter().filter_map(|row| row.get(1));
            let names: BTreeSet<String> = names.map(|name| name.to_ascii_uppercase()).collect();
            return names.into_iter().collect();
        }
        let names = self.symbols.iter();
        names.map(|name| name.to_ascii_uppercase()).collect()
    }

    fn config(&self, name: &str) -> Result<JoinConfig, String> {
        let fail = |what: String| format!("joins.{name}{what}");
        if self.file.is_some() {
            return Err(fail(
                ".file: settings that no file has can name none".into(),
            ));
        }
        self.check_keys().map_err(fail)?;
        let symbols = self.left_symbols();
        for symbol in &symbols {
            check_symbol(symbol).map_err(|what| fail(format!(".symbols: {what}")))?;
        }
        if let Some(with) = &self.with {
            check_symbol(with).map_err(|what| fail(format!(".with: {what}")))?;
        }
        let right = Right {
            stream: self.right.unwrap_or(Stream::Quotes).into(),
            symbol: (self.with.as_ref()).map(|with| padded(&with.to_ascii_uppercase())),
            keep: self.keep.unwrap_or(4_096),
        };
        let kind = match self.kind {
            JoinKind::AsOf => Compiled::AsOf {
                right,
                tolerance_ns: self.tolerance.map_or(i64::MAX, |span| span.0),
            },
            JoinKind::Interval => {
                let (Some(before), Some(after)) = (self.before, self.after) else {
                    return Err(fail(": want `before` and `after`, like \"1s\"".into()));
                };
                Compiled::Interval {
                    right,
                    before_ns: before.0,
                    after_ns: after.0,
                    rows_max: self.rows_max.unwrap_or(64),
                }
            }
            JoinKind::Temporal => Compiled::Temporal {
                table: self.table(&symbols).map_err(fail)?,
            },
        };
        Ok(JoinConfig {
            name: name.into(),
            kind,
            left: self.left.into(),
            symbols: symbols.iter().map(|name| padded(name)).collect(),
            unmatched: self.unmatched.unwrap_or(self.kind != JoinKind::Interval),
        })
    }

    fn table(&self, symbols: &[String]) -> Result<Table, String> {
        if self.rows.is_empty() {
            return Err(": want a table, in `file` or in `columns` and `rows`".into());
        }
        let mut seen = BTreeSet::new();
        for column in &self.columns {
            let is_word =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let begins = column.starts_with(|letter: char| letter.is_ascii_lowercase());
            if !begins || !column.bytes().all(is_word) {
                return Err(format!(
                    ".columns: `{column}`, want small letters, digits and _, a letter in front"
                ));
            }
            if JOIN_COLUMNS.contains(&column.as_str()) {
                return Err(format!(".columns: `{column}` is one of the table's own"));
            }
            if !seen.insert(column) {
                return Err(format!(".columns: `{column}` is there twice"));
            }
        }
        let mut rows = Vec::new();
        for (index, cells) in self.rows.iter().enumerate() {
            let wrong = |what: String| format!(".rows: row {}: {what}", index + 1);
            let want = 2 + self.columns.len();
            if cells.len() != want {
                let count = cells.len();
                return Err(wrong(format!(
                    "{count} cells, want {want}: valid_from, symbol and the columns"
                )));
            }
            let from = moment(&cells[0]).map_err(wrong)?;
            check_symbol(&cells[1]).map_err(wrong)?;
            let symbol = cells[1].to_ascii_uppercase();
            if let Some(place) = symbols.iter().position(|name| *name == symbol) {
                rows.push((place, from, index as u32));
            }
        }
        Table::new(symbols.len(), rows).map_err(|row| {
            let cells = &self.rows[row as usize];
            let (from, symbol) = (&cells[0], &cells[1]);
            format!(
                ".rows: row {}: {symbol} has another row that is valid from {from} on",
                row + 1
            )
        })
    }
}

fn check_symbol(symbol: &str) -> Result<(), String> {
    match (1..=8).contains(&symbol.len()) {
        true => Ok(()),
        false => Err(format!("symbol `{symbol}`, want one to eight letters")),
    }
}

impl Joins {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the tables that stand in files, for settings that stand at `beside`.
    pub(super) fn read_files(&mut self, beside: &Path) -> Result<(), String> {
        let mut joins = self.0.iter_mut();
        joins.try_for_each(|(name, join)| join.read_file(name, beside))
    }

    /// Each, in the order of their names.
    pub(super) fn configs(&self) -> Result<Vec<JoinConfig>, String> {
        let joins = self.0.iter();
        joins.map(|(name, join)| join.config(name)).collect()
    }

    /// What tables have to know of each, in the order of their names.
    pub fn names(&self) -> Vec<JoinName> {
        let named = self.0.iter().map(|(name, join)| JoinName {
            name: name.clone(),
            columns: join.columns.clone(),
            rows: (join.rows.iter())
                .map(|cells| {
                    let from = moment(&cells[0]).expect("the configuration was checked");
                    (from, cells[2..].to_vec())
                })
                .collect(),
        });
        named.collect()
    }

    /// The symbols that have to be together.
    pub(super) fn groups(&self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for join in self.0.values() {
            let mut symbols = join.left_symbols();
            match &join.with {
                Some(with) => {
                    symbols.push(with.to_ascii_uppercase());
                    all.push(symbols);
                }
                None => all.extend(symbols.into_iter().map(|symbol| vec![symbol])),
            }
        }
        all
    }
}
