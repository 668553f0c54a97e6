//! Orders, each with what became of it.

use std::collections::{BTreeMap, HashMap};

use bus::oms::{Date, OrderId};
use bus::signal::{Order, Outcome, Reject, Sent};
use bus::{Signal, Ts};
use parquet::data_type::ByteArray;

use super::read::Status;
use super::table::{Cell, Table};
use super::{Labels, TableError, price, side_name};

/// The most orders of a run, sent and refused together: they stay in memory until the end, about
/// 200 bytes each, because an outcome can come long after its order, and a second time after a
/// crash. That is 3 GiB at the most; a run with a million orders takes 200 MB.
pub(super) const ORDERS_MAX: usize = 1 << 24;

pub(super) struct Orders {
    date: Date,
    rows: Vec<Row>,
    /// From the cause of an order to its row.
    by_cause: HashMap<(u64, u32, u16), u32>,
    outcomes_without_order: u64,
}

struct Row {
    ts_event: Ts,
    id: OrderId,
    symbol: u32,
    rule: u8,
    seq: u64,
    order: Order,
    fate: Fate,
}

enum Fate {
    /// The run ended before the gateway said anything.
    Pending,
    Refused(Reject),
    Settled(Sent),
}

impl Orders {
    pub(super) fn new(date: Date) -> Orders {
        Orders {
            date,
            rows: Vec::new(),
            by_cause: HashMap::new(),
            outcomes_without_order: 0,
        }
    }

    pub(super) fn add(&mut self, signal: &Signal, order: Order) -> Result<(), String> {
        let cause = (signal.seq, signal.symbol, signal.ordinal);
        if self
            .by_cause
            .insert(cause, self.rows.len() as u32)
            .is_some()
        {
            return Err(format!(
                "order {} was said twice",
                OrderId::of(self.date, signal)
            ));
        }
        self.push(signal, order, Fate::Pending)
    }

    pub(super) fn refuse(&mut self, signal: &Signal, reject: Reject) -> Result<(), String> {
        self.push(signal, reject.order, Fate::Refused(reject))
    }

    fn push(&mut self, signal: &Signal, order: Order, fate: Fate) -> Result<(), String> {
        if self.rows.len() == ORDERS_MAX {
            return Err(format!("more than {ORDERS_MAX} orders in a run"));
        }
        self.rows.push(Row {
            ts_event: signal.ts_event,
            id: OrderId::of(self.date, signal),
            symbol: signal.symbol,
            rule: signal.rule,
            seq: signal.seq,
            order,
            fate,
        });
        Ok(())
    }

    /// Says what became of an order. Said twice, the later word holds: an order that failed
    /// before a crash may have been sent after it.
    pub(super) fn settle(&mut self, signal: &Signal, sent: Sent) {
        let cause = (signal.seq, signal.symbol, sent.order_ordinal);
        match self.by_cause.get(&cause) {
            Some(&index) => self.rows[index as usize].fate = Fate::Settled(sent),
            None => self.outcomes_without_order += 1,
        }
    }

    pub(super) fn outcomes_without_order(&self) -> u64 {
        self.outcomes_without_order
    }

    /// Writes the rows; says how many were refused after the risk rules, by the reason.
    pub(super) fn write(
        self,
        table: &mut Table,
        labels: &Labels,
    ) -> Result<BTreeMap<String, u64>, TableError> {
        let mut refused = BTreeMap::new();
        for row in &self.rows {
            let Order {
                side,
                price: limit_price,
                qty,
                bid,
                ask,
                tif: _,
            } = row.order;
            let mut reason = None;
            let (mut risk_limit, mut risk_value) = (Cell::Null, Cell::Null);
            let (mut msg_seq, mut ts_sent) = (Cell::Null, Cell::Null);
            let status = match &row.fate {
                Fate::Pending => Status::Pending,
                Fate::Refused(reject) => {
                    reason = Some(ByteArray::from(reject.code.name()));
                    risk_limit = Cell::Long(reject.limit);
                    risk_value = Cell::Long(reject.value);
                    Status::Rejected
                }
                Fate::Settled(sent) => {
                    ts_sent = Cell::Long(sent.ts_sent.0);
                    match sent.outcome {
                        Outcome::Sent => {
                            msg_seq = Cell::Long(sent.msg_seq as i64);
                            Status::Sent
                        }
                        Outcome::Killed => Status::Killed,
                        Outcome::Failed => Status::Failed,
                        Outcome::Cancelled => {
                            msg_seq = Cell::Long(sent.msg_seq as i64);
                            Status::Cancelled
                        }
                        Outcome::Refused => {
                            if let Some(over) = &sent.over {
                                // A limit of orders together, with whose it is: `firm_gross`.
                                let name = format!("{}_{}", over.whose.name(), over.code.name());
                                reason = Some(ByteArray::from(name.as_str()));
                                *refused.entry(name).or_default() += 1;
                                risk_limit = Cell::Long(over.limit);
                                risk_value = Cell::Long(over.value);
                            }
                            Status::Rejected
                        }
                    }
                }
            };
            table.push(&[
                Cell::Long(row.ts_event.0),
                Cell::Text(&row.id.as_str().into()),
                Cell::Text(&labels.symbol(row.symbol)),
                Cell::Text(&labels.strategies.get(row.rule)),
                Cell::Text(&side_name(side).into()),
                Cell::Long(qty.0),
                price(limit_price),
                Cell::Text(&status.name().into()),
                reason.as_ref().map_or(Cell::Null, Cell::Text),
                risk_limit,
                risk_value,
                price(bid),
                price(ask),
                msg_seq,
                ts_sent,
                Cell::Long(limit_price.0),
                Cell::Long(row.seq as i64),
            ])?;
        }
        Ok(refused)
    }
}
