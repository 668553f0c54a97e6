//! One Parquet file, written row by row.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, Type as Physical, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

use super::TableError;

/// Rows that are kept in memory and then written together: what a reader reads as one, and the
/// bound of what we hold. The widest table takes 150 bytes a row.
pub(super) const GROUP_ROWS: usize = 128 * 1024;

/// One value of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a ByteArray),
}

/// A table that is being written. It stands beside its place under another name until it is whole,
/// so that a killed run leaves no half table where a reader looks.
pub(super) struct Table {
    path: PathBuf,
    path_partial: PathBuf,
    writer: SerializedFileWriter<File>,
    columns: Vec<Column>,
    group_rows: usize,
    rows: u64,
}

impl Table {
    pub(super) fn create(
        folder: &Path,
        name: &str,
        schema: &str,
        metadata: &[(&'static str, String)],
    ) -> Result<Table, TableError> {
        let path = folder.join(format!("{name}.parquet"));
        let path_partial = folder.join(format!("{name}.parquet.partial"));
        let schema = Arc::new(parse_message_type(schema).expect("a schema of ours"));
        let columns = schema
            .get_fields()
            .iter()
            .map(|field| Column::new(field))
            .collect();
        let properties = Arc::new(properties(&schema, metadata).build());
        let fail = |error: &dyn fmt::Display| TableError::new(&path_partial, error);
        let file = File::create(&path_partial).map_err(|error| fail(&error))?;
        let writer = SerializedFileWriter::new(file, schema, properties)
            .map_err(|error| fail(&reason(&error)))?;
        Ok(Table {
            path,
            path_partial,
            writer,
            columns,
            group_rows: 0,
            rows: 0,
        })
    }

    /// Adds a row with a cell for each column, in the schema's order.
    pub(super) fn push(&mut self, row: &[Cell<'_>]) -> Result<(), TableError> {
        assert_eq!(
            row.len(),
            self.columns.len(),
            "a row of {}",
            self.path.display()
        );
        for (column, &cell) in self.columns.iter_mut().zip(row) {
            column.push(cell);
        }
        self.group_rows += 1;
        if self.group_rows == GROUP_ROWS {
            self.write_group()
        } else {
            Ok(())
        }
    }

    /// Writes what is left, and puts the file in its place; says how many rows it has.
    pub(super) fn finish(mut self) -> Result<u64, TableError> {
        // A table without rows has no row group: some readers refuse an empty one.
        if self.group_rows > 0 {
            self.write_group()?;
        }
        let fail = |error: &dyn fmt::Display| TableError::new(&self.path_partial, error);
        let file = self
            .writer
            .into_inner()
            .map_err(|error| fail(&reason(&error)))?;
        file.sync_all().map_err(|error| fail(&error))?;
        fs::rename(&self.path_partial, &self.path).map_err(|error| fail(&error))?;
        Ok(self.rows)
    }

    pub(super) fn error(&self, what: impl fmt::Display) -> TableError {
        TableError::new(&self.path, what)
    }

    fn write_group(&mut self) -> Result<(), TableError> {
        let result = write_columns(&mut self.writer, &mut self.columns);
        result.map_err(|error| TableError::new(&self.path_partial, reason(&error)))?;
        self.rows += self.group_rows as u64;
        self.group_rows = 0;
        Ok(())
    }
}

fn write_columns(
    writer: &mut SerializedFileWriter<File>,
    columns: &mut [Column],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for column in columns {
        let column_writer = group
            .next_column()?
            .expect("as many columns as the schema has");
        column.write(column_writer)?;
    }
    group.close()?;
    Ok(())
}

/// The package's errors begin with words that say nothing of the cause.
fn reason(error: &ParquetError) -> String {
    match error {
        ParquetError::External(cause) => cause.to_string(),
        other => other.to_string(),
    }
}

fn properties(schema: &Type, metadata: &[(&'static str, String)]) -> WriterPropertiesBuilder {
    let metadata = metadata
        .iter()
        .map(|(key, value)| KeyValue::new(key.to_string(), value.clone()));
    let level = ZstdLevel::try_new(3).expect("a level that zstd has");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_key_value_metadata(Some(metadata.collect()));
    // Times and counts rise by little from row to row, which a dictionary does not see.
    for field in schema.get_fields() {
        if field.get_physical_type() == Physical::INT64 {
            properties = properties
                .set_column_dictionary_enabled(field.name().into(), false)
                .set_column_encoding(field.name().into(), Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties
}

/// The values of one column that are not yet written.
struct Column {
    name: String,
    values: Values,
    /// For each row, 1 where there is a value and 0 where there is none; `None` for a column in
    /// which nothing may be missing.
    levels: Option<Vec<i16>>,
}

enum Values {
    Bool(Vec<bool>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Column {
    fn new(field: &Type) -> Column {
        let values = match field.get_physical_type() {
            Physical::BOOLEAN => Values::Bool(Vec::new()),
            Physical::INT32 => Values::Int(Vec::new()),
            Physical::INT64 => Values::Long(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::BYTE_ARRAY => Values::Text(Vec::new()),
            other => unreachable!("no table has a column of {other}"),
        };
        let levels = field.is_optional().then(Vec::new);
        Column {
            name: field.name().to_string(),
            values,
            levels,
        }
    }

    fn push(&mut self, cell: Cell<'_>) {
        if let Some(levels) = &mut self.levels {
            levels.push(i16::from(!matches!(cell, Cell::Null)));
        }
        match (&mut self.values, cell) {
            (Values::Bool(values), Cell::Bool(value)) => values.push(value),
            (Values::Int(values), Cell::Int(value)) => values.push(value),
            (Values::Long(values), Cell::Long(value)) => values.push(value),
            (Values::Double(values), Cell::Double(value)) => values.push(value),
            (Values::Text(values), Cell::Text(value)) => values.push(value.clone()),
            (_, Cell::Null) if self.levels.is_some() => {}
            (_, cell) => panic!("column {} does not take {cell:?}", self.name),
        }
    }

    fn write(&mut self, writer: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.levels.as_deref();
        match &mut self.values {
            Values::Bool(values) => write::<BoolType>(writer, values, levels)?,
            Values::Int(values) => write::<Int32Type>(writer, values, levels)?,
            Values::Long(values) => write::<Int64Type>(writer, values, levels)?,
            Values::Double(values) => write::<DoubleType>(writer, values, levels)?,
            Values::Text(values) => write::<ByteArrayType>(writer, values, levels)?,
        }
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
        Ok(())
    }
}

fn write<T: DataType>(
    mut writer: SerializedColumnWriter<'_>,
    values: &mut Vec<T::T>,
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    writer.typed::<T>().write_batch(values, levels, None)?;
    values.clear();
    writer.close()
}
