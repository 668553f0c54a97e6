//! The events of a capture, a row for each.

use std::collections::HashMap;
use std::path::Path;

use bus::{Event, Kind, Side};
use parquet::data_type::ByteArray;

use super::table::{Cell, Table};
use super::{TableError, price, schema};

/// Writes one Parquet file of events.
pub struct Events {
    table: Table,
    /// Names and decimals of symbols.
    symbols: HashMap<u32, (ByteArray, u8)>,
    kinds: HashMap<&'static str, ByteArray>,
    types: Vec<ByteArray>,
    sides: [ByteArray; 3],
}

impl Events {
    /// A table `NAME.parquet` in a folder, of this day.
    pub fn create(folder: &Path, name: &str, date: String) -> Result<Events, TableError> {
        let metadata = [
            ("tapeline.schema_version", schema::VERSION.to_string()),
            ("tapeline.table", "events".to_string()),
            ("tapeline.date", date),
            (
                "tapeline.price_scale",
                "columns *_e9 are in units of 1e-9".to_string(),
            ),
        ];
        Ok(Events {
            table: Table::create(folder, name, schema::EVENTS, &metadata)?,
            symbols: HashMap::new(),
            kinds: HashMap::new(),
            types: (0..=255u8)
                .map(|code| letter(code).as_str().into())
                .collect(),
            sides: ["N", "B", "A"].map(ByteArray::from),
        })
    }

    /// Adds an event, named by the last name that its symbol was given.
    pub fn push(&mut self, event: &Event) -> Result<(), TableError> {
        if event.kind == Kind::Symbol {
            let bytes = event.order.to_be_bytes();
            let name = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            let decimals = event.order_b.min(18) as u8;
            let named = (ByteArray::from(name.as_str()), decimals);
            self.symbols.insert(event.symbol, named);
        }
        let symbol = self.symbols.entry(event.symbol).or_insert_with(|| {
            let name = format!("#{}", event.symbol);
            (ByteArray::from(name.as_str()), 0)
        });
        let kind = name_of(event.kind);
        let kind = self.kinds.entry(kind).or_insert_with(|| kind.into());
        let has_price = event.price.0 != 0 && event.price.is_some();
        let names_order = !matches!(event.kind, Kind::Symbol | Kind::Status | Kind::System);
        let order = |id: u64| match names_order && id != 0 {
            true => Cell::Long(id as i64),
            false => Cell::Null,
        };
        self.table.push(&[
            Cell::Long(event.ts_recv.0),
            Cell::Long(event.ts_event.0),
            Cell::Text(&symbol.0),
            Cell::Text(kind),
            Cell::Text(&self.types[usize::from(event.code)]),
            Cell::Text(match event.side {
                Side::None => &self.sides[0],
                Side::Buy => &self.sides[1],
                Side::Sell => &self.sides[2],
            }),
            if has_price {
                price(event.price)
            } else {
                Cell::Null
            },
            if has_price {
                Cell::Long(event.price.0)
            } else {
                Cell::Null
            },
            Cell::Long(event.qty.0),
            order(event.order),
            order(event.order_b),
            Cell::Int(event.flags.0.into()),
            Cell::Long(event.seq as i64),
            Cell::Int(symbol.1.into()),
        ])
    }

    /// Puts the file in its place; says how many rows it has.
    pub fn finish(self) -> Result<u64, TableError> {
        self.table.finish()
    }
}

/// A feed's own type: a letter, or a byte in hexadecimal.
fn letter(code: u8) -> String {
    match code {
        0 => String::new(),
        code if code.is_ascii_graphic() => char::from(code).into(),
        code => format!("0x{code:02x}"),
    }
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Nothing => "nothing",
        Kind::Add => "add",
        Kind::Execute => "execute",
        Kind::ExecuteAt => "execute_at",
        Kind::Cancel => "cancel",
        Kind::Delete => "delete",
        Kind::Replace => "replace",
        Kind::Trade => "trade",
        Kind::Cross => "cross",
        Kind::Break => "break",
        Kind::Imbalance => "imbalance",
        Kind::Symbol => "symbol",
        Kind::Status => "status",
        Kind::System => "system",
        Kind::Info => "info",
        Kind::Tick => "tick",
        Kind::Gap => "gap",
        Kind::End => "end",
    }
}
