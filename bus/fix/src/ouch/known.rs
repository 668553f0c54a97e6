//! An order as its session knows it: what was sent, what the venue says of it, and what an ExecutionReport is
//! made of.

use std::fmt::Display;

use bus::Price;
use bus::ouch::{self, EnterOrder, Told, U32, U64};

/// An order as reports are made of it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Our name of it, as text.
    pub(super) id: Vec<u8>,
    pub(super) symbol: [u8; 8],
    pub(super) side: u8,
    pub(super) qty: i64,
    pub(super) price: Price,
    pub(super) filled: i64,
    pub(super) notional: i128,
    /// What is neither filled nor open any more: taken away, or traded and broken, which brings no order
    /// back.
    pub(super) gone: i64,
    /// The venue's number of it.
    pub(super) reference: u64,
    pub(super) is_over: bool,
    pub(super) trades: Vec<(u64, i64, Price)>,
    /// As it was sent, which does not change with what is said of it.
    pub(super) sent: EnterOrder,
    /// The venue has said that it has it.
    pub(super) is_accepted: bool,
}

/// What a venue says of an order that it has.
pub(super) struct Echo {
    pub(super) symbol: [u8; 8],
    pub(super) side: u8,
    pub(super) quantity: U32,
    pub(super) price: U64,
    pub(super) cl_ord_id: [u8; 14],
}

/// What a report says beside how the order stands.
pub(super) struct Step {
    pub(super) msg_type: &'static [u8],
    pub(super) exec_type: &'static str,
    /// Where it is not what the fills come to.
    pub(super) status: Option<&'static str>,
    pub(super) trade: Option<(u64, i64, Price)>,
    pub(super) text: String,
}

impl Step {
    fn new(exec_type: &'static str) -> Step {
        Step {
            msg_type: b"8",
            exec_type,
            status: None,
            trade: None,
            text: String::new(),
        }
    }
}

pub(super) fn side_of(side: u8) -> &'static [u8] {
    match side {
        b'B' => b"1",
        b'T' => b"5",
        b'E' => b"6",
        _ => b"2",
    }
}

impl Known {
    pub(super) fn symbol(&self) -> &[u8] {
        self.symbol.trim_ascii_end()
    }

