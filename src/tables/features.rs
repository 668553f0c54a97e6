//! What decisions saw, a row for each.

use std::path::Path;

use bus::Signal;
use bus::signal::Features as Said;
use parquet::data_type::ByteArray;

use super::table::{Cell, Table};
use super::{Names, TableError, metadata};

/// Writes the `features` table: its columns are the features of the configuration, in their order.
pub(super) struct FeatureTable {
    table: Table,
    column_count: usize,
    /// What was said so far of one decision.
    row: Option<Row>,
}

struct Row {
    signal: Signal,
    symbol: ByteArray,
    strategy: ByteArray,
    values: Vec<f64>,
}

impl FeatureTable {
    /// `None` where there are no features.
    pub(super) fn create(folder: &Path, names: &Names) -> Result<Option<FeatureTable>, TableError> {
        if names.features.is_empty() {
            return Ok(None);
        }
        let columns: String = (names.features.iter())
            .map(|name| format!("    optional double {name};\n"))
            .collect();
        let schema = format!(
            "message features {{
    required int64 ts_event (TIMESTAMP(NANOS, true));
    required binary symbol (STRING);
    required binary name (STRING);
{columns}    required int64 seq;
}}"
        );
        let table = Table::create(folder, "features", &schema, &metadata("features", names))?;
        Ok(Some(FeatureTable {
            table,
            column_count: names.features.len(),
            row: None,
        }))
    }

    /// Adds some numbers: the first of a decision, or more of the one before.
    pub(super) fn push(
        &mut self,
        signal: &Signal,
        said: &Said,
        symbol: ByteArray,
        strategy: ByteArray,
    ) -> Result<(), TableError> {
        let values = &said.values[..said.count as usize];
        if said.first == 0 {
            self.push_row()?;
            self.row = Some(Row {
                signal: *signal,
                symbol,
                strategy,
                values: values.to_vec(),
            });
            return Ok(());
        }
        let of = |signal: &Signal| (signal.seq, signal.symbol, signal.rule);
        match &mut self.row {
            Some(row)
                if of(&row.signal) == of(signal) && row.values.len() == said.first as usize =>
            {
                row.values.extend_from_slice(values);
                Ok(())
            }
            _ => Err(self.table.error(format!(
                "event {}: features from {} on of a decision that is not the one before",
                signal.seq, said.first
            ))),
        }
    }

    fn push_row(&mut self) -> Result<(), TableError> {
        let Some(row) = self.row.take() else {
            return Ok(());
        };
        if row.values.len() != self.column_count {
            return Err(self.table.error(format!(
                "event {}: {} features, want {}",
                row.signal.seq,
                row.values.len(),
                self.column_count
            )));
        }
        let mut cells = vec![
            Cell::Long(row.signal.ts_event.0),
            Cell::Text(&row.symbol),
            Cell::Text(&row.strategy),
        ];
        cells.extend(row.values.iter().map(|value| match value.is_nan() {
            true => Cell::Null,
            false => Cell::Double(*value),
        }));
        cells.push(Cell::Long(row.signal.seq as i64));
        self.table.push(&cells)
    }

    /// Writes what is left, and gives the table its name; says how many rows it has.
    pub(super) fn finish(mut self) -> Result<u64, TableError> {
        self.push_row()?;
        self.table.finish()
    }
}
