//! The best prices of instruments.

use std::path::Path;

use bus::Signal;
use bus::signal::Best;
use parquet::data_type::ByteArray;

use super::table::{Cell, Table};
use super::{Labels, Names, TableError, metadata, price};

/// `symbol` is the one that brought it about. `bid_symbols`, `ask_symbols` and `counts` name symbols,
/// joined by `+`.
const SCHEMA: &str = "message best {
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary name (STRING);
    required binary symbol (STRING);
    optional double bid;
    optional double ask;
    required int64 bid_qty;
    required int64 ask_qty;
    optional binary bid_symbols (STRING);
    optional binary ask_symbols (STRING);
    optional binary counts (STRING);
    required int64 seq;
    required int32 qty_decimals;
}";

/// Writes the `best` table.
pub(super) struct BestTable {
    table: Table,
    /// Of each instrument its name, and the text of each set of its members.
    instruments: Vec<(ByteArray, Vec<ByteArray>)>,
}

impl BestTable {
    /// `None` where there are no instruments.
    pub(super) fn create(folder: &Path, names: &Names) -> Result<Option<BestTable>, TableError> {
        if names.instruments.is_empty() {
            return Ok(None);
        }
        let sets = |members: &Vec<String>| -> Vec<ByteArray> {
            let set = |bits: usize| {
                let of_set = members.iter().enumerate();
                let of_set = of_set.filter(|(index, _)| bits >> index & 1 == 1);
                let of_set: Vec<&str> = of_set.map(|(_, name)| name.as_str()).collect();
                of_set.join("+").as_str().into()
            };
            (0..1 << members.len()).map(set).collect()
        };
        let named = names.instruments.iter();
        Ok(Some(BestTable {
            table: Table::create(folder, "best", SCHEMA, &metadata("best", names))?,
            instruments: named
                .map(|(name, members)| (name.as_str().into(), sets(members)))
                .collect(),
        }))
    }

    /// Adds a row.
    pub(super) fn push(
        &mut self,
        signal: &Signal,
        best: &Best,
        labels: &Labels,
    ) -> Result<(), TableError> {
        let seq = signal.seq;
        let wrong = |what: &str| self.table.error(format!("event {seq}: {what}"));
        let Some((name, sets)) = self.instruments.get(usize::from(signal.rule)) else {
            return Err(wrong("best prices of an instrument that the settings lack"));
        };
        let set = |bits: u8| match sets.get(usize::from(bits)) {
            Some(_) if bits == 0 => Ok(Cell::Null),
            Some(text) => Ok(Cell::Text(text)),
            None => Err(wrong("best prices of a symbol that the settings lack")),
        };
        let qty = |qty: i128| match i64::try_from(qty) {
            Ok(qty) => Ok(Cell::Long(qty)),
            Err(_) => Err(wrong("a quantity beyond 9.2e18 units")),
        };
        let symbol = labels.symbol(signal.symbol);
        let cells = [
            Cell::Long(signal.ts_event.0),
            Cell::Text(name),
            Cell::Text(&symbol),
            price(best.bid),
            price(best.ask),
            qty(best.bid_qty)?,
            qty(best.ask_qty)?,
            set(best.bid_on)?,
            set(best.ask_on)?,
            set(best.counts)?,
            Cell::Long(seq as i64),
            Cell::Int(best.decimals.into()),
        ];
        self.table.push(&cells)
    }

    /// Gives the table its name; says how many rows it has.
    pub(super) fn finish(self) -> Result<u64, TableError> {
        self.table.finish()
    }
}
