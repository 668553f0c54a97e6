//! Tables read back, row by row.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bus::oms::OrderId;
use bus::{Level, Notional, Price, Qty, Side, Ts};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::{BookRow, TableError};

/// A row of `windows`.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowRow {
    /// The symbol's name.
    pub symbol: String,
    /// The window's name: `1s`.
    pub name: String,
    /// Its first nanosecond.
    pub start: Ts,
    /// The first nanosecond after it.
    pub end: Ts,
    /// First, highest, lowest and last price, as `Price::to_f64` has them.
    pub open: Option<f64>,
    #[allow(missing_docs)]
    pub high: Option<f64>,
    #[allow(missing_docs)]
    pub low: Option<f64>,
    #[allow(missing_docs)]
    pub close: Option<f64>,
    /// Shares traded.
    pub volume: Qty,
    /// Volume-weighted average price, as `Notional::per` and `Price::to_f64` have it.
    pub vwap: Option<f64>,
    /// The exact sum of price times shares.
    pub notional: Notional,
    /// How many prints.
    pub trade_count: u64,
    /// How many of them were late.
    pub late_count: u64,
    /// The `seq` of the event that closed it.
    pub seq: u64,
}

/// A row of `orders`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    /// When it was decided, in event time.
    pub ts_event: Ts,
    /// Its ClOrdID.
    pub id: OrderId,
    /// The symbol's name.
    pub symbol: String,
    /// The strategy's name.
    pub name: String,
    /// Buy or sell.
    pub side: Side,
    /// Shares.
    pub qty: Qty,
    /// The exact limit price.
    pub price: Price,
    /// What became of it.
    pub status: Status,
    /// Which risk rule refused it.
    pub reason: Option<String>,
    /// Its number at the gateway, if it was sent.
    pub msg_seq: Option<u64>,
    /// The `seq` of the event that caused it.
    pub seq: u64,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Handed to the peer.
    Sent,
    /// Held back by the kill flag.
    Killed,
    /// The peer was gone.
    Failed,
    /// It may have left before a crash; a cancel for it was handed to the peer.
    Cancelled,
    /// Refused by a risk rule.
    Rejected,
    /// The run ended before anything became of it.
    Pending,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 6] = [
        Status::Sent,
        Status::Killed,
        Status::Failed,
        Status::Cancelled,
        Status::Rejected,
        Status::Pending,
    ];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Sent => "sent",
            Status::Killed => "killed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Rejected => "rejected",
            Status::Pending => "pending",
        }
    }
}

/// The rows of a `windows` table, in the run's order.
pub fn read_windows(path: &Path) -> Result<Rows<WindowRow>, TableError> {
    Rows::open(
        path,
        &[
            "window_start",
            "window_end",
            "symbol",
            "name",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "vwap",
            "trade_count",
            "late_count",
            "notional_units",
            "notional_nanos",
            "seq",
        ],
        |row| {
            Ok(WindowRow {
                start: Ts(row.long()?),
                end: Ts(row.long()?),
                symbol: row.text()?,
                name: row.text()?,
                open: row.maybe_double()?,
                high: row.maybe_double()?,
                low: row.maybe_double()?,
                close: row.maybe_double()?,
                volume: Qty(row.long()?),
                vwap: row.maybe_double()?,
                trade_count: row.long()? as u64,
                late_count: row.long()? as u64,
                notional: {
                    let units = i128::from(row.long()?) * i128::from(Price::SCALE);
                    Notional(units + i128::from(row.int()?))
                },
                seq: row.long()? as u64,
            })
        },
    )
}

/// The rows of an `orders` table, in the run's order.
pub fn read_orders(path: &Path) -> Result<Rows<OrderRow>, TableError> {
    Rows::open(
        path,
        &[
            "ts_event",
            "cl_ord_id",
            "symbol",
            "name",
            "side",
            "qty",
            "status",
            "reason",
            "msg_seq",
            "price_e9",
            "seq",
        ],
        |row| {
            Ok(OrderRow {
                ts_event: Ts(row.long()?),
                id: {
                    let text = row.text()?;
                    let id = OrderId::parse(text.as_bytes());
                    id.ok_or_else(|| format!("`{text}`, want an order id of ours"))?
                },
                symbol: row.text()?,
                name: row.text()?,
                side: match &row.text()?[..] {
                    "buy" => Side::Buy,
                    "sell" => Side::Sell,
                    "none" => Side::None,
                    other => return Err(format!("side `{other}`, want `buy` or `sell`")),
                },
                qty: Qty(row.long()?),
                status: {
                    let text = row.text()?;
                    let status = Status::ALL.into_iter().find(|status| status.name() == text);
                    status.ok_or_else(|| format!("status `{text}`, want one of ours"))?
                },
                reason: row.maybe_text()?,
                msg_seq: row.maybe_long()?.map(|number| number as u64),
                price: Price(row.long()?),
                seq: row.long()? as u64,
            })
        },
    )
}

