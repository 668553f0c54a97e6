//! What a FIX session said of orders: how each stands, its fills, and the positions.

use std::collections::BTreeMap;
use std::path::Path;

use bus::{Notional, Price};
use fix::Blotter;
use fix::blotter::{Execution, Order, Position};
use parquet::data_type::ByteArray;

use super::table::{Cell, Table};
use super::{Names, TableError, metadata, price, schema, split};

/// How many rows each of these tables got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FillCounts {
    /// Of `order_states`.
    pub orders: u64,
    /// Of `executions`.
    pub executions: u64,
    /// Of `positions`.
    pub positions: u64,
}

/// Writes what the sessions of all shards said, in an order that does not depend on how many there
/// are: orders by their names, fills by their orders and then as they came, positions by symbol.
pub fn write_fills(
    folder: &Path,
    names: &Names,
    blotters: &[Blotter],
) -> Result<FillCounts, TableError> {
    let table = |name, schema| Table::create(folder, name, schema, &metadata(name, names));
    let mut states = table("order_states", schema::ORDER_STATES)?;
    let mut executions = table("executions", schema::EXECUTIONS)?;
    let mut positions = table("positions", schema::POSITIONS)?;
    let mut orders: Vec<(&Blotter, usize)> = blotters
        .iter()
        .flat_map(|blotter| (0..blotter.orders().len()).map(move |index| (blotter, index)))
        .collect();
    orders.sort_by_key(|(blotter, index)| &blotter.orders()[*index].id);
    // The sort is stable, so that the fills of an order stay as they came.
    let mut fills: Vec<(&[u8], &Execution)> = Vec::new();
    for blotter in blotters {
        let all = blotter.executions().iter();
        fills.extend(all.map(|fill| (&blotter.orders()[fill.order].id[..], fill)));
    }
    fills.sort_by_key(|(id, _)| *id);
    let mut fills = fills.into_iter().peekable();
    for (blotter, index) in &orders {
        let order = &blotter.orders()[*index];
        push_state(&mut states, order)?;
        while let Some((_, fill)) = fills.next_if(|(id, _)| *id == &order.id[..]) {
            executions.push(&[
                Cell::Long(fill.at),
                Cell::Text(&text(&order.id)),
                Cell::Text(&text(&fill.id)),
                Cell::Text(&text(&order.symbol)),
                Cell::Text(&side(&order.side)),
                Cell::Long(fill.qty.0),
                price(fill.price),
                Cell::Long(fill.price.0),
                Cell::Bool(fill.is_busted),
                Cell::Long(fill.corrections as i64),
            ])?;
        }
    }
    let mut all: BTreeMap<Vec<u8>, Position> = BTreeMap::new();
    for blotter in blotters {
        for (symbol, position) in blotter.positions() {
            all.entry(symbol).or_default().add(&position);
        }
    }
    for (symbol, position) in &all {
        let long = |value: i128| {
            let value = i64::try_from(value);
            value.map_err(|_| TableError::new(folder, "a position beyond 9.2e18"))
        };
        let (bought, bought_nanos) = split(Notional(position.bought_notional));
        let (sold, sold_nanos) = split(Notional(position.sold_notional));
        let average = |notional: i128, qty: i128| {
            let price = notional.checked_div_euclid(qty);
            price.map_or(Cell::Null, |price| Cell::Long(price as i64))
        };
        positions.push(&[
            Cell::Text(&text(symbol)),
            Cell::Long(long(position.net())?),
            Cell::Long(long(position.bought)?),
            Cell::Long(long(bought)?),
            Cell::Int(bought_nanos),
            average(position.bought_notional, position.bought),
            Cell::Long(long(position.sold)?),
            Cell::Long(long(sold)?),
            Cell::Int(sold_nanos),
            average(position.sold_notional, position.sold),
        ])?;
    }
    Ok(FillCounts {
        orders: states.finish()?,
        executions: executions.finish()?,
        positions: positions.finish()?,
    })
}

fn push_state(table: &mut Table, order: &Order) -> Result<(), TableError> {
    let limit = order.price.unwrap_or(Price::NONE);
    let average = order.average();
    let (units, nanos) = split(Notional(order.notional()));
    let units = i64::try_from(units).map_err(|_| table.error("a notional beyond 9.2e18 units"))?;
    table.push(&[
        Cell::Text(&text(&order.id)),
        Cell::Text(&text(&order.id_now)),
        Cell::Text(&text(&order.order_id)),
        Cell::Text(&text(&order.symbol)),
        Cell::Text(&side(&order.side)),
        Cell::Long(order.qty.0),
        price(limit),
        order.price.map_or(Cell::Null, |price| Cell::Long(price.0)),
        Cell::Text(&order.standing.name().into()),
        Cell::Long(order.filled().0),
        average.map_or(Cell::Null, price),
        average.map_or(Cell::Null, |price| Cell::Long(price.0)),
        Cell::Long(units),
        Cell::Int(nanos),
        Cell::Long(order.reports as i64),
        Cell::Long(order.odd as i64),
        Cell::Long(order.refused as i64),
        Cell::Text(&order.text.as_str().into()),
    ])
}

fn text(bytes: &[u8]) -> ByteArray {
    ByteArray::from(String::from_utf8_lossy(bytes).as_ref())
}

fn side(code: &[u8]) -> ByteArray {
    match code {
        b"1" => "buy".into(),
        b"2" => "sell".into(),
        b"5" => "sell short".into(),
        other => text(other),
    }
}