    /// OrdStatus by what is filled.
    pub(super) fn status(&self) -> &'static str {
        match self.filled {
            filled if filled >= self.qty => "2",
            _ if self.leaves() == 0 => "4",
            0 => "0",
            _ => "1",
        }
    }

    pub(super) fn leaves(&self) -> i64 {
        match self.is_over {
            true => 0,
            false => (self.qty - self.filled - self.gone).max(0),
        }
    }

    /// What the venue says of a term, and what was sent.
    #[cold]
    pub(super) fn differs(&self, term: &str, theirs: impl Display, ours: impl Display) -> String {
        format!("the venue says {term} {theirs}, and we sent {ours}")
    }

    /// Whether a price is worse for us than what was sent. A better one is a venue's to give: it moves an order
    /// that would lock another market.
    fn is_beyond(&self, price: U64) -> bool {
        match self.sent.side {
            b'B' => price.get() > self.sent.price.get(),
            _ => price.get() < self.sent.price.get(),
        }
    }

    /// Whether what the venue has is what we sent.
    pub(super) fn accepts(&self, echo: &Echo) -> Result<(), String> {
        let sent = &self.sent;
        let text = |letters: &[u8]| letters.trim_ascii_end().escape_ascii().to_string();
        if echo.cl_ord_id != sent.cl_ord_id {
            let (theirs, ours) = (text(&echo.cl_ord_id), text(&sent.cl_ord_id));
            return Err(self.differs("ClOrdID", theirs, ours));
        }
        if echo.symbol != sent.symbol {
            return Err(self.differs("symbol", text(&echo.symbol), text(&sent.symbol)));
        }
        if echo.side != sent.side {
            let (theirs, ours) = (echo.side.escape_ascii(), sent.side.escape_ascii());
            return Err(self.differs("side", theirs, ours));
        }
        if echo.quantity.get() != sent.quantity.get() {
            return Err(self.differs("quantity", echo.quantity.get(), sent.quantity.get()));
        }
        if self.is_beyond(echo.price) {
            return Err(self.differs("price", units(echo.price), units(sent.price)));
        }
        Ok(())
    }

    /// Whether so much can have been traded of it.
    pub(super) fn executes(&self, quantity: U32, price: U64) -> Result<(), String> {
        if !self.is_accepted {
            return Err("it is executed, and was not accepted".into());
        }
        let filled = self.filled + i64::from(quantity.get());
        if filled > self.qty {
            return Err(format!(
                "{filled} are executed, and its quantity is {}",
                self.qty
            ));
        }
        if self.is_beyond(price) {
            return Err(self.differs("executed at price", units(price), units(self.sent.price)));
        }
        Ok(())
    }

    pub(super) fn fill(&mut self, id: u64, qty: i64, price: Price) {
        self.filled += qty;
        self.notional += i128::from(price.0) * i128::from(qty);
        self.trades.push((id, qty, price));
    }

    /// A trade never was. The order is not brought back: Nasdaq's books do not change by it (ITCH 5.0,
    /// section 1.6.3).
    pub(super) fn undo(&mut self, id: u64) {
        if let Some(at) = self.trades.iter().position(|(found, ..)| *found == id) {
            let (_, qty, price) = self.trades.remove(at);
            self.filled -= qty;
            self.gone += qty;
            self.notional -= i128::from(price.0) * i128::from(qty);
        }
    }

    /// So much of it is not wanted any more.
    fn take_away(&mut self, quantity: i64, reason: u8, step: &mut Step) {
        step.text = format!("reason {}: {}", reason.escape_ascii(), why_canceled(reason));
        if quantity >= self.leaves() {
            self.is_over = true;
            step.status = Some("4");
        } else {
            // What is left goes on.
            self.gone += quantity;
            step.exec_type = "D";
        }
    }

    /// Takes in what was told.
    pub(super) fn step(&mut self, told: &Told<'_>) -> Step {
        match told {
            Told::Accepted(m, _) => {
                self.is_accepted = true;
                self.reference = m.order_reference_number.get();
                self.qty = m.quantity.get().into();
                self.price = ouch::price_of(m.price).unwrap_or(self.price);
                let mut step = Step::new("0");
                if m.order_state != b'L' {
                    // Accepted and cancelled at once.
                    self.is_over = true;
                    step.exec_type = "4";
                    step.text = "accepted and cancelled at once".into();
                }
                step
            }
            Told::Replaced(m, _) => {
                self.reference = m.order_reference_number.get();
                self.qty = self.filled + self.gone + i64::from(m.quantity.get());
                self.price = ouch::price_of(m.price).unwrap_or(self.price);
                self.is_over = m.order_state != b'L';
                Step::new("5")
            }
            Told::Canceled(m, _) => {
                let mut step = Step::new("4");
                self.take_away(m.quantity.get().into(), m.reason, &mut step);
                step
            }
            Told::AiqCanceled(m, _) => {
                let mut step = Step::new("4");
                self.take_away(m.decrement_shares.get().into(), m.reason, &mut step);
                step
            }
            Told::Executed(m, _) => {
                let price = ouch::price_of(m.price).unwrap_or(Price(0));
                let trade = (m.match_number.get(), m.quantity.get().into(), price);
                self.fill(trade.0, trade.1, trade.2);
                Step {
                    trade: Some(trade),
                    status: (self.leaves() == 0).then_some("2"),
                    ..Step::new("F")
                }
            }
            Told::BrokenTrade(m, _) => {
                let id = m.match_number.get();
                self.undo(id);
                Step {
                    trade: Some((id, 0, Price(0))),
                    text: format!("reason {}", m.reason.escape_ascii()),
                    ..Step::new("H")
                }
            }
            Told::Rejected(m, _) => {
                self.is_over = true;
                Step {
                    status: Some("8"),
                    text: format!("reason {:#06x}", m.reason.get()),
                    ..Step::new("8")
                }
            }
            Told::CancelPending(..) => Step {
                status: Some("6"),
                ..Step::new("6")
            },
            Told::CancelReject(..) => Step {
                msg_type: b"9",
                text: "the cancel is refused".into(),
                ..Step::new("")
            },
            Told::PriorityUpdate(m, _) => {
                self.reference = m.order_reference_number.get();
                self.price = ouch::price_of(m.price).unwrap_or(self.price);
                Step::new("D")
            }
            Told::Modified(m, _) => {
                self.side = m.side;
                self.gone = (self.qty - self.filled - i64::from(m.quantity.get())).max(0);
                Step::new("D")
            }
            Told::Restated(m, _) => Step {
                text: format!("reason {}", m.reason.escape_ascii()),
                ..Step::new("D")
            },
            Told::SystemEvent(..) | Told::AccountQueryResponse(..) => {
                unreachable!("they are of no order")
            }
        }
    }
}

/// A price of the wire, whose unit is a ten-thousandth, as people write it.
fn units(price: U64) -> String {
    format!("{}.{:04}", price.get() / 10_000, price.get() % 10_000)
}

/// What the letters of section 3.4 mean.
fn why_canceled(reason: u8) -> &'static str {
    match reason {
        b'U' => "asked for",
        b'I' => "immediate or cancel",
        b'T' => "its time is over",
        b'S' => "by the venue's supervision",
        b'D' => "a regulation keeps it from being executed",
        b'Q' => "it would have met an order of its owner",
        b'Z' => "by the venue's system",
        b'E' => "the market is closed",
        b'X' => "the connection ended",
        _ => "not of the specification",
    }
}