/// The rows of a `books` table.
pub fn read_books(path: &Path) -> Result<Rows<BookRow<String>>, TableError> {
    Rows::open(
        path,
        &[
            "symbol",
            "level",
            "bid_qty",
            "bid_orders",
            "ask_qty",
            "ask_orders",
            "bid_px_e9",
            "ask_px_e9",
        ],
        |row| {
            let (symbol, level) = (row.text()?, row.int()? as u32);
            let (bid_qty, bid_orders) = (row.maybe_long()?, row.maybe_long()?);
            let (ask_qty, ask_orders) = (row.maybe_long()?, row.maybe_long()?);
            let side = |price: Option<i64>, qty: Option<i64>, orders: Option<i64>| {
                Some(Level {
                    price: Price(price?),
                    qty: Qty(qty?),
                    orders: orders? as u32,
                })
            };
            let bid = side(row.maybe_long()?, bid_qty, bid_orders);
            let ask = side(row.maybe_long()?, ask_qty, ask_orders);
            Ok(BookRow {
                symbol,
                level,
                bid,
                ask,
            })
        },
    )
}

/// The rows of a table, one after another.
pub struct Rows<T> {
    path: PathBuf,
    rows: RowIter<'static>,
    row_index: u64,
    make: fn(&mut Cells) -> Result<T, String>,
}

impl<T> Rows<T> {
    /// Only these columns are read, and given to `make` in this order.
    fn open(
        path: &Path,
        columns: &[&str],
        make: fn(&mut Cells) -> Result<T, String>,
    ) -> Result<Rows<T>, TableError> {
        let fail = |error: ParquetError| TableError::new(path, error);
        let file = File::open(path).map_err(|error| TableError::new(path, error))?;
        let reader = SerializedFileReader::new(file).map_err(fail)?;
        let schema = reader.metadata().file_metadata().schema();
        let field = |column: &&str| {
            let field = schema
                .get_fields()
                .iter()
                .find(|field| field.name() == *column);
            let missing = || TableError::new(path, format_args!("there is no column `{column}`"));
            field.cloned().ok_or_else(missing)
        };
        let fields: Vec<Arc<Type>> = columns.iter().map(field).collect::<Result<_, _>>()?;
        let projection = Type::group_type_builder(schema.name())
            .with_fields(fields)
            .build();
        let projection = projection.map_err(fail)?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection));
        Ok(Rows {
            path: path.to_path_buf(),
            rows: rows.map_err(fail)?,
            row_index: 0,
            make,
        })
    }
}

impl<T> Iterator for Rows<T> {
    type Item = Result<T, TableError>;

    fn next(&mut self) -> Option<Result<T, TableError>> {
        let made = match self.rows.next()? {
            Ok(row) => (self.make)(&mut Cells {
                fields: row.into_columns().into_iter(),
            }),
            Err(error) => Err(error.to_string()),
        };
        let row_index = self.row_index;
        self.row_index += 1;
        Some(
            made.map_err(|what| {
                TableError::new(&self.path, format_args!("row {row_index}: {what}"))
            }),
        )
    }
}

/// The cells of a row, taken from the left.
struct Cells {
    fields: std::vec::IntoIter<(String, Field)>,
}

impl Cells {
    fn next<T>(&mut self, want: &str, read: impl Fn(&Field) -> Option<T>) -> Result<T, String> {
        let (name, field) = self.fields.next().ok_or("the row ended too early")?;
        read(&field).ok_or_else(|| format!("column `{name}` has {field}, want {want}"))
    }

    fn long(&mut self) -> Result<i64, String> {
        self.next("a whole number", |field| match field {
            Field::Long(value) => Some(*value),
            _ => None,
        })
    }

    fn int(&mut self) -> Result<i32, String> {
        self.next("a whole number", |field| match field {
            Field::Int(value) => Some(*value),
            _ => None,
        })
    }

    fn text(&mut self) -> Result<String, String> {
        self.next("text", |field| match field {
            Field::Str(value) => Some(value.clone()),
            _ => None,
        })
    }

    fn maybe_text(&mut self) -> Result<Option<String>, String> {
        self.next("text or nothing", |field| match field {
            Field::Str(value) => Some(Some(value.clone())),
            Field::Null => Some(None),
            _ => None,
        })
    }

    fn maybe_long(&mut self) -> Result<Option<i64>, String> {
        self.next("a whole number or nothing", |field| match field {
            Field::Long(value) => Some(Some(*value)),
            Field::Null => Some(None),
            _ => None,
        })
    }

    fn maybe_double(&mut self) -> Result<Option<f64>, String> {
        self.next("a number or nothing", |field| match field {
            Field::Double(value) => Some(Some(*value)),
            Field::Null => Some(None),
            _ => None,
        })
    }
}
