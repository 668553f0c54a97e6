//! Rows of joins.

use std::path::Path;

use bus::signal::{Join as Said, JoinValue, Met};
use bus::{Signal, Ts};
use parquet::data_type::ByteArray;

use super::table::{Cell, Table};
use super::{Labels, Names, TableError, metadata, price, side_name};

/// The columns that every such table has. What is not of a row's kind of record is null.
const SCHEMA: &str = "
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
    required binary left (STRING);
    optional double left_price;
    optional int64 left_qty;
    optional binary left_side (STRING);
    optional double left_bid;
    optional double left_ask;
    optional int64 left_bid_qty;
    optional int64 left_ask_qty;
    required int64 left_seq;
    optional binary right_symbol (STRING);
    optional binary right (STRING);
    optional int64 right_ts_event (TIMESTAMP(NANOS, true));
    optional double right_price;
    optional int64 right_qty;
    optional binary right_side (STRING);
    optional double right_bid;
    optional double right_ask;
    optional int64 right_bid_qty;
    optional int64 right_ask_qty;
    optional int64 right_seq;
    required int64 seq;
    required int32 left_qty_decimals;
    optional int32 right_qty_decimals;
    optional int64 valid_from (TIMESTAMP(NANOS, true));
";

/// Their names, which no column of a reference table may have.
pub const JOIN_COLUMNS: [&str; 27] = [
    "ts_event",
    "symbol",
    "name",
    "left",
    "left_price",
    "left_qty",
    "left_side",
    "left_bid",
    "left_ask",
    "left_bid_qty",
    "left_ask_qty",
    "left_seq",
    "right_symbol",
    "right",
    "right_ts_event",
    "right_price",
    "right_qty",
    "right_side",
    "right_bid",
    "right_ask",
    "right_bid_qty",
    "right_ask_qty",
    "right_seq",
    "seq",
    "left_qty_decimals",
    "right_qty_decimals",
    "valid_from",
];

/// What is to be known of a join: its name, and its table, if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinName {
    /// As the configuration calls it.
    pub name: String,
    /// The columns of its table.
    pub columns: Vec<String>,
    /// Its rows: from when on it is valid, and the columns.
    pub rows: Vec<(Ts, Vec<String>)>,
}

/// Writes the `joins` table: behind the columns of all, those of the joins' own tables.
pub(super) struct JoinTable {
    table: Table,
    joins: Vec<Texts>,
    /// How many columns the joins' tables have together.
    column_count: usize,
}

/// One join's texts, made once.
struct Texts {
    name: ByteArray,
    /// Where each of its columns stands among those of all.
    places: Vec<usize>,
    rows: Vec<(Ts, Vec<ByteArray>)>,
}

impl JoinTable {
    /// `None` where there are no joins.
    pub(super) fn create(folder: &Path, names: &Names) -> Result<Option<JoinTable>, TableError> {
        if names.joins.is_empty() {
            return Ok(None);
        }
        let mut all: Vec<&str> = Vec::new();
        let mut joins = Vec::new();
        for join in &names.joins {
            let mut places = Vec::new();
            for column in &join.columns {
                let place = all.iter().position(|other| other == column);
                places.push(place.unwrap_or(all.len()));
                if place.is_none() {
                    all.push(column);
                }
            }
            let texts = |cells: &Vec<String>| -> Vec<ByteArray> {
                cells.iter().map(|cell| cell.as_str().into()).collect()
            };
            let rows = join.rows.iter();
            joins.push(Texts {
                name: join.name.as_str().into(),
                places,
                rows: rows.map(|(from, cells)| (*from, texts(cells))).collect(),
            });
        }
        let columns: String = (all.iter())
            .map(|name| format!("    optional binary {name} (STRING);\n"))
            .collect();
        let schema = format!("message joins {{{SCHEMA}{columns}}}");
        let table = Table::create(folder, "joins", &schema, &metadata("joins", names))?;
        Ok(Some(JoinTable {
            table,
            joins,
            column_count: all.len(),
        }))
    }

    /// Adds a row.
    pub(super) fn push(
        &mut self,
        signal: &Signal,
        said: &Said,
        labels: &Labels,
    ) -> Result<(), TableError> {
        let unknown = |table: &Table| {
            let (seq, rule) = (signal.seq, signal.rule);
            table.error(format!(
                "event {seq}: a row of join {rule} that the settings lack"
            ))
        };
        let Some(join) = self.joins.get(usize::from(signal.rule)) else {
            return Err(unknown(&self.table));
        };
        let symbol = labels.symbol(signal.symbol);
        let left = texts_of(Some(said.left));
        let (of, value, at) = match said.right {
            Met::Record {
                symbol,
                ts,
                seq,
                value,
            } => (Some(symbol), Some(value), Some((ts, seq))),
            Met::Nothing | Met::Row(_) => (None, None, None),
        };
        let row = match said.right {
            Met::Row(row) => match join.rows.get(row as usize) {
                Some(row) => Some(row),
                None => return Err(unknown(&self.table)),
            },
            Met::Nothing | Met::Record { .. } => None,
        };
        let right = texts_of(value);
        let right_symbol = of.map(|number| labels.symbol(number));
        let mut cells = vec![
            Cell::Long(signal.ts_event.0),
            Cell::Text(&symbol),
            Cell::Text(&join.name),
            optional(&left.kind),
        ];
        cells.extend(left.cells());
        cells.extend([
            Cell::Long(said.left_seq as i64),
            optional(&right_symbol),
            optional(&right.kind),
            at.map_or(Cell::Null, |(ts, _)| Cell::Long(ts.0)),
        ]);
        cells.extend(right.cells());
        cells.extend([
            at.map_or(Cell::Null, |(_, seq)| Cell::Long(seq as i64)),
            Cell::Long(signal.seq as i64),
            Cell::Int(labels.decimals(signal.symbol).into()),
            of.map_or(Cell::Null, |number| {
                Cell::Int(labels.decimals(number).into())
            }),
            row.map_or(Cell::Null, |(from, _)| Cell::Long(from.0)),
        ]);
        let first = cells.len();
        cells.resize(first + self.column_count, Cell::Null);
        for (place, cell) in join
            .places
            .iter()
            .zip(row.into_iter().flat_map(|row| &row.1))
        {
            if !cell.data().is_empty() {
                cells[first + place] = Cell::Text(cell);
            }
        }
        self.table.push(&cells)
    }

    /// Gives the table its name; says how many rows it has.
    pub(super) fn finish(self) -> Result<u64, TableError> {
        self.table.finish()
    }
}

/// One side of a row.
struct SideOf {
    value: Option<JoinValue>,
    kind: Option<ByteArray>,
    side: Option<ByteArray>,
}

fn texts_of(value: Option<JoinValue>) -> SideOf {
    let kind = value.map(|value| match value {
        JoinValue::Trade(_) => "trade",
        JoinValue::Quote(_) => "quote",
    });
    let side = match value {
        Some(JoinValue::Trade(fill)) => Some(side_name(fill.aggressor)),
        Some(JoinValue::Quote(_)) | None => None,
    };
    SideOf {
        value,
        kind: kind.map(ByteArray::from),
        side: side.map(ByteArray::from),
    }
}

impl SideOf {
    /// Price, quantity and side; bid, ask and their quantities.
    fn cells(&self) -> [Cell<'_>; 7] {
        let null = Cell::Null;
        match self.value {
            None => [null; 7],
            Some(JoinValue::Trade(fill)) => [
                price(fill.price),
                Cell::Long(fill.qty.0),
                optional(&self.side),
                null,
                null,
                null,
                null,
            ],
            Some(JoinValue::Quote(quote)) => [
                null,
                null,
                null,
                price(quote.bid),
                price(quote.ask),
                Cell::Long(quote.bid_qty.0),
                Cell::Long(quote.ask_qty.0),
            ],
        }
    }
}

fn optional(text: &Option<ByteArray>) -> Cell<'_> {
    text.as_ref().map_or(Cell::Null, Cell::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_schema() {
        let lines = SCHEMA.trim().lines();
        let name = |line: &'static str| {
            let word = line.split_whitespace().nth(2).expect("a column");
            word.trim_end_matches(';')
        };
        assert_eq!(lines.map(name).collect::<Vec<_>>(), JOIN_COLUMNS);
    }
}
